// What the examples do not reach. If one fails: see its name.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { after, test } from "node:test";
import express from "express";
import Fastify from "fastify";
import pg from "pg";
import { BadRequest, Call, Ongoing, Refused, run, sign, submit } from "dtm-pg";
import { branch, keepBody } from "dtm-pg/express";
import { branch as fastifyBranch } from "dtm-pg/fastify";
import { dsn } from "./world.js";

const pool = new pg.Pool({ connectionString: dsn("bank_extension"), max: 1 });
pool.on("error", () => {});
after(() => pool.end());

const newCall = () => new Call("saga", randomUUID(), "01", "action", Buffer.from("{}"));

test("the signature is the one of the documentation", () => {
  const documented = "t=1700000000,v1=b26c15bd4034e6e3ef58516522be41ba9a2ad6a904acba3bd738bec7cc378d21";
  const key = "0123456789abcdef";
  const call = new Call("saga", "g", "01", "action", Buffer.from('{"a": 1}'));
  assert.equal(sign(call, key, 1700000000), documented);
  assert.ok(call.isSigned(documented, key, Infinity));
  assert.ok(call.isSigned(documented, ["another key, new", key], Infinity));
  assert.ok(!call.isSigned(documented, key)); // too old
  for (const wrong of ["", documented + "0", documented.replace("b2", "b3"), documented.replace("t=1", "t=2")])
    assert.ok(!call.isSigned(wrong, key, Infinity));
});

test("a line feed does not shift the boundary", () => {
  const query = { trans_type: "saga", gid: "g\n01", branch_id: "x", op: "action" };
  const headers = { "dtm-signature": `t=1,v1=${"0".repeat(64)}` };
  const options = { key: "0123456789abcdef", maxAge: Infinity };
  assert.throws(() => Call.read(query, headers, Buffer.alloc(0), options), BadRequest);
});

test("a parameter that is given twice is no parameter", () => {
  const query = { trans_type: "saga", gid: ["a", "b"], branch_id: "01", op: "action" };
  assert.throws(() => Call.read(query, {}, Buffer.alloc(0)), BadRequest);
});

test("an option without a key does not turn the check off", () => {
  for (const make of [branch, fastifyBranch]) {
    for (const key of [undefined, null, "", [], [""], ["a key", undefined]])
      assert.throws(() => make(pool, () => {}, { key }), /option "key" has no key/, String(key));
    for (const maxAge of [NaN, -1, "soon"]) assert.throws(() => make(pool, () => {}, { maxAge }), /option "maxAge"/);
    make(pool, () => {}, { key: ["new key", "old key"], maxAge: Infinity });
    make(pool, () => {});
  }
  assert.throws(() => Call.read({}, {}, Buffer.alloc(0), { key: undefined }), /option "key" has no key/);
});

test("a key of the body is one of its own", () => {
  for (const body of ['"text"', '{"a": 1}', "[1]", "1", "null"])
    for (const key of ["length", "toString"])
      assert.throws(() => new Call("saga", "g", "01", "action", Buffer.from(body)).json(key), BadRequest);
});

test("a type that is not signed does not hide a query-back", () => {
  assert.ok(new Call("saga", "g", "00", "msg").isQueryBack);
  assert.ok(!new Call("msg", "g", "01", "action").isQueryBack);
});

test("the words of replies are not mixed up", () => {
  assert.doesNotMatch(JSON.stringify(new Refused("the audit is ONGOING").body), /ONGOING/);
  assert.doesNotMatch(JSON.stringify(new Ongoing("after a FAILURE").body), /FAILURE/);
});

test("SQLSTATEs are replies", async () => {
  for (const [code, reply] of [["DT409", Refused], ["DT425", Ongoing]])
    await assert.rejects(
      run(pool, newCall(), (client) => client.query(`DO $$ BEGIN RAISE 'no' USING ERRCODE = '${code}'; END $$`)),
      (error) => error instanceof reply && error.message === "no",
    );
});

test("an error that was caught is no success", async () => {
  const call = newCall();
  await assert.rejects(run(pool, call, (client) => client.query("SELECT 1 / 0").catch(() => {})), /rolled back/);
  assert.equal(await run(pool, call, () => "done"), '"done"');
});

test("a result that is not JSON is rolled back", async () => {
  const call = newCall();
  await assert.rejects(run(pool, call, () => ({ id: 1n })), /BigInt/);
  assert.equal(await run(pool, call, () => ({ id: "1" })), '{"id":"1"}'); // the barrier has not seen the call
});

test("a connection that is lost is not lent again", async () => {
  await assert.rejects(run(pool, newCall(), (client) => client.query("SELECT pg_terminate_backend(pg_backend_pid())")));
  assert.equal(await run(pool, newCall(), () => "done"), '"done"');
});

test("skipped replies to a repeat", async () => {
  const call = newCall();
  assert.equal(await run(pool, call, () => ({ id: 1 })), '{"id":1}');
  assert.equal(await run(pool, call, () => ({ id: 2 })), '{"dtm_result":"SUCCESS"}');
  assert.equal(await run(pool, call, () => ({ id: 3 }), () => ({ id: 1 })), '{"id":1}');
});

test("submit without a gid", async () => {
  const shop = new pg.Client({ connectionString: dsn("shop") });
  await shop.connect();
  assert.equal((await submit(shop, "msg", [{ action: "" }], null, { notify: true })).length, 26);
  await shop.end();
});

// post(URL): a call of a payload that is JSON
function post(url, key) {
  const call = new Call("saga", randomUUID(), "01", "action", Buffer.from('{"a":  1}'));
  const query = new URLSearchParams({ trans_type: "saga", gid: call.gid, branch_id: "01", op: "action" });
  return fetch(`${url}/?${query}`, {
    method: "POST",
    headers: { "content-type": "application/json", "dtm-signature": sign(call, key, Math.floor(Date.now() / 1000)) },
    body: call.body,
  });
}

test("Express: a parsed body needs keepBody", async () => {
  const key = "0123456789abcdef";
  for (const [parser, status] of [[express.json({ verify: keepBody }), 200], [express.json(), 500]]) {
    const app = express();
    app.use(parser);
    app.post("/", branch(pool, (_client, call) => call.json(), { key }));
    app.use((error, _request, response, _next) => response.status(500).send(error.message));
    const server = app.listen(0, "127.0.0.1");
    await new Promise((resolve) => server.once("listening", resolve));
    const response = await post(`http://127.0.0.1:${server.address().port}`, key);
    assert.equal(response.status, status);
    assert.match(await response.text(), status === 200 ? /^{"a":1}$/ : /keepBody/);
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
});

test("Fastify: a parsed body needs rawBodies", async () => {
  const app = Fastify();
  app.post("/", fastifyBranch(pool, () => {}));
  const response = await app.inject({ method: "POST", url: "/", payload: { a: 1 } });
  assert.equal(response.statusCode, 500);
  assert.match(response.body, /rawBodies/);
});

test("the README has the examples", () => {
  const read = (name) => readFileSync(new URL(`../${name}`, import.meta.url), "utf8");
  for (const name of ["shop.js", "bank-express.js"])
    assert.ok(read("README.md").includes("```js\n" + read("examples/" + name) + "```"), name);
});
