"""Acks on their way to the database, and cursors that are deleted under them."""

import asyncio
import math
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from uuid import UUID

import asyncpg
import pytest

from fanout import cursors as module
from fanout import metrics
from fanout.cursors import Cursors
from fanout.delivery import Cursor
from fanout.store import cursors as store
from fanout.store.cursors import CursorKey
from shared.db.channels import CURSORS
from shared.db.connections import Connection, Pool
from shared.db.errors import DatabaseUnavailable
from shared.db.listener import Listener
from shared.protocol.v1 import StreamRef
from shared.runtime.process import Process
from tests.delivery import stored
from tests.fanout.conftest import READER
from tests.metrics import total
from tests.waiting import PATIENCE_S, wait_until

REF = StreamRef("start", READER)


class Session:
    """Who holds cursors."""

    def __init__(self) -> None:
        self.restarted: list[StreamRef] = []

    def restart(self, ref: StreamRef) -> None:
        self.restarted.append(ref)


def at(seq: int) -> Cursor:
    """Say that all up to a number is acked, of a stream that has numbered and stored its events in the same order."""
    return Cursor(seq, seq, seq)


def writes() -> float:
    return total(metrics.CURSOR_WRITES)


async def last_seqs(database: Connection) -> dict[str, int]:
    rows = await database.fetch("SELECT receiver_id, last_seq FROM receiver_cursors")
    return {row["receiver_id"]: row["last_seq"] for row in rows}


@pytest.fixture
def cursors(process: Process, monkeypatch: pytest.MonkeyPatch) -> Cursors:
    monkeypatch.setattr(module, "WRITE_EVERY_S", 0.01)  # before they are made: their loop takes it from there
    return Cursors(process)


@pytest.fixture
async def key(database: Connection, stream_id: UUID) -> CursorKey:
    """The cursor of receiver `tent`."""
    return CursorKey(stream_id, await stored.make_cursor(database, "tent", stream_id))


async def keys_of(database: Connection, stream_id: UUID, count: int) -> list[CursorKey]:
    ids = [await stored.make_cursor(database, f"tent-{number}", stream_id) for number in range(count)]
    return [CursorKey(stream_id, id_) for id_ in ids]


async def test_many_acks_of_many_receivers_are_one_statement(
    cursors: Cursors, database: Connection, stream_id: UUID
) -> None:
    keys = await keys_of(database, stream_id, 50)
    before = writes()
    for seq in range(1, 101):
        for each in keys:
            cursors.advance(each, at(seq))
    await cursors.flush()
    assert writes() == before + 1
    assert await last_seqs(database) == {f"tent-{n}": 100 for n in range(50)}


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        ([at(7), at(3)], at(7)),
        ([at(3), at(7)], at(7)),
        # Of two sessions: neither covers the other, and the maximum of each was never true.
        ([Cursor(100, 100, 100), Cursor(50, 200, 50)], Cursor(100, 100, 100)),
        ([Cursor(50, 200, 50), Cursor(100, 100, 100)], Cursor(50, 200, 50)),
    ],
)
async def test_a_cursor_that_falls_behind_does_not_replace_another_that_waits(
    cursors: Cursors, database: Connection, key: CursorKey, words: list[Cursor], kept: Cursor
) -> None:
    for word in words:
        cursors.advance(key, word)
    await cursors.flush()
    row = await database.fetchrow("SELECT last_seq, position, event_count FROM receiver_cursors")
    assert row is not None
    assert Cursor(*row) == kept


async def test_nothing_is_written_when_nothing_moved(cursors: Cursors) -> None:
    before = writes()
    await cursors.flush()
    assert writes() == before


async def test_more_than_one_statement_carries_go_with_the_next(
    cursors: Cursors, database: Connection, stream_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WRITE_CURSORS", 10)
    for each in await keys_of(database, stream_id, 25):
        cursors.advance(each, at(1))
    before = writes()
    await cursors.flush()
    assert (writes() - before, set((await last_seqs(database)).values())) == (3, {1})


async def test_what_cannot_be_written_waits_and_takes_what_comes_meanwhile(
    cursors: Cursors, database: Connection, stream_id: UUID
) -> None:
    tent, bar = await keys_of(database, stream_id, 2)
    cursors.advance(tent, at(5))
    await database.execute("ALTER TABLE receiver_cursors RENAME TO away")
    await cursors.flush()
    cursors.advance(tent, at(3))
    cursors.advance(bar, at(2))
    await database.execute("ALTER TABLE away RENAME TO receiver_cursors")
    await cursors.flush()
    assert await last_seqs(database) == {"tent-0": 5, "tent-1": 2}


async def test_cursors_of_a_deleted_stream_keep_no_others_from_being_written(
    cursors: Cursors, database: Connection, key: CursorKey
) -> None:
    gone = await stored.make_stream(database, "start", "gone")
    cursors.advance(CursorKey(gone, await stored.make_cursor(database, "tent", gone)), at(5))
    await stored.delete_stream(database, gone)
    cursors.advance(key, at(1))
    await cursors.flush()
    assert await last_seqs(database) == {"tent": 1}
    assert not cursors.unwritten


async def test_an_administrator_who_takes_his_time_over_one_stream_keeps_no_others_cursors(
    cursors: Cursors, database: Connection, database_url: str, key: CursorKey
) -> None:
    other = await stored.make_stream(database, "start", "other")
    keys = [key, CursorKey(other, await stored.make_cursor(database, "tent", other))]
    session = Session()
    for each in keys:
        cursors.hold([each.cursor_id], session, REF)
        cursors.advance(each, at(3))
    await cursors.flush()
    administrator = await asyncpg.connect(database_url)
    async with administrator.transaction():
        await administrator.execute("DELETE FROM receiver_cursors WHERE stream_id = $1", key.stream_id)
        for each in keys:
            cursors.advance(each, at(7))
        async with asyncio.timeout(PATIENCE_S):
            await cursors.flush()
        assert await by_stream(database) == {key.stream_id: 3, other: 7}
        assert not session.restarted
    await administrator.close()
    # Deleted is deleted: the ack that waited for him does not bring it back.
    await cursors.flush()
    assert await by_stream(database) == {other: 7}
    assert session.restarted == [REF]


async def by_stream(database: Connection) -> dict[UUID, int]:
    rows = await database.fetch("SELECT stream_id, last_seq FROM receiver_cursors")
    return {row["stream_id"]: row["last_seq"] for row in rows}


# --- deletions ---


async def delete(database: Connection, *keys: CursorKey) -> None:
    await database.execute(
        "DELETE FROM receiver_cursors WHERE cursor_id = ANY($1::bigint[])", [each.cursor_id for each in keys]
    )


async def test_an_ack_of_a_deleted_cursor_makes_all_its_sessions_begin_anew(
    cursors: Cursors, database: Connection, stream_id: UUID
) -> None:
    deleted, kept = await keys_of(database, stream_id, 2)
    one, two, other = Session(), Session(), Session()
    for session in (one, two):
        cursors.hold([deleted.cursor_id], session, REF)
    cursors.hold([kept.cursor_id], other, REF)
    await delete(database, deleted)
    for each in (deleted, kept):
        cursors.advance(each, at(5))
    await cursors.flush()
    assert (one.restarted, two.restarted, other.restarted) == ([REF], [REF], [])
    assert await last_seqs(database) == {"tent-1": 5}
    # Told once.
    cursors.advance(deleted, at(6))
    await cursors.flush()
    assert one.restarted == [REF]


async def test_who_has_left_is_told_nothing_and_nothing_is_kept_of_it(
    cursors: Cursors, database: Connection, key: CursorKey
) -> None:
    gone, stays = Session(), Session()
    for session in (gone, stays):
        cursors.hold([key.cursor_id], session, REF)
    cursors.release([key.cursor_id], gone)
    await delete(database, key)
    cursors.advance(key, at(5))
    await cursors.flush()
    assert (gone.restarted, stays.restarted) == ([], [REF])
    cursors.release([key.cursor_id], stays)
    assert not cursors.holders


@asynccontextmanager
async def looking(cursors: Cursors, process: Process) -> AsyncIterator[None]:
    running = asyncio.ensure_future(cursors.run())
    try:
        yield
    finally:
        process.stop.ask()
        await running


async def test_a_deletion_that_is_told_of_is_looked_at_at_once_and_nothing_else_is(
    cursors: Cursors, database: Connection, stream_id: UUID, process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    cursors.look_at = math.inf  # a look at all of them is not due within the test
    keys = await keys_of(database, stream_id, 3)
    sessions = [Session() for _ in keys]
    for each, session in zip(keys, sessions, strict=True):
        cursors.hold([each.cursor_id], session, REF)
    await delete(database, keys[0], keys[2])
    async with looking(cursors, process):
        # One of them, one that is still there, and one that nobody here holds.
        cursors.on_notification(f"{keys[0].cursor_id},{keys[1].cursor_id},{2**62}")
        await wait_until(lambda: sessions[0].restarted, what="the first to begin anew")
        assert [session.restarted for session in sessions] == [[REF], [], []]
        cursors.on_notification("")
        await wait_until(lambda: sessions[2].restarted, what="the last to begin anew")
    assert sessions[1].restarted == []


@pytest.mark.parametrize("payload", ["all", ",", "1,x", "9" * 5_000, "1.5"])
async def test_a_notification_that_means_nothing_has_all_cursors_looked_at(
    process: Process, database: Connection, key: CursorKey, payload: str, database_url: str
) -> None:
    listener = Listener(database_url, name="test", stop=process.stop)
    process.listener = listener
    cursors = Cursors(process)
    cursors.look_at = math.inf
    session = Session()
    async with listener:
        # What the start says, to look at everything, is over.
        cursors.look_at = math.inf
        cursors.hold([key.cursor_id], session, REF)
        await delete(database, key)
        await database.execute("SELECT pg_notify($1, $2)", CURSORS, payload)
        await wait_until(lambda: cursors.look_at == 0.0, what="a look that is due")
        await cursors.look_for_deletions()
    assert session.restarted == [REF]


async def test_a_deletion_that_nobody_was_told_of_is_found_too(
    cursors: Cursors, database: Connection, key: CursorKey, process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_EVERY_S", 0.02)
    session = Session()
    cursors.hold([key.cursor_id], session, REF)
    async with looking(cursors, process):
        await wait_until(lambda: cursors.look_at, what="a first look")
        await delete(database, key)
        await wait_until(lambda: session.restarted, what="the session to begin anew")


async def test_a_deletion_that_cannot_be_looked_at_is_looked_at_later(
    cursors: Cursors, database: Connection, key: CursorKey, process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    cursors.look_at = math.inf
    session = Session()
    cursors.hold([key.cursor_id], session, REF)
    await delete(database, key)
    looks = 0
    look = store.gone_cursors

    async def fails_once(pool: Pool, cursor_ids: Iterable[int]) -> list[int]:
        nonlocal looks
        looks += 1
        if looks == 1:
            raise DatabaseUnavailable("away")
        return await look(pool, cursor_ids)

    monkeypatch.setattr(store, "gone_cursors", fails_once)
    async with looking(cursors, process):
        cursors.on_notification(str(key.cursor_id))
        await wait_until(lambda: session.restarted, what="the session to begin anew")
    assert looks == 2
