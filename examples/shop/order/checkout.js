// Four ways to make one order in three databases: all of it happens, or none of it.
import { Call, sign, submit } from "dtm-pg";

// Runs work in a transaction: what it throws rolls back.
async function inTransaction(pool, work) {
  const client = await pool.connect();
  try {
    await client.query("BEGIN");
    const result = await work(client);
    await client.query("COMMIT");
    return result;
  } catch (error) {
    await client.query("ROLLBACK").catch(() => {});
    throw error;
  } finally {
    client.release();
  }
}

// Stores the order, and returns its amount, at the price that we have, not the page. Undefined: it is there already,
// because the page has repeated its request.
async function store(client, { id, sku, customer, method }) {
  const { rows } = await client.query(
    `INSERT INTO shop.orders (id, sku, amount, customer, method)
     SELECT $1, sku, price, $3, $4 FROM shop.product WHERE sku = $2
     ON CONFLICT (id) DO NOTHING RETURNING amount`,
    [id, sku, customer, method],
  );
  return rows[0]?.amount;
}

const onFinish = { on_finish: "sql:shop.order_finished" };

// Saga: each step has what undoes it. The order and its saga are one commit; after that, nothing can be forgotten.
export function saga(pool, order) {
  return inTransaction(pool, async (client) => {
    const amount = await store(client, order);
    if (amount === undefined) return;
    await submit(client, "saga", [
      { action: "server:stock/reserve", compensate: "server:stock/release", payload: { sku: order.sku } },
      { action: "server:payment/charge", compensate: "server:payment/refund", payload: { customer: order.customer, amount } },
    ], order.id, onFinish);
  });
}

// A saga over a company's REST API, which has never heard of dtm. Option results keeps its responses, so that the refund
// finds the number of the charge. The options of server "cards" say what its statuses mean.
export function card(pool, order) {
  return inTransaction(pool, async (client) => {
    const amount = await store(client, order);
    if (amount === undefined) return;
    await submit(client, "saga", [
      { name: "charge", action: "server:cards/charges", payload: { amount, currency: "eur", source: order.card },
        compensate: "server:cards/charges/{$.charge.id}", compensate_method: "DELETE" },
      { action: "server:stock/reserve", compensate: "server:stock/release", payload: { sku: order.sku } },
    ], order.id, { ...onFinish, results: true });
  });
}

// TCC: each service first sets aside what the order needs (try). If all could, the coordinator has them use it
// (confirm); if not, or if this process dies meanwhile, it has them let go (cancel).
export async function tcc(pool, order, services) {
  const amount = await prepare(pool, "tcc", order);
  if (amount === undefined) return;
  await decide(pool, "tcc", order.id, async () => {
    for (const [branchId, service, path, confirm, cancel, payload] of [
      ["01", "stock", "/try", "/confirm", "/cancel", { sku: order.sku }],
      ["02", "payment", "/hold", "/capture", "/release", { customer: order.customer, amount }],
    ]) {
      // first the branch, then its try: what has been tried is canceled whatever happens
      await pool.query("SELECT dtm_register_branch($1, $2, $3, $4, $5::jsonb)",
        [order.id, branchId, `server:${service}${confirm}`, `server:${service}${cancel}`, JSON.stringify(payload)]);
      await call(services, service, path, new Call("tcc", order.id, branchId, "try", Buffer.from(JSON.stringify(payload))));
    }
  });
}

// XA: each database prepares its transaction, with its locks, and the coordinator has all of them commit or roll back.
export async function xa(pool, order, services) {
  const amount = await prepare(pool, "xa", order);
  if (amount === undefined) return;
  await decide(pool, "xa", order.id, async () => {
    for (const [branchId, service, payload] of [
      ["01", "stock", { sku: order.sku }],
      ["02", "payment", { customer: order.customer, amount }],
    ]) {
      await pool.query("SELECT dtm_register_branch($1, $2, $3)", [order.id, branchId, `server:${service}/xa`]);
      await call(services, service, "/xa", new Call("xa", order.id, branchId, "action", Buffer.from(JSON.stringify(payload))));
    }
  });
}

// The order and the prepared transaction are one commit. If nobody decides in ten seconds, it is rolled back.
function prepare(pool, transType, order) {
  return inTransaction(pool, async (client) => {
    const amount = await store(client, order);
    if (amount !== undefined)
      await client.query("SELECT dtm_prepare($1, $2, options => $3)",
        [transType, order.id, JSON.stringify({ ...onFinish, timeout_to_fail: 10 })]);
    return amount;
  });
}

// Submits if work succeeds, aborts if not.
async function decide(pool, transType, gid, work) {
  try {
    await work();
  } catch (error) {
    await pool.query("SELECT dtm_abort($1, $2)", [gid, error.message]);
    return;
  }
  await pool.query("SELECT dtm_submit($1, gid => $2)", [transType, gid]);
}

// Calls a service as the coordinator does: the parameters of the branch in the query, and a signature.
async function call(services, service, path, branch) {
  const { url, key } = services[service];
  const query = new URLSearchParams({ trans_type: branch.transType, gid: branch.gid, branch_id: branch.branchId, op: branch.op });
  const response = await fetch(`${url}${path}?${query}`, {
    method: "POST",
    headers: { "content-type": "application/json", "dtm-signature": sign(branch, key, Math.floor(Date.now() / 1000)) },
    body: branch.body,
    signal: AbortSignal.timeout(3000),
  }).catch(() => {
    throw new Error(`${service} does not respond`);
  });
  if (!response.ok) {
    const { message } = await response.json().catch(() => ({}));
    throw new Error(message ?? `${service} answered ${response.status}`);
  }
}
