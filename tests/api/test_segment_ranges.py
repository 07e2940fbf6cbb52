"""Which race a read is of, and which ranges of reads a race has: said twice in SQL, by read and by range, and both are
held to the same rule in plain Python, over segments, epochs and forwarders at random.
"""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from datetime import datetime
from itertools import pairwise
from random import Random
from typing import NamedTuple
from uuid import UUID

import asyncpg
import pytest

from shared.protocol.memory import memory_of
from tests.api.seeds import Database, add_metrics, add_race, add_stream
from tests.api.segmented import Key, add_segment

EPOCHS, SEQS = 4, 12
OPEN = (1 << 40, 1)


class Segment(NamedTuple):
    first: Key
    end: Key
    race: UUID

    def has(self, read: Key) -> bool:
        return self.first <= read < self.end

    def meets(self, epoch: int) -> bool:
        return any(self.has((epoch, seq)) for seq in range(1, SEQS + 2))


class World(NamedTuple):
    """What is said of the reads of one stream."""

    segments: Sequence[Segment]
    mapped: Mapping[int, UUID]
    assigned: UUID | None

    def race_of(self, epoch: int, seq: int) -> UUID | None:
        for segment in self.segments:
            if segment.has((epoch, seq)):
                return segment.race
        whole = self.mapped.get(epoch, self.assigned)
        own = any(segment.race == whole and segment.meets(epoch) for segment in self.segments)
        return None if own else whole


def a_world(random: Random, races: Sequence[UUID]) -> World:
    """Return segments that do not overlap, some of them side by side, and races of epochs and of the forwarder."""
    keys = [(epoch, seq) for epoch in range(1, EPOCHS + 1) for seq in range(1, SEQS + 2)]
    cuts = sorted(random.sample(keys, random.choice([0, 2, 3, 5, 8])))
    segments = [
        Segment(first, end, random.choice(races)) for first, end in pairwise(cuts) if random.random() < 0.6
    ]
    if cuts and random.random() < 0.4:
        segments.append(Segment(cuts[-1], OPEN, random.choice(races)))
    mapped = {epoch: random.choice(races) for epoch in range(1, EPOCHS + 1) if random.random() < 0.6}
    return World(segments, mapped, random.choice([None, *races]))


async def keep(database: Database, stream_id: UUID, world: World) -> None:
    await database.execute("TRUNCATE race_segments, epoch_races, forwarder_races")
    for first, end, race in world.segments:
        await add_segment(database, race, stream_id, first, None if end == OPEN else end)
    for epoch, race in world.mapped.items():
        await database.execute("INSERT INTO epoch_races VALUES ($1, $2, $3)", stream_id, epoch, race)
    if world.assigned:
        await database.execute("INSERT INTO forwarder_races VALUES ('start', $1)", world.assigned)


@pytest.fixture
async def stream_id(database: Database) -> UUID:
    """A stream of four epochs with a read of every number, the last of which is the current one."""
    stream_id = await add_stream(database, epoch=EPOCHS)
    for epoch in range(1, EPOCHS + 1):
        await add_metrics(database, stream_id, epoch=epoch, dedup=SEQS)
    return stream_id


async def test_both_ways_follow_the_rule(database: Database, stream_id: UUID) -> None:
    races = [await add_race(database, name) for name in ("A", "B", "C")]
    reads = [(epoch, seq) for epoch in range(1, EPOCHS + 1) for seq in range(1, SEQS + 1)]
    for number in range(60):
        world = a_world(Random(number), races)
        await keep(database, stream_id, world)
        rows = await database.fetch(
            "SELECT race_id FROM unnest($2::bigint[], $3::bigint[]) WITH ORDINALITY AS given(epoch, seq, place)"
            " CROSS JOIN LATERAL race_of_read($1, epoch, seq) ORDER BY place",
            stream_id,
            [epoch for epoch, _ in reads],
            [seq for _, seq in reads],
        )
        by_read = dict(zip(reads, (row["race_id"] for row in rows), strict=True))
        assert by_read == {read: world.race_of(*read) for read in reads}, world
        for race in races:
            ranges = await database.fetch("SELECT * FROM ranges_of_race($1)", race)
            by_range = [
                (row["stream_epoch"], seq)
                for row in ranges
                for seq in range(row["from_seq"], min(row["to_seq"] or SEQS + 1, SEQS + 1))
            ]
            # Of the forwarder's race it is the current epoch alone: the others were run under whatever it had then.
            due = [
                read
                for read in reads
                if world.race_of(*read) == race
                and (
                    read[0] == EPOCHS
                    or read[0] in world.mapped
                    or any(each.has(read) for each in world.segments)
                    or any(each.meets(read[0]) and each.race == race for each in world.segments)
                )
            ]
            assert sorted(by_range) == due, (race, world)
            for row in ranges:
                all_of_it = row["from_seq"] == 1 and (row["to_seq"] is None or row["to_seq"] > SEQS)
                assert row["is_whole"] is all_of_it


@pytest.mark.parametrize(
    ("first", "end", "other", "other_end", "meet"),
    [
        ((1, 5), (1, 9), (1, 9), (1, 10), False),
        ((1, 5), (1, 9), (1, 8), (1, 10), True),
        ((1, 5), None, (2, 1), (2, 2), True),
        ((1, 5), (3, 1), (2, 1), None, True),
        ((1, 5), (3, 1), (3, 1), None, False),
        # Beyond what fits into any single number: the greatest epoch, and numbers up to the end of bigint.
        (
            (2**31 - 1, 2**63 - 3),
            (2**31 - 1, 2**63 - 2),
            (2**31 - 1, 2**63 - 2),
            (2**31 - 1, 2**63 - 1),
            False,
        ),
        ((2**31 - 1, 2**63 - 3), (2**31 - 1, 2**63 - 1), (2**31 - 1, 2**63 - 2), None, True),
        ((2**31 - 1, 1), (2**31, 1), (2**31 - 2, 2**63 - 1), (2**31 - 1, 1), False),
        ((2**31 - 1, 1), (2**31, 1), (2**31 - 2, 2**63 - 1), (2**31 - 1, 2), True),
    ],
)
async def test_no_read_is_in_two_segments_of_a_stream(
    database: Database,
    first: Key,
    end: Key | None,
    other: Key,
    other_end: Key | None,
    *,
    meet: bool,
) -> None:
    a, b = await add_race(database, "A"), await add_race(database, "B")
    stream, elsewhere = await add_stream(database), await add_stream(database, "finish")
    await add_segment(database, a, stream, first, end)
    await add_segment(database, b, elsewhere, other, other_end)
    refused = pytest.raises(asyncpg.ExclusionViolationError, match="race_segments_apart")
    with refused if meet else nullcontext():
        await add_segment(database, b, stream, other, other_end)


async def test_a_segment_begins_before_its_end_and_goes_with_its_race_and_its_stream(
    database: Database,
) -> None:
    a, b = await add_race(database, "A"), await add_race(database, "B")
    stream, other = await add_stream(database), await add_stream(database, "finish")
    for end in ((1, 5), (1, 4)):
        with pytest.raises(asyncpg.CheckViolationError):
            await add_segment(database, a, stream, (1, 5), end)
    await add_segment(database, a, stream, (1, 5), (1, 9))
    await add_segment(database, b, stream, (1, 9), None)
    await add_segment(database, b, other, (1, 1), None)
    await database.execute("DELETE FROM races WHERE race_id = $1", a)
    await database.execute("DELETE FROM streams WHERE stream_id = $1", other)
    (left,) = await database.fetch("SELECT race_id, stream_id FROM race_segments")
    assert tuple(left) == (b, stream)


async def test_chips_of_a_cut_epoch_are_those_that_passed_between_its_boundaries(
    database: Database, stream_id: UUID
) -> None:
    race = await add_race(database)
    await database.execute("INSERT INTO passings_progress VALUES ($1, 12)", stream_id)
    at = datetime(2026, 5, 3, 10)  # noqa: DTZ001 - a reader's own clock
    for epoch, tag, low, high in ((1, "a", 1, 3), (1, "b", 4, 7), (1, "c", 8, 9), (2, "d", 1, 1)):
        await database.execute(
            "INSERT INTO passings VALUES ($1, $2, $3, $4, $5, $4, $6, $5, $6, 1, $6)",
            *(stream_id, epoch, tag, at, low, high),
        )
        await database.execute("INSERT INTO epoch_chips VALUES ($1, $2, $3)", stream_id, epoch, tag)
    # Nobody passed, as far as that has been made by now: of a whole epoch it counts what the writer has counted.
    await database.execute("INSERT INTO epoch_chips VALUES ($1, 2, 'e')", stream_id)
    await database.execute("INSERT INTO epoch_races VALUES ($1, 2, $2)", stream_id, race)

    async def chips() -> list[str]:
        rows = await database.fetch("SELECT tag_id FROM chips_of_race($1) ORDER BY tag_id", race)
        return [row["tag_id"] for row in rows]

    assert await chips() == ["d", "e"]
    await add_segment(database, race, stream_id, (1, 5), (2, 1))
    assert await chips() == ["b", "c", "d", "e"]
    await database.execute("UPDATE race_segments SET from_seq = 8, to_epoch = 1, to_seq = 9")
    assert await chips() == ["c", "d", "e"]
    # All that is stored of an epoch is the whole of it, wherever its end is said to be.
    await database.execute("UPDATE race_segments SET from_epoch = 2, from_seq = 1, to_epoch = 2, to_seq = 13")
    assert await chips() == ["d", "e"]


async def test_what_a_memory_had_is_of_the_race_of_its_readers_epoch(
    database: Database, stream_id: UUID
) -> None:
    """Also when the reader has gone on to the race of the next day; nobody asks a memory for a new epoch."""
    a, b, c = [await add_race(database, name) for name in ("A", "B", "C")]
    memory = await add_stream(database, reader_ip=memory_of("10.0.0.1:10000"), epoch=2)
    await add_metrics(database, memory, epoch=2, dedup=SEQS)

    async def shown() -> list[tuple[str, str, bool]]:
        """Return what the memory's reads are of: by read, by range, and by what."""
        rows = await database.fetch(
            """
            SELECT name, rule, (SELECT race_id FROM race_of_read($1, 2, 5)) = races.race_id AS is_read
            FROM races CROSS JOIN ranges_of_race(race_id) AS part
            WHERE part.stream_id = $1 AND part.stream_epoch = 2
            """,
            memory,
        )
        return [(row["name"], row["rule"], row["is_read"]) for row in rows]

    await database.execute("INSERT INTO forwarder_races VALUES ('start', $1)", b)
    assert await shown() == []
    await database.execute("INSERT INTO epoch_races VALUES ($1, 2, $2)", stream_id, a)
    assert await shown() == [("A", "epoch", True)]
    # What somebody says of it itself holds.
    await database.execute("INSERT INTO epoch_races VALUES ($1, 2, $2)", memory, c)
    assert await shown() == [("C", "epoch", True)]
    # The reader is in that epoch, and nothing is said of it but of the forwarder.
    await database.execute("TRUNCATE epoch_races")
    await database.execute("UPDATE streams SET stream_epoch = 2")
    assert await shown() == [("B", "forwarder", True)]
