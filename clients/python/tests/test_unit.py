"""What the examples do not reach.  If one fails: see its name."""
import asyncio
import os
import uuid
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest
from psycopg.rows import dict_row

from dtm_pg import BadRequest, Call, Ongoing, Refused, Unauthorized, django, fastapi, flask, sign, submit_async
from dtm_pg.transaction import run, run_async

DSN = f"host={os.environ['CLIENTS_HOST']} user=postgres dbname=bank_extension"


class Pool:
    def connection(self):
        return psycopg.connect(DSN, row_factory=dict_row)


class AsyncConnections:
    def connection(self):
        return Connecting()


class Connecting:
    async def __aenter__(self):
        self.connection = await psycopg.AsyncConnection.connect(DSN)
        return self.connection

    async def __aexit__(self, *error):
        await self.connection.close()


def call(body=b"{}"):
    return Call("saga", uuid.uuid4().hex, "01", "action", body)


def test_signature_is_the_one_of_the_documentation():
    documented = "t=1700000000,v1=b26c15bd4034e6e3ef58516522be41ba9a2ad6a904acba3bd738bec7cc378d21"
    signed = Call("saga", "g", "01", "action", b'{"a": 1}')
    assert sign(signed, "0123456789abcdef", 1700000000) == documented
    assert signed.is_signed(documented, "0123456789abcdef", float("inf"))
    assert signed.is_signed(documented, ["another key, new", "0123456789abcdef"], float("inf"))
    assert not signed.is_signed(documented, "0123456789abcdef")     # too old
    for wrong in ("", documented + "0", documented.replace("b2", "b3"), documented.replace("t=1", "t=2")):
        assert not signed.is_signed(wrong, "0123456789abcdef", float("inf"))


def test_line_feed_does_not_shift_the_boundary():
    query = {"trans_type": "saga", "gid": "g\n01", "branch_id": "x", "op": "action"}
    with pytest.raises((Unauthorized, BadRequest)):
        Call.read(query, {"dtm-signature": f"t=1,v1={'0' * 64}"}, b"", "0123456789abcdef", float("inf"))


def test_empty_key_is_an_error():
    for key in ("", [], ["", "0123456789abcdef"]):
        for make in (flask.branch, fastapi.branch, lambda pool, key: django.branch(key)):
            with pytest.raises(ValueError, match="key is empty"):
                make(Pool(), key)
        with pytest.raises(ValueError, match="key is empty"):
            Call.read({}, {}, b"", key)


def test_type_that_is_not_signed_does_not_hide_a_query_back():
    assert Call("saga", "g", "00", "msg").is_query_back
    assert not Call("msg", "g", "01", "action").is_query_back


def test_words_of_replies_are_not_mixed_up():
    assert "ONGOING" not in str(Refused("the audit is ONGOING").body)
    assert "FAILURE" not in str(Ongoing("after a FAILURE").body)


def test_sqlstates_are_replies():
    for code, reply in ("DT409", Refused), ("DT425", Ongoing):
        raising = f"DO $$ BEGIN RAISE 'no' USING ERRCODE = '{code}'; END $$"
        with pytest.raises(reply, match="^no$"):
            run(Pool(), call(), lambda connection, call: connection.execute(raising))


def test_swallowed_error_is_no_success():
    def business(connection, call):
        try:
            connection.execute("SELECT 1 / 0")
        except psycopg.Error:
            pass

    once = call()
    with pytest.raises(RuntimeError, match="rolled back"):
        run(Pool(), once, business)
    assert run(Pool(), once, lambda connection, call: "done") == b'"done"'


def test_result_that_is_not_json_is_rolled_back():
    once = call()
    with pytest.raises(TypeError, match="Decimal"):
        run(Pool(), once, lambda connection, call: {"amount": Decimal(1)})
    assert run(Pool(), once, lambda connection, call: {"amount": 1}) == b'{"amount": 1}'    # the barrier has not seen the call


def test_commit_of_ones_own_is_an_error():
    with pytest.raises(psycopg.ProgrammingError):
        run(Pool(), call(), lambda connection, call: connection.commit())


def test_skipped_replies_to_a_repeat():
    once = call()
    assert run(Pool(), once, lambda connection, call: {"id": 1}) == b'{"id": 1}'
    assert run(Pool(), once, lambda connection, call: {"id": 2}) == b'{"dtm_result": "SUCCESS"}'
    assert run(Pool(), once, lambda connection, call: {"id": 3}, lambda connection, call: {"id": 1}) == b'{"id": 1}'


def test_asynchronous():
    async def business(connection, call):
        cursor = await connection.execute("SELECT 41 + 1")
        return (await cursor.fetchone())[0]

    async def refuses(connection, call):
        await connection.execute("DO $$ BEGIN RAISE 'no' USING ERRCODE = 'DT409'; END $$")

    async def main():
        assert await run_async(AsyncConnections(), call(), business) == b"42"
        with pytest.raises(Refused):
            await run_async(AsyncConnections(), call(), refuses)
        async with await psycopg.AsyncConnection.connect(os.environ["CLIENTS_SHOP"]) as shop:
            gid = await submit_async(shop, "msg", [{"action": ""}], options={"notify": True})
            assert len(gid) == 26

    asyncio.run(main())


def test_readme_has_the_examples():
    top = Path(__file__).parent.parent
    readme = (top / "README.md").read_text()
    for name in "shop", "bank_flask":
        assert f"```python\n{(top / 'examples' / name).with_suffix('.py').read_text()}```" in readme, name
