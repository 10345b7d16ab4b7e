"""Branches in Flask."""
from collections.abc import Callable
from functools import wraps
from typing import Any

from flask import Response, request

from .call import Call, Key, Reply, check_key, encode
from .transaction import Business, P, Pool, run

View = Callable[P, Response]


def branch(pool: Pool, key: Key | None = None, *, max_age: float = 300,
           skipped: Callable[..., Any] | None = None) -> Callable[[Business[P]], View[P]]:
    """Makes a function of a connection and a Call a view.

    The function runs in a transaction, unless the barrier says that it must not
    run; then skipped runs, if there is one.  What it returns is the response.
    With a key, requests that are not signed with it get 401.
    """
    check_key(key)

    def decorate(business: Business[P]) -> View[P]:
        @wraps(business)
        def view(*args: P.args, **kwargs: P.kwargs) -> Response:
            try:
                call = Call.read(request.args, request.headers, request.get_data(), key, max_age)
                body = run(pool, call, lambda connection, call: business(connection, call, *args, **kwargs), skipped)
                return Response(body, mimetype="application/json")
            except Reply as reply:
                return Response(encode(reply.body), reply.status, mimetype="application/json")
        return view
    return decorate
