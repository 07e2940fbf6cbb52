"""Views of reads, by offset: in order of arrival, all of them or one for each window of a chip.

A window belongs to a chip: its reads in the order of reader time, ties by seq, the first of which is the anchor; one
that comes `width` or more behind the anchor begins the next. `first` shows the first read of each window, `last` the
last. Reader time and not arrival decides, so that what comes all at once after an outage is seen as what came live.
What has no chip or no reader time passes through. In a view of a forwarder the windows are over all its streams: a
chip that two mats of one point saw was there once.

The pass is the database's, which sorts on disk what does not fit: here is one page and nothing else.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Literal, NamedTuple, TypeAlias
from uuid import UUID

import asyncpg

from api.events.types import Dedup, EventFilter
from shared.db.connections import Pool
from shared.db.errors import translated

__all__ = [
    "NEWEST",
    "PASSED",
    "VIEWS",
    "Epoch",
    "View",
    "counts",
    "current_epochs",
    "newest",
    "passed",
    "view",
]

Order: TypeAlias = Literal["asc", "desc"]

# The current epochs of a stream or of a forwarder, or the one of a number, with how many events each has.
_EPOCHS = """
SELECT streams.stream_id, coalesce($3, streams.stream_epoch) AS stream_epoch, coalesce(dedup_count, 0) AS count
FROM streams
LEFT JOIN stream_metrics
    ON stream_metrics.stream_id = streams.stream_id
   AND stream_metrics.stream_epoch = coalesce($3, streams.stream_epoch)
WHERE streams.stream_id = $1 OR streams.forwarder_id = $2
"""

# All epochs of a stream, or the one of a number.
_COUNTS = """
SELECT stream_id, stream_epoch, dedup_count AS count FROM stream_metrics
WHERE stream_id = $1 AND ($2::bigint IS NULL OR stream_epoch = $2)
"""

# $1, $2: epochs of streams; $3: tag; $4, $5: received since, until.
_SCOPE = """
    SELECT events.stream_id, events.stream_epoch, seq, received_at, tag_id, read_at
    FROM unnest($1::uuid[], $2::bigint[]) AS scope(stream_id, stream_epoch)
    JOIN events ON events.stream_id = scope.stream_id AND events.stream_epoch = scope.stream_epoch
    WHERE ($3::text IS NULL OR tag_id = lower($3::text))
      AND received_at >= coalesce($4::timestamptz, '-infinity')
      AND received_at <= coalesce($5::timestamptz, 'infinity')
"""


# $6: the window. Two steps, because an edge is where the anchor is another than that of the neighbour. A read without
# reader time has no anchor, and so is an edge on both sides; such come last, behind all that have one. Without width
# each read is a window, also where two have one time.
def _windowed(neighbour: str) -> str:
    return f"""
    SELECT stream_id, stream_epoch, seq, received_at
    FROM (
        SELECT anchored.*, {neighbour}(anchor) OVER key IS DISTINCT FROM anchor AS is_edge
        FROM (
            SELECT reads.*, window_anchor(read_at, $6::interval) OVER key AS anchor
            FROM ({_SCOPE}) AS reads
            WINDOW key AS (PARTITION BY tag_id ORDER BY read_at, stream_id, stream_epoch, seq
                           ROWS UNBOUNDED PRECEDING)
        ) AS anchored
        WINDOW key AS (PARTITION BY tag_id ORDER BY read_at, stream_id, stream_epoch, seq)
    ) AS edges
    WHERE is_edge OR tag_id IS NULL OR read_at IS NULL OR $6 = interval '0'
"""  # noqa: S608 - of constants only


_SHOWN = {
    "none": f"SELECT * FROM ({_SCOPE}) AS reads WHERE $6::interval IS NOT NULL",  # noqa: S608 - of constants only
    "first": _windowed("lag"),
    "last": _windowed("lead"),
}
# $7 offset, $8 at most. The view is made once, counted, and a page of it taken; a page beyond its end has the count
# alone. Whole rows are looked up for the page only.
VIEWS = {
    (dedup, order): f"""
WITH shown AS MATERIALIZED ({shown}),
page AS (
    SELECT stream_id, stream_epoch, seq, received_at FROM shown
    ORDER BY received_at {order}, stream_id {order}, stream_epoch {order}, seq {order}
    OFFSET $7 LIMIT $8
)
SELECT total.count, page.*
FROM (SELECT count(*) FROM shown) AS total
LEFT JOIN page ON true
ORDER BY received_at {order}, stream_id {order}, stream_epoch {order}, seq {order}
"""  # noqa: S608 - of constants only
    for dedup, shown in _SHOWN.items()
    for order in ("asc", "desc")
}

# $1, $2: epochs; $3: offset, $4: at most. One pass over them that keeps what may be on the page and nothing else: their
# number is known without (stream_metrics).
PASSED = {
    order: f"""
SELECT events.stream_id, events.stream_epoch, seq, received_at
FROM unnest($1::uuid[], $2::bigint[]) AS scope(stream_id, stream_epoch)
JOIN events ON events.stream_id = scope.stream_id AND events.stream_epoch = scope.stream_epoch
ORDER BY received_at {order}, events.stream_id {order}, events.stream_epoch {order}, seq {order}
OFFSET $3 LIMIT $4
"""  # noqa: S608 - of constants only
    for order in ("asc", "desc")
}

# $1, $2: current epochs; $3: offset, $4: at most. The newest of each by position, which is the order of arrival, and of
# all those the page: it costs what lies before it, however long the epochs are.
NEWEST = """
SELECT newest.*
FROM unnest($1::uuid[], $2::bigint[]) AS scope(stream_id, stream_epoch)
CROSS JOIN LATERAL (
    SELECT stream_id, stream_epoch, seq, received_at FROM events
    WHERE events.stream_id = scope.stream_id AND events.stream_epoch = scope.stream_epoch
    ORDER BY position DESC
    LIMIT $3::bigint + $4::bigint
) AS newest
ORDER BY received_at DESC, stream_id DESC, stream_epoch DESC, seq DESC
OFFSET $3 LIMIT $4
"""


class Epoch(NamedTuple):
    """An epoch that is looked at, and how many events it has."""

    stream_id: UUID
    stream_epoch: int
    events: int


class View(NamedTuple):
    """Keys of a page, (stream, epoch, seq), in order; and how many reads the whole view has."""

    keys: list[tuple[UUID, int, int]]
    total: int


async def current_epochs(
    pool: Pool, *, stream_id: UUID | None = None, forwarder_id: str | None = None, epoch: int | None = None
) -> list[Epoch]:
    """Return the current epoch, or the one of a number, of a stream or of each stream of a forwarder."""
    with translated():
        rows = await pool.fetch(_EPOCHS, stream_id, forwarder_id, epoch)
    return [Epoch(*row) for row in rows]


async def counts(pool: Pool, stream_id: UUID, epoch: int | None) -> list[Epoch]:
    """Return how many events the epochs of a stream have, or the one of a number."""
    with translated():
        return [Epoch(*row) for row in await pool.fetch(_COUNTS, stream_id, epoch)]


async def newest(pool: Pool, epochs: Sequence[Epoch], *, offset: int, limit: int) -> View:
    """Return a page of all reads of current epochs, the newest first."""
    with translated():
        rows = await pool.fetch(NEWEST, *_scope(epochs), offset, limit)
    return View([_key(row) for row in rows], sum(each.events for each in epochs))


async def passed(pool: Pool, epochs: Sequence[Epoch], *, order: Order, offset: int, limit: int) -> View:
    """Return a page of all reads of epochs, in either order."""
    with translated():
        rows = await pool.fetch(PASSED[order], *_scope(epochs), offset, limit)
    return View([_key(row) for row in rows], sum(each.events for each in epochs))


async def view(
    pool: Pool,
    epochs: Sequence[Epoch],
    wanted: EventFilter,
    *,
    dedup: Dedup,
    window: timedelta,
    order: Order,
    offset: int,
    limit: int,
) -> View:
    """Return a page of a view of epochs."""
    arguments = *_scope(epochs), wanted.tag_id, wanted.since, wanted.until, window, offset, limit
    with translated():
        rows = await pool.fetch(VIEWS[dedup, order], *arguments)
    return View([_key(row) for row in rows if row["stream_id"] is not None], rows[0]["count"])


def _scope(epochs: Sequence[Epoch]) -> tuple[list[UUID], list[int]]:
    return [each.stream_id for each in epochs], [each.stream_epoch for each in epochs]


def _key(row: asyncpg.Record) -> tuple[UUID, int, int]:
    return row["stream_id"], row["stream_epoch"], row["seq"]
