"""The dashboard's files, as they lie in api/static: read once, at the start, and served from memory.

They are the same for everybody and hold nothing of a race, so they are there without a database, too: a page that can
say that the server is in trouble is worth more than an error. A browser keeps them and asks each time whether they are
still the same, so that a page never mixes two versions for longer than a reload.
"""

from hashlib import sha256
from importlib.resources import files
from typing import Final

from aiohttp import ETag, web

from api.errors import Handler

__all__ = ["POLICY", "page_routes"]

# `require-trusted-types-for` has the browser itself refuse any text that would become markup.
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
_TYPES: Final = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_HEADERS: Final = {"Cache-Control": "no-cache", "Content-Security-Policy": POLICY}
_PAGE: Final = "index.html"


def page_routes() -> list[web.RouteDef]:
    """Return the route of the page, `/`, and those of the files it is made of."""
    found = {each.name: each.read_bytes() for each in (files("api") / "static").iterdir() if _type(each.name)}
    routes = [web.get(f"/static/{name}", _serve(name, body)) for name, body in found.items()]
    return [web.get("/", _serve(_PAGE, found[_PAGE])), *routes]


def _serve(name: str, body: bytes) -> Handler:
    """Return the handler that answers with a file, or with 304 to whom has it."""
    tag = sha256(body).hexdigest()[:32]

    async def serve(request: web.Request) -> web.Response:
        response = web.Response(headers=_HEADERS)
        response.etag = tag
        if _has(request, tag):
            response.set_status(304)
            return response
        response.content_type = _type(name)
        response.charset = "utf-8"
        response.body = body
        return response

    return serve


def _has(request: web.Request, tag: str) -> bool:
    return any(known in (ETag(tag), ETag(tag, is_weak=True)) for known in request.if_none_match or ())


def _type(name: str) -> str:
    """Return a file's media type, or nothing for what is no file of the page."""
    return _TYPES.get(name.rpartition(".")[2], "")
