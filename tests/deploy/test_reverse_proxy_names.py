"""The reverse proxy before services that it knows by name only, as in containers: it finds all processes of a name."""

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from deploy.local.child import until_answering
from deploy.local.reverse_proxy import ReverseProxy
from tests.deploy.names import NameServer
from tests.ports import free_port
from tests.waiting import wait_until

FORWARDERS = "/ws/v1/forwarders"
PORT = free_port()


class Replica:
    """One process of a service on a loopback address of its own: names itself, and says what it was asked with."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.status = 101
        app = web.Application()
        app.router.add_get("/ws/v1/{any}", self._talk)
        app.router.add_route("*", "/{any:.*}", self._answer)
        self._server = TestServer(app, host=host, port=PORT)

    async def start(self) -> None:
        await self._server.start_server()

    async def stop(self) -> None:
        await self._server.close()

    async def refuse_new(self) -> None:
        """Listen no more; what is connected stays."""
        assert self._server.runner is not None
        await next(iter(self._server.runner.sites)).stop()

    async def _talk(self, request: web.Request) -> web.StreamResponse:
        if self.status != 101:
            return web.Response(status=self.status)
        connection = web.WebSocketResponse()
        await connection.prepare(request)
        await connection.send_json({"host": self.host, "headers": dict(request.headers)})
        async for message in connection:
            await connection.send_str(message.data)
        return connection

    async def _answer(self, _: web.Request) -> web.Response:
        return web.Response(text=self.host)


@pytest.fixture
async def running() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
async def http(running: AsyncExitStack) -> aiohttp.ClientSession:
    return await running.enter_async_context(aiohttp.ClientSession())


Names = dict[str, list[str]]


@pytest.fixture
def names() -> Names:
    """What names stand for."""
    return {}


@pytest.fixture
async def name_server(running: AsyncExitStack, names: Names) -> NameServer:
    server = NameServer(names.get)
    listening = socket.socket(type=socket.SOCK_DGRAM)
    listening.bind(("127.0.0.1", 0))
    await server.start(listening)
    running.callback(server.stop)
    return server


Start = Callable[[str], Awaitable[Replica]]


@pytest.fixture
def replica(running: AsyncExitStack) -> Start:
    async def start(host: str) -> Replica:
        replica = Replica(host)
        await replica.start()
        running.push_async_callback(replica.stop)
        return replica

    return start


@pytest.fixture
def trusted() -> str:
    """The networks of proxies before this one."""
    return ""


@pytest.fixture
async def url(
    running: AsyncExitStack,
    name_server: NameServer,
    trusted: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> str:
    """The acceptor; it asks for the names gateway, fanout and api."""
    monkeypatch.setenv("TRUSTED_PROXIES", trusted)
    monkeypatch.setenv("UPSTREAMS", "named")
    monkeypatch.setenv("DNS", f"resolvers {name_server.address}")
    replicas = {role: [role, str(PORT)] for role in ("gateway", "fanout", "api")}
    proxy = ReverseProxy("127.0.0.1:0", data_dir=tmp_path, upstreams=lambda: replicas)
    child = await proxy.launch()
    running.push_async_callback(child.stop, proxy.stop_signals, within_s=5)
    assert await until_answering(child, proxy.answers), child.last_lines(5)
    return proxy.url


Connect = Callable[[], Awaitable[str]]


@pytest.fixture
def connect(running: AsyncExitStack, http: aiohttp.ClientSession, url: str) -> Connect:
    """Open one more device's socket, which stays open, and return the address of who answered."""

    async def connect() -> str:
        opened = await running.enter_async_context(http.ws_connect(f"{url}{FORWARDERS}"))
        return str((await opened.receive_json())["host"])

    return connect


async def test_spreads_sockets_evenly_over_all_that_the_name_stands_for(
    names: Names, replica: Start, connect: Connect
) -> None:
    names["gateway"] = [(await replica(f"127.0.0.{n}")).host for n in (2, 3, 4)]
    assert Counter([await connect() for _ in range(9)]) == {"127.0.0.2": 3, "127.0.0.3": 3, "127.0.0.4": 3}


async def test_finds_a_process_that_starts_later_and_fills_it_up(
    names: Names, replica: Start, connect: Connect
) -> None:
    names["gateway"] = [(await replica("127.0.0.2")).host]
    assert {await connect() for _ in range(2)} == {"127.0.0.2"}
    names["gateway"].append((await replica("127.0.0.3")).host)

    async def found() -> bool:
        return await connect() == "127.0.0.3"

    await wait_until(found, what="the new process to be found")


async def test_gives_one_that_stops_no_new_device_and_keeps_those_it_has(
    names: Names, replica: Start, connect: Connect, http: aiohttp.ClientSession, url: str
) -> None:
    stopping, staying = await replica("127.0.0.2"), await replica("127.0.0.3")
    names["gateway"] = [stopping.host]
    async with http.ws_connect(f"{url}{FORWARDERS}") as device:
        assert (await device.receive_json())["host"] == stopping.host
        await stopping.refuse_new()
        names["gateway"] = [stopping.host, staying.host]  # the name still stands for both
        assert {await connect() for _ in range(6)} == {staying.host}
        await device.send_str("still here")
        assert await device.receive_str() == "still here"


async def test_sends_a_device_that_one_turns_away_to_another(
    names: Names, replica: Start, connect: Connect
) -> None:
    full, free = await replica("127.0.0.2"), await replica("127.0.0.3")
    full.status = 503
    names["gateway"] = [full.host, free.host]
    # By least connections alone, the one that takes nobody would be asked first by everybody.
    assert {await connect() for _ in range(6)} == {free.host}


async def test_passes_over_an_address_where_nobody_is(names: Names, replica: Start, connect: Connect) -> None:
    names["gateway"] = ["127.0.0.9", (await replica("127.0.0.2")).host]
    assert {await connect() for _ in range(6)} == {"127.0.0.2"}


async def test_says_unavailable_when_no_process_has_the_name(http: aiohttp.ClientSession, url: str) -> None:
    async def ask(path: str) -> None:
        async with http.get(f"{url}{path}") as answer:
            assert answer.status == 503
            assert answer.headers["Retry-After"] == "1"
            assert (await answer.json())["code"] == "UNAVAILABLE"

    await asyncio.gather(ask("/api/v1/streams"), ask(FORWARDERS))


async def test_passes_who_asks_and_with_what_token_on_and_offers_no_compression(
    names: Names, replica: Start, http: aiohttp.ClientSession, url: str
) -> None:
    names["fanout"] = [(await replica("127.0.0.2")).host]
    async with http.ws_connect(
        f"{url}/ws/v1/receivers", headers={"Authorization": "Bearer secret", "X-Forwarded-For": "6.6.6.6"}
    ) as device:
        headers = (await device.receive_json())["headers"]
    assert headers["Authorization"] == "Bearer secret"
    assert headers["Host"] == url.removeprefix("http://")
    assert headers["X-Forwarded-For"] == "127.0.0.1"  # ours, not what the client made up
    assert headers["X-Forwarded-Proto"] == "http"
    assert "Sec-WebSocket-Extensions" not in headers


@pytest.mark.parametrize(
    ("trusted", "came_by"),
    [("127.0.0.0/8", "192.0.2.7"), ("10.0.0.7 127.0.0.1", "192.0.2.7"), ("10.0.0.0/8", "127.0.0.1")],
)
async def test_whom_a_proxy_before_it_was_asked_by_is_passed_on_where_that_one_is_trusted(
    names: Names, replica: Start, http: aiohttp.ClientSession, url: str, came_by: str
) -> None:
    names["gateway"] = [(await replica("127.0.0.2")).host]
    told = {"X-Forwarded-For": "6.6.6.6, 192.0.2.7"}
    async with http.ws_connect(f"{url}{FORWARDERS}", headers=told) as device:
        assert (await device.receive_json())["headers"]["X-Forwarded-For"] == came_by


async def test_sends_each_path_to_its_name(
    names: Names, replica: Start, http: aiohttp.ClientSession, url: str
) -> None:
    names["fanout"] = [(await replica("127.0.0.2")).host]
    names["api"] = [(await replica("127.0.0.3")).host]
    async with http.ws_connect(f"{url}/ws/v1/receivers") as device:
        assert (await device.receive_json())["host"] == "127.0.0.2"
    async with http.get(f"{url}/api/v1/streams") as answer:
        assert await answer.text() == "127.0.0.3"
