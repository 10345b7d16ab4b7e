"""What all participants do alike: those of the tests, of the long tests and of the demonstration.

A participant listens on 127.0.0.1, on a free port unless it is given one. A program that is a
participant prints its port, or ports, in one line, and stops when its standard input ends, so
that it does not outlive the test that started it.

Participants in threads have their own Handler; those with asyncio use what stands below it.
"""
import asyncio
import http.server
import sys
import threading
import urllib.parse

ADDRESS = "127.0.0.1"
BACKLOG = 1024                  # connections that wait to be accepted


class Refused(Exception):
    """The business says no, for good."""


def passes_barrier(cursor, branch):
    """Is the business of this branch and op to be done, in the cursor's transaction?"""
    cursor.execute("SELECT dtm_barrier(%s, %s, %s, %s)",
                   (branch["trans_type"], branch["gid"], branch["branch_id"], branch["op"]))
    return cursor.fetchone()[0]


def half_response(status=200):
    """The beginning of a response whose end never comes."""
    return f"HTTP/1.1 {status} Half\r\nContent-Length: 1000\r\n\r\nhalf".encode()


# ---------- with threads ----------

class Handler(http.server.BaseHTTPRequestHandler):
    """One request; respond() is the participant's own, and ends with answer() or hang_up()."""
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def respond(self, path, query, body):
        raise NotImplementedError

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path, _, query = self.path.partition("?")
        self.respond(path, dict(urllib.parse.parse_qsl(query)), body)

    do_GET = do_POST

    def answer(self, status, text, headers=()):
        body = text.encode()
        try:
            self.send_response(status)
            for name, value in headers:
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except OSError:
            self.close_connection = True

    def hang_up(self, beginning=b""):
        """Ends the connection without a response, or in the middle of one."""
        self.wfile.write(beginning)
        self.connection.close()
        self.close_connection = True

    def log_message(self, *_arguments):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = BACKLOG

    def handle_error(self, request, client_address):
        # a caller that has hung up is none
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


def serve(handler, port=0):
    """Serves in threads of its own until the program ends; returns the port."""
    server = Server((ADDRESS, port), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


def run_until_told(*ports):
    print(*ports, flush=True)
    sys.stdin.read()


# ---------- with asyncio ----------

async def start_http(answer, routes=(), port=0):
    """An aiohttp server: routes are (method, path, handler), answer has all other requests."""
    from aiohttp import web

    app = web.Application(client_max_size=64 * 1024 * 1024)
    for route in (*routes, ("*", "/{path:.*}", answer)):
        app.router.add_route(*route)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, ADDRESS, port, backlog=BACKLOG, reuse_address=True).start()
    return runner


def port_of(runner):
    """The port that an aiohttp server was given last."""
    return runner.addresses[-1][1]


def hang_up(request, beginning=b""):
    """Ends the connection of an aiohttp request without a response, or in the middle of one."""
    from aiohttp import web

    if request.transport is not None:
        if beginning:
            request.transport.write(beginning)
            request.transport.close()
        else:
            request.transport.abort()
    return web.Response()       # nobody gets it


async def start_grpc(answer, tls=None):
    """A gRPC server that has answer(path, message, context) for every method there may be.

    tls is a pair of files, certificate and key. Returns the server and its port."""
    import grpc

    class Handlers(grpc.GenericRpcHandler):
        def service(self, details):
            async def handle(message, context):
                return await answer(details.method, message, context)
            return grpc.unary_unary_rpc_method_handler(handle)

    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Handlers(),))
    if tls:
        with open(tls[0], "rb") as certificate, open(tls[1], "rb") as key:
            credentials = grpc.ssl_server_credentials([(key.read(), certificate.read())])
        port = server.add_secure_port(f"{ADDRESS}:0", credentials)
    else:
        port = server.add_insecure_port(f"{ADDRESS}:0")
    await server.start()
    return server, port


async def wait_until_told(*ports):
    await asyncio.get_running_loop().run_in_executor(None, run_until_told, *ports)
