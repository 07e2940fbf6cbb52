"""However reads come, in whatever order and divided among whatever looks, the same passings come out."""

import asyncio
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from random import Random
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.crossings.crossing import Passing, crossings
from api.passings import filling
from api.passings.filling import PACE, WAITING, Filling
from api.passings.store import Look, Pace, fill
from shared.db.channels import PASSINGS
from shared.db.connections import Pool, Statements
from shared.runtime.process import Process
from tests.api.recording import APPROACHES, CHIP, LINES, behind, doubled, recording
from tests.api.seeds import Database, add_events, add_stream
from tests.waiting import wait_until

NOON = datetime(2026, 5, 3, 12)  # noqa: DTZ001 - a reader's clock has no zone
SECOND = timedelta(seconds=1)


class Read(NamedTuple):
    """A read as it is stored: whose, in which epoch, at which hundredth of a second; None: no read at all."""

    tag_id: str | None
    epoch: int
    hundredths: int
    seq: int

    @property
    def read_at(self) -> datetime:
        return NOON + timedelta(milliseconds=10 * self.hundredths)


def passings_of(reads: Sequence[Read]) -> set[tuple[Any, ...]]:
    """What the passings of reads that were stored in this order are, one read after the other."""

    def whose(each: tuple[int, Read]) -> tuple[int, str]:
        return each[1].epoch, str(each[1].tag_id)

    placed = [(position, read) for position, read in enumerate(reads, start=1) if read.tag_id is not None]
    found: set[tuple[Any, ...]] = set()
    for (epoch, tag_id), of_chip in groupby(sorted(placed, key=whose), whose):
        ordered = sorted(of_chip, key=lambda each: (each[1].read_at, each[1].seq))
        groups = [[ordered[0]]]
        for each in ordered[1:]:
            if each[1].read_at - groups[-1][-1][1].read_at < SECOND:
                groups[-1].append(each)
            else:
                groups.append([each])
        for group in groups:
            seqs = [read.seq for _, read in group]
            first, last = group[0][1], group[-1][1]
            found.add(
                (
                    *(epoch, tag_id, first.read_at, first.seq, last.read_at, last.seq, min(seqs), max(seqs)),
                    *(len(group), max(position for position, _ in group)),
                )
            )
    return found


async def stored_passings(database: Database, stream_id: UUID) -> set[tuple[Any, ...]]:
    rows = await database.fetch(
        "SELECT stream_epoch, tag_id, first_read_at, first_seq, last_read_at, last_seq, low_seq, high_seq, reads,"
        " position FROM passings WHERE stream_id = $1",
        stream_id,
    )
    return {tuple(row) for row in rows}


async def store(database: Database, stream_id: UUID, reads: Iterable[Read]) -> None:
    """Store reads behind those of before, as a drain does: their positions and the stream's last in one transaction."""
    async with database.transaction():
        last = await database.fetchval("SELECT last_position FROM streams WHERE stream_id = $1", stream_id)
        rows = [
            (
                stream_id,
                read.epoch,
                read.seq,
                last + n,
                NOON,
                read.tag_id and read.read_at,
                b"x",
                "",
                "raw",
                read.tag_id,
            )
            for n, read in enumerate(reads, start=1)
        ]
        await database.executemany(
            "INSERT INTO events (stream_id, stream_epoch, seq, position, received_at, read_at, raw_frame,"
            " reader_timestamp, read_type, tag_id) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
            rows,
        )
        await database.execute(
            "UPDATE streams SET last_position = $2 WHERE stream_id = $1", stream_id, last + len(rows)
        )


async def fill_all(pool: Pool, *, most_events: int = 1_000) -> int:
    """Fill until nothing is left and return how many looks that took."""
    looks = 1
    while (await fill(pool, most_events=most_events)).waiting:
        looks += 1
    return looks


async def progress(database: Database, stream_id: UUID) -> int:
    """Return how many events of a stream are in passings; a stream that nobody has looked at has none."""
    found = await database.fetchval("SELECT position FROM passings_progress WHERE stream_id = $1", stream_id)
    return found or 0


async def waits_for_a_lock(database: Statements, pid: int) -> bool:
    """Whether a session of this database does; others of the cluster are other tests'."""
    return bool(await database.fetchval("SELECT cardinality(pg_blocking_pids($1)) > 0", pid))


# Three chips within six seconds, so that reads meet, come again at the same time, and join what was apart.
READS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c", None]), st.integers(1, 2), st.integers(0, 60).map(lambda n: 10 * n)
    ),
    max_size=40,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    given_reads=READS,
    order=st.randoms(use_true_random=False),
    chunks=st.lists(st.integers(1, 12), max_size=8),
    most=st.integers(1, 9),
)
async def test_however_reads_come_their_passings_are_the_same(
    process: Process,
    database: Database,
    *,
    given_reads: list[tuple[str | None, int, int]],
    order: Random,
    chunks: list[int],
    most: int,
) -> None:
    stream_id = await add_stream(database, str(uuid4()))
    numbers = order.sample(range(1, 100), len(given_reads))
    reads = [Read(*said, seq) for said, seq in zip(given_reads, numbers, strict=True)]
    begin = 0
    for size in [*chunks, len(reads)]:
        await store(database, stream_id, reads[begin : begin + size])
        begin = min(begin + size, len(reads))
        # In between not all of it, which then comes with what is stored next.
        await fill(process.pool, most_events=most)
        taken = await progress(database, stream_id)
        assert await stored_passings(database, stream_id) == passings_of(reads[:taken])
    await fill_all(process.pool, most_events=most)
    assert await progress(database, stream_id) == len(reads)
    assert await stored_passings(database, stream_id) == passings_of(reads)


async def test_a_late_read_joins_two_passings(process: Process, database: Database) -> None:
    stream_id = await add_stream(database)
    apart = [Read("a", 1, 0, 1), Read("a", 1, 150, 2), Read("a", 1, 250, 3)]
    await store(database, stream_id, apart)
    await fill_all(process.pool)
    assert len(await stored_passings(database, stream_id)) == 3  # a whole second lies between the last two
    await store(database, stream_id, [Read("a", 1, 80, 4)])
    await fill_all(process.pool)
    at = [NOON, NOON + timedelta(seconds=1.5), NOON + timedelta(seconds=2.5)]
    assert await stored_passings(database, stream_id) == {
        (1, "a", at[0], 1, at[1], 2, 1, 4, 3, 4),
        (1, "a", at[2], 3, at[2], 3, 3, 3, 1, 3),
    }


async def test_reads_without_a_chip_or_a_time_make_none_and_are_passed_over(
    process: Process, database: Database
) -> None:
    stream_id = await add_stream(database)
    await store(database, stream_id, [Read(None, 1, 0, 1), Read("a", 1, 0, 2), Read(None, 1, 0, 3)])
    await database.execute("UPDATE events SET tag_id = 'b' WHERE seq = 3")
    assert (await fill(process.pool, most_events=10))[:2] == (3, 0)
    assert {each[1] for each in await stored_passings(database, stream_id)} == {"a"}


async def test_what_has_little_to_take_comes_before_a_backlog(process: Process, database: Database) -> None:
    backlog, live = [await add_stream(database, name) for name in ("backlog", "live")]
    await store(database, backlog, [Read("a", 1, 100 * n, n) for n in range(1, 51)])
    await store(database, live, [Read("a", 1, 100 * n, n) for n in range(1, 4)])
    assert (await fill(process.pool, most_events=10))[:2] == (10, 43)
    assert [await progress(database, each) for each in (live, backlog)] == [3, 7]


async def test_two_that_fill_at_once_make_what_one_makes(process: Process, database: Database) -> None:
    streams = [await add_stream(database, f"f{n}") for n in range(4)]
    reads = [Read("abc"[n % 3], 1, (n * 7919) % 4_000, n) for n in range(1, 301)]
    for each in streams:
        await store(database, each, reads)

    async def fill_whatever_others_do() -> None:
        # As processes of the release before do: without a turn.
        while await process.pool.fetchval("SELECT waiting FROM fill_passings(23)"):
            pass

    await asyncio.gather(*(fill_whatever_others_do() for _ in range(3)))
    for each in streams:
        assert await stored_passings(database, each) == passings_of(reads)


async def test_who_finds_another_at_a_stream_takes_the_others(process: Process, database: Database) -> None:
    held, free = [await add_stream(database, name) for name in ("held", "free")]
    reads = [Read("a", 1, 40 * n, n) for n in range(1, 9)]
    for part in (reads[:4], reads[4:]):
        await fill_all(process.pool)
        for each in (held, free):
            await store(database, each, part)
    async with database.transaction():
        await database.execute("SELECT FROM passings_progress WHERE stream_id = $1 FOR UPDATE", held)
        assert (await fill(process.pool, most_events=100))[:2] == (4, 4)
    await fill_all(process.pool)
    for each in (held, free):
        assert await stored_passings(database, each) == passings_of(reads)


async def test_what_was_recorded_makes_eight_crossings_whatever_the_gap(
    process: Process, database: Database
) -> None:
    lines = recording()
    assert len(lines) == LINES
    assert (round(doubled(lines), 2), round(behind(lines), 2)) == (0.15, 0.12)
    stream_id = await add_stream(database)
    for begin in range(0, LINES, 700):
        await add_events(database, stream_id, lines[begin : begin + 700], first_seq=begin + 1)
        await fill(process.pool, most_events=400)
    await fill_all(process.pool, most_events=400)
    passings = [Passing(*row) for row in await database.fetch("SELECT * FROM passings")]
    assert {each.tag_id for each in passings} == {CHIP}
    for gap in range(1, 11):
        found = list(crossings(passings, gap=timedelta(seconds=gap), rule="first"))
        assert (len(found), sum(each.reads for each in found)) == (APPROACHES, LINES)


# --- what takes passings away ----------------------------------------------------------------------------

ROW = [Read("a", 1, 40 * n, n) for n in range(1, 9)]


@pytest.fixture
async def filled(process: Process, database: Database) -> UUID:
    """A stream that is in passings, beside another."""
    streams = [await add_stream(database, name) for name in ("one", "other")]
    for each in streams:
        await store(database, each, ROW)
    await fill_all(process.pool)
    return streams[0]


async def test_a_stream_takes_its_passings_with_it(database: Database, filled: UUID) -> None:
    await database.execute("DELETE FROM events WHERE stream_id = $1", filled)
    await database.execute("DELETE FROM streams WHERE stream_id = $1", filled)
    assert await database.fetchval("SELECT count(*) FROM passings WHERE stream_id = $1", filled) == 0
    assert await database.fetchval("SELECT count(*) FROM passings") == 1


@pytest.mark.parametrize("emptied", ["passings", "passings_progress, passings"])
async def test_a_table_that_was_emptied_is_filled_anew(
    process: Process, database: Database, filled: UUID, emptied: str
) -> None:
    await database.execute(f"TRUNCATE {emptied}")
    await fill_all(process.pool)
    assert await stored_passings(database, filled) == passings_of(ROW)


@pytest.mark.parametrize(
    ("change", "left"),
    [
        ("DELETE FROM events WHERE stream_id = $1 AND seq > 3", ROW[:3]),
        ("DELETE FROM events WHERE stream_id = $1", []),
        ("UPDATE events SET tag_id = 'b' WHERE stream_id = $1", [each._replace(tag_id="b") for each in ROW]),
    ],
)
async def test_what_changes_stored_events_has_their_passings_made_anew(
    process: Process, database: Database, filled: UUID, change: str, left: list[Read]
) -> None:
    await database.execute(change, filled)
    assert await stored_passings(database, filled) == set()
    await fill_all(process.pool)
    assert await stored_passings(database, filled) == passings_of(left)
    assert await progress(database, filled) == len(ROW)  # not looked for again and again
    assert await database.fetchval("SELECT count(*) FROM passings WHERE stream_id <> $1", filled) == 1


async def test_all_events_that_are_gone_at_once_leave_none(
    process: Process, database: Database, filled: UUID
) -> None:
    await database.execute("TRUNCATE events")
    assert await database.fetchval("SELECT count(*) FROM passings") == 0


async def test_who_deletes_events_waits_for_who_fills_and_takes_what_he_made(
    process: Process, database: Database, filled: UUID
) -> None:
    await store(database, filled, [Read("late", 1, 0, 99)])
    async with process.pool.acquire() as filling, process.pool.acquire() as looking:
        held = filling.transaction()
        await held.start()
        assert await filling.fetchval("SELECT taken FROM fill_passings(10)") == 1
        pid = database.get_server_pid()
        deletion = asyncio.create_task(database.execute("DELETE FROM events WHERE stream_id = $1", filled))
        await wait_until(lambda: waits_for_a_lock(looking, pid))
        await held.commit()
        await deletion
    await fill_all(process.pool)
    assert await stored_passings(database, filled) == set()


async def test_who_deletes_piece_by_piece_waits_for_who_begins_anew_in_between(
    process: Process, database: Database, filled: UUID
) -> None:
    await database.execute("DELETE FROM events WHERE stream_id = $1 AND seq <= 4", filled)
    async with process.pool.acquire() as filling, process.pool.acquire() as looking:
        held = filling.transaction()
        await held.start()
        assert await filling.fetchval("SELECT taken FROM fill_passings(10)") == 4
        # Nobody else can see the row that was made; who deletes the rest waits for it, or is done and has missed it.
        pid = database.get_server_pid()
        deletion = asyncio.create_task(database.execute("DELETE FROM events WHERE stream_id = $1", filled))

        async def waits_or_is_done() -> bool:
            return deletion.done() or await waits_for_a_lock(looking, pid)

        await wait_until(waits_or_is_done)
        await held.commit()
        await deletion
    await fill_all(process.pool)
    assert await stored_passings(database, filled) == set()


async def test_who_fills_waits_for_nobody_who_changes_events_of_a_stream_that_is_to_begin(
    process: Process, database: Database, filled: UUID
) -> None:
    await database.execute("DELETE FROM passings_progress WHERE stream_id = $1", filled)
    async with database.transaction():
        await database.execute("UPDATE events SET tag_id = 'b' WHERE stream_id = $1", filled)
        # Neither this look nor the row that it would make is seen by who is at the events.
        assert (await fill(process.pool, most_events=10))[:2] == (0, 0)
        assert await stored_passings(database, filled) == set()
    await fill_all(process.pool)
    assert await stored_passings(database, filled) == passings_of([each._replace(tag_id="b") for each in ROW])


@pytest.mark.parametrize(
    ("emptied", "left"),
    [
        ("events", []),
        ("passings", [*ROW, Read("late", 1, 0, 99)]),
        # Two in one statement, in either order: the second is asked for with the first in hand.
        ("passings, passings_progress", [*ROW, Read("late", 1, 0, 99)]),
        ("passings_progress, passings", [*ROW, Read("late", 1, 0, 99)]),
    ],
)
async def test_who_empties_tables_and_who_fills_do_not_wait_for_one_another(
    process: Process, database: Database, filled: UUID, emptied: str, left: list[Read]
) -> None:
    await store(database, filled, [Read("late", 1, 0, 99)])
    async with database.transaction():
        # As TRUNCATE begins, and then asks for the others, or takes the progress away.
        await database.execute(f"LOCK TABLE {emptied.partition(',')[0]} IN ACCESS EXCLUSIVE MODE")
        async with process.pool.acquire() as filling, process.pool.acquire() as looking:
            # Whoever waits does so for as long as he is let.
            await filling.execute("SET lock_timeout = 0")
            pid = await filling.fetchval("SELECT pg_backend_pid()")
            look = asyncio.create_task(filling.fetch("SELECT taken, waiting FROM fill_passings(10)"))

            async def waits_or_is_done() -> bool:
                return look.done() or await waits_for_a_lock(looking, pid)

            await wait_until(waits_or_is_done)
            assert look.done(), "it waits"
            assert [tuple(each) for each in await look] == [(0, 0)]
        await database.execute(f"TRUNCATE {emptied}")
    await fill_all(process.pool)
    assert await stored_passings(database, filled) == passings_of(left)


async def test_who_fills_passes_over_a_stream_whose_events_are_being_deleted(
    process: Process, database: Database, filled: UUID
) -> None:
    await store(database, filled, [Read("late", 1, 0, 99)])
    async with database.transaction():
        await database.execute("DELETE FROM events WHERE stream_id = $1", filled)
        assert (await fill(process.pool, most_events=10))[:2] == (0, 1)
    await fill_all(process.pool)
    assert await stored_passings(database, filled) == set()


# --- the loop --------------------------------------------------------------------------------------------


async def test_reads_become_passings_by_themselves_and_whoever_listens_is_told(
    process: Process, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filling, "POLL_S", 3_600.0)
    stream_id = await add_stream(database)
    told: list[object] = []
    await database.add_listener(PASSINGS, lambda *notification: told.append(notification[3]))
    reads = [Read("a", 1, 100 * n, n) for n in range(1, 31)]
    await store(database, stream_id, reads)
    # Of another process, whose listener connects when the loop is there: it knows for whom it listens.
    of_its_own = Process("api", process.settings)
    loop = Filling(of_its_own)
    async with of_its_own.connected():
        running = [asyncio.create_task(each) for each in (loop.run(), of_its_own.notifier.run())]
        await wait_until(lambda: told == [""])
        await store(database, stream_id, [Read("b", 1, 0, 99)])
        await database.execute("SELECT pg_notify('rt_positions', '')")
        await wait_until(lambda: told == ["", ""])
        assert await stored_passings(database, stream_id) == passings_of([*reads, Read("b", 1, 0, 99)])
        of_its_own.stop.ask()
        of_its_own.last_stop.ask()
        await asyncio.gather(*running)


async def test_how_much_waits_is_a_number(
    process: Process, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream_id = await add_stream(database)
    await store(database, stream_id, ROW)
    monkeypatch.setattr(filling, "MOST_EVENTS", 3)
    await Filling(process).fill()
    ((waiting,),) = [family.samples for family in WAITING.collect()]
    assert waiting.value == len(ROW) - 3


async def test_of_all_processes_one_looks_at_a_time_and_all_keep_the_pause_behind_it(
    process: Process, database: Database
) -> None:
    stream_id = await add_stream(database)
    await store(database, stream_id, ROW)
    async with process.pool.acquire() as other:
        held = other.transaction()
        await held.start()
        assert await other.fetchval("SELECT taken FROM fill_passings_in_turn(3, 0, 0, 60, 60)") == 3
        # Another is at it: nobody waits for him. What is left is as it was before he came.
        assert await fill(process.pool, most_events=1) == (None, 0, 0.0)
        await held.commit()
    look = await fill(process.pool, most_events=1, pace=Pace(0, 0, 0, 60))
    assert look[:2] == (None, len(ROW) - 3)
    assert 0 < look.rest_s <= 60, "as long as he said"
    await database.execute("UPDATE passings_turn SET rest_until = clock_timestamp()")
    assert (await fill(process.pool, most_events=1))[:2] == (1, len(ROW) - 4)


async def test_who_dies_in_a_look_is_waited_for_by_nobody(process: Process, database: Database) -> None:
    await store(database, await add_stream(database), ROW)
    async with process.pool.acquire() as other:
        held = other.transaction()
        await held.start()
        assert await other.fetchval("SELECT taken FROM fill_passings_in_turn(3, 0, 0, 60, 60)") == 3
        await held.rollback()
        assert (await fill(process.pool, most_events=3))[:2] == (3, len(ROW) - 3)


async def test_a_clock_that_is_set_back_makes_no_pause_longer_than_any(
    process: Process, database: Database
) -> None:
    await store(database, await add_stream(database), ROW)
    await database.execute("UPDATE passings_turn SET rest_until = clock_timestamp() + interval '1 hour'")
    assert (await fill(process.pool, most_events=3, pace=PACE))[:2] == (3, len(ROW) - 3)


async def test_a_pause_is_longer_while_more_is_stored_than_a_look_takes_and_has_a_floor_and_a_ceiling(
    process: Process, database: Database
) -> None:
    stream_id = await add_stream(database)
    # Whatever a look takes: nothing times that, or so much that it is beyond the ceiling.
    pace = Pace(rests=0, rests_behind=1e9, shortest_s=0.001, longest_s=0.002)
    for reads, rest_s in ((ROW, 0.002), ([], 0.001), ([Read("b", 1, 0, 98), Read("b", 1, 0, 99)], 0.001)):
        await store(database, stream_id, reads)
        await database.execute("UPDATE passings_turn SET rest_until = '-infinity'")
        assert (await fill(process.pool, most_events=2, pace=pace)).rest_s == rest_s
    # Behind a look that takes nothing there is nothing to rest from, and nothing is written.
    await fill_all(process.pool)
    turn = await database.fetchrow("SELECT ctid, * FROM passings_turn")
    assert await fill(process.pool, most_events=2, pace=pace) == (0, 0, 0.001)
    assert await database.fetchrow("SELECT ctid, * FROM passings_turn") == turn
    assert PACE.rests_behind > PACE.rests
    assert PACE.longest_s <= 5, "a few seconds at the most, however slow the looks"


@pytest.mark.parametrize(
    ("look", "goes_on"),
    [
        (Look(5, 100, 7.0), True),
        (Look(None, 0, 7.0), True),
        (Look(5, 0, 7.0), False),
        (Look(0, 9, 7.0), False),
    ],
)
async def test_it_goes_on_behind_the_pause_where_more_is_left_or_another_was_at_it(
    process: Process, monkeypatch: pytest.MonkeyPatch, look: Look, *, goes_on: bool
) -> None:
    rests: list[float] = []

    async def looked(*_: object, **__: object) -> Look:
        return look

    async def sleep(seconds: float) -> bool:
        rests.append(seconds)
        if len(rests) == 2:
            process.stop.ask()
        return True

    monkeypatch.setattr("api.passings.store.fill", looked)
    monkeypatch.setattr(process.stop, "sleep", sleep)
    monkeypatch.setattr(filling, "POLL_S", 3_600.0)
    running = asyncio.create_task(Filling(process).run())
    if not goes_on:
        await wait_until(lambda: rests == [7.0])
        await asyncio.sleep(0.05)
        assert rests == [7.0], "the next notification, or the poll"
        process.stop.ask()
    await running
    assert set(rests) == {7.0}
    assert len(rests) == (2 if goes_on else 1)
