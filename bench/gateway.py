"""The scenario "gateway" of bench.py: dtm-gateway beside sessions of pgbench."""
import contextlib
import os
import socket
import subprocess
import time

CONNECTIONS = 64
IDLE = 10_000


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Gateway:
    """A gateway that runs, and clients of it."""

    def __init__(self, bench):
        self.bench = bench
        self.port = free_port()
        self.process = subprocess.Popen(
            [f"{bench.tools}/dtm-gateway", "--conninfo", bench.dsn, "--listen", f"127.0.0.1:{self.port}",
             "--log-level", "warning"])
        self.pid = self.process.pid
        self.runs = 0
        bench.wait_for("SELECT count(*) >= 4 FROM pg_stat_activity WHERE application_name = 'dtm-gateway'", 30)

    def stop(self):
        self.process.terminate()
        self.process.wait()

    def load(self, protocol, connections, seconds, path="/s/"):
        """Submits/s, and the median and 99th percentile of a response in us."""
        bench = self.bench
        self.runs += 1
        host = bench.url.split("//")[1] + "/s.S/" if protocol == "grpc" else bench.url + path
        done = subprocess.run(
            [f"{bench.tools}/load", protocol, str(self.port), str(connections), str(seconds),
             f"load-{os.getpid()}-{self.runs}-", host], check=False, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(done.stderr)
        rate, median, p99, answers = map(float, done.stdout.split())
        stored = bench.query("SELECT count(*) FROM dtm.request WHERE gid LIKE %s", f"load-{os.getpid()}-{self.runs}-%")
        # whose answers the end of the run has cut off are there, too
        if not answers <= stored <= answers + connections:
            raise RuntimeError(f"{protocol}: {answers:.0f} answers, {stored} transactions")
        return rate, median, p99

    @contextlib.contextmanager
    def idle(self, number):
        with subprocess.Popen([f"{self.bench.tools}/load", "idle", str(self.port), str(number)],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as clients:
            yield int(clients.stdout.readline())
            clients.stdin.close()


@contextlib.contextmanager
def running(bench):
    gateway = Gateway(bench)
    try:
        yield gateway
    finally:
        gateway.stop()


class Cpu:
    """CPU that a measurement takes, by who needs it, in us for each submit."""

    def __init__(self, bench, gateway, cpu_of):
        self.bench, self.gateway, self.cpu_of = bench, gateway, cpu_of
        self.before = self.read()

    def read(self):
        bench = self.bench
        bench.execute("SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
        return {"server": self.cpu_of(bench.postmaster, True) +
                sum(self.cpu_of(pid) for pid, in bench.cursor.fetchall()),
                "gateway": self.cpu_of(self.gateway.pid), "clients": sum(os.times()[2:4])}

    def done(self, submits):
        after = self.read()
        return {name: (after[name] - self.before[name]) * 1e6 / submits for name in after}


def submit(bench, gateway, cpu_of, rounds, seconds):
    """The three in turns, in either direction: {name: [(rate, us, p99, CPU)...]}"""
    def by_pgbench():
        return bench.pgbench(bench.saga(), seconds, CONNECTIONS), 0, 0

    ways = {"pgbench": by_pgbench,
            "HTTP": lambda: gateway.load("http", CONNECTIONS, seconds),
            "gRPC": lambda: gateway.load("grpc", CONNECTIONS, seconds)}
    found = {name: [] for name in ways}
    for number in range(rounds):
        bench.execute("TRUNCATE dtm.request, dtm.active")
        bench.execute("CHECKPOINT")
        for name in list(ways)[::-1 if number % 2 else 1]:
            before = bench.query("SELECT count(*) FROM dtm.request")
            cpu = Cpu(bench, gateway, cpu_of)
            rate, median, p99 = ways[name]()
            # their CPU is known when they have gone
            bench.wait_for("SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'pgbench')")
            submits = bench.query("SELECT count(*) FROM dtm.request") - before
            found[name].append((rate, median, p99, cpu.done(submits)))
    return found


def finish_live(bench, gateway, clients, rounds, seconds):
    """Sagas submitted over HTTP and finished meanwhile, a second, and their backlog."""
    found = []
    for _ in range(rounds):
        bench.reset()
        finished = int(bench.query("SELECT sum(finished) FROM dtm.stat_coordinator"))
        began = time.time()
        gateway.load("http", clients, seconds)
        elapsed = time.time() - began
        finished = int(bench.query("SELECT sum(finished) FROM dtm.stat_coordinator")) - finished
        backlog = bench.query("SELECT count(*) FROM dtm.active WHERE next_time < now()")
        bench.wait_for("SELECT NOT EXISTS (SELECT FROM dtm.active WHERE next_time <= now())")
        bench.check_calls()
        found.append((finished / elapsed, backlog))
    return found


def scenario(bench, cpu_of, status_of, rounds, paired_rounds, clients):
    results = bench.results
    results.title("gateway", f"sagas of two steps submitted over {CONNECTIONS} connections, the coordinator paused;"
                             f" beside: {CONNECTIONS} sessions of pgbench")
    with running(bench) as gateway:
        bench.reset()
        bench.pause()
        found = submit(bench, gateway, cpu_of, paired_rounds, bench.paired_seconds())
        for name, values in found.items():
            results.figure(f"{name}: submits", [v[0] for v in values], "/s")
            if name != "pgbench":
                results.ratio(f"{name} / pgbench", [v[0] for v in values], [v[0] for v in found["pgbench"]], (">=", 1.3))
                results.figure(f"{name}: time of a response", [v[1] / 1000 for v in values], "ms")
                results.figure(f"{name}: time of a response, p99", [v[2] / 1000 for v in values], "ms")
            for part in ("server", "gateway", "clients"):
                if part != "gateway" or name != "pgbench":
                    results.figure(f"{name}: CPU for a submit, {part}", [v[3][part] for v in values], "us")
        for name in ("HTTP", "gRPC"):
            # what the rates would come to if nobody else used the machine
            results.ratio(f"CPU for a submit: pgbench / {name}", [sum(v[3].values()) for v in found["pgbench"]],
                          [sum(v[3].values()) for v in found[name]])
        results.figure("memory of the gateway", status_of(gateway.pid, "VmHWM") / 1024, "MB")
        bench.execute("TRUNCATE dtm.request, dtm.active")
        bench.resume()
        live = finish_live(bench, gateway, clients, rounds, bench.seconds)
        beside = bench.live(bench.saga(), rounds)
        results.figure(f"live: submitted over HTTP by {clients} clients, and finished", [v[0] for v in live], "sagas/s")
        results.figure("backlog at the end", [v[1] for v in live], "sagas")
        results.ratio("live: over HTTP / by pgbench", [v[0] for v in live], [v["rate"] for v in beside])
    with running(bench) as gateway:
        with gateway.idle(IDLE) as number:
            before = cpu_of(gateway.pid)
            time.sleep(2)
            results.figure(f"memory with {number:,} idle connections", status_of(gateway.pid, "VmRSS") / 1024,
                           "MB", ("<=", 100))
            results.figure("CPU with them", (cpu_of(gateway.pid) - before) * 100 / 2, "% of a core")
