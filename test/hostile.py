#!/usr/bin/python3
"""A participant that wishes its callers ill.

Prints its port.  The path says what it answers; /_requests tells how often each was asked for.
"""
import asyncio
import collections
import gzip
import zlib

import service

requests = collections.Counter()
released = asyncio.Event()
OK = b"HTTP/1.1 200 OK\r\n"
BOMB = gzip.compress(b"0" * 50_000_000)
NO = b'{"dtm_result": "FAILURE"}'


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
    elif path == "/gzip":
        writer.write(reply(gzip.compress(NO), b"Content-Encoding: gzip\r\n"))
    elif path == "/x-gzip":
        writer.write(reply(gzip.compress(NO), b"content-encoding:\tX-GZip \r\n"))
    elif path == "/deflate":
        writer.write(reply(zlib.compress(NO), b"Content-Encoding: deflate\r\n"))
    elif path == "/gzip-chunked":
        body = gzip.compress(NO)
        writer.write(OK + b"Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n")
        for i in range(len(body)):
            writer.write(b"1\r\n" + body[i:i + 1] + b"\r\n")
        writer.write(b"0\r\n\r\n")
    elif path == "/gzip-transfer":
        writer.write(OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n")
        body = gzip.compress(NO)
        writer.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
    elif path == "/gzip-no-409":
        writer.write(reply(gzip.compress(b"no"), b"Content-Encoding: gzip\r\n", b"409 No"))
    elif path == "/gzip-no-425":
        writer.write(reply(gzip.compress(b"no"), b"Content-Encoding: gzip\r\n", b"425 No"))
    elif path == "/identity":
        writer.write(reply(b"done", b"Content-Encoding: identity\r\n"))
    elif path == "/no-coding":
        writer.write(reply(b"done", b"Content-Encoding: \r\n"))
    elif path == "/brotli":
        writer.write(reply(NO, b"Content-Encoding: br\r\n"))
    elif path == "/zstd":
        writer.write(reply(NO, b"Content-Encoding: zstd\r\n"))
    elif path == "/utf-8":
        writer.write(reply(NO, b"Content-Encoding: UTF-8\r\n"))
    elif path == "/gzip-twice":
        writer.write(reply(gzip.compress(gzip.compress(NO)), b"Content-Encoding: gzip, gzip\r\n"))
    elif path == "/gzip-two-headers":
        writer.write(reply(gzip.compress(gzip.compress(NO)), b"Content-Encoding: gzip\r\nContent-Encoding: gzip\r\n"))
    elif path == "/identity-gzip":
        writer.write(reply(gzip.compress(NO), b"Content-Encoding: identity\r\nContent-Encoding: gzip\r\n"))
    elif path == "/not-gzip":
        writer.write(reply(NO, b"Content-Encoding: gzip\r\n"))
    elif path == "/half-gzip":
        writer.write(reply(gzip.compress(NO)[:-12], b"Content-Encoding: gzip\r\n"))
    elif path == "/endless-nothing":
        # blocks of deflate with nothing in them
        await endless(writer, OK + b"Content-Encoding: deflate\r\n\r\n\x78\x9c", b"\x00\x00\x00\xff\xff" * 4096)
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
    elif path == "/lengths-large":
        writer.write(OK + b"Content-Length: 4\r\nContent-Length: 400\r\n\r\ndone")
    elif path == "/lengths-small":
        writer.write(OK + b"Content-Length: 25\r\ncontent-length : 4\r\nContent-length: 2\r\n\r\n" + NO)
    elif path == "/lengths-list":
        writer.write(OK + b"Content-Length: 4, 5\r\n\r\ndone.")
    elif path == "/lengths-same":
        writer.write(OK + b"Content-Length: 4\r\nContent-Length: 04\r\n\r\ndone")
    elif path == "/length-word":
        writer.write(OK + b"Content-Length: 4x\r\n\r\ndone")
    elif path == "/length-sign":
        writer.write(OK + b"Content-Length: +4\r\n\r\ndone")
    elif path == "/length-minus":
        writer.write(OK + b"Content-Length: -4\r\n\r\ndone")
    elif path == "/length-none":
        writer.write(OK + b"Content-Length:\r\n\r\ndone")
    elif path == "/length-folded":
        writer.write(OK + b"Content-Length: 4\r\n 5\r\n\r\ndone")
    elif path == "/length-chunked":
        writer.write(OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(NO), NO))
    elif path == "/lengths-status":
        writer.write(OK + b"Content-Length: 4\r\nHTTP/1.1 200 OK: x\r\nContent-Length: 5\r\n\r\ndone.")
    elif path == "/length-interim":
        writer.write(b"HTTP/1.1 103 Early\r\nContent-Length: 9\r\n\r\n" + reply(b"done"))
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
    elif path.startswith("/held/"):
        # so many bytes, of which the last one comes when it is told to
        size = int(path[len("/held/"):])
        writer.write(OK + b"Content-Length: %d\r\n\r\n" % size)
        for _ in range((size - 1) // 1000):
            writer.write(b"x" * 1000)
            await writer.drain()
        writer.write(b"x" * ((size - 1) % 1000))
        await released.wait()
        writer.write(b"x")
    elif path.startswith("/large/"):
        writer.write(reply(b"x" * int(path[len("/large/"):])))
    elif path == "/_release":
        released.set()
        writer.write(reply(b"done"))
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
            await asyncio.wait_for(answer(path, writer), 120 if path.startswith("/held/") else 20)
    except (ConnectionError, asyncio.TimeoutError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


async def main():
    server = await asyncio.start_server(serve, service.ADDRESS, 0)
    await service.wait_until_told(server.sockets[0].getsockname()[1])
    server.close()


asyncio.run(main())
