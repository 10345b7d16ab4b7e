#!/usr/bin/python3
"""A participant that can't be relied on, but keeps its books right.

    unreliable.py SEED TIMEOUT

Prints its ports for HTTP and for gRPC.  Whatever is asked of it, it does or does not do, and answers or
does not: 200, 409, 425, 500, nothing within TIMEOUT seconds, a reset, or half a
reply.  What it has done it does not do again, what was undone before it came
is not done (a barrier in memory), and what it has refused it refuses for ever.

    POST /TransOut, /TransIn, ...  moves 1, for op action, confirm, commit; back for
                                   compensate, cancel, rollback
    GET  /QueryPrepared            yes or no, the same for a gid each time
    GET  /_books                   {gid: {branch: [done, undone, requests]}}
"""
import asyncio
import random
import sys

import grpc
from aiohttp import web

import service

DOES = {"action", "confirm", "commit"}
UNDOES = {"compensate", "cancel", "rollback"}

seed, timeout = sys.argv[1], float(sys.argv[2])
chance = random.Random(seed)
books = {}


def verdict(gid, branch, percent):
    """The same for a branch each time."""
    return random.Random(f"{seed}/{gid}/{branch}").random() * 100 < percent


def do_it(gid, branch, op):
    """The business, once; False: refused."""
    entry = books[gid][branch]
    if op in DOES:
        if entry["undone"]:
            return True         # it comes too late
        if op == "action" and entry["refusable"]:
            return False
        entry["done"] = True
    elif op in UNDOES:
        entry["undone"] = True
    return True


def decide(gid, branch, op, trans_type):
    """How to answer: a status, or "nothing", "reset", "half"."""
    entry = books.setdefault(gid, {}).setdefault(branch, {
        "done": False, "undone": False, "requests": 0,
        "refusable": trans_type == "saga" and verdict(gid, branch, 8)})
    entry["requests"] += 1
    if op == "msg":
        return 200 if verdict(gid, branch, 70) else 409
    dice = chance.random() * 100
    if dice < 8:
        return 425
    if dice < 12:
        return 500
    if dice < 14 and not (trans_type == "saga" and op == "action"):
        return 409              # which can't fail it: it is asked again
    if not do_it(gid, branch, op):
        return 409
    # it is done, but that is not always heard of
    if dice < 18:
        return 500
    if dice < 20:
        return "nothing"
    if dice < 24:
        return "reset"
    if dice < 28:
        return "half"
    return 200


async def answer(request):
    await request.read()
    query = request.query
    reply = decide(query["gid"], query["branch_id"], query["op"], query["trans_type"])
    if reply == "nothing":
        await asyncio.sleep(timeout)
        reply = "reset"
    if reply == "reset":
        return service.hang_up(request)
    if reply == "half":
        return service.hang_up(request, service.half_response())
    return web.Response(status=reply, text="null")


async def answer_grpc(_path, _message, context):
    metadata = dict(context.invocation_metadata())
    reply = decide(metadata["dtm-gid"], metadata["dtm-branch_id"], metadata["dtm-op"],
                   metadata["dtm-trans_type"])
    if reply == "nothing":
        await asyncio.sleep(timeout)
    if reply != 200:
        code = {409: grpc.StatusCode.ABORTED, 425: grpc.StatusCode.FAILED_PRECONDITION,
                500: grpc.StatusCode.INTERNAL}.get(reply, grpc.StatusCode.UNAVAILABLE)
        await context.abort(code, "no")
    return b""


async def show_books(_request):
    return web.json_response({gid: {branch: [e["done"], e["undone"], e["requests"]]
                                    for branch, e in branches.items()}
                              for gid, branches in books.items()})


async def main():
    runner = await service.start_http(answer, (("GET", "/_books", show_books),))
    server, grpc_port = await service.start_grpc(answer_grpc)
    await service.wait_until_told(service.port_of(runner), grpc_port)
    await server.stop(None)
    await runner.cleanup()


asyncio.run(main())
