"""Servers on loopback: the nodes of a cluster of Citus, for test/citus.py and bench/citus.py."""
import os
import subprocess
import time

import psycopg2

HOST = '127.0.0.1'
PATIENCE = 120


class Node:
    """A server of the cluster, or a standby of one."""

    def __init__(self, bin, folder, port, name):
        self.bin = bin
        self.folder = folder
        self.port = port
        self.name = name
        self.data = os.path.join(folder, name)

    def address(self):
        """As the cluster's views have it."""
        return '%s:%d' % (HOST, self.port)

    def conninfo(self, user='postgres'):
        return 'host=%s port=%d user=%s dbname=postgres' % (HOST, self.port, user)

    def run(self, program, *arguments):
        subprocess.run([os.path.join(self.bin, program)] + list(arguments), check=True, stdout=subprocess.DEVNULL)

    def init(self, preload, *lines):
        self.run('initdb', '-D', self.data, '-A', 'trust', '-U', 'postgres', '--encoding=UTF8', '--locale=C')
        self.configure("shared_preload_libraries = '%s'" % preload, 'port = %d' % self.port, "listen_addresses = '%s'" % HOST,
                       "unix_socket_directories = '%s'" % self.folder, 'max_prepared_transactions = 300', 'max_worker_processes = 30',
                       'max_connections = 300', 'wal_level = logical', 'restart_after_crash = on', 'fsync = off',
                       'max_locks_per_transaction = 128', *lines)
        if preload.startswith('citus'):
            self.configure("citus.node_conninfo = 'sslmode=disable'", 'citus.enable_statistics_collection = off')
        self.start()

    def configure(self, *lines):
        with open(self.data + '/postgresql.conf', 'a') as conf:
            conf.write(''.join(line + '\n' for line in lines))

    def start(self):
        self.run('pg_ctl', '-D', self.data, '-l', self.data + '.log', '-w', '-t', '60', 'start')

    def stop(self, mode='fast'):
        self.run('pg_ctl', '-D', self.data, '-m', mode, '-w', 'stop')

    def is_up(self):
        return os.path.exists(self.data + '/postmaster.pid')

    def connect(self):
        connection = psycopg2.connect(self.conninfo())
        connection.autocommit = True
        return connection

    def rows(self, statement, *arguments):
        connection = self.connect()
        try:
            cursor = connection.cursor()
            cursor.execute(statement, arguments or None)
            return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def value(self, statement, *arguments):
        rows = self.rows(statement, *arguments)
        return rows[0][0] if rows else None

    def error(self, statement):
        try:
            self.rows(statement)
        except psycopg2.Error as e:
            return str(e).split('\n')[0]
        return None

    def wait(self, statement, wanted, *arguments):
        """Until a statement returns what is wanted; whether it has."""
        until = time.monotonic() + PATIENCE
        got = None
        while time.monotonic() < until:
            try:
                got = self.value(statement, *arguments)
            except psycopg2.Error as e:
                got = str(e)
            if got == wanted:
                return True
            time.sleep(0.05)
        print('#   last: %r' % (got,))
        return False

    def drain(self, statement, *arguments):
        """Until a count is 0, as long as it goes down; whether it is."""
        least, until = None, 0
        while True:
            try:
                got = self.value(statement, *arguments)
            except psycopg2.Error:
                got = None
            if got == 0:
                return True
            if least is None or (got is not None and got < least):
                least, until = got, time.monotonic() + PATIENCE
            elif time.monotonic() > until:
                print('#   last: %r' % (got,))
                return False
            time.sleep(0.1)
