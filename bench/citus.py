#!/usr/bin/python3
"""What a transaction costs in a cluster of Citus, in turns with a single server.

	bench/citus.py BIN FOLDER [ROUNDS (default 5)] [TRANSACTIONS of a turn (default 12000)]

BIN is the folder of the server's programs, FOLDER an empty one of an ordinary user that has
bench/participant.c, compiled.  scripts/citus.sh bench runs it.

Measured is the CPU time of all processes of PostgreSQL for each transaction, less what they take
when there is none to be done:

	saga	place_order() of docs/citus.md: an order, and a saga of two calls, to its end
	order	the same procedure without dtm
	branch	take_item() of docs/citus.md, with the barrier beside the item; on the single
			server, what a participant does there: BEGIN, dtm_barrier, UPDATE, COMMIT
	item	the same without dtm

In the cluster twice: clients are connected to all nodes, and Citus delegates each call to the
node of its row; or each client is connected to the node that has its rows.  Nodes whose Citus
leaks plans have the setting that docs/citus.md advises.  Fails if a ratio is above its limit.
"""
import os
import random
import statistics
import subprocess
import sys
import time

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..')
sys.path.insert(0, TOP + '/test')
from citus_nodes import HOST, Node  # noqa: E402

BIN, FOLDER = sys.argv[1:3]
ROUNDS = int(sys.argv[3]) if len(sys.argv) > 3 else 5
TRANSACTIONS = int(sys.argv[4]) if len(sys.argv) > 4 else 12000
PORT = int(os.environ.get('DTM_CITUS_PORT', 29700))
CLIENTS = 6
# of the single server's: with the client at the row's node; for what dtm adds to a delegated procedure
LIMITS = {'saga': 2.2, 'branch': 2.5}
ADDED_LIMIT = {'saga': 2.2, 'branch': 2.5}
WITHOUT_DTM = {'saga': 'order', 'branch': 'item'}
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

NEW_ORDER = """CREATE FUNCTION new_order(oid bigint, oitem bigint, on_n int) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO orders (id, item, n) VALUES (oid, oitem, on_n);
  RETURN 'order-' || oid;
END $$"""

CHANGE_ITEM = """CREATE FUNCTION change_item(key bigint, n int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  UPDATE items i SET stock = i.stock - n WHERE i.item = key;
END $$"""

# for the single server, and for the cluster
STATEMENTS = {
    'saga': ('SELECT place_order({id}, 7, 2);',) * 2,
    'order': ('SELECT new_order({id}, 7, 2);',) * 2,
    'branch': ("BEGIN;\nSELECT dtm_barrier('saga', 'g-{id}', '01', 'action');\nUPDATE items SET stock = stock - 1 WHERE item = {item};\nCOMMIT;",
               "SELECT take_item({item}, 1, 'saga', 'g-{id}', '01', 'action');"),
    'item': ('BEGIN;\nUPDATE items SET stock = stock - 1 WHERE item = {item};\nCOMMIT;', 'SELECT change_item({item}, 1);'),
}

# of COUNT numbers from FIRST on, those that the node has in its shards of a table
AT_NODE = """SELECT n FROM generate_series(%s::bigint, %s::bigint) n
  WHERE get_shard_id_for_distribution_column(%s::regclass, n) IN
    (SELECT shardid FROM pg_dist_placement JOIN pg_dist_node USING (groupid) WHERE nodeport = %s) LIMIT %s"""


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
    """The single server; the cluster; the cluster with each client at the node that has its rows."""
    next_id = 1

    def __init__(self, name, nodes, which, clients_at, placed=False):
        self.name = name
        self.nodes = nodes
        self.which = which
        self.clients_at = clients_at
        self.placed = placed
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

    def numbers(self, node, table, count):
        """COUNT ids of new orders, or the items to choose from."""
        first, among = (System.next_id, count * 10) if table == 'orders' else (1, ITEMS)
        if table == 'orders':
            System.next_id += among
        if not self.placed:
            return list(range(first, first + min(count, among)))
        return [row[0] for row in node.rows(AT_NODE, first, first + among - 1, table, node.port, min(count, among))]

    def script(self, node, what, number, count):
        """A file of that many transactions for one client."""
        ids = self.numbers(node, 'orders', count)
        items = self.numbers(node, 'items', ITEMS)
        path = os.path.join(FOLDER, 'client-%d.sql' % number)
        with open(path, 'w') as file:
            for id in ids:
                file.write(STATEMENTS[what][self.which].format(id=id, item=random.choice(items)) + '\n')
        return path

    def turn(self, what):
        """CPU of a transaction, in ms, by what takes it."""
        count = TRANSACTIONS // CLIENTS
        nodes = [self.clients_at[client % len(self.clients_at)] for client in range(CLIENTS)]
        scripts = [self.script(node, what, number, count) for number, node in enumerate(nodes)]
        before, began = cpu(self.nodes), time.monotonic()
        loads = [subprocess.Popen([BIN + '/pgbench', '-n', '-f', script, '-c', '1', '-t', '1',
                                   '-h', HOST, '-p', str(node.port), '-U', 'postgres', 'postgres'],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for script, node in zip(scripts, nodes)]
        if any([load.wait() for load in loads]):
            sys.exit('pgbench has failed')
        while not self.is_done():
            time.sleep(0.1)
        after, seconds = cpu(self.nodes), time.monotonic() - began
        return {group: (after[group] - before[group] - self.idle[group] * seconds) * 1000 / (count * CLIENTS) for group in after}


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
        NEW_ORDER,
        citus and "SELECT create_distributed_function('new_order(bigint, bigint, int)', 'oid', colocate_with := 'orders')",
        CHANGE_ITEM,
        citus and "SELECT create_distributed_function('change_item(bigint, int)', 'key', colocate_with := 'items')",
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
    connection = c.connect()
    connection.cursor().execute('SELECT * FROM dtm_citus_setup()')
    leaks = any('leak' in notice for notice in connection.notices)
    connection.close()
    for node in (c, w1, w2):
        if leaks:
            node.configure('plan_cache_mode = force_custom_plan')
            node.rows('SELECT pg_reload_conf()')
    print('%s, plan_cache_mode %s' % (' '.join(c.value('SELECT citus_version()').split()[:2]), c.value('SHOW plan_cache_mode')))
    schema(c, url, True)
    return (System('single server', [single], 0, [single]),
            System('delegated', [c, w1, w2], 1, [c, w1, w2]),
            System('at its node', [c, w1, w2], 1, [w1, w2], placed=True))


def measure(systems):
    figures = {(system.name, what): [] for system in systems for what in STATEMENTS}
    for number in range(ROUNDS + 1):
        for system in systems:
            system.rest()
        for what in STATEMENTS:
            for system in systems:
                groups = system.turn(what)
                if number > 0:      # the first one fills caches
                    figures[system.name, what].append(sum(groups.values()))
                    print('round %d: %s, %s: %.3f ms (%s)' % (number, what, system.name, sum(groups.values()),
                          ', '.join('%s %.3f' % item for item in groups.items())), flush=True)
    return figures


def ratio(text, over, under, limit=None):
    """Prints the ratio of two lists of figures; whether it is above its limit."""
    ratios = [a / b for a, b in zip(over, under)]
    median = statistics.median(ratios)
    print('  %s: %.3f ms, %.3f ms, ratio %.2f (%.2f - %.2f)%s' %
          (text, statistics.median(over), statistics.median(under), median, min(ratios), max(ratios), ', at most %.1f' % limit if limit else ''))
    return limit is not None and median > limit


def report(figures):
    failed = False
    for what, plain in WITHOUT_DTM.items():
        single, delegated, at_node = (figures[name, what] for name in ('single server', 'delegated', 'at its node'))
        plain_single, plain_delegated = figures['single server', plain], figures['delegated', plain]
        print('%s: CPU of a transaction in the cluster and on the single server' % what)
        failed = ratio('at the node of its row', at_node, single, LIMITS[what]) or failed
        ratio('delegated by Citus', delegated, single)
        ratio('delegated by Citus, without dtm, to with dtm on the single server', plain_delegated, single)
        failed = ratio('what dtm adds to it', [a - b for a, b in zip(delegated, plain_delegated)],
                       [a - b for a, b in zip(single, plain_single)], ADDED_LIMIT[what]) or failed
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
