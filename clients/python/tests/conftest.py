"""Starts the example banks.  scripts/clients.sh starts the server: CLIENTS_SHOP is the database of the
coordinator, CLIENTS_BANKS are databases of participants, with the extension and with sql/participant.sql."""
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from pathlib import Path

import psycopg
import pytest

from dtm_pg import Call, sign

EXAMPLES = Path(__file__).parent.parent / "examples"
KEY = "0e4d9be1f0cd8b7a52f84dbb1a1a4e2c"
SERVE_WSGI = str(Path(__file__).parent / "serve_wsgi.py")
SERVE = {
    "flask": [SERVE_WSGI, "bank_flask:app"],
    "fastapi": ["-m", "uvicorn", "--log-level", "warning", "bank_fastapi:app", "--port"],
    "django": [SERVE_WSGI, "bank_django:application"],
}


def until(what, seconds=60):
    """Waits for a condition, and returns its value."""
    end = time.monotonic() + seconds
    while not (value := what()):
        assert time.monotonic() < end, "condition did not become true"
        time.sleep(0.05)
    return value


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def accepts(port):
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


class World:
    """A bank that is served by one of the examples, and the shop."""

    def __init__(self, port, bank_dsn):
        self.url = f"http://127.0.0.1:{port}"
        self.shop = psycopg.connect(os.environ["CLIENTS_SHOP"], autocommit=True)
        self.bank = psycopg.connect(bank_dsn, autocommit=True)
        self.shop.execute(f"DROP SERVER IF EXISTS bank CASCADE; "
                          f"CREATE SERVER bank FOREIGN DATA WRAPPER dtm_http OPTIONS (base_url '{self.url}'); "
                          f"CREATE USER MAPPING FOR PUBLIC SERVER bank OPTIONS (hmac_key '{KEY}')")

    def order(self, amount):
        """Runs the example of a shop."""
        order = uuid.uuid4().hex
        subprocess.run([sys.executable, EXAMPLES / "shop.py", order, str(amount)], check=True, stdout=subprocess.DEVNULL,
                       env={**os.environ, "SHOP_DSN": os.environ["CLIENTS_SHOP"]})
        return order

    def one(self, sql, *values):
        return self.shop.execute(sql, values).fetchone()[0]

    def wait(self, gid):
        return self.one("SELECT dtm_wait(%s, '1 minute')", gid)

    def calls(self, gid, columns="branch_id || ' ' || op || ' ' || http_status"):
        return [row[0] for row in self.shop.execute(f"SELECT {columns} FROM dtm.calls WHERE gid = %s ORDER BY started", [gid])]

    def balances(self):
        return dict(self.bank.execute("SELECT name, balance FROM account").fetchall())

    def post(self, path, gid, op, body, key=KEY, headers=False, at=None,
             trans_type="saga", branch_id="01"):
        """Calls the bank as the coordinator would, and returns status and body."""
        data = json.dumps(body).encode()
        call = Call(trans_type, gid, branch_id, op, data)
        values = dict(trans_type=trans_type, gid=gid, branch_id=branch_id, op=op)
        url = self.url + path
        request = urllib.request.Request(url if headers else url + "?" + "&".join(f"{k}={v}" for k, v in values.items()), data)
        for name, value in values.items() if headers else ():
            request.add_header("dtm-" + name.replace("_", "-"), value)
        if key:
            request.add_header("Dtm-Signature", sign(call, key, at or int(time.time())))
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()


@pytest.fixture(scope="session", params=[f"{kind}-{barrier}" for kind in SERVE for barrier in ("extension", "participant")])
def served(request):
    kind, barrier = request.param.split("-")
    database = f"bank_{barrier}"
    host = os.environ["CLIENTS_HOST"]
    dsn = f"host={host} user=postgres dbname={database}"
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, *SERVE[kind], str(port)], cwd=EXAMPLES,
        env={**os.environ, "BANK_DSN": dsn, "BANK_KEY": KEY, "BANK_DB": database, "BANK_HOST": host, "BANK_USER": "postgres"})
    try:
        until(lambda: accepts(port) or process.poll() is not None)
        assert process.poll() is None, "the bank did not start"
        yield port, dsn
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


@pytest.fixture
def world(served):
    world = World(*served)
    world.bank.execute("UPDATE account SET balance = 100, state = 'open'")
    yield world
    world.shop.close()
    world.bank.close()
