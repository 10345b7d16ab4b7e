// A shop: stores an order, and submits its saga in the same transaction.
import pg from "pg";
import { submit } from "dtm-pg";

const [order, amount] = process.argv.slice(2);
const client = new pg.Client({ connectionString: process.env.SHOP_DSN });
await client.connect();
await client.query("BEGIN");
await client.query("INSERT INTO orders (id, amount) VALUES ($1, $2)", [order, amount]);
const gid = await submit(client, "saga", [
  { action: "server:bank/withdraw", compensate: "server:bank/withdraw/undo",
    payload: { account: "alice", amount: Number(amount) } },
  { action: "server:bank/deposit", compensate: "server:bank/deposit/undo",
    payload: { account: "bob", amount: Number(amount) } },
], order);
await client.query("COMMIT");
await client.end();
console.log(gid);
