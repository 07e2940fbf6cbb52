"""The inbox and back: parts are staged, outcomes collected."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, chain
from typing import Literal, NamedTuple
from uuid import UUID

import asyncpg

from gateway.batch import Part
from shared.db.connections import Connection
from shared.db.errors import translated
from shared.errors import RtServerError

__all__ = [
    "AlreadyStaged",
    "Collected",
    "Outcome",
    "Staged",
    "collect_outcomes",
    "stage",
    "staged_parts",
]

Outcome = Literal["stored", "conflict", "gone", "fenced", "poisoned"]

BUNDLE_EVENTS = 500


class AlreadyStaged(RtServerError):
    """A part lies in the inbox already: a staging that seemed lost was not."""


# Many parts a statement: their events stand behind one another in one array for each column, and a part says which
# slice is its own. A statement for each part would cost small batches as much as all else that is done with them.
_STAGE = """
INSERT INTO inbox (gateway_id, part_id, receipt, forwarder_id, fence, session_id, stream_id, stream_epoch, received_at,
                   event_count, framed, seqs, raw_frames, reader_timestamps, read_types, tag_ids, read_ats,
                   parse_errors)
SELECT $1, part_id, receipt, forwarder_id, fence, session_id, stream_id, stream_epoch, received_at,
       last - first + 1, framed, ($13::bigint[])[first:last], ($14::bytea[])[first:last], ($15::text[])[first:last],
       ($16::text[])[first:last], ($17::text[])[first:last], ($18::timestamp[])[first:last], ($19::text[])[first:last]
FROM unnest($2::bigint[], $3::bigint[], $4::text[], $5::bigint[], $6::uuid[], $7::uuid[], $8::bigint[],
            $9::timestamptz[], $10::integer[], $11::integer[], $12::boolean[])
    WITH ORDINALITY AS part(part_id, receipt, forwarder_id, fence, session_id, stream_id, stream_epoch, received_at,
                            first, last, framed, place)
ORDER BY place
"""
# Generation and parts in one snapshot: of an inbox that is emptied in between the parts would be those of another.
_STAGED = """
SELECT generation, ARRAY(SELECT part_id FROM inbox WHERE gateway_id = $1) AS part_ids FROM inbox_generation
"""

# Whoever finds the generation missing after a crash makes a new one; all others then see the same.
_GENERATION = """
INSERT INTO inbox_generation (generation) VALUES (gen_random_uuid()) ON CONFLICT (only_row) DO NOTHING
"""
_COLLECT = "SELECT generation, outcome, part_ids FROM collect_outcomes($1)"


class Staged(NamedTuple):
    """The inbox's generation (None: not known yet) and what lies in it."""

    generation: UUID | None
    part_ids: set[int]


class Collected(NamedTuple):
    """The inbox's generation, and the parts by what became of them since the last call: [("stored", [17, 18]),
    ("conflict", [19])].
    """

    generation: UUID
    outcomes: list[tuple[Outcome, list[int]]]


async def stage(connection: Connection, gateway_id: UUID, parts: Sequence[Part]) -> None:
    """Put parts into the inbox, all or none, which notifies the writers; AlreadyStaged when one lies there."""
    try:
        with translated():
            await connection.executemany(_STAGE, [(gateway_id, *_arrays(each)) for each in _bundles(parts)])
    except RtServerError as error:
        if isinstance(error.__cause__, asyncpg.UniqueViolationError):
            raise AlreadyStaged(str(error)) from error
        raise


async def staged_parts(connection: Connection, gateway_id: UUID) -> Staged:
    """Return the ids of this gateway's parts that still lie in the inbox, and the generation they are of."""
    with translated():
        row = await connection.fetchrow(_STAGED, gateway_id)
    return Staged(row["generation"], set(row["part_ids"])) if row else Staged(None, set())


async def collect_outcomes(connection: Connection, gateway_id: UUID) -> Collected:
    """Take what became of this gateway's parts, and look at the generation in the same snapshot."""
    with translated():
        rows = await connection.fetch(_COLLECT, gateway_id)
        while not rows:
            await connection.execute(_GENERATION)
            rows = await connection.fetch(_COLLECT, gateway_id)
    return Collected(
        rows[0]["generation"],
        [(row["outcome"], row["part_ids"]) for row in rows if row["outcome"] is not None],
    )


def _bundles(parts: Sequence[Part]) -> Iterator[list[Part]]:
    """Share parts out over statements: while Postgres works on the first, the next are still encoded."""
    bundle: list[Part] = []
    events = 0
    for part in parts:
        bundle.append(part)
        events += len(part.seqs)
        if events >= BUNDLE_EVENTS:
            yield bundle
            bundle, events = [], 0
    if bundle:
        yield bundle


def _arrays(parts: Sequence[Part]) -> Iterator[Sequence[object]]:
    """Yield the arrays of _STAGE: with a value for each part, then with a value for each event."""
    last = list(accumulate(len(part.seqs) for part in parts))
    yield [part.part_id for part in parts]
    yield [part.receipt for part in parts]
    yield [part.batch.forwarder_id for part in parts]
    yield [part.batch.fence for part in parts]
    yield [part.batch.session_id for part in parts]
    yield [part.stream_id for part in parts]
    yield [part.stream_epoch for part in parts]
    yield [part.batch.received_at for part in parts]
    yield [1, *(place + 1 for place in last[:-1])]
    yield last
    yield [part.framed for part in parts]
    yield _joined(part.seqs for part in parts)
    yield _joined(part.raw_frames for part in parts)
    yield _joined(part.reader_timestamps for part in parts)
    yield _joined(part.read_types for part in parts)
    yield _joined(part.tag_ids for part in parts)
    yield _joined(part.read_ats for part in parts)
    # Nearly always of nothing: an array without elements says so as well, and neither side goes through one of NULLs.
    errors = _joined(part.parse_errors for part in parts)
    yield errors if any(errors) else []


def _joined(columns: Iterable[Sequence[object]]) -> list[object]:
    return list(chain.from_iterable(columns))
