// A bank: withdrawals and deposits are steps of sagas, and each can be undone.
import Fastify from "fastify";
import pg from "pg";
import { Ongoing, Refused } from "dtm-pg";
import { branch, rawBodies } from "dtm-pg/fastify";

const pool = new pg.Pool({ connectionString: process.env.BANK_DSN });
pool.on("error", (error) => console.error(error)); // an idle connection was lost: the pool opens another
const options = { key: process.env.BANK_KEY };

const change = (sign) => async (client, call) => {
  const { account, amount } = call.json("account", "amount");
  const { rows } = await client.query("SELECT state FROM account WHERE name = $1 FOR UPDATE", [account]);
  if (rows.length === 0) throw new Refused(`no account ${account}`);
  if (rows[0].state === "audited") throw new Ongoing(`account ${account} is being audited`);
  try {
    await client.query("UPDATE account SET balance = balance + $1 WHERE name = $2", [sign * amount, account]);
  } catch (error) {
    if (error.code === "23514") throw new Refused(`not enough money in account ${account}`); // check constraint
    throw error;
  }
};

const app = Fastify();
app.register(async (scope) => {
  rawBodies(scope);
  scope.post("/withdraw", branch(pool, change(-1), options));
  scope.post("/withdraw/undo", branch(pool, change(+1), options));
  scope.post("/deposit", branch(pool, change(+1), options));
  scope.post("/deposit/undo", branch(pool, change(-1), options));
});
await app.listen({ port: Number(process.env.PORT), host: "127.0.0.1" });
