"""All that operators, and the answers of devices, can make an api process hold at once, in the memory that compose
gives it: it lives, and serves on.
"""

import asyncio
import json
import socket
from base64 import b64encode
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager
from functools import cache
from io import BytesIO
from urllib.parse import urlsplit

import aiohttp

from tests.bench.report import resident_bytes
from tests.delivery.stored import make_stream, store
from tests.deploy.compose import memory_of
from tests.failure.facts import Database
from tests.failure.wire import Wire, forwarder
from tests.memory import confined
from tests.services import Process, make_token, services
from tests.waiting import wait_until

MIB = 1024 * 1024
DEVICES, COMMANDS_EACH = 8, 8  # as many commands as an api process has under way, and a session takes
LISTENERS, EXPORTS, PAGES = 300, 8, 40
LONG = "x" * (MIB - 4_096)  # a configuration just below the bound of an answer
# Of receivers, at once, of 64 that may be: as many answers of 15 MiB at once were more than there is.
REQUESTS = 12

_ASK = """
INSERT INTO receiver_requests (session_id, receiver_id, token_id, address, kind, body, expires_at)
VALUES (uuidv7(), $1, uuidv7(), '10.9.8.7', $2, $3, clock_timestamp() + interval '5 minutes')
"""


@cache
def chips() -> bytes:
    """As many rows as a file may have, in as many bytes."""
    return b"".join(b"%d,%099d\n" % (1 + number // 2, number) for number in range(98_000))


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
        stack.enter_context(confined(api, memory_of("api")))
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
        # What the kernel would end is twice as much; where it may not be asked to (tests/memory.py) this decides alone.
        assert resident_bytes(api.pid, "VmHWM") < memory_of("api") // 2
        assert {status for status, _ in answers} <= {200, 503}  # 503: told to come again, in words
        assert sum(length > len(LONG) for _, length in answers) >= DEVICES
        await api.ready()
        async with http.get(f"{api.url}/api/v1/overview") as answer:
            assert answer.status == 200
        for task in answering:
            task.cancel()


async def test_an_api_process_lives_when_receivers_ask_for_the_largest_answers_at_once(
    database_url: str, database: Database
) -> None:
    """Beside two imports, and a file that comes through a receiver."""
    race_id, *others = [
        row["race_id"]
        for row in await database.fetch(
            "INSERT INTO races (name) SELECT n::text FROM generate_series(1, 4) AS n RETURNING race_id"
        )
    ]
    await database.execute(
        """
        INSERT INTO participants (race_id, bib, first_name, last_name, affiliation, gender)
        SELECT $1, n, repeat('Zoë', 10), repeat('é', 30), repeat('中', 30), 'F' FROM generate_series(1, 50000) AS n
        """,
        race_id,
    )
    asked = {"request_id": "q", "race_id": str(race_id)}
    listing = json.dumps({"kind": "receiver_proxy_participants_get_request", **asked}).encode()
    file = b64encode(chips()).decode()
    upload = {"kind": "receiver_proxy_file_upload_request", "request_id": "q", "race_id": str(others[0])}
    body = json.dumps({**upload, "upload_type": "chips", "file_data": file, "file_name": "x"}).encode()
    async with (
        services(database_url, writer=0, gateway=0, fanout=0, api=1) as running,
        AsyncExitStack() as stack,
    ):
        (api,) = running.apis
        stack.enter_context(confined(api, memory_of("api")))
        http = await stack.enter_async_context(aiohttp.ClientSession())
        imports = [
            asyncio.create_task(upload_chips(http, f"{api.url}/api/v1/races/{each}/chips/upload"))
            for each in others[1:]
        ]
        await database.executemany(
            _ASK,
            [
                *((f"r{number % 4}", "participants_get", listing) for number in range(REQUESTS - 1)),
                ("r4", "file_upload", body),
            ],
        )

        async def all_answered() -> bool:
            resident_bytes(api.pid)  # ProcessLookupError once it has been ended: nobody waits for it then
            return not await database.fetchval("SELECT count(*) FROM receiver_requests WHERE state <> 'done'")

        await wait_until(all_answered, what="all to be answered")
        assert [await each for each in imports] == [200, 200]
        longest = await database.fetchval("SELECT max(octet_length(answer)) FROM receiver_requests")
        assert longest > 14 * MIB
        assert resident_bytes(api.pid, "VmHWM") < memory_of("api")
        await api.ready()


async def upload_chips(http: aiohttp.ClientSession, url: str) -> int:
    form = aiohttp.FormData()
    form.add_field("file", BytesIO(chips()), filename="chips")
    async with http.post(url, data=form) as answer:
        return answer.status
