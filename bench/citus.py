#!/usr/bin/python3
"""What a transaction costs in a cluster of Citus, in turns with a single server.

	bench/citus.py BIN FOLDER [ROUNDS (default 5)] [TRANSACTIONS of a turn (default 3000)]

BIN is the folder of the server's programs, FOLDER an empty one of an ordinary user that has
bench/participant.c, compiled.  scripts/citus.sh bench runs it.

Measured is the CPU time of all processes of PostgreSQL for each transaction, less what they take
when there is none to be done:

	saga	place_order() of docs/citus.md: an order, and a saga of two calls, to its end.  Citus
			delegates it to the order's node
	branch	take_item() of docs/citus.md, with the barrier beside the item; on the single
			server, what a participant does there: BEGIN, dtm_barrier, UPDATE, COMMIT
	call	take_item() on both, on the single server with dtm_barrier; for information

Clients are connected to all nodes.  Fails if a ratio is above its limit.
"""
import os
import statistics
import subprocess
import sys
import time

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..')
sys.path.insert(0, TOP + '/test')
from citus_nodes import HOST, Node  # noqa: E402

BIN, FOLDER = sys.argv[1:3]
ROUNDS = int(sys.argv[3]) if len(sys.argv) > 3 else 5
TRANSACTIONS = int(sys.argv[4]) if len(sys.argv) > 4 else 3000
PORT = int(os.environ.get('DTM_CITUS_PORT', 29700))
LIMITS = {'saga': 2.2, 'branch': 2.5}
IDLE_TIME = 5                   # s
TICK = os.sysconf('SC_CLK_TCK')
ITEMS = 1000

PLACE_ORDER = """CREATE FUNCTION place_order(oid bigint, oitem bigint, on_n int) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO orders (id, item, n) VALUES (oid, oitem, on_n);
  RETURN dtm_submit('saga', ARRAY[
    dtm_step('%s/take', '%s/give-back', jsonb_build_object('item', oitem, 'n', on_n)),
    dtm_step('%s/charge', '%s/refund', jsonb_build_object('order', oid))
  ], 'order-' || oid);
END $$"""

TAKE_ITEM = """CREATE FUNCTION take_item(key bigint, n int, trans_type text, gid text, branch_id text, op text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  IF %s THEN
    UPDATE items i SET stock = i.stock - CASE WHEN op = 'action' THEN n ELSE -n END WHERE i.item = key;
  END IF;
END $$"""

CALL = """\\set id random(1, 1000000000000000)
\\set item random(1, %d)
SELECT take_item(:item, 1, 'saga', 'g-:id', '01', 'action');
""" % ITEMS

STATEMENTS = """\\set id random(1, 1000000000000000)
\\set item random(1, %d)
BEGIN;
SELECT dtm_barrier('saga', 'g-:id', '01', 'action');
UPDATE items SET stock = stock - 1 WHERE item = :item;
COMMIT;
""" % ITEMS

SAGA = """\\set id random(1, 1000000000000000)
SELECT place_order(:id, 7, 2);
"""

# for the single server, and for the cluster
SCRIPTS = {'saga': (SAGA, SAGA), 'branch': (STATEMENTS, CALL), 'call': (CALL, CALL)}


def masters_of(nodes):
    masters = set()
    for node in nodes:
        with open(node.data + '/postmaster.pid') as file:
            masters.add(int(file.readline()))
    return masters


def cpu(nodes):
    """Seconds of all processes of these servers, so far, by what they are."""
    masters = masters_of(nodes)
    total = {'dtm': 0, 'sessions': 0, 'others': 0}
    for name in os.listdir('/proc'):
        if not name.isdigit():
            continue
        try:
            with open('/proc/%s/stat' % name) as stat:
                fields = stat.read().rpartition(')')[2].split()
            with open('/proc/%s/cmdline' % name) as title:
                title = title.read()
        except OSError:
            continue
        own, ended = sum(int(f) for f in fields[11:13]) / TICK, sum(int(f) for f in fields[13:15]) / TICK
        if int(name) in masters:
            total['others'] += own
            total['sessions'] += ended
        elif int(fields[1]) in masters:
            total['dtm' if title.startswith('postgres: dtm') else 'sessions' if HOST in title else 'others'] += own
    return total


class System:
    """The single server, or the cluster."""

    def __init__(self, name, nodes, which):
        self.name = name
        self.nodes = nodes
        self.which = which
        self.watchers = [node.connect().cursor() for node in nodes]
        self.idle = {}

    def is_done(self):
        for watcher in self.watchers:
            watcher.execute('SELECT EXISTS (SELECT FROM dtm.active)')
            if watcher.fetchone()[0]:
                return False
        return True

    def rest(self):
        """What it takes in a second that has nothing to do."""
        before = cpu(self.nodes)
        time.sleep(IDLE_TIME)
        after = cpu(self.nodes)
        self.idle = {group: (after[group] - before[group]) / IDLE_TIME for group in after}

    def turn(self, what):
        """CPU of a transaction, in ms, by what takes it."""
        script = os.path.join(FOLDER, what + '.sql')
        with open(script, 'w') as file:
            file.write(SCRIPTS[what][self.which])
        clients = 6 // len(self.nodes)
        count = TRANSACTIONS // len(self.nodes) // clients
        before, began = cpu(self.nodes), time.monotonic()
        loads = [subprocess.Popen([BIN + '/pgbench', '-n', '-f', script, '-c', str(clients), '-t', str(count),
                                   '-h', HOST, '-p', str(node.port), '-U', 'postgres', 'postgres'],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for node in self.nodes]
        if any([load.wait() for load in loads]):
            sys.exit('pgbench has failed')
        while not self.is_done():
            time.sleep(0.1)
        after, seconds = cpu(self.nodes), time.monotonic() - began
        return {group: (after[group] - before[group] - self.idle[group] * seconds) * 1000 / (count * clients * len(self.nodes)) for group in after}


def schema(node, url, citus):
    """The tables and procedures of docs/citus.md."""
    statements = [
        'CREATE TABLE orders (id bigint PRIMARY KEY, item bigint NOT NULL, n int NOT NULL)',
        citus and "SELECT create_distributed_table('orders', 'id')",
        PLACE_ORDER % (url, url, url, url),
        citus and "SELECT create_distributed_function('place_order(bigint, bigint, int)', 'oid', colocate_with := 'orders')",
        'CREATE TABLE items (item bigint PRIMARY KEY, stock int NOT NULL CHECK (stock >= 0))',
        citus and "SELECT create_distributed_table('items', 'item')",
        citus and '''CREATE TABLE item_barrier (item bigint, gid text, branch_id text, op text, barrier_id text, reason text NOT NULL,
            created timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (item, gid, branch_id, op, barrier_id))''',
        citus and "SELECT create_distributed_table('item_barrier', 'item', colocate_with := 'items')",
        TAKE_ITEM % ("dtm_barrier_in('item_barrier', key, trans_type, gid, branch_id, op)" if citus else 'dtm_barrier(trans_type, gid, branch_id, op)'),
        citus and "SELECT create_distributed_function('take_item(bigint, int, text, text, text, text)', 'key', colocate_with := 'items')",
        'INSERT INTO items SELECT n, 1000000000 FROM generate_series(1, %d) n' % ITEMS,
    ]
    for statement in statements:
        if statement:
            node.rows(statement)


def set_up(nodes, url):
    single, c, w1, w2 = nodes
    single.init('dtm', 'dtm.max_requests_per_host = 100')
    single.rows('CREATE EXTENSION dtm')
    schema(single, url, False)
    for node in (c, w1, w2):
        node.init('citus,dtm', 'dtm.max_requests_per_host = 100')
        node.rows('CREATE EXTENSION citus')
    c.rows('CREATE EXTENSION dtm')
    c.rows("SELECT citus_set_coordinator_host('%s', %d)" % (HOST, c.port))
    for node in (w1, w2):
        c.rows("SELECT citus_add_node('%s', %d)" % (HOST, node.port))
    c.rows('SELECT * FROM dtm_citus_setup()')
    schema(c, url, True)
    return System('single server', [single], 0), System('cluster', [c, w1, w2], 1)


def measure(systems):
    figures = {(system.name, what): [] for system in systems for what in SCRIPTS}
    for number in range(ROUNDS + 1):
        for system in systems:
            system.rest()
        for what in SCRIPTS:
            for system in systems:
                groups = system.turn(what)
                if number > 0:      # the first one fills caches
                    figures[system.name, what].append(sum(groups.values()))
                    print('round %d: %s, %s: %.3f ms (%s)' % (number, what, system.name, sum(groups.values()),
                          ', '.join('%s %.3f' % item for item in groups.items())), flush=True)
    return figures


def report(figures):
    failed = False
    for what in SCRIPTS:
        single, cluster = figures['single server', what], figures['cluster', what]
        ratios = [b / a for a, b in zip(single, cluster)]
        limit = LIMITS.get(what)
        failed = failed or (limit is not None and statistics.median(ratios) > limit)
        print('%s: CPU of a transaction: single server %.3f ms, cluster %.3f ms, ratio %.2f (%.2f - %.2f)%s' %
              (what, statistics.median(single), statistics.median(cluster), statistics.median(ratios), min(ratios), max(ratios),
               ', at most %.1f' % limit if limit else ''))
    return failed


def main():
    nodes = [Node(BIN, FOLDER, PORT + 10 + i, name) for i, name in enumerate(('single', 'coordinator', 'worker1', 'worker2'))]
    participant = subprocess.Popen([FOLDER + '/participant'], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    url = 'http://%s:%d' % (HOST, int(participant.stdout.readline()))
    try:
        failed = report(measure(set_up(nodes, url)))
    finally:
        for node in nodes:
            if node.is_up():
                node.stop('immediate')
        participant.stdin.close()
    sys.exit(1 if failed else 0)


main()
