"""The ledger of parts of epochs: which numbers are there, with digests. Of one moment, read in the order of the key.

Digests are made while somebody waits, and kept. Where they are too many for that, those that were made are kept all
the same, and who asks again goes on from there.
"""

from collections.abc import Sequence
from time import monotonic
from typing import NamedTuple
from uuid import UUID

from api.certificate.digests import BLOCK_EVENTS
from api.certificate.ranges import Range, holes, joined
from api.certificate.store import blocks as store
from api.certificate.store.blocks import Block
from api.certificate.store.facts import Facts
from api.certificate.store.parts import Part
from api.http.errors import ApiError
from shared.db.connections import Statements

__all__ = ["AT_ONCE", "MOST_BLOCKS", "MOST_RANGES", "Entry", "Making", "Unfinished", "entry"]

# Twenty million reads without a gap. What is done with all of them at once holds the event loop for 70 ms.
MOST_BLOCKS = 20_000
# Ranges of missing numbers in a certificate: as much time, and two megabytes of JSON.
MOST_RANGES = 100_000
# Blocks to a statement, at most: a tenth of a million reads, a third of a second. A line may have 64 KiB, so that it
# begins with few, and takes as many as lately fitted into that time: what is asked for of a block, devices decide.
AT_ONCE = 100
AT_FIRST = 5
STATEMENT_S = 0.3


class Unfinished(Exception):
    """There was not enough time for all digests; those that were made are in `Making`."""


class Entry(NamedTuple):
    """What is there of a part. low and high: the numbers between which reads are expected (high < low: none);
    ranges_left_out: how many more ranges are absent at least.
    """

    blocks: list[Block]
    low: int
    high: int
    absent: list[Range]
    ranges_left_out: int

    @property
    def read_count(self) -> int:
        """How many reads are there."""
        return sum(each.event_count for each in self.blocks)

    @property
    def expected_count(self) -> int:
        """How many there should be."""
        return max(0, self.high - self.low + 1)


class _Made(NamedTuple):
    """Digests of an epoch that are to be kept."""

    stream_id: UUID
    stream_epoch: int
    changes: int
    blocks: list[Block]


class Making:
    """What one certificate may take: time, blocks and ranges; and the digests that were made for it."""

    def __init__(self, within_s: float) -> None:
        self._ends_at = monotonic() + within_s
        self.at_once = min(AT_ONCE, AT_FIRST)
        self._made: list[_Made] = []
        self.blocks = 0
        self.ready = 0
        self.ranges_left = MOST_RANGES

    def count(self, blocks: Sequence[Block]) -> None:
        """Count the blocks of a part; BAD_REQUEST where the certificate has too many."""
        self.blocks += len(blocks)
        self.ready += sum(each.digest is not None for each in blocks)
        if self.blocks > MOST_BLOCKS:
            raise ApiError(
                "BAD_REQUEST",
                f"the numbers of these reads lie in more than {MOST_BLOCKS:,} blocks; ask for fewer epochs",
            )

    def take(self, part: Part, changes: int, blocks: list[Block]) -> None:
        """Take digests that were made; Unfinished where the time is over."""
        self.ready += len(blocks)
        # Of a block that a boundary cuts the digest is of this part alone.
        whole = [
            each
            for each in blocks
            if part.has(each.block * BLOCK_EVENTS + 1, (each.block + 1) * BLOCK_EVENTS)
        ]
        if whole:
            self._made.append(_Made(part.stream_id, part.stream_epoch, changes, whole))
        if monotonic() > self._ends_at:
            raise Unfinished

    def pace(self, blocks: int, took_s: float) -> None:
        """So many blocks took so long: take as many to the next statement as should take their time."""
        self.at_once = max(1, min(AT_ONCE, int(blocks * STATEMENT_S / max(took_s, 0.001))))

    async def keep(self, database: Statements) -> None:
        """Keep what was made, for who asks next."""
        for each in self._made:
            await store.keep(database, *each)


async def entry(database: Statements, part: Part, facts: Facts, making: Making) -> Entry:
    """Return what is there of a part; Unfinished where there is no time for all of it."""
    counted = await store.count_blocks(database, part, most=MOST_BLOCKS + 1)
    making.count(counted.blocks)
    blocks = await _digested(database, part, counted, making)
    high = _high(part, facts, blocks)
    found = holes(((each.block, each.event_count) for each in blocks), part.from_seq, high)
    partial = (
        await store.absent(database, part, found.partial, most=making.ranges_left + 1)
        if found.partial
        else []
    )
    ranges = joined([*found.absent, *partial])
    shown = ranges[: making.ranges_left]
    making.ranges_left -= len(shown)
    return Entry(blocks, part.from_seq, high, shown, len(ranges) - len(shown))


def _high(part: Part, facts: Facts, blocks: Sequence[Block]) -> int:
    """Return the highest number that is known of: there, counted once, or noted as deleted."""
    known = [each.last_seq for each in facts.changes if each.kind == "deleted"]
    known += [facts.last_seq or 0, blocks[-1].last_seq if blocks else 0]
    return max(known) if part.to_seq is None else min(max(known), part.to_seq - 1)


async def _digested(database: Statements, part: Part, counted: store.Counted, making: Making) -> list[Block]:
    """Return the blocks of a part, all with their digests. From the highest on: whether an event came late hangs on
    what is numbered above it.
    """
    above = None if part.to_seq is None else await store.first_position_from(database, part, part.to_seq)
    ready: list[Block] = []
    wanted: list[Block] = []

    async def make() -> None:
        nonlocal above, wanted
        if wanted:
            began = monotonic()
            made = await store.make(database, part, wanted[::-1], above)
            making.pace(len(made), monotonic() - began)
            ready.extend(reversed(made))
            above, wanted = _lowest(above, made), []
            making.take(part, counted.changes, made)

    for block in reversed(counted.blocks):
        if block.digest is None:
            wanted.append(block)
        if block.digest is not None or len(wanted) >= making.at_once:
            await make()
        if block.digest is not None:
            ready.append(block)
            above = _lowest(above, [block])
    await make()
    return ready[::-1]


def _lowest(above: int | None, blocks: Sequence[Block]) -> int | None:
    positions = [each.first_position for each in blocks if each.first_position is not None]
    return min([*positions, *(() if above is None else (above,))], default=None)
