"""Branches in FastAPI (and Starlette)."""
from collections.abc import Awaitable, Callable
from inspect import iscoroutinefunction
from typing import Any, overload

from psycopg import AsyncConnection, Connection
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from .call import Call, Key, Reply, check_key, encode
from .transaction import AsyncPool, Pool, run, run_async

Sync = Callable[[Connection[Any], Call], Any]
Async = Callable[[AsyncConnection[Any], Call], Awaitable[Any]]
Endpoint = Callable[[Request], Awaitable[Response]]


@overload
def branch(pool: AsyncPool, key: Key | None = None, *, max_age: float = 300,
           skipped: Async | None = None) -> Callable[[Async], Endpoint]: ...
@overload
def branch(pool: Pool, key: Key | None = None, *, max_age: float = 300,
           skipped: Sync | None = None) -> Callable[[Sync], Endpoint]: ...


def branch(pool: Any, key: Key | None = None, *, max_age: float = 300,
           skipped: Any = None) -> Callable[[Any], Endpoint]:
    """Makes a function of a connection and a Call an endpoint.

    The function is asynchronous with an AsyncConnectionPool; with a
    ConnectionPool it runs in a thread.  It runs in a transaction, unless the
    barrier says that it must not run; then skipped runs, if there is one.  What
    it returns is the response.  With a key, requests that are not signed with it
    get 401.
    """
    check_key(key)

    def decorate(business: Any) -> Endpoint:
        async def endpoint(request: Request) -> Response:
            try:
                call = Call.read(request.query_params, request.headers, await request.body(), key, max_age)
                if iscoroutinefunction(business):
                    body = await run_async(pool, call, business, skipped)
                else:
                    body = await run_in_threadpool(run, pool, call, business, skipped)
                return Response(body, media_type="application/json")
            except Reply as reply:
                return Response(encode(reply.body), reply.status, media_type="application/json")

        # names only: FastAPI would take the parameters of the business for those of the request
        endpoint.__name__ = business.__name__
        endpoint.__doc__ = business.__doc__
        return endpoint
    return decorate
