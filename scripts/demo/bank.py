#!/usr/bin/python3
"""A bank for the demonstration: a small service with accounts in PostgreSQL.

    bank.py PORT CONNECTION-STRING ACCOUNT

Serves POST /TransOut, /TransIn and their Compensate forms for one account.
Each is one database transaction: the barrier says whether this branch
operation is to be done, then the balance changes.
"""
import json
import os
import signal
import sys

import psycopg2
import psycopg2.errors

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../test"))
import service

port, dsn, account = int(sys.argv[1]), sys.argv[2], sys.argv[3]

SIGN = {"/TransOut": -1, "/TransOutCompensate": +1,
        "/TransIn": +1, "/TransInCompensate": -1}


class Bank(service.Handler):
    def respond(self, path, query, body):
        try:
            amount = int(json.loads(body)["amount"])
        except (KeyError, TypeError, ValueError):
            self.answer(400, json.dumps({"message": "the body has no number \"amount\""}))
            return
        connection = psycopg2.connect(dsn)
        try:
            with connection, connection.cursor() as cursor:
                if service.passes_barrier(cursor, query):
                    cursor.execute("UPDATE account SET balance = balance + %s"
                                   " WHERE name = %s AND open",
                                   (SIGN[path] * amount, account))
                    if cursor.rowcount == 0:
                        raise service.Refused(f"account {account} is closed")
            self.answer(200, json.dumps({"dtm_result": "SUCCESS"}))
        except (service.Refused, psycopg2.errors.CheckViolation) as refusal:
            # a permanent failure: the saga is rolled back
            self.answer(409, json.dumps({"dtm_result": "FAILURE", "message": str(refusal).split("\n")[0]}))
        finally:
            connection.close()


service.serve(Bank, port)
signal.pause()
