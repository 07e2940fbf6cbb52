"""The dashboard's files, as they lie in api/dashboard/static: read once, at the start, and served from memory.

They are the same for everybody and hold nothing of a race, so they are there without a database, too: a page that can
say that the server is not well is worth more than an error. A browser keeps them and asks each time whether they are
still the same, so that a page never mixes two versions for longer than a reload.

A module is found in the module that imports it, a round trip later, and so on down the graph. So the page names all of
them: at its head those of the verdict, which a slow link should carry before all else; in a template what else the
first page needs; in another those of all other pages, which come when the first is there and waits for nothing. The
lists are made of the imports as they stand in the files. Comments stay here: a phone would wait for a quarter more.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Final

from aiohttp import web

from api.http.errors import Handler
from api.http.etags import known, tag_of

__all__ = ["POLICY", "filled", "page_routes", "without_comments"]

# `require-trusted-types-for` has the browser itself refuse any text that would become markup.
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
_TYPES: Final = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_HEADERS: Final = {"Cache-Control": "no-cache"}
# A document's policy is that of all that it loads; told with each file it would be a tenth of what a phone waits for.
_DOCUMENT: Final = {**_HEADERS, "Content-Security-Policy": POLICY}
_PAGE: Final = "index.html"
_ENTRY: Final = "main.js"
# What has all pages in common, and the first of them.
_FIRST_PAGE: Final = ("pages.js", "page-first.js")
_IMPORT: Final = re.compile(rb'^(?:import|export)\b[^;]*?\bfrom "\./([\w-]+\.js)"', re.MULTILINE)
# Whole lines of them: what looks like one beside code may be part of a text.
_COMMENT: Final = re.compile(rb"^[ \t]*(?://[^\n]*|/\*(?:[^*]|\*(?!/))*\*/)[ \t]*$", re.MULTILINE)
_OF_PERSON: Final = re.compile(rb'"person/([\w-]+\.\w+)"')
_IMPORT_LATER: Final = re.compile(rb'\bimport\("\./([\w-]+\.js)"\)')


@cache
def page_routes() -> Sequence[web.RouteDef]:
    """Return the routes of the pages, `/`, `/announcer` and `/person`, and those of the files they are made of."""
    found = _files("static")
    routes = [web.get(f"/static/{name}", _serve(name, body)) for name, body in found.items()]
    return (web.get("/", _serve(_PAGE, filled(found))), *routes, *_announcer_routes(), *_person_routes(found))


def _announcer_routes() -> list[web.RouteDef]:
    """Return the route of the announcer's page, which everybody may see, and those of its own files. It has all of
    them: whoever may see nothing else gets no file of the dashboard, which asks for credentials.
    """
    found = _files("announcer")
    page = web.get("/announcer", _serve(_PAGE, found.pop(_PAGE)))
    return [page, *(web.get(f"/announcer/{name}", _serve(name, body)) for name, body in found.items())]


def _person_routes(dashboard: Mapping[str, bytes]) -> list[web.RouteDef]:
    """Return the route of the page that a link to a timeline opens, for everybody, and those of what it is made of:
    its own files, and of the dashboard's those that it names and what they import, and no other. They are under its own
    path, because the dashboard's ask for credentials.
    """
    found = {**dashboard, **_files("person")}
    named = [each.decode() for each in _OF_PERSON.findall(found[_PAGE])]
    page = web.get("/person", _serve(_PAGE, found[_PAGE]))
    names = _reached(found, named, [_IMPORT])
    return [page, *(web.get(f"/person/{name}", _serve(name, found[name])) for name in names)]


def _files(folder: str) -> dict[str, bytes]:
    return {
        each.name: without_comments(each.read_bytes())
        for each in (files("api") / "dashboard" / folder).iterdir()
        if _type(each.name)
    }


def without_comments(body: bytes) -> bytes:
    """Return a file without its comments; its other lines stay where they are, for whoever reads of an error in one."""
    return _COMMENT.sub(lambda comment: b"\n" * comment[0].count(b"\n"), body)


def filled(files: Mapping[str, bytes]) -> bytes:
    """Return the page with the modules to be loaded at first, then and at last, of files by their names."""
    first = _reached(files, [_ENTRY], [_IMPORT])
    later = _reached(files, [*first, *_FIRST_PAGE], [_IMPORT])
    others = _reached(files, later, [_IMPORT, _IMPORT_LATER])
    page, named = files[_PAGE], {_ENTRY}
    for place, names in ((b"first", first), (b"later", later), (b"others", others)):
        links = [f'<link rel="modulepreload" href="static/{name}">' for name in names if name not in named]
        page = page.replace(b"<!-- modules: %b -->" % place, "\n".join(links).encode())
        named.update(names)
    return page


def _reached(
    files: Mapping[str, bytes], names: Iterable[str], imports: Iterable[re.Pattern[bytes]]
) -> list[str]:
    """Return the modules that some import, and those, the nearest first."""
    reached = list(names)
    for name in reached:
        found = [each.decode() for pattern in imports for each in pattern.findall(files[name])]
        # A list that is gone through grows behind us.
        reached.extend(each for each in dict.fromkeys(found) if each not in reached)
    return reached


def _serve(name: str, body: bytes) -> Handler:
    """Return the handler that answers with a file, or with 304 to whom has it."""
    tag = tag_of(body)

    async def serve(request: web.Request) -> web.Response:
        response = web.Response(headers=_DOCUMENT if name == _PAGE else _HEADERS)
        response.etag = tag
        if known(request, tag):
            response.set_status(304)
            return response
        response.content_type = _type(name)
        response.charset = "utf-8"
        response.body = body
        return response

    return serve


def _type(name: str) -> str:
    """Return a file's media type, or nothing for what is no file of the page."""
    return _TYPES.get(name.rpartition(".")[2], "")
