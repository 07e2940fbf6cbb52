"""The API's description of itself: everything that is served and nothing else, for programs and for people."""

import re
from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256
from html.parser import HTMLParser
from typing import Any

import pytest
from aiohttp import web

from api.app import build_app
from api.dashboard.routes import page_routes
from api.http.access import OPEN_PATHS, OPEN_POSTS
from api.http.device_tokens import DEVICE_ROUTES
from api.http.docs import POLICY, render
from api.http.errors import STATUS
from api.http.openapi import describe
from api.routes import ROUTES
from api.settings import ApiSettings
from shared.runtime.activity import Activity
from shared.runtime.health import health_routes
from shared.runtime.process import Process
from tests.api.conftest import Ask, Client

OPENAPI = "/api/v1/openapi.json"
REFERENCE = re.compile(r"#/components/(schemas|responses)/(\w+)")


@pytest.fixture
async def document(ask: Ask) -> Any:
    """The document as it is served."""
    return await ask("GET", OPENAPI)


def operations(document: Any) -> Iterator[tuple[str, str, Any]]:
    for path, each in document["paths"].items():
        for method, operation in each.items():
            yield method.upper(), path, operation


def references(part: Any) -> Iterator[str]:
    for name, each in part.items() if isinstance(part, dict) else enumerate(part):
        if name == "$ref":
            yield each
        elif isinstance(each, dict | list):
            yield from references(each)


async def test_the_document_holds_every_route_that_is_served_and_no_other(
    document: Any, process: Process, activity: Activity
) -> None:
    settings = ApiSettings.read({"database_url": "postgresql://here/rt"})
    app = build_app(process, settings, activity)
    app.add_routes(health_routes(process.checks))
    served = {
        (route.method, route.resource.canonical)
        for route in app.router.routes()
        if isinstance(route.resource, web.Resource) and route.method != "HEAD"
    }
    # The dashboard's files are for browsers.
    served -= {(each.method, each.path) for each in page_routes()}
    assert {(method, path) for method, path, _ in operations(document)} == served


async def test_everything_that_the_document_refers_to_is_in_it(document: Any) -> None:
    assert document["openapi"].startswith("3.1")
    named = set(references(document))
    assert {"#/components/schemas/StreamPatch", "#/components/schemas/Error"} < named
    for each in named:
        kind, name = REFERENCE.fullmatch(each).groups()  # type: ignore[union-attr]
        assert name in document["components"][kind], each


async def test_parameters_bodies_and_answers_are_those_of_the_types(document: Any) -> None:
    for route in ROUTES:
        operation = document["paths"][route.path][route.method.lower()]
        for place in ("path", "query"):
            kind = route.inputs.get(place)
            fields = () if kind is None else kind.__struct_fields__
            assert [each["name"] for each in operation["parameters"] if each["in"] == place] == list(fields)
        assert ("requestBody" in operation) == ("body" in route.inputs or route.takes_upload)
        if route.takes_upload:
            assert list(operation["requestBody"]["content"]) == ["multipart/form-data"]
        (answer,) = (each for status, each in operation["responses"].items() if status == str(route.status))
        assert list(answer.get("content", {})) == ([] if route.status == 204 else [route.media_type])


async def test_a_parameter_that_may_be_left_out_is_never_null(document: Any) -> None:
    parameters = document["paths"]["/api/v1/streams/{stream_id}/reads"]["get"]["parameters"]
    found = {each["name"]: each for each in parameters}
    assert found["epoch"]["schema"] == {"type": "integer", "minimum": 1, "maximum": 2**63 - 1}
    assert found["limit"]["schema"] == {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100}
    assert [name for name, each in found.items() if each["required"]] == ["stream_id"]


async def test_what_a_route_refuses_stands_at_the_route(document: Any) -> None:
    def refused(method: str, path: str) -> set[str]:
        responses = document["paths"][path][method]["responses"]
        codes = {
            each["$ref"].rpartition("/")[2]: status for status, each in responses.items() if "$ref" in each
        }
        assert all(str(dict(STATUS)[code]) == status for code, status in codes.items())
        return set(codes)

    always = {"UNAVAILABLE", "INTERNAL_ERROR"}
    assert refused("get", "/api/v1/streams") == always | {"FORBIDDEN"}
    assert refused("get", "/api/v1/forwarders") == always | {"UNAUTHORIZED", "FORBIDDEN"}
    assert refused("get", "/api/v1/streams/{stream_id}/epochs") == always | {
        "UNAUTHORIZED",
        "FORBIDDEN",
        "BAD_REQUEST",
        "NOT_FOUND",
    }
    assert refused("post", "/api/v1/admin/tokens") == always | {
        "UNAUTHORIZED",
        "FORBIDDEN",
        "BAD_REQUEST",
        "PAYLOAD_TOO_LARGE",
        "CONFLICT",
    }
    assert refused("get", "/readyz") == {"UNAVAILABLE"}
    assert set(document["components"]["responses"]) == set(STATUS)


async def test_all_but_the_open_routes_ask_for_either_credential(document: Any) -> None:
    assert document["security"] == [{"bearer": []}, {"basic": []}]
    assert set(document["components"]["securitySchemes"]) == {"bearer", "basic", "forwarder", "receiver"}
    unasked = {(method, path) for method, path, each in operations(document) if each.get("security") == []}
    # A page is no operation.
    assert unasked == {("GET", path) for path in OPEN_PATHS - {"/announcer", "/person"}} | {
        ("POST", path) for path in OPEN_POSTS
    }


async def test_which_devices_may_ask_is_described(document: Any) -> None:
    found = {
        (method, path): {name for option in each["security"] for name in option} - {"bearer", "basic"}
        for method, path, each in operations(document)
        if each.get("security")
    }
    assert found == {route: devices for route, devices in DEVICE_ROUTES.items() if route[1] not in OPEN_PATHS}


class Page(HTMLParser):
    """What a page is made of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes.extend(attrs)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


async def test_the_page_names_everything_and_loads_nothing(client: Client, document: Any) -> None:
    async with client.get("/docs") as answer:
        assert (answer.status, answer.content_type, answer.charset) == (200, "text/html", "utf-8")
        page = Page(await answer.text())
    for method, path, operation in operations(document):
        assert f"{method} {path}" in page.texts
        assert operation["summary"] in "".join(page.texts)
    assert page.tags.isdisjoint({"script", "link", "img", "iframe", "form", "object", "base"})
    ids = {value for name, value in page.attributes if name == "id"}
    links = {value for name, value in page.attributes if name == "href"}
    assert ids == set(document["components"]["schemas"])
    assert links - {f"#{each}" for each in ids} == {OPENAPI.removeprefix("/")}
    assert {name for name, _ in page.attributes} == {"href", "id", "lang", "charset", "name", "content"}


async def test_the_page_may_use_its_own_style_and_nothing_else(client: Client) -> None:
    async with client.get("/docs") as answer:
        policy = answer.headers["Content-Security-Policy"]
        (style,) = re.findall(r"<style>(.*?)</style>", await answer.text(), re.DOTALL)
    assert policy == POLICY
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert f"style-src 'sha256-{b64encode(sha256(style.encode()).digest()).decode()}'" in policy


def test_texts_of_the_document_are_only_text_on_the_page() -> None:
    document = describe(ROUTES, "<script>alert(1)</script>")
    evil = "\"'><script>`<b>`"
    document["info"]["description"] = document["info"]["title"] = evil
    for schema in document["components"]["schemas"].values():
        schema["description"] = evil
        schema["properties"] = {evil: {"type": evil, "default": evil}, "x": {"enum": [evil]}}
        schema["required"] = []
    for _, _, operation in operations(document):
        operation["summary"] = evil
        operation["parameters"] = [{"name": evil, "in": evil, "schema": {"format": evil}}]
    page = Page(render(document))
    assert page.tags.isdisjoint({"script", "b"})
