#!/usr/bin/python3
"""Money moves while everything fails: the search for what loses or doubles it.

    torture.py BIN DTM-DATA DTM-CONNECTION BANKS-DATA BANKS-CONNECTION SECONDS SEED [FIGURES]

Clients submit sagas, messages and TCCs, some with limits of attempts and some in lanes, that move money between accounts in three
databases of another server, through participants that use the barrier.  Meanwhile an
adversary, whose choices follow from the seed, kills and stops processes, restarts both
servers, has participants fail, hang and drop connections, locks and rewrites tables, holds
snapshots, and changes settings.  When it has gone, everything has to come to its end, and the books to be
right.  Prints "ok" and "not ok" lines; FIGURES gets what happened as JSON.
"""
import collections
import contextlib
import hashlib
import hmac
import http.client
import json
import os
import queue
import random
import re
import resource
import signal
import subprocess
import sys
import threading
import time

import psycopg2
import psycopg2.errors

import service
from checks import check, failed

BANKS = ("bank_a", "bank_b", "bank_c")
ACCOUNTS = 20
START = 1000                    # on each account
CLIENTS = 6
PAUSE = 0.03                    # of a client between two transactions, s
END = 180                       # seconds within which all has to be final
POOLED = 20                     # connections to a bank that are kept
PER_HOST = 100                  # connections that a coordinator may keep (dtm.max_requests_per_host)
MAX_DESCRIPTORS = PER_HOST + 100    # of a coordinator that has nothing to do
MAX_MEMORY = 100 * 1024         # the same, kB

# What a database or a role may have for its sessions, and what the adversary has for its own.
SETTINGS = (("role", "nobody"), ("default_transaction_read_only", "on"), ("session_replication_role", "replica"),
            ("default_transaction_isolation", "serializable"), ("statement_timeout", "50ms"), ("lock_timeout", "10ms"),
            ("idle_in_transaction_session_timeout", "50ms"), ("search_path", "nowhere"))
OWN_SETTINGS = ("-c role=none -c default_transaction_read_only=off -c session_replication_role=origin -c search_path=public"
                " -c default_transaction_isolation=read\\ committed -c statement_timeout=0 -c lock_timeout=0"
                " -c idle_in_transaction_session_timeout=0")

BIN, DTM_DATA, DTM, BANKS_DATA, BANKS_DSN = sys.argv[1:6]
seconds, seed = float(sys.argv[6]), int(sys.argv[7])
stopping = threading.Event()
faults = collections.Counter()
recoveries = []


def dtm_connection(**options):
    return psycopg2.connect(DTM, connect_timeout=5, **options)


def bank_connection(bank):
    return psycopg2.connect(f"{BANKS_DSN} dbname={bank}", connect_timeout=5)


# ---------- participants ----------

class Mood:
    """How the participants behave just now."""
    error = nothing = reset = half = 0.0    # probabilities
    delay = 0.0                             # seconds


called = collections.Counter()  # requests, by gid
signed = collections.Counter()  # requests with a signature, by whether it is right
KEYS = ("a-key-to-sign-with", "another-key-to-sign-with")
chance_of_participants = random.Random(seed + 1)
pools = {bank: queue.SimpleQueue() for bank in BANKS}

WORK = {
    # op: (change of balance, change of what is frozen), in amounts
    "action": (1, 0), "compensate": (-1, 0),
    "try": (0, 1), "confirm": (1, -1), "cancel": (0, -1),
}


@contextlib.contextmanager
def pooled(bank):
    """A connection that is used again, unless the server has gone away from under it."""
    try:
        connection = pools[bank].get_nowait()
    except queue.Empty:
        connection = bank_connection(bank)
    try:
        yield connection
    except psycopg2.Error:
        connection.close()
        raise
    finally:
        if not connection.closed and pools[bank].qsize() < POOLED:
            pools[bank].put(connection)
        else:
            connection.close()


def do_business(path, query):
    """/bank_a/ACCOUNT/AMOUNT[/refuse]: one transaction, behind the barrier."""
    _, bank, account, amount, *refuse = path.split("/")
    op = query["op"]
    with pooled(bank) as connection:
        with connection, connection.cursor() as cursor:
            if service.passes_barrier(cursor, query):
                balance, frozen = (factor * int(amount) for factor in WORK[op])
                cursor.execute("UPDATE account SET balance = balance + %s, frozen = frozen + %s WHERE id = %s",
                               (balance, frozen, account))
                cursor.execute("INSERT INTO ledger (gid, branch_id, op, balance, frozen) VALUES (%s, %s, %s, %s, %s)",
                               (query["gid"], query["branch_id"], op, balance, frozen))
            if refuse and op in ("action", "try"):
                raise service.Refused()


def is_signed(headers, query, body):
    """With a key that there was, and its token."""
    t, v1 = (part.split("=", 1)[1] for part in headers["Dtm-Signature"].split(","))
    text = "\n".join((t, query["gid"], query["branch_id"], query["op"], "")).encode() + body
    return any(hmac.compare_digest(hmac.new(key.encode(), text, hashlib.sha256).hexdigest(), v1) and
               headers["Authorization"] == f"Bearer token-of-{key}" for key in KEYS)


class Participant(service.Handler):
    def respond(self, path, query, body):
        called[query["gid"]] += 1
        if "Dtm-Signature" in self.headers:
            signed[is_signed(self.headers, query, body)] += 1
        dice = chance_of_participants.random()
        if dice < Mood.error:
            self.answer(500, "no luck")
            return
        if Mood.delay:
            time.sleep(Mood.delay)
        try:
            do_business(path, query)
            status, text = 200, "done"
        except service.Refused:
            status, text = 409, "refused"
        except psycopg2.Error as error:
            status, text = 500, str(error)
        # it may be done, and not be heard of
        dice = chance_of_participants.random()
        if dice < Mood.nothing:
            time.sleep(1.5)
        elif dice < Mood.nothing + Mood.reset:
            self.hang_up()
            return
        elif dice < Mood.nothing + Mood.reset + Mood.half:
            self.hang_up(service.half_response(status))
            return
        self.answer(status, text)


# ---------- clients ----------

class Client(threading.Thread):
    """Submits one transaction after another, and remembers what became of it."""

    def __init__(self, number, port):
        super().__init__(daemon=True)
        self.number, self.port = number, port
        self.random = random.Random(f"{seed}/{number}")
        self.count = 0
        self.known = {}         # gid: "committed", "rolled back" or "unknown"
        self.kinds = collections.Counter()

    def url(self, amount, refuse=False):
        bank, account = self.random.choice(BANKS), self.random.randint(1, ACCOUNTS)
        host = self.random.choice((f"http://127.0.0.1:{self.port}", "server:banks"))
        return f"{host}/{bank}/{account}/{amount}" + ("/refuse" if refuse else "")

    def run(self):
        while not stopping.is_set():
            self.count += 1
            kind = self.random.choice(("saga", "saga", "concurrent", "msg", "tcc", "local", "limited", "parks", "lane"))
            gid = f"{kind}-{self.number}-{self.count}"
            try:
                getattr(self, kind)(gid)
                self.kinds[kind] += 1
                time.sleep(PAUSE)
            except (psycopg2.Error, OSError, http.client.HTTPException):
                time.sleep(0.1)

    def in_transaction(self, gid, sql, arguments):
        """A row of ours and a submit in one transaction, that is committed or not."""
        self.known[gid] = "rolled back"
        connection = dtm_connection()
        try:
            with connection.cursor() as cursor:
                cursor.execute("INSERT INTO orders VALUES (%s)", (gid,))
                cursor.execute(sql, arguments)
                if self.random.random() < 0.1:
                    connection.rollback()
                    return
                self.known[gid] = "unknown"
                connection.commit()
                self.known[gid] = "committed"
        finally:
            connection.close()

    def saga(self, gid, options="{}"):
        amount = self.random.randint(1, 9)
        out, into = self.url(-amount), self.url(amount, self.random.random() < 0.2)
        self.in_transaction(gid, "SELECT dtm_submit('saga', ARRAY[dtm_step(%s, %s, '{}'), dtm_step(%s, %s, '{}')],"
                                 " gid => %s, options => %s)", (out, out, into, into, gid, options))

    def concurrent(self, gid):
        self.saga(gid, '{"concurrent": true}')

    def msg(self, gid):
        amount = self.random.randint(1, 9)
        self.in_transaction(gid, "SELECT dtm_submit('msg', ARRAY[dtm_step(%s, payload => '{}'), dtm_step(%s, payload => '{}')],"
                                 " gid => %s)", (self.url(-amount), self.url(amount), gid))

    def limited(self, gid):
        """A saga that is rolled back after some attempts, and is parked if that does not go well, either."""
        amount = self.random.randint(1, 9)
        out, into = self.url(-amount), self.url(amount)
        limits = '{"max_attempts": 4, "compensate_max_attempts": 2}'
        self.in_transaction(gid, "SELECT dtm_submit('saga', ARRAY[dtm_step(%s, %s, '{}', options => %s), dtm_step(%s, %s, '{}', options => %s)],"
                                 " gid => %s)", (out, out, limits, into, into, limits, gid))

    def parks(self, gid):
        """A message in a lane, which others go around when it is parked."""
        amount = self.random.randint(1, 9)
        limits = '{"max_attempts": 2}'
        self.in_transaction(gid, "SELECT dtm_submit('msg', ARRAY[dtm_step(%s, payload => '{}', options => %s), dtm_step(%s, payload => '{}', options => %s)],"
                                 " gid => %s, options => %s)", (self.url(-amount), limits, self.url(amount), limits, gid,
                                                               json.dumps({"lane": f"skips {self.random.randint(1, 3)}", "lane_on_park": "skip"})))

    def lane(self, gid):
        """A function in a lane: what it does has an order."""
        self.in_transaction(gid, "SELECT dtm_submit('msg', ARRAY[dtm_step('sql:public.work', payload => '{}', options => '{\"max_attempts\": 3}')],"
                                 " gid => %s, options => %s)", (gid, json.dumps({"lane": f"lane {self.random.randint(1, 3)}"})))

    def local(self, gid):
        self.in_transaction(gid, "SELECT dtm_submit('msg', ARRAY[dtm_step('sql:public.work', payload => '{}'),"
                                 " dtm_step('sql:public.work', payload => '{}')], gid => %s)", (gid,))

    def tcc(self, gid):
        """As an SDK does it: register, then try, branch by branch."""
        amount = self.random.randint(1, 9)
        connection = dtm_connection()
        connection.autocommit = True
        cursor = connection.cursor()
        self.known[gid] = "unknown"
        try:
            cursor.execute("SELECT dtm_prepare('tcc', %s)", (gid,))
            good = True
            for branch, url in (("01", self.url(-amount)), ("02", self.url(amount, self.random.random() < 0.2))):
                cursor.execute("SELECT dtm_register_branch(%s, %s, %s, %s, '{}')", (gid, branch, url, url))
                good = good and self.try_branch(url, gid, branch)
            if self.random.random() < 0.05:
                return          # nobody hears of it again
            cursor.execute("SELECT dtm_submit('tcc', gid => %s)" if good else "SELECT dtm_abort(%s)", (gid,))
        finally:
            connection.close()

    def try_branch(self, url, gid, branch):
        path = re.sub("^(http://[^/]*|server:banks)", "", url)
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("POST", f"{path}?op=try&gid={gid}&branch_id={branch}&trans_type=tcc", "{}")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


# ---------- the adversary ----------

class Adversary:
    def __init__(self):
        self.random = random.Random(seed)
        self.count = 0

    def sql(self, statement, *arguments, bank=None, **where):
        connection = bank_connection(bank) if bank else dtm_connection(options=OWN_SETTINGS, **where)
        connection.autocommit = True
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement, arguments or None)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def beside(self, statement):
        """In a session of its own, while the adversary goes on."""
        def run():
            with contextlib.suppress(psycopg2.Error):
                self.sql(statement)
        threading.Thread(target=run, daemon=True).start()

    def end_prepared(self, name, end, wait):
        """After a while; tried again, since the adversary itself may wait for its locks."""
        time.sleep(wait)
        while True:
            try:
                self.sql(f"{end} PREPARED '{name}'")
                return
            except psycopg2.errors.UndefinedObject:
                return
            except psycopg2.Error:
                time.sleep(0.2)

    def pids(self, backend_type):
        return [pid for pid, in self.sql(
            "SELECT pid FROM pg_stat_activity WHERE backend_type = %s AND pid <> pg_backend_pid()", backend_type)]

    def signal(self, backend_type, number):
        pids = self.pids(backend_type)
        if pids:
            os.kill(self.random.choice(pids), number)

    def await_server(self):
        """After a crash: until a coordinator works again."""
        began = time.time()
        time.sleep(0.05)        # until the server has noticed
        while time.time() - began < 60:
            try:
                if self.sql("SELECT bool_or(state IN ('running', 'paused')) FROM dtm.stat_coordinator")[0][0]:
                    recoveries.append(time.time() - began)
                    return
            except psycopg2.Error:
                pass
            time.sleep(0.05)
        check(False, "a coordinator works again within a minute of a crash")

    def pg_ctl(self, data, *arguments):
        subprocess.run([f"{BIN}/pg_ctl", "-D", data, "-w", "-s", "-l", data + ".log", *arguments],
                       check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    # what it can do

    def kill_coordinator(self):
        self.signal("dtm coordinator", signal.SIGKILL)
        self.await_server()

    def kill_backend(self):
        self.signal("client backend", signal.SIGKILL)
        self.await_server()

    def kill_launcher(self):
        self.signal("dtm launcher", signal.SIGKILL)
        self.await_server()

    def kill_local_worker(self):
        self.signal("dtm local branches", signal.SIGKILL)
        self.await_server()

    def terminate_ours(self):
        self.signal(self.random.choice(("dtm coordinator", "dtm launcher", "dtm local branches")), signal.SIGTERM)

    def cancel_ours(self):
        self.signal(self.random.choice(("dtm coordinator", "dtm launcher", "dtm local branches")), signal.SIGINT)

    def freeze_coordinator(self):
        pids = self.pids("dtm coordinator")
        if pids:
            os.kill(pids[0], signal.SIGSTOP)
            time.sleep(self.random.uniform(0.5, 3))
            os.kill(pids[0], signal.SIGCONT)

    def restart_server(self):
        self.pg_ctl(DTM_DATA, "restart", "-m", "fast")
        self.await_server()

    def crash_server(self):
        self.pg_ctl(DTM_DATA, "restart", "-m", "immediate")
        self.await_server()

    def crash_banks(self):
        self.pg_ctl(BANKS_DATA, "stop", "-m", "immediate")
        time.sleep(self.random.uniform(0, 1))
        self.pg_ctl(BANKS_DATA, "start")

    def bad_mood(self):
        Mood.error, Mood.nothing, Mood.reset, Mood.half = (self.random.choice((0, 0.1, 0.3)) for _ in range(4))
        Mood.delay = self.random.choice((0, 0, 0.05, 0.3))
        time.sleep(self.random.uniform(0.5, 2))
        Mood.error = Mood.nothing = Mood.reset = Mood.half = Mood.delay = 0.0

    def lock_table(self):
        table = self.random.choice(("active", "request", "finished", "attempt"))
        mode = self.random.choice(("SHARE ROW EXCLUSIVE", "ACCESS EXCLUSIVE"))
        wait = self.random.uniform(0.2, 1.5)
        self.sql(f"BEGIN; LOCK TABLE dtm.{table} IN {mode} MODE; SELECT pg_sleep({wait}); COMMIT")

    def lock_rows(self):
        wait = self.random.uniform(0.2, 1.5)
        self.sql(f"BEGIN; SELECT id FROM dtm.active FOR UPDATE; SELECT pg_sleep({wait}); COMMIT")

    def hold_rows(self):
        wait = self.random.uniform(1, 5)
        self.beside("BEGIN; SELECT id FROM dtm.active ORDER BY random() LIMIT 50 FOR UPDATE SKIP LOCKED;"
                    f" SELECT pg_sleep({wait}); COMMIT")

    def hold_snapshot(self):
        wait = self.random.uniform(1, 8)
        self.beside(f"BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class; SELECT pg_sleep({wait}); COMMIT")

    def forget_prepared(self):
        """It submits something, and is committed or rolled back after a while."""
        self.count += 1
        name = f"forgotten-{self.count}"
        end = self.random.choice(("COMMIT", "ROLLBACK"))
        self.sql(f"BEGIN; SELECT dtm_submit('msg', ARRAY[dtm_step('sql:public.work', payload => '{{}}')], gid => '{name}');"
                 f" PREPARE TRANSACTION '{name}'")
        threading.Thread(target=self.end_prepared, args=(name, end, self.random.uniform(0.5, 8)), daemon=True).start()

    def kill_by_function(self):
        self.count += 1
        self.sql("SELECT dtm_submit('msg', ARRAY[dtm_step('sql:public.die', payload => '{}')], gid => %s)", f"die-{self.count}")
        time.sleep(self.random.uniform(0, 2))
        self.await_server()
        self.stop_killers()

    def stop_killers(self):
        self.sql("SELECT dtm_force_stop(gid) FROM dtm.transactions WHERE gid LIKE 'die-%' AND finished IS NULL")

    def slow_banks(self):
        wait = self.random.uniform(0.2, 1.5)
        self.sql(f"BEGIN; LOCK TABLE account; SELECT pg_sleep({wait}); COMMIT", bank=self.random.choice(BANKS))

    def vacuum_full(self):
        self.sql(f"VACUUM FULL dtm.{self.random.choice(('active', 'request', 'finished', 'attempt'))}")

    def reindex(self):
        self.sql("REINDEX TABLE dtm.active")

    def drop_index(self):
        self.sql("DROP INDEX dtm.active_due")
        time.sleep(self.random.uniform(0, 1))
        self.sql("CREATE INDEX active_due ON dtm.active (next_time, id)")

    def change_settings(self):
        for name, values in (("coordinators_per_database", (1, 2, 3)), ("max_requests", (2, 10, 2000)),
                             ("max_requests_per_host", (1, 5, 1000)), ("sql_workers", (0, 1, 2)),
                             ("request_timeout", ("100ms", "1s"))):
            self.sql(f"ALTER SYSTEM SET dtm.{name} = '{self.random.choice(values)}'")
        self.sql("SELECT pg_reload_conf()")

    def change_sessions(self):
        """What sessions of the database or the role begin with."""
        whose = self.random.choice(("DATABASE", "ROLE"))
        for name, value in self.random.sample(SETTINGS, self.random.randint(1, 3)):
            self.sql(f"ALTER {whose} postgres SET {name} = '{value}'")
        if self.random.random() < 0.5:
            self.signal(self.random.choice(("dtm coordinator", "dtm local branches")), signal.SIGTERM)
        time.sleep(self.random.uniform(0, 2))
        self.restore_sessions()

    def restore_sessions(self):
        self.sql("ALTER DATABASE postgres RESET ALL")
        self.sql("ALTER ROLE postgres RESET ALL")

    def publish(self):
        self.sql("CREATE PUBLICATION everything FOR ALL TABLES")
        time.sleep(self.random.uniform(0, 2))
        self.sql("DROP PUBLICATION everything")

    def close_database(self):
        self.sql("ALTER DATABASE postgres ALLOW_CONNECTIONS false", dbname="template1")
        self.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'postgres'", dbname="template1")
        time.sleep(self.random.uniform(0, 2))
        self.open_database()
        self.await_server()

    def open_database(self):
        self.sql("ALTER DATABASE postgres ALLOW_CONNECTIONS true", dbname="template1")

    def change_server(self):
        key = self.random.choice(KEYS)
        self.sql(f"ALTER USER MAPPING FOR CURRENT_USER SERVER banks OPTIONS (SET hmac_key '{key}', SET bearer_token 'token-of-{key}')")
        self.sql("ALTER SERVER banks RENAME TO gone")
        time.sleep(self.random.uniform(0, 0.5))
        self.restore_server()

    def restore_server(self):
        if self.sql("SELECT 1 FROM pg_foreign_server WHERE srvname = 'gone'"):
            self.sql("ALTER SERVER gone RENAME TO banks")

    def pause(self):
        self.sql("SELECT dtm_pause()")
        time.sleep(self.random.uniform(0, 1))
        self.sql("SELECT dtm_resume()")

    def run_due(self):
        self.sql("CALL dtm_run_due(max_transactions => 50)")

    def reset_cron_time(self):
        self.sql("SELECT dtm_reset_cron_time('0 s', 1000)")

    def resume(self):
        self.sql("SELECT dtm_resume(gid) FROM dtm.parked")

    def switch_wal(self):
        self.sql("CHECKPOINT")

    ACTIONS = ("kill_coordinator kill_backend kill_launcher kill_local_worker terminate_ours terminate_ours "
               "cancel_ours freeze_coordinator restart_server crash_server crash_banks bad_mood bad_mood bad_mood "
               "lock_table lock_rows slow_banks vacuum_full reindex drop_index change_settings change_settings "
               "change_server pause run_due resume resume resume reset_cron_time switch_wal hold_rows hold_rows hold_snapshot hold_snapshot "
               "forget_prepared forget_prepared kill_by_function change_sessions change_sessions publish "
               "close_database").split()

    def play(self, until):
        while time.time() < until:
            action = self.random.choice(self.ACTIONS)
            try:
                getattr(self, action)()
                faults[action] += 1
            except (psycopg2.Error, ProcessLookupError):
                faults[action + " (refused)"] += 1
                with contextlib.suppress(psycopg2.Error):
                    self.undo()
            time.sleep(self.random.uniform(0, 0.5))

    def undo(self):
        """What an action may have left that was refused midway."""
        self.open_database()
        self.restore_sessions()
        self.restore_server()
        self.sql("DROP PUBLICATION IF EXISTS everything")

    def go_away(self):
        """Everything as it is to be, so that what is left can come to its end."""
        while True:             # a function may still kill its process
            with contextlib.suppress(psycopg2.Error):
                self.undo()
                self.await_server()
                self.stop_killers()
                break
            time.sleep(0.2)
        time.sleep(1)
        self.await_server()
        for name, in self.sql("SELECT gid FROM pg_prepared_xacts"):
            with contextlib.suppress(psycopg2.Error):   # it may just be ended
                self.sql(f"ROLLBACK PREPARED '{name}'")
        self.sql("ALTER SYSTEM RESET ALL")
        self.sql("SELECT pg_reload_conf()")
        self.sql("SELECT dtm_resume()")
        self.sql("CREATE INDEX IF NOT EXISTS active_due ON dtm.active (next_time, id)")


# ---------- the books ----------

def is_balanced(entries, status):
    """Does what one branch did fit how its transaction ended?"""
    if max(entries.values(), default=0) > 1:
        return False            # behind its barrier, twice
    done = entries["action"] - entries["compensate"] + entries["confirm"]
    if entries["try"] != entries["confirm"] + entries["cancel"]:
        return False
    return done == (1 if status == "succeed" else 0)


def check_books(adversary, clients):
    known = {gid: fate for client in clients for gid, fate in client.known.items()}
    statuses = dict(adversary.sql("SELECT gid, status FROM dtm.transactions"))
    orders = {gid for gid, in adversary.sql("SELECT gid FROM orders")}

    lost = [gid for gid, fate in known.items() if fate == "committed" and gid not in statuses]
    check(not lost, "what was committed is there", lost[:5])
    ghosts = [gid for gid, fate in known.items() if fate == "rolled back" and (gid in statuses or called[gid])]
    check(not ghosts, "what was rolled back left no row and no call", ghosts[:5])
    torn = [gid for gid in known if not gid.startswith("tcc") and (gid in orders) != (gid in statuses)]
    check(not torn, "a submit and the rows of its transaction are one", torn[:5])

    ledger = collections.defaultdict(collections.Counter)
    for bank in BANKS:
        for gid, branch, op, number in adversary.sql("SELECT gid, branch_id, op, count(*) FROM ledger GROUP BY 1, 2, 3", bank=bank):
            ledger[gid, branch][op] += number
        wrong = adversary.sql("""SELECT sum(a.balance), sum(a.frozen), (SELECT coalesce(sum(balance), 0) FROM ledger),
            (SELECT coalesce(sum(frozen), 0) FROM ledger) FROM account a""", bank=bank)[0]
        check(wrong[0] == START * ACCOUNTS + wrong[2] and wrong[1] == wrong[3] == 0, f"{bank}: accounts and ledger agree", wrong)
    branches = adversary.sql("SELECT DISTINCT gid, branch_id FROM dtm.branches WHERE url LIKE 'http:%' OR url LIKE 'server:%'")
    wrong = [(gid, branch, dict(ledger[gid, branch]), statuses[gid]) for gid, branch in branches
             if not is_balanced(ledger[gid, branch], statuses[gid])]
    check(not wrong, "what succeeded is done once everywhere, what failed nowhere", wrong[:5])
    total = sum(adversary.sql("SELECT sum(balance) FROM account", bank=bank)[0][0] for bank in BANKS)
    check(total == START * ACCOUNTS * len(BANKS), "no money was made or lost", total)
    wrong = adversary.sql("""SELECT b.gid, count(*) FROM dtm.branches b LEFT JOIN worked w USING (gid, branch_id)
        WHERE b.url = 'sql:public.work' GROUP BY b.gid, b.branch_id HAVING count(w.gid) <> 1 LIMIT 5""")
    check(not wrong, "functions in the database took effect once", wrong)
    wrong = adversary.sql("""SELECT gid FROM (SELECT w.gid, w.n, lag(w.n) OVER (PARTITION BY t.options ->> 'lane' ORDER BY t.id) AS before
        FROM worked w JOIN dtm.transactions t USING (gid) WHERE t.options ->> 'lane' LIKE 'lane %') l WHERE before > n LIMIT 5""")
    check(not wrong, "nothing has overtaken another one of its lane", wrong)
    lanes = adversary.sql("SELECT * FROM dtm.lane LIMIT 5")
    check(not lanes, "no lane is left", lanes)
    return statuses, ledger


def await_none(adversary, statement):
    """Waits until there are no rows, for a while; those that there are."""
    until = time.time() + 10
    rows = adversary.sql(statement)
    while rows and time.time() < until:
        time.sleep(0.1)
        rows = adversary.sql(statement)
    return rows


def check_leaks(adversary):
    wrong = adversary.sql("SELECT count(*) FROM pg_prepared_xacts")[0][0]
    check(wrong == 0, "no prepared transaction is left", wrong)
    # a turn may just be under way, but not for long
    wrong = await_none(adversary, """SELECT pid, backend_type, backend_xmin::text, now() - xact_start FROM pg_stat_activity
        WHERE backend_type LIKE 'dtm%' AND (backend_xmin IS NOT NULL OR xact_start IS NOT NULL)""")
    check(not wrong, "no snapshot and no transaction of ours is open", wrong)
    wrong = await_none(adversary, """SELECT l.pid, l.locktype, l.mode FROM pg_locks l JOIN pg_stat_activity a USING (pid)
        WHERE a.backend_type LIKE 'dtm%' AND l.locktype <> 'advisory'""")
    check(not wrong, "no lock of ours but the coordinator's", wrong)
    for pid in adversary.pids("dtm coordinator"):
        descriptors = len(os.listdir(f"/proc/{pid}/fd"))
        with open(f"/proc/{pid}/status", encoding="ascii") as file:
            memory = [int(line.split()[1]) for line in file if line.startswith("RssAnon")][0]
        check(descriptors <= MAX_DESCRIPTORS, "descriptors of the coordinator", descriptors)
        check(memory <= MAX_MEMORY, "memory of the coordinator", f"{memory} kB")


def await_end(adversary):
    until = time.time() + END
    left = None
    while time.time() < until:
        left = adversary.sql("SELECT count(*) FROM dtm.active")[0][0]
        if left == 0:
            break
        adversary.resume()
        time.sleep(0.2)
    rows = adversary.sql("SELECT gid, status, next_attempt FROM dtm.transactions WHERE finished IS NULL LIMIT 5") if left else []
    check(left == 0, "everything has come to its end", (left, rows))
    until = time.time() + 30
    quiet = "SELECT bool_and(state = 'running' AND in_flight = 0 AND loaded = 0) FROM dtm.stat_coordinator"
    while time.time() < until and not adversary.sql(quiet)[0][0]:
        time.sleep(0.1)
    check(adversary.sql(quiet)[0][0], "the coordinator has nothing in hand", adversary.sql("SELECT * FROM dtm.stat_coordinator"))


def set_up(adversary, port):
    for bank in BANKS:
        adversary.sql("CREATE EXTENSION dtm", bank=bank)
        adversary.sql("CREATE TABLE account (id int PRIMARY KEY, balance int NOT NULL, frozen int NOT NULL)", bank=bank)
        adversary.sql(f"INSERT INTO account SELECT n, {START}, 0 FROM generate_series(1, {ACCOUNTS}) n", bank=bank)
        adversary.sql("CREATE TABLE ledger (gid text, branch_id text, op text, balance int, frozen int)", bank=bank)
    adversary.sql("CREATE EXTENSION dtm")
    adversary.sql("CREATE TABLE orders (gid text PRIMARY KEY)")
    adversary.sql("CREATE TABLE worked (gid text, branch_id text, n bigserial)")
    adversary.sql("""CREATE FUNCTION work(gid text, branch_id text, op text, payload jsonb) RETURNS void LANGUAGE plpgsql AS $$
        BEGIN
          INSERT INTO public.worked (gid, branch_id) VALUES (gid, branch_id);
          IF random() < 0.1 THEN RAISE 'bad luck'; END IF;
        END $$""")
    adversary.sql("""CREATE FUNCTION die(gid text, branch_id text, op text, payload jsonb) RETURNS void LANGUAGE plpgsql AS $$
        BEGIN
          IF random() < 0.5 THEN COPY (SELECT 1) TO PROGRAM 'kill -9 $PPID'; END IF;
        END $$""")
    adversary.sql("CREATE ROLE nobody")
    adversary.sql("GRANT ALL ON TABLE worked TO PUBLIC")
    adversary.sql("GRANT ALL ON SEQUENCE worked_n_seq TO PUBLIC")
    adversary.sql(f"CREATE SERVER banks FOREIGN DATA WRAPPER dtm_http OPTIONS (base_url 'http://127.0.0.1:{port}')")
    adversary.sql(f"CREATE USER MAPPING FOR CURRENT_USER SERVER banks OPTIONS (hmac_key '{KEYS[0]}', bearer_token 'token-of-{KEYS[0]}')")


def main():
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    port = service.serve(Participant)
    adversary = Adversary()
    set_up(adversary, port)
    clients = [Client(number, port) for number in range(CLIENTS)]
    for client in clients:
        client.start()
    adversary.play(time.time() + seconds)
    stopping.set()
    for client in clients:
        client.join(60)
    adversary.go_away()
    began = time.time()
    await_end(adversary)
    ended = time.time() - began
    statuses, ledger = check_books(adversary, clients)
    check(signed[True] > 0 and not signed[False], f"{signed[True]} requests to a foreign server were signed, all of them rightly", signed)
    check_leaks(adversary)
    with open(DTM_DATA + ".log", encoding="utf-8", errors="replace") as file:
        broken = [line.strip() for line in file if any(word in line for word in ("TRAP", "PANIC", "can't be read"))]
    check(not broken, "nothing is broken", broken[:5])

    done = sum(sum(entries.values()) for entries in ledger.values())
    requests = sum(number for gid, number in called.items() if not gid.startswith(("local", "lane")))
    figures = {
        "seed": seed, "seconds": seconds, "transactions": len(statuses),
        "submits rolled back": sum(fate == "rolled back" for client in clients for fate in client.known.values()),
        "statuses": collections.Counter(statuses.values()), "faults": dict(sorted(faults.items())),
        "branches that succeeded more than once, by their calls": adversary.sql("""SELECT count(*) FROM (
            SELECT FROM dtm.calls WHERE result = 'SUCCESS' GROUP BY gid, branch_id, op HAVING count(*) > 1) t""")[0][0],
        "requests": requests, "requests that changed nothing (repeats, refusals, failures)": requests - done,
        "crashes": len(recoveries), "recovery s, longest": round(max(recoveries, default=0), 2),
        "recovery s, mean": round(sum(recoveries) / max(len(recoveries), 1), 2), "to the end s": round(ended, 1),
    }
    for name, value in figures.items():
        print(f"# {name}: {json.dumps(value)}", flush=True)
    if len(sys.argv) > 8:
        with open(sys.argv[8], "w", encoding="utf-8") as file:
            json.dump(figures, file, indent=1)
    os._exit(1 if failed else 0)    # handlers may still sleep


main()
