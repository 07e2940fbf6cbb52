"""When reads were really made: what their readers' clocks said, corrected by how far off these were at that moment.
What is stored is never changed.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from shared.db.connections import Pool
from shared.db.errors import translated

__all__ = ["COLUMN", "Dated", "made_at"]

# Of a row `events`, for a copy of it: by the wall clock of the reader's zone, with its offset; empty: nobody knows.
COLUMN = """
coalesce((
    SELECT shown_in_zone(made_at(events.stream_id, events.read_at, events.received_at), clock.zone, clock.zone_ms)
    FROM reader_clocks AS clock WHERE clock.stream_id = events.stream_id
), '')
"""

_MADE_AT = """
SELECT made_at(given.stream_id, given.read_at, given.received_at)
FROM unnest($1::uuid[], $2::timestamp[], $3::timestamptz[]) WITH ORDINALITY
     AS given(stream_id, read_at, received_at, place)
ORDER BY place
"""


class Dated(NamedTuple):
    """A read: of which stream, when by its reader's clock (None: its line does not say), and when it was received."""

    stream_id: UUID
    read_at: datetime | None
    received_at: datetime


async def made_at(pool: Pool, reads: Sequence[Dated]) -> list[datetime | None]:
    """Return when each read was made, None where that is not known: one look, whatever their number."""
    columns = [[each[at] for each in reads] for at in range(3)]
    with translated():
        return [row[0] for row in await pool.fetch(_MADE_AT, *columns)]
