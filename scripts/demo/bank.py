#!/usr/bin/python3
"""A bank for the demonstration: a small service with accounts in PostgreSQL.

    bank.py PORT CONNECTION-STRING ACCOUNT

Serves POST /TransOut, /TransIn and their Compensate forms for one account.
Each is one database transaction: the barrier says whether this branch
operation is to be done, then the balance changes.
"""
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import psycopg2

port, dsn, account = int(sys.argv[1]), sys.argv[2], sys.argv[3]

SIGN = {"/TransOut": -1, "/TransOutCompensate": +1,
        "/TransIn": +1, "/TransInCompensate": -1}


class Bank(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        url = urlsplit(self.path)
        branch = {key: values[-1] for key, values in parse_qs(url.query).items()}
        amount = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["amount"]
        connection = psycopg2.connect(dsn)
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute("SELECT dtm_barrier(%s, %s, %s, %s)",
                               (branch["trans_type"], branch["gid"],
                                branch["branch_id"], branch["op"]))
                if cursor.fetchone()[0]:
                    cursor.execute("UPDATE account SET balance = balance + %s"
                                   " WHERE name = %s AND open",
                                   (SIGN[url.path] * amount, account))
                    if cursor.rowcount == 0:
                        raise PermissionError(f"account {account} is closed")
            self.answer(200, {"dtm_result": "SUCCESS"})
        except (PermissionError, psycopg2.errors.CheckViolation) as refusal:
            # a final business "no": the saga is to be rolled back
            self.answer(409, {"dtm_result": "FAILURE", "message": str(refusal).split("\n")[0]})
        finally:
            connection.close()

    def answer(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_args):
        pass


ThreadingHTTPServer(("127.0.0.1", port), Bank).serve_forever()
