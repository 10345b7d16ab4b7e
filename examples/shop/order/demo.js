// What the buttons "Break something" do. Nothing of it belongs in a service of yours.
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import express from "express";
import pg from "pg";

const { DSN, DEMO_FOLDER, STOCK_ADMIN_DSN, PAYMENT_ADMIN_DSN, CARDS_URL } = process.env;
const stock = new pg.Pool({ connectionString: STOCK_ADMIN_DSN, max: 1 });
const payment = new pg.Pool({ connectionString: PAYMENT_ADMIN_DSN, max: 1 });
const orders = new pg.Pool({ connectionString: DSN, max: 1 });
for (const pool of [stock, payment, orders]) pool.on("error", (error) => console.error(error));

export const breakThings = express.Router();
const processes = DEMO_FOLDER !== undefined; // in containers, processes of other containers cannot be killed from here
const off = `${DEMO_FOLDER}/payment.off`; // as long as it is there, run.sh does not start payment again

breakThings.use(["/payment", "/database"], (_request, response, next) => {
  if (processes) next();
  else response.status(404).json({ message: "use docker compose stop, start, or kill" });
});

breakThings.post("/payment", (request, response) => {
  if (request.body.running) rmSync(off, { force: true });
  else if (!existsSync(off)) {
    writeFileSync(off, "");
    process.kill(Number(readFileSync(`${DEMO_FOLDER}/payment.pid`, "utf8")), "SIGKILL");
  }
  response.json({});
});

breakThings.post("/stock", async (request, response) => {
  await stock.query("UPDATE item SET available = $2 WHERE sku = $1", [request.body.sku, request.body.available]);
  response.json({});
});

breakThings.post("/cards", async (request, response) => {
  await fetch(`${CARDS_URL}/demo`, { method: "POST", body: JSON.stringify(request.body) });
  response.json({});
});

// The coordinator dies by kill -9, so PostgreSQL restarts all of its sessions, and recovers.
breakThings.post("/database", async (_request, response) => {
  const { rows } = await orders.query("SELECT pid FROM dtm.stat_coordinator WHERE pid IS NOT NULL");
  for (const { pid } of rows) process.kill(pid, "SIGKILL");
  response.json({});
});

breakThings.post("/reset", async (_request, response) => {
  await stock.query("UPDATE item SET available = 10");
  await payment.query("UPDATE account SET balance = CASE customer WHEN 'Alice' THEN 500 ELSE 50 END + held");
  response.json({});
});

breakThings.state = async () => {
  const cards = await fetch(`${CARDS_URL}/demo`).then((response) => response.json()).catch(() => null);
  return { cards, processes, running: { payment: !existsSync(off) } };
};
