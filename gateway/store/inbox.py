"""The inbox and back: parts are staged, outcomes collected."""

from collections.abc import Sequence
from typing import Literal, NamedTuple
from uuid import UUID

import asyncpg

from gateway.batch import Part
from shared.database import Connection
from shared.errors import RtServerError, translated

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


class AlreadyStaged(RtServerError):
    """A part lies in the inbox already: a staging that seemed lost was not."""


_INBOX_COLUMNS = (
    "gateway_id",
    "part_id",
    "forwarder_id",
    "fence",
    "session_id",
    "stream_id",
    "stream_epoch",
    "received_at",
    "event_count",
    "seqs",
    "raw_frames",
    "reader_timestamps",
    "read_types",
    "tag_ids",
    "read_ats",
    "parse_errors",
)
# One round trip for all rows together, where a COPY takes two: 1 ms of a batch's way on a busy machine.
_STAGE = f"""
INSERT INTO inbox ({", ".join(_INBOX_COLUMNS)})
VALUES ({", ".join(f"${number}" for number, _ in enumerate(_INBOX_COLUMNS, start=1))})
"""  # noqa: S608 - the names are ours
_STAGED = """
SELECT generation, ARRAY(SELECT part_id FROM inbox WHERE gateway_id = $1) AS part_ids FROM inbox_generation
"""

# Whoever finds the generation missing after a crash makes a new one; all others then see the same.
_GENERATION = """
INSERT INTO inbox_generation (generation) VALUES (gen_random_uuid()) ON CONFLICT (only_row) DO NOTHING
"""
_COLLECT = """
WITH taken AS (DELETE FROM outcomes WHERE gateway_id = $1 RETURNING outcome, part_ids)
SELECT generation, taken.outcome, taken.part_ids
FROM inbox_generation LEFT JOIN taken ON true
"""


class Staged(NamedTuple):
    """The inbox's generation (None: not known yet) and what lies in it."""

    generation: UUID | None
    part_ids: set[int]


class Collected(NamedTuple):
    """The inbox's generation, and the parts by what became of them since the last call."""

    generation: UUID
    outcomes: list[tuple[Outcome, list[int]]]


async def stage(connection: Connection, gateway_id: UUID, parts: Sequence[Part]) -> None:
    """Put parts into the inbox, all or none, which rings; AlreadyStaged when one lies there."""
    records = [_record(gateway_id, part) for part in parts]
    try:
        with translated():
            await connection.executemany(_STAGE, records)
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


def _record(gateway_id: UUID, part: Part) -> tuple[object, ...]:
    """Return a row in the order of _INBOX_COLUMNS."""
    batch = part.batch
    return (
        gateway_id,
        part.part_id,
        batch.forwarder_id,
        batch.fence,
        batch.session_id,
        part.stream_id,
        part.stream_epoch,
        batch.received_at,
        len(part.seqs),
        part.seqs,
        part.raw_frames,
        part.reader_timestamps,
        part.read_types,
        part.tag_ids,
        part.read_ats,
        part.parse_errors,
    )
