"""What a route takes and gives, declared once, in the signature of its handler:

    async def list_reads(api: Api, *, path: StreamPath, query: ReadQuery) -> ReadPage

`path`, `query` and `body` are what a request is checked against, the return type is what is answered; all are msgspec
Structs, of which msgspec also makes the JSON Schema of the OpenAPI document. A handler that answers a
`web.StreamResponse` sends it itself and takes the request, too. One that takes an `upload` reads a file of the request
when it wants it; one that answers `Encoded[X]` has the JSON of an X already.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache, cached_property
from typing import Any, Generic, TypeVar, get_args, get_origin, get_type_hints

import msgspec
import orjson
from aiohttp import ETag, web

from api.http.context import Api
from api.http.errors import ApiError, Code, Handler
from api.http.etags import known, tag_of
from api.http.large import LargeAnswers
from api.http.uploads import Upload
from shared.db.errors import DatabaseUnavailable

__all__ = ["Encoded", "Route", "Upload", "is_optional", "serve"]

A = TypeVar("A")

# Far above any statement of a handler; a database that hangs costs a request this long at the most. Who reads is told
# before it takes the link for lost (link.js: 12 s); who changes something had better know what came of it.
READ_WITHIN_S = 10.0
ANSWER_WITHIN_S = 30.0
BODY_WITHIN_S = 10.0

_WHOLE_NUMBER = re.compile(r"-?[0-9]{1,19}")
# A time copied from an answer into a URL: the plus of its offset has become a space.
_LOST_PLUS = re.compile(r"(\d{4}-\d\d-\d\dT[\d:.]+) (\d\d:\d\d)")


_SPELT_UUID = re.compile(r"^urn:uuid:([0-9a-fA-F-]{32,36})$")


@dataclass(frozen=True)
class Route:
    """One route. errors: what it answers beyond what any route may (UNAUTHORIZED, UNAVAILABLE, ...). tagged: its answer
    has an ETag, and who has it already is answered 304. most_bytes: of a body, where that is less than of any.
    takes_s: how long its handler may take, where that is longer than any may.
    """

    method: str
    path: str
    handle: Callable[..., Awaitable[Any]]
    status: int = 200
    errors: tuple[Code, ...] = ()
    media_type: str = "application/json"
    tagged: bool = False
    most_bytes: int | None = None
    takes_s: float | None = None

    @property
    def within_s(self) -> float:
        """How long its handler may take. One that may answer TIMEOUT waits for a device, and has its own bound."""
        if self.takes_s is not None:
            return self.takes_s
        reads = self.method == "GET" and "TIMEOUT" not in self.errors
        return READ_WITHIN_S if reads else ANSWER_WITHIN_S

    @cached_property
    def inputs(self) -> dict[str, type[msgspec.Struct]]:
        """The types of `path`, `query` and `body`, as far as the handler takes them."""
        return {name: kind for name, kind in self._hints.items() if name in _READERS}

    @cached_property
    def answer(self) -> Any:
        """The type of the answer; NoneType for none."""
        hint = self._hints["return"]
        return get_args(hint)[0] if self.is_large else hint

    @cached_property
    def is_large(self) -> bool:
        """Whether the answer is one that the database makes whole."""
        return get_origin(self._hints["return"]) is Encoded

    @cached_property
    def takes_upload(self) -> bool:
        """Whether a file comes with the request."""
        return "upload" in self._hints

    @cached_property
    def _hints(self) -> dict[str, Any]:
        return get_type_hints(self.handle, include_extras=True)


@dataclass(frozen=True)
class Encoded(Generic[A]):
    """An answer of type A that is JSON already: what is large is encoded where it is, not by the event loop."""

    body: bytes


def serve(route: Route, api: Api) -> Handler:
    """Return the handler, as aiohttp wants it, of a route."""

    async def handler(request: web.Request) -> web.StreamResponse:
        inputs = await _inputs(route, request)
        if api.process.presence.problem is not None:
            raise DatabaseUnavailable(api.process.presence.problem)
        if route.answer is web.StreamResponse:
            response: web.StreamResponse = await route.handle(api, request=request, **inputs)
            return response
        if route.takes_upload:
            # As long as the file keeps coming; what is done with it has limits of its own.
            return _answered(await route.handle(api, upload=Upload(request), **inputs), route.status)
        try:
            if route.is_large:
                return await _sent(route, api, request, inputs)
            async with asyncio.timeout(route.within_s):
                answer = await route.handle(api, **inputs)
        except TimeoutError as error:
            raise DatabaseUnavailable("no answer in time") from error
        return _tagged(request, answer) if route.tagged else _answered(answer, route.status)

    return handler


async def _inputs(route: Route, request: web.Request) -> dict[str, object]:
    """Return what a handler takes of a request, checked."""
    if route.most_bytes is not None:
        request = request.clone(client_max_size=route.most_bytes)
    return {name: await _READERS[name](request, kind) for name, kind in route.inputs.items()}


async def _sent(
    route: Route, api: Api, request: web.Request, inputs: Mapping[str, object]
) -> web.StreamResponse:
    async def make() -> bytes:
        body: bytes = (await route.handle(api, **inputs)).body
        return body

    return await api.part(LargeAnswers).send(request, make, within_s=route.within_s)


def _answered(answer: object, status: int) -> web.Response:
    if answer is None:
        return web.Response(status=204)
    return web.Response(body=_encoded(answer), status=status, content_type="application/json")


def _tagged(request: web.Request, answer: object) -> web.Response:
    """Return an answer with its tag, or only that it is the same as before."""
    body = _encoded(answer)
    # Weak: the same answer, whatever a reverse proxy makes of its bytes.
    tag = ETag(tag_of(body), is_weak=True)
    if known(request, tag.value):
        response = web.Response(status=304)
    else:
        response = web.Response(body=body, content_type="application/json")
    response.etag = tag
    return response


def _encoded(answer: object) -> bytes:
    return orjson.dumps(msgspec.to_builtins(answer, builtin_types=(datetime,)))


async def _read_path(request: web.Request, kind: type[msgspec.Struct]) -> msgspec.Struct:
    # Ids are taken in the spellings that UUIDs have: programs in the field have several.
    texts = {
        name: text if name in _texts(kind) else _SPELT_UUID.sub(r"\1", text)
        for name, text in request.match_info.items()
    }
    return _checked("path", texts, kind)


async def _read_query(request: web.Request, kind: type[msgspec.Struct]) -> msgspec.Struct:
    for name in request.query:
        if len(request.query.getall(name)) > 1:
            raise ApiError("BAD_REQUEST", f"query: `{name}` is given more than once")
    return _checked(
        "query", {name: _LOST_PLUS.sub(r"\1+\2", text) for name, text in request.query.items()}, kind
    )


async def _read_body(request: web.Request, kind: type[msgspec.Struct]) -> msgspec.Struct:
    """Read JSON, whatever the Content-Type calls it."""
    try:
        async with asyncio.timeout(BODY_WITHIN_S):
            body = await request.read()
    except (TimeoutError, web.RequestPayloadError) as error:
        raise ApiError("BAD_REQUEST", "body: it did not arrive whole") from error
    if not body.strip():
        if is_optional(kind):
            return kind()
        raise ApiError("BAD_REQUEST", "body: it is empty; a JSON object is wanted")
    try:
        decoded: msgspec.Struct = msgspec.json.decode(body, type=kind)
    except UnicodeDecodeError as error:
        raise ApiError("BAD_REQUEST", "body: it is not UTF-8") from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise ApiError("BAD_REQUEST", f"body: {error}") from error
    if _says_something(kind) and decoded == kind():
        raise ApiError(
            "BAD_REQUEST", f"body: give {' or '.join(f'`{each}`' for each in kind.__struct_fields__)}"
        )
    return decoded


def _says_something(kind: object) -> bool:
    """Whether a body of this type must hold a field, whichever."""
    return getattr(kind, "says_something", False)


def _checked(where: str, texts: Mapping[str, str], kind: type[msgspec.Struct]) -> msgspec.Struct:
    """Check texts against a Struct. Those of whole numbers become numbers first: msgspec's own way with texts
    (strict=False) would also take `null` for None and a number for a time.
    """
    whole = _whole_numbers(kind)
    values = {
        name: int(text) if name in whole and _WHOLE_NUMBER.fullmatch(text) else text
        for name, text in texts.items()
    }
    try:
        return msgspec.convert(values, kind)
    except msgspec.ValidationError as error:
        raise ApiError("BAD_REQUEST", f"{where}: {error}") from error


def is_optional(kind: object) -> bool:
    """Whether a body of this type may be left out: it is a Struct that has no field that must be given."""
    if not (isinstance(kind, type) and issubclass(kind, msgspec.Struct)) or _says_something(kind):
        return False
    return not any(field.required for field in msgspec.structs.fields(kind))


def _whole_numbers(kind: type[msgspec.Struct]) -> set[str]:
    """Return the names of the fields that hold whole numbers."""
    return _fields(kind, msgspec.inspect.IntType)


def _texts(kind: type[msgspec.Struct]) -> set[str]:
    """Return the names of the fields that hold any text."""
    return _fields(kind, msgspec.inspect.StrType)


@cache
def _fields(kind: type[msgspec.Struct], of: type[msgspec.inspect.Type]) -> set[str]:
    described = msgspec.inspect.type_info(kind)
    if not isinstance(described, msgspec.inspect.StructType):
        raise TypeError(f"{kind} is no Struct")
    return {
        field.encode_name
        for field in described.fields
        for part in (field.type.types if isinstance(field.type, msgspec.inspect.UnionType) else (field.type,))
        if isinstance(part, of)
    }


_READERS: Mapping[str, Callable[[web.Request, type[msgspec.Struct]], Awaitable[msgspec.Struct]]] = {
    "path": _read_path,
    "query": _read_query,
    "body": _read_body,
}
