#!/usr/bin/python3
"""The second phase of XA for a participant in PostgreSQL; needs psycopg2.

    python3 examples/xa_bank.py PORT CONNECTION-STRING

It answers the coordinator's calls with op=commit and op=rollback: docs/xa.md.
"""
import http.server
import sys
import urllib.parse

import psycopg2
import psycopg2.errors

VERBS = {"commit": "COMMIT", "rollback": "ROLLBACK"}

port, conninfo = int(sys.argv[1]), sys.argv[2]


def end_branch(gid, branch_id, op):
    connection = psycopg2.connect(conninfo)
    connection.autocommit = True    # COMMIT PREPARED cannot be in a transaction
    try:
        with connection.cursor() as cursor:
            try:
                cursor.execute(f"{VERBS[op]} PREPARED %s", (f"{gid}-{branch_id}",))
            except psycopg2.errors.UndefinedObject:
                pass                # it has ended before: success
            if op == "rollback":    # a local transaction that comes later finds this, and does nothing
                cursor.execute("SELECT dtm_barrier('xa', %s, %s, 'rollback')", (gid, branch_id))
    finally:
        connection.close()


class Bank(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        call = dict(urllib.parse.parse_qsl(self.path.partition("?")[2]))
        missing = [key for key in ("gid", "branch_id", "op") if key not in call]
        status, text = 200, ""
        if missing:
            status, text = 400, f'"{missing[0]}" is missing in the URL'
        elif call["op"] not in VERBS:
            status, text = 400, '"op" in the URL is neither commit nor rollback'
        else:
            try:
                end_branch(call["gid"], call["branch_id"], call["op"])
            except psycopg2.Error as error:     # the database is down: the coordinator calls again
                status, text = 500, str(error)
        self.send_response(status)
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())


print(f"xa bank: http://127.0.0.1:{port}", flush=True)
http.server.ThreadingHTTPServer(("127.0.0.1", port), Bank).serve_forever()
