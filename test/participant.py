#!/usr/bin/python3
"""A participant of global transactions for tests: answers what it is told to.

    participant.py [port]

Listens on 127.0.0.1, prints its port, and stops when its standard input ends.

Any request is logged and answered with 200 and the body "null", unless
something else was asked for:

    POST /_reply    {"path": "/TransIn", "op": "action", "gid": "g",
                     "replies": [{"status": 409, "body": "no", "delay": 0.1,
                                  "drop": true, "half": true}, ...],
                     "forever": false}
                    the next replies to requests of that path (op, gid: any if
                    left out); with forever, the last one stays
    GET  /_log      [{"method", "path", "query": {}, "headers": {}, "body",
                     "raw_query", "time"}, ...] in the order they came;
                    ?gid=g for those of one gid
    POST /_clear    forgets the log and the replies

"drop" closes the connection without a reply, "half" in the middle of it; a
request's own parameter delay=S makes its answer wait S seconds.
"""
import asyncio
import json
import sys
import time

from aiohttp import web

log = []
rules = []


def matching_rule(request):
    for rule in rules:
        if (rule["replies"] and rule["path"] == request.path
                and rule.get("op") in (None, request.query.get("op"))
                and rule.get("gid") in (None, request.query.get("gid"))):
            return rule
    return None


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
    })
    reply = {}
    rule = matching_rule(request)
    if rule is not None:
        reply = rule["replies"][0]
        if len(rule["replies"]) > 1 or not rule.get("forever"):
            rule["replies"].pop(0)
    delay = float(request.query.get("delay", 0)) + reply.get("delay", 0)
    if delay > 0:
        await asyncio.sleep(delay)
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


async def clear(_request):
    log.clear()
    rules.clear()
    return web.Response(text="ok")


async def main():
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_post("/_reply", set_reply)
    app.router.add_get("/_log", get_log)
    app.router.add_post("/_clear", clear)
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 0
    site = web.TCPSite(runner, "127.0.0.1", port, backlog=1024, reuse_address=True)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await runner.cleanup()


asyncio.run(main())
