"""Whatever goes wrong is answered in one shape, and says nothing of the database."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from io import BytesIO
from typing import Any

import pytest
from aiohttp import ClientError, web

from api.http.context import Api
from api.http.contract import Route, serve
from api.http.errors import STATUS, answer_errors
from shared.runtime.activity import Activity
from shared.runtime.process import Process
from tests.api.conftest import Ask, Client
from tests.api.seeds import Database, add_stream
from tests.waiting import wait_until

STREAM = "/api/v1/streams/00000000-0000-0000-0000-000000000001"
MINT = "/api/v1/admin/tokens"


async def refused(client: Client, method: str, path: str, code: str, **more: Any) -> dict[str, str]:
    """Ask, check status and shape, and return the headers."""
    async with client.request(method, path, **more) as answer:
        body = await answer.json()
        assert (answer.status, body["code"]) == (dict(STATUS)[code], code), body  # type: ignore[index]
        assert set(body) <= {"code", "message", "details"}
        assert body["message"]
        assert answer.content_type == "application/json"
        return dict(answer.headers)


async def test_an_unknown_route_is_not_found(client: Client) -> None:
    for path in (
        "/nothing",
        "/static/nothing.js",
        "/static/../app.py",
        "/api/v1/nothing",
        "/api/v1/streams/",
        STREAM + "/nothing",
        "/api/v2/streams",
    ):
        await refused(client, "GET", path, "NOT_FOUND")


async def test_a_method_that_a_route_does_not_take_is_named(client: Client) -> None:
    for method, path in (
        ("POST", "/api/v1/streams"),
        ("PUT", STREAM),
        ("GET", MINT + "/x/revoke"),
        ("OPTIONS", "/api/v1/streams"),
    ):
        headers = await refused(client, method, path, "METHOD_NOT_ALLOWED")
        assert method not in headers["Allow"]


WRONG_PATHS = [
    ("GET", "/api/v1/streams/1/metrics"),
    ("PATCH", "/api/v1/streams/none"),
    ("GET", "/api/v1/streams/00000000-0000-0000-0000-00000000000g/reads"),
    ("GET", "/api/v1/streams/%00/export.csv"),
    ("PUT", STREAM + "/epochs/0/name"),
    ("PUT", STREAM + "/epochs/one/name"),
    ("PUT", STREAM + "/epochs/9223372036854775808/name"),
    ("POST", MINT + "/none/revoke"),
    ("GET", "/api/v1/receivers/%00/cursors"),
    ("DELETE", "/api/v1/receivers/x/cursors/y"),
]
WRONG_BODIES = [
    b"",
    b" ",
    b"{",
    b"[]",
    b"null",
    b"{}",
    b'{"display_alias": 1}',
    b'{"display_alias": "\\u0000"}',
    b'{"display_alias": "\\ud800"}',
    b'{"display_alias": "\xff"}',
    b'{"display_alias": "' + b"x" * 201 + b'"}',
    b'{"display_alias": null, "forwarder_id": "x"}',
    b"[" * 100_000,
]


async def test_a_path_that_names_nothing_is_a_bad_request(client: Client) -> None:
    for method, path in WRONG_PATHS:
        await refused(client, method, path, "BAD_REQUEST", json={})


async def test_a_body_that_is_not_what_is_wanted_is_a_bad_request(client: Client, database: Database) -> None:
    path = f"/api/v1/streams/{await add_stream(database)}"
    for body in WRONG_BODIES:
        await refused(client, "PATCH", path, "BAD_REQUEST", data=body)


async def test_an_unknown_field_is_named(ask: Ask) -> None:
    error = await ask("PATCH", STREAM, status=400, json={"display_alias": None, "forwarder_id": "x"})
    assert "`forwarder_id`" in error["message"]


async def test_a_body_is_json_whatever_it_is_called(ask: Ask, database: Database) -> None:
    path = f"/api/v1/streams/{await add_stream(database)}"
    for name in ("text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-8"):
        await ask("PATCH", path, data=b'{"display_alias": null}', headers={"Content-Type": name})


async def test_a_body_of_a_mebibyte_is_read_and_a_larger_one_is_not(client: Client) -> None:
    largest = b'{"display_alias": "'.ljust(1024 * 1024 - 2, b"x") + b'"}'
    await refused(client, "PATCH", STREAM, "BAD_REQUEST", data=BytesIO(largest))
    await refused(client, "PATCH", STREAM, "PAYLOAD_TOO_LARGE", data=BytesIO(largest + b" "))

    async def parts() -> Any:
        for _ in range(40):
            yield b" " * 32 * 1024

    await refused(client, "PATCH", STREAM, "PAYLOAD_TOO_LARGE", data=parts())


async def test_a_body_that_does_not_arrive_is_a_bad_request(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.http.contract.BODY_WITHIN_S", 0.1)

    async def stuck() -> Any:
        yield b"{"
        await asyncio.Event().wait()

    await refused(client, "PATCH", STREAM, "BAD_REQUEST", data=stuck())


async def test_content_type_without_a_body_is_borne(ask: Ask) -> None:
    await ask("GET", "/api/v1/streams", headers={"Content-Type": "application/json"})
    await ask(
        "DELETE", "/api/v1/receivers/x/cursors", status=404, headers={"Content-Type": "application/json"}
    )


async def test_an_error_that_nobody_foresaw_tells_nothing(
    process: Process, activity: Activity, aiohttp_client: Callable[..., Awaitable[Client]]
) -> None:
    async def broken(api: Api) -> None:
        await api.pool.execute("SELECT secret FROM nowhere")

    app = web.Application(middlewares=[answer_errors])
    api = Api(process, activity=activity, description={})
    app.router.add_get("/broken", serve(Route("GET", "/broken", broken), api))
    client = await aiohttp_client(app)
    async with client.get("/broken") as answer:
        text = await answer.text()
        assert (answer.status, "INTERNAL_ERROR" in text) == (500, True)
        assert "secret" not in text
        assert "nowhere" not in text


async def test_without_a_database_every_route_says_unavailable_at_once(
    client: Client, database: Database, process: Process
) -> None:
    await refused(client, "GET", STREAM + "/metrics", "NOT_FOUND")
    # Its own alone: those of processes that a test before has killed may still be ending.
    of_presence = """
        SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
        WHERE datname = current_database() AND application_name LIKE '%presence'
    """
    assert await database.fetchval(of_presence) == 1
    await wait_until(lambda: process.presence.problem, what="the loss to be noticed")
    for path in ("/api/v1/streams", STREAM + "/reads", STREAM + "/export.csv", "/api/v1/forwarders", MINT):
        headers = await refused(client, "GET", path, "UNAVAILABLE")
        assert headers["Retry-After"]


async def test_a_connection_that_breaks_under_a_request_says_unavailable(
    client: Client, database: Database
) -> None:
    stream_id = await add_stream(database)
    async with database.transaction():
        await database.execute("SELECT FROM streams FOR UPDATE")
        asking = asyncio.ensure_future(
            refused(
                client, "PATCH", f"/api/v1/streams/{stream_id}", "UNAVAILABLE", json={"display_alias": "x"}
            )
        )
        kill = """
            SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
            WHERE datname = current_database() AND wait_event_type = 'Lock'
        """
        await wait_until(lambda: database.fetchval(kill), what="the request to wait for the lock")
        await asking


async def test_whoever_has_gone_before_the_answer_leaves_no_error_in_the_log(
    aiohttp_client: Callable[..., Awaitable[Client]], caplog: pytest.LogCaptureFixture
) -> None:
    """As a page does that is closed while it connects: the first bytes of an event stream find nobody."""
    written = asyncio.Event()

    async def stream(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        try:
            await web.StreamResponse().prepare(request)
        finally:
            written.set()
        raise AssertionError("somebody is there")

    app = web.Application(middlewares=[answer_errors])
    app.router.add_get("/stream", stream)
    client = await aiohttp_client(app)
    with pytest.raises(ClientError):
        await client.get("/stream")
    await written.wait()
    await client.close()
    assert [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING] == []
