"""Commands to readers: one at a time, each with its own time, and never one that could do harm."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import aiohttp
import pytest

from gateway import control
from shared.protocol import commands
from tests.failure.facts import Database
from tests.failure.wire import READER, Wire, batch, forwarder, frame, read
from tests.gateway.asking import answer, command, ended
from tests.gateway.conftest import Inside
from tests.waiting import wait_until

OTHER = "10.0.0.2:10000"
ASKS = "reader_control_request"


@pytest.fixture
async def wire(inside: Inside) -> AsyncIterator[Wire]:
    """The socket of forwarder `f`, after its hello."""
    async with forwarder(inside.url, inside.token, [READER, OTHER]) as wire:
        yield wire


async def ask(database: Database, action: str, *, reader: str = READER, **more: Any) -> UUID:
    return await command(
        database, "reader_control", {"reader_ip": reader, "action": {"type": action}}, **more
    )


async def taken(database: Database, command_id: UUID) -> None:
    """Wait until the gateway has a command in hand."""

    async def is_taken() -> bool:
        found = await database.fetchval("SELECT state FROM commands WHERE command_id = $1", command_id)
        return bool(found != "asked")

    await wait_until(is_taken, what="the command to be taken")


async def test_the_next_command_is_written_when_the_last_has_ended(wire: Wire, database: Database) -> None:
    first = await ask(database, "get_info")
    request = await wire.expect(ASKS)
    others = [await ask(database, "reconnect", reader=OTHER), await command(database, "restart")]
    for each in others:
        await taken(database, each)
    await wire.ping()  # what was written before the pong would have come before it
    assert (await wire.frame()).type is aiohttp.WSMsgType.PONG
    await wire.send(answer(request, reader_ip=READER))
    assert (await ended(database, first))[0] == "done"
    for each, kind in zip(others, (ASKS, "restart_request"), strict=True):
        await wire.send(answer(await wire.expect(kind)))
        assert (await ended(database, each))[0] == "done"


async def test_a_reset_waits_for_no_answer(wire: Wire, database: Database) -> None:
    await ask(database, "get_info")
    await wire.expect(ASKS)
    stream_id = await database.fetchval("SELECT stream_id FROM streams WHERE reader_ip = $1", READER)
    await command(database, "epoch_reset", {"stream_id": str(stream_id), "reader_ip": READER})
    await wire.expect("epoch_reset_command")


async def test_the_answer_has_its_time_from_the_write_on(wire: Wire, database: Database) -> None:
    first = await ask(database, "get_info")
    request = await wire.expect(ASKS)
    # Its row's time is over before the first has ended: it is written no more.
    late = await ask(database, "get_info", within_s=2.0)
    await taken(database, late)
    await asyncio.sleep(2.1)
    await wire.send(answer(request, reader_ip=READER))
    assert (await ended(database, first))[0] == "done"
    assert await ended(database, late) == ("lost", None)
    # Written in time, and answered after that time.
    slow = await ask(database, "get_info", within_s=2.0)
    request = await wire.expect(ASKS)
    assert request["request_id"] == str(slow)
    await asyncio.sleep(2.1)
    await wire.send(answer(request, reader_ip=READER, reader_info={"banner": "x"}))
    state, came = await ended(database, slow)
    assert (state, came["success"], came["reader_info"]) == ("done", True, {"banner": "x"})


async def test_what_is_never_answered_is_lost_in_its_own_time(
    wire: Wire, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands.ReaderControl, "answer_within_s", 0.2)
    first, second = await ask(database, "sync_clock"), await ask(database, "reconnect")
    assert await ended(database, first) == ("lost", None)
    assert await ended(database, second) == ("lost", None)
    assert [(await wire.expect(ASKS))["action"]["type"] for _ in range(2)] == ["sync_clock", "reconnect"]


@pytest.mark.parametrize(
    ("action", "seconds", "silent"),
    [
        (commands.GetInfo(), 18, None),
        (commands.Refresh(), 18, None),
        (commands.SyncClock(), 10, None),
        (commands.SetTto(enabled=True), 10, None),
        (commands.StopDownload(), 10, None),
        (commands.ClearRecords(), 10, 2),
        (commands.StartDownload(), 10, 2),
    ],
)
def test_each_action_has_its_time(action: commands.Action, seconds: float, silent: float | None) -> None:
    request = commands.ReaderControl(READER, action)
    assert (request.answer_within_s, request.silent_after_s) == (seconds, silent)


@pytest.mark.parametrize("action", ["clear_records", "start_download"])
async def test_what_need_not_be_answered_is_done_without_an_answer(
    wire: Wire, database: Database, action: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands.ReaderControl, "silent_after_s", 0.2)
    asked = await ask(database, action)
    request = await wire.expect(ASKS)
    assert await ended(database, asked) == ("done", None)
    # A word that comes later belongs to no other question.
    following = await ask(database, "get_info", reader=OTHER)
    await wire.expect(ASKS)
    await wire.send(answer(request, success=False, error="late"))
    await wire.send({**answer(request), "request_id": str(following), "error": "right"})
    assert (await ended(database, following))[1]["error"] == "right"


async def test_a_no_to_what_need_not_be_answered_comes_back(wire: Wire, database: Database) -> None:
    asked = await ask(database, "start_download")
    request = await wire.expect(ASKS)
    await wire.send(answer(request, success=False, error="download already in progress"))
    state, came = await ended(database, asked)
    assert (state, came["success"], came["error"]) == ("done", False, "download already in progress")


async def test_a_reader_that_clears_its_memory_is_left_alone_by_whichever_session(
    inside: Inside, database: Database
) -> None:
    async with forwarder(inside.url, inside.token, [READER, OTHER]) as wire:
        asked = await ask(database, "clear_records")
        await wire.send(answer(await wire.expect(ASKS)))
        assert (await ended(database, asked))[0] == "done"
        assert await ended(database, await ask(database, "get_info")) == ("refused", {"why": "clearing"})
    async with forwarder(inside.url, inside.token, [READER, OTHER]) as wire:
        assert await ended(database, await ask(database, "refresh")) == ("refused", {"why": "clearing"})
        await ask(database, "get_info", reader=OTHER)
        assert (await wire.expect(ASKS))["reader_ip"] == OTHER
        left_s = await database.fetchval(
            "SELECT extract(epoch FROM clearing_until - clock_timestamp())::float FROM clearing_readers"
        )
        assert 0 < left_s <= control.CLEARING_S == 15


async def test_a_reader_that_does_not_clear_its_memory_can_be_asked(wire: Wire, database: Database) -> None:
    asked = await ask(database, "clear_records")
    await wire.send(answer(await wire.expect(ASKS), success=False, error="reader not connected"))
    assert (await ended(database, asked))[0] == "done"
    await ask(database, "get_info")
    assert (await wire.expect(ASKS))["action"] == {"type": "get_info"}


@pytest.mark.parametrize("action", ["get_info", "clear_records"])
async def test_nothing_is_written_to_a_forwarder_that_has_sent_a_text(
    wire: Wire, database: Database, writer: object, action: str
) -> None:
    await wire.send(batch(frame(1)))
    await wire.ack()
    asked = await ask(database, "reconnect")
    await wire.send(answer(await wire.expect(ASKS)))
    assert (await ended(database, asked))[0] == "done"
    await wire.send(batch(frame(2), read(3)))
    await wire.ack()
    await wire.send(batch(frame(4)))
    await wire.ack()
    assert await ended(database, await ask(database, action)) == ("refused", {"why": "too_old"})
    restart = await command(database, "restart")  # which it knows, and comes next on the wire
    await wire.send(answer(await wire.expect("restart_request")))
    assert (await ended(database, restart))[0] == "done"


@pytest.mark.parametrize("by", ["vanishing", "garbage"])
async def test_a_session_that_ends_before_the_answer_says_so(wire: Wire, database: Database, by: str) -> None:
    asked, waiting = await ask(database, "get_info"), await ask(database, "get_info", reader=OTHER)
    await wire.expect(ASKS)
    await taken(database, waiting)
    await (wire.drop() if by == "vanishing" else wire.send("garbage"))
    assert await ended(database, asked) == ("lost", {"why": "disconnected"})
    assert await ended(database, waiting) == ("absent", None)


async def test_what_ends_without_a_word_was_not_taken_if_the_session_ended_with_it(
    wire: Wire, database: Database
) -> None:
    asked = await ask(database, "clear_records")
    await wire.expect(ASKS)
    await wire.drop()
    assert await ended(database, asked) == ("lost", {"why": "disconnected"})


async def test_beyond_eight_a_command_is_told_to_come_back(wire: Wire, database: Database) -> None:
    for _ in range(8):
        await taken(database, await ask(database, "get_info"))
    assert await ended(database, await ask(database, "get_info")) == ("busy", None)


async def test_the_info_of_an_answer_is_the_reader_s(wire: Wire, database: Database) -> None:
    asked = await ask(database, "set_recording")
    assert await ended(database, asked) == ("refused", None)  # what it is to be set to is wanting
    asked = await ask(database, "get_info")
    request = await wire.expect(ASKS)
    await wire.send(answer(request, reader_ip=READER, reader_info={"recording": True, "newer": 1}))
    assert (await ended(database, asked))[1]["reader_info"] == {"recording": True}

    async def stored() -> bool:
        found = await database.fetchval("SELECT reader_info ->> 'recording' FROM reader_states")
        return bool(found == "true")

    await wait_until(stored, what="the reader's info")


async def test_an_info_that_is_not_right_costs_no_answer(wire: Wire, database: Database) -> None:
    asked = await ask(database, "get_info")
    request = await wire.expect(ASKS)
    await wire.send(answer(request, reader_ip=READER, reader_info={"connect_failures": "many"}))
    state, came = await ended(database, asked)
    assert (state, came["success"], came["reader_info"]) == ("done", True, None)
