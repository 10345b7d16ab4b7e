"""Participants of dtm, distributed transactions run by PostgreSQL.

A participant is a service whose handlers are the branches of global
transactions.  ``branch`` of ``dtm_pg.flask``, ``dtm_pg.fastapi`` or
``dtm_pg.django`` makes a handler one; ``submit`` starts a global transaction
in the database transaction of the caller.
"""
from .call import BadRequest, Call, Key, Ongoing, Refused, Reply, Unauthorized, sign
from .submit import Options, Step, submit, submit_async

__all__ = ["BadRequest", "Call", "Key", "Ongoing", "Options", "Refused", "Reply", "Step", "Unauthorized",
           "sign", "submit", "submit_async"]
