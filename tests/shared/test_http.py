"""What aiohttp refuses before any service sees it is answered in the one shape, with the headers of every answer."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from structlog.testing import capture_logs

from shared.errors import RtServerError
from shared.runtime.health import health_routes
from shared.runtime.http import serving
from shared.runtime.settings import host_port
from tests.ports import free_port
from tests.waiting import PATIENCE_S

SECRET = "s3cret"
HOST = b"Host: x\r\nAuthorization: Bearer " + SECRET.encode() + b"\r\n"
UNREADABLE = {
    "a TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),
    "another protocol": b"SSH-2.0-OpenSSH_9.2\r\n",
    "no method": b"gib mir / HTTP/1.1\r\n" + HOST + b"\r\n",
    "no number": b"GET / HTTP/one\r\n" + HOST + b"\r\n",
    "a header of no name": b"GET / HTTP/1.1\r\n" + HOST + b": x\r\n\r\n",
    "a NUL": b"GET / HTTP/1.1\r\n" + HOST + b"X: a\0b\r\n\r\n",
    "too many headers": b"GET / HTTP/1.1\r\n" + HOST + b"X: y\r\n" * 200 + b"\r\n",
    "a length of no number": b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: many\r\n\r\n",
    "a length below nothing": b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: -1\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
    "a length and chunks": b"POST / HTTP/1.1\r\n"
    + HOST
    + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    "no address": b"GET http://[ HTTP/1.1\r\n" + HOST + b"\r\n",
}
TOO_LONG = {
    "a header": b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"y" * 9_000 + b"\r\n\r\n",
    "an address": b"GET /" + b"y" * 9_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
}


async def fine(_request: web.Request) -> web.Response:
    return web.Response(text="fine")


async def failing(_request: web.Request) -> web.Response:
    raise ValueError(SECRET)


async def late(_request: web.Request) -> web.Response:
    raise TimeoutError


async def moved(_request: web.Request) -> web.Response:
    raise web.HTTPFound("/")


async def breaking_off(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b"half")
    raise ValueError("the other half")


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """Where an application without any middleware is served."""
    app = web.Application()
    app.router.add_get("/", fine)
    app.router.add_get("/failing", failing)
    app.router.add_get("/late", late)
    app.router.add_get("/moved", moved)
    app.router.add_get("/half", breaking_off)
    async with serving(app, ("127.0.0.1", bound := free_port())):
        yield bound


async def ask(port: int, request: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send bytes; return status, headers (names in small letters) and all that came until the connection's end."""
    async with asyncio.timeout(PATIENCE_S):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request)
        head, _, body = (await reader.read(-1)).partition(b"\r\n\r\n")
        writer.close()
    status, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return int(status.split()[1]), headers, body


async def refusal(port: int, request: bytes) -> tuple[int, Any]:
    """Return status and body of an answer that must be an error, in its shape."""
    status, headers, body = await ask(port, request)
    assert headers["content-type"] == "application/json"
    error = json.loads(body)
    assert set(error) == {"code", "message"}
    return status, error


def get(path: str, *lines: str) -> bytes:
    head = (f"GET {path} HTTP/1.1", "Host: x", "Connection: close", *lines)
    return "".join(f"{line}\r\n" for line in (*head, "")).encode()


@pytest.mark.parametrize("request_bytes", UNREADABLE.values(), ids=UNREADABLE.keys())
async def test_what_is_no_http_is_a_bad_request_and_the_log_does_not_repeat_it(
    port: int, request_bytes: bytes
) -> None:
    with capture_logs() as logs:
        status, error = await refusal(port, request_bytes)
    assert (status, error["code"]) == (400, "BAD_REQUEST")
    assert error["message"] == "this is no request of HTTP/1.1"
    assert [(entry["event"], entry["log_level"]) for entry in logs] == [("request_unreadable", "debug")]
    assert SECRET not in str(logs)
    assert (await ask(port, get("/")))[2] == b"fine"


@pytest.mark.parametrize("request_bytes", TOO_LONG.values(), ids=TOO_LONG.keys())
async def test_a_head_that_is_too_long_hears_the_bound(port: int, request_bytes: bytes) -> None:
    assert await refusal(port, request_bytes) == (
        400,
        {"code": "BAD_REQUEST", "message": "a line of the request's head is longer than 8190 bytes"},
    )


async def test_the_refusal_carries_the_headers_of_every_answer(port: int) -> None:
    _, headers, _ = await ask(port, TOO_LONG["a header"])
    assert headers["server"] == "rt-server"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"


@pytest.mark.parametrize(
    ("request_bytes", "status", "code"),
    [
        (get("/nothing"), 404, "NOT_FOUND"),
        (get("/").replace(b"GET", b"DELETE"), 405, "METHOD_NOT_ALLOWED"),
        (get("/", "Expect: miracles"), 400, "BAD_REQUEST"),
        (get("/nothing", "Expect: miracles"), 400, "BAD_REQUEST"),
        (get("/failing"), 500, "INTERNAL_ERROR"),
        (get("/late"), 504, "TIMEOUT"),
    ],
)
async def test_what_no_handler_answered_has_the_one_shape(
    port: int, request_bytes: bytes, status: int, code: str
) -> None:
    answered, error = await refusal(port, request_bytes)
    assert (answered, error["code"]) == (status, code)
    assert SECRET not in error["message"]


async def test_a_method_that_is_not_taken_hears_which_are(port: int) -> None:
    _, headers, _ = await ask(port, get("/").replace(b"GET", b"DELETE"))
    assert headers["allow"] == "GET,HEAD"


async def test_a_redirect_is_no_error(port: int) -> None:
    status, headers, _ = await ask(port, get("/moved"))
    assert (status, headers["location"]) == (302, "/")


async def test_an_answer_that_breaks_off_says_nothing_more(port: int) -> None:
    status, _, body = await ask(port, get("/half"))
    assert (status, body) == (200, b"4\r\nhalf\r\n")


async def test_an_address_that_is_taken_is_said_in_a_line(port: int) -> None:
    with pytest.raises(RtServerError, match=r"cannot serve on .*: .*address already in use"):
        async with serving(web.Application(), ("127.0.0.1", port)):
            raise AssertionError("two served one address")


@pytest.mark.skipif(
    not socket.has_dualstack_ipv6(),
    reason="no IPv6 here: `sysctl net.ipv6.conf.all.disable_ipv6=0`, if the kernel has it",
)
async def test_all_addresses_of_ipv6_are_those_of_ipv4_too() -> None:
    app = web.Application()
    app.add_routes(health_routes({}))
    port = free_port()
    async with serving(app, ("::", port)), aiohttp.ClientSession() as http:
        for host in ("127.0.0.1", "[::1]"):
            async with http.get(f"http://{host}:{port}/readyz") as answer:
                assert answer.status == 200, host


def test_an_address_of_ipv6_has_brackets() -> None:
    assert host_port(("::", 8080)) == "[::]:8080"
    assert host_port(("0.0.0.0", 80)) == "0.0.0.0:80"
