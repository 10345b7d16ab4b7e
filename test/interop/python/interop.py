"""The SDK of Python against a server that speaks dtm's protocol.

The participants are in this program, on the SDK's own barrier.  Scenarios run
concurrently, each with its own accounts. One that yields needs a restart of
the server at that point. All of these share one restart.
"""
import collections
import contextlib
import http.server
import io
import json
import os
import subprocess
import sys
import threading
import time
import traceback
import urllib.parse

import psycopg2
import requests
from dtmcli import barrier, msg, saga, tcc, utils

PATIENCE = 90
SERVER = os.environ['INTEROP_HTTP']
LABEL = os.environ['INTEROP_LABEL']
CONTROL = os.environ['INTEROP_CONTROL']
DATABASE = 'host={INTEROP_PGHOST} port={INTEROP_PGPORT} user={INTEROP_PGUSER} dbname={INTEROP_PGDATABASE}'.format(
    **os.environ)


class Cursor:
    """A cursor as the SDK's barrier expects it from pymysql: it accepts MySQL's
    INSERT IGNORE and double quotes, and execute() returns the number of rows."""

    def __init__(self):
        self.connection = psycopg2.connect(DATABASE)
        self.cursor = self.connection.cursor()

    def execute(self, sql, arguments=None):
        if sql.startswith('insert ignore into '):
            sql = sql.replace('insert ignore into ', 'insert into ', 1) + ' on conflict do nothing'
        self.cursor.execute(sql.replace('"', "'"), arguments)
        return self.cursor.rowcount

    def fetchone(self):
        return self.cursor.fetchone()

    def close(self):
        self.cursor.close()


class Bank(http.server.BaseHTTPRequestHandler):
    """The participants.  The payload tells them what to do and how to respond."""
    protocol_version = 'HTTP/1.1'
    lock = threading.Lock()
    calls = collections.defaultdict(list)

    def do_GET(self):
        self.do_POST()

    def do_POST(self):
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        order = json.loads(self.rfile.read(int(self.headers.get('Content-Length', 0))) or 'null')
        status, answer = 200, {'dtm_result': 'SUCCESS'}
        try:
            if order and order.get('header') not in (None, self.headers.get('x-interop')):
                raise RuntimeError('the header is missing')
            getattr(self, url.path[1:])(query, order)
        except utils.DTMFailureError as error:
            status, answer = 409, {'error': f'{error} FAILURE'}
        except BlockingIOError:
            status, answer = 425, {'error': 'ONGOING'}
        except Exception as error:
            status, answer = 500, {'error': str(error)}
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header('Content-Type', 'application/json')
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

    def bank(self, query, order):
        call = f'{query["branch_id"]}/{query["op"]}'
        with self.lock:
            self.calls[query['gid']].append(call)
            times = self.calls[query['gid']].count(call) - 1

        def business(cursor):
            decide(order, times, query['op'])
            change(cursor, query['op'], order)

        with contextlib.closing(Cursor()) as cursor, contextlib.closing(cursor.connection):
            barrier.BranchBarrier(query['trans_type'], query['gid'], query['branch_id'], query['op']).call(
                cursor, business)

    def nested(self, query, order):
        if query['op'] == 'try':
            tcc.tcc_from_req(SERVER, query['gid'], query['branch_id']).call_branch(
                order['child'], BANK + '/bank', BANK + '/bank', BANK + '/bank')
        self.bank(query, order)

    def query(self, query, _order):
        with self.lock:
            self.calls[query['gid']].append(f'{query["branch_id"]}/query')
        with contextlib.closing(Cursor()) as cursor, contextlib.closing(cursor.connection):
            barrier.BranchBarrier(query['trans_type'], query['gid'], query['branch_id'], query['op']).query_prepared(
                cursor)


def decide(order, times, op):
    if op not in ('action', 'try', 'msg'):
        if times < order.get('undo', 0):
            raise RuntimeError('later')
        return
    if times < order.get('ongoing', 0):
        raise BlockingIOError
    if times < order.get('errors', 0):
        raise RuntimeError('not now')
    if order.get('refuse'):
        raise utils.DTMFailureError('not enough money')


def change(cursor, op, order):
    amount = order['amount']
    balance, trading = {
        'action': (amount, 0), 'msg': (amount, 0), 'compensate': (-amount, 0),
        'try': (0, amount), 'confirm': (amount, -amount), 'cancel': (0, -amount)}[op]
    cursor.execute('UPDATE interop.account SET balance = balance + %s, trading = trading + %s WHERE name = %s',
                   (balance, trading, order['account']))


def wait_for(condition):
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False


class Fault(Exception):
    pass


class Test:
    """A scenario that runs."""

    def __init__(self):
        self.gid = utils.gen_gid(SERVER)
        self.out = self.gid + '/out'
        self.into = self.gid + '/in'
        with contextlib.closing(Cursor()) as cursor, contextlib.closing(cursor.connection):
            for account in self.out, self.into:
                cursor.execute('INSERT INTO interop.account VALUES (%s, 100, 0)', (account,))
            cursor.connection.commit()

    def order_out(self, **more):
        return {'account': self.out, 'amount': -30, **more}

    def order_in(self, **more):
        return {'account': self.into, 'amount': 30, **more}

    def saga(self, out=None, into=None):
        return saga.Saga(SERVER, self.gid).add(self.order_out(**(out or {})), BANK + '/bank', BANK + '/bank').add(
            self.order_in(**(into or {})), BANK + '/bank', BANK + '/bank')

    def msg(self, **more):
        message = msg.Msg(SERVER, self.gid).add(self.order_in(**more), BANK + '/bank')
        message.trans_base.retry_interval = 1
        return message

    def state(self):
        return requests.get(SERVER + '/query', params={'gid': self.gid}, timeout=10).json()

    def ends(self, status):
        def ended():
            try:
                self.found = (self.state()['transaction'] or {}).get('status')
            except requests.RequestException as error:
                self.found = str(error)
            return self.found in ('succeed', 'failed', status)
        wait_for(ended)
        self.want(self.found, status, 'status')

    def want(self, have, want, what):
        if have != want:
            raise Fault(f'{what}: {have!r}, not {want!r}')

    def calls(self, want):
        self.want(' '.join(Bank.calls[self.gid]), want, 'calls')

    def moved(self, out, into):
        with contextlib.closing(Cursor()) as cursor, contextlib.closing(cursor.connection):
            for account, amount in (self.out, out), (self.into, into):
                cursor.execute('SELECT balance, trading FROM interop.account WHERE name = %s', (account,))
                self.want(cursor.fetchone(), (100 + amount, 0), account)


SCENARIOS = []


def scenario(name):
    def add(function):
        SCENARIOS.append((name, function))
        return function
    return add


@scenario('saga succeeds; errors are retried')
def _(t):
    transaction = t.saga(into={'errors': 1})
    transaction.trans_base.retry_interval = 1
    transaction.submit()
    t.ends('succeed')
    t.calls('01/action 02/action 02/action')
    t.moved(-30, 30)


@scenario('saga is rejected and rolled back, last step first')
def _(t):
    t.saga(into={'refuse': True}).submit()
    t.ends('failed')
    t.calls('01/action 02/action 02/compensate 01/compensate')
    t.moved(0, 0)


@scenario('saga: ONGOING is retried')
def _(t):
    transaction = t.saga(out={'ongoing': 1})
    transaction.trans_base.retry_interval = 1
    transaction.submit()
    t.ends('succeed')
    t.calls('01/action 01/action 02/action')


@scenario('saga: wait_result returns when it has succeeded')
def _(t):
    transaction = t.saga()
    transaction.trans_base.wait_result = True
    transaction.submit()
    t.want(t.state()['transaction']['status'], 'succeed', 'status')
    t.moved(-30, 30)


@scenario('saga: wait_result is an error when it is rolled back')
def _(t):
    transaction = t.saga(into={'refuse': True})
    transaction.trans_base.wait_result = True
    raises(utils.DTMFailureError, transaction.submit)
    t.want(t.state()['transaction']['status'], 'failed', 'status')
    t.moved(0, 0)


@scenario('saga: timeout_to_fail')
def _(t):
    transaction = t.saga(into={'ongoing': 1000})
    transaction.trans_base.retry_interval = 1
    transaction.trans_base.timeout_to_fail = 2
    transaction.submit()
    t.ends('failed')
    t.want(t.state()['transaction']['rollback_reason'], 'Timeout after 2 seconds', 'reason')
    t.moved(0, 0)


@scenario('saga: branch headers')
def _(t):
    transaction = t.saga(out={'header': 'yes'}, into={'header': 'yes'})
    transaction.trans_base.branch_headers = {'x-interop': 'yes'}
    transaction.submit()
    t.ends('succeed')


@scenario('saga that has ended cannot be submitted again')
def _(t):
    t.saga().submit()
    t.ends('succeed')
    raises(utils.DTMFailureError, t.saga().submit)
    t.moved(-30, 30)


@scenario('saga goes on after a restart of the server')
def _(t):
    transaction = t.saga(into={'ongoing': 2})
    transaction.trans_base.retry_interval = 1
    transaction.submit()
    wait_for(lambda: '02/action' in Bank.calls[t.gid])
    yield
    t.ends('succeed')
    t.calls('01/action 02/action 02/action 02/action')
    t.moved(-30, 30)


def call_tcc(transaction, path, order):
    return transaction.call_branch(order, BANK + path, BANK + '/bank', BANK + '/bank')


@scenario('tcc succeeds, last registered confirmed first')
def _(t):
    def transfer(transaction):
        call_tcc(transaction, '/bank', t.order_out())
        call_tcc(transaction, '/bank', t.order_in())
    t.want(tcc.tcc_global_transaction(SERVER, t.gid, transfer), t.gid, 'gid')
    t.ends('succeed')
    t.calls('01/try 02/try 02/confirm 01/confirm')
    t.moved(-30, 30)


@scenario('tcc is rejected and cancelled')
def _(t):
    def transfer(transaction):
        call_tcc(transaction, '/bank', t.order_out(undo=1))
        call_tcc(transaction, '/bank', t.order_in(refuse=True))
    t.want(tcc.tcc_global_transaction(SERVER, t.gid, transfer), '', 'gid')
    t.ends('failed')
    t.calls('01/try 02/try 02/cancel 01/cancel 01/cancel')
    t.moved(0, 0)


@scenario('tcc nested')
def _(t):
    def transfer(transaction):
        call_tcc(transaction, '/bank', t.order_out())
        call_tcc(transaction, '/nested', t.order_in(child={'account': t.into, 'amount': 7}))
    t.want(tcc.tcc_global_transaction(SERVER, t.gid, transfer), t.gid, 'gid')
    t.ends('succeed')
    t.calls('01/try 0201/try 02/try 0201/confirm 02/confirm 01/confirm')
    t.moved(-30, 37)


@scenario('tcc: time-out before the submit')
def _(t):
    def transfer(transaction):
        call_tcc(transaction, '/bank', t.order_out())
        t.ends('failed')
        call_tcc(transaction, '/bank', t.order_in())
    # the registration is rejected, so the SDK aborts, which is rejected as well
    raises(utils.DTMFailureError, lambda: tcc.tcc_global_transaction(SERVER, t.gid, transfer))
    t.calls('01/try 01/cancel')
    t.moved(0, 0)


@scenario('tcc: a restart of the server between its tries and its end')
def _(t):
    transaction = tcc.Tcc(SERVER, t.gid)
    body = {'gid': t.gid, 'trans_type': 'tcc', 'timeout_to_fail': 120}
    utils.check_result(requests.post(SERVER + '/prepare', json=body, timeout=10))
    call_tcc(transaction, '/bank', t.order_out())
    yield
    call_tcc(transaction, '/bank', t.order_in())
    utils.check_result(requests.post(SERVER + '/submit', json=body, timeout=10))
    t.ends('succeed')
    t.moved(-30, 30)


def take_out(t, error=None):
    def business(cursor):
        change(cursor, 'msg', t.order_out())
        if error:
            raise error
    return business


def do_and_submit(t, error=None):
    with contextlib.closing(Cursor()) as cursor, contextlib.closing(cursor.connection):
        t.msg().do_and_submit_db(BANK + '/query', cursor, take_out(t, error))


@scenario('msg succeeds; errors are retried')
def _(t):
    t.msg(errors=1).submit()
    t.ends('succeed')
    t.calls('01/action 01/action')
    t.moved(0, 30)


@scenario('msg do_and_submit succeeds')
def _(t):
    do_and_submit(t)
    t.ends('succeed')
    t.moved(-30, 30)


@scenario('msg do_and_submit: FAILURE of the local transaction aborts')
def _(t):
    raises(utils.DTMFailureError, lambda: do_and_submit(t, utils.DTMFailureError('no')))
    t.ends('failed')
    t.calls('')
    t.moved(0, 0)


@scenario('msg do_and_submit: another error is resolved by a query-back')
def _(t):
    raises(ZeroDivisionError, lambda: do_and_submit(t, ZeroDivisionError()))
    t.ends('failed')
    t.calls('00/query')
    t.moved(0, 0)


@scenario('msg: the client stops after its commit; the query-back submits')
def _(t):
    message = t.msg()
    message.trans_base.timeout_to_fail = 5
    message.prepare(BANK + '/query')
    with contextlib.closing(Cursor()) as cursor, contextlib.closing(cursor.connection):
        barrier.BranchBarrier('msg', t.gid, '00', 'msg').call(cursor, take_out(t))
    t.ends('succeed')
    t.calls('00/query 01/action')
    t.moved(-30, 30)


@scenario('msg: the client stops before its commit; the query-back ends it')
def _(t):
    message = t.msg()
    message.trans_base.timeout_to_fail = 5
    message.prepare(BANK + '/query')
    t.ends('failed')
    t.calls('00/query')
    t.moved(0, 0)


@scenario('msg: wait_result')
def _(t):
    t.msg().set_wait_result().submit()
    t.want(t.state()['transaction']['status'], 'succeed', 'status')
    t.moved(0, 30)


@scenario('msg: a topic')
def _(t):
    topic = 't' + t.gid.replace('-', '')
    requests.get(SERVER + '/subscribe', params={'topic': topic, 'url': BANK + '/bank', 'remark': 'interop'},
                 timeout=10).raise_for_status()
    msg.Msg(SERVER, t.gid).add(t.order_in(), 'topic://' + topic).submit()
    t.ends('succeed')
    t.moved(0, 30)


@scenario('msg: a restart of the server between prepare and query')
def _(t):
    message = t.msg()
    message.trans_base.timeout_to_fail = 5
    message.prepare(BANK + '/query')
    with contextlib.closing(Cursor()) as cursor, contextlib.closing(cursor.connection):
        barrier.BranchBarrier('msg', t.gid, '00', 'msg').call(cursor, take_out(t))
    yield
    t.ends('succeed')
    t.moved(-30, 30)


def raises(kind, function):
    try:
        function()
    except kind:
        return
    raise Fault(f'no {kind.__name__}')


OUTPUT = threading.Lock()


class Run:
    """Runs a scenario, in one part or two."""

    def __init__(self, name, function):
        self.name, self.function, self.test, self.rest = name, function, None, None

    def first(self):
        def part():
            self.test = Test()
            self.rest = self.function(self.test)
            if self.rest is None:
                return True
            next(self.rest)
            return False
        self.part(part)

    def second(self):
        if self.rest is not None:
            self.part(lambda: next(self.rest, True))

    def part(self, function):
        try:
            fault = None
            if not function():
                return
        except Exception:
            fault = traceback.format_exc()
            self.rest = None
        with OUTPUT:
            print(f'{"not " if fault else ""}ok - {LABEL}: {self.name}', file=RESULTS)
            if fault:
                gid = self.test.gid if self.test else None
                print('#   ' + fault.strip().replace('\n', '\n#   ') +
                      f'\n#   gid {gid}, calls {Bank.calls[gid]}, at the server {self.test and self.test.state()}',
                      file=RESULTS)
            RESULTS.flush()


def together(functions):
    threads = [threading.Thread(target=function) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def server_is_up():
    try:
        return utils.gen_gid(SERVER)
    except Exception:
        return None


httpd = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Bank)
BANK = f'http://127.0.0.1:{httpd.server_address[1]}'
threading.Thread(target=httpd.serve_forever, daemon=True).start()
# the SDK prints its calls to stdout
RESULTS, sys.stdout, sys.stderr = sys.stdout, io.StringIO(), io.StringIO()
runs = [Run(*s) for s in SCENARIOS if len(sys.argv) < 2 or sys.argv[1] in s[0]]
together([run.first for run in runs])
if any(run.rest for run in runs):
    subprocess.run([CONTROL, 'stop'], check=True)
    subprocess.run([CONTROL, 'start'], check=True)
    wait_for(server_is_up)
    together([run.second for run in runs])
