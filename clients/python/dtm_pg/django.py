"""Branches in Django, whose own connections are used; they must be psycopg 3's."""
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, Concatenate

import psycopg
from django.db import DEFAULT_DB_ALIAS, Error, connections, transaction
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt

from .call import BARRIER, QUERY_PREPARED, Call, Key, Reply, check_key, check_not_failed, encode, query_back, reply_to, success
from .submit import SUBMIT, Options, Step, TransType, arguments
from .transaction import P

Business = Callable[Concatenate[Call, P], Any]
View = Callable[Concatenate[HttpRequest, P], HttpResponse]


def branch(key: Key | None = None, *, using: str = DEFAULT_DB_ALIAS, max_age: float = 300,
           skipped: Callable[[Call], Any] | None = None) -> Callable[[Business[P]], View[P]]:
    """Makes a function of a Call a view.

    The function runs in a transaction of the database "using", unless the barrier
    says that it must not run; then skipped runs, if there is one.  What it returns
    is the response.  With a key, requests that are not signed with it get 401.
    """
    check_key(key)

    def decorate(business: Business[P]) -> View[P]:
        @csrf_exempt
        @wraps(business)
        def view(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
            try:
                call = Call.read(request.GET, request.headers, request.body, key, max_age)
                body = _run(using, call, lambda call: business(call, *args, **kwargs), skipped)
                return HttpResponse(body, content_type="application/json")
            except Reply as reply:
                return HttpResponse(encode(reply.body), status=reply.status, content_type="application/json")
        return view
    return decorate


def _run(using: str, call: Call, business: Callable[[Call], Any], skipped: Callable[[Call], Any] | None) -> bytes:
    if call.is_query_back:
        with transaction.atomic(using):
            committed = _ask(using, QUERY_PREPARED, call.gid)
        return query_back(committed)
    try:
        with transaction.atomic(using):
            chosen = business if _ask(using, BARRIER, *call.parameters) else skipped
            body = success(chosen(call) if chosen else None)
            check_not_failed(connections[using].connection.info.transaction_status)
    except Error as error:
        if isinstance(error.__cause__, psycopg.Error) and (reply := reply_to(error.__cause__)):
            raise reply from error
        raise
    return body


def _ask(using: str, sql: str, *values: str) -> bool:
    with connections[using].cursor() as cursor:
        cursor.execute(sql, values)
        return bool(cursor.fetchone()[0])


def submit(trans_type: TransType, steps: Sequence[Step], gid: str | None = None, options: Options | None = None,
           *, using: str = DEFAULT_DB_ALIAS) -> str:
    """Submits in the current transaction (atomic) of the database "using", and returns the gid."""
    with connections[using].cursor() as cursor:
        cursor.execute(SUBMIT, arguments(trans_type, steps, gid, options))
        return str(cursor.fetchone()[0])
