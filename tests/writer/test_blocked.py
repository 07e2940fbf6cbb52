"""An error of the system puts nothing aside: what it meets waits, in order, and goes on when it is mended."""

import re
from collections.abc import AsyncIterator, MutableMapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from structlog.testing import capture_logs

from deploy.cli.roles import apply_roles
from shared.db.errors import DatabaseFault, DatabaseRefused, DatabaseUnavailable, DiskFull, translated
from shared.runtime.process import Process
from tests.failure.facts import Database, lines
from tests.gateway.conftest import running_writer
from tests.waiting import wait_until
from tests.writer.inbox import add_stream, drain, event, outcomes, put
from writer import store
from writer.blocked import AGAIN_S, BETWEEN_S, BlockedStreams
from writer.store import upkeep

Logs = list[MutableMapping[str, Any]]

# What the system says when it is at fault itself, and one that nobody knows.
SYSTEM = [
    "58030",
    "58P01",
    "XX000",
    "XX001",
    "XX002",
    "42P01",
    "42501",
    "42883",
    "55000",
    "0A000",
    "54000",
    "RT999",
]
DATA = ["22021", "22P05", "23502", "23514"]


async def refuse(database: Database, sqlstates: list[str]) -> dict[str, UUID]:
    """Make a stream for each error, and have the table of events raise it for whatever comes of that stream."""
    streams = {sqlstate: await add_stream(database, sqlstate) for sqlstate in sqlstates}
    cases = " ".join(f"WHEN '{stream_id}' THEN '{sqlstate}'" for sqlstate, stream_id in streams.items())
    await database.execute(f"""
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
        DECLARE
            sqlstate text := CASE NEW.stream_id {cases} END;
        BEGIN
            IF sqlstate <> '' THEN RAISE EXCEPTION 'as the test asks' USING ERRCODE = sqlstate; END IF;
            RETURN NEW;
        END $$;
        CREATE TRIGGER refuses BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION refuse();
    """)
    return streams


MEND = "DROP TRIGGER refuses ON events"


async def stored(database: Database, forwarder_id: str, seqs: list[int]) -> bool:
    return [seq for _, seq, _ in await lines(database, forwarder_id, "r")] == seqs


def named(logs: Logs, *events: str) -> list[str]:
    return [entry["event"] for entry in logs if entry["event"] in events]


def problem(process: Process) -> str:
    return process.checks["drain"]() or ""


async def test_streams_that_the_system_cannot_write_wait_and_the_others_go_on(
    database: Database, database_url: str
) -> None:
    bad, good = await refuse(database, SYSTEM), await add_stream(database, "good")
    waiting: list[int] = []
    for sqlstate, stream_id in bad.items():
        waiting += await put(database, stream_id, [event(1), event(2)], forwarder_id=sqlstate)
        waiting += await put(database, stream_id, [event(3)], forwarder_id=sqlstate)
    await put(database, good, [event(1)], forwarder_id="good")
    with capture_logs() as logs:
        async with running_writer(database_url) as process:
            await wait_until(partial(stored, database, "good", [1]), what="the other stream's read")
            for seq in range(2, 6):
                await put(database, good, [event(seq)], forwarder_id="good")
            await wait_until(partial(stored, database, "good", [1, 2, 3, 4, 5]), what="its next ones")
            assert f"{len(SYSTEM)} streams cannot be written" in (process.concerns["drain"]() or "")
            assert not problem(process)
            assert not set(waiting) & (await outcomes(database)).keys()
            await database.execute(MEND)
            for sqlstate in SYSTEM:
                await wait_until(partial(stored, database, sqlstate, [1, 2, 3]), what="what has waited")
            await wait_until(lambda: process.concerns["drain"]() is None, what="the end of it")
    assert await database.fetchval("SELECT count(*) FROM poisoned_parts") == 0
    assert set(waiting) <= (await outcomes(database)).keys()
    assert set((await outcomes(database)).values()) == {"stored"}
    assert named(logs, "drain_fault", "drain_fault_over", "part_dead_lettered") == [
        "drain_fault",
        "drain_fault_over",
    ]


async def test_what_the_data_of_a_part_cause_is_put_aside_once_and_leaves_when_it_is_stored(
    database: Database, database_url: str
) -> None:
    streams = await refuse(database, DATA)
    async with running_writer(database_url):
        for _ in range(3):
            parts = [
                (await put(database, stream_id, [event(1), event(2)], forwarder_id=sqlstate))[0]
                for sqlstate, stream_id in streams.items()
            ]
            await wait_until(partial(settled, database, parts, "poisoned"), what="all to be put aside")
    assert await database.fetchval("SELECT count(*) FROM poisoned_parts") == len(DATA)
    await database.execute(MEND)
    for sqlstate, stream_id in streams.items():
        await put(database, stream_id, [event(1), event(3)], forwarder_id=sqlstate)
    await drain(database)
    assert await upkeep.resolve_dead_letters(database) == []
    for sqlstate, stream_id in streams.items():
        await put(database, stream_id, [event(2)], forwarder_id=sqlstate)
    await drain(database)
    assert sorted(await upkeep.resolve_dead_letters(database)) == [
        upkeep.DeadLetter(sqlstate, stream_id, 1) for sqlstate, stream_id in streams.items()
    ]
    assert await database.fetchval("SELECT count(*) FROM poisoned_parts") == 0


async def settled(database: Database, parts: list[int], outcome: str) -> bool:
    found = await outcomes(database)
    return all(found.get(part) == outcome for part in parts)


@pytest.mark.parametrize("beside", [False, True])
async def test_a_dead_letter_is_kept_as_it_came_and_leaves_with_its_line_in_the_other_form(
    database: Database, *, beside: bool
) -> None:
    stream_id = await add_stream(database)
    await put(database, stream_id, [event(1, b"mine\r\n")])
    (key,) = await store.queued_parts(database, stream_id, 1)
    assert await store.put_aside(database, key, "a test")
    assert await database.fetchval("SELECT framed FROM poisoned_parts")
    if beside:
        await put(database, stream_id, [event(1, "yours")])
    await put(database, stream_id, [event(1, "mine")])
    await drain(database)
    assert await upkeep.resolve_dead_letters(database) == [upkeep.DeadLetter("f", stream_id, 1)]


async def test_a_dead_letter_whose_line_is_beside_an_event_leaves_too(database: Database) -> None:
    stream_id = await add_stream(database)
    (part,) = await put(database, stream_id, [event(1, "mine")])
    (key,) = await store.queued_parts(database, stream_id, 1)
    assert key.part_id == part
    assert await store.put_aside(database, key, "a test")
    await put(database, stream_id, [event(1, "yours")])
    await drain(database)
    assert await upkeep.resolve_dead_letters(database) == []
    await put(database, stream_id, [event(1, "mine")])
    await drain(database)
    assert await upkeep.resolve_dead_letters(database) == [upkeep.DeadLetter("f", stream_id, 1)]


@asynccontextmanager
async def writer_by_role(database_url: str) -> AsyncIterator[Process]:
    await apply_roles(database_url, passfiles=None)
    async with running_writer(re.sub(r"//\w+@", "//rt_writer@", database_url)) as process:
        yield process


async def stage_both(database: Database, one: UUID, two: UUID, *, seq: int = 2) -> None:
    await put(database, one, [event(seq)], forwarder_id="one")
    await put(database, two, [event(seq)], forwarder_id="two")


@pytest.mark.parametrize(
    ("broken", "mended"),
    [
        ("REVOKE INSERT ON events FROM rt_writer", "GRANT INSERT ON events TO rt_writer"),
        (
            "REVOKE EXECUTE ON PROCEDURE drain FROM rt_writer",
            "GRANT EXECUTE ON PROCEDURE drain TO rt_writer",
        ),
        ("REVOKE SELECT ON inbox FROM rt_writer", "GRANT SELECT ON inbox TO rt_writer"),
        ("ALTER TABLE epoch_chips RENAME TO elsewhere", "ALTER TABLE elsewhere RENAME TO epoch_chips"),
        ("ALTER TABLE inbox RENAME TO elsewhere", "ALTER TABLE elsewhere RENAME TO inbox"),
    ],
)
async def test_where_nothing_can_be_stored_the_writer_is_not_ready_and_says_why(
    database: Database, database_url: str, broken: str, mended: str
) -> None:
    one, two = await add_stream(database, "one"), await add_stream(database, "two")
    with capture_logs() as logs:
        async with writer_by_role(database_url) as process:
            await stage_both(database, one, two, seq=1)
            await wait_until(partial(stored, database, "two", [1]), what="the first reads")
            await database.execute(broken)
            if " inbox " not in broken:
                await stage_both(database, one, two)
            await wait_until(lambda: "Error: " in problem(process), what="the writer to say so")
            await database.execute(mended)
            if " inbox " in broken:
                await stage_both(database, one, two)
            await wait_until(partial(stored, database, "one", [1, 2]), what="the one's read")
            await wait_until(partial(stored, database, "two", [1, 2]), what="the other's read")
            await wait_until(lambda: not problem(process), what="the writer to be ready")
            await wait_until(lambda: process.concerns["drain"]() is None, what="its concern to be over")
    begun = named(logs, "drain_fault", "drain_interrupted")
    ended = named(logs, "drain_fault_over", "drain_resumed")
    assert len(begun) == len(ended) <= 2, logs
    assert await database.fetchval("SELECT count(*) FROM poisoned_parts") == 0


@pytest.mark.parametrize(
    ("sqlstate", "meaning"),
    [
        *((each, DatabaseFault) for each in SYSTEM),
        *((each, DatabaseRefused) for each in [*DATA, "22ZZZ", "23505"]),
        ("2200H", DatabaseFault),
        ("53100", DiskFull),
        ("53200", DatabaseUnavailable),
        ("40P01", DatabaseUnavailable),
        ("57014", DatabaseUnavailable),
    ],
)
async def test_what_an_error_means_hangs_on_its_sqlstate_alone(
    database: Database, sqlstate: str, meaning: type[Exception]
) -> None:
    with pytest.raises((DatabaseUnavailable, DatabaseRefused)) as caught, translated():
        await database.execute(
            f"DO $$ BEGIN RAISE 'so' USING ERRCODE = '{sqlstate}', DETAIL = 'a row'; END $$"
        )
    assert type(caught.value) is meaning
    assert "a row" not in str(caught.value)
    assert isinstance(caught.value.__cause__, asyncpg.PostgresError)


def test_streams_at_fault_are_tried_in_turn_and_not_all_at_once() -> None:
    now = 0.0
    blocked = BlockedStreams(lambda: now)
    streams = [UUID(int=number) for number in range(3)]
    for stream_id in streams:
        blocked.add(stream_id, DatabaseFault("so"))
    assert blocked.total
    assert blocked.next_due() is None
    now += AGAIN_S
    assert blocked.next_due() == streams[0]
    blocked.add(streams[0], DatabaseFault("so"))
    assert blocked.next_due() is None  # not even the next one
    now += BETWEEN_S
    assert blocked.next_due() == streams[1]
    blocked.over(streams[1])
    assert blocked.next_due() == streams[2]
    blocked.stored()
    assert [blocked.total, blocked.streams] == [False, [streams[2], streams[0]]]
    assert blocked.problem == "2 streams cannot be written: so"
