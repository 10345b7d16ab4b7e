"""Payment: wallets. Its database is its own; it takes part in sagas, TCC and XA of the shop."""
import os

from flask import Flask, request
from psycopg import errors, sql
from psycopg_pool import ConnectionPool

from dtm_pg import BadRequest, Call, Refused, Reply
from dtm_pg.flask import branch

app = Flask(__name__)
KEY = os.environ["KEY"]
pool = ConnectionPool(os.environ["DSN"], open=True)


def value(call, key, kind):
    """A value of the payload. A request without it is no refusal: dtm calls again, until somebody has mended the step."""
    try:
        payload = call.json()
    except ValueError:
        raise BadRequest("the payload is not JSON") from None
    if not isinstance(payload, dict) or not isinstance(payload.get(key), kind):
        raise BadRequest(f'"{key}" of type {kind.__name__} is missing in the payload')
    return payload[key]


def change(connection, call, balance=0, held=0):
    """Adds the amount of the call, times these signs, to a wallet."""
    customer, amount = value(call, "customer", str), value(call, "amount", int)
    try:
        cursor = connection.execute(
            "UPDATE account SET balance = balance + %s, held = held + %s WHERE customer = %s",
            (balance * amount, held * amount, customer))
    except errors.CheckViolation:
        raise Refused(f"{customer}'s wallet has not enough money") from None
    if cursor.rowcount == 0:
        raise Refused(f"{customer} has no wallet")


# ---------- saga: charge, and if the saga is rolled back, refund ----------
# branch() opens the transaction, asks the barrier, commits and responds. Whether a call is a repeat, or a refund
# comes before its charge, is no concern of these functions.

@app.post("/charge")
@branch(pool, KEY)
def charge(connection, call):
    change(connection, call, balance=-1)


@app.post("/refund")
@branch(pool, KEY)
def refund(connection, call):
    change(connection, call, balance=+1)


# ---------- TCC: hold (try), capture (confirm) or release (cancel) ----------
# Between try and confirm, nobody else can spend the money, and nobody sees it as spent.

@app.post("/hold")
@branch(pool, KEY)
def hold(connection, call):
    change(connection, call, held=+1)


@app.post("/capture")
@branch(pool, KEY)
def capture(connection, call):
    change(connection, call, balance=-1, held=-1)


@app.post("/release")
@branch(pool, KEY)
def release(connection, call):
    change(connection, call, held=-1)


# ---------- XA: the database prepares the transaction, and ends it when it is told to ----------

xa_pool = ConnectionPool(os.environ["DSN"], kwargs={"autocommit": True}, open=True)


def xa_action(connection, call, name):
    connection.execute("BEGIN")     # an error rolls back, when the connection returns to the pool
    if barrier(connection, call, "action"):
        change(connection, call, balance=-1)
        connection.execute(sql.SQL("PREPARE TRANSACTION {}").format(name))
    else:
        connection.execute("ROLLBACK")      # it comes too late, or again


def xa_end(connection, call, name):
    how = {"commit": "COMMIT PREPARED {}", "rollback": "ROLLBACK PREPARED {}"}[call.op]
    try:
        connection.execute(sql.SQL(how).format(name))
    except errors.UndefinedObject:
        pass                                # a repeat, or there was nothing to prepare
    if call.op == "rollback":
        barrier(connection, call, "rollback")   # an action that is still under way will be too late


def barrier(connection, call, op):
    cursor = connection.execute("SELECT dtm_barrier('xa', %s, %s, %s)", (call.gid, call.branch_id, op))
    return cursor.fetchone()[0]


@app.post("/xa")
def xa():
    try:
        call = Call.read(request.args, request.headers, request.get_data(), KEY)    # checks the signature
        with xa_pool.connection() as connection:
            run = xa_action if call.op == "action" else xa_end
            run(connection, call, sql.Literal(f"{call.gid}-{call.branch_id}"))
        return {"dtm_result": "SUCCESS"}
    except Reply as reply:
        return reply.body, reply.status


# ---------- what the page shows ----------

@app.get("/accounts")
def accounts():
    with pool.connection() as connection:
        rows = connection.execute("SELECT customer, balance, held FROM account ORDER BY customer").fetchall()
    return [{"customer": customer, "balance": balance, "held": held} for customer, balance, held in rows]


if __name__ == "__main__":
    app.run(os.environ.get("HOST", "127.0.0.1"), int(os.environ["PORT"]), threaded=True)
