#!/usr/bin/python3
"""monitoring.py PG_BIN SCRATCH PROGRAMS: makes the condition of each alert real; see scripts/monitoring.sh.

If this fails, an exporter's file does not have the metrics of dtm.metrics, an alert does not fire
when it should, or a panel of the dashboard stays empty.
"""
import http.server
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

PG_BIN, SCRATCH, PROGRAMS = sys.argv[1:4]
FILES = SCRATCH + "/dtm/monitoring"
PATIENCE = 180

with open(SCRATCH + "/monitored/postmaster.pid") as pid_file:
    PORT = pid_file.read().split("\n")[3]

failures = 0
processes = []


def ok(passed, name, detail=""):
    global failures
    print(("ok - " if passed else "not ok - ") + name + ("" if passed else ": " + str(detail)), flush=True)
    failures += not passed


def sql(statement, role="postgres"):
    result = subprocess.run([PG_BIN + "/psql", "-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", PORT,
                             "-U", role, "-d", "postgres", "-c", statement], capture_output=True, text=True)
    if result.returncode != 0:
        raise RuntimeError(statement + "\n" + result.stderr)
    return result.stdout.strip()


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def start(name, arguments, **environment):
    log = open(f"{SCRATCH}/{name}.log", "w")
    process = subprocess.Popen(arguments, stdout=log, stderr=log, env={**os.environ, **environment}, cwd=SCRATCH)
    processes.append(process)
    return process


def get(url):
    with urllib.request.urlopen(url, timeout=30) as response:
        return response.read().decode()


def eventually(condition, name, patience=PATIENCE):
    """Waits until condition() is true; it may raise meanwhile."""
    until = time.monotonic() + patience
    last = None
    while time.monotonic() < until:
        try:
            last = condition()
            if last:
                ok(True, name)
                return True
        except (OSError, RuntimeError, ValueError, KeyError) as error:
            last = error
        time.sleep(0.5)
    ok(False, name, last)
    return False


class Service(http.server.BaseHTTPRequestHandler):
    """Answers as the path says: /200, /409, /slow."""
    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        word = self.path.split("?")[0].strip("/")
        if word == "slow":
            time.sleep(2.9)
        status = int(word) if word.isdigit() else 200
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_POST

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


# ---------- what exporters print ----------

SAMPLE = re.compile(r'^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$')
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def samples(page, prefix="", but=(), renamed=()):
    """{(name, labels): value} of the names with the prefix dtm_ behind another, without some labels."""
    renamed = dict(renamed)
    found = {}
    for line in page.split("\n"):
        match = SAMPLE.match(line)
        if match and match[1].startswith(prefix + "dtm_") and not match[1].startswith(("dtm_gateway_", "dtm_server_")):
            labels = frozenset((renamed.get(k, k), v) for k, v in LABEL.findall(match[2] or "") if k not in but)
            found[match[1][len(prefix):], labels] = float(match[3])
    return found


def of_view():
    rows = json.loads(sql("SELECT json_agg(json_build_array(name, labels, value)) FROM dtm.metrics"))
    return {(name, frozenset(labels.items())): value for name, labels, value in rows}


# What does not change while nothing happens.
STABLE = ("dtm_transactions_", "dtm_transaction_", "dtm_calls_", "dtm_call_", "dtm_first_", "dtm_branch_", "dtm_alerts_",
          "dtm_coordinator_processes", "dtm_sql_workers_max", "dtm_extension_", "dtm_stuck_", "dtm_host_window")


def compare(name, page, **how):
    def alike():
        view = of_view()
        exported = samples(page(), **how)
        missing = [series for series in view if series not in exported]
        added = [series for series in exported if series not in view]
        others = [(s, view[s], exported[s]) for s in view
                  if s[0].startswith(STABLE) and s in exported and abs(view[s] - exported[s]) > 1e-5 * abs(view[s])]
        if missing or added or others:
            raise ValueError(f"missing {missing[:3]}, added {added[:3]}, others {others[:3]}")
        return True

    eventually(alike, f"{name}: the series of the view, and their values")


def lint(name, page):
    result = subprocess.run([PROGRAMS + "/promtool", "check", "metrics"], input=page, capture_output=True, text=True)
    told = [line for line in result.stderr.split("\n") if line.startswith("dtm_")]
    ok(result.returncode in (0, 3) and not told, f"{name}: promtool has no complaint", result.stderr)


# ---------- the parts ----------

def start_all(ports):
    sql("CREATE EXTENSION dtm; CREATE ROLE exporter LOGIN IN ROLE dtm_monitor; ALTER ROLE dtm_gateway LOGIN")
    start("gateway", [SCRATCH + "/dtm/gateway/dtm-gateway", "--listen", f"127.0.0.1:{ports['gateway']}", "--queue-time", "1",
                      "--conninfo", f"host=127.0.0.1 port={PORT} dbname=postgres user=dtm_gateway"])
    start("postgres_exporter",
          [PROGRAMS + "/prometheus-postgres-exporter", "--web.listen-address", f"127.0.0.1:{ports['postgres']}",
           "--disable-default-metrics", "--disable-settings-metrics",
           "--extend.query-path", FILES + "/dtm-postgres_exporter.yml"],
          DATA_SOURCE_NAME=f"postgres://exporter@127.0.0.1:{PORT}/postgres?sslmode=disable")
    with open(FILES + "/dtm-sql_exporter.yml") as given, open(SCRATCH + "/sql_exporter.yml", "w") as changed:
        text = given.read()
        assert "interval: 15s" in text and "postgres://exporter:secret@127.0.0.1/shop?sslmode=disable" in text
        changed.write(text.replace("interval: 15s", "interval: 2s").replace(
            "exporter:secret@127.0.0.1/shop", f"exporter@127.0.0.1:{PORT}/postgres"))
    start("sql_exporter", [PROGRAMS + "/prometheus-sql-exporter", "-web.listen-address", f"127.0.0.1:{ports['sql']}",
                           "-config.file", SCRATCH + "/sql_exporter.yml"])


def start_prometheus(ports):
    """With the example's configuration; times are seconds instead of minutes."""
    with open(FILES + "/dtm-rules.yml") as given, open(SCRATCH + "/dtm-rules.yml", "w") as changed:
        text = re.sub(r"for: \d+m", "for: 2s", given.read())
        text = re.sub(r"\[\d+m\]", "[20s]", text)
        changed.write(re.sub(r"offset (15m|1h)", "offset 20s", text))
    with open(FILES + "/dtm-prometheus.yml") as given, open(SCRATCH + "/prometheus.yml", "w") as changed:
        text = given.read().replace("scrape_interval: 15s", "scrape_interval: 3s\n  scrape_timeout: 3s\n  evaluation_interval: 1s")
        for example, part in (("36789", "gateway"), ("9187", "postgres"), ("9237", "sql")):
            assert f"127.0.0.1:{example}" in text
            text = text.replace(f"127.0.0.1:{example}", f"127.0.0.1:{ports[part]}")
        changed.write(text)
    start("prometheus", [PROGRAMS + "/prometheus", "--config.file", SCRATCH + "/prometheus.yml",
                         "--storage.tsdb.path", SCRATCH + "/tsdb", "--web.listen-address", f"127.0.0.1:{ports['prometheus']}"])


class Prometheus:
    def __init__(self, port):
        self.url = f"http://127.0.0.1:{port}/api/v1/"

    def query(self, expression):
        answer = json.loads(get(self.url + "query?" + urllib.parse.urlencode({"query": expression})))
        return answer["data"]["result"]

    def firing(self):
        alerts = json.loads(get(self.url + "alerts"))["data"]["alerts"]
        return {(a["labels"]["alertname"], a["labels"].get("job")) for a in alerts if a["state"] == "firing"}

    def fires(self, alert, *jobs):
        eventually(lambda: {(alert, job) for job in jobs} <= self.firing(), f"{alert} fires ({', '.join(jobs)})")
        fired.add(alert)

    def ends(self, alert):
        eventually(lambda: not any(a == alert for a, _ in self.firing()), f"{alert} is over")


fired = set()
ALL = ("dtm-gateway", "dtm-postgres", "dtm-sql")


# ---------- conditions ----------

def submit(gid, url, options="{}", step="{}", trans_type="msg"):
    sql(f"SELECT dtm_submit('{trans_type}', ARRAY[dtm_step('{url}', options => '{step}')], gid => '{gid}', options => '{options}')")


def conditions(prometheus, busi, dead):
    for i in range(20):
        submit(f"ok{i}", f"{busi}/200")
        submit(f"no{i}", f"{busi}/409", trans_type="saga")
    prometheus.fires("DtmTransactionsRolledBack", *ALL)

    for i in range(30):
        submit(f"slow{i}", f"{busi}/slow")
    prometheus.fires("DtmCallsSlow", "dtm-gateway", "dtm-postgres")

    submit("ongoing", f"{busi}/425")
    prometheus.fires("DtmTransactionsOngoing", *ALL)
    submit("parked", f"{busi}/500", step='{"max_attempts": 1, "on_exhausted": "park"}')
    prometheus.fires("DtmTransactionsParked", *ALL)
    submit("discarded", f"{busi}/500", step='{"max_attempts": 1, "on_exhausted": "discard"}')
    prometheus.fires("DtmStepsDiscarded", *ALL)
    submit("errors", f"{busi}/500")
    prometheus.fires("DtmTransactionsFailing", *ALL)
    prometheus.fires("DtmCallErrors", "dtm-gateway", "dtm-postgres")
    prometheus.fires("DtmAlertsOpen", *ALL)
    submit("dead", dead)
    prometheus.fires("DtmCircuitOpen", *ALL)
    sql("CREATE ROLE leaver IN ROLE dtm_user; GRANT leaver TO CURRENT_USER; SET ROLE leaver;"
        f"SELECT dtm_submit('msg', ARRAY[dtm_step('{busi}/200')], gid => 'left', options => '{{\"delay\": 3600}}'); RESET ROLE; DROP ROLE leaver")
    prometheus.fires("DtmTransactionsOwnerless", *ALL)

    sql(f"CREATE SERVER gone FOREIGN DATA WRAPPER dtm_http OPTIONS (base_url '{busi}'); "
        "SELECT dtm_prepare('msg', 'gone', ARRAY[dtm_step('server:gone/a')]); DROP SERVER gone; SELECT dtm_submit('msg', gid => 'gone')")
    prometheus.fires("DtmCallsImpossible", *ALL)

    sql(f"SELECT dtm_prepare('xa', 'xa'); SELECT dtm_register_branch('xa', '01', '{busi}/200')")
    sql("CREATE TABLE t (x int); BEGIN; INSERT INTO t VALUES (1); PREPARE TRANSACTION 'xa-01'")
    sql("SELECT dtm_force_stop('xa')")
    prometheus.fires("DtmOrphans", *ALL)
    sql("ROLLBACK PREPARED 'xa-01'")
    prometheus.ends("DtmOrphans")

    # a worker that does not react, for which its coordinator waits in vain
    sql("CREATE ROLE app LOGIN IN ROLE dtm_user; GRANT app TO CURRENT_USER; GRANT CREATE ON SCHEMA public TO app; SET ROLE app;"
        "CREATE FUNCTION public.sleep(gid text, branch text, op text, payload jsonb) RETURNS void LANGUAGE sql AS 'SELECT pg_sleep(600)'")
    for i in range(2):
        sql(f"SET ROLE app; SELECT dtm_submit('msg', ARRAY[dtm_step('sql:public.sleep')], gid => 'sleep{i}', options => '{{\"request_timeout\": 600}}')")
    prometheus.fires("DtmSqlWorkersBusy", *ALL)
    pid = int(sql("SELECT pid FROM pg_stat_activity WHERE application_name = 'dtm local branches' ORDER BY pid LIMIT 1"))
    os.kill(pid, signal.SIGSTOP)
    sql("SELECT dtm_force_stop('sleep0'), dtm_force_stop('sleep1')")
    prometheus.fires("DtmSqlWorkerStray", *ALL)
    os.kill(pid, signal.SIGCONT)
    prometheus.ends("DtmSqlWorkerStray")

    # a row that cannot be written
    sql("CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'refused' USING ERRCODE = '22000'; END $$;"
        "CREATE TRIGGER refuse BEFORE INSERT ON dtm.finished FOR EACH ROW EXECUTE FUNCTION refuse()")
    submit("refused", f"{busi}/200")
    prometheus.fires("DtmCoordinatorErrors", *ALL)
    sql("DROP TRIGGER refuse ON dtm.finished")

    for i in range(70):
        submit(f"host{i}", f"http://127.0.2.{i}:1/")
    prometheus.fires("DtmHostsUncounted", *ALL)


def dashboard(prometheus):
    with open(FILES + "/dtm-dashboard.json") as file:
        board = json.load(file)
    n = 0
    for panel in board["panels"]:
        for target in panel.get("targets", ()):
            expression = target["expr"].replace("$__rate_interval", "20s").replace("$job", ".*").replace("$instance", ".*")
            n += 1
            try:
                empty = not prometheus.query(expression)
            except urllib.error.HTTPError as error:
                empty = error.read().decode()
            if empty:
                ok(False, f"{panel['title']}: {expression}", empty)
    ok(n > 40, "each query of the dashboard has an answer, unless it is named above", n)
    for variable in board["templating"]["list"][1:]:
        metric = re.match(r"label_values\((\w+)", variable["definition"])[1]
        ok(prometheus.query(metric), f"values of ${variable['name']}")


def main():
    ports = {name: free_port() for name in ("gateway", "postgres", "sql", "prometheus", "busi", "dead")}
    busi = f"http://127.0.0.1:{ports['busi']}"
    service = Server(("127.0.0.1", ports["busi"]), Service)
    threading.Thread(target=service.serve_forever, daemon=True).start()
    start_all(ports)
    start_prometheus(ports)
    prometheus = Prometheus(ports["prometheus"])
    pages = {"gateway": lambda: get(f"http://127.0.0.1:{ports['gateway']}/api/metrics"),
             "postgres_exporter": lambda: get(f"http://127.0.0.1:{ports['postgres']}/metrics"),
             "sql_exporter": lambda: get(f"http://127.0.0.1:{ports['sql']}/metrics")}

    # something of each kind
    submit("first", f"{busi}/200")
    sql("CREATE FUNCTION public.nothing(gid text, branch text, op text, payload jsonb) RETURNS void LANGUAGE sql AS ''")
    submit("function", "sql:public.nothing", trans_type="saga")
    sql("SELECT dtm_wait('first'), dtm_wait('function')")
    sql("ANALYZE")
    compare("gateway", pages["gateway"])
    compare("postgres_exporter", pages["postgres_exporter"], but=("server",))
    compare("sql_exporter", pages["sql_exporter"], prefix="sql_",
            but=("sql_job", "driver", "host", "database", "user", "col"), renamed=(("called_host", "host"),))
    for name in ("gateway", "postgres_exporter"):
        lint(name, pages[name]())
    eventually(lambda: len(prometheus.query("dtm_extension_info")) == 3, "Prometheus reads all three")
    eventually(lambda: not prometheus.firing(), "nothing fires")

    conditions(prometheus, busi, f"http://127.0.0.1:{ports['dead']}/")
    dashboard(prometheus)

    sql("SELECT dtm_pause()")
    submit("old", f"{busi}/200")
    sql("UPDATE dtm.active SET next_time = now() - interval '10 minutes' WHERE next_time <= now()")
    prometheus.fires("DtmCoordinatorPaused", *ALL)
    prometheus.fires("DtmBacklogOld", *ALL)
    sql("SELECT dtm_resume()")
    prometheus.ends("DtmCoordinatorPaused")
    sql("ALTER SYSTEM SET dtm.databases = 'nowhere'")
    sql("SELECT pg_reload_conf()")
    prometheus.fires("DtmCoordinatorNotRunning", *ALL)
    sql("ALTER SYSTEM RESET dtm.databases")
    sql("SELECT pg_reload_conf()")
    prometheus.ends("DtmCoordinatorNotRunning")

    subprocess.run([PG_BIN + "/pg_ctl", "-D", SCRATCH + "/monitored", "-m", "immediate", "-w", "stop"], stdout=subprocess.DEVNULL)
    prometheus.fires("DtmMetricsMissing", "dtm-gateway", "dtm-postgres")
    prometheus.fires("DtmGatewaySessionsMissing", "dtm-gateway")
    try:
        get(f"http://127.0.0.1:{ports['gateway']}/api/dtmsvr/query?gid=first")
    except urllib.error.HTTPError as error:
        ok(error.code == 503, "the gateway refuses a request", error.code)
    prometheus.fires("DtmGatewayOverload", "dtm-gateway")

    with open(FILES + "/dtm-rules.yml") as file:
        alerts = set(re.findall(r"alert: (\w+)", file.read()))
    ok(alerts == fired, "each alert has fired", alerts ^ fired)


signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
try:
    main()
finally:
    for process in processes:
        process.kill()
        process.wait()
sys.exit(failures > 0)
