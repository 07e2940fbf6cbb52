"""No other site in a browser's name: what a page of elsewhere makes an operator's browser send is refused.

Reading, too: a question that only reads is relayed to a device, or keeps the database busy. Only browsers send
`Sec-Fetch-Site` or `Origin`, and their scripts cannot forge either; who sends neither is no browser, or one that reads
over plain HTTP beyond loopback (deploy/docs/security.md). `none` is a person who typed the address. The page itself and
its files are nobody's secret, and links to them are made to be passed on.
"""

from collections.abc import Collection, Mapping
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Middleware

from api.http.errors import ApiError, Handler

__all__ = ["UNDER", "complaint", "origins", "refuse_other_sites"]

UNDER = "/api/"
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}
_LONGEST_SHOWN = 100


def origins(text: str) -> frozenset[str]:
    """Return the origins of TRUSTED_ORIGINS, as browsers write them; ValueError where one is none."""
    found = set()
    for each in text.replace(",", " ").split():
        parts = urlsplit(each)
        if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or parts.path.strip("/") or parts.query:
            raise ValueError("must be origins like https://timing.example, http://10.0.0.7:8080")
        found.add(_plain(f"{parts.scheme}://{parts.netloc}"))
    return frozenset(found)


def refuse_other_sites(trusted: Collection[str]) -> Middleware:
    """Return the middleware that refuses, under UNDER, other sites than ours and the `trusted` origins."""

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path.startswith(UNDER):
            wrong = complaint(request.headers, request.host, trusted)
            if wrong is not None:
                raise ApiError("FORBIDDEN", wrong)
        return await handler(request)

    return guard


def complaint(headers: Mapping[str, str], host: str, trusted: Collection[str]) -> str | None:
    """Return what says that a request is another site's, and what to do where it is not; None for one of ours."""
    site, origin = headers.get("Sec-Fetch-Site"), headers.get("Origin")
    if origin is not None and _plain(origin) in trusted:
        return None
    if site is not None and site not in ("same-origin", "none"):
        return _refused(f"Sec-Fetch-Site: {site}", "")
    # The reverse proxy passes Host on as it was; whether it spoke TLS is not known here.
    if site is None and origin is not None and origin.partition("://")[2].lower() != host.lower():
        return _refused(f"Origin: {origin}", f", and the request is to {host[:_LONGEST_SHOWN]}")
    return None


def _refused(header: str, beside: str) -> str:
    return (
        f"the browser says that another site sends this request ({header[:_LONGEST_SHOWN]}{beside}). If it is your own "
        "page behind a reverse proxy, let that pass the Host header on as it came, or put the page's origin (such as "
        "https://timing.example) into TRUSTED_ORIGINS"
    )


def _plain(origin: str) -> str:
    """Return an origin as browsers write it: in lower case, without the port that its scheme implies."""
    scheme, _, place = origin.lower().partition("://")
    return f"{scheme}://{place.removesuffix(_DEFAULT_PORTS.get(scheme, ''))}"
