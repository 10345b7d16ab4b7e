// The example banks and the shop. scripts/clients.sh starts the server: CLIENTS_SHOP is the database of the
// coordinator; bank_extension and bank_participant have the extension and sql/participant.sql.
import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { createServer } from "node:net";
import { setTimeout as pause } from "node:timers/promises";
import { promisify } from "node:util";
import pg from "pg";
import { Call, sign } from "dtm-pg";

export const KEY = "0e4d9be1f0cd8b7a52f84dbb1a1a4e2c";
const HOST = process.env.CLIENTS_HOST;
const examples = new URL("../examples/", import.meta.url);

export const dsn = (database) => `postgres://postgres@/${database}?host=${encodeURIComponent(HOST)}`;

/** Waits for a condition. */
export async function until(what) {
  const end = Date.now() + 60_000;
  while (!(await what())) {
    assert.ok(Date.now() < end, "condition did not become true");
    await pause(50);
  }
}

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

export class World {
  static async start(example, database) {
    const world = new World();
    world.port = await freePort();
    world.url = `http://127.0.0.1:${world.port}`;
    world.shop = new pg.Pool({ connectionString: dsn("shop") });
    world.bank = new pg.Pool({ connectionString: dsn(database) });
    world.process = spawn(process.execPath, [new URL(example, examples).pathname], {
      env: { ...process.env, BANK_DSN: dsn(database), BANK_KEY: KEY, PORT: world.port },
      stdio: ["ignore", "inherit", "ignore"],
    });
    await until(async () => {
      assert.equal(world.process.exitCode, null, "the bank did not start");
      return fetch(world.url).then(() => true, () => false);
    });
    return world;
  }

  async stop() {
    const ended = new Promise((resolve) => this.process.once("exit", resolve));
    this.process.kill();
    await ended;
    await this.shop.end();
    await this.bank.end();
  }

  async reset() {
    await this.bank.query("UPDATE account SET balance = 100, state = 'open'");
    await this.shop.query(`DROP SERVER IF EXISTS bank CASCADE;
      CREATE SERVER bank FOREIGN DATA WRAPPER dtm_http OPTIONS (base_url '${this.url}');
      CREATE USER MAPPING FOR PUBLIC SERVER bank OPTIONS (hmac_key '${KEY}')`);
  }

  /** Runs the example of a shop. */
  async order(amount) {
    const order = randomUUID();
    await promisify(execFile)(process.execPath, [new URL("shop.js", examples).pathname, order, String(amount)], {
      env: { ...process.env, SHOP_DSN: dsn("shop") },
    });
    return order;
  }

  async one(sql, ...values) {
    const { rows } = await this.shop.query({ text: sql, values, rowMode: "array" });
    return rows[0][0];
  }

  wait(gid) {
    return this.one("SELECT dtm_wait($1, '1 minute')", gid);
  }

  calls(gid) {
    return this.one(
      "SELECT string_agg(branch_id || ' ' || op || ' ' || http_status, ', ' ORDER BY started) FROM dtm.calls WHERE gid = $1",
      gid,
    );
  }

  async balances() {
    const { rows } = await this.bank.query("SELECT name, balance FROM account ORDER BY name");
    return rows.map((row) => `${row.name} ${row.balance}`).join(", ");
  }

  /** Calls the bank as the coordinator would. */
  async post(path, gid, op, { key = KEY, inHeaders = false, at = Math.floor(Date.now() / 1000), transType = "saga", branchId = "01", payload = { account: "alice", amount: 30 } } = {}) {
    const body = Buffer.from(JSON.stringify(payload));
    const values = { trans_type: transType, gid, branch_id: branchId, op };
    const headers = { "content-type": "application/json" };
    if (key) headers["dtm-signature"] = sign(new Call(transType, gid, branchId, op, body), key, at);
    if (inHeaders) for (const name in values) headers["dtm-" + name.replace("_", "-")] = values[name];
    const query = inHeaders ? "" : "?" + new URLSearchParams(values);
    const response = await fetch(this.url + path + query, { method: "POST", headers, body });
    return [response.status, await response.text()];
  }
}
