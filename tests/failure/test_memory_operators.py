"""All that operators, and the answers of devices, can make an api process hold at once, in the memory that compose
gives it: it lives, and serves on.
"""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager
from urllib.parse import urlsplit

import aiohttp

from tests.bench.report import resident_bytes
from tests.delivery.stored import make_stream, store
from tests.deploy.compose import memory_of
from tests.failure.facts import Database
from tests.failure.wire import Wire, forwarder
from tests.services import Process, make_token, services

MIB = 1024 * 1024
DEVICES, COMMANDS_EACH = 8, 8  # as many commands as an api process has under way, and a session takes
LISTENERS, EXPORTS, PAGES = 300, 8, 40
LONG = "x" * (MIB - 4_096)  # a configuration just below the bound of an answer


@contextmanager
def unread(process: Process, path: str) -> Iterator[socket.socket]:
    """Ask, and read nothing of the answer."""
    where = urlsplit(process.url)
    with socket.socket() as plain:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        plain.connect((where.hostname, where.port))
        plain.sendall(f"GET {path} HTTP/1.1\r\nHost: {where.netloc}\r\n\r\n".encode())
        yield plain


def ask_and_read_nothing(stack: ExitStack, process: Process, stream_id: object) -> None:
    reads = f"/api/v1/streams/{stream_id}/reads"
    for path, times in (
        ("/api/v1/events", LISTENERS),
        (f"/api/v1/streams/{stream_id}/export.csv", EXPORTS),
        (f"{reads}?limit=1000", PAGES),
    ):
        for _ in range(times):
            stack.enter_context(unread(process, path))


async def answer_at_length(wire: Wire) -> None:
    """Answer every question for the configuration with as much as may be."""
    while True:
        asked = await wire.expect("config_get_request", within_s=60)
        await wire.send(
            {"kind": "config_get_response", "request_id": asked["request_id"], "ok": True, "error": None,
             "config": {"server": {"display_name": LONG}}, "restart_needed": False}
        )  # fmt: skip


async def test_an_api_process_lives_when_all_its_bounds_are_full(
    database_url: str, database: Database
) -> None:
    stream_id = await make_stream(database, "long", "lines")
    for seq in range(0, 400, 20):
        await store(database, stream_id, [(1, each, b"x" * 60_000) for each in range(seq + 1, seq + 21)])
    names = [f"f{number}" for number in range(DEVICES)]
    async with services(database_url, writer=1, fanout=0, api=1) as running, AsyncExitStack() as stack:
        api, gateway = running.apis[0], running.gateways[0]
        http = await stack.enter_async_context(aiohttp.ClientSession())
        wires = []
        for name in names:
            token = await make_token(database, "forwarder", name)
            wires.append(await stack.enter_async_context(forwarder(gateway.url, token)))
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        answering = [tasks.create_task(answer_at_length(wire)) for wire in wires]
        sockets = stack.enter_context(ExitStack())
        await asyncio.to_thread(ask_and_read_nothing, sockets, api, stream_id)

        async def config(name: str) -> tuple[int, int]:
            async with http.get(f"{api.url}/api/v1/forwarders/{name}/config") as answer:
                return answer.status, len(await answer.read())

        answers = await asyncio.gather(*(config(name) for name in names * COMMANDS_EACH))
        # No rlimit: libraries reserve a gigabyte of addresses for what they never touch. A container counts pages.
        assert resident_bytes(api.pid, "VmHWM") < memory_of("api") // 2
        assert {status for status, _ in answers} <= {200, 503}  # 503: told to come again, in words
        assert sum(length > len(LONG) for _, length in answers) >= DEVICES
        await api.ready()
        async with http.get(f"{api.url}/api/v1/overview") as answer:
            assert answer.status == 200
        for task in answering:
            task.cancel()
