"""Serves a WSGI application on a port of 127.0.0.1: serve_wsgi.py MODULE:NAME PORT."""
import importlib
import os
import sys
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIServer, make_server


class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


sys.path.insert(0, os.getcwd())
module, name = sys.argv[1].split(":")
application = getattr(importlib.import_module(module), name)
make_server("127.0.0.1", int(sys.argv[2]), application, Server).serve_forever()
