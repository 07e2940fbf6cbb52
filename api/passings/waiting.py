"""How much is stored of a race and not yet in passings: so much may whatever is made of passings lack."""

from uuid import UUID

from shared.db.connections import Statements
from shared.db.errors import translated

__all__ = ["WAITING", "waiting_events"]

# $1: the race; null: of all streams. By streams, not by epochs: a stream of which nothing waits is the usual, and says
# so in one row.
WAITING = """
SELECT coalesce(sum(last_position - coalesce(progress.position, 0)), 0)::bigint
FROM streams LEFT JOIN passings_progress AS progress USING (stream_id)
WHERE last_position > coalesce(progress.position, 0)
  AND ($1::uuid IS NULL OR stream_id IN (SELECT stream_id FROM ranges_of_race($1)))
"""


async def waiting_events(database: Statements, race_id: UUID | None) -> int:
    """Return how many events of a race's streams, or of all, are not in passings. To be asked before passings are:
    what becomes one in between is counted and there; the other way around it would be neither.
    """
    with translated():
        found: int = await database.fetchval(WAITING, race_id)
    return found
