"""`POST /api/v1/streams/{id}/reconcile`: what only a reader's memory has, found and left to be stored."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import pytest

from api.alerts.evaluator import Evaluation
from api.app import API
from api.clocks.looking import ClockLooks
from api.races.rosters import Imports
from api.races.store import mappings
from api.reconcile import reconciling, routes, store
from shared.protocol.memory import memory_of
from shared.runtime.process import Process as ApiProcess
from tests.api.conftest import RACES, Ask, Client, Noted
from tests.api.looking import ago, looked
from tests.api.recording import recording
from tests.api.seeds import (
    Database,
    add_events,
    add_forwarder_session,
    add_metrics,
    add_process,
    add_stream,
)
from tests.api.test_races import form
from tests.services import Process
from tests.waiting import wait_until

READER = "10.0.0.1:10000"
LINE = "aa400000000123450a2a01123018455927a7"
OTHER = "aa400000000123450a2a0112301846000091"
DAMAGED = LINE[:-1] + "8"


def path(stream_id: UUID, *, store: bool = False) -> str:
    return f"/api/v1/streams/{stream_id}/reconcile{'?store=true' if store else ''}"


def file(*lines: str) -> aiohttp.FormData:
    return form("".join(f"{line}\r\n" for line in lines))


async def left(database: Database) -> list[str]:
    """Return the lines that were left to be stored, by their numbers; which are 1, 2, 3 and so on."""
    rows = await database.fetch("SELECT first_seq, lines FROM memory_parts ORDER BY stream_epoch, first_seq")
    following = 1
    for row in rows:
        assert row["first_seq"] == following
        following += len(row["lines"])
    return [line.decode() for row in rows for line in row["lines"]]


def missed(answer: dict[str, Any]) -> list[str]:
    return sorted(each["line"] for each in answer["missed"] for _ in range(each["copies"]))


async def test_the_twelve_lines_that_never_came_are_found_and_nothing_is_changed(
    ask: Ask, database: Database
) -> None:
    lines, stream = recording(), await add_stream(database)
    doubled = {
        n for n, line in enumerate(lines) if line == next(x for n, x in enumerate(lines) if x in lines[:n])
    }
    gone = {*sorted(doubled)[:2], *range(100, 4_100, 400)}
    assert len(gone) == 12
    await add_events(database, stream, [line for n, line in enumerate(lines) if n not in gone])
    answer = await ask(
        "POST", path(stream), data=form("Reader 4.1\r\n" + "".join(f"{each}\r\n" for each in lines))
    )
    assert missed(answer) == sorted(lines[n] for n in gone)
    assert (answer["in_file"], answer["with_us"], answer["in_both"]) == (4_116, 4_104, 4_104)
    assert (answer["only_in_file"], answer["only_with_us"], answer["passed_over"]) == (12, 0, 1)
    assert sum(each["only_in_file"] for each in answer["minutes"]) == 12
    assert answer["minutes"][0]["minute"] == "2026-05-03T10:00:00"
    assert answer["left"] is None
    assert await left(database) == []
    assert await database.fetchval("SELECT count(*) FROM activity") == 0


async def test_what_only_we_have_is_counted_within_the_time_of_the_file(ask: Ask, database: Database) -> None:
    stream = await add_stream(database)
    # Of another day, and what servers use among themselves: none of it is what a reader's memory of that time has not.
    await add_events(database, stream, [LINE, OTHER, OTHER, recording()[0]])
    await add_events(database, stream, [OTHER], first_seq=9, read_type="__internal")
    answer = await ask("POST", path(stream), data=file(LINE, OTHER))
    assert (answer["with_us"], answer["only_with_us"], answer["only_in_file"]) == (3, 1, 0)


async def test_what_is_stored_as_frames_is_the_same_line(ask: Ask, database: Database) -> None:
    stream = await add_stream(database)
    await add_events(database, stream, [f"{LINE}\r\n".encode(), f"{OTHER}\n".encode()], framed=True)
    assert (await ask("POST", path(stream), data=file(LINE, OTHER, OTHER)))["only_in_file"] == 1


async def test_what_only_the_file_has_is_left_once_however_often_it_is_brought(
    ask: Ask, database: Database, noted: Noted
) -> None:
    stream = await add_stream(database, epoch=7)
    await add_events(database, stream, [LINE], epoch=7)
    brought = file(OTHER, LINE, OTHER, f"{DAMAGED} damaged")
    answer = await ask("POST", path(stream, store=True), data=brought)
    assert answer["left"] == {
        "lines": 3,
        "forwarder_id": "start",
        "reader_ip": memory_of(READER),
        "stream_epoch": 7,
    }
    assert await left(database) == [OTHER, OTHER, DAMAGED]
    await noted("memory_left_to_be_stored", lines=3, reader_ip=memory_of(READER))
    again = await ask("POST", path(stream, store=True), data=file(OTHER, LINE, OTHER, f"{DAMAGED} damaged"))
    assert (again["left"]["lines"], again["waiting"], again["only_in_file"]) == (0, 3, 0)
    # What comes with another file is numbered behind it.
    await ask("POST", path(stream, store=True), data=file(OTHER, OTHER, OTHER))
    assert await left(database) == [OTHER, OTHER, DAMAGED, OTHER]


@pytest.mark.parametrize("still_there", [True, False], ids=["stored, and not taken away yet", "stored"])
async def test_what_its_memory_has_already_counts_as_ours_once(
    ask: Ask, database: Database, *, still_there: bool
) -> None:
    stream = await add_stream(database)
    await ask("POST", path(stream, store=True), data=file(LINE, OTHER))
    memory = await add_stream(database, reader_ip=memory_of(READER))
    await add_events(database, memory, [f"{LINE}\r\n".encode(), f"{OTHER}\r\n".encode()], framed=True)
    await add_metrics(database, memory, dedup=2)
    if not still_there:
        await database.execute("DELETE FROM memory_parts")
    answer = await ask("POST", path(stream, store=True), data=file(LINE, OTHER, OTHER))
    assert (answer["with_us"], answer["with_us_of_memory"], answer["waiting"]) == (2, 2, 0)
    assert answer["left"]["lines"] == 1
    rows = await database.fetch("SELECT first_seq, lines FROM memory_parts ORDER BY part_id DESC")
    assert tuple(rows[0]) == (3, [OTHER.encode()])


async def test_a_number_is_given_once_also_where_a_streams_past_was_deleted(
    ask: Ask, database: Database
) -> None:
    """Receivers know what they have had by its number."""
    stream = await add_stream(database, epoch=2)
    await ask("POST", path(stream, store=True), data=file(LINE, OTHER))
    await add_stream(database, reader_ip=memory_of(READER), epoch=2)
    await database.execute("DELETE FROM memory_parts")
    await ask("POST", path(stream, store=True), data=file(OTHER))
    assert await database.fetchval("SELECT first_seq FROM memory_parts") == 3
    # In another epoch they are others.
    await database.execute("DELETE FROM memory_parts")
    await database.execute("UPDATE streams SET stream_epoch = 3")
    await ask("POST", path(stream, store=True), data=file(OTHER))
    assert await database.fetchval("SELECT first_seq FROM memory_parts") == 1


async def test_who_brings_the_same_file_waits_for_who_compares_longer_than_for_a_table(
    ask: Ask, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream, lock = await add_stream(database), store.lock

    async def with_little_patience(connection: Any, reader: store.Reader) -> None:
        await connection.execute("SET LOCAL lock_timeout = '20ms'")
        await lock(connection, reader)

    monkeypatch.setattr(store, "lock", with_little_patience)
    async with database.transaction():
        await lock(database, store.Reader("start", READER, 1, ""))
        second = asyncio.ensure_future(ask("POST", path(stream, store=True), data=file(LINE)))
        await wait_until(
            lambda: database.fetchval(
                "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted AND locktype = 'advisory'"
            ),
            what="the second to wait",
        )
        assert not (await asyncio.wait([second], timeout=0.1))[0]
    assert (await second)["left"]["lines"] == 1


async def test_a_file_that_takes_long_is_in_no_roster_s_way_and_in_the_next_memory_s(
    ask: Ask, client: Client, race: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "WAITS_S", 0.01)
    stream = await add_stream(database)
    api = client.app[API]
    async with api.part(routes.Comparing).turn():
        refused = await ask("POST", path(stream), status=503, data=file(LINE))
        assert "memory is being compared" in refused["message"]
        async with api.part(Imports).place():
            await ask("POST", f"{RACES}/{race}/participants/upload", data=form("1,Byron,Ada\n"))
    async with AsyncExitStack() as stack:
        for _ in range(2):
            await stack.enter_async_context(api.part(Imports).place())
        assert (await ask("POST", path(stream), data=file(LINE)))["only_in_file"] == 1


async def test_of_two_processes_that_are_brought_the_same_file_one_leaves_it(
    apis: list[Process], http: aiohttp.ClientSession, database: Database
) -> None:
    stream = await add_stream(database)
    lines = recording()
    await add_events(database, stream, lines[:-700])

    async def bring(process: Process) -> int:
        async with http.post(f"{process.url}{path(stream, store=True)}", data=file(*lines)) as answer:
            assert answer.status == 200, await answer.text()
            return int((await answer.json())["left"]["lines"])

    assert sorted(await asyncio.gather(*(bring(process) for process in apis * 2))) == [0, 0, 0, 700]
    # Of copies that are there more often than with us it is the first that counts as missing.
    assert sorted(await left(database)) == sorted(lines[-700:])


async def test_reads_that_come_while_the_file_is_compared_are_not_left_as_well(
    ask: Ask, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = await add_stream(database)
    lock = store.lock

    async def comes_meanwhile(*given: Any) -> None:
        await lock(*given)
        await add_events(database, stream, [LINE])

    monkeypatch.setattr(store, "lock", comes_meanwhile)
    answer = await ask("POST", path(stream, store=True), data=file(LINE, OTHER))
    assert (answer["left"]["lines"], await left(database)) == (1, [OTHER])


async def test_a_file_that_cannot_be_is_refused_with_why(
    ask: Ask, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = await add_stream(database)
    memory = await add_stream(database, reader_ip=memory_of(READER))
    long = await add_stream(database, reader_ip="x" * 250)
    assert (
        "begin with aa" in (await ask("POST", path(stream), status=400, data=form("a banner\r\n")))["message"]
    )
    assert (await ask("POST", path(uuid4()), status=404, data=file(LINE)))["code"] == "NOT_FOUND"
    assert "own stream" in (await ask("POST", path(memory), status=409, data=file(LINE)))["message"]
    assert "248 characters" in (await ask("POST", path(long), status=409, data=file(LINE)))["message"]
    await ask("POST", path(stream), status=415, json={})
    monkeypatch.setattr(routes, "MOST_BYTES", 100)
    await ask("POST", path(stream), status=413, data=file(*[LINE] * 3))
    monkeypatch.setattr(reconciling, "MOST_WAITING", 1)
    await ask("POST", path(stream, store=True), data=file(LINE))
    refused = await ask("POST", path(stream, store=True), status=409, data=file(OTHER))
    assert "wait to be stored" in refused["message"]
    assert await left(database) == [LINE]


async def test_minutes_and_lines_beyond_what_is_shown_are_counted(
    ask: Ask, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "MINUTES_SHOWN", 1)
    monkeypatch.setattr(routes, "LINES_SHOWN", 1)
    stream = await add_stream(database)
    await add_events(database, stream, [LINE])
    answer = await ask("POST", path(stream), data=file(LINE, OTHER, DAMAGED))
    assert [each["minute"] for each in answer["minutes"]] == ["2001-12-30T18:46:00"]
    assert (answer["minutes_left_out"], answer["only_in_file"], len(answer["missed"])) == (2, 2, 1)


async def test_neither_silence_nor_clock_is_judged_of_what_a_memory_had(
    ask: Ask, database: Database, evaluation: Evaluation, process: ApiProcess
) -> None:
    """Its lines are hours old when they come, and then no more come. Beside it is a stream that is judged by both."""
    long_ago = await ago(database, 60)
    await add_forwarder_session(database, "start", await add_process(database, "gateway"))
    for reader_ip in (READER, memory_of(READER)):
        stream = await add_stream(database, reader_ip=reader_ip)
        await add_metrics(database, stream, dedup=1, received_at=long_ago)
        await add_events(database, stream, [LINE], received_at=long_ago)
    alerts = (await looked(ask, evaluation))["troubles"]
    assert [(each["signal"], each["title"]) for each in alerts] == [("last_read", f"start · {READER}")]
    assert await ClockLooks(process).look(turn_s=0)
    told = "SELECT reader_ip FROM reader_clocks JOIN streams USING (stream_id) WHERE told_ms IS NOT NULL"
    assert [row["reader_ip"] for row in await database.fetch(told)] == [READER]


async def test_no_device_is_asked_to_begin_an_epoch_of_what_a_memory_had(
    ask: Ask, database: Database, process: ApiProcess, gateway_id: UUID, race: str
) -> None:
    stream = await add_stream(database)
    memory = await add_stream(database, reader_ip=memory_of(READER))
    refused = await ask("POST", f"/api/v1/streams/{memory}/reset-epoch", status=409)
    assert "reset the reader's own stream" in refused["message"]
    await ask("PUT", "/api/v1/forwarders/start/race", json={"race_id": race})
    # Those that begin with the race; named one by one neither.
    assert await mappings.streams_of_race(process.pool, UUID(race)) == await mappings.streams_of(
        process.pool, [memory, stream]
    )
    assert (await mappings.streams_of_race(process.pool, UUID(race))).keys() == {stream}


async def test_a_forwarder_is_not_missed_for_what_a_memory_of_it_had(
    ask: Ask, database: Database, evaluation: Evaluation
) -> None:
    """All of its readers are closed: that nobody closes a memory makes no difference."""
    stream = await add_stream(database)
    await add_stream(database, reader_ip=memory_of(READER))
    await add_forwarder_session(database, "start", await add_process(database, "gateway"))
    await database.execute("UPDATE forwarder_sessions SET ended_at = $1", await ago(database, 60))
    gone = [
        each["signal"] for each in (await looked(ask, evaluation))["troubles"] if each["ended_at"] is None
    ]
    assert "forwarder_gone" in gone
    await ask("PATCH", f"/api/v1/streams/{stream}", json={"closed": True})
    cleared = (await looked(ask, evaluation))["troubles"]
    assert [each["quiet"] for each in cleared if each["signal"] == "forwarder_gone"] in ([], ["clearing"])
