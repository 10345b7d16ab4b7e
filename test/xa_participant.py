#!/usr/bin/python3
"""The second phase of an XA participant whose data is in PostgreSQL.

    xa_participant.py CONNECTION-STRING

Listens on 127.0.0.1, prints its port, and stops when its standard input ends.
POST /?op=commit&gid=G&branch_id=01 commits the prepared transaction G-01, and
op=rollback rolls it back; where there is none, that has been done already.
"""
import http.server
import sys
import threading
import urllib.parse

import psycopg2
import psycopg2.errors
import psycopg2.extensions


def second_phase(connection, op, gid, branch_id):
    xid = f"{gid}-{branch_id}"
    verb = {"commit": "COMMIT", "rollback": "ROLLBACK"}[op]
    with connection.cursor() as cursor:
        try:
            cursor.execute(f"{verb} PREPARED %s", (xid,))
        except psycopg2.errors.UndefinedObject:
            pass
        if op == "rollback":
            # a local transaction that comes later finds this, and does nothing
            cursor.execute("SELECT dtm_barrier('xa', %s, %s, 'rollback')", (gid, branch_id))


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        query = dict(urllib.parse.parse_qsl(self.path.partition("?")[2]))
        status, body = 200, b"null"
        try:
            connection = psycopg2.connect(sys.argv[1])
            connection.autocommit = True
            try:
                second_phase(connection, query["op"], query["gid"], query["branch_id"])
            finally:
                connection.close()
        except Exception as error:  # told to the coordinator, who tries again
            status, body = 500, str(error).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
sys.stdin.read()
