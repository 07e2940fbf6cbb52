"""Who may ask: the operators' token, and no other site in a browser's name.

Nothing here knows what routes do: it sees methods, paths and headers.
"""

import binascii
import ipaddress
from base64 import b64decode
from collections.abc import Collection
from hmac import compare_digest

from aiohttp import web
from aiohttp.typedefs import Middleware

from api.errors import ApiError, Handler
from shared.tokens import token_hash

__all__ = ["OPEN_PATHS", "SAFE_METHODS", "is_loopback", "refuse_other_sites", "require_token"]

# What monitors, and receivers in the field, ask without credentials (http-api.md).
OPEN_PATHS = frozenset({"/healthz", "/readyz", "/metrics", "/api/v1/streams"})

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_CHALLENGE = {"WWW-Authenticate": 'Basic realm="rt-server", charset="UTF-8"'}


def require_token(token: str, *, open_paths: Collection[str] = OPEN_PATHS) -> Middleware:
    """Return the middleware that asks for `token`; with an empty one everything is open.

    It comes as `Authorization: Bearer`, or as the password of Basic, which browsers and their event streams send by
    themselves.
    """
    expected = token_hash(token)

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        exempt = not token or (request.method == "GET" and request.path in open_paths)
        if not exempt and not _shows(request.headers.get("Authorization", ""), expected):
            raise ApiError("UNAUTHORIZED", "the API token is missing or wrong", headers=_CHALLENGE)
        return await handler(request)

    return guard


def _shows(authorization: str, expected: bytes) -> bool:
    """Whether a header carries the token. Hashes of equal length are compared, so the time tells nothing."""
    scheme, _, credentials = authorization.partition(" ")
    given = credentials.strip()
    if scheme.lower() == "basic":
        try:
            given = b64decode(given, validate=True).decode().partition(":")[2]
        except (binascii.Error, ValueError):
            return False
    elif scheme.lower() != "bearer":
        return False
    return compare_digest(token_hash(given), expected)


@web.middleware
async def refuse_other_sites(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse what a page of another origin makes an operator's browser send, if it could change anything."""
    if request.method not in SAFE_METHODS and _is_foreign(request):
        raise ApiError("FORBIDDEN", "requests that change something are not taken from other sites")
    return await handler(request)


def _is_foreign(request: web.Request) -> bool:
    """Whether a browser says so. Scripts cannot forge either header; other clients send neither."""
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site not in ("same-origin", "none")
    origin = request.headers.get("Origin")
    # The front door passes Host on as it was; whether it spoke TLS is not known here.
    return origin is not None and origin.partition("://")[2].lower() != request.host.lower()


def is_loopback(host: str) -> bool:
    """Whether a host to bind to is reached from this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
