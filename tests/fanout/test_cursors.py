"""Acks on their way to the database."""

import asyncio
from uuid import UUID, uuid4

import asyncpg
import pytest

from fanout import cursors as module
from fanout import metrics
from fanout.cursors import Cursors
from fanout.store import CursorKey
from shared.database import Connection
from shared.process import Process
from tests.delivery import stored
from tests.waiting import PATIENCE_S


def writes() -> float:
    return float(metrics.CURSOR_WRITES._value.get())


async def last_seqs(database: Connection) -> dict[str, int]:
    rows = await database.fetch("SELECT receiver_id, last_seq FROM receiver_cursors")
    return {row["receiver_id"]: row["last_seq"] for row in rows}


@pytest.fixture
def cursors(process: Process) -> Cursors:
    return Cursors(process)


async def test_many_acks_of_many_receivers_are_one_statement(
    cursors: Cursors, database: Connection, stream_id: UUID
) -> None:
    await stored.store_many(database, stream_id, 100)
    before = writes()
    for seq in range(1, 101):
        for receiver in range(50):
            cursors.advance(CursorKey(f"tent-{receiver}", stream_id, 1), seq)
    await cursors.flush()
    assert writes() == before + 1
    assert await last_seqs(database) == {f"tent-{n}": 100 for n in range(50)}


async def test_a_lower_ack_does_not_replace_a_higher_one_that_waits(
    cursors: Cursors, database: Connection, stream_id: UUID
) -> None:
    await stored.store_many(database, stream_id, 10)
    for seq in (7, 3):
        cursors.advance(CursorKey("tent", stream_id, 1), seq)
    await cursors.flush()
    assert await last_seqs(database) == {"tent": 7}


async def test_nothing_is_written_when_nothing_moved(cursors: Cursors) -> None:
    before = writes()
    await cursors.flush()
    assert writes() == before


async def test_more_than_one_statement_carries_go_with_the_next(
    cursors: Cursors, database: Connection, stream_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WRITE_CURSORS", 10)
    await stored.store_many(database, stream_id, 1)
    for receiver in range(25):
        cursors.advance(CursorKey(f"tent-{receiver}", stream_id, 1), 1)
    before = writes()
    await cursors.flush()
    assert (writes() - before, len(await last_seqs(database))) == (3, 25)


async def test_what_cannot_be_written_waits_and_takes_what_comes_meanwhile(
    cursors: Cursors, database: Connection, stream_id: UUID
) -> None:
    await stored.store_many(database, stream_id, 10)
    cursors.advance(CursorKey("tent", stream_id, 1), 5)
    await database.execute("ALTER TABLE receiver_cursors RENAME TO away")
    await cursors.flush()
    cursors.advance(CursorKey("tent", stream_id, 1), 3)
    cursors.advance(CursorKey("bar", stream_id, 1), 2)
    await database.execute("ALTER TABLE away RENAME TO receiver_cursors")
    await cursors.flush()
    assert await last_seqs(database) == {"tent": 5, "bar": 2}


async def test_cursors_of_a_deleted_stream_keep_no_others_from_being_written(
    cursors: Cursors, database: Connection, stream_id: UUID
) -> None:
    await stored.store_many(database, stream_id, 1)
    cursors.advance(CursorKey("tent", uuid4(), 1), 5)
    cursors.advance(CursorKey("tent", stream_id, 1), 1)
    await cursors.flush()
    assert await last_seqs(database) == {"tent": 1}
    assert not cursors._moved


async def test_an_administrator_who_takes_his_time_over_one_stream_keeps_no_others_cursors(
    cursors: Cursors, database: Connection, database_url: str, stream_id: UUID
) -> None:
    other = await stored.make_stream(database, "start", "other")
    for each in (stream_id, other):
        await stored.store_many(database, each, 10)
        cursors.advance(CursorKey("tent", each, 1), 3)
    await cursors.flush()
    administrator = await asyncpg.connect(database_url)
    async with administrator.transaction():
        await administrator.execute("DELETE FROM receiver_cursors WHERE stream_id = $1", stream_id)
        for each in (stream_id, other):
            cursors.advance(CursorKey("tent", each, 1), 7)
        async with asyncio.timeout(PATIENCE_S):
            await cursors.flush()
        assert await by_stream(database) == {stream_id: 3, other: 7}
    await administrator.close()
    await cursors.flush()
    assert await by_stream(database) == {stream_id: 7, other: 7}


async def by_stream(database: Connection) -> dict[UUID, int]:
    rows = await database.fetch("SELECT stream_id, last_seq FROM receiver_cursors")
    return {row["stream_id"]: row["last_seq"] for row in rows}
