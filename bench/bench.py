#!/usr/bin/python3
"""The scenarios of bench/run.sh, and its tables.

    bench.py run TOOLS BIN CONNECTION DATA-DIRECTORY SECONDS JSON SCENARIO...
    bench.py compare OLD.json NEW.json

TOOLS is the directory with the compiled participant and client.  Every figure
that is compared with another is measured in turns with it, three times.
"""
import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
import time
import urllib.request

import gateway

ROUNDS = 3
PAIRED_ROUNDS = 9               # of a third of the time each
CLIENTS = 8
WAITERS = 1000
TICK = os.sysconf("SC_CLK_TCK")


class Failed(Exception):
    """Something that makes all figures worthless."""


# ---------- what was measured ----------

class Results:
    """Figures by scenario and name, printed as they come."""

    def __init__(self):
        self.rows = []

    def title(self, scenario, text):
        self.scenario = scenario
        print(f"\n== {scenario}: {text}", flush=True)

    def note(self, text):
        print(f"   {text}", flush=True)

    def figure(self, name, values, unit="", target=None):
        """A list of values, one a round; target is like (">=", 0.62)."""
        values = values if isinstance(values, list) else [values]
        values = [float(value) for value in values]
        middle = statistics.median(values)
        row = {"scenario": self.scenario, "name": name, "unit": unit, "median": middle,
               "min": min(values), "max": max(values)}
        shown = f"{spell(middle)} {unit}"
        if len(values) > 1:
            shown += f"  ({spell(min(values))} - {spell(max(values))})"
        verdict = ""
        if target is not None:
            sign, bound = target
            row["target"] = f"{sign} {bound}"
            row["met"] = middle >= bound if sign == ">=" else middle <= bound
            verdict = f"   target {sign} {spell(bound)}: {'met' if row['met'] else 'MISSED'}"
        self.rows.append(row)
        print(f"   {name:54} {shown:32}{verdict}", flush=True)

    def ratio(self, name, ours, reference, target=None):
        self.figure(name, [a / b for a, b in zip(ours, reference)], "", target)


def spell(value):
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    if abs(value) >= 100:
        return f"{value:.0f}"
    if abs(value) >= 10:
        return f"{value:.1f}"
    return f"{value:.3f}" if abs(value) < 1 else f"{value:.2f}"


# ---------- processes ----------

def cpu_of(pid, children=False):
    """Seconds of CPU that a process has used, or those of its children that ended."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            fields = file.read().rsplit(")", 1)[1].split()
    except FileNotFoundError:
        return 0.0
    first = 13 if children else 11
    return (int(fields[first]) + int(fields[first + 1])) / TICK


def status_of(pid, name):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        for line in file:
            if line.startswith(name + ":"):
                return int(line.split()[1])
    return 0


class Cpu:
    """CPU by process between its making and done(), in microseconds."""

    def __init__(self, bench):
        self.bench = bench
        self.pids = bench.coordinator_pids()
        self.before = self.read()

    def read(self):
        bench = self.bench
        return {
            "coordinator": sum(cpu_of(pid) for pid in self.pids),
            "participant": cpu_of(bench.participant.pid),
            "backends": cpu_of(bench.postmaster, True) + sum(cpu_of(pid) for pid in bench.helpers()),
            "clients": sum(os.times()[2:4]),
        }

    def done(self):
        after = self.read()
        return {name: (after[name] - self.before[name]) * 1e6 for name in after}


# ---------- the bench ----------

class Bench:
    def __init__(self, tools, bin_dir, dsn, data, seconds):
        import psycopg2
        self.tools, self.bin, self.dsn, self.data, self.seconds = tools, bin_dir, dsn, data, seconds
        self.results = Results()
        self.participant = subprocess.Popen([f"{tools}/participant"], stdin=subprocess.PIPE,
                                            stdout=subprocess.PIPE, text=True)
        self.url = f"http://127.0.0.1:{int(self.participant.stdout.readline())}"
        self.connection = psycopg2.connect(dsn)
        self.connection.autocommit = True
        self.cursor = self.connection.cursor()
        with open(f"{data}/postmaster.pid", encoding="ascii") as file:
            self.postmaster = int(file.readline())
        self.scripts = 0
        self.processed = 0

    # SQL

    def execute(self, sql, *arguments):
        self.cursor.execute(sql, arguments or None)

    def query(self, sql, *arguments):
        self.execute(sql, *arguments)
        return self.cursor.fetchone()[0]

    def coordinator_pids(self):
        self.execute("SELECT pid FROM pg_stat_activity WHERE backend_type = 'dtm coordinator'")
        return [pid for pid, in self.cursor.fetchall()]

    def helpers(self):
        # the sessions, too, that go on after a measurement
        self.execute("SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type IN"
                     " ('walwriter', 'checkpointer', 'background writer', 'client backend')")
        return [pid for pid, in self.cursor.fetchall()]

    def wait_for(self, sql, seconds=600):
        until = time.time() + seconds
        while not self.query(sql):
            if time.time() > until:
                raise Failed(f"waited for too long: {sql}")
            time.sleep(0.02)

    def set(self, **settings):
        for name, value in settings.items():
            if value is None:
                self.execute(f"ALTER SYSTEM RESET dtm.{name}")
            else:
                self.execute(f"ALTER SYSTEM SET dtm.{name} = '{value}'")
        self.execute("SELECT pg_reload_conf()")

    def pause(self):
        self.execute("SELECT dtm_pause()")
        self.wait_for("SELECT bool_and(state = 'paused') FROM dtm.stat_coordinator")

    def resume(self):
        self.execute("SELECT dtm_resume()")

    def reset(self):
        """Empty tables, a coordinator that runs, and nothing left to be written."""
        self.pause()
        self.execute("TRUNCATE dtm.request, dtm.active, dtm.finished, dtm.attempt, dtm.result")
        self.ask("/_reset")
        self.execute("CHECKPOINT")
        self.resume()
        self.wait_for("SELECT bool_and(state = 'running') FROM dtm.stat_coordinator")

    # the participant

    def ask(self, path):
        with urllib.request.urlopen(self.url + path) as reply:
            return json.loads(reply.read())

    def logged(self):
        """{gid: [(arrived, answered)...]} in us"""
        calls = {}
        with urllib.request.urlopen(self.url + "/_log") as reply:
            for line in reply.read().decode().splitlines():
                gid, _branch, _op, arrived, answered = line.split()
                calls.setdefault(gid, []).append((int(arrived), int(answered)))
        return calls

    def check_calls(self):
        """Every call that was expected was made once, and answered with 200 (or refused)."""
        stats = self.ask("/_stats")
        if stats["duplicates"]:
            raise Failed(f"{stats['duplicates']} branches were called twice")
        bad = self.query("SELECT count(*) FROM dtm.attempt WHERE result <> 'S'")
        if bad != stats["refused"]:
            raise Failed(f"{bad} calls were not answered with 200, {stats['refused']} were refused")

    # clients

    def pgbench(self, script, seconds=None, clients=CLIENTS, mode="prepared"):
        """Transactions a second."""
        self.scripts += 1
        path = f"{self.tools}/{self.scripts}.sql"
        with open(path, "w", encoding="ascii") as file:
            file.write(script)
        out = subprocess.run(
            [f"{self.bin}/pgbench", "-n", "-M", mode, "-c", str(clients), "-j", "2",
             "-T", str(seconds or self.seconds), "-f", path, "-D", f"run={self.scripts}", "-D", "n=0", self.dsn],
            check=False, capture_output=True, text=True)
        if out.returncode != 0:
            raise Failed(out.stderr)
        for line in out.stdout.splitlines():
            if line.startswith("number of transactions actually processed:"):
                self.processed = int(line.split(":")[1].split("/")[0])
            if line.startswith("tps ="):
                return float(line.split()[2])
        raise Failed(out.stdout)

    def submitted(self, script, **options):
        """The number of its transactions."""
        self.pgbench(script, **options)
        return self.processed

    def saga(self, path="/s/", options=None):
        step = f"dtm_step('{self.url}{path}Out', '{self.url}{path}OutRevert', '{{\"amount\": 30}}')"
        more = f", options => '{options}'" if options else ""
        return f"SELECT dtm_submit('saga', ARRAY[{step}, {step.replace('Out', 'In')}]{more});\n"

    def client(self, *arguments):
        done = subprocess.run([f"{self.tools}/client", *map(str, arguments)], check=False,
                              capture_output=True, text=True)
        if done.returncode != 0:
            raise Failed(done.stderr)
        return done.stdout

    # what several scenarios do

    def live(self, script, rounds=ROUNDS, reset=True, length=None):
        """Clients submit while the coordinator works: a dict for each round."""
        found = []
        for _ in range(rounds):
            if reset:
                self.reset()
            counters = ("SELECT json_build_array(sum(finished), sum(commits), sum(calls),"
                        " pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')) FROM dtm.stat_coordinator")
            cpu = Cpu(self)
            before = self.query(counters)
            began = time.time()
            submitted = self.pgbench(script, length) * (length or self.seconds)
            seconds = time.time() - began
            after = self.query(counters)
            backlog = self.query("SELECT count(*) FROM dtm.active WHERE next_time < now()")
            # their CPU is known when they have gone
            self.wait_for("SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'pgbench'"
                          " AND query NOT LIKE 'SELECT dtm_wait(%')")
            used = cpu.done()
            self.wait_for("SELECT NOT EXISTS (SELECT FROM dtm.active WHERE next_time <= now())")
            wal = self.query(counters)[3] - before[3]
            self.check_calls()
            finished = after[0] - before[0]
            found.append({
                "rate": finished / seconds, "submitted": submitted / (length or self.seconds),
                "backlog": backlog, "wal": wal / (finished + backlog),
                "commits": (after[1] - before[1]) / finished,
                "cpu": {name: value / finished for name, value in used.items()}})
        return found

    def drain(self, count, rounds=ROUNDS, reset=True):
        """A backlog of sagas is worked off: a dict for each round."""
        found = []
        for _ in range(rounds):
            if reset:
                self.reset()
            self.pause()
            self.execute(self.saga().replace("SELECT ", "SELECT count(", 1).replace(");\n", "))") +
                         f" FROM generate_series(1, {count})")
            before = self.query("SELECT sum(finished) FROM dtm.stat_coordinator")
            cpu = Cpu(self)
            began = time.time()
            self.resume()
            self.wait_for(f"SELECT sum(finished) >= {before + count} FROM dtm.stat_coordinator")
            seconds = time.time() - began
            used = cpu.done()
            self.check_calls()
            found.append({"posts": 2 * count / seconds,
                          "cpu": {name: value / count for name, value in used.items()}})
        return found

    def show_cpu(self, rounds, names=("coordinator", "backends", "clients", "participant")):
        for name in names:
            self.results.figure(f"CPU for a saga: {name}", [r["cpu"][name] for r in rounds], "us")

    def paired_seconds(self):
        """Of a round where two rates lie close together: more rounds, in turns, that are shorter."""
        return max(1, int(self.seconds * ROUNDS / PAIRED_ROUNDS))

    def backlog_size(self):
        """Sagas to be worked off: a hundred thousand, unless it has to be quick."""
        return 100_000 if self.seconds >= 10 else int(4000 * self.seconds)

    # ---------- scenarios ----------

    def scenario_live(self):
        results = self.results
        results.title("live", f"{CLIENTS} clients submit sagas of two steps, the coordinator runs them")
        only, live = [], []
        for _ in range(ROUNDS):
            self.reset()
            self.pause()
            only.append(self.pgbench(self.saga()))
            live += self.live(self.saga(), 1)
        results.figure("submit only, coordinator paused", only, "sagas/s")
        results.figure("finished, live", [r["rate"] for r in live], "sagas/s")
        results.ratio("finished / submit only", [r["rate"] for r in live], only, (">=", 0.62))
        results.figure("backlog at the end", [r["backlog"] for r in live], "sagas")
        results.figure("backlog / finished in a second", [r["backlog"] / r["rate"] for r in live], "",
                       ("<=", 1))
        results.figure("WAL for a saga", [r["wal"] / 1000 for r in live], "kB", ("<=", 3.0))
        results.figure("commits of the coordinator for a saga", [r["commits"] for r in live], "",
                       ("<=", 0.06))
        self.show_cpu(live)

        self.reset()
        commits = "SELECT sum(commits) FROM dtm.stat_coordinator"
        before = self.query(commits)
        for number in range(20):
            gid = f"lone-{number}"
            self.execute(self.saga().replace("ARRAY", "gid => %s, steps => ARRAY"), gid)
            self.execute("SELECT dtm_wait(%s)", gid)
        results.figure("commits for a lone saga", (self.query(commits) - before) / 20, "", ("<=", 2))

    def scenario_drain(self):
        results = self.results
        count = self.backlog_size()
        results.title("drain", f"a backlog of {count:,} sagas of two steps is worked off")
        # the bare client has the concurrency that is best for it
        bare_url = self.url + "/bare"
        rates = {n: float(self.client("post", bare_url, n, 0.5).split()[0]) for n in (50, 100, 200)}
        best = max(rates, key=rates.get)
        bare, drain = [], []
        for _ in range(ROUNDS):
            rate, cpu = self.client("post", bare_url, best, max(1, self.seconds * 0.4)).split()
            bare.append((float(rate), float(cpu)))
            drain += self.drain(count, 1)
        results.figure(f"bare libcurl client, {best} at a time", [b[0] for b in bare], "POST/s")
        results.figure("dtm", [r["posts"] for r in drain], "POST/s")
        results.ratio("dtm / bare client", [r["posts"] for r in drain], [b[0] for b in bare], (">=", 0.55))
        results.figure("CPU for a POST: bare client", [b[1] for b in bare], "us")
        self.show_cpu(drain, ("coordinator", "participant"))

    def scenario_flat(self):
        results = self.results
        waiting, finished = int(100_000 * min(self.seconds, 10)), int(500_000 * min(self.seconds, 10))
        count = self.backlog_size()
        results.title("flat", f"the same beside {waiting:,} that wait and {finished:,} that have finished")
        live, drain = self.live(self.saga()), self.drain(count)
        self.reset()
        self.pause()
        self.fill(waiting, finished)
        self.resume()
        loaded_live, loaded_drain = [], []
        for _ in range(ROUNDS):
            loaded_live += self.live(self.saga(), 1, False)
            loaded_drain += self.drain(count, 1, False)
        results.figure("finished, live", [r["rate"] for r in loaded_live], "sagas/s")
        results.ratio("live: full / empty tables", [r["rate"] for r in loaded_live],
                      [r["rate"] for r in live], (">=", 0.85))
        results.figure("drain", [r["posts"] for r in loaded_drain], "POST/s")
        results.ratio("drain: full / empty tables", [r["posts"] for r in loaded_drain],
                      [r["posts"] for r in drain], (">=", 0.85))

    def fill(self, waiting, finished):
        """Sagas as they are when they wait for a later time, and when they have finished."""
        self.results.note("filling the tables ...")
        self.execute(f"""
INSERT INTO dtm.request (created, submitted_by, trans_type, concurrent, wait_result, gid, action, compensate, payload)
SELECT now(), dtm.submitter(current_user::regrole), 's', false, false, 'filled-' || n,
       ARRAY['{self.url}/s/Out', '{self.url}/s/In'], ARRAY['{self.url}/s/OutRevert', '{self.url}/s/InRevert'],
       ARRAY['{{"amount": 30}}'::bytea, '{{"amount": 30}}'::bytea]
  FROM generate_series(1, {waiting + finished}) n""")
        self.execute(f"""
INSERT INTO dtm.active (id, next_time, updated, status, branch_status, submitted_by)
SELECT id, now() + interval '1 day' + id * interval '1 s', now(), 's', 'PPPP', submitted_by
  FROM dtm.request WHERE gid LIKE 'filled-%' ORDER BY id LIMIT {waiting}""")
        self.execute("""
INSERT INTO dtm.finished (id, finished, status, branch_status)
SELECT id, now(), 'S', 'PSPS' FROM dtm.request r
 WHERE gid LIKE 'filled-%' AND NOT EXISTS (SELECT FROM dtm.active a WHERE a.id = r.id)""")
        self.execute("""
INSERT INTO dtm.attempt (id, started, duration, branch, http_status, result)
SELECT id, now(), 1000, branch, 200, 'S' FROM dtm.finished, (VALUES (1), (3)) b(branch)""")
        self.execute("VACUUM (ANALYZE) dtm.request, dtm.active, dtm.finished, dtm.attempt")
        self.execute("CHECKPOINT")

    def slow_round(self, in_flight, seconds):
        """Sagas whose calls take a second each: what a coordinator that is new needs for them."""
        self.reset()
        self.pause()
        for pid in self.coordinator_pids():
            self.execute("SELECT pg_terminate_backend(%s)", pid)    # its memory is to be measured
        self.resume()
        self.wait_for("SELECT bool_and(state = 'running') FROM dtm.stat_coordinator")
        pid = self.coordinator_pids()[0]
        self.pause()
        self.execute(self.saga("/delay/1000/").replace("SELECT ", "SELECT count(", 1).replace(");\n", "))") +
                     f" FROM generate_series(1, {in_flight * (seconds + 3) // 2})")
        self.resume()
        self.wait_for(f"SELECT in_flight >= {in_flight} * 0.9 FROM dtm.stat_coordinator", 20)
        time.sleep(1)
        most, memory = 0, 0
        began, before, calls = time.time(), cpu_of(pid), self.query("SELECT calls FROM dtm.stat_coordinator")
        for _ in range(seconds - 2):
            time.sleep(1)
            memory = max(memory, status_of(pid, "RssAnon") / 1024)
            most = max(most, self.query("SELECT in_flight FROM dtm.stat_coordinator"))
        elapsed = time.time() - began
        used = cpu_of(pid) - before
        calls = self.query("SELECT calls FROM dtm.stat_coordinator") - calls
        self.wait_for("SELECT NOT EXISTS (SELECT FROM dtm.active)")
        self.check_calls()
        return {"most": most, "memory": memory, "rate": calls / elapsed,
                "cpu": 100 * used / elapsed, "call": used * 1e6 / calls}

    def scenario_slow(self):
        results = self.results
        in_flight, seconds = 5000, max(4, int(self.seconds))
        results.title("slow", f"a participant that answers after 1 s, {in_flight:,} calls in flight")
        self.set(max_requests=in_flight, max_requests_per_host=in_flight)
        found, bare, spread, few = [], [], [], []
        for _ in range(ROUNDS):
            found.append(self.slow_round(in_flight, seconds))
            slow = ("post", self.url + "/delay/1000/bare", in_flight, seconds)
            bare.append(float(self.client(*slow).split()[1]))
            spread.append(float(self.client(*slow, 100).split()[1]))
            few.append(float(self.client("post", self.url + "/bare", 50, max(1, seconds * 0.4)).split()[1]))
        self.set(max_requests=None, max_requests_per_host=None)
        results.figure("calls in flight", [r["most"] for r in found], "")
        results.figure("answered", [r["rate"] for r in found], "calls/s")
        results.figure("memory of the coordinator, at most", max(r["memory"] for r in found), "MB", ("<=", 200))
        results.figure("CPU of the coordinator", [r["cpu"] for r in found], "% of a core", ("<=", 20))
        results.figure("CPU for a call", [r["call"] for r in found], "us")
        results.figure("CPU for a call: bare client, one multi handle", bare, "us")
        results.figure("CPU for a call: bare client, 100 calls to a multi handle", spread, "us")
        results.figure("CPU for a POST: bare client, 50 in flight", few, "us")
        results.ratio("CPU for a call / bare client, 100 to a multi handle", [r["call"] for r in found], spread)
        # the 20 % in POSTs of a bare client, of which the machine that they are from made 46,400/s
        results.ratio("CPU for a call / for such a POST", [r["call"] for r in found], few,
                      ("<=", round(0.20 / 5000 * 46400, 2)))

    def scenario_flood(self):
        results = self.results
        number, workers, milliseconds = 4000, 10, 30
        results.title("flood", f"{number:,} messages to a service that works on {workers} requests at a time, {milliseconds} ms each,"
                               " and lets others queue; beside: a bare libcurl client with the limit that is best")
        path = f"/pool/{workers}/{milliseconds}"
        self.set(max_requests_per_host=1000)
        times, best, failed = [], [], []
        for _ in range(ROUNDS):
            self.reset()
            self.pause()
            self.execute(f"SELECT count(dtm_submit('msg', ARRAY[dtm_step('{self.url}{path}/flood', payload => '{{}}')]))"
                         f" FROM generate_series(1, {number})")
            began = time.time()
            self.resume()
            self.wait_for("SELECT NOT EXISTS (SELECT FROM dtm.active)")
            times.append(time.time() - began)
            failed.append(self.query("SELECT count(*) FROM dtm.attempt WHERE result <> 'S'")
                          + self.query("SELECT count(*) FROM dtm.stat_hosts WHERE state <> 'closed'"))
            window = self.query("SELECT max(window_size) FROM dtm.stat_hosts WHERE host = %s", self.url)
            self.check_calls()
            rates = [float(self.client("post", f"{self.url}{path}/bare", n, 2).split()[0]) for n in (10, 20, 50)]
            best.append(number / max(rates))
        self.set(max_requests_per_host=None)
        results.figure("time", times, "s")
        results.figure("time-outs and open circuits", failed, "", ("<=", 0))
        results.figure("calls at a time in the end", window)
        results.ratio("time / that of the best limit", times, best, ("<=", 1.3))

    def scenario_latency(self):
        results = self.results
        number = int(100 * self.seconds)
        results.title("latency", "100 sagas a second, one after another")
        first, floor, last, p99 = [], [], [], []
        for _ in range(ROUNDS):
            self.reset()
            out = self.client("floor", self.dsn, self.url + "/log/a", number, 100)
            calls = self.logged()
            floor.append(statistics.median(calls[gid][0][0] - int(began)
                                           for gid, began in map(str.split, out.splitlines())))
            self.reset()
            out = self.client("submit", self.dsn, self.url + "/log/a", number, 100)
            calls = self.logged()
            lines = [(gid, int(began), int(ended)) for gid, began, ended in map(str.split, out.splitlines())]
            times = sorted(calls[gid][0][0] - began for gid, began, _ in lines)
            first.append(statistics.median(times))
            p99.append(times[int(len(times) * 0.99)])
            last.append(statistics.median(ended - calls[gid][1][1] for gid, _, ended in lines))
            self.check_calls()
        results.figure("one INSERT commit and one POST", floor, "us")
        results.figure("submit call to the first request", first, "us")
        results.ratio("submit call to the first request / that", first, floor, ("<=", 1.5))
        results.figure("submit call to the first request, p99", [p / 1000 for p in p99], "ms", ("<=", 5))
        results.figure("last reply to the return of dtm_wait", [t / 1000 for t in last], "ms", ("<=", 2))

    def scenario_barrier(self):
        results = self.results
        results.title("barrier", f"a business transaction of one UPDATE, {CLIENTS} clients")
        self.execute("DROP TABLE IF EXISTS bench_account")
        self.execute("CREATE TABLE bench_account (id int PRIMARY KEY, balance int) WITH (fillfactor = 50)")
        self.execute("INSERT INTO bench_account SELECT n, 0 FROM generate_series(1, 1000) n")
        self.execute("TRUNCATE dtm_barrier.barrier")
        update = "UPDATE bench_account SET balance = balance + 1 WHERE id = :account;\n"
        setup = ("\\set account random(1, 1000)\n\\set n :n + 1\n"
                 "\\set gid :run * 1000000000 + :client_id * 100000000 + :n\n")
        insert = ("INSERT INTO dtm_barrier.barrier (trans_type, gid, branch_id, op, barrier_id, reason,"
                  " create_time, update_time) VALUES ('saga', :gid, '01', 'action', '01', 'action', now(), now())"
                  " ON CONFLICT DO NOTHING;\n")
        self.execute("""
CREATE OR REPLACE FUNCTION bench_plain(account int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  UPDATE bench_account SET balance = balance + 1 WHERE id = account;
END $$;
CREATE OR REPLACE FUNCTION bench_guarded(account int, gid text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  IF dtm_barrier('saga', gid, '01', 'action') THEN
    UPDATE bench_account SET balance = balance + 1 WHERE id = account;
  END IF;
END $$;
CREATE OR REPLACE FUNCTION bench_inserted(account int, gid text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO dtm_barrier.barrier (trans_type, gid, branch_id, op, barrier_id, reason, create_time, update_time)
    VALUES ('saga', gid, '01', 'action', '01', 'action', now(), now()) ON CONFLICT DO NOTHING;
  IF FOUND THEN
    UPDATE bench_account SET balance = balance + 1 WHERE id = account;
  END IF;
END $$;
CREATE OR REPLACE FUNCTION bench_many(prefix text, n int) RETURNS float8[] LANGUAGE plpgsql AS $$
DECLARE
  times float8[];
  start timestamptz;
BEGIN
  FOR tenth IN 0 .. 9 LOOP
    start := clock_timestamp();
    FOR i IN 1 .. n / 10 LOOP
      PERFORM dtm_barrier('saga', prefix || tenth || '-' || i, '01', 'action');
    END LOOP;
    times := times || extract(epoch FROM clock_timestamp() - start) * 1e6 / (n / 10);
  END LOOP;
  RETURN times;
END $$""")
        scripts = {
            "without barrier": "BEGIN;\n" + update + "COMMIT;\n",
            "with dtm_barrier": "BEGIN;\nSELECT dtm_barrier('saga', :gid, '01', 'action');\n" + update + "COMMIT;\n",
            "with an INSERT of the same row": "BEGIN;\n" + insert + update + "COMMIT;\n",
            "in a function, without barrier": "SELECT bench_plain(:account);\n",
            "in a function, with dtm_barrier": "SELECT bench_guarded(:account, :gid);\n",
            "in a function, with an INSERT": "SELECT bench_inserted(:account, :gid);\n",
        }
        rates = {name: [] for name in scripts}
        for number in range(PAIRED_ROUNDS):
            self.execute("TRUNCATE dtm_barrier.barrier")
            self.execute("CHECKPOINT")
            # to and fro, so that what is slower later in a round is so for both
            for name in list(scripts)[::-1 if number % 2 else 1]:
                rates[name].append(self.pgbench(setup + scripts[name], self.paired_seconds()))
        for name, values in rates.items():
            results.figure(name, values, "transactions/s")
        plain, guarded, bare, plain_function, guarded_function, bare_function = rates.values()
        results.ratio("with / with an INSERT of the same row", guarded, bare, (">=", 1.0))
        results.ratio("the same, in a function", guarded_function, bare_function, (">=", 1.0))
        results.ratio("with / without", guarded, plain)
        results.ratio("with / without, in a function", guarded_function, plain_function)
        times = []
        for number in range(ROUNDS):
            self.execute(f"SELECT bench_many('{number}-', 100000)")
            times.append(self.cursor.fetchone()[0])
        results.figure("one of 100,000 in one transaction, the first", [each[0] for each in times], "us")
        results.ratio("the last / the first of them", [each[-1] for each in times], [each[0] for each in times], ("<=", 2))

    def scenario_submit(self):
        results = self.results
        results.title("submit", f"dtm_submit and a PL function that does the same INSERTs, {CLIENTS} clients")
        self.execute("""
DROP TABLE IF EXISTS bench_request, bench_active;
CREATE TABLE bench_request (LIKE dtm.request INCLUDING ALL);
CREATE TABLE bench_active (LIKE dtm.active INCLUDING ALL);
CREATE OR REPLACE FUNCTION bench_submit(gid text, actions text[], compensations text[], payloads bytea[]) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
  new_id bigint;
BEGIN
  INSERT INTO bench_request (created, submitted_by, trans_type, concurrent, wait_result, gid, action, compensate, payload)
  VALUES (clock_timestamp(), dtm.submitter(current_user::regrole), 's', false, false, gid, actions, compensations, payloads)
  RETURNING id INTO new_id;
  INSERT INTO bench_active (id, next_time, updated, status, branch_status, submitted_by)
  VALUES (new_id, clock_timestamp(), clock_timestamp(), 's', 'PPPP', dtm.submitter(current_user::regrole));
  RETURN gid;
END $$""")
        bare = (f"SELECT bench_submit(dtm_new_gid(), ARRAY['{self.url}/s/Out', '{self.url}/s/In'],"
                f" ARRAY['{self.url}/s/OutRevert', '{self.url}/s/InRevert'],"
                " ARRAY['{\"amount\": 30}', '{\"amount\": 30}']::bytea[]);\n")
        ours, reference = [], []
        self.reset()
        self.pause()
        for _ in range(PAIRED_ROUNDS):
            self.execute("TRUNCATE bench_request, bench_active")
            self.execute("TRUNCATE dtm.request, dtm.active")
            self.execute("CHECKPOINT")
            reference.append(self.pgbench(bare, self.paired_seconds()))
            ours.append(self.pgbench(self.saga(), self.paired_seconds()))
        self.execute("TRUNCATE dtm.request, dtm.active")
        self.resume()
        results.figure("PL function", reference, "calls/s")
        results.figure("dtm_submit", ours, "calls/s")
        results.ratio("dtm_submit / PL function", ours, reference, (">=", 0.8))

    def scenario_coordinators(self):
        results = self.results
        results.title("coordinators", "two and four coordinators of one database")
        count = self.backlog_size()
        live, drain = {1: [], 2: [], 4: []}, {1: [], 2: [], 4: []}
        for _ in range(ROUNDS):
            for number in live:
                self.set(coordinators_per_database=number)
                self.wait_for(f"SELECT count(*) = {number} AND bool_and(state = 'running') FROM dtm.stat_coordinator")
                live[number] += self.live(self.saga(), 1)
                drain[number] += self.drain(count, 1)
        self.set(coordinators_per_database=None)
        self.wait_for("SELECT count(*) = 1 AND bool_and(state = 'running') FROM dtm.stat_coordinator")
        results.figure("live, one", [r["rate"] for r in live[1]], "sagas/s")
        results.figure("drain, one", [r["posts"] for r in drain[1]], "POST/s")
        for number in (2, 4):
            results.ratio(f"live: {number} / one", [r["rate"] for r in live[number]],
                          [r["rate"] for r in live[1]], (">=", 0.9))
            results.ratio(f"drain: {number} / one", [r["posts"] for r in drain[number]],
                          [r["posts"] for r in drain[1]], (">=", 0.9))

    def scenario_waiters(self):
        self.results.title("waiters", f"live, while {WAITERS} sessions are in dtm_wait for a transaction that is an hour away;"
                                      " beside: without them")
        without, waited = [], []
        for _ in range(PAIRED_ROUNDS):
            without += self.live(self.saga(), 1, length=self.paired_seconds())
            self.reset()
            with self.waiting():
                waited += self.live(self.saga(), 1, reset=False, length=self.paired_seconds())
        self.results.figure("sagas a second, with waiters", [r["rate"] for r in waited], "/s")
        self.results.figure("sagas a second, without", [r["rate"] for r in without], "/s")
        self.results.ratio("with waiters / without", [r["rate"] for r in waited], [r["rate"] for r in without], (">=", 0.95))
        for name in ("coordinator", "backends"):
            self.results.figure(f"CPU for a saga: {name}, with waiters", [r["cpu"][name] for r in waited], "us")
            self.results.figure(f"CPU for a saga: {name}, without", [r["cpu"][name] for r in without], "us")
        # less of it is chance than of the rates
        both = [[r["cpu"]["coordinator"] + r["cpu"]["backends"] for r in rounds] for rounds in (waited, without)]
        self.results.ratio("CPU for a saga: with waiters / without", both[0], both[1], ("<=", 1.05))

    @contextlib.contextmanager
    def waiting(self):
        """Sessions that wait for the end of a transaction that is far away."""
        gid = self.query(f"SELECT dtm_submit('msg', ARRAY[dtm_step('{self.url}/s/Far', payload => '{{}}')],"
                         " options => '{\"delay\": 3600}')")
        path = f"{self.tools}/wait.sql"
        with open(path, "w", encoding="ascii") as file:
            file.write(f"SELECT dtm_wait('{gid}', '1 hour');\n")
        with subprocess.Popen([f"{self.bin}/pgbench", "-n", "-c", str(WAITERS), "-j", "2", "-t", "1", "-f", path, self.dsn],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as waiters:
            try:
                # those that are active may still load what a new session needs, for seconds in all
                self.wait_for(f"SELECT count(*) >= {WAITERS} FROM pg_stat_activity"
                              " WHERE wait_event_type = 'Extension' AND query LIKE 'SELECT dtm_wait(%'")
                yield
            finally:
                self.execute("SELECT dtm_force_stop(%s)", gid)
        if waiters.returncode != 0:
            raise Failed("a session in dtm_wait failed")

    def scenario_gateway(self):
        gateway.scenario(self, cpu_of, status_of, ROUNDS, PAIRED_ROUNDS, CLIENTS)

    @contextlib.contextmanager
    def old_snapshot(self):
        """A session that keeps a snapshot, as a long report or pg_dump does."""
        import psycopg2
        session = psycopg2.connect(self.dsn)
        session.set_session(isolation_level="REPEATABLE READ", readonly=True)
        session.cursor().execute("SELECT 1")
        try:
            yield
        finally:
            session.close()

    def cpu_for_each(self, load):
        """CPU of the coordinators and backends for each transaction of a load, which returns their number; in us."""
        # not the view, which counts what is due: that reads the entries which nobody should
        finished = "SELECT sum(finished) FROM dtm.coordinator_stats()"
        before = self.query(finished)
        cpu = Cpu(self)
        count = load()
        self.wait_for(f"SELECT sum(finished) >= {before + count} FROM dtm.coordinator_stats()")
        used = cpu.done()
        each = {name: used[name] / float(self.query(finished) - before) for name in ("coordinator", "backends")}
        return {**each, "both": sum(each.values())}

    def scenario_held(self):
        results = self.results
        dead = self.backlog_size()
        results.title("held", f"live while an old snapshot keeps {dead:,} finished transactions from being vacuumed; beside: without")
        saga = self.saga()
        prepared = f"BEGIN;\n{saga}PREPARE TRANSACTION 'bench:client_id';\nCOMMIT PREPARED 'bench:client_id';\n"
        seventy = saga.replace("SELECT ", "SELECT count(", 1).replace(");\n", ")) FROM generate_series(1, 70);\n")
        loads = {
            "live": lambda: self.submitted(saga),
            "two-phase": lambda: self.submitted(prepared, mode="simple"),
            "70 submits in a transaction": lambda: 70 * self.submitted(seventy, clients=1),
        }
        cpu = {(name, held): [] for name in loads for held in (False, True)}
        for _ in range(ROUNDS):
            for held in (False, True):
                self.reset()
                with self.old_snapshot() if held else contextlib.nullcontext():
                    self.cpu_for_each(lambda: self.query(
                        f"SELECT count(dtm_submit('msg', ARRAY[dtm_step('{self.url}/s/Held', payload => '{{}}')]))"
                        f" FROM generate_series(1, {dead})"))
                    self.execute("VACUUM dtm.active")
                    for name, load in loads.items():
                        cpu[name, held].append(self.cpu_for_each(load))
                    self.check_calls()
        for name in loads:
            for process in ("coordinator", "backends", "both"):
                values = {held: [round[process] for round in cpu[name, held]] for held in (False, True)}
                results.figure(f"{name}: CPU of {process} for a saga", values[True], "us")
                results.figure(f"{name}: CPU of {process}, without", values[False], "us")
                results.ratio(f"{name}: {process}, with / without", values[True], values[False],
                              ("<=", 1.15) if process == "both" else None)

    def scenario_mixed(self):
        results = self.results
        results.title("mixed", f"other kinds of transactions, live, {CLIENTS} clients")
        step = f"dtm_step('{self.url}/m/A', payload => '{{\"amount\": 30}}')"
        self.execute(f"""
CREATE OR REPLACE FUNCTION bench_tcc(gid text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
  PERFORM dtm_prepare('tcc', gid);
  PERFORM dtm_register_branch(gid, '01', '{self.url}/t/Confirm', '{self.url}/t/Cancel', '{{"amount": 30}}');
  PERFORM dtm_register_branch(gid, '02', '{self.url}/t/Confirm', '{self.url}/t/Cancel', '{{"amount": 30}}');
  RETURN dtm_submit('tcc', gid => gid);
END $$""")
        kinds = {
            "saga": self.saga(),
            "msg": f"SELECT dtm_submit('msg', ARRAY[{step}, {step.replace('/A', '/B')}]);\n",
            "concurrent saga": self.saga(options='{"concurrent": true}'),
            "saga, 5 % of its branches refuse": self.saga("/fail/5/"),
            "tcc": "SELECT bench_tcc(dtm_new_gid());\n",
        }
        live = {kind: [] for kind in kinds}
        for _ in range(ROUNDS):
            for kind, script in kinds.items():
                live[kind] += self.live(script, 1)
        for kind, rounds in live.items():
            results.figure(kind, [r["rate"] for r in rounds], "/s")
            if kind != "saga":
                results.ratio(f"{kind} / saga", [r["rate"] for r in rounds],
                              [r["rate"] for r in live["saga"]], (">=", 0.5))
            results.figure(f"{kind}: WAL for one", [r["wal"] / 1000 for r in rounds], "kB")
            results.figure(f"{kind}: commits of the coordinator for one", [r["commits"] for r in rounds])
            results.figure(f"{kind}: CPU of the coordinator for one", [r["cpu"]["coordinator"] for r in rounds], "us")
            results.figure(f"{kind}: CPU of backends for one", [r["cpu"]["backends"] for r in rounds], "us")

    def scenario_results(self):
        results = self.results
        results.title("results", "live, sagas whose second step gets the result of the first; beside: without")
        reference = '{"$result": "$.\\"01\\".dtm_result"}'
        plain = self.saga()
        step = plain.rindex('30')
        referring = f"{plain[:step]}{reference}{plain[step + 2:]}".replace("]);", "], options => '{\"results\": true}');")
        scripts = {"with": referring, "without": plain}
        cpu = {name: [] for name in scripts}
        for _ in range(PAIRED_ROUNDS):
            for name, script in scripts.items():
                self.reset()
                cpu[name].append(self.cpu_for_each(
                    lambda script=script: self.submitted(script, seconds=self.paired_seconds())))
                self.check_calls()
        for process in ("coordinator", "backends", "both"):
            values = {name: [each[process] for each in rounds] for name, rounds in cpu.items()}
            results.figure(f"CPU of {process} for a saga", values["with"], "us")
            results.figure(f"CPU of {process}, without", values["without"], "us")
            results.ratio(f"{process}, with / without", values["with"], values["without"],
                          ("<=", 1.25) if process == "both" else None)

    def scenario_views(self):
        """What operators ask, with DTM_BENCH_KEPT (default 1,000,000) finished and 10,000 unfinished ones."""
        results = self.results
        kept, active = int(os.environ.get("DTM_BENCH_KEPT", "1000000")), 10_000
        results.title("views", f"views with {kept:,} kept and {active:,} unfinished transactions")
        self.reset()
        self.pause()
        self.fill(active, kept)
        self.execute("DROP ROLE IF EXISTS bench_user, bench_admin")
        self.execute("CREATE ROLE bench_user IN ROLE dtm_user; CREATE ROLE bench_admin IN ROLE dtm_admin")
        self.execute("UPDATE dtm.request SET submitted_by = dtm.submitter('bench_user'::regrole) WHERE id % 100 = 0")
        self.execute("UPDATE dtm.active SET failures = 5, next_time = now() + interval '1 h' WHERE id % 20 = 0")
        self.execute("VACUUM (ANALYZE) dtm.request, dtm.active")
        queries = {
            "running": "SELECT * FROM dtm.transactions WHERE state IN ('running', 'retrying') LIMIT 50",
            "newest 50": "SELECT * FROM dtm.transactions ORDER BY id DESC LIMIT 50",
            "one gid": "SELECT * FROM dtm.transactions WHERE gid = 'filled-100'",
            "stuck": "SELECT * FROM dtm.stuck",
            "parked": "SELECT * FROM dtm.transactions WHERE state = 'parked'",
            "counts": "SELECT * FROM dtm.counts",
        }
        for role in ("bench_admin", "bench_user"):
            self.execute(f"SET ROLE {role}")
            for name, query in queries.items():
                times = []
                for _ in range(11):
                    began = time.perf_counter()
                    self.execute(query)
                    times.append((time.perf_counter() - began) * 1000)
                results.figure(f"{name}, {role}", times[1:], "ms", ("<=", 20))
            for name, what in (("overview", '"overview"'), ("active", '"list", "state": "active"'),
                               ("succeeded", '"list", "state": "succeeded"'), ("by error", '"list", "state": "active", "error": "no"'),
                               ("one gid", '"transaction", "gid": "filled-100"'), ("services", '"services"')):
                times = []
                for _ in range(11):
                    began = time.perf_counter()
                    self.execute("SELECT dtm.page(%s::jsonb)", '{"what": ' + what + "}")
                    times.append((time.perf_counter() - began) * 1000)
                results.figure(f"page: {name}, {role}", times[1:], "ms")
            self.execute("RESET ROLE")
        self.reset()
        self.execute("DROP ROLE bench_user, bench_admin")

    def scenario_idle(self):
        results = self.results
        results.title("idle", "a coordinator that has nothing to do")
        self.reset()
        time.sleep(1)
        pid = self.coordinator_pids()[0]
        before = status_of(pid, "voluntary_ctxt_switches"), cpu_of(pid)
        time.sleep(self.seconds)
        results.figure("wake-ups", status_of(pid, "voluntary_ctxt_switches") - before[0], "", ("<=", 0))
        results.figure("CPU", (cpu_of(pid) - before[1]) * 1e6, "us", ("<=", 0))

    def fdatasync(self):
        """The median time of a write of 8 kB and fdatasync where the data is, in us."""
        path = f"{self.data}/dtm-bench-sync"
        times = []
        descriptor = os.open(path, os.O_CREAT | os.O_WRONLY, 0o600)
        try:
            for _ in range(200):
                os.pwrite(descriptor, b"x" * 8192, 0)
                began = time.perf_counter()
                os.fdatasync(descriptor)
                times.append((time.perf_counter() - began) * 1e6)
        finally:
            os.close(descriptor)
            os.unlink(path)
        return statistics.median(times)

    def describe(self):
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            models = [line.split(":")[1].strip() for line in file if line.startswith("model name")]
        self.execute("SELECT name, current_setting(name) FROM pg_settings WHERE name IN ('server_version',"
                     " 'fsync', 'synchronous_commit', 'shared_buffers', 'max_wal_size', 'wal_level',"
                     " 'dtm.max_requests_per_host') ORDER BY 1")
        return {"machine": f"{len(models)} x {models[0] if models else platform.machine()}",
                "fdatasync_us": round(self.fdatasync(), 1), "seconds": self.seconds, "rounds": ROUNDS,
                "settings": dict(self.cursor.fetchall())}


SCENARIOS = ["live", "drain", "submit", "latency", "barrier", "mixed", "results", "waiters", "held", "gateway",
             "coordinators", "slow", "flood", "idle", "views", "flat"]


def run(tools, bin_dir, dsn, data, seconds, path, *scenarios):
    unknown = [name for name in scenarios if name not in SCENARIOS]
    if unknown:
        sys.exit(f"unknown scenario {unknown[0]}; there are: {' '.join(SCENARIOS)}")
    bench = Bench(tools, bin_dir, dsn, data, int(seconds))
    try:
        about = bench.describe()
        print(f"{about['machine']}; fdatasync of 8 kB {about['fdatasync_us']:.0f} us; "
              + ", ".join(f"{name} {value}" for name, value in about["settings"].items()))
        print(f"median (minimum - maximum) of {ROUNDS} rounds of {seconds} s; submit, barrier, results, gateway: of {PAIRED_ROUNDS}, shorter")
        for name in scenarios or SCENARIOS:
            getattr(bench, "scenario_" + name)()
    finally:
        bench.participant.stdin.close()
        bench.connection.close()
    with open(path, "w", encoding="utf-8") as file:
        json.dump({"about": about, "results": bench.results.rows}, file, indent=1, default=float)
    missed = [f"{row['scenario']}: {row['name']}" for row in bench.results.rows if row.get("met") is False]
    print("\n" + ("every target met" if not missed else "targets missed: " + "; ".join(missed)))


def compare(old_path, new_path):
    rows = {}
    for place, path in enumerate((old_path, new_path)):
        with open(path, encoding="utf-8") as file:
            for row in json.load(file)["results"]:
                rows.setdefault((row["scenario"], row["name"], row["unit"]), [None, None])[place] = row["median"]
    print(f"{'scenario':14}{'figure':52}{'old':>12}{'new':>12}{'new / old':>11}")
    for (scenario, name, unit), (old, new) in rows.items():
        change = f"{new / old:.2f}" if old and new is not None else ""
        print(f"{scenario:14}{name + (', ' + unit if unit else ''):52.52}"
              f"{'' if old is None else spell(old):>12}{'' if new is None else spell(new):>12}{change:>11}")


if __name__ == "__main__":
    try:
        {"run": run, "compare": compare}[sys.argv[1]](*sys.argv[2:])
    except Failed as failure:
        sys.exit(f"FAILED: {failure}")
