"""Where a receiver starts, and the rows that its acks move."""

import asyncio
import json
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from fanout.delivery import NOTHING, Cursor, EpochState
from fanout.store import starting_points as begins
from fanout.store.cursors import (
    CursorKey,
    advance_cursors,
    begin_epochs,
    gone_cursors,
)
from fanout.store.starting_points import StartingPoint, starting_points
from shared.db.channels import CURSORS
from shared.db.connections import Connection
from shared.db.errors import DatabaseUnavailable, RowLocked
from shared.runtime.process import Process
from tests.delivery import stored
from tests.waiting import wait_until


async def point_of(
    process: Process, stream_id: UUID, receiver_id: str = "tent", resume: dict[int, int] | None = None
) -> StartingPoint:
    return (await starting_points(process.pool, receiver_id, {stream_id: resume or {}}))[stream_id]


async def test_a_starting_point_is_one_snapshot_of_the_stream_the_cursors_and_what_is_resumed(
    process: Process, database: Connection, stream_id: UUID
) -> None:
    await stored.store(database, stream_id, [(1, 3, b"a"), (2, 7, b"b"), (1, 9, b"c"), (1, 4, b"d")])
    bar, tent = [await stored.make_cursor(database, each, stream_id) for each in ("bar", "tent")]
    await advance_cursors(process.pool, {CursorKey(stream_id, bar): Cursor(9, 4, 3)})
    await advance_cursors(process.pool, {CursorKey(stream_id, tent): Cursor(3, 1, 1)})
    points = await starting_points(process.pool, "tent", {stream_id: {1: 4, 2: 8, 5: 1}, uuid4(): {1: 1}})
    assert points == {
        stream_id: StartingPoint(
            4,
            2,
            {1: EpochState(9, 3, Cursor(3, 1, 1), 2, 4, 1), 2: EpochState(7, 1, NOTHING, 1, 8, 0)},
            {1: tent, 2: points[stream_id].cursor_ids[2]},
            {1: True, 2: True},
        )
    }
    assert await rows_of(database) == {
        ("bar", 1): (bar, Cursor(9, 4, 3)),
        ("tent", 1): (tent, Cursor(3, 1, 1)),
        ("tent", 2): (points[stream_id].cursor_ids[2], NOTHING),
    }


async def test_a_starting_point_keeps_the_rows_that_are_there(
    process: Process, database: Connection, stream_id: UUID
) -> None:
    await stored.store(database, stream_id, [(1, 1, b"a")])
    first, second = await point_of(process, stream_id), await point_of(process, stream_id)
    assert first == second
    assert len(await rows_of(database)) == 1


@pytest.mark.parametrize("wanted", [True, False])
async def test_an_epoch_without_an_event_has_its_row_and_keeps_it(
    process: Process, database: Connection, stream_id: UUID, wanted: bool
) -> None:
    await stored.store(database, stream_id, [(1, 1, b"a")])
    old = await stored.make_cursor(database, "tent", stream_id, 2)  # of an epoch that never had any
    await database.execute("UPDATE streams SET stream_epoch = 3")
    for _ in range(2):
        found = await starting_points(process.pool, "tent", {stream_id: {3: 0}}, wanted=wanted)
        point = found[stream_id]
        assert point.current_epoch == 3
        assert point.epochs.keys() == {1}
        assert point.wanted == {1: wanted, 2: True, 3: wanted}
        assert point.cursor_ids[2] == old
        assert {("tent", epoch): id_ for epoch, id_ in point.cursor_ids.items()} == {
            key: id_ for key, (id_, cursor) in (await rows_of(database)).items() if cursor == NOTHING
        }


async def test_where_more_is_missing_than_the_list_says_nobody_tells_how_many_events_there_are(
    process: Process, database: Connection, stream_id: UUID
) -> None:
    await stored.store(database, stream_id, [(1, 1, b"a"), (1, 5, b"a"), (1, 9, b"a")])
    await database.execute("UPDATE stream_metrics SET missing = '{[2,5)}'")
    assert (await point_of(process, stream_id)).epochs[1].event_count is None


async def test_a_row_of_the_release_before_stands_for_the_position_of_its_event(
    process: Process, database: Connection, stream_id: UUID
) -> None:
    await stored.store(database, stream_id, [(1, 1, b"a"), (1, 3, b"a"), (1, 4, b"a"), (1, 2, b"late")])
    await database.execute(
        "INSERT INTO receiver_cursors (receiver_id, stream_id, stream_epoch, last_seq)"
        " VALUES ('tent', $1, 1, 3)",
        stream_id,
    )
    assert (await point_of(process, stream_id)).epochs[1] == EpochState(4, 4, Cursor(3, 2, None), 1)


@pytest.mark.parametrize(
    ("last_seq", "position"), [(6, 3), (2, 6)], ids=["beyond the newest number", "beyond the last position"]
)
async def test_a_cursor_beyond_what_is_stored_is_void_and_stays_void(
    process: Process, database: Connection, stream_id: UUID, last_seq: int, position: int
) -> None:
    await stored.store(database, stream_id, [(1, seq, b"a") for seq in range(1, 5)] + [(2, 5, b"a")])
    ids = {}
    for epoch, cursor in {1: Cursor(last_seq, position, 2), 2: Cursor(5, 5, 1), 3: Cursor(1, 1, 1)}.items():
        ids[epoch] = await stored.make_cursor(database, "tent", stream_id, epoch)
        await advance_cursors(process.pool, {CursorKey(stream_id, ids[epoch]): cursor})
    await starting_points(process.pool, "tent", {stream_id: {}})
    await stored.store(database, stream_id, [(1, seq, b"a") for seq in range(5, 9)])
    point = await point_of(process, stream_id)
    assert {epoch: state.cursor for epoch, state in point.epochs.items()} == {1: NOTHING, 2: Cursor(5, 5, 1)}
    # Another row: an ack that was given to the one of before does not count.
    assert point.cursor_ids[1] != ids[1]
    assert point.cursor_ids[2] == ids[2]
    assert await gone_cursors(process.pool, ids.values()) == [ids[1], ids[3]]
    assert set(await rows_of(database)) == {("tent", 1), ("tent", 2)}


async def test_sessions_of_one_receiver_that_begin_at_once_move_the_same_rows_or_try_again(
    process: Process, database: Connection, stream_id: UUID
) -> None:
    await stored.store(database, stream_id, [(epoch, 1, b"a") for epoch in range(1, 20)])

    async def begin() -> dict[int, int]:
        while True:
            try:
                return (await point_of(process, stream_id)).cursor_ids
            except DatabaseUnavailable:
                await asyncio.sleep(0)

    found = await asyncio.gather(*(begin() for _ in range(4)))
    assert found == [found[0]] * 4
    assert {id_ for id_, _ in (await rows_of(database)).values()} == set(found[0].values())


async def test_sessions_of_one_receiver_to_which_an_epoch_begins_at_once_all_get_its_row(
    process: Process, database: Connection, stream_id: UUID
) -> None:
    for epoch in range(1, 30):
        found = await asyncio.gather(
            *(begin_epochs(process.pool, "tent", stream_id, {epoch: True}) for _ in range(4))
        )
        assert found == [{epoch: found[0][epoch]}] * 4


async def test_where_to_start_costs_the_same_for_each_epoch_however_many_there_are(
    process: Process, database: Connection
) -> None:
    """Counted in rows that are passed over, with statistics that say that there is hardly anything."""
    await database.execute("ANALYZE")
    costs: list[float] = []
    for count in (10, 100):
        ids = [await stored.make_stream(database, f"many-{count}", str(number)) for number in range(count)]
        for each in ids:
            await stored.store(database, each, [(epoch, 1, b"a") for epoch in range(1, 5)], notify=False)
        costs += [
            await rows_passed(process, statement, ids) / count
            for statement in (begins.BEGIN, begins.STARTING_POINTS)
        ]
    begin, start, begin_many, start_many = costs
    assert begin_many < 1.5 * begin
    assert start_many < 1.5 * start


async def rows_passed(process: Process, statement: str, ids: list[UUID]) -> int:
    """Return how many rows all nodes of a statement's plan gave or threw away."""
    arguments = ["tent", ids, *([[None] * len(ids), True] if statement == begins.BEGIN else ["{}"])]
    found = await process.pool.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", *arguments)

    def passed(node: dict[str, Any]) -> float:
        thrown: float = sum(
            node.get(f"Rows Removed by {kind}", 0) for kind in ("Filter", "Join Filter", "Index Recheck")
        )
        own = float(node["Actual Rows"] + thrown) * float(node["Actual Loops"])
        return own + sum(map(passed, node.get("Plans", ())))

    return int(passed(json.loads(found)[0]["Plan"]))


async def test_a_stream_that_is_being_deleted_is_said_to_be_held(
    process: Process, database: Connection, database_url: str, stream_id: UUID
) -> None:
    await stored.store_many(database, stream_id, 3)
    administrator = await asyncpg.connect(database_url)
    async with administrator.transaction():
        await administrator.execute("SELECT FROM streams WHERE stream_id = $1 FOR UPDATE", stream_id)
        with pytest.raises(RowLocked):
            await point_of(process, stream_id)
        with pytest.raises(RowLocked):
            await begin_epochs(process.pool, "tent", stream_id, {2: True})
    await administrator.close()
    assert set((await point_of(process, stream_id)).cursor_ids) == {1}


async def test_an_epoch_that_begins_later_gets_its_row_once(
    process: Process, database: Connection, stream_id: UUID
) -> None:
    known = await stored.make_cursor(database, "tent", stream_id, 1)
    begun = await begin_epochs(process.pool, "tent", stream_id, {1: True, 2: True})
    assert begun == {1: known, 2: begun[2]}
    assert await begin_epochs(process.pool, "tent", stream_id, {2: True}) == {2: begun[2]}
    assert await rows_of(database) == {("tent", 1): (known, NOTHING), ("tent", 2): (begun[2], NOTHING)}


async def test_an_epoch_of_a_stream_that_is_deleted_gets_no_row(process: Process) -> None:
    assert await begin_epochs(process.pool, "tent", uuid4(), {1: True}) == {}


# --- cursors ---


async def rows_of(database: Connection) -> dict[tuple[str, int], tuple[int, Cursor]]:
    """Return id and cursor by receiver and epoch."""
    rows = await database.fetch("SELECT * FROM receiver_cursors")
    return {
        (row["receiver_id"], row["stream_epoch"]): (
            row["cursor_id"],
            Cursor(row["last_seq"], row["position"], row["event_count"]),
        )
        for row in rows
    }


async def test_a_cursor_is_written_whole_and_only_where_neither_number_falls(
    process: Process, database: Connection, stream_id: UUID
) -> None:
    key = CursorKey(stream_id, await stored.make_cursor(database, "tent", stream_id))
    for asked, then in (
        (Cursor(5, 5, 5), Cursor(5, 5, 5)),
        (Cursor(3, 5, 3), Cursor(5, 5, 5)),
        (Cursor(5, 7, None), Cursor(5, 7, None)),
        (Cursor(9, 6, 9), Cursor(5, 7, None)),
        (Cursor(4, 9, 9), Cursor(5, 7, None)),
        (Cursor(10, 10, 10), Cursor(10, 10, 10)),
    ):
        assert await advance_cursors(process.pool, {key: asked}) == []
        assert await rows_of(database) == {("tent", 1): (key.cursor_id, then)}


async def test_an_ack_makes_no_row_and_says_which_are_gone(
    process: Process, database: Connection, stream_id: UUID
) -> None:
    kept, deleted = [await stored.make_cursor(database, "tent", stream_id, epoch) for epoch in (1, 2)]
    await database.execute("DELETE FROM receiver_cursors WHERE cursor_id = $1", deleted)
    anew = await stored.make_cursor(database, "tent", stream_id, 2)
    moved = {CursorKey(stream_id, each): Cursor(1, 1, 1) for each in (kept, deleted)}
    assert await advance_cursors(process.pool, moved) == [deleted]
    assert await rows_of(database) == {("tent", 1): (kept, Cursor(1, 1, 1)), ("tent", 2): (anew, NOTHING)}


async def test_whoever_deletes_cursors_tells_which_where_they_are_few(
    database: Connection, stream_id: UUID
) -> None:
    received: list[str] = []
    await database.add_listener(CURSORS, lambda *told: received.append(told[3]))
    ids = [await stored.make_cursor(database, f"tent-{number}", stream_id) for number in range(3)]
    await database.execute("UPDATE receiver_cursors SET last_seq = 5, position = 5")
    await database.execute("DELETE FROM receiver_cursors WHERE receiver_id = 'nobody'")
    await database.execute("DELETE FROM receiver_cursors WHERE cursor_id = $1", ids[0])
    await database.execute("DELETE FROM receiver_cursors")
    await database.execute(
        "INSERT INTO receiver_cursors (receiver_id, stream_id, stream_epoch, last_seq)"
        " SELECT 'tent', $1, epoch, 0 FROM generate_series(1, 8000) AS epoch",
        stream_id,
    )
    await database.execute("DELETE FROM receiver_cursors")
    await wait_until(lambda: len(received) == 3, what="three notifications")
    assert [sorted(each.split(",")) for each in received] == [[str(ids[0])], sorted(map(str, ids[1:])), [""]]
