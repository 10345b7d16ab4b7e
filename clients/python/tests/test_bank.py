"""The example banks under sagas and under direct calls.  If one fails, a participant that uses the helpers
does its business twice, or not at all, or takes orders from strangers."""
import json
import time
import uuid

import psycopg
import pytest
from conftest import KEY, until

from dtm_pg import submit


def test_saga_succeeds(world):
    order = world.order(30)
    assert world.wait(order) == "succeed"
    assert world.balances() == {"alice": 70, "bob": 130}
    assert world.calls(order) == ["01 action 200", "02 action 200"]


def test_saga_without_query_parameters_succeeds(world):
    world.shop.execute("ALTER SERVER bank OPTIONS (ADD query_parameters 'off')")
    gid = "ö / % " + uuid.uuid4().hex
    with world.shop.transaction():
        submit(world.shop, "saga", [{"action": "server:bank/deposit", "payload": {"account": "bob", "amount": 1}}], gid)
    assert world.wait(gid) == "succeed"
    assert world.balances()["bob"] == 101
    assert world.bank.execute("SELECT count(*) FROM dtm_barrier.barrier WHERE gid = %s", [gid]).fetchone()[0] == 1


def test_refusal_is_compensated(world):
    world.bank.execute("DELETE FROM account WHERE name = 'bob'")
    try:
        order = world.order(30)
        # the step that was refused is compensated, too: the barrier says that there is nothing to undo
        assert world.wait(order) == "failed"
        assert world.calls(order) == ["01 action 200", "02 action 409", "02 compensate 200", "01 compensate 200"]
        assert "no account bob" in world.one("SELECT rollback_reason FROM dtm.transactions WHERE gid = %s", order)
        assert world.balances() == {"alice": 100}
    finally:
        world.bank.execute("INSERT INTO account VALUES ('bob', 100)")


def test_broken_constraint_is_refused(world):
    order = world.order(101)
    assert world.wait(order) == "failed"
    assert "not enough money" in world.one("SELECT rollback_reason FROM dtm.transactions WHERE gid = %s", order)
    assert world.balances() == {"alice": 100, "bob": 100}


def test_not_yet_is_retried(world):
    world.bank.execute("UPDATE account SET state = 'audited' WHERE name = 'bob'")
    order = world.order(30)
    until(lambda: "02 action 425" in world.calls(order))
    world.bank.execute("UPDATE account SET state = 'open' WHERE name = 'bob'")
    assert world.wait(order) == "succeed"
    assert world.balances() == {"alice": 70, "bob": 130}


def test_exception_is_retried(world):
    world.bank.execute("ALTER TABLE account RENAME TO gone")
    try:
        order = world.order(30)
        until(lambda: "01 action 500" in world.calls(order))
    finally:
        world.bank.execute("ALTER TABLE gone RENAME TO account")
    assert world.wait(order) == "succeed"
    assert world.balances() == {"alice": 70, "bob": 130}


def test_lost_connection_is_retried(world):
    with world.bank.transaction():
        world.bank.execute("SELECT FROM account FOR UPDATE")
        order = world.order(30)
        # those that wait for the lock: the bank's
        until(lambda: world.shop.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                                         "WHERE datname = %s AND wait_event_type = 'Lock'",
                                         [world.bank.info.dbname]).rowcount > 0)
    assert world.wait(order) == "succeed"
    assert world.calls(order)[0] == "01 action 500"
    assert world.balances() == {"alice": 70, "bob": 130}


def test_wrong_key_is_retried_until_it_is_right(world):
    world.shop.execute("ALTER USER MAPPING FOR PUBLIC SERVER bank OPTIONS (SET hmac_key 'this is the wrong key')")
    order = world.order(30)
    until(lambda: "01 action 401" in world.calls(order))
    assert world.balances() == {"alice": 100, "bob": 100}
    world.shop.execute(f"ALTER USER MAPPING FOR PUBLIC SERVER bank OPTIONS (SET hmac_key '{KEY}')")
    assert world.wait(order) == "succeed"
    assert world.balances() == {"alice": 70, "bob": 130}


@pytest.mark.parametrize("headers", [False, True])
def test_repeat_does_nothing(world, headers):
    gid, body = uuid.uuid4().hex, {"account": "alice", "amount": 30}
    for _ in range(2):
        status, text = world.post("/withdraw", gid, "action", body, headers=headers)
        assert status == 200 and "SUCCESS" in text
    assert world.balances()["alice"] == 70


def test_compensation_before_its_action(world):
    gid, body = uuid.uuid4().hex, {"account": "alice", "amount": 30}
    assert world.post("/withdraw/undo", gid, "compensate", body)[0] == 200
    assert world.balances()["alice"] == 100
    assert world.post("/withdraw", gid, "action", body)[0] == 200    # too late
    assert world.balances()["alice"] == 100


@pytest.mark.parametrize("how", [{"key": None}, {"key": "this is the wrong key"}, {"at": int(time.time()) - 400}])
def test_stranger_is_turned_away(world, how):
    gid, body = uuid.uuid4().hex, {"account": "alice", "amount": 30}
    assert world.post("/withdraw", gid, "action", body, **how)[0] == 401
    assert world.balances()["alice"] == 100
    assert world.post("/withdraw", gid, "action", body)[0] == 200    # and has left no trace
    assert world.balances()["alice"] == 70


def test_query_back(world):
    """The reply tells whether the local transaction of a message has committed, and if not, it never does."""
    done, lost = uuid.uuid4().hex, uuid.uuid4().hex
    world.bank.execute("SELECT dtm_barrier('msg', %s, '00', 'msg')", [done])
    for _ in range(2):
        assert world.post("/withdraw", done, "msg", {}, trans_type="msg", branch_id="00")[0] == 200
        assert world.post("/withdraw", lost, "msg", {}, trans_type="msg", branch_id="00")[0] == 409
    with pytest.raises(psycopg.Error, match="DUPLICATED"):
        world.bank.execute("SELECT dtm_barrier('msg', %s, '00', 'msg')", [lost])
    assert world.balances() == {"alice": 100, "bob": 100}


def test_request_without_parameters(world):
    assert world.post("/withdraw", "", "action", {})[0] == 400


@pytest.mark.parametrize("body, key", [({"amount": 30}, "account"), ({"account": "alice"}, "amount"), ([], "account")])
def test_body_without_a_key(world, body, key):
    status, text = world.post("/withdraw", uuid.uuid4().hex, "action", body)
    assert (status, json.loads(text)) == (400, {"message": f'key "{key}" is missing in the body'})
    assert world.balances() == {"alice": 100, "bob": 100}


def test_rollback_leaves_nothing(world):
    gid = uuid.uuid4().hex
    with pytest.raises(ZeroDivisionError), world.shop.transaction():
        submit(world.shop, "saga", [{"action": "server:bank/deposit"}], gid)
        1 / 0
    assert world.one("SELECT dtm_status(%s)", gid) is None
