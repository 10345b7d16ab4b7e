#!/usr/bin/python3
"""Failover by Patroni and etcd while transactions are under way.

    patroni.py BIN DIRECTORY

Starts etcd and two servers under Patroni with synchronous replication, has clients
submit sagas, kills the leader as a power cut would, lets it come back, and switches
over to it, all while clients go on. What a client was told has to be there, and to have
come to its end, and participants to agree. Prints "ok" and "not ok" lines.
"""
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import psycopg2
import yaml

from checks import check, failed

BIN, DIRECTORY = sys.argv[1:3]
CLIENTS = 4
REFUSED = 7                     # every so manieth saga is refused
PATIENCE = 180                  # seconds for anything to come about
processes = []


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def eventually(condition, what):
    """What the condition returns once that is true."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            result = condition()
            if result:
                return result
        except (psycopg2.Error, urllib.error.URLError, OSError, ValueError):
            pass
        time.sleep(0.1)
    raise TimeoutError(f"waited in vain for {what}")


def start(name, *command, **options):
    log = open(f"{DIRECTORY}/{name}.log", "ab")
    process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, **options)
    processes.append(process)
    return process


def http(url, body=None):
    request = urllib.request.Request(url, data=json.dumps(body).encode() if body is not None else None)
    with urllib.request.urlopen(request, timeout=60) as reply:
        return reply.read().decode()


# ---------- servers ----------

etcd_port, etcd_peer = free_port(), free_port()


class Node:
    def __init__(self, name):
        self.name = name
        self.port, self.rest = free_port(), free_port()
        self.data = f"{DIRECTORY}/{name}"
        self.process = None
        settings = {
            "shared_preload_libraries": "dtm", "max_worker_processes": 16, "wal_log_hints": "on",
            "dtm.retry_interval": "200ms", "dtm.request_timeout": "5s", "log_min_messages": "warning",
        }
        user = {"username": "postgres", "password": "postgres"}
        config = {
            "scope": "dtm", "name": name,
            "restapi": {"listen": f"127.0.0.1:{self.rest}", "connect_address": f"127.0.0.1:{self.rest}"},
            "etcd3": {"host": f"127.0.0.1:{etcd_port}"},
            "bootstrap": {
                "dcs": {"ttl": 20, "loop_wait": 1, "retry_timeout": 3, "synchronous_mode": True,
                        "postgresql": {"use_pg_rewind": True, "parameters": settings}},
                "initdb": [{"encoding": "UTF8"}, {"locale": "C"}],
            },
            "postgresql": {
                "listen": f"127.0.0.1:{self.port}", "connect_address": f"127.0.0.1:{self.port}",
                "data_dir": self.data, "bin_dir": BIN,
                "authentication": {"superuser": user, "replication": user, "rewind": user},
                "pg_hba": ["local all all trust", "host all all 127.0.0.1/32 trust",
                           "host replication all 127.0.0.1/32 trust"],
                "parameters": {"unix_socket_directories": DIRECTORY},
            },
        }
        with open(f"{DIRECTORY}/{name}.yml", "w") as file:
            yaml.safe_dump(config, file)

    def start(self):
        self.process = start(self.name, "/usr/bin/patroni", f"{DIRECTORY}/{self.name}.yml")

    def kill(self):
        """As a power cut would."""
        with open(f"{self.data}/postmaster.pid") as file:
            postmaster = int(file.readline())
        self.process.kill()
        os.kill(postmaster, signal.SIGKILL)
        self.process.wait()

    def query(self, sql):
        connection = psycopg2.connect(f"host=127.0.0.1 port={self.port} user=postgres dbname=postgres connect_timeout=5")
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(sql)
                return cursor.fetchall() if cursor.description else None
        finally:
            connection.close()


nodes = [Node("one"), Node("two")]
ANY = ("host=127.0.0.1,127.0.0.1 port=" + ",".join(str(n.port) for n in nodes) +
       " user=postgres dbname=postgres connect_timeout=5 target_session_attrs=read-write")


def members():
    return {m["name"]: m for n in nodes if n.process.poll() is None
            for m in json.loads(http(f"http://127.0.0.1:{n.rest}/cluster"))["members"]}


def roles():
    """The leader and its synchronous standby, when there are both."""
    by_role = {m["role"]: m for m in members().values() if m["state"] in ("running", "streaming")}
    if "leader" not in by_role or "sync_standby" not in by_role:
        return None
    return [next(n for n in nodes if n.name == by_role[role]["name"]) for role in ("leader", "sync_standby")]


# ---------- clients ----------

acknowledged = set()
stopping = threading.Event()
lock = threading.Lock()
count = 0


def next_gid():
    global count
    with lock:
        count += 1
        return count, f"g{count}"


def client():
    connection = None
    while not stopping.is_set():
        number, gid = next_gid()
        into = "Refuse" if number % REFUSED == 0 else "TransIn"
        try:
            if connection is None:
                connection = psycopg2.connect(ANY)
                connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("SELECT dtm_submit('saga', ARRAY[dtm_step(%s, %s, '{}'), dtm_step(%s, '', '{}')], gid => %s)",
                               (f"{busi}/TransOut?delay=0.2", f"{busi}/TransOutRevert", f"{busi}/{into}", gid))
            acknowledged.add(gid)
            time.sleep(0.01)
        except psycopg2.Error:
            if connection is not None:
                connection.close()
            connection = None
            time.sleep(0.1)


def expected(gid):
    return "failed" if int(gid[1:]) % REFUSED == 0 else "succeed"


def examine(leader, what):
    """Everything has come to its end, and everybody agrees."""
    eventually(lambda: leader.query("SELECT count(*) FROM dtm.active")[0][0] == 0, f"{what}: the end of all")
    status = dict(leader.query("SELECT gid, status FROM dtm.transactions"))
    lost = [gid for gid in acknowledged if gid not in status]
    check(not lost, f"{what}: all {len(acknowledged)} commits that clients were told of are there", lost[:5])
    wrong = [gid for gid, ended in status.items() if ended != expected(gid)]
    check(not wrong, f"{what}: each of {len(status)} has ended as it should", wrong[:5])
    calls = {}
    for call in json.loads(http(f"{busi}/_log")):
        calls.setdefault(call["query"].get("gid"), []).append(call["path"])
    unknown = [gid for gid in calls if gid and gid not in status]
    check(not unknown, f"{what}: nobody was called for what is not there", unknown[:5])
    not_done = [gid for gid, ended in status.items()
                if "/TransOut" not in calls.get(gid, []) or
                ("/TransIn" in calls[gid]) != (ended == "succeed") or
                ("/TransOutRevert" in calls[gid]) != (ended == "failed")]
    check(not not_done, f"{what}: each was called for, or undone", not_done[:5])
    repeated = sum(len(paths) != len(set(paths)) for paths in calls.values())
    print(f"# {what}: {repeated} of {len(calls)} transactions had a call repeated", flush=True)


def main():
    start("etcd", "/usr/bin/etcd", "--data-dir", f"{DIRECTORY}/etcd",
          "--listen-client-urls", f"http://127.0.0.1:{etcd_port}", "--advertise-client-urls", f"http://127.0.0.1:{etcd_port}",
          "--listen-peer-urls", f"http://127.0.0.1:{etcd_peer}", "--initial-advertise-peer-urls", f"http://127.0.0.1:{etcd_peer}",
          "--initial-cluster", f"default=http://127.0.0.1:{etcd_peer}")
    for node in nodes:
        node.start()
    leader, standby = eventually(roles, "a leader and a synchronous standby")
    leader.query("CREATE EXTENSION dtm")
    eventually(lambda: leader.query("SELECT state FROM dtm.stat_coordinator") == [("running",)], "a coordinator")
    eventually(lambda: standby.query("SELECT state FROM dtm.stat_coordinator") == [("standby",)], "the standby to have it")
    http(f"{busi}/_reply", {"path": "/Refuse", "replies": [{"status": 409}], "forever": True})

    threads = [threading.Thread(target=client) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    eventually(lambda: leader.query("SELECT count(*) > 200 FROM dtm.finished")[0][0], "some work")
    begin = time.monotonic()
    leader.kill()
    eventually(lambda: standby.query("SELECT state FROM dtm.stat_coordinator") == [("running",)], "the promoted one's coordinator")
    print(f"# failover: {time.monotonic() - begin:.1f} s from the kill to the new coordinator", flush=True)
    known = len(acknowledged)
    eventually(lambda: len(acknowledged) > known + 200, "clients to go on")
    check(standby.query("SELECT pg_is_in_recovery()") == [(False,)], "failover: the standby is the leader")

    leader.start()
    now = eventually(roles, "the old leader as a standby")
    check(now == [standby, leader], "the old leader comes back as a standby")
    check(leader.query("SELECT state FROM dtm.stat_coordinator") == [("standby",)], "and drives nothing")

    begin = time.monotonic()
    http(f"http://127.0.0.1:{standby.rest}/switchover", {"leader": standby.name, "candidate": leader.name})
    eventually(lambda: leader.query("SELECT state FROM dtm.stat_coordinator") == [("running",)], "the coordinator after the switch")
    print(f"# switchover: {time.monotonic() - begin:.1f} s to the new coordinator", flush=True)
    known = len(acknowledged)
    eventually(lambda: len(acknowledged) > known + 200, "clients to go on")
    now = eventually(roles, "a leader and a synchronous standby again")
    check(now == [leader, standby], "switchover: they have changed places")
    stopping.set()
    for thread in threads:
        thread.join()
    examine(leader, "in the end")
    running = [n.name for n in nodes if n.query("SELECT state FROM dtm.stat_coordinator") == [("running",)]]
    check(running == [leader.name], "one coordinator runs")


participant = subprocess.Popen(["/usr/bin/python3", os.path.join(os.path.dirname(os.path.abspath(__file__)), "participant.py")],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
busi = f"http://127.0.0.1:{participant.stdout.readline().split()[0].decode()}"
try:
    main()
except TimeoutError as error:
    check(False, str(error))
finally:
    stopping.set()
    # Patroni first, which stops its server, then what it asks
    for process in reversed(processes):
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
    for node in nodes:
        if os.path.exists(f"{node.data}/postmaster.pid"):
            subprocess.run([f"{BIN}/pg_ctl", "-D", node.data, "-m", "immediate", "stop"], check=False)
    participant.kill()
sys.exit(bool(failed))
