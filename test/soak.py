#!/usr/bin/python3
"""Long life: many transactions with retention on, and a backlog after an outage.

    soak.py TOOLS BIN CONNECTION TRANSACTIONS BACKLOG

Eight clients submit sagas of two steps, TRANSACTIONS in all, while what has finished is
removed after a minute. The tables have to level off, the coordinator's memory too; no
snapshot of ours may be older than a second, and autovacuum has to keep up. Then BACKLOG
sagas become due at once while the service that they call does not answer; when it does,
they have to be worked off in bounded memory and within the limits. Prints "ok" and
"not ok" lines, and what was measured.
"""
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request

import psycopg2

from checks import check, failed

TOOLS, BIN, DSN = sys.argv[1:4]
TRANSACTIONS, BACKLOG = int(sys.argv[4]), int(sys.argv[5])
TABLES = ("request", "active", "finished", "attempt")
PER_HOST = 100                  # dtm.max_requests_per_host
MAX_MEMORY = 200 * 1024         # kB
OUTAGE = 20                     # s
PATIENCE = 3600                 # s, for anything to come about


def connect():
    connection = psycopg2.connect(DSN)
    connection.autocommit = True
    return connection


connection = connect()


def query(sql, *arguments):
    with connection.cursor() as cursor:
        cursor.execute(sql, arguments)
        return cursor.fetchall() if cursor.description else None


def await_true(sql):
    end = time.monotonic() + PATIENCE
    while not value(sql):
        if time.monotonic() > end:
            check(False, f"waited in vain: {sql}")
            sys.exit(1)
        time.sleep(0.2)


def value(sql, *arguments):
    return query(sql, *arguments)[0][0]


def memory_of(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("RssAnon:"))


def stats():
    with urllib.request.urlopen(f"{url}/_stats") as reply:
        return json.load(reply)


class Watch(threading.Thread):
    """Looks every second at what must not grow, and every tenth of one at snapshots."""

    def __init__(self, coordinator):
        super().__init__()
        self.pid = coordinator
        self.over = threading.Event()
        self.samples = []
        self.oldest_snapshot = 0.0
        self.most_in_flight = 0
        self.error = None

    def run(self):
        try:
            self.look()
        except Exception as error:  # it is for the one who waits to say so
            self.error = error

    def look(self):
        own = connect()
        cursor = own.cursor()
        begin = time.monotonic()
        due = begin
        while not self.over.wait(0.1):
            cursor.execute("""SELECT COALESCE(max(extract(epoch FROM clock_timestamp() - xact_start)), 0)
                                FROM pg_stat_activity
                               WHERE backend_type LIKE 'dtm%' AND (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL)""")
            self.oldest_snapshot = max(self.oldest_snapshot, float(cursor.fetchone()[0]))
            cursor.execute("SELECT in_flight FROM dtm.stat_coordinator")
            self.most_in_flight = max(self.most_in_flight, cursor.fetchone()[0])
            if time.monotonic() < due:
                continue
            due += 1
            cursor.execute("SELECT " + ", ".join(f"pg_total_relation_size('dtm.{table}')" for table in TABLES))
            self.samples.append((time.monotonic() - begin, memory_of(self.pid), cursor.fetchone()))

    def stop(self):
        self.over.set()
        self.join()
        check(self.error is None, "it was watched all the time", self.error)

    def between(self, begin, end):
        """Largest memory and sizes in a part of the time, as fractions of it."""
        total = self.samples[-1][0]
        part = [s for s in self.samples if begin * total <= s[0] <= end * total]
        return max(s[1] for s in part), [max(s[2][i] for s in part) for i in range(len(TABLES))]


def saga():
    return (f"ARRAY[dtm_step('{url}/TransOut', '{url}/TransOutRevert', '{{\"amount\": 30}}'), "
            f"dtm_step('{url}/TransIn', '{url}/TransInRevert', '{{\"amount\": 30}}')]")


def long_life(pid):
    script = f"{TOOLS}/soak.sql"
    with open(script, "w") as file:
        file.write(f"SELECT dtm_submit('saga', {saga()});\n")
    watch = Watch(pid)
    watch.start()
    begin = time.monotonic()
    done = subprocess.run([f"{BIN}/pgbench", "-n", "-M", "prepared", "-c", "8", "-j", "2", "-f", script,
                           "-t", str(TRANSACTIONS // 8), DSN],
                          capture_output=True, text=True)
    seconds = time.monotonic() - begin
    await_true("SELECT count(*) = 0 FROM dtm.active")
    watch.stop()
    check(done.returncode == 0, f"{TRANSACTIONS:,} transactions in {seconds:.0f} s", done.stderr[-500:])
    middle_memory, middle = watch.between(0.5, 0.75)
    last_memory, last = watch.between(0.75, 1)
    for table, before, after in zip(TABLES, middle, last):
        # a table that has levelled off still breathes with vacuum's passes
        check(after <= before * 1.3 + 8 * 1024 * 1024, f"dtm.{table} levels off: {before / 1e6:.0f} MB, then {after / 1e6:.0f} MB")
    check(last_memory <= middle_memory * 1.2 + 4096, f"memory of the coordinator levels off: {middle_memory / 1024:.0f} MB, then {last_memory / 1024:.0f} MB")
    check(watch.oldest_snapshot <= 1, f"no snapshot of ours is older than a second ({watch.oldest_snapshot:.2f} s)")
    vacuumed = dict(query("SELECT relname, autovacuum_count FROM pg_stat_user_tables WHERE schemaname = 'dtm'"))
    check(all(vacuumed[table] > 0 for table in TABLES), "autovacuum comes round: " + ", ".join(f"{t} {vacuumed[t]} times" for t in TABLES))
    counts = stats()
    check(counts["requests"] == 2 * (TRANSACTIONS // 8) * 8 and counts["duplicates"] == 0, "each branch was called once", counts)
    left = value("SELECT count(*) FROM dtm.finished")
    check(left < TRANSACTIONS / 2, f"what has finished is removed: {left:,} of {TRANSACTIONS:,} are left")


def outage(pid):
    urllib.request.urlopen(f"{url}/_reset").read()
    query("SELECT dtm_pause()")
    await_true("SELECT state = 'paused' FROM dtm.stat_coordinator")
    for _ in range(10):
        query(f"SELECT count(dtm_submit('saga', {saga()})) FROM generate_series(1, {BACKLOG // 10})")
    participant.send_signal(signal.SIGSTOP)
    query("SELECT dtm_resume()")
    await_true("SELECT state = 'running' FROM dtm.stat_coordinator")
    watch = Watch(pid)
    watch.start()
    time.sleep(OUTAGE)          # what it lasts
    tried = value("SELECT COALESCE(sum(calls), 0) FROM dtm.stat_hosts")
    participant.send_signal(signal.SIGCONT)
    begin = time.monotonic()
    await_true("SELECT count(*) = 0 FROM dtm.active")
    seconds = time.monotonic() - begin
    watch.stop()
    failures = value("SELECT count(*) FROM dtm.finished WHERE status <> 'S'")
    check(failures == 0, f"a backlog of {BACKLOG:,} is worked off in {seconds:.0f} s ({BACKLOG / seconds:,.0f}/s) after an outage of {OUTAGE} s", failures)
    check(tried < 2 * PER_HOST, f"the dead service was called {tried} times meanwhile")
    check(watch.most_in_flight <= PER_HOST, f"never more than {PER_HOST} calls at a time ({watch.most_in_flight})")
    memory = max(s[1] for s in watch.samples)
    check(memory <= MAX_MEMORY, f"in {memory / 1024:.0f} MB")
    check(watch.oldest_snapshot <= 1, f"no snapshot of ours is older than a second ({watch.oldest_snapshot:.2f} s)")
    # what was sent before the service stopped to answer, is sent again
    counts = stats()
    check(2 * BACKLOG <= counts["requests"] <= 2 * BACKLOG + tried, f"each branch was called ({counts['requests']:,} calls, {counts['duplicates']} repeated)", counts)


participant = subprocess.Popen([f"{TOOLS}/participant"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
url = f"http://127.0.0.1:{int(participant.stdout.readline())}"
try:
    await_true("SELECT state = 'running' FROM dtm.stat_coordinator")
    pid = value("SELECT pid FROM dtm.stat_coordinator")
    long_life(pid)
    outage(pid)
    check(value("SELECT pid FROM dtm.stat_coordinator") == pid, "it was one coordinator all the time")
finally:
    participant.kill()
sys.exit(bool(failed))
