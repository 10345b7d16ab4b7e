#!/usr/bin/python3
"""A client of gRPC for tests, which knows no messages.

    grpc_client.py HOST:PORT [CA-FILE]

Reads calls from standard input, one in JSON a line, and prints what each has
come to, one a line:

    {"path": "/package.Service/Method", "message": "<hex>", "timeout": 5,
     "metadata": {"name": "value"}, "times": 3, "fresh": true}

    {"code": 0, "details": "", "reply": "<hex>"}

With "times" the call is made so often at once, and the result is a list; with
"fresh" it has a connection of its own. "many" is a list of calls that are made
at once, one after the other on one connection.
"""
import json
import sys

import grpc


def channel(target, ca):
    if ca is None:
        return grpc.insecure_channel(target, options=[("grpc.use_local_subchannel_pool", 1)])
    with open(ca, "rb") as file:
        credentials = grpc.ssl_channel_credentials(file.read())
    return grpc.secure_channel(target, credentials, options=[("grpc.use_local_subchannel_pool", 1)])


def start(connection, call):
    method = connection.unary_unary(call["path"])
    return method.future(bytes.fromhex(call.get("message", "")), timeout=call.get("timeout", 30),
                         metadata=list(call.get("metadata", {}).items()))


def result(future):
    try:
        return {"code": 0, "details": "", "reply": future.result().hex()}
    except grpc.RpcError as error:
        return {"code": error.code().value[0], "details": error.details(), "reply": ""}


def main():
    target = sys.argv[1]
    ca = sys.argv[2] if len(sys.argv) > 2 else None
    shared = channel(target, ca)
    for line in sys.stdin:
        call = json.loads(line)
        connection = channel(target, ca) if call.get("fresh") else shared
        if "many" in call:
            answer = [result(future) for future in [start(connection, one) for one in call["many"]]]
        elif "times" in call:
            answer = [result(future) for future in [start(connection, call) for _ in range(call["times"])]]
        else:
            answer = result(start(connection, call))
        print(json.dumps(answer), flush=True)
        if call.get("fresh"):
            connection.close()


main()
