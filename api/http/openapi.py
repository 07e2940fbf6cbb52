"""The OpenAPI document: made of the table of routes and the types that requests are checked against, so that it cannot
say anything else than what is served. What a route may refuse is the part that follows from the checks before it (a
token, another site, a body) and the part that stands in the table.
"""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import msgspec
from aiohttp import web

from api.http.access import is_open
from api.http.contract import Route, is_optional
from api.http.device_tokens import DEVICE_ROUTES
from api.http.errors import STATUS, Code, Error
from api.http.health import Health
from api.http.sites import UNDER

__all__ = ["Document", "describe"]

Document: TypeAlias = dict[str, Any]

_REFERENCE = "#/components/schemas/{name}"
_ABOUT = """\
The operators' interface of rt-server. Times are RFC 3339 with an offset, ids are UUIDs. A request may carry no field
and no query parameter that its route does not know. Every error has the same shape, whoever raised it; besides what is
listed at each route, an unknown path is a `NOT_FOUND` and a method that a path does not take a `METHOD_NOT_ALLOWED`.
Without an API_TOKEN among the settings only requests of the server's own machine are answered, and nobody is asked."""
_CODES: Mapping[Code, str] = {
    "BAD_REQUEST": "The request is not one that the route takes; the message says what is wrong with it.",
    "UNAUTHORIZED": "The API token is missing or wrong.",
    "FORBIDDEN": "A browser says that another site sent the request, or there is no API token and others could ask, "
    "or a device asks for what is another's.",
    "NOT_FOUND": "There is none of this name.",
    "METHOD_NOT_ALLOWED": "The path does not take this method; Allow says which it takes.",
    "CONFLICT": "It cannot be done as things stand.",
    "PAYLOAD_TOO_LARGE": "The body is larger than 1 MiB, a file than 10 MiB.",
    "UNSUPPORTED_MEDIA_TYPE": "The body is no form with a file.",
    "FORWARDER_ERROR": "The forwarder refused.",
    "UNAVAILABLE": "The database is away, or nothing is free; try again after the seconds in Retry-After.",
    "TIMEOUT": "The forwarder did not answer in time.",
    "INTERNAL_ERROR": "The server failed; its log says why.",
}
# The first field is the file, whatever its name.
_FORM = {
    "multipart/form-data": {
        "schema": {
            "type": "object",
            "properties": {"file": {"type": "string", "contentMediaType": "application/octet-stream"}},
            "required": ["file"],
        }
    }
}
_SAME = {"description": "It is the one whose `ETag` is given as `If-None-Match`."}
_SECURITY = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "The API token."},
    "basic": {"type": "http", "scheme": "basic", "description": "The API token as password, with any name."},
}
_OF_DEVICES = {
    device_type: {"type": "http", "scheme": "bearer", "description": f"The token of a {device_type}."}
    for device_type in ("forwarder", "receiver")
}


def describe(routes: Sequence[Route], version: str) -> Document:
    """Return the OpenAPI 3.1 document of the routes and those of health, as JSON's own types."""
    kinds = [kind for route in routes if (kind := route.inputs.get("body")) is not None]
    kinds += [route.answer for route in routes if _has_schema(route)]
    kinds += [Error, Health]
    references, schemas = msgspec.json.schema_components(kinds, ref_template=_REFERENCE)
    for kind in kinds:
        if getattr(kind, "says_something", False):
            schemas[kind.__name__]["minProperties"] = 1
    schema_of = dict(zip(map(repr, kinds), references, strict=True))
    paths: dict[str, dict[str, object]] = dict(_health(schema_of))
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schema_of)
    return {
        "openapi": "3.1.0",
        "info": {"title": "rt-server", "version": version, "description": _ABOUT},
        "security": [{name: []} for name in _SECURITY],
        "paths": paths,
        "components": {
            "schemas": {name: _with_plain_text(schema) for name, schema in schemas.items()},
            "responses": {code: _refusal(code, schema_of[repr(Error)]) for code in STATUS},
            "securitySchemes": _SECURITY | _OF_DEVICES,
        },
    }


def _operation(route: Route, schema_of: Mapping[str, object]) -> dict[str, object]:
    text = (inspect.getdoc(route.handle) or "").replace("\n", " ")
    operation: dict[str, object] = {
        "operationId": route.handle.__name__,
        "summary": text.removesuffix("."),
        "parameters": [
            parameter
            for place in ("path", "query")
            if (kind := route.inputs.get(place)) is not None
            for parameter in _parameters(place, kind)
        ],
        "responses": {
            str(route.status): _answer(route, schema_of),
            **({"304": _SAME} if route.tagged else {}),
            **{str(STATUS[code]): _response(code) for code in _refusals(route)},
        },
    }
    if (body := route.inputs.get("body")) is not None:
        operation["requestBody"] = {
            "required": not is_optional(body),
            "content": _json(schema_of[repr(body)]),
        }
    if route.takes_upload:
        operation["requestBody"] = {"required": True, "content": _FORM}
    devices = DEVICE_ROUTES.get((route.method, route.path), frozenset())
    if is_open(route.method, route.path):
        operation["security"] = []
    elif devices:
        operation["security"] = [{name: []} for name in (*_SECURITY, *sorted(devices))]
    return operation


def _answer(route: Route, schema_of: Mapping[str, object]) -> dict[str, object]:
    if route.status == 204:
        return {"description": "Done."}
    if _has_schema(route):
        return {"description": "The answer.", "content": _json(schema_of[repr(route.answer)])}
    return {"description": "The answer.", "content": {route.media_type: {"schema": {"type": "string"}}}}


def _refusals(route: Route) -> list[Code]:
    """Return what a route may refuse, in the order of the checks."""
    codes: dict[Code, bool] = {
        "FORBIDDEN": route.path.startswith(UNDER) or not is_open(route.method, route.path),
        "UNAUTHORIZED": not is_open(route.method, route.path),
        "BAD_REQUEST": bool(route.inputs) or route.takes_upload,
        "PAYLOAD_TOO_LARGE": "body" in route.inputs or route.takes_upload,
        "UNSUPPORTED_MEDIA_TYPE": route.takes_upload,
        "UNAVAILABLE": True,
        **dict.fromkeys(route.errors, True),
        "INTERNAL_ERROR": True,
    }
    return [code for code, may_be in codes.items() if may_be]


def _parameters(place: str, kind: type[msgspec.Struct]) -> Iterator[dict[str, object]]:
    _, described = msgspec.json.schema_components([kind], ref_template=_REFERENCE)
    (schema,) = described.values()
    for name, each in schema["properties"].items():
        yield {
            "name": name,
            "in": place,
            "required": name in schema["required"],
            "schema": _without_null(each),
        }


def _without_null(schema: Document) -> Document:
    """A parameter that is null is one that is not there: no text says null."""
    found = [each for each in schema.get("anyOf", [schema]) if each != {"type": "null"}]
    default = {} if schema.get("default") is None else {"default": schema["default"]}
    return {**found[0], **default} if len(found) == 1 else {"anyOf": found, **default}


def _with_plain_text(schema: Document) -> Document:
    """Docstrings have line breaks and indents, which mean nothing."""
    return {name: " ".join(each.split()) if name == "description" else each for name, each in schema.items()}


def _refusal(code: Code, error: object) -> dict[str, object]:
    schema = {"allOf": [error, {"properties": {"code": {"const": code}}}]}
    return {"description": f"`{code}`: {_CODES[code]}", "content": _json(schema)}


def _health(schema_of: Mapping[str, object]) -> Iterator[tuple[str, dict[str, object]]]:
    """The routes that every role has, by path (shared/runtime/health.py)."""
    status = {"description": "The answer.", "content": _json(schema_of[repr(Health)])}
    numbers = {"description": "The answer.", "content": {"text/plain": {"schema": {"type": "string"}}}}
    for path, text, responses in (
        ("/healthz", "Say that the process turns", {"200": status}),
        (
            "/readyz",
            "Say whether requests can be served, or what is wrong",
            {"200": status, "503": _response("UNAVAILABLE")},
        ),
        ("/metrics", "Show the process's numbers, as Prometheus text", {"200": numbers}),
    ):
        operation: dict[str, object] = {
            "operationId": path[1:],
            "summary": text,
            "security": [],
            "responses": responses,
        }
        yield path, {"get": operation}


def _has_schema(route: Route) -> bool:
    return route.answer not in (web.StreamResponse, type(None))


def _response(code: Code) -> dict[str, str]:
    return {"$ref": f"#/components/responses/{code}"}


def _json(schema: object) -> dict[str, object]:
    return {"application/json": {"schema": schema}}
