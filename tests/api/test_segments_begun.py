"""A race that begins while boundaries of its stream are moved: neither is lost to the other, and nobody at the gun
waits for who only looks.
"""

import asyncio
from itertools import count
from typing import Any, NamedTuple
from uuid import UUID

import pytest

from api.live.races import RaceNews
from api.segments.pieces import Span
from api.segments.store import rows
from shared.runtime.process import Process
from tests.api.conftest import RACES, Ask
from tests.api.seeds import Database, add_forwarder_session, add_process, add_race, add_stream
from tests.api.segmented import add_segment
from tests.api.test_segments import put, segment
from tests.api.test_views import ADA, Said, say
from tests.locks import SOMEBODY_WAITS
from tests.waiting import wait_until

_RESERVE = "SELECT reserve_race_epoch($1, 1, $2, $3, NULL)"
OPEN, CLOSED = Span((1, 2), None), Span((1, 2), (2, 1))


class Field(NamedTuple):
    """A stream with five reads in its epoch; from the second on all that comes is of the race that is run."""

    stream_id: UUID
    session_id: UUID
    run: UUID
    next: UUID


@pytest.fixture
async def field(database: Database) -> Field:
    stream_id = await add_stream(database)
    await say(database, stream_id, [Said(ADA, 10 * n, 10 * n) for n in range(5)])
    await add_forwarder_session(database, "start", await add_process(database, "gateway"))
    session_id = await database.fetchval("SELECT session_id FROM forwarder_sessions")
    run, following = await add_race(database, "A"), await add_race(database, "B")
    await add_segment(database, run, stream_id, *OPEN)
    return Field(stream_id, session_id, run, following)


def begins(process: Process, field: Field) -> "asyncio.Future[Any]":
    """Let the next race begin, as a gateway does, on a connection of its own."""
    return asyncio.ensure_future(
        process.pool.fetchval(_RESERVE, field.stream_id, field.session_id, field.next)
    )


async def begins_at_once(process: Process, field: Field) -> int | None:
    """The same, without patience for who holds a lock."""
    async with process.pool.acquire() as gateway, gateway.transaction():
        await gateway.execute("SET LOCAL lock_timeout = '2s'")
        epoch: int | None = await gateway.fetchval(_RESERVE, field.stream_id, field.session_id, field.next)
        return epoch


async def waits(database: Database, task: "asyncio.Future[Any]") -> bool:
    """Whether it is as far as it comes: for a lock, or done."""
    return task.done() or bool(await database.fetchval(SOMEBODY_WAITS))


async def of_run(database: Database, field: Field) -> list[Span]:
    return await rows.spans(database, field.stream_id, field.run)


@pytest.mark.parametrize("begun", ["before", "behind"])
async def test_who_begins_while_boundaries_are_put_ends_what_is_put(
    process: Process, database: Database, field: Field, begun: str
) -> None:
    async with process.pool.acquire() as moving, moving.transaction():
        await rows.hold(moving, field.stream_id)
        if begun == "before":
            beginning = begins(process, field)
            await wait_until(lambda: waits(database, beginning), what="the race that begins")
        await rows.put(moving, field.stream_id, field.run, [OPEN])
        if begun == "behind":
            beginning = begins(process, field)
            await wait_until(lambda: waits(database, beginning), what="the race that begins")
    assert await beginning == 2
    assert await of_run(database, field) == [CLOSED]


async def test_who_moves_while_a_race_begins_is_told(
    ask: Ask, process: Process, database: Database, field: Field
) -> None:
    fingerprint = await rows.fingerprint(database, field.stream_id)
    async with process.pool.acquire() as gateway, gateway.transaction():
        assert await gateway.fetchval(_RESERVE, field.stream_id, field.session_id, field.next) == 2
        moving = asyncio.ensure_future(
            ask(
                "PUT",
                f"{RACES}/{field.run}/segments/{field.stream_id}",
                json={"segments": [segment((1, 1), None)], "expected_fingerprint": fingerprint},
                status=409,
            )
        )
        await wait_until(lambda: waits(database, moving), what="who moves")
    assert "somebody else has moved" in (await moving)["message"]
    assert await of_run(database, field) == [CLOSED]


@pytest.mark.parametrize("preview", [True, False], ids=["preview", "apply"])
async def test_a_race_begins_while_somebody_else_counts(
    ask: Ask, process: Process, database: Database, field: Field, *, preview: bool
) -> None:
    fingerprint = await rows.fingerprint(database, field.stream_id)
    async with database.transaction():
        # Who counts looks at reads, and comes no further.
        await database.execute("LOCK TABLE events IN ACCESS EXCLUSIVE MODE")
        moving = asyncio.ensure_future(
            put(
                *(ask, field.run, field.stream_id, segment((1, 3), None)),
                preview=preview,
                expected_fingerprint=fingerprint,
                status=200 if preview else 409,
            )
        )
        await wait_until(lambda: waits(database, moving), what="who counts")
        assert await begins_at_once(process, field) == 2
        assert not moving.done()
    answer = await moving
    if preview:
        assert [each["reads"] for each in answer["moved"]] == [1]
    assert await of_run(database, field) == [CLOSED]


async def test_a_race_begins_while_people_of_the_other_are_imported(
    process: Process, database: Database, field: Field
) -> None:
    async with database.transaction():
        await database.execute("SELECT FROM races FOR NO KEY UPDATE")
        beginning = begins(process, field)
        await wait_until(lambda: waits(database, beginning), what="the race that begins")
        assert beginning.done()
    assert await beginning == 2
    assert await of_run(database, field) == [CLOSED]


async def test_who_moves_waits_for_an_import_without_the_gun(
    ask: Ask, process: Process, database: Database, field: Field
) -> None:
    fingerprint = await rows.fingerprint(database, field.stream_id)
    async with database.transaction():
        await database.execute("SELECT FROM races FOR NO KEY UPDATE")
        moving = asyncio.ensure_future(
            put(
                *(ask, field.run, field.stream_id, segment((1, 3), None)),
                expected_fingerprint=fingerprint,
                status=409,
            )
        )
        await wait_until(lambda: waits(database, moving), what="who moves")
        assert await begins_at_once(process, field) == 2
    await moving
    assert await of_run(database, field) == [CLOSED]


async def test_what_a_race_that_begins_has_ended_is_told_and_can_be_undone(
    ask: Ask, process: Process, database: Database, field: Field
) -> None:
    await database.execute("UPDATE race_segments SET from_seq = 3")
    await add_segment(database, field.run, field.stream_id, (1, 1), (1, 2))
    assert await begins(process, field) == 2
    (change,) = (await ask("GET", f"{RACES}/{field.run}/segments"))["changes"]
    assert (change["before"], change["after"]) == (
        [[1, 1, 1, 2], [1, 3, None, None]],
        [[1, 1, 1, 2], [1, 3, 2, 1]],
    )
    assert (change["changed_by"], change["undoes"], change["undoable"]) == ("begin of B", None, True)
    undone = await ask("POST", f"{RACES}/{field.run}/segment-changes/{change['change_id']}/undo", json={})
    assert undone["applied"]
    assert await of_run(database, field) == [Span((1, 1), (1, 2)), Span((1, 3), None)]


async def test_pages_hear_of_a_change_that_nobody_has_marked_the_race_with(
    process: Process, database: Database, field: Field
) -> None:
    news = RaceNews(process, clock=count(step=10).__next__)
    await news.next(telling=True)
    await database.execute(
        "INSERT INTO segment_changes (race_id, stream_id, before, after, changed_by)"
        " VALUES ($1, $2, '[]', '[]', 'begin of B')",
        field.run,
        field.stream_id,
    )
    await news.next(telling=True)
    assert news.any
