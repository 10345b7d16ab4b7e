"""A call of the coordinator: its parameters, its signature, and what to reply.

Knows neither a web framework nor how a connection is opened.
"""
import hashlib
import hmac
import json
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import unquote

import psycopg
from psycopg.pq import TransactionStatus

#: The key of the server's user mapping (hmac_key), or several while keys change.
Key = str | Sequence[str]

BARRIER = "SELECT dtm_barrier(%s, %s, %s, %s)"
QUERY_PREPARED = "SELECT dtm_query_prepared(%s)"


class Reply(Exception):
    """Ends the business with a response that is not success; its changes are rolled back."""

    status = 500
    result = ""

    @property
    def body(self) -> dict[str, str]:
        # dtm looks for both words in the whole body, so the message must not have the other one
        message = re.sub("FAILURE|ONGOING", lambda word: word[0].lower(), str(self))
        return {"dtm_result": self.result, "message": message} if self.result else {"message": message}


class Refused(Reply):
    """A permanent failure: dtm rolls the global transaction back."""

    status = 409
    result = "FAILURE"


class Ongoing(Reply):
    """Not finished yet: dtm calls again, at a constant interval."""

    status = 425
    result = "ONGOING"


class BadRequest(Reply):
    """The request does not have the parameters of a branch, or its body lacks a key."""

    status = 400


class Unauthorized(Reply):
    """The signature is missing or wrong.  dtm calls again, with a new signature."""

    status = 401


def check_key(key: Key | None) -> None:
    """Anybody can sign with an empty key, so a service must not start with one."""
    keys = [key] if isinstance(key, str) else key
    if keys is not None and (not keys or "" in keys):
        raise ValueError("the key is empty: set it to the hmac_key of the user mapping")


class Lookup(Protocol):
    """What frameworks have for parameters and headers."""

    def get(self, name: str, /) -> str | None: ...


@dataclass(frozen=True)
class Call:
    """One operation of one branch of a global transaction."""

    trans_type: str
    gid: str
    branch_id: str
    op: str
    body: bytes = b""

    def json(self, *required: str) -> Any:
        """The payload of the step.  Without one of the required keys, BadRequest names it."""
        try:
            value = json.loads(self.body)
        except ValueError:
            raise BadRequest("the body is not JSON") from None
        for key in required:
            if not isinstance(value, dict) or value.get(key) is None:
                raise BadRequest(f'key "{key}" is missing in the body')
        return value

    @property
    def parameters(self) -> tuple[str, str, str, str]:
        return self.trans_type, self.gid, self.branch_id, self.op

    @property
    def is_query_back(self) -> bool:
        """Whether dtm asks if the local transaction of a prepared message has committed."""
        return self.op == "msg"  # trans_type is not signed

    @classmethod
    def read(cls, query: Lookup, headers: Lookup, body: bytes, key: Key | None = None, max_age: float = 300) -> "Call":
        """The call that a request is.  With a key, only if it is signed, at most max_age seconds ago."""
        check_key(key)
        trans_type, gid, branch_id, op = (parameter(query, headers, name) for name in ("trans_type", "gid", "branch_id", "op"))
        call = cls(trans_type, gid, branch_id, op, body)
        if key is not None and not call.is_signed(headers.get("dtm-signature") or "", key, max_age):
            raise Unauthorized("the signature is missing or wrong")
        return call

    def is_signed(self, signature: str, key: Key, max_age: float = 300) -> bool:
        """Whether this Dtm-Signature was made for this call with the key, at most max_age seconds ago."""
        match = re.fullmatch(r"t=([0-9]{1,12}),v1=([0-9a-f]{64})", signature)
        if not match or abs(time.time() - int(match[1])) > max_age:
            return False
        keys = [key] if isinstance(key, str) else key
        return any(hmac.compare_digest(signature, sign(self, each, int(match[1]))) for each in keys)


def sign(call: Call, key: str, at: int) -> str:
    """The Dtm-Signature of a call at a time in seconds since 1970."""
    fields = (str(at), call.gid, call.branch_id, call.op)
    if any("\n" in field for field in fields):
        raise BadRequest("a parameter contains a line feed")  # it would shift the boundary between the fields
    text = "\n".join((*fields, "")).encode() + call.body
    return f"t={at},v1={hmac.new(key.encode(), text, hashlib.sha256).hexdigest()}"


def parameter(query: Lookup, headers: Lookup, name: str) -> str:
    # dtm sends headers if the option query_parameters is off; headers are percent-encoded
    value = query.get(name) or unquote(headers.get("dtm-" + name.replace("_", "-")) or "")
    if not value:
        raise BadRequest(f'parameter "{name}" is missing: the request is not a call of dtm')
    return value


def success(result: Any) -> bytes:
    """The body of a success: what the business returned, as dtm's option "results" keeps it.

    Made before the commit: an error of it must roll back.
    """
    return encode({"dtm_result": "SUCCESS"} if result is None else result)


def query_back(committed: Any) -> bytes:
    """The reply to a query-back, after the commit of what dtm_query_prepared has written."""
    if not committed:
        raise Refused("the local transaction has not committed")
    return success(None)


def reply_to(error: psycopg.Error) -> Reply | None:
    """The reply of a function in the database that raised dtm's SQLSTATEs."""
    kind = {"DT409": Refused, "DT425": Ongoing}.get(error.sqlstate or "")
    return kind(error.diag.message_primary or str(error)) if kind else None


def check_not_failed(status: TransactionStatus) -> None:
    """PostgreSQL turns the COMMIT of a failed transaction into a ROLLBACK, without an error."""
    if status == TransactionStatus.INERROR:
        raise RuntimeError("the business caught an error of the database and went on: its changes are rolled back; "
                           "run such a statement in a nested transaction (a savepoint)")


def encode(body: Any) -> bytes:
    return json.dumps(body, ensure_ascii=False).encode()
