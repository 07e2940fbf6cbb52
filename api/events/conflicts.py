"""Conflicts that somebody has seen. They are listed with the events (api/events/store.py)."""

from typing import NamedTuple
from uuid import UUID

from shared.db.connections import Statements
from shared.db.errors import translated

__all__ = ["SeenConflict", "acknowledge", "acknowledge_all"]

# Who comes second changes nothing.
_ACKNOWLEDGE = """
WITH seen AS (
    UPDATE integrity_conflicts SET acknowledged_at = now() WHERE conflict_id = $1 AND acknowledged_at IS NULL
    RETURNING conflict_id
)
SELECT stream_title(streams) AS stream, conflict.stream_id, conflict.stream_epoch, seq,
       EXISTS (SELECT FROM seen) AS new
FROM integrity_conflicts AS conflict JOIN streams USING (stream_id)
WHERE conflict_id = $1
"""
_ACKNOWLEDGE_ALL = """
WITH acknowledged AS (
    UPDATE integrity_conflicts SET acknowledged_at = now() WHERE stream_id = $1 AND acknowledged_at IS NULL RETURNING 1
)
SELECT count(*) FROM acknowledged
"""


class SeenConflict(NamedTuple):
    """A conflict that somebody has seen; new: nobody had before."""

    stream: str
    stream_id: UUID
    stream_epoch: int
    seq: int
    new: bool


async def acknowledge(database: Statements, conflict_id: int) -> SeenConflict | None:
    """Note that a person has seen a conflict; None when there is no such conflict."""
    with translated():
        row = await database.fetchrow(_ACKNOWLEDGE, conflict_id)
    return None if row is None else SeenConflict(**row)


async def acknowledge_all(database: Statements, stream_id: UUID) -> int:
    """Note that a person has seen all conflicts of a stream, and return how many were new to them."""
    with translated():
        return int(await database.fetchval(_ACKNOWLEDGE_ALL, stream_id))
