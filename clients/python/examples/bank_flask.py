"""A bank: withdrawals and deposits are steps of sagas, and each can be undone."""
import os

from flask import Flask
from psycopg import errors
from psycopg_pool import ConnectionPool

from dtm_pg import Ongoing, Refused
from dtm_pg.flask import branch

app = Flask(__name__)
pool = ConnectionPool(os.environ["BANK_DSN"], open=True)
KEY = os.environ["BANK_KEY"]


def change(connection, call, sign):
    order = call.json("account", "amount")
    account, amount = order["account"], order["amount"]
    row = connection.execute("SELECT state FROM account WHERE name = %s FOR UPDATE", (account,)).fetchone()
    if row is None:
        raise Refused(f"no account {account}")
    if row[0] == "audited":
        raise Ongoing(f"account {account} is being audited")
    try:
        connection.execute("UPDATE account SET balance = balance + %s WHERE name = %s", (sign * amount, account))
    except errors.CheckViolation:
        raise Refused(f"not enough money in account {account}") from None


@app.post("/withdraw")
@branch(pool, KEY)
def withdraw(connection, call):
    change(connection, call, -1)


@app.post("/withdraw/undo")
@branch(pool, KEY)
def undo_withdraw(connection, call):
    change(connection, call, +1)


@app.post("/deposit")
@branch(pool, KEY)
def deposit(connection, call):
    change(connection, call, +1)


@app.post("/deposit/undo")
@branch(pool, KEY)
def undo_deposit(connection, call):
    change(connection, call, -1)
