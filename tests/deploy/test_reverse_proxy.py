"""The reverse proxy sends each connection to the right service, to a process that lives, or says that none does."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TypeAlias

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from deploy.local import StackError
from deploy.local.child import until_answering
from deploy.local.reverse_proxy import CADDYFILE, ReverseProxy, caddy
from tests.ports import free_port
from tests.waiting import PATIENCE_S, stretched, wait_until

Open: TypeAlias = Callable[..., Awaitable[str]]

TRIES = 3


class Upstream:
    """A process behind the acceptor: says its name to whoever asks."""

    def __init__(self, name: str, *, ready: bool = True) -> None:
        self.name = name
        self.ready = ready
        self.probed = 0
        self.left = False
        app = web.Application()
        app.router.add_get("/readyz", self._probe)
        app.router.add_get("/healthz", self._live)
        app.router.add_get("/ws/v1/forwarders", self._talk)
        app.router.add_get("/ws/v1/receivers", self._talk)
        app.router.add_get("/ws/v1.2/receivers", self._talk)
        app.router.add_get("/stream", self._stream)
        app.router.add_route("*", "/{any:.*}", self._answer)
        self._port = free_port()
        self.server = TestServer(app, port=self._port)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._port}"

    async def _probe(self, _: web.Request) -> web.Response:
        self.probed += 1
        return web.Response(status=200 if self.ready else 503)

    async def _live(self, _: web.Request) -> web.Response:
        self.probed += 1
        return web.Response()

    async def _talk(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(compress=True)
        await socket.prepare(request)
        await socket.send_str(self.name)
        async for message in socket:
            await socket.send_str(message.data)
        return socket

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b"event: first\n\n")
        try:
            await asyncio.Event().wait()  # until it is cancelled because the client has gone
        finally:
            self.left = True
        return response

    async def _answer(self, request: web.Request) -> web.Response:
        return web.Response(text=self.name, content_type=request.query.get("type", "text/plain"))


@pytest.fixture
async def running() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
async def http(running: AsyncExitStack) -> aiohttp.ClientSession:
    return await running.enter_async_context(aiohttp.ClientSession())


@pytest.fixture
def upstream(running: AsyncExitStack) -> Callable[..., Awaitable[Upstream]]:
    async def start(name: str, *, ready: bool = True) -> Upstream:
        upstream = Upstream(name, ready=ready)
        await upstream.server.start_server()
        running.push_async_callback(upstream.server.close)
        return upstream

    return start


@pytest.fixture
def proxy(running: AsyncExitStack, tmp_path: Path) -> Open:
    async def open_proxy(**upstreams: Sequence[str]) -> str:
        proxy = ReverseProxy("127.0.0.1:0", data_dir=tmp_path, upstreams=lambda: upstreams)
        child = await proxy.launch()
        running.push_async_callback(child.stop, proxy.stop_signals, within_s=5)
        assert await until_answering(child, proxy.answers), child.last_lines(5)
        return proxy.url

    return open_proxy


Start: TypeAlias = Callable[..., Awaitable[Upstream]]


async def who_answers(http: aiohttp.ClientSession, url: str) -> str:
    async with http.ws_connect(url) as socket:
        return await socket.receive_str()


async def test_sends_each_path_to_its_service(
    http: aiohttp.ClientSession, upstream: Start, proxy: Open
) -> None:
    replicas = {name: [(await upstream(name)).address] for name in ("gateway", "fanout", "api")}
    url = await proxy(**replicas)
    assert await who_answers(http, f"{url}/ws/v1/forwarders") == "gateway"
    for path in ("/ws/v1/receivers", "/ws/v1.2/receivers"):
        assert await who_answers(http, f"{url}{path}") == "fanout"
    for path in ("/", "/api/v1/streams", "/ws/v1/unknown", "/ws/v1/forwarders/x"):
        async with http.post(f"{url}{path}") as answer:
            assert await answer.text() == "api", path


async def test_spreads_open_sockets_over_two_processes(
    http: aiohttp.ClientSession, upstream: Start, proxy: Open
) -> None:
    """To whom has fewer: of each two the second goes to the other."""
    url = await proxy(gateway=[(await upstream(name)).address for name in ("one", "two")])
    # One that this process, on a busy machine, keeps from answering its health probe in time is passed over for a
    # second, as it should be. By chance twenty are never spread so.
    for _ in range(TRIES):
        names = await answering(http, f"{url}/ws/v1/forwarders", 20)
        if all(first != second for first, second in zip(names[::2], names[1::2], strict=True)):
            return
    raise AssertionError(f"not spread: {names}")


async def answering(http: aiohttp.ClientSession, url: str, count: int) -> list[str]:
    """Return who answers each of so many sockets that are all open in the end."""
    async with AsyncExitStack() as stack:
        sockets = [await stack.enter_async_context(http.ws_connect(url)) for _ in range(count)]
        return [await each.receive_str() for each in sockets]


async def test_passes_over_a_dead_process_without_any_error(
    http: aiohttp.ClientSession, upstream: Start, proxy: Open
) -> None:
    dead = f"127.0.0.1:{free_port()}"
    url = await proxy(gateway=[dead, (await upstream("alive")).address])
    for _ in range(10):
        assert await who_answers(http, f"{url}/ws/v1/forwarders") == "alive"


async def test_sends_no_new_device_to_a_process_that_is_not_ready(
    http: aiohttp.ClientSession, upstream: Start, proxy: Open
) -> None:
    unready, ready = await upstream("unready", ready=False), await upstream("ready")
    url = await proxy(gateway=[unready.address, ready.address])
    await wait_until(lambda: unready.probed >= 2, what="two answers to the health probe")
    for _ in range(4):
        assert await who_answers(http, f"{url}/ws/v1/forwarders") == "ready"


async def test_keeps_the_devices_of_a_process_that_is_not_ready_any_more(
    http: aiohttp.ClientSession, upstream: Start, proxy: Open
) -> None:
    gateway = await upstream("gateway")
    url = await proxy(gateway=[gateway.address])
    async with http.ws_connect(f"{url}/ws/v1/forwarders") as socket:
        assert await socket.receive_str() == "gateway"
        gateway.ready, probed = False, gateway.probed
        await wait_until(lambda: gateway.probed >= probed + 2, what="two answers to the health probe")
        await socket.send_str("still here")
        assert await socket.receive_str() == "still here"


async def test_keeps_asking_an_api_process_that_is_not_ready(
    http: aiohttp.ClientSession, upstream: Start, proxy: Open
) -> None:
    unready = await upstream("unready", ready=False)
    url = await proxy(api=[unready.address])
    await wait_until(lambda: unready.probed >= 1, what="an answer to the health probe")
    async with http.get(f"{url}/api/v1/streams") as answer:
        assert await answer.text() == "unready"


async def test_holds_a_new_connection_while_the_only_process_restarts(
    http: aiohttp.ClientSession, upstream: Start, proxy: Open, running: AsyncExitStack
) -> None:
    restarting = Upstream("back again")
    asked = asyncio.Event()

    async def die(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if b"/readyz" in await reader.readline():
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        else:
            asked.set()
        writer.close()

    dying = await asyncio.start_server(die, *restarting.address.split(":"))
    url = await proxy(gateway=[restarting.address])
    connecting = asyncio.create_task(who_answers(http, f"{url}/ws/v1/forwarders"))
    async with asyncio.timeout(PATIENCE_S):
        await asked.wait()
    dying.close()
    await dying.wait_closed()
    await restarting.server.start_server()
    running.push_async_callback(restarting.server.close)
    assert await connecting == "back again"


async def test_says_unavailable_in_the_api_s_words_when_nobody_is_up(
    http: aiohttp.ClientSession, proxy: Open
) -> None:
    url = await proxy(gateway=[f"127.0.0.1:{free_port()}"], api=[f"127.0.0.1:{free_port()}"])

    async def ask(path: str) -> None:
        async with http.get(f"{url}{path}") as answer:
            assert answer.status == 503
            assert answer.content_type == "application/json"
            body = await answer.json()
            assert body.keys() == {"code", "message"}
            assert body["code"] == "UNAVAILABLE"

    # One that cannot be reached, one that is none at all.
    await asyncio.gather(ask("/api/v1/streams"), ask("/ws/v1/forwarders"), ask("/ws/v1/receivers"))


async def test_passes_an_event_on_at_once_and_the_news_that_its_reader_left(
    http: aiohttp.ClientSession, upstream: Start, proxy: Open
) -> None:
    api = await upstream("api")
    url = await proxy(api=[api.address])
    async with http.get(f"{url}/stream") as stream, asyncio.timeout(stretched(5)):
        assert await stream.content.readline() == b"event: first\n"
    await wait_until(lambda: api.left, deadline_s=5, what="the end of the stream behind the proxy")


async def test_compresses_what_people_look_at_and_no_export(
    http: aiohttp.ClientSession, upstream: Start, proxy: Open
) -> None:
    address = (await upstream("what compresses well " * 100)).address
    url = await proxy(api=[address], gateway=[address])
    looked_at = ("application/json", "text/html", "text/css", "text/javascript", "image/svg+xml")
    for kind in (*looked_at, "text/csv", "text/plain", "application/zip"):
        asked = http.get(f"{url}/x", params={"type": kind}, headers={"Accept-Encoding": "gzip"})
        async with asked as answer:
            assert answer.headers.get("Content-Encoding") == ("gzip" if kind in looked_at else None), kind
            assert len(await answer.read()) == 2100
    async with (
        http.get(f"{url}/stream", headers={"Accept-Encoding": "gzip"}) as stream,
        asyncio.timeout(PATIENCE_S),
    ):
        assert stream.headers["Content-Encoding"] == "gzip"
        assert await stream.content.readline() == b"event: first\n"


async def test_refuses_an_address_that_another_reverse_proxy_has(proxy: Open, tmp_path: Path) -> None:
    url = await proxy()
    second = ReverseProxy(url.removeprefix("http://"), data_dir=tmp_path, upstreams=dict)
    with pytest.raises(StackError, match="is in use by another program"):
        await second.launch()


async def test_writes_its_own_files_into_the_data_directory(
    proxy: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    await proxy()
    await wait_until((tmp_path / "caddy").is_dir)  # it answers before it has written them
    assert not list(home.iterdir())


@pytest.mark.parametrize("command", ["validate --adapter caddyfile --config", "fmt --diff"])
def test_caddyfile_is_valid_and_formatted_as_it_stands(command: str) -> None:
    subprocess.run([str(caddy()), *command.split(), str(CADDYFILE)], check=True, capture_output=True)
