"""Who has passed since somebody looked last, by positions: what the filling of passings has changed."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

from api.crossings.store.passings import STANDING
from shared.db.connections import Statements
from shared.db.errors import translated

__all__ = ["CHANGED", "Changes", "Known", "changed"]

# Who has passed since: $2, $3: up to where each stream is known; of each the next $4 passings that have changed. up_to:
# as far as that has been looked at; without a full page it is where the filling stood, of the same moment.
CHANGED = f"""
WITH {STANDING}
SELECT standing.stream_id, at, page.tag_id, progress.generation,
       CASE WHEN count(page.position) OVER of_stream = $4 THEN max(page.position) OVER of_stream
            ELSE coalesce(progress.position, 0) END AS up_to
FROM (SELECT DISTINCT stream_id, at FROM standing) AS standing
LEFT JOIN passings_progress AS progress USING (stream_id)
LEFT JOIN unnest($2::uuid[], $3::bigint[]) AS known(stream_id, position) USING (stream_id)
LEFT JOIN LATERAL (
    SELECT tag_id, position FROM passings
    WHERE passings.stream_id = standing.stream_id AND position > coalesce(known.position, progress.position, 0)
    ORDER BY position
    LIMIT $4
) AS page ON true
WINDOW of_stream AS (PARTITION BY standing.stream_id)
"""  # noqa: S608 - of constants only


class Known(NamedTuple):
    """Up to where a stream's passings are known, and of which filling they are; None: nothing was filled."""

    position: int
    generation: UUID | None


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
    """Return what has changed behind positions of streams. A stream that was not known is known from now on."""
    positions = [each.position for each in known.values()]
    with translated():
        rows = await database.fetch(CHANGED, race_id, list(known), positions, at_most)
    found = [(row["at"], row["tag_id"]) for row in rows if row["tag_id"] is not None]
    up_to = {row["stream_id"]: Known(row["up_to"], row["generation"]) for row in rows}
    full = max(Counter(row["stream_id"] for row in rows).values(), default=0) >= at_most
    anew = any(_filled_anew(known.get(stream_id), now) for stream_id, now in up_to.items())
    return Changes(list(dict.fromkeys(found)), up_to, full, anew)


def _filled_anew(before: Known | None, now: Known) -> bool:
    """Whether what was known is of another filling: by its position it cannot be told, once that is over."""
    return before is not None and before.generation not in (None, now.generation)
