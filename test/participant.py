#!/usr/bin/python3
"""A participant of global transactions for tests: answers what it is told to.

    participant.py [--grpc] [--tls CERTIFICATE KEY] [--https CERTIFICATE KEY CA] [port]

Listens on 127.0.0.1, prints its port, and stops when its standard input ends.
With --grpc it serves any method of gRPC as well, on a port of its own that is
printed behind the first; with --tls that is a TLS port. With --https it answers
on another port, printed last, to those who show a certificate of that authority.

Any request is logged and answered with 200 and the body "null", unless
something else was asked for:

    POST /_reply    {"path": "/TransIn", "op": "action", "gid": "g",
                     "replies": [{"status": 409, "body": "no", "delay": 0.1,
                                  "drop": true, "half": true, "hold": true}, ...],
                     "forever": false}
                    the next replies to requests of that path (op, gid: any if
                    left out); with forever, the last one stays
    GET  /_log      [{"method", "path", "query": {}, "headers": {}, "body",
                     "raw_query", "time", "client"}, ...] in the order they came,
                    client being the subject of the certificate that was shown;
                    ?gid=g for those of one gid
    POST /_release  the requests that are held are answered
    POST /_clear    forgets the log and the replies

"hold" keeps the answer back until /_release, "drop" closes the connection without a reply, "half" in the middle of it; a
request's own parameter delay=S makes its answer wait S seconds.

Calls over gRPC are logged with method "GRPC", the method's path, the metadata
as headers, and the dtm-* of it as query. Their replies are
{"grpc": status code, "message": "...", "delay": 0.1}; a reply without "grpc"
is OK.
"""
import argparse
import asyncio
import json
import ssl
import sys
import time

from aiohttp import web

log = []
rules = []
held = []


def next_reply(path, query):
    for rule in rules:
        if (rule["replies"] and rule["path"] == path
                and rule.get("op") in (None, query.get("op"))
                and rule.get("gid") in (None, query.get("gid"))):
            if len(rule["replies"]) > 1 or not rule.get("forever"):
                return rule["replies"].pop(0)
            return rule["replies"][0]
    return {}


def client_of(request):
    certificate = request.transport.get_extra_info("peercert") if request.transport else None
    return dict(pair[0] for pair in certificate["subject"]).get("commonName") if certificate else None


async def answer(request):
    body = await request.text()
    log.append({
        "method": request.method,
        "path": request.path,
        "query": dict(request.query),
        "raw_query": request.raw_path.partition("?")[2],
        "headers": dict(request.headers),
        "body": body,
        "time": time.time(),
        "client": client_of(request),
    })
    reply = next_reply(request.path, request.query)
    delay = float(request.query.get("delay", 0)) + reply.get("delay", 0)
    if delay > 0:
        await asyncio.sleep(delay)
    if reply.get("hold"):
        held.append(asyncio.Event())
        await held[-1].wait()
    if reply.get("drop"):
        request.transport.abort()
        return web.Response()
    if reply.get("half"):
        request.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        request.transport.close()
        return web.Response()
    return web.Response(status=reply.get("status", 200),
                        text=reply.get("body", "null"),
                        headers=reply.get("headers", {}))


async def set_reply(request):
    rules.append(json.loads(await request.text()))
    return web.Response(text="ok")


async def get_log(request):
    gid = request.query.get("gid")
    return web.json_response([entry for entry in log
                              if gid in (None, entry["query"].get("gid"))])


async def release(_request):
    for event in held:
        event.set()
    held.clear()
    return web.Response(text="ok")


async def clear(_request):
    log.clear()
    rules.clear()
    return web.Response(text="ok")


def grpc_handlers():
    """A handler for every method there may be."""
    import grpc

    async def answer_grpc(path, message, context):
        metadata = {key: value for key, value in context.invocation_metadata()}
        query = {key[4:]: value for key, value in metadata.items() if key.startswith("dtm-")}
        log.append({
            "method": "GRPC", "path": path, "query": query, "raw_query": "",
            "headers": {key: str(value) for key, value in metadata.items()},
            "body": message.decode("latin-1"), "time": time.time(),
            "time_left": context.time_remaining(),
        })
        reply = next_reply(path, query)
        await asyncio.sleep(reply.get("delay", 0))
        if reply.get("grpc"):
            code = next(c for c in grpc.StatusCode if c.value[0] == reply["grpc"])
            await context.abort(code, reply.get("message", ""))
        return b"done"

    class Handlers(grpc.GenericRpcHandler):
        def service(self, details):
            async def handle(message, context):
                return await answer_grpc(details.method, message, context)
            return grpc.unary_unary_rpc_method_handler(handle)

    return (Handlers(),)


async def start_grpc(tls):
    import grpc

    server = grpc.aio.server()
    server.add_generic_rpc_handlers(grpc_handlers())
    if tls:
        with open(tls[0], "rb") as certificate, open(tls[1], "rb") as key:
            credentials = grpc.ssl_server_credentials([(key.read(), certificate.read())])
        port = server.add_secure_port("127.0.0.1:0", credentials)
    else:
        port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    return server, port


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--grpc", action="store_true")
    parser.add_argument("--tls", nargs=2)
    parser.add_argument("--https", nargs=3)
    parser.add_argument("port", nargs="?", type=int, default=0)
    options = parser.parse_args()
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_post("/_reply", set_reply)
    app.router.add_get("/_log", get_log)
    app.router.add_post("/_release", release)
    app.router.add_post("/_clear", clear)
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", options.port, backlog=1024, reuse_address=True)
    await site.start()
    server, grpc_port = await start_grpc(options.tls) if options.grpc else (None, "")
    https_port = ""
    if options.https:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=options.https[2])
        context.load_cert_chain(*options.https[:2])
        context.verify_mode = ssl.CERT_REQUIRED
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        https_port = runner.addresses[-1][1]
    print(runner.addresses[0][1], grpc_port, https_port, flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    if server:
        await server.stop(None)
    await runner.cleanup()


asyncio.run(main())
