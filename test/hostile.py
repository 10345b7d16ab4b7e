#!/usr/bin/python3
"""A participant that wishes its callers ill.

Prints its port.  The path says what it answers; /_requests tells how often each was asked for.
"""
import asyncio
import collections
import gzip

import service

requests = collections.Counter()
OK = b"HTTP/1.1 200 OK\r\n"
BOMB = gzip.compress(b"0" * 50_000_000)


def reply(body, headers=b"", status=b"200 OK"):
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n%s\r\n%s" % (status, len(body), headers, body)


async def endless(writer, first, more, pause=0.0):
    """Until the caller has had enough."""
    writer.write(first)
    while not writer.is_closing():
        writer.write(more)
        await writer.drain()
        await asyncio.sleep(pause)


async def answer(path, writer):
    if path == "/endless-body":
        await endless(writer, OK + b"\r\n", b"x" * 65536)
    elif path == "/endless-chunks":
        await endless(writer, OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1000\r\n" + b"x" * 4096 + b"\r\n")
    elif path == "/endless-headers":
        await endless(writer, OK, b"X-More: of the same\r\n")
    elif path == "/endless-continue":
        await endless(writer, b"", b"HTTP/1.1 100 Continue\r\n\r\n")
    elif path == "/endless-trailers":
        await endless(writer, OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X-More: of the same\r\n")
    elif path == "/slow-body":
        await endless(writer, OK + b"Content-Length: 1000000\r\n\r\n", b"x", 0.05)
    elif path == "/slow-headers":
        await endless(writer, OK, b"X: y\r\n", 0.05)
    elif path == "/many-headers":
        writer.write(reply(b"done", b"".join(b"X-Header-%d: %d\r\n" % (n, n) for n in range(10000))))
    elif path == "/long-header":
        writer.write(reply(b"done", b"X-Long: " + b"y" * 1_000_000 + b"\r\n"))
    elif path == "/bomb":
        writer.write(reply(BOMB, b"Content-Encoding: gzip\r\n"))
    elif path == "/nul":
        writer.write(reply(b"no\0luck\0", status=b"500 No"))
    elif path == "/not-utf8":
        writer.write(reply(b"\xff\xfe\xc3(\xed\xa0\x80" * 300, status=b"500 No"))
    elif path == "/status-line":
        writer.write(b"HTTP/1.1 2\xff0 fine\r\n\r\n")
    elif path == "/no-http":
        writer.write(b"220 mail.example.org ESMTP\r\n")
    elif path == "/nothing":
        pass
    elif path == "/lengths":
        writer.write(OK + b"Content-Length: 4\r\nContent-Length: 99999999999999999999\r\n\r\ndone")
    elif path == "/bad-chunks":
        writer.write(OK + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nx")
    elif path == "/two-replies":
        writer.write(reply(b"done") + reply(b"no", status=b"409 No"))
    elif path.startswith("/to-"):
        target = {"/to-file": "file:///etc/passwd", "/to-metadata": "http://169.254.169.254/latest/",
                  "/to-itself": "/elsewhere"}[path].encode()
        writer.write(reply(b"", b"Location: " + target + b"\r\n", b"307 Elsewhere"))
    elif path == "/cookie":
        writer.write(reply(b"done", b"Set-Cookie: track=me\r\nStrict-Transport-Security: max-age=1000\r\n"))
    else:
        writer.write(reply(b"done"))
    await writer.drain()


async def serve(reader, writer):
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        path = head.split(" ")[1].partition("?")[0]
        for line in head.splitlines():
            name, _, value = line.partition(":")
            if name.lower() == "content-length":
                await reader.readexactly(int(value))
        if path == "/_requests":
            writer.write(reply("\n".join(f"{name} {number}" for name, number in requests.items()).encode()))
        else:
            requests[path] += 1
            if "\r\ncookie:" in head.lower():
                requests["cookies"] += 1
            await asyncio.wait_for(answer(path, writer), 20)
    except (ConnectionError, asyncio.TimeoutError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


async def main():
    server = await asyncio.start_server(serve, service.ADDRESS, 0)
    await service.wait_until_told(server.sockets[0].getsockname()[1])
    server.close()


asyncio.run(main())
