"""Servers under Patroni and etcd on loopback, for test/patroni.py and test/citus_patroni.py."""
import itertools
import json
import os
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request

import psycopg2
import yaml

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


def http(url, body=None):
    request = urllib.request.Request(url, data=json.dumps(body).encode() if body is not None else None)
    with urllib.request.urlopen(request, timeout=60) as reply:
        return reply.read().decode()


class Cluster:
    """What all servers have in common: a folder, etcd, and the server's programs."""

    def __init__(self, bin, directory):
        self.bin = bin
        self.directory = directory
        self.etcd_port, self.etcd_peer = free_port(), free_port()

    def start(self, name, *command):
        log = open(f"{self.directory}/{name}.log", "ab")
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        processes.append(process)
        return process

    def start_etcd(self):
        client, peer = (f"http://127.0.0.1:{port}" for port in (self.etcd_port, self.etcd_peer))
        self.start("etcd", "/usr/bin/etcd", "--data-dir", f"{self.directory}/etcd",
                   "--listen-client-urls", client, "--advertise-client-urls", client,
                   "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", f"default={peer}")


class Node:
    """One server; with a group, one of a cluster of Citus."""

    def __init__(self, cluster, name, preload="dtm", group=None, **settings):
        self.cluster = cluster
        self.name = name
        self.port, self.rest = free_port(), free_port()
        self.data = f"{cluster.directory}/{name}"
        self.process = None
        user = {"username": "postgres", "password": "postgres"}
        config = {
            "scope": "dtm", "name": name,
            "restapi": {"listen": f"127.0.0.1:{self.rest}", "connect_address": f"127.0.0.1:{self.rest}"},
            "etcd3": {"host": f"127.0.0.1:{cluster.etcd_port}"},
            "bootstrap": {
                "dcs": {"ttl": 20, "loop_wait": 1, "retry_timeout": 3, "synchronous_mode": True,
                        "postgresql": {"use_pg_rewind": True, "parameters": {
                            "shared_preload_libraries": preload, "max_worker_processes": 16, "wal_log_hints": "on",
                            "dtm.retry_interval": "200ms", "dtm.request_timeout": "5s", "log_min_messages": "warning", **settings}}},
                "initdb": [{"encoding": "UTF8"}, {"locale": "C"}],
            },
            "postgresql": {
                "listen": f"127.0.0.1:{self.port}", "connect_address": f"127.0.0.1:{self.port}",
                "data_dir": self.data, "bin_dir": cluster.bin,
                "authentication": {"superuser": user, "replication": user, "rewind": user},
                "pg_hba": ["local all all trust", "host all all 127.0.0.1/32 trust",
                           "host replication all 127.0.0.1/32 trust"],
                "parameters": {"unix_socket_directories": cluster.directory},
            },
        }
        if group is not None:
            config["citus"] = {"group": group, "database": "postgres"}
        with open(f"{cluster.directory}/{name}.yml", "w") as file:
            yaml.safe_dump(config, file)

    def start(self):
        self.process = self.cluster.start(self.name, "/usr/bin/patroni", f"{self.cluster.directory}/{self.name}.yml")

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

    def coordinator_is(self, state):
        return self.query("SELECT state FROM dtm.stat_coordinator") == [(state,)]


def any_of(nodes):
    """To connect to the primary of these."""
    return ("host=" + ",".join("127.0.0.1" for _ in nodes) + " port=" + ",".join(str(n.port) for n in nodes) +
            " user=postgres dbname=postgres connect_timeout=5 target_session_attrs=read-write")


def roles(nodes):
    """The leader of these and its synchronous standby, when there are both."""
    members = {m["name"]: m for n in nodes if n.process.poll() is None
               for m in json.loads(http(f"http://127.0.0.1:{n.rest}/cluster"))["members"]}
    by_role = {m["role"]: m["name"] for m in members.values()
               if m["state"] in ("running", "streaming") and m["name"] in [n.name for n in nodes]}
    if "leader" not in by_role or "sync_standby" not in by_role:
        return None
    return [next(n for n in nodes if n.name == by_role[role]) for role in ("leader", "sync_standby")]


class Clients:
    """Each calls work(cursor, number) again and again on the primary of some nodes, with a number that nobody has had."""

    def __init__(self, nodes, count, pause, work):
        self.nodes = nodes
        self.pause = pause          # s between two calls of a client
        self.work = work
        self.acknowledged = set()   # the numbers whose commit was answered
        self.numbers = itertools.count(1)
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self.run) for _ in range(count)]

    def run(self):
        connection = None
        while not self.stopping.is_set():
            number = next(self.numbers)
            try:
                if connection is None:
                    connection = psycopg2.connect(any_of(self.nodes))
                    connection.autocommit = True
                with connection.cursor() as cursor:
                    self.work(cursor, number)
                self.acknowledged.add(number)
                self.stopping.wait(self.pause)
            except psycopg2.Error:
                if connection is not None:
                    connection.close()
                connection = None
                self.stopping.wait(0.1)

    def start(self):
        for thread in self.threads:
            thread.start()

    def go_on(self, what):
        """Waits until 200 more are answered."""
        known = len(self.acknowledged)
        eventually(lambda: len(self.acknowledged) > known + 200, f"clients to go on after {what}")

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            if thread.is_alive():
                thread.join()


def switch_over(leader, standby):
    http(f"http://127.0.0.1:{leader.rest}/switchover", {"leader": leader.name, "candidate": standby.name})


def stop_all(nodes):
    """Patroni first, which stops its server, then what it asks."""
    for process in reversed(processes):
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
    for node in nodes:
        if os.path.exists(f"{node.data}/postmaster.pid"):
            subprocess.run([f"{node.cluster.bin}/pg_ctl", "-D", node.data, "-m", "immediate", "stop"], check=False)


def start_participant():
    """Its process, and its address."""
    process = subprocess.Popen(["/usr/bin/python3", os.path.join(os.path.dirname(os.path.abspath(__file__)), "participant.py")],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
    return process, f"http://127.0.0.1:{process.stdout.readline().split()[0].decode()}"
