"""A bank: withdrawals and deposits are steps of sagas, and each can be undone."""
import os
from contextlib import asynccontextmanager

from fastapi import FastAPI
from psycopg import errors
from psycopg_pool import AsyncConnectionPool

from dtm_pg import Ongoing, Refused
from dtm_pg.fastapi import branch

pool = AsyncConnectionPool(os.environ["BANK_DSN"], open=False)
KEY = os.environ["BANK_KEY"]


@asynccontextmanager
async def lifespan(app):
    async with pool:
        yield


app = FastAPI(lifespan=lifespan)


async def change(connection, call, sign):
    order = call.json("account", "amount")
    account, amount = order["account"], order["amount"]
    cursor = await connection.execute("SELECT state FROM account WHERE name = %s FOR UPDATE", (account,))
    row = await cursor.fetchone()
    if row is None:
        raise Refused(f"no account {account}")
    if row[0] == "audited":
        raise Ongoing(f"account {account} is being audited")
    try:
        await connection.execute("UPDATE account SET balance = balance + %s WHERE name = %s", (sign * amount, account))
    except errors.CheckViolation:
        raise Refused(f"not enough money in account {account}") from None


@app.post("/withdraw")
@branch(pool, KEY)
async def withdraw(connection, call):
    await change(connection, call, -1)


@app.post("/withdraw/undo")
@branch(pool, KEY)
async def undo_withdraw(connection, call):
    await change(connection, call, +1)


@app.post("/deposit")
@branch(pool, KEY)
async def deposit(connection, call):
    await change(connection, call, +1)


@app.post("/deposit/undo")
@branch(pool, KEY)
async def undo_deposit(connection, call):
    await change(connection, call, -1)
