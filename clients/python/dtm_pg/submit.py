"""Submits global transactions in the database transaction of the caller."""
import json
from collections.abc import Sequence
from typing import Any, Literal, TypedDict

from psycopg import AsyncConnection, AsyncCursor, Connection, Cursor
from psycopg.rows import tuple_row

TransType = Literal["saga", "msg", "tcc", "xa", "workflow"]


class _StepAction(TypedDict):
    action: str


class Step(_StepAction, total=False):
    """A step: URLs of its action and compensation, the body for both, and options (see "Options of steps")."""

    compensate: str
    payload: Any
    payload_base64: str
    name: str
    method: str
    compensate_method: str
    headers: dict[str, str]
    content_type: str
    query_parameters: bool
    replies: Literal["dtm", "status"]
    success: str
    final: str
    ongoing: str
    compensate_ok: str
    retry_after: bool
    request_timeout: float
    complete_within: float
    poll: bool
    retry_interval: float
    max_attempts: int
    compensate_max_attempts: int
    on_exhausted: Literal["abort", "park", "discard"]


class Options(TypedDict, total=False):
    """Options of the global transaction; the SQL reference explains them."""

    timeout_to_fail: float
    retry_interval: float
    request_timeout: float
    retry_limit: int
    branch_headers: dict[str, str]
    concurrent: bool
    orders: dict[str, list[int]]
    delay: float
    query_prepared: str
    protocol: Literal["http", "json-rpc", "grpc"]
    notify: bool
    traceparent: str
    on_finish: str
    lane: str
    lane_on_park: Literal["wait", "skip"]
    fairness_key: str
    results: bool
    name: str
    data: Any
    status: Literal["succeed", "failed"]
    result: Any
    rollback_reason: str


# json, not jsonb: payloads are sent to the letter
SUBMIT = "SELECT dtm_submit(%s, %s::json, %s, %s::jsonb)"


def arguments(trans_type: TransType, steps: Sequence[Step], gid: str | None,
              options: Options | None) -> tuple[str, str, str | None, str]:
    return trans_type, json.dumps(steps, ensure_ascii=False), gid, json.dumps(options or {})


def submit(connection: Connection[Any] | Cursor[Any], trans_type: TransType, steps: Sequence[Step],
           gid: str | None = None, options: Options | None = None) -> str:
    """Submits in the current transaction of the connection, and returns the gid.

    The global transaction starts when the caller commits.  If the caller rolls
    back, nothing is stored and nothing is called.
    """
    owner = connection if isinstance(connection, Connection) else connection.connection
    with owner.cursor(row_factory=tuple_row) as cursor:
        row = cursor.execute(SUBMIT, arguments(trans_type, steps, gid, options)).fetchone()
    assert row
    return str(row[0])


async def submit_async(connection: AsyncConnection[Any] | AsyncCursor[Any], trans_type: TransType, steps: Sequence[Step],
                       gid: str | None = None, options: Options | None = None) -> str:
    """As submit, for an asynchronous connection."""
    owner = connection if isinstance(connection, AsyncConnection) else connection.connection
    async with owner.cursor(row_factory=tuple_row) as cursor:
        row = await (await cursor.execute(SUBMIT, arguments(trans_type, steps, gid, options))).fetchone()
    assert row
    return str(row[0])
