#!/usr/bin/python3
"""A participant of global transactions for tests: answers what it is told to.

    participant.py [--grpc] [--tls CERTIFICATE KEY] [--https CERTIFICATE KEY CA] [port]

Prints its port.  With --grpc it serves any method of gRPC as well, on a port of its own that is
printed behind the first; with --tls that is a TLS port. With --https it answers
on another port, printed last, to those who show a certificate of that authority.

Any request is logged and answered with 200 and the body "null", unless
something else was asked for:

    POST /_reply    {"path": "/TransIn", "op": "action", "gid": "g",
                     "replies": [{"status": 409, "body": "no", "delay": 0.1,
                                  "hex": "6e6f", "drop": true, "half": true,
                                  "hold": true}, ...],
                     "forever": false}
                    the next replies to requests of that path (op, gid: any if
                    left out); with forever, the last one stays
    GET  /_log      [{"method", "path", "query": {}, "headers": {}, "body",
                     "raw_query", "time", "client"}, ...] in the order they came,
                    client being the subject of the certificate that was shown;
                    ?gid=g for those of one gid
    POST /_release  the requests that are held are answered
    POST /_clear    forgets the log and the replies

"hex" is a body of any bytes; "hold" keeps the answer back until /_release, "drop" closes the connection without a reply, "half" in the middle of it; a
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
import time

from aiohttp import web

import service

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
        return service.hang_up(request)
    if reply.get("half"):
        return service.hang_up(request, service.half_response())
    if "hex" in reply:
        return web.Response(status=reply.get("status", 200), body=bytes.fromhex(reply["hex"]),
                            headers=reply.get("headers", {}))
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
        import grpc

        code = next(c for c in grpc.StatusCode if c.value[0] == reply["grpc"])
        await context.abort(code, reply.get("message", ""))
    return b"done"


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--grpc", action="store_true")
    parser.add_argument("--tls", nargs=2)
    parser.add_argument("--https", nargs=3)
    parser.add_argument("port", nargs="?", type=int, default=0)
    options = parser.parse_args()
    runner = await service.start_http(answer, (("POST", "/_reply", set_reply), ("GET", "/_log", get_log),
                                               ("POST", "/_release", release),
                                               ("POST", "/_clear", clear)), options.port)
    port = service.port_of(runner)
    server, grpc_port = await service.start_grpc(answer_grpc, options.tls) if options.grpc else (None, "")
    https_port = ""
    if options.https:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=options.https[2])
        context.load_cert_chain(*options.https[:2])
        context.verify_mode = ssl.CERT_REQUIRED
        await web.TCPSite(runner, service.ADDRESS, 0, ssl_context=context).start()
        https_port = service.port_of(runner)
    await service.wait_until_told(port, grpc_port, https_port)
    if server:
        await server.stop(None)
    await runner.cleanup()


asyncio.run(main())
