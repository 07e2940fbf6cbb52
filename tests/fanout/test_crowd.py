"""Sessions of one receiver on a node have a bound; no living one makes room for another (protocol.md, section 2.5)."""

import asyncio
from contextlib import AsyncExitStack

import aiohttp
import pytest

from shared.db.connections import Connection
from shared.transport import acceptor, connection
from tests.delivery.wire import Wire, connect
from tests.fanout.conftest import running_fanout_inside, running_inside
from tests.services import make_token
from tests.waiting import wait_until


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acceptor, "PROBE_S", 0.5)


async def greeted(stack: AsyncExitStack, url: str, token: str) -> Wire:
    wire = await stack.enter_async_context(connect(url, token))
    await wire.greet()
    return wire


async def status(url: str, token: str) -> int:
    try:
        async with connect(url, token):
            return 101
    except aiohttp.WSServerHandshakeError as refusal:
        return refusal.status


@pytest.mark.parametrize(("unresponsive_s", "expected"), [(0.0, 101), (60.0, 429)])
async def test_one_that_answers_no_ping_makes_room_unless_it_may_not_read_yet(
    database_url: str,
    database: Connection,
    monkeypatch: pytest.MonkeyPatch,
    unresponsive_s: float,
    expected: int,
) -> None:
    monkeypatch.setattr(connection, "UNRESPONSIVE_AFTER_HELLO_S", unresponsive_s)
    token, same, other = [await make_token(database, "receiver", name) for name in ("tent", "tent", "other")]
    async with running_inside(database_url) as url, AsyncExitStack() as stack:
        wires = [await greeted(stack, url, token) for _ in range(8)]
        # All but the last are read from, so that they answer pings.
        reading = [asyncio.create_task(wire.closed(within_s=60)) for wire in wires[:7]]
        last = asyncio.create_task(wires[7].closed(within_s=60))
        assert await status(url, same) == 429
        assert await status(url, other) == 101
        last.cancel()
        await asyncio.wait([last])
        assert await status(url, same) == expected
        assert not any(task.done() for task in reading)
        for task in reading:
            task.cancel()


@pytest.mark.parametrize(("meanwhile", "expected"), [("a stop", 503), ("a newcomer", 429)])
async def test_what_comes_while_sessions_are_probed_is_looked_at_before_one_more_is_admitted(
    database_url: str, database: Connection, monkeypatch: pytest.MonkeyPatch, meanwhile: str, expected: int
) -> None:
    monkeypatch.setattr(acceptor, "SESSIONS_OF_ONE", 2)
    monkeypatch.setattr(acceptor, "PROBE_S", 60)
    monkeypatch.setattr(connection, "UNRESPONSIVE_AFTER_HELLO_S", 0.0)
    asked, answer = asyncio.Event(), asyncio.Event()

    async def answers(probed: connection.DeviceConnection, _within_s: float) -> bool:
        asked.set()
        await answer.wait()
        return not probed.gone

    monkeypatch.setattr(connection.DeviceConnection, "answers", answers)
    token = await make_token(database, "receiver", "tent")

    async def one_session() -> bool:
        return bool(await database.fetchval("SELECT count(*) FROM receiver_sessions") == 1)

    async with running_fanout_inside(database_url) as (fanout, url), AsyncExitStack() as stack:
        wires = [await greeted(stack, url, token) for _ in range(2)]
        newcomer = asyncio.create_task(status(url, token))
        await asked.wait()
        await wires[0].drop()
        await wait_until(one_session, what="the end of a session")
        if meanwhile == "a stop":
            fanout.process.stop.ask()
        else:
            await greeted(stack, url, token)
        answer.set()
        assert await newcomer == expected


async def test_tokens_of_receivers_that_are_all_called_the_same_are_receivers_of_their_own(
    database_url: str, database: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acceptor, "SESSIONS_OF_ONE", 1)
    tokens = [await make_token(database, "receiver", "receiver-main") for _ in range(2)]
    async with running_inside(database_url) as url, AsyncExitStack() as stack:
        await greeted(stack, url, tokens[0])
        assert await status(url, tokens[0]) == 429
        assert await status(url, tokens[1]) == 101
