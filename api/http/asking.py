"""Who asks: what entries of the log say beside what was done. A note, no proof: people type their own name."""

import binascii
from base64 import b64decode
from contextvars import ContextVar
from typing import NamedTuple

from aiohttp import web

from api.http.errors import Handler

__all__ = ["NAMELESS", "Asker", "asker", "remember_asker"]

LONGEST = 60
_WITH_TOKEN, _WITHOUT = NAMELESS = ("API token", "no token")


class Asker(NamedTuple):
    """by: the user name of Basic, else what was shown. address: as the reverse proxy says it, else the connection's."""

    by: str
    address: str


_ASKER: ContextVar[Asker | None] = ContextVar("asker", default=None)


def asker() -> Asker:
    """Return who sends the request that is being answered."""
    return _ASKER.get() or Asker("rt-server", "")


@web.middleware
async def remember_asker(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Keep in mind who asks, for as long as the request is answered."""
    address = request.headers.get("X-Forwarded-For") or request.remote or ""
    token = _ASKER.set(Asker(_name(request.headers.get("Authorization", "")), address[:LONGEST]))
    try:
        return await handler(request)
    finally:
        _ASKER.reset(token)


def _name(authorization: str) -> str:
    scheme, _, credentials = authorization.partition(" ")
    if scheme.lower() == "basic":
        try:
            user = b64decode(credentials.strip(), validate=True).decode().partition(":")[0].strip()
        except (binascii.Error, ValueError):
            user = ""
        if user and user.isprintable():
            return user[:LONGEST]
    return _WITH_TOKEN if authorization else _WITHOUT
