"""Who has passed since somebody looked last, by positions: what the filling of passings has changed."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

from api.crossings.store.passings import STANDING
from shared.db.connections import Statements
from shared.db.errors import translated

__all__ = ["CHANGED", "Changes", "Known", "changed"]

# Who has passed since: $2, $3: up to where each stream is known; $4: so many passings that have changed, of all streams
# together. Those that have any share the room; of the others nothing is looked at. up_to: as far as a stream has been
# looked at; where that was not all of its share it is where the filling stood, of the same moment.
CHANGED = f"""
WITH {STANDING},
followed AS MATERIALIZED (
    SELECT standing.stream_id, at, generation AS filling, coalesce(progress.position, 0) AS until,
           coalesce(known.position, progress.position, 0) AS position
    FROM (SELECT DISTINCT stream_id, at FROM standing) AS standing
    LEFT JOIN passings_progress AS progress USING (stream_id)
    LEFT JOIN unnest($2::uuid[], $3::bigint[]) AS known(stream_id, position) USING (stream_id)
),
room AS MATERIALIZED (
    SELECT greatest($4::bigint / greatest(count(*), 1), 1) AS share FROM followed WHERE until > position
)
SELECT stream_id, at, tag_id, filling, count(page.position) OVER of_stream = share AS is_full,
       CASE WHEN count(page.position) OVER of_stream = share THEN max(page.position) OVER of_stream
            ELSE until END AS up_to
FROM followed CROSS JOIN room
LEFT JOIN LATERAL (
    SELECT tag_id, position FROM passings
    WHERE until > followed.position
      AND passings.stream_id = followed.stream_id AND passings.position > followed.position
    ORDER BY passings.position
    LIMIT room.share
) AS page ON true
WINDOW of_stream AS (PARTITION BY stream_id)
"""  # noqa: S608 - of constants only


class Known(NamedTuple):
    """Up to where a stream's passings are known, and of which filling they are; None: nothing was filled."""

    position: int
    filling: UUID | None


class Changes(NamedTuple):
    """Points and chips of the passings that have changed, and up to where each stream is known then. more: at once
    there is more; anew: a stream is or was filled from its beginning again, and what was known of it may be otherwise.
    """

    found: Sequence[tuple[str, str]]
    known: Mapping[UUID, Known]
    more: bool
    anew: bool


async def changed(
    database: Statements, race_id: UUID, known: Mapping[UUID, Known], *, at_most: int
) -> Changes:
    """Return what has changed behind positions of streams, so many passings at the most, or one of each stream. A
    stream that was not known is known from now on.
    """
    positions = [each.position for each in known.values()]
    with translated():
        rows = await database.fetch(CHANGED, race_id, list(known), positions, at_most)
    found = [(row["at"], row["tag_id"]) for row in rows if row["tag_id"] is not None]
    up_to = {row["stream_id"]: Known(row["up_to"], row["filling"]) for row in rows}
    anew = any(_filled_anew(known.get(stream_id), now) for stream_id, now in up_to.items())
    return Changes(list(dict.fromkeys(found)), up_to, any(row["is_full"] for row in rows), anew)


def _filled_anew(before: Known | None, now: Known) -> bool:
    """Whether what was known is of another filling: by its position it cannot be told, once that is over."""
    return before is not None and before.filling not in (None, now.filling)
