#!/usr/bin/python3
"""The scenarios of bench/run.sh that submit: bench.py SCENARIO CONNECTION-STRING"""
import json
import os
import statistics
import subprocess
import sys
import time
import urllib.request

import psycopg2

scenario, dsn = sys.argv[1], sys.argv[2]
here = os.path.dirname(os.path.abspath(__file__))
participant = subprocess.Popen(
    ["/usr/bin/python3", os.path.join(here, "..", "test", "participant.py")],
    stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
base = f"http://127.0.0.1:{int(participant.stdout.readline())}"
connection = psycopg2.connect(dsn)
connection.autocommit = True
cursor = connection.cursor()


def query(sql, *arguments):
    cursor.execute(sql, arguments)
    return cursor.fetchone()[0]


def calls_of(gid):
    with urllib.request.urlopen(f"{base}/_log?gid={gid}") as reply:
        return json.load(reply)


def milliseconds(values):
    values = sorted(values)
    return (f"median {statistics.median(values):7.2f} ms   "
            f"p99 {values[int(len(values) * 0.99)]:7.2f} ms")


SAGA = """SELECT dtm_submit('saga', ARRAY[
  dtm_step(%s, %s, '{"amount": 30}'), dtm_step(%s, %s, '{"amount": 30}')], gid => %s)"""


def latency():
    first, last = [], []
    for n in range(300):
        gid = f"latency-{n}"
        query(SAGA, base + "/a", base + "/A", base + "/b", base + "/B", gid)
        query("SELECT dtm_wait(%s)", gid)
        if n < 50:
            continue            # connections and plans are made
        committed = query("SELECT extract(epoch FROM pg_xact_commit_timestamp(xmin))"
                          " FROM dtm.request WHERE gid = %s", gid)
        final = query("SELECT extract(epoch FROM pg_xact_commit_timestamp(f.xmin))"
                      " FROM dtm.finished f JOIN dtm.request r USING (id) WHERE gid = %s", gid)
        answered = query("SELECT extract(epoch FROM max(started + duration)) FROM dtm.calls"
                         " WHERE gid = %s", gid)
        first.append((calls_of(gid)[0]["time"] - float(committed)) * 1000)
        last.append((float(final) - float(answered)) * 1000)
    print(f"{'latency: COMMIT to the first request':44} {milliseconds(first)}")
    print(f"{'latency: last reply to the final status':44} {milliseconds(last)}")


def concurrent():
    sagas = 1000
    url = base + "/slow?delay=0.2"
    started = time.time()
    query("SELECT count(dtm_submit('saga', ARRAY[dtm_step(%s, '', '{}'), dtm_step(%s, '', '{}')],"
          " gid => 'concurrent-' || n)) FROM generate_series(1, %s) n", url, url, sagas)
    submitted = time.time()
    while query("SELECT count(*) FROM dtm.transactions WHERE gid LIKE 'concurrent-%%'"
                " AND status = 'succeed'") < sagas:
        time.sleep(0.02)
    ended = time.time()
    repeated = query("SELECT count(*) FROM dtm.calls WHERE gid LIKE 'concurrent-%%'") - 2 * sagas
    workers = query("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'dtm coordinator'")
    print(f"{'concurrent: 1000 sagas of 2 x 200 ms':44} {ended - submitted:.2f} s after their commit"
          f" (their chain is 0.40 s); submit {submitted - started:.2f} s,"
          f" {workers} worker, {repeated} calls repeated")


{"latency": latency, "concurrent": concurrent}[scenario]()
participant.stdin.close()
