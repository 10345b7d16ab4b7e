// Orders: takes them from the page, and has them carried out in all services, or in none.
import { fileURLToPath } from "node:url";
import express from "express";
import pg from "pg";
import * as checkout from "./checkout.js";
import { breakThings } from "./demo.js";

const { HOST, PORT, DSN, KEY, STOCK_URL, PAYMENT_URL } = process.env;
const pool = new pg.Pool({ connectionString: DSN });
pool.on("error", (error) => console.error(error)); // an idle connection was lost: the pool opens another
const services = { stock: { url: STOCK_URL, key: KEY }, payment: { url: PAYMENT_URL, key: KEY } };
const methods = { saga: checkout.saga, tcc: checkout.tcc, xa: checkout.xa, card: checkout.card };

const app = express();
app.use(express.static(fileURLToPath(new URL("../page", import.meta.url))));
app.use(express.json());

// The id comes from the page, so that a request that is sent twice is one order.
app.post("/api/orders", async (request, response) => {
  const { id, sku, customer, method, card } = request.body ?? {};
  for (const [key, value] of Object.entries({ id, sku, customer, method, ...(method === "card" && { card }) }))
    if (typeof value !== "string" || value === "") return response.status(400).json({ message: `"${key}" is missing in the order` });
  if (!Object.hasOwn(methods, method)) return response.status(400).json({ message: `there is no method "${method}"` });
  await methods[method](pool, { id, sku, customer, method, card }, services);
  response.status(202).json({ id });
});

// What the page shows: the orders with the calls that were made for them, and what the services have.
app.get("/api/state", async (_request, response) => {
  const [orders, counts, products, items, accounts, demo] = await Promise.all([
    pool.query(ORDERS), pool.query(COUNTS), pool.query("SELECT sku, name, price FROM shop.product ORDER BY price"),
    get(`${STOCK_URL}/items`), get(`${PAYMENT_URL}/accounts`), breakThings.state(),
  ]);
  response.json({ orders: orders.rows, counts: counts.rows[0], products: products.rows, items, accounts, ...demo });
});

const ORDERS = `
  SELECT o.*, p.name, coalesce(t.state, 'unknown') AS progress,
         (SELECT coalesce(jsonb_agg(jsonb_build_object('branch', b.branch_id, 'op', c.op, 'url', b.url, 'result', c.result,
                                                      'status', c.http_status, 'error', left(c.error, 200)) ORDER BY c.started), '[]')
            FROM dtm.calls c JOIN dtm.branches b USING (gid, branch_id, op)
           WHERE c.gid IN (o.id, 'ship-' || o.id)) AS calls
    FROM shop.orders o JOIN shop.product p USING (sku) LEFT JOIN dtm.transactions t ON t.gid = o.id
   ORDER BY o.created DESC LIMIT 12`;

const COUNTS = `
  SELECT count(*) FILTER (WHERE state = 'placed') AS placed, count(*) FILTER (WHERE state IN ('paid', 'shipped')) AS paid,
         count(*) FILTER (WHERE state = 'rejected') AS rejected FROM shop.orders`;

// null if the service does not respond
const get = (url) => fetch(url, { signal: AbortSignal.timeout(1000) }).then((response) => response.json()).catch(() => null);

app.use("/demo", breakThings);

app.listen(Number(PORT), HOST ?? "127.0.0.1", (error) => {
  if (error) throw error;
});
