#!/usr/bin/python3
"""dtm in a cluster of Citus: a coordinator node and two workers, and a participant that
looks at its rows through each node when it is called.

If this fails, an order commits without its saga, a participant is called before it can see the
rows that it is called for, or a branch takes effect twice.

	test/citus.py BIN FOLDER SECONDS SEED [TEST...]

BIN is the folder of the server's programs, FOLDER an empty one of an ordinary user, with
hold_commit.so; SECONDS is the length of the torture.  visible=N: N calls instead of 300 have to
see the whole commit.  scripts/citus.sh runs it.
"""
import http.client
import http.server
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.parse

import psycopg2

from citus_nodes import HOST, Node

BIN, FOLDER, SECONDS, SEED = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
WANTED = dict(argument.partition('=')[::2] for argument in sys.argv[5:])
PORT = int(os.environ.get('DTM_CITUS_PORT', 29700))
TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..')
GATEWAY = os.path.join(TOP, 'gateway', 'dtm-gateway')
failures = 0
number = 0


def ok(passed, name, detail=''):
    global failures, number
    number += 1
    print('%sok %d - %s' % ('' if passed else 'not ', number, name), flush=True)
    if not passed:
        failures += 1
        if detail != '':
            print('#   %s' % (detail,), flush=True)
    return passed


def is_(got, wanted, name):
    return ok(got == wanted, name, 'got %r, wanted %r' % (got, wanted))


# ---------- nodes ----------

every = []


def new_node(n, name):
    every.append(Node(BIN, FOLDER, PORT + n, name))
    return every[-1]


def init(node):
    """A new server, which can be a node."""
    node.init('citus,%s/hold_commit.so,dtm' % FOLDER, 'citus.recover_2pc_interval = 1s', 'dtm.retry_interval = 200ms', 'dtm.retry_interval_max = 2s',
              'dtm.alert_retry_limit = 1000000', 'archive_mode = on', "archive_command = '/bin/true'")
    node.rows('CREATE EXTENSION citus')


c = new_node(0, 'coordinator')
w1 = new_node(1, 'worker1')
w2 = new_node(2, 'worker2')
nodes = [c, w1, w2]


# ---------- the participant ----------

calls = {}                      # by gid: what each call saw, and its path
calls_lock = threading.Lock()
released = set()                # of those that are held
PATIENCE = 120


class Participant(http.server.BaseHTTPRequestHandler):
    """POST /see/NOTE: how many rows of orders have this note, through each node.
    POST /take/ITEM/N?...: a branch with the barrier, through a node of its choice."""
    protocol_version = 'HTTP/1.1'

    def do_POST(self):
        length = int(self.headers.get('content-length') or 0)
        self.rfile.read(length)
        url = urllib.parse.urlparse(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        parts = url.path.strip('/').split('/')
        status = 200
        try:
            if parts[0] == 'see':
                seen = [n.value('SELECT count(*) FROM orders WHERE note = %s', parts[1]) for n in nodes]
            elif parts[0] == 'chance':
                seen, status = None, chance(parts, query)
            else:
                seen = None
                status = branch(parts, query)
        except psycopg2.Error as e:
            seen, status = str(e), 500
        with calls_lock:
            calls.setdefault(query.get('gid'), []).append((url.path, seen))
        self.send_response(status)
        self.send_header('content-length', '2')
        self.end_headers()
        self.wfile.write(b'{}')

    do_GET = do_POST

    def log_message(self, *arguments):
        pass


def branch(parts, query):
    """/take/ITEM/N, /take_in/ITEM/N, /busy, /held/NOTE"""
    if parts[0] == 'busy' or (parts[0] == 'held' and parts[1] not in released):
        return 425
    if parts[0] == 'held':
        return 200
    node = random.choice(nodes)
    connection = node.connect()
    try:
        cursor = connection.cursor()
        arguments = (int(parts[1]), int(parts[2]), query['trans_type'], query['gid'], query['branch_id'], query['op'])
        cursor.execute('SELECT %s(%%s, %%s, %%s, %%s, %%s, %%s)' % parts[0], arguments)
    finally:
        connection.close()
    return 200


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 1000
    daemon_threads = True

    def handle_error(self, request, client_address):
        """A node that has called is gone."""


participant = Server((HOST, 0), Participant)
threading.Thread(target=participant.serve_forever, daemon=True).start()
URL = 'http://%s:%d' % (HOST, participant.server_port)


def seen_by(gid):
    with calls_lock:
        return [seen for _, seen in calls.get(gid, [])]


def paths_of(gid):
    with calls_lock:
        return [path for path, _ in calls.get(gid, [])]


def wait(node, gid):
    return node.value("SELECT dtm_wait(%s, '120 s')", gid)


next_order = [0]


def orders(n):
    """n new numbers of orders."""
    first = next_order[0]
    next_order[0] += n
    return range(first, first + n)


# ---------- setting up ----------

def set_up():
    for node in nodes:
        init(node)
    is_(c.error('SELECT * FROM dtm_citus_setup()'), 'function dtm_citus_setup() does not exist', 'dtm is not there yet')
    c.rows('CREATE EXTENSION dtm')
    is_(c.error('SELECT * FROM dtm_citus_setup()'), 'the coordinator of the cluster is not in its metadata', 'the cluster is checked')
    c.rows("SELECT citus_set_coordinator_host('%s', %d)" % (HOST, c.port))
    for node in (w1, w2):
        c.rows("SELECT citus_add_node('%s', %d)" % (HOST, node.port))
    w1.rows("SELECT dtm_barrier('saga', 'own', '01', 'action')")
    is_(c.error('SELECT * FROM dtm_citus_setup()'), 'table dtm_barrier.barrier has rows on nodes: %s:%d' % (HOST, w1.port), 'rows on a worker are not lost')
    w1.rows('DELETE FROM dtm_barrier.barrier')
    is_(w1.error('SELECT * FROM dtm_citus_setup()'), 'this node is not the coordinator of the cluster', 'it is for the coordinator node')
    connection = c.connect()
    cursor = connection.cursor()
    cursor.execute('SELECT * FROM dtm_citus_setup()')
    tags = cursor.fetchall()
    is_(len({tag for _, tag in tags}), 3, 'each node gets a tag of its own')
    leaks = re.match(r'Citus (13\.2\.[12]|14\.0\.[01]) ', c.value('SELECT citus_version()')) is not None
    is_([n.split('\n')[0] for n in connection.notices if 'leak' in n],
        ['WARNING:  prepared statements leak memory on nodes: ' + ', '.join(node.address() for node in nodes)] if leaks else [],
        'a Citus that keeps each plan is named')
    for node in nodes:
        node.rows("ALTER SYSTEM SET plan_cache_mode = 'force_custom_plan'")
        node.rows('SELECT pg_reload_conf()')
    for node in nodes:
        ok(node.wait('SHOW plan_cache_mode', 'force_custom_plan'), '%s: no generic plans' % node.name)
    del connection.notices[:]
    cursor.execute('SELECT * FROM dtm_citus_setup()')
    is_([n for n in connection.notices if 'leak' in n], [], 'and is not with the setting that the hint names')
    for node in nodes:
        node.rows('ALTER SYSTEM RESET plan_cache_mode')
        node.rows('SELECT pg_reload_conf()')
    connection.close()
    is_(c.rows('SELECT * FROM dtm_citus_setup()'), tags, 'a second time changes nothing')
    is_([node.value("SELECT split_part(dtm_new_gid(), '.', 2)") for node in nodes], [tag for _, tag in tags], 'gids end with it')
    for node in nodes:
        ok(node.wait('SELECT state FROM dtm.stat_coordinator', 'running'), '%s: a coordinator runs' % node.name)
    c.rows('CREATE TABLE orders (id bigint PRIMARY KEY, note text NOT NULL)')
    c.rows("SELECT create_distributed_table('orders', 'id', shard_count => 8)")
    c.rows('CREATE TABLE items (item bigint PRIMARY KEY, stock int NOT NULL)')
    c.rows("SELECT create_distributed_table('items', 'item', shard_count => 8, colocate_with => 'none')")
    c.rows("""CREATE TABLE item_barrier (item bigint, gid text, branch_id text, op text, barrier_id text, reason text NOT NULL,
        PRIMARY KEY (item, gid, branch_id, op, barrier_id))""")
    c.rows("SELECT create_distributed_table('item_barrier', 'item', colocate_with => 'items')")
    c.rows('INSERT INTO items SELECT n, 0 FROM generate_series(1, 20) n')
    for name, condition in (('take', 'dtm_barrier(trans_type, gid, branch_id, op)'),
                            ('take_in', "dtm_barrier_in('item_barrier', key, trans_type, gid, branch_id, op)")):
        c.rows("""CREATE FUNCTION %s(key bigint, n int, trans_type text, gid text, branch_id text, op text) RETURNS void LANGUAGE plpgsql AS $$
            BEGIN
              IF %s THEN
                UPDATE items i SET stock = i.stock - CASE WHEN op = 'action' THEN n ELSE -n END WHERE i.item = key;
              END IF;
            END $$""" % (name, condition))
    c.rows("SELECT create_distributed_function('take_in(bigint, int, text, text, text, text)', 'key', colocate_with => 'items')")


# ---------- right ----------

def shard_node(order):
    """The node that has the shard of an order."""
    port = c.value("""SELECT p.nodeport FROM pg_dist_shard_placement p
        WHERE p.shardid = get_shard_id_for_distribution_column('orders', %s)""", order)
    return next(n for n in nodes if n.port == port)


def remote_order(node):
    while True:
        order = orders(1)[0]
        if shard_node(order) is not node:
            return order


def test_one_commit():
    """A submit beside a write on one other node: a commit that fails leaves neither."""
    c.rows('CREATE TABLE pair (id int PRIMARY KEY, v int)')
    c.rows('INSERT INTO pair VALUES (1, 0), (2, 0)')
    for what, statement in (('a submit', "SELECT dtm_submit('msg', ARRAY[dtm_step('%s/see/one')], 'one-commit')" % URL),):
        order = remote_order(c)
        a, b = c.connect().cursor(), c.connect().cursor()
        for cursor in (a, b):
            cursor.execute('BEGIN ISOLATION LEVEL SERIALIZABLE')
        a.execute('SELECT v FROM pair WHERE id = 1')
        b.execute('SELECT v FROM pair WHERE id = 2')
        a.execute("INSERT INTO orders VALUES (%s, 'one')", (order,))
        a.execute(statement)
        a.execute('UPDATE pair SET v = 1 WHERE id = 2')
        b.execute('UPDATE pair SET v = 1 WHERE id = 1')
        b.execute('COMMIT')
        try:
            a.execute('COMMIT')
            code = None
        except psycopg2.Error as e:
            code = e.pgcode
        is_((code, c.value('SELECT count(*) FROM orders WHERE id = %s', order), c.value("SELECT dtm_status('one-commit')")),
            ('40001', 0, None), '%s beside a write on one other node: a commit that fails leaves neither' % what)


def test_visible():
    """Nobody is called before each node shows all of the commit."""
    count = int(WANTED.get('visible') or 300) // 3
    for node in nodes:
        early = []
        gids = []
        for i in range(count):
            gid = 'visible-%s-%d' % (node.name, i)
            gids.append(gid)
            connection = node.connect()
            cursor = connection.cursor()
            cursor.execute('BEGIN')
            for order in orders(8):
                cursor.execute('INSERT INTO orders VALUES (%s, %s)', (order, gid))
            cursor.execute("SELECT dtm_submit('msg', ARRAY[dtm_step(%s)], %s)", ('%s/see/%s' % (URL, gid), gid))
            cursor.execute('COMMIT')
            connection.close()
        for gid in gids:
            wait(node, gid)
            if any(seen != [8, 8, 8] for seen in seen_by(gid)):
                early.append((gid, seen_by(gid)))
        is_(early, [], '%s: %d calls, each of which sees the whole commit through each node' % (node.name, count))


def test_held():
    """The same of one that waits in its commit, while the coordinator searches."""
    for node in nodes:
        gid = 'held-%s' % node.name
        hold = node.data + '/hold_commit'
        open(hold, 'w').close()

        def commit():
            connection = node.connect()
            cursor = connection.cursor()
            cursor.execute('BEGIN')
            cursor.execute('SET LOCAL hold_commit.here = on')
            for order in orders(8):
                cursor.execute('INSERT INTO orders VALUES (%s, %s)', (order, gid))
            cursor.execute("SELECT dtm_submit('msg', ARRAY[dtm_step(%s)], %s)", ('%s/see/%s' % (URL, gid), gid))
            cursor.execute('COMMIT')
            connection.close()

        thread = threading.Thread(target=commit)
        thread.start()
        node.wait('SELECT dtm_status(%s)', 'submitted', gid)
        node.rows('SELECT dtm_pause()')
        node.wait('SELECT state FROM dtm.stat_coordinator', 'paused')
        node.rows('SELECT dtm_resume()')
        node.rows("SELECT dtm_submit('msg', ARRAY[dtm_step(%s)], %s)", '%s/see/none' % URL, gid + '-other')
        is_((wait(node, gid + '-other'), seen_by(gid)), ('succeed', []), '%s: a search does not call for what is half committed' % node.name)
        os.unlink(hold)
        thread.join()
        is_((wait(node, gid), seen_by(gid)), ('succeed', [[8, 8, 8]]), '%s: and it is called for afterwards' % node.name)


def test_barrier():
    """One truth on all nodes."""
    answers = []
    for i in range(30):
        for node in random.sample(nodes, 3):
            answers.append(node.value("SELECT dtm_barrier('saga', %s, '01', 'action')", 'barrier-%d' % i))
    is_(answers.count(True), 30, 'an action that is repeated through three nodes is done once')
    late = []
    for i in range(30):
        a, b, _ = random.sample(nodes, 3)
        late.append((a.value("SELECT dtm_barrier('saga', %s, '01', 'compensate')", 'late-%d' % i),
                     b.value("SELECT dtm_barrier('saga', %s, '01', 'action')", 'late-%d' % i)))
    is_(set(late), {(False, False)}, 'an action after its compensation, through another node, is not done')
    is_((w1.value("SELECT dtm_query_prepared('never')"), w2.error("SELECT dtm_barrier('msg', 'never', '00', 'msg')")),
        (False, 'DUPLICATED: barrier of msg "never" already exists'), 'a query-back on one node counts on the others')
    c.rows("UPDATE items SET stock = 100 WHERE item = 1")
    for name in ('take', 'take_in'):
        for node in nodes + nodes:
            node.rows("SELECT %s(1, 10, 'saga', 'both-%s', '01', 'action')" % (name, name))
    is_(c.value('SELECT stock FROM items WHERE item = 1'), 80, 'the stock is changed once by each barrier')
    moved = c.rows("""SELECT s.shardid, p.nodeport FROM pg_dist_shard s JOIN pg_dist_shard_placement p USING (shardid)
        WHERE s.shardid = get_shard_id_for_distribution_column('items', 1)""")[0]
    to = next(n for n in (w1, w2) if n.port != moved[1])
    c.rows("SELECT citus_move_shard_placement(%s, %s, %s, %s, %s, shard_transfer_mode => 'block_writes')", moved[0], HOST, moved[1], HOST, to.port)
    for node in nodes:
        node.rows("SELECT take_in(1, 10, 'saga', 'both-take_in', '01', 'action')")
    is_(c.value('SELECT stock FROM items WHERE item = 1'), 80, 'and a barrier beside its rows moves with them')
    shard = c.rows("""SELECT s.shardid, p.nodeport FROM pg_dist_shard s JOIN pg_dist_shard_placement p USING (shardid)
        WHERE s.logicalrelid = 'dtm_barrier.barrier'::regclass ORDER BY 1 LIMIT 1""")[0]
    to = next(n for n in (w1, w2) if n.port != shard[1])
    is_(c.error("SELECT citus_move_shard_placement(%d, '%s', %d, '%s', %d)" % (shard[0], HOST, shard[1], HOST, to.port)), None,
        "shards of dtm's barrier can be moved online")


def test_memory():
    """A session may run barriers for ever."""
    connection = w1.connect()
    cursor = connection.cursor()
    sizes = []
    for i in range(2):
        cursor.execute("""DO $$ BEGIN
            FOR n IN 1 .. 1000 LOOP
              PERFORM dtm_barrier('saga', 'memory-%d-' || n, '01', 'action');
              PERFORM dtm_query_prepared('memory-%d-' || n);
            END LOOP;
          END $$""" % (i, i))
        cursor.execute('SELECT sum(total_bytes)::bigint FROM pg_backend_memory_contexts')
        sizes.append(cursor.fetchone()[0])
    connection.close()
    ok(sizes[1] - sizes[0] < 2000000, 'barriers leave nothing in the memory of their session: %d bytes, then %d' % tuple(sizes))


def test_functions():
    """sql: steps with distributed writes are one transaction."""
    c.rows("""CREATE FUNCTION store(gid text, branch_id text, op text, payload jsonb) RETURNS void LANGUAGE plpgsql AS $$
        BEGIN
          IF op = 'action' THEN
            INSERT INTO orders SELECT (payload ->> 'first')::bigint + n, gid FROM generate_series(0, 7) n;
            INSERT INTO orders VALUES ((payload ->> 'first')::bigint + 8, gid);
            IF payload ? 'refuse' THEN RAISE EXCEPTION 'no' USING ERRCODE = 'DT409'; END IF;
          END IF;
        END $$""")
    for node in nodes:
        gid = 'function-%s' % node.name
        for suffix, more, wanted in (('', {}, ('succeed', 9)), ('-refused', {'refuse': 1}, ('failed', 0))):
            payload = json.dumps(dict(more, first=orders(9)[0]))
            node.rows("SELECT dtm_submit('saga', ARRAY[dtm_step('sql:public.store', '', %s::jsonb)], %s)", payload, gid + suffix)
            is_((wait(node, gid + suffix), node.value('SELECT count(*) FROM orders WHERE note = %s', gid + suffix)), wanted,
                '%s: a function with distributed writes%s' % (node.name, ' that refuses leaves none' if more else ''))


def test_tables():
    """dtm's tables stay what they are."""
    for table in ('active', 'request', 'finished', 'attempt', 'home', 'result', 'act', 'dead_letter', 'lane'):
        errors = [c.error("SELECT create_distributed_table('dtm.%s', 'id')" % table), c.error("SELECT create_reference_table('dtm.%s')" % table),
                  c.error("SELECT citus_add_local_table_to_metadata('dtm.%s')" % table)]
        ok(None not in errors, 'dtm.%s cannot be distributed' % table, errors)
    w1.rows("SELECT dtm_subscribe('news', '%s/see/news')" % URL)
    w2.rows("SELECT dtm_submit('msg', ARRAY[dtm_step('topic://news')], 'news')")
    is_((wait(w2, 'news'), seen_by('news')), ('succeed', [[0, 0, 0]]), 'a topic that was subscribed to on one node is one on the others')
    ok('cannot use 2PC' in (c.error("BEGIN; SELECT count(*) FROM orders; PREPARE TRANSACTION 'xa'") or ''), 'XA over distributed tables is refused by Citus')
    is_(c.error("SELECT dtm_cleanup_barrier('1 day')"), 'barrier is distributed over the nodes of Citus', 'rows of the barrier are removed by their age')
    c.rows("DELETE FROM dtm_barrier.barrier WHERE create_time < now() - interval '30 days'")
    c.rows("SELECT dtm_submit('msg', ARRAY[dtm_step('')], 'removed')")
    wait(c, 'removed')
    ok((c.value("SELECT dtm_cleanup('0 s')") or 0) > 0, 'finished transactions are removed')
    is_(c.value("SELECT dtm_status('removed')"), None, 'and gone')


def test_idle():
    """Two-phase commits that are not dtm's wake no coordinator."""
    before = w1.value("SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = 'active_due'")
    for i in range(30):
        c.rows('BEGIN; ' + ''.join("INSERT INTO orders VALUES (%d, 'idle');" % o for o in orders(8)) + 'COMMIT')
    w1.rows("SELECT dtm_submit('msg', ARRAY[dtm_step('')], 'after-idle')")
    wait(w1, 'after-idle')
    after = w1.value("SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = 'active_due'")
    ok(after - before < 10, '30 two-phase commits cause no search on a worker', (before, after))


def stand_by(n, name, of):
    """A standby of a node, which streams."""
    standby = new_node(n, name)
    standby.run('pg_basebackup', '-D', standby.data, '-R', '-h', HOST, '-p', str(of.port), '-U', 'postgres', '-c', 'fast')
    standby.configure('port = %d' % standby.port)
    standby.start()
    return standby



def shop(note, per_node=1):
    """Orders whose sagas do not end before release(): on each node, one that waits for its first branch."""
    gids = []
    for node in nodes:
        for i in range(per_node):
            gid = '%s-%s-%d' % (note, node.name, i)
            node.rows("BEGIN; INSERT INTO orders VALUES (%s, %s); SELECT dtm_submit('saga', ARRAY[dtm_step(%s), dtm_step(%s)], %s); COMMIT",
                      orders(1)[0], gid, '%s/held/%s' % (URL, note), '%s/see/%s' % (URL, gid), gid)
            gids.append(gid)
    for gid in gids:
        until(lambda: len(paths_of(gid)) > 0)
    return gids


def until(condition):
    limit = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > limit:
            return False
        time.sleep(0.05)
    return True


def release(note):
    with calls_lock:
        released.add(note)


def ended(gids):
    """How these transactions have ended, and how often their second step was called."""
    result = []
    for gid in gids:
        status = next((s for s in (n.value("SELECT CASE WHEN dtm_status(%s) IS NOT NULL THEN dtm_wait(%s, '120 s') END", gid, gid) for n in nodes) if s), None)
        result.append((status, paths_of(gid).count('/see/' + gid) > 0, c.value('SELECT count(*) FROM orders WHERE note = %s', gid)))
    return set(result)


def test_standby():
    """A standby that is promoted in place of its node goes on by itself: of a worker, and of the coordinator node."""
    global c, w2
    for old, n in ((w2, 3), (c, 5)):
        note = 'failover-' + old.name
        gids = shop(note)
        standby = stand_by(n, 'standby-' + old.name, old)
        ok(c.wait("SELECT count(*) > 0 FROM dtm_citus_setup()", True), '%s: setting up passes over a standby' % old.name)
        tag = old.value('SELECT tag FROM dtm.home')
        old.wait('SELECT count(*) FROM pg_stat_replication WHERE replay_lsn >= %s', 1, old.value('SELECT pg_current_wal_lsn()'))
        old.stop('immediate')
        standby.run('pg_ctl', '-D', standby.data, '-w', 'promote')
        nodes[nodes.index(old)] = standby
        if old is c:
            c = standby
        else:
            w2 = standby
        c.rows("SELECT citus_update_node(nodeid, '%s', %d) FROM pg_dist_node WHERE nodeport = %d" % (HOST, standby.port, old.port))
        # Citus tells the other nodes at once, or later where it can't
        ok(all(m.wait('SELECT count(*) FROM pg_dist_node WHERE nodeport = %s', 0, old.port) for m in nodes), '%s: all nodes know its address' % old.name)
        ok(standby.wait('SELECT state FROM dtm.stat_coordinator', 'running'), '%s: a promoted standby goes on' % old.name)
        calls_before = len(paths_of(gids[nodes.index(standby)]))
        ok(until(lambda: len(paths_of(gids[nodes.index(standby)])) > calls_before), '%s: and calls for what its node has left' % old.name)
        is_(standby.value('SELECT tag FROM dtm.home'), tag, '%s: with the same tag' % old.name)
        release(note)
        is_(ended(gids), {('succeed', True, 1)}, '%s: the sagas of all nodes succeed' % old.name)
        gid = standby.value("SELECT dtm_submit('msg', ARRAY[dtm_step('%s/see/new')])" % URL)
        is_([m.value('SELECT dtm_cluster_wait(%s)', gid) for m in nodes], ['succeed'] * 3, '%s: it is found by the other nodes' % old.name)


def test_nodes():
    """Adding a node, rebalancing, draining and removing it, while sagas are under way and orders come in."""
    gids = shop('added')
    w3 = new_node(6, 'worker3')
    init(w3)
    torture = Torture('meanwhile', PATIENCE * 10)
    clients = [threading.Thread(target=torture.client, args=(n,)) for n in range(2)]
    c.rows('UPDATE items SET stock = 0')
    for client in clients:
        client.start()
    c.rows("SELECT citus_add_node('%s', %d)" % (HOST, w3.port))
    tags = c.rows('SELECT * FROM dtm_citus_setup()')
    is_((len(tags), len({tag for _, tag in tags}), w3.value('SELECT tag FROM dtm.home')), (4, 4, dict(tags)[w3.address()]), 'a node that is added has a tag of its own')
    ok(w3.wait('SELECT state FROM dtm.stat_coordinator', 'running'), 'and a coordinator')
    nodes.append(w3)
    gids += shop('added-later')
    c.rows("SELECT rebalance_table_shards(shard_transfer_mode => 'force_logical')")
    shards = "SELECT count(*) FROM pg_dist_shard_placement WHERE nodeport = %d" % w3.port
    ok(c.value(shards) > 0, 'shards are rebalanced to it')
    is_(w3.value("SELECT dtm_barrier('saga', 'on-w3', '01', 'action')"), True, 'the barrier works there')
    is_(w1.value("SELECT dtm_barrier('saga', 'on-w3', '01', 'action')"), False, 'and is the same on the other nodes')
    c.rows("SELECT citus_drain_node('%s', %d, shard_transfer_mode => 'force_logical')" % (HOST, w3.port))
    is_(c.value(shards + " AND shardid IN (SELECT shardid FROM pg_dist_shard JOIN pg_dist_partition USING (logicalrelid) WHERE partmethod = 'h')"), 0, 'a node is drained')
    nodes.remove(w3)
    own = 'added-later-worker3-0'
    unfinished = "SELECT string_agg(gid, ' ') FROM dtm.cluster_transactions WHERE node = '%s' AND finished IS NULL AND gid NOT LIKE 'meanwhile-%%%%'" % w3.address()
    is_(c.value(unfinished), own, 'what it has not finished is seen on any node')
    ok(w3.wait("SELECT count(*) FROM dtm.active a JOIN dtm.request r USING (id) WHERE r.gid LIKE 'meanwhile-%%'", 0), 'what is under way there ends')
    c.rows("SELECT citus_remove_node('%s', %d)" % (HOST, w3.port))
    before = len(paths_of(own))
    ok(until(lambda: len(paths_of(own)) > before), 'Citus removes it all the same, and it goes on with what it has')
    is_(c.value("SELECT dtm_cluster_status('%s')" % own), None, 'which the cluster does not see any more')
    c.rows("SELECT citus_add_node('%s', %d)" % (HOST, w3.port))
    is_(c.rows('SELECT * FROM dtm_citus_setup()'), tags, 'when it is added again, it has its tag')
    is_(c.value("SELECT dtm_cluster_status('%s')" % own), 'submitted', 'and its sagas')
    nodes.append(w3)
    release('added')
    release('added-later')
    is_(ended(gids), {('succeed', True, 1)}, 'all sagas succeed')
    torture.until = 0
    for client in clients:
        client.join()
    torture.check()
    nodes.remove(w3)
    c.rows("SELECT citus_drain_node('%s', %d, shard_transfer_mode => 'force_logical')" % (HOST, w3.port))
    ok(w3.wait('SELECT count(*) FROM dtm.active', 0), 'when nothing is unfinished there')
    c.rows("SELECT citus_remove_node('%s', %d)" % (HOST, w3.port))
    w3.stop()
    is_(len(c.rows('SELECT * FROM dtm_citus_setup()')), 3, 'it can go for good')


def test_backup():
    """Base backups of all nodes, restored to a restore point of the cluster: paused, and resumed."""
    archive = os.path.join(FOLDER, 'archive')
    gids = shop('backup')
    for node in nodes:
        os.makedirs(os.path.join(archive, node.name))
        node.rows("ALTER SYSTEM SET archive_command = 'cp %%p %s/%%f'" % os.path.join(archive, node.name))
        node.rows('SELECT pg_reload_conf()')
        node.run('pg_basebackup', '-D', node.data + '.backup', '-h', HOST, '-p', str(node.port), '-U', 'postgres', '-c', 'fast')
    gids += shop('backup-later')
    c.rows("SELECT citus_create_restore_point('all')")
    lost = shop('lost')
    for node in nodes:
        last = node.value('SELECT pg_walfile_name(pg_switch_wal())')
        node.wait('SELECT last_archived_wal >= %s FROM pg_stat_archiver', True, last)
    for node in nodes:
        node.stop('immediate')
    for node in nodes:
        os.rename(node.data, node.data + '.lost')
        os.rename(node.data + '.backup', node.data)
    before = {gid: len(paths_of(gid)) for gid in gids + lost}
    for node in nodes:
        node.configure("restore_command = 'cp %s/%s/%%f %%p'" % (archive, node.name), "recovery_target_name = 'all'", "recovery_target_action = 'promote'")
        open(node.data + '/recovery.signal', 'w').close()
        node.start()
    for node in nodes:
        ok(node.wait('SELECT pg_is_in_recovery()', False), '%s: is restored' % node.name)
        ok(node.wait('SELECT state FROM dtm.stat_coordinator', 'paused'), '%s: its coordinator is paused' % node.name)
    is_(sum(node.value("SELECT count(*) FROM dtm.request WHERE gid LIKE 'lost-%%'") for node in nodes), 0, 'what came after the restore point is not there')
    is_(c.value("SELECT count(*) FROM orders WHERE note LIKE 'lost-%%'"), 0, 'neither the sagas nor the orders')
    is_(sum(node.value("SELECT count(*) FROM dtm.request WHERE gid LIKE 'backup-%%'") for node in nodes), len(gids), 'what was before it is')
    is_({gid: len(paths_of(gid)) for gid in gids + lost}, before, 'nobody is called')
    for node in nodes:
        node.rows('SELECT dtm_resume()')
        ok(node.wait('SELECT state FROM dtm.stat_coordinator', 'running'), '%s: is resumed' % node.name)
    release('backup')
    release('backup-later')
    is_(ended(gids), {('succeed', True, 1)}, 'and all sagas succeed')
    is_(len({tag for _, tag in c.rows('SELECT * FROM dtm_citus_setup()')}), 3, 'nodes have their tags')
    for node in nodes:
        node.configure("restore_command = ''", "recovery_target_name = ''")
        node.rows("ALTER SYSTEM SET archive_command = '/bin/true'")
        node.rows('SELECT pg_reload_conf()')


def test_clone():
    """A clone that is promoted beside its node does not call for the node's transactions."""
    gid = 'cloned'
    w1.rows("SELECT dtm_submit('saga', ARRAY[dtm_step('%s/busy')], '%s')" % (URL, gid))
    w1.wait("SELECT count(*) > 0 FROM dtm.calls WHERE gid = '%s'" % gid, True)
    clone = stand_by(4, 'clone', w1)
    node_id = c.value("SELECT citus_add_clone_node('%s', %d, '%s', %d)" % (HOST, clone.port, HOST, w1.port))
    ok(c.value('SELECT count(*) FROM dtm_citus_setup()') == 3, 'setting up passes over a clone')
    c.rows("SELECT citus_promote_clone_and_rebalance(%d)" % node_id)
    ok(clone.wait('SELECT state FROM dtm.stat_coordinator', 'paused'), 'its coordinator is paused')
    is_(clone.value('SELECT reason FROM dtm.stat_coordinator'), 'The server was a standby of a node of Citus that has, or had, a clone.', 'and says why')
    made = clone.value("SELECT count(*) FROM dtm.calls WHERE gid = '%s'" % gid)
    n = w1.value("SELECT count(*) FROM dtm.calls WHERE gid = '%s'" % gid)
    ok(w1.wait("SELECT count(*) > %s FROM dtm.calls WHERE gid = %s", True, n + 2, gid), 'the node itself goes on')
    is_(clone.value("SELECT count(*) FROM dtm.calls WHERE gid = '%s'" % gid), made, 'and the clone calls nobody')
    clone.stop()
    clone.start()
    ok(clone.wait('SELECT state FROM dtm.stat_coordinator', 'paused'), 'after a restart, too')
    clone.rows('TRUNCATE dtm.request, dtm.active, dtm.finished, dtm.attempt, dtm.result, dtm.act, dtm.dead_letter, dtm.lane, dtm.alert')
    clone.rows('SELECT dtm_resume()')
    ok(clone.wait('SELECT state FROM dtm.stat_coordinator', 'running'), 'it is resumed without them')
    tags = c.rows('SELECT * FROM dtm_citus_setup()')
    is_((len(tags), len({tag for _, tag in tags})), (4, 4), 'and gets a tag of its own')
    is_(clone.value("SELECT split_part(dtm_new_gid(), '.', 2)"), tags[3][1], 'which its gids have')
    release('clone')
    clone.rows("SELECT dtm_submit('msg', ARRAY[dtm_step('%s/held/clone')], 'on-clone')" % URL)
    is_(wait(clone, 'on-clone'), 'succeed', 'it runs transactions of its own')
    w1.rows("SELECT dtm_force_stop('%s')" % gid)


def test_cluster():
    """What one node asks the others."""
    w1.rows("SELECT dtm_submit('saga', ARRAY[dtm_step('%s/busy')], 'on-w1')" % URL)
    w2.rows("SELECT dtm_submit('msg', ARRAY[dtm_step('')], 'on-w2')")
    gid = w2.value("SELECT dtm_submit('msg', ARRAY[dtm_step('')])")
    is_([n.value("SELECT dtm_cluster_wait('on-w2')") for n in nodes], ['succeed'] * 3, 'any node waits for a transaction of another')
    is_([n.value('SELECT dtm_cluster_wait(%s)', gid) for n in nodes], ['succeed'] * 3, 'and finds one by the tag of its gid')
    is_([n.value("SELECT dtm_cluster_status('on-w1')") for n in nodes], ['submitted'] * 3, 'any node tells the status')
    is_(c.value("SELECT dtm_cluster_status('none')"), None, 'or that there is none')
    is_(c.error("SELECT dtm_cluster_wait('none')"), 'global transaction "none" does not exist', 'for which nobody waits')
    is_(c.rows("SELECT node, status FROM dtm.cluster_transactions WHERE gid IN ('on-w1', 'on-w2') ORDER BY gid"),
        [('%s:%d' % (HOST, w1.port), 'submitted'), ('%s:%d' % (HOST, w2.port), 'succeed')], 'a view has the transactions of all nodes')
    is_(sorted(node for node, in w2.rows("SELECT node FROM dtm.cluster_coordinators WHERE state = 'running'")),
        sorted('%s:%d' % (HOST, n.port) for n in nodes), 'and one their coordinators')
    is_(w2.value("SELECT count(*) FROM dtm.cluster_stuck WHERE gid = 'on-w1'"), 0, 'and one what is stuck')
    c.rows("CREATE ROLE alice LOGIN")
    c.rows("CREATE ROLE bob LOGIN")
    c.rows("GRANT dtm_user TO alice, bob")

    def as_role(node, role, statement):
        connection = psycopg2.connect(host=HOST, port=node.port, user=role, dbname='postgres')
        connection.autocommit = True
        try:
            cursor = connection.cursor()
            cursor.execute(statement)
            return [row[0] for row in cursor.fetchall()]
        finally:
            connection.close()

    as_role(w1, 'alice', "SELECT dtm_submit('msg', ARRAY[dtm_step('')], 'of-alice')")
    is_([as_role(n, 'alice', 'SELECT gid FROM dtm.cluster_transactions') for n in nodes], [['of-alice']] * 3, 'a role sees its own transactions on all nodes')
    is_([as_role(n, 'bob', "SELECT count(*) FROM dtm.cluster_transactions") + as_role(n, 'bob', "SELECT dtm_cluster_status('of-alice')") for n in nodes],
        [[0, None]] * 3, 'and no others')
    # numbers, for who may read them
    c.rows('CREATE ROLE exporter LOGIN IN ROLE dtm_monitor')
    numbers = [as_role(n, 'exporter', """SELECT node || ' ' || sum(value)::int FROM dtm.cluster_metrics
        WHERE name = 'dtm_transactions_created_total' GROUP BY node ORDER BY node""") for n in nodes]
    own = ['%s:%d %d' % (HOST, n.port, n.value("SELECT sum(value)::int FROM dtm.metrics WHERE name = 'dtm_transactions_created_total'"))
           for n in sorted(nodes, key=lambda n: n.port)]
    is_(numbers, [own] * 3, 'dtm_monitor sees the numbers of all nodes on each')
    is_(w1.value('SELECT count(DISTINCT (node, name, labels::text)) = count(*) AND count(DISTINCT node) = 3 FROM dtm.cluster_metrics'), True, 'which are samples of their own')
    is_([as_role(n, 'exporter', 'SELECT count(*) FROM dtm.cluster_coordinators') for n in nodes], [[3]] * 3, 'and the coordinators')
    for role, view in (('alice', 'cluster_metrics'), ('exporter', 'cluster_transactions')):
        try:
            as_role(w1, role, 'SELECT * FROM dtm.' + view)
            refused = None
        except psycopg2.Error as e:
            refused = str(e).strip()
        is_(refused, 'permission denied for view ' + view, 'but %s does not see dtm.%s' % (role, view))
    # a TCC whose client is sent to another node each time
    gid = w1.value("SELECT dtm_prepare('tcc')")
    w2.rows('SELECT dtm_cluster_run(%s, %s)', gid, "dtm_register_branch('%s', '01', '%s/see/confirm', '%s/see/cancel')" % (gid, URL, URL))
    c.rows('SELECT dtm_cluster_run(%s, %s)', gid, "dtm_submit('tcc', gid => '%s')" % gid)
    is_((w2.value('SELECT dtm_cluster_wait(%s)', gid), paths_of(gid)), ('succeed', ['/see/confirm']), 'a TCC is driven through three nodes')
    is_(c.error("SELECT dtm_cluster_run('on-w1', 'dtm_submit(''none'')')"), 'node %s:%d: unknown trans_type "none"' % (HOST, w1.port), 'an error says where')
    w2.stop()
    try:
        is_(c.value("SELECT count(*) FROM dtm.cluster_transactions WHERE gid = 'on-w1'"), 1,
            'where a node is down, the others are shown')
        is_(c.value("SELECT dtm_cluster_run('on-w1', 'dtm_status(''on-w1'')')"), 'submitted', 'and run what is theirs')
        ok('cannot be asked' in (c.error("SELECT dtm_cluster_status('on-w2')") or ''),
           'what may be on the one that is down is not said to be nowhere')
    finally:
        w2.start()
    w1.rows("SELECT dtm_force_stop('on-w1')")


# ---------- gateways ----------

gateways = []


def start_gateways():
    """One beside each node, which knows the others, too."""
    c.rows('ALTER ROLE dtm_gateway LOGIN')
    for i, node in enumerate(nodes):
        others = [n for n in nodes if n is not node]
        with open(os.path.join(FOLDER, 'gateway%d.log' % i), 'w') as log:
            gateways.append(subprocess.Popen(
                [GATEWAY, '--conninfo=' + node.conninfo('dtm_gateway'), '--listen=%s:%d' % (HOST, PORT + 20 + i)] +
                ['--node=' + n.conninfo('dtm_gateway') for n in others], stderr=log))


def ask(path, body=None, gateway=None):
    """A request to any gateway; its status, and the answer."""
    port = PORT + 20 + (random.randrange(len(nodes)) if gateway is None else gateway)
    connection = http.client.HTTPConnection(HOST, port, timeout=60)
    try:
        connection.request('GET' if body is None else 'POST', '/api/dtmsvr/' + path, None if body is None else json.dumps(body))
        response = connection.getresponse()
        text = response.read().decode()
        return response.status, json.loads(text) if text.startswith('{') else text
    except OSError as e:
        return 503, str(e)
    finally:
        connection.close()


def drive(kind, gid):
    """All requests of a transaction, each through any gateway; their statuses, and paths that are to be called."""
    see = '%s/see/' % URL
    body = {'gid': gid, 'trans_type': 'msg' if kind in ('message', 'forgotten') else kind}
    steps = {'steps': [{'action': see + 'one'}, {'action': see + 'two'}], 'payloads': ['{}', '{}']}
    if kind == 'saga':
        return [ask('submit', dict(body, **steps))[0]], ['/see/one', '/see/two']
    if kind == 'message':
        body.update(steps, query_prepared=see + 'asked')
        return [ask('prepare', body)[0], ask('submit', body)[0]], ['/see/one', '/see/two']
    if kind == 'forgotten':
        body.update(steps, query_prepared=see + 'asked', timeout_to_fail=1)
        return [ask('prepare', body)[0]], ['/see/asked', '/see/one', '/see/two']
    if kind == 'tcc':
        branch = dict(body, branch_id='01', confirm=see + 'confirm', cancel=see + 'cancel')
        return [ask('prepare', body)[0], ask('registerBranch', branch)[0], ask('registerBranch', dict(branch, branch_id='02'))[0],
                ask('submit', body)[0]], ['/see/confirm', '/see/confirm']
    body.update(custom_data='{"name": "w"}', query_prepared=see + 'again')
    return [ask('prepareWorkflow', body)[0],
            ask('registerBranch', {'gid': gid, 'trans_type': 'workflow', 'branch_id': '01', 'op': 'action', 'status': 'succeed', 'data': 'x'})[0],
            ask('prepareWorkflow', body)[0],
            ask('submit', dict(body, req_extra={'status': 'succeed'}))[0]], []


def test_gateway():
    """A gateway on each node: the requests of one transaction through any of them."""
    if not os.path.exists(GATEWAY):
        print('# gateway/dtm-gateway is not built: not tested')
        return
    start_gateways()
    for i in range(3):
        ok(until(lambda: ask('submit', {'gid': 'gateway-%d' % i, 'trans_type': 'msg'}, i)[0] == 200), 'gateway %d has reached all nodes' % i)
    for kind in ('saga', 'message', 'forgotten', 'tcc', 'workflow'):
        bad = []
        driven = []
        for n in range(12):
            gid = ask('newGid')[1]['gid'] if n % 2 == 0 else '%s-%d' % (kind, n)
            driven.append((gid,) + drive(kind, gid))
        for gid, statuses, wanted in driven:
            having = [node for node in nodes if node.value('SELECT dtm_status(%s)', gid)]
            got = ([s for s in statuses if s != 200], len(having), having and wait(having[0], gid), sorted(paths_of(gid)),
                   ask('query?gid=' + gid)[1].get('transaction') is not None)
            if got != ([], 1, 'succeed', sorted(wanted), True):
                bad.append((gid, got))
        is_(bad, [], '%s: twelve of them, each on one node, whose requests come through any gateway' % kind)
    # begun by SQL on a node, with a gid that says nothing
    bad = []
    for node in nodes:
        gid = 'tour-' + node.name
        node.rows("SET ROLE dtm_api; SELECT dtm_prepare('tcc', %s)", gid)
        statuses = [ask('registerBranch', {'gid': gid, 'trans_type': 'tcc', 'branch_id': '01', 'confirm': URL + '/see/confirm', 'cancel': URL + '/see/cancel'})[0],
                    ask('submit', {'gid': gid, 'trans_type': 'tcc'})[0]]
        if (statuses, wait(node, gid), paths_of(gid)) != ([200, 200], 'succeed', ['/see/confirm']):
            bad.append((gid, statuses, paths_of(gid)))
    is_(bad, [], 'a TCC that SQL has begun on a node is ended through gateways')
    for statement in ("SELECT dtm_submit('tcc', gid => 'nowhere')", "SELECT dtm_submit('msg', gid => 'nowhere', options => '{\"query_prepared\": \"http://a/\"}')",
                      "SELECT dtm_submit('msg', gid => '%s')" % c.value('SELECT dtm_new_gid()')):
        is_((w1.error(statement) or '').split('"')[-1], ' does not exist on this node', 'what another node has is refused: ' + statement)
    for process in gateways:
        process.terminate()
        is_(process.wait(), 0, 'a gateway stops')


# ---------- torture ----------

class Torture:
    """Orders that move stock between items, while nodes crash and shards move.  Each order is three rows
    and a saga, in one commit; its branches are done through any node, and fail at random."""

    def __init__(self, name, seconds):
        self.name = name
        self.until = time.monotonic() + seconds
        self.gids = []
        self.crashes = self.moves = 0

    def over(self):
        return time.monotonic() > self.until

    def order(self, number):
        """Submits an order; its commit may be lost on the way."""
        gid = '%s-%d' % (self.name, number)
        a, b = random.sample(range(1, 21), 2)
        n = random.randint(1, 9)
        take = random.choice(('take', 'take_in'))
        self.gids.append(gid)
        try:
            connection = random.choice(nodes).connect()
        except psycopg2.Error:
            return
        try:
            cursor = connection.cursor()
            cursor.execute('BEGIN')
            for order in orders(3):
                cursor.execute('INSERT INTO orders VALUES (%s, %s)', (order, gid))
            cursor.execute("SELECT dtm_submit('saga', ARRAY[dtm_step(%s, %s), dtm_step(%s, %s)], %s)",
                           tuple('%s/chance/%s/%d/%d' % (URL, take, item, m) for item, m in ((a, n), (a, n), (b, -n), (b, -n))) + (gid,))
            cursor.execute('COMMIT')
        except psycopg2.Error:
            pass
        finally:
            connection.close()

    def client(self, which):
        number = which
        while not self.over():
            self.order(number)
            number += 8

    def crash(self):
        """A node, all at once, or one process of it, with which the server restarts."""
        node = random.choice(nodes)
        if random.random() < 0.5:
            node.stop('immediate')
            time.sleep(random.random())
            node.start()
        else:
            try:
                pid = node.value("SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND (backend_type = 'client backend' OR backend_type LIKE 'dtm %%') ORDER BY random() LIMIT 1")
                if pid is not None:
                    os.kill(pid, signal.SIGKILL)
            except (psycopg2.Error, ProcessLookupError):
                return
        self.crashes += 1

    def move(self):
        """The shards of one group of items, to the other worker.  Online: with block_writes, Citus 13.2 loses
        updates that are made through workers meanwhile, without dtm, too."""
        try:
            shard, port = random.choice(c.rows("""SELECT s.shardid, p.nodeport FROM pg_dist_shard s JOIN pg_dist_shard_placement p USING (shardid)
                WHERE s.logicalrelid = 'items'::regclass"""))
            to = next(n for n in (w1, w2) if n.port != port)
            c.rows("SELECT citus_move_shard_placement(%s, %s, %s, %s, %s, shard_transfer_mode => 'force_logical')", shard, HOST, port, HOST, to.port)
            self.moves += 1
        except (psycopg2.Error, StopIteration):
            pass

    def chaos(self):
        while not self.over():
            time.sleep(random.random() * 2)
            self.move()
            if random.random() < 0.6:
                self.crash()

    def run(self):
        threads = [threading.Thread(target=self.client, args=(n,)) for n in range(8)] + [threading.Thread(target=self.chaos)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def check(self):
        print('# %d orders, %d crashes, %d moves of shards' % (len(self.gids), self.crashes, self.moves))
        for node in nodes:
            ok(node.wait("SELECT count(*) FROM pg_prepared_xacts WHERE gid LIKE 'citus%%'", 0), '%s: no transaction is left half committed' % node.name)
        for node in nodes:
            ok(node.drain("SELECT count(*) FROM dtm.active a JOIN dtm.request r USING (id) WHERE r.gid LIKE %s", self.name + '-%'), '%s: all sagas have ended' % node.name)
        rows = dict(c.rows("SELECT note, count(*) FROM orders WHERE note LIKE %s GROUP BY 1", self.name + '-%'))
        sagas = {gid: status for node in nodes for gid, status in node.rows("SELECT gid, status FROM dtm.transactions WHERE gid LIKE %s", self.name + '-%')}
        is_({n for n in rows.values()}, {3}, 'orders are whole')
        is_(set(rows) ^ set(sagas), set(), 'each order has its saga, and each saga its order')
        statuses = list(sagas.values())
        ok(statuses.count('succeed') > 0 and statuses.count('failed') > 0, 'some have succeeded, some were rolled back', statuses)
        is_(c.value('SELECT sum(stock)::int FROM items'), 0, 'the stock adds up')
        expected = self.expected(sagas)
        is_({item: stock for item, stock in c.rows('SELECT item, stock FROM items')}, expected, 'of each item')
        print('# %d succeeded, %d rolled back' % (statuses.count('succeed'), statuses.count('failed')))

    def expected(self, sagas):
        stock = dict.fromkeys(range(1, 21), 0)
        for node in nodes:
            for gid, url in node.rows("SELECT gid, url FROM dtm.branches WHERE gid LIKE %s AND op = 'action'", self.name + '-%'):
                if sagas[gid] == 'succeed':
                    item, n = url.split('/')[-2:]
                    stock[int(item)] -= int(n)
        return stock


def chance(parts, query):
    """A branch that fails: before, for good or for now, or after it was done."""
    fate = random.random()
    if fate < 0.05 and query['op'] == 'action':
        return 409
    if fate < 0.15:
        return 500
    seen = random.choice(nodes).value('SELECT count(*) FROM orders WHERE note = %s', query['gid'])
    if seen != 3:
        return 425
    status = branch(parts[1:], query)
    return 500 if fate < 0.25 else status


def test_torture():
    c.rows('UPDATE items SET stock = 0')
    torture = Torture('torture', SECONDS)
    torture.run()
    torture.check()


def statements_of(block):
    """Statements end with a semicolon at the end of a line, outside of a function's body."""
    statement = ''
    for line in block.split('\n'):
        statement += line + '\n'
        if line.endswith(';') and statement.count('$$') % 2 == 0:
            yield statement
            statement = ''


def test_documentation():
    """The statements of docs/citus.md."""
    text = open(TOP + '/docs/citus.md').read()
    blocks = re.findall(r'<!-- run by scripts/citus.sh -->\n```sql\n(.*?)```', text, re.S)
    c.rows('DROP TABLE IF EXISTS orders, items, item_barrier CASCADE')
    c.rows('DROP FUNCTION IF EXISTS take_in')
    for statement in (s for block in blocks for s in statements_of(block)):
        error = c.error(statement)
        ok(error is None, 'docs/citus.md: %s' % statement.strip().split('\n')[0], error)
    gids = [n.value("SELECT string_agg(gid, ' ') FROM dtm.request WHERE gid = 'order-4711'") for n in nodes]
    is_(sum(gid is not None for gid in gids), 1, 'the saga is on one node')
    is_(next(n for n, gid in zip(nodes, gids) if gid), shard_node(4711), 'on that of its order')


def main():
    print('# seed %d' % SEED)
    random.seed(SEED)
    try:
        set_up()
        tests = [test_one_commit, test_visible, test_held, test_barrier, test_memory, test_functions, test_tables, test_idle, test_cluster, test_gateway, test_torture, test_nodes, test_backup,
                 test_standby, test_documentation, test_clone]
        for test in tests:
            if not WANTED or test.__name__[len('test_'):] in WANTED:
                test()
        for node in every:
            with open(node.data + '.log', errors='replace') as log:
                ok(not re.search(r'PANIC|TRAP', log.read()), '%s: nothing is broken' % node.name)
    finally:
        for node in every:
            if os.path.exists(node.data + '/hold_commit'):
                os.unlink(node.data + '/hold_commit')
            if node.is_up():
                node.stop('immediate')
        for process in gateways:
            process.kill()
    print('1..%d' % number)
    sys.exit(1 if failures else 0)


main()
