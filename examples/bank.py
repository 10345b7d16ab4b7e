#!/usr/bin/python3
"""A bank to try dtm with: it needs Python and nothing else.

    python3 examples/bank.py [PORT]

It listens on 127.0.0.1 (port 8090 by default), and prints each request that it gets.
Accounts alice and bob have 100 each; they live in memory, in SQLite.

    POST /withdraw, /withdraw/undo, /deposit, /deposit/undo     for sagas and messages
    POST /hold, /hold/confirm, /hold/cancel                     for TCC: amount may be negative
    POST /close/bob, /open/bob                                  a closed account refuses
    GET  /accounts                                              who has how much
    POST /ok/..., /later/...                                    answer 200 and 202, whatever it is

The body is {"account": "alice", "amount": 30}. Without one of these keys, the response is 400, and names it.
"""
import http.server
import json
import sqlite3
import sys
import threading
import urllib.parse

TABLES = """
CREATE TABLE account (name TEXT PRIMARY KEY, balance INT NOT NULL, held INT NOT NULL DEFAULT 0,
    open INT NOT NULL DEFAULT 1, CHECK (balance >= 0 AND balance + held >= 0));
INSERT INTO account (name, balance) VALUES ('alice', 100), ('bob', 100);
CREATE TABLE barrier (gid TEXT, branch_id TEXT, op TEXT, PRIMARY KEY (gid, branch_id, op));
"""
# what a path does to an account; $ is the amount
BUSINESS = {
    "/withdraw": "balance = balance - $ WHERE open",
    "/withdraw/undo": "balance = balance + $ WHERE 1",
    "/deposit": "balance = balance + $ WHERE open",
    "/deposit/undo": "balance = balance - $ WHERE 1",
    "/hold": "held = held + $ WHERE open",
    "/hold/confirm": "held = held - $, balance = balance + $ WHERE 1",
    "/hold/cancel": "held = held - $ WHERE 1",
}
# services that a reader has not
CANNED = {"ok": (200, {"id": 7}), "later": (202, {})}
# the operation that an operation undoes
ORIGIN = {"compensate": "action", "cancel": "try"}

database = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
database.executescript(TABLES)
one_at_a_time = threading.Lock()


class Refused(Exception):
    """A permanent failure: the saga is rolled back."""


def insert(gid, branch_id, op):
    """Is this operation new?"""
    return database.execute("INSERT OR IGNORE INTO barrier VALUES (?, ?, ?)", (gid, branch_id, op)).rowcount == 1


def barrier(gid, branch_id, op):
    """Whether to do the business: not for a repeated call, nor to undo what was never done."""
    never_done = op in ORIGIN and insert(gid, branch_id, ORIGIN[op])
    return insert(gid, branch_id, op) and not never_done


def need(values, where, **kinds):
    """A request that lacks something is no refusal: dtm calls again, until somebody has mended the step."""
    for key, kind in kinds.items():
        if not isinstance(values, dict) or key not in values:
            raise ValueError(f'"{key}" is missing in the {where}')
        if not isinstance(values[key], kind):
            raise ValueError(f'"{key}" in the {where} is not of type {kind.__name__}')


def change(path, query, body):
    """The business of one call: the barrier and the changes are one transaction."""
    call = json.loads(body)
    need(query, "URL", gid=str, branch_id=str, op=str)
    need(call, "body", account=str, amount=int)
    database.execute("BEGIN")
    try:
        if barrier(query["gid"], query["branch_id"], query["op"]):
            statement = BUSINESS[path].replace("$", ":amount")
            done = database.execute(f"UPDATE account SET {statement} AND name = :account", call).rowcount
            if not done:
                raise Refused(f"account {call['account']} is closed or unknown")
        database.execute("COMMIT")
    except sqlite3.IntegrityError:
        database.execute("ROLLBACK")
        raise Refused(f"not enough money in account {call['account']}") from None
    except BaseException:
        database.execute("ROLLBACK")
        raise


class Bank(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path, _, query = self.path.partition("?")
        verb, _, name = path[1:].partition("/")
        try:
            with one_at_a_time:
                if path in BUSINESS:
                    change(path, dict(urllib.parse.parse_qsl(query)), body)
                elif verb in CANNED:
                    return self.answer(*CANNED[verb])
                elif verb in ("open", "close"):
                    database.execute("UPDATE account SET open = ? WHERE name = ?", (verb == "open", name))
                else:
                    return self.answer(404, {"error": "no such path"})
        except Refused as refusal:
            return self.answer(409, {"error": str(refusal)})
        except ValueError as error:
            return self.answer(400, {"error": str(error)})
        return self.answer(200, {})

    def do_GET(self):
        if not self.path.startswith("/accounts"):
            return self.do_POST()
        with one_at_a_time:
            accounts = dict(database.execute("SELECT name, balance FROM account ORDER BY name"))
        return self.answer(200, accounts)

    def answer(self, status, content):
        text = json.dumps(content) + "\n"
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, text, *values):
        print(text % values, flush=True)


server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 8090), Bank)
print(f"bank: http://127.0.0.1:{server.server_address[1]}, Ctrl-C ends it", flush=True)
try:
    server.serve_forever()
except KeyboardInterrupt:
    pass
