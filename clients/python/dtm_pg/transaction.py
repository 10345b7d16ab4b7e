"""Runs the business of a call: transaction, barrier, business, commit."""
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any, Concatenate, ParamSpec, Protocol

import psycopg
from psycopg import AsyncConnection, Connection
from psycopg.rows import tuple_row

from .call import BARRIER, QUERY_PREPARED, Call, check_not_failed, query_back, reply_to, success

P = ParamSpec("P")
Business = Callable[Concatenate[Connection[Any], Call, P], Any]


class Pool(Protocol):
    """psycopg_pool.ConnectionPool, or anything else that lends connections."""

    def connection(self) -> AbstractContextManager[Connection[Any]]: ...


class AsyncPool(Protocol):
    """psycopg_pool.AsyncConnectionPool, or anything else that lends connections."""

    def connection(self) -> AbstractAsyncContextManager[AsyncConnection[Any]]: ...


def run(pool: Pool, call: Call, business: Callable[[Connection[Any], Call], Any],
        skipped: Callable[[Connection[Any], Call], Any] | None = None) -> bytes:
    """Returns the body of the response, which is JSON.  An error rolls back, and is raised."""
    if call.is_query_back:
        with pool.connection() as connection, connection.transaction():
            committed = _ask(connection, QUERY_PREPARED, call.gid)
        return query_back(committed)
    try:
        with pool.connection() as connection, connection.transaction():
            chosen = business if _ask(connection, BARRIER, *call.parameters) else skipped
            body = success(chosen(connection, call) if chosen else None)
            check_not_failed(connection.info.transaction_status)
    except psycopg.Error as error:
        if reply := reply_to(error):
            raise reply from error
        raise
    return body


async def run_async(pool: AsyncPool, call: Call, business: Callable[[AsyncConnection[Any], Call], Awaitable[Any]],
                    skipped: Callable[[AsyncConnection[Any], Call], Awaitable[Any]] | None = None) -> bytes:
    """As run, for an asynchronous pool and business."""
    if call.is_query_back:
        async with pool.connection() as connection, connection.transaction():
            committed = await _ask_async(connection, QUERY_PREPARED, call.gid)
        return query_back(committed)
    try:
        async with pool.connection() as connection, connection.transaction():
            chosen = business if await _ask_async(connection, BARRIER, *call.parameters) else skipped
            body = success(await chosen(connection, call) if chosen else None)
            check_not_failed(connection.info.transaction_status)
    except psycopg.Error as error:
        if reply := reply_to(error):
            raise reply from error
        raise
    return body


def _ask(connection: Connection[Any], sql: str, *values: str) -> bool:
    # the pool may have another row factory
    with connection.cursor(row_factory=tuple_row) as cursor:
        row = cursor.execute(sql.encode(), values).fetchone()
    return bool(row and row[0])


async def _ask_async(connection: AsyncConnection[Any], sql: str, *values: str) -> bool:
    async with connection.cursor(row_factory=tuple_row) as cursor:
        row = await (await cursor.execute(sql.encode(), values)).fetchone()
    return bool(row and row[0])
