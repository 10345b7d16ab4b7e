// The example banks under sagas and under direct calls. If one fails, a participant that uses the helpers
// does its business twice, or not at all, or takes orders from strangers.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, beforeEach, describe, test } from "node:test";
import { submit } from "dtm-pg";
import { KEY, until, World } from "./world.js";

for (const example of ["bank-express.js", "bank-fastify.js"])
  for (const database of ["bank_extension", "bank_participant"])
    describe(`${example} with ${database}`, () => {
      let world;
      before(async () => (world = await World.start(example, database)));
      beforeEach(() => world.reset());
      after(() => world.stop());

      test("a saga succeeds", async () => {
        const order = await world.order(30);
        assert.equal(await world.wait(order), "succeed");
        assert.equal(await world.balances(), "alice 70, bob 130");
        assert.equal(await world.calls(order), "01 action 200, 02 action 200");
      });

      test("a saga without query parameters succeeds", async () => {
        await world.shop.query("ALTER SERVER bank OPTIONS (ADD query_parameters 'off')");
        const gid = "ö / % " + randomUUID();
        await submit(world.shop, "saga", [{ action: "server:bank/deposit", payload: { account: "bob", amount: 1 } }], gid);
        assert.equal(await world.wait(gid), "succeed");
        assert.equal(await world.balances(), "alice 100, bob 101");
        const { rows } = await world.bank.query("SELECT FROM dtm_barrier.barrier WHERE gid = $1", [gid]);
        assert.equal(rows.length, 1);
      });

      test("a refusal is compensated", async () => {
        await world.bank.query("DELETE FROM account WHERE name = 'bob'");
        try {
          // the step that was refused is compensated, too: the barrier says that there is nothing to undo
          const order = await world.order(30);
          assert.equal(await world.wait(order), "failed");
          assert.equal(await world.calls(order), "01 action 200, 02 action 409, 02 compensate 200, 01 compensate 200");
          assert.match(await world.one("SELECT rollback_reason FROM dtm.transactions WHERE gid = $1", order), /no account bob/);
          assert.equal(await world.balances(), "alice 100");
        } finally {
          await world.bank.query("INSERT INTO account VALUES ('bob', 100)");
        }
      });

      test("a broken constraint is refused", async () => {
        const order = await world.order(101);
        assert.equal(await world.wait(order), "failed");
        assert.match(await world.one("SELECT rollback_reason FROM dtm.transactions WHERE gid = $1", order), /not enough money/);
        assert.equal(await world.balances(), "alice 100, bob 100");
      });

      test("not yet is retried", async () => {
        await world.bank.query("UPDATE account SET state = 'audited' WHERE name = 'bob'");
        const order = await world.order(30);
        await until(async () => (await world.calls(order))?.includes("02 action 425"));
        await world.bank.query("UPDATE account SET state = 'open' WHERE name = 'bob'");
        assert.equal(await world.wait(order), "succeed");
        assert.equal(await world.balances(), "alice 70, bob 130");
      });

      test("an exception is retried", async () => {
        await world.bank.query("ALTER TABLE account RENAME TO gone");
        let order;
        try {
          order = await world.order(30);
          await until(async () => (await world.calls(order))?.includes("01 action 500"));
        } finally {
          await world.bank.query("ALTER TABLE gone RENAME TO account");
        }
        assert.equal(await world.wait(order), "succeed");
        assert.equal(await world.balances(), "alice 70, bob 130");
      });

      test("a lost connection is retried", async () => {
        const lock = await world.bank.connect();
        await lock.query("BEGIN");
        await lock.query("SELECT FROM account FOR UPDATE");
        const order = await world.order(30);
        // those that wait for the lock: the bank's
        await until(async () => {
          const { rows } = await world.shop.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE datname = $1 AND wait_event_type = 'Lock'`, [database]);
          return rows.length > 0;
        });
        await lock.query("COMMIT");
        lock.release();
        assert.equal(await world.wait(order), "succeed");
        assert.match(await world.calls(order), /^01 action 500, /);
        assert.equal(await world.balances(), "alice 70, bob 130");
      });

      test("a wrong key is retried until it is right", async () => {
        await world.shop.query("ALTER USER MAPPING FOR PUBLIC SERVER bank OPTIONS (SET hmac_key 'this is the wrong key')");
        const order = await world.order(30);
        await until(async () => (await world.calls(order))?.includes("01 action 401"));
        assert.equal(await world.balances(), "alice 100, bob 100");
        await world.shop.query(`ALTER USER MAPPING FOR PUBLIC SERVER bank OPTIONS (SET hmac_key '${KEY}')`);
        assert.equal(await world.wait(order), "succeed");
        assert.equal(await world.balances(), "alice 70, bob 130");
      });

      for (const inHeaders of [false, true])
        test(`a repeat does nothing, parameters in ${inHeaders ? "headers" : "the query"}`, async () => {
          const gid = randomUUID();
          for (let i = 0; i < 2; i++)
            assert.deepEqual(await world.post("/withdraw", gid, "action", { inHeaders }), [200, '{"dtm_result":"SUCCESS"}']);
          assert.equal(await world.balances(), "alice 70, bob 100");
        });

      test("a compensation before its action", async () => {
        const gid = randomUUID();
        assert.equal((await world.post("/withdraw/undo", gid, "compensate"))[0], 200);
        assert.equal(await world.balances(), "alice 100, bob 100");
        assert.equal((await world.post("/withdraw", gid, "action"))[0], 200); // too late
        assert.equal(await world.balances(), "alice 100, bob 100");
      });

      for (const [name, how] of Object.entries({
        "no signature": { key: null },
        "a wrong key": { key: "this is the wrong key" },
        "an old signature": { at: Math.floor(Date.now() / 1000) - 400 },
      }))
        test(`a stranger is turned away: ${name}`, async () => {
          const gid = randomUUID();
          assert.equal((await world.post("/withdraw", gid, "action", how))[0], 401);
          assert.equal(await world.balances(), "alice 100, bob 100");
          assert.equal((await world.post("/withdraw", gid, "action"))[0], 200); // and has left no trace
          assert.equal(await world.balances(), "alice 70, bob 100");
        });

      test("a query-back tells whether the local transaction of a message has committed", async () => {
        const [done, lost] = [randomUUID(), randomUUID()];
        const message = { transType: "msg", branchId: "00" };
        await world.bank.query("SELECT dtm_barrier('msg', $1, '00', 'msg')", [done]);
        for (let i = 0; i < 2; i++) {
          assert.equal((await world.post("/withdraw", done, "msg", message))[0], 200);
          assert.equal((await world.post("/withdraw", lost, "msg", message))[0], 409);
        }
        // if not, it never does
        await assert.rejects(world.bank.query("SELECT dtm_barrier('msg', $1, '00', 'msg')", [lost]), /DUPLICATED/);
        assert.equal(await world.balances(), "alice 100, bob 100");
      });

      test("a request without parameters", async () => {
        assert.equal((await world.post("/withdraw", "", "action"))[0], 400);
      });

      for (const [key, payload] of [["account", { amount: 30 }], ["amount", { account: "alice" }], ["account", null]])
        test(`a body without ${key}: ${JSON.stringify(payload)}`, async () => {
          const [status, text] = await world.post("/withdraw", randomUUID(), "action", { payload });
          assert.deepEqual([status, JSON.parse(text)], [400, { message: `key "${key}" is missing in the body` }]);
          assert.equal(await world.balances(), "alice 100, bob 100");
        });

      test("a rollback leaves nothing", async () => {
        const gid = randomUUID();
        const client = await world.shop.connect();
        await client.query("BEGIN");
        await submit(client, "saga", [{ action: "server:bank/deposit" }], gid);
        await client.query("ROLLBACK");
        client.release();
        assert.equal(await world.one("SELECT dtm_status($1)", gid), null);
      });
    });
