"""Who may ask: the operators' token; without one, this machine alone. Devices, with tokens of their own, what is
theirs to ask (device_tokens.py).

Nothing here knows what routes do: it sees methods, paths and headers.
"""

import binascii
import ipaddress
from base64 import b64decode
from collections.abc import Collection, Mapping
from hmac import compare_digest
from typing import NamedTuple

from aiohttp import web
from aiohttp.typedefs import Middleware

from api.http.device_tokens import Device, Identify
from api.http.errors import ApiError, Handler
from shared.transport.tokens import token_hash

__all__ = [
    "CLOSED",
    "DEVICE",
    "OPEN_FILES",
    "OPEN_PATHS",
    "OPEN_POSTS",
    "SAFE_METHODS",
    "Admission",
    "admit",
    "is_loopback",
    "is_open",
    "names_of",
]

# What monitors, receivers in the field and onlookers ask without credentials (http-api.md, section 2.4).
OPEN_PATHS = frozenset(
    {
        "/healthz",
        "/readyz",
        "/metrics",
        "/api/v1/streams",
        # What the announcer's page shows to everybody: names and bibs of who comes in, and nothing else of them.
        "/announcer",
        "/api/v1/public/announcer/state",
        "/api/v1/public/announcer/events",
        # One person, to whoever has a link; the page itself shows nobody.
        "/person",
    }
)
# What whoever has a link to a person's timeline sends it to; it is the credential (api/links/).
OPEN_POSTS = frozenset({"/api/v1/public/timeline"})
# What those pages are made of.
OPEN_FILES = frozenset(
    {
        "/announcer/announcer.css",
        "/announcer/announcer.js",
        "/announcer/icon.svg",
        "/person/dom.js",
        "/person/format.js",
        "/person/http.js",
        "/person/icon-good.svg",
        "/person/page.css",
        "/person/parts.css",
        "/person/parts.js",
        "/person/person.css",
        "/person/person.js",
        "/person/pieces.js",
        "/person/rows.js",
        "/person/timeline.js",
        "/person/tokens.css",
        "/person/waiting.js",
    }
)
_OPEN = OPEN_PATHS | OPEN_FILES

# Which device asks, where one does.
DEVICE = web.RequestKey("device", Device)

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
CLOSED = (
    "without an API token nobody is admitted from beyond this machine: write API_TOKEN= and 16 characters or more into "
    "deploy/server/.env, or into the environment of each api process, and start it again. API_OPEN=yes instead makes "
    "an operator of everybody who reaches it"
)
_FOREIGN_NAME = (
    "without an API token only localhost, addresses and the name in SITE_ADDRESS are answered, because any site can "
    "give itself our address; set API_TOKEN, or SITE_ADDRESS to the name that you use"
)
_CHALLENGE = {"WWW-Authenticate": 'Basic realm="rt-server", charset="UTF-8"'}


class Admission(NamedTuple):
    """Who is admitted: who shows `token`; where it is empty, nobody if `closed`, else everybody.

    names: what a request without a token may call us, beside localhost and any address. A page of another site whose
    name leads here, by a change of its DNS while it is open, is ours to the browser: Origin and Host agree. What it
    cannot choose is that name.
    """

    token: str
    closed: bool = False
    names: Collection[str] = ()

    def refusal(self, method: str, path: str, headers: Mapping[str, str]) -> ApiError | None:
        """Return why a request is not answered, or None."""
        if _is_public(method, path, headers):
            return None
        if self.token:
            shown = _shows(headers.get("Authorization", ""), token_hash(self.token))
            reason = "the API token is missing or wrong"
            return None if shown else ApiError("UNAUTHORIZED", reason, headers=_CHALLENGE)
        if self.closed:
            return ApiError("FORBIDDEN", CLOSED)
        named = _name(headers.get("Host", ""))
        return None if _is_ours(named, self.names) else ApiError("FORBIDDEN", _FOREIGN_NAME)


def admit(admission: Admission, identify: Identify) -> Middleware:
    """Return the middleware that answers nobody else than `admission` admits, and devices what they may ask.

    The token comes as `Authorization: Bearer`, or as the password of Basic, which browsers and their event streams
    send by themselves.
    """

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        refused = admission.refusal(request.method, request.path, request.headers)
        if refused is not None:
            # Only where a token is asked for: where nobody is admitted (403), no device is either.
            device = await _device(request, identify) if refused.code == "UNAUTHORIZED" else None
            if device is None:
                raise refused
            request[DEVICE] = device
        return await handler(request)

    return guard


async def _device(request: web.Request, identify: Identify) -> Device | None:
    """Return which device asks, None where none does; what is no route of ours is nobody's to ask."""
    resource = request.match_info.route.resource
    if resource is None:
        return None
    return await identify(request.method, resource.canonical, request.headers.get("Authorization", ""))


def _is_public(method: str, path: str, headers: Mapping[str, str]) -> bool:
    """Whether anybody may ask. Numbers name devices and addresses: they are for whoever reaches the process' own port.

    The reverse proxy writes X-Forwarded-For into whatever it passes on, over what a client says.
    """
    if not is_open(method, path):
        return False
    return path != "/metrics" or "X-Forwarded-For" not in headers


def is_open(method: str, path: str) -> bool:
    """Whether no token is asked for."""
    return path in (_OPEN if method in ("GET", "HEAD") else OPEN_POSTS if method == "POST" else ())


def names_of(sites: str) -> frozenset[str]:
    """Return the names in SITE_ADDRESS, which holds what Caddy takes: `https://a.example:8443, b.example`."""
    addresses = (each.rpartition("://")[2].partition("/")[0] for each in sites.replace(",", " ").split())
    return frozenset(name for each in addresses if (name := _name(each)))


def _name(host: str) -> str:
    """Return a Host header without its port."""
    name, colon, port = host.strip().rpartition(":")
    without = name if colon and (port.isdigit() or not port) else host.strip()
    return without.removeprefix("[").removesuffix("]").removesuffix(".").lower()


def _is_ours(name: str, names: Collection[str]) -> bool:
    """Whether a request may call us that. Nobody can have a browser take a page of his for one of an address."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name == "localhost" or name in names
    return True


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


def is_loopback(host: str) -> bool:
    """Whether a host to bind to is reached from this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
