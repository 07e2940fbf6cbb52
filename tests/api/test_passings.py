"""Whatever the order in which reads are stored, and however they are divided among looks, the same passings come out."""

import asyncio
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.passings.filling import Filling
from api.passings.store import fill
from tests.api.seeds import Database, add_stream

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
            found.add((
                *(epoch, tag_id, first.read_at, first.seq, last.read_at, last.seq, min(seqs), max(seqs)),
                *(len(group), max(position for position, _ in group)),
            ))
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
            (stream_id, read.epoch, read.seq, last + n, NOON, read.tag_id and read.read_at, b"x", "", "raw", read.tag_id)
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


async def fill_all(database: Database, *, most_events: int = 1_000) -> int:
    """Fill until nothing is left and return how many looks that took."""
    looks = 0
    while (await fill(database, most_events=most_events)).waiting:  # type: ignore[arg-type]
        looks += 1
    return looks
