#!/usr/bin/python3
"""A participant whose account is in PostgreSQL, with dtm's barrier.

    bank.py CONNECTION-STRING

Listens on 127.0.0.1, prints its port, and stops when its standard input ends.

    POST /?amount=30&...  op action and compensate move the amount and back; try
                          freezes it, confirm moves it, cancel thaws it.  With
                          refuse=1 an action or try is refused (409) and rolled back;
                          with twice=1 the business is two halves, each with a
                          barrier of its own
    op=commit, rollback   end the prepared transaction gid-branch_id; where there is
                          none, that has been done already
"""
import http.server
import sys
import threading
import urllib.parse

import psycopg2
import psycopg2.errors

BUSINESS = {
    "action": "UPDATE account SET balance = balance + %s",
    "compensate": "UPDATE account SET balance = balance - %s",
    "try": "UPDATE account SET frozen = frozen + %s",
    "confirm": "UPDATE account SET frozen = frozen - %s, balance = balance + %s",
    "cancel": "UPDATE account SET frozen = frozen - %s",
}


class Refused(Exception):
    pass


def run_business(connection, query):
    op = query["op"]
    halves = 2 if query.get("twice") else 1
    amount = int(query["amount"]) // halves
    with connection, connection.cursor() as cursor:
        for _ in range(halves):
            cursor.execute("SELECT dtm_barrier(%s, %s, %s, %s)",
                           (query["trans_type"], query["gid"], query["branch_id"], op))
            if cursor.fetchone()[0]:
                cursor.execute(BUSINESS[op], (amount,) * BUSINESS[op].count("%s"))
        if query.get("refuse") and op in ("action", "try"):
            raise Refused("not with us")


def end_prepared(connection, query):
    xid = f"{query['gid']}-{query['branch_id']}"
    verb = {"commit": "COMMIT", "rollback": "ROLLBACK"}[query["op"]]
    connection.autocommit = True
    with connection.cursor() as cursor:
        try:
            cursor.execute(f"{verb} PREPARED %s", (xid,))
        except psycopg2.errors.UndefinedObject:
            pass
        if query["op"] == "rollback":
            # a local transaction that comes later finds this, and does nothing
            cursor.execute("SELECT dtm_barrier('xa', %s, %s, 'rollback')",
                           (query["gid"], query["branch_id"]))


def handle(query):
    connection = psycopg2.connect(sys.argv[1])
    try:
        if query["op"] in BUSINESS:
            run_business(connection, query)
        else:
            end_prepared(connection, query)
    finally:
        connection.close()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        query = dict(urllib.parse.parse_qsl(self.path.partition("?")[2]))
        status, body = 200, b"null"
        try:
            handle(query)
        except Refused as refusal:
            status, body = 409, str(refusal).encode()
        except Exception as error:  # told to the coordinator, who tries again
            status, body = 500, str(error).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST

    def log_message(self, *_arguments):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
sys.stdin.read()
