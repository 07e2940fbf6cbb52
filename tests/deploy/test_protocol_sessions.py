"""The sessions and the programs of deploy/docs/protocol.md, as they stand there, with real gateways and fanouts."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, TypeAlias
from uuid import UUID

import aiohttp
import orjson
import pytest

from shared.db.connections import Connection
from tests.deploy.pages import PROTOCOL, fences, sections
from tests.services import Services, make_token, services
from tests.waiting import PATIENCE_S, wait_until

SECTIONS = sections(PROTOCOL.read_text())
LINES = ["aa0005800370000100012506151032000032", "aa400000000123450a2a01123018455927a7", "no read"]
READER = "10.0.0.1:10000"
Step = tuple[str, dict[str, Any]]
Program: TypeAlias = asyncio.subprocess.Process


@pytest.fixture
async def running(database_url: str) -> AsyncIterator[Services]:
    async with services(database_url, api=1) as running:
        yield running


def steps(number: str) -> list[Step]:
    """Return a session of the page, as (way, message)s."""
    (block,) = fences(SECTIONS[number][1])
    return [(line[0], orjson.loads(line[2:])) for line in block.text.splitlines()]


async def follow(url: str, token: str, session: list[Step]) -> None:
    """Say what the device says, and compare what comes; only the session's id is another each time."""
    session_id = ""
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as http,
        http.ws_connect(url) as socket,
    ):
        for way, told in session:
            if way == "→":
                named = {"session_id": session_id} if "session_id" in told else {}
                await socket.send_json({**told, **named})
                continue
            came = orjson.loads(await socket.receive_str(timeout=PATIENCE_S))
            session_id = session_id or came["session_id"]
            assert came == {**told, "session_id": session_id}


async def test_both_sessions_go_as_they_stand_there(running: Services, database: Connection) -> None:
    (gateway,), (fanout,) = running.gateways, running.fanouts
    forwarder = await make_token(database, "forwarder", "start-line")
    await follow(f"{gateway.url}/ws/v1/forwarders", forwarder, steps("4.1"))
    receiver = await make_token(database, "receiver", "tent")
    await follow(f"{fanout.url}/ws/v1/receivers", receiver, steps("5.1"))

    async def cursors() -> list[tuple[int, int]]:
        rows = await database.fetch(
            "SELECT stream_epoch, last_seq FROM receiver_cursors WHERE receiver_id = 'tent'"
        )
        return sorted((row[0], row[1]) for row in rows)

    async def both_are_acked() -> bool:
        return await cursors() == [(1, 3), (2, 1)]

    await wait_until(both_are_acked, what="the acks to be kept")


@asynccontextmanager
async def program(number: str, directory: Path, *arguments: str) -> AsyncIterator[Program]:
    """Run a program of the page; whatever it says of errors is none."""
    (block,) = fences(SECTIONS[number][1], "python")
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        block.text,
        *arguments,
        cwd=directory,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield child
    finally:
        with suppress(ProcessLookupError):
            child.kill()
        await child.wait()


async def test_both_programs_bring_lines_from_one_end_to_the_other(
    running: Services, database: Connection, tmp_path: Path
) -> None:
    (gateway,), (fanout,), (api,) = running.gateways, running.fanouts, running.apis
    sending = (gateway.url, await make_token(database, "forwarder", "start-line"), READER)
    listening = (fanout.url, await make_token(database, "receiver", "tent"), "start-line", READER)
    async with program("10.2", tmp_path, *listening) as receiver, asyncio.timeout(PATIENCE_S):
        async with program("10.1", tmp_path, *sending) as forwarder:
            await bring(forwarder, receiver, LINES)
            # What is asked behind the command and answered says that the command was carried out before.
            assert await asked(api.url, f"streams/{await stream(database)}/reset-epoch") == {
                "new_stream_epoch": 2
            }
            refused = await asked(api.url, "forwarders/start-line/restart")
            assert refused["details"]["error"] == "this forwarder cannot do that"
            await bring(forwarder, receiver, ["of another epoch"])
            await forwarder.communicate(b"")
            assert forwarder.returncode == 0
        async with program("10.1", tmp_path, *sending) as forwarder:
            await bring(forwarder, receiver, ["a second run goes on", "with its numbers"])
    rows = await database.fetch("SELECT stream_epoch, seq FROM events ORDER BY 1, 2")
    assert [tuple(row) for row in rows] == [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (2, 3)]


async def bring(forwarder: Program, receiver: Program, lines: list[str]) -> None:
    """Have one program take lines, and see that the other gives them."""
    assert forwarder.stdin is not None
    assert receiver.stdout is not None
    forwarder.stdin.write("".join(f"{line}\n" for line in lines).encode())
    assert [(await receiver.stdout.readline()).decode().rstrip() for _ in lines] == lines


async def asked(url: str, route: str) -> Any:
    """Ask something of the forwarder, as an operator."""
    async with aiohttp.ClientSession() as http, http.post(f"{url}/api/v1/{route}") as answer:
        return await answer.json()


async def stream(database: Connection) -> UUID:
    found: UUID = await database.fetchval("SELECT stream_id FROM streams")
    return found
