#!/usr/bin/python3
"""A participant whose account is in PostgreSQL, with dtm's barrier.

    bank.py CONNECTION-STRING

Prints its port.

    POST /?amount=30&...  op action and compensate move the amount and back; try
                          freezes it, confirm moves it, cancel thaws it.  With
                          refuse=1 an action or try is refused (409) and rolled back;
                          with twice=1 the business is two halves, each with a
                          barrier of its own
    op=commit, rollback   end the prepared transaction gid-branch_id; where there is
                          none, that has been done already
"""
import sys

import psycopg2
import psycopg2.errors

import service

BUSINESS = {
    "action": "UPDATE account SET balance = balance + %s",
    "compensate": "UPDATE account SET balance = balance - %s",
    "try": "UPDATE account SET frozen = frozen + %s",
    "confirm": "UPDATE account SET frozen = frozen - %s, balance = balance + %s",
    "cancel": "UPDATE account SET frozen = frozen - %s",
}


def run_business(connection, query):
    op = query["op"]
    halves = 2 if query.get("twice") else 1
    amount = int(query["amount"]) // halves
    with connection, connection.cursor() as cursor:
        for _ in range(halves):
            if service.passes_barrier(cursor, query):
                cursor.execute(BUSINESS[op], (amount,) * BUSINESS[op].count("%s"))
        if query.get("refuse") and op in ("action", "try"):
            raise service.Refused("not with us")


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


class Bank(service.Handler):
    def respond(self, _path, query, _body):
        try:
            handle(query)
            self.answer(200, "null")
        except service.Refused as refusal:
            self.answer(409, str(refusal))
        except Exception as error:  # told to the coordinator, who tries again
            self.answer(500, str(error))


service.run_until_told(service.serve(Bank))
