"""The reads of streams, as far as boundaries are concerned."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from api.segments.pieces import Key, Moved, Piece
from shared.db.connections import Statements
from shared.db.errors import translated

__all__ = [
    "AXIS",
    "EPOCHS_SHOWN",
    "MEASURED",
    "KnownEpoch",
    "axis",
    "counted",
    "first_at",
    "known_epochs",
    "measured",
    "pieces",
    "ranges",
    "reads_at",
]

EPOCHS_SHOWN = 50
# Of each of its newest epochs, also one that has no read yet: the pieces. No read is looked at.
_RANGES = """
WITH shown AS MATERIALIZED (
    SELECT stream_epoch FROM stream_metrics WHERE stream_id = $1
    UNION SELECT stream_epoch FROM epoch_races WHERE stream_id = $1
    UNION SELECT stream_epoch FROM streams WHERE stream_id = $1
    ORDER BY stream_epoch DESC
    LIMIT $2
)
SELECT shown.stream_epoch AS epoch, part.from_seq, part.to_seq, part.race_id, races.name AS race, part.rule
FROM shown
CROSS JOIN LATERAL ranges_of_epoch($1, shown.stream_epoch) AS part
LEFT JOIN races ON races.race_id = part.race_id
ORDER BY shown.stream_epoch, part.from_seq
"""
# How many reads a `part` of an epoch has, from from_seq up to and without to_seq (null: to its end). The writer knows:
# they are its numbers, less those that are missing, and of whole epochs it has counted them. Only where it has kept not
# all that is missing, of more than 1,000 gaps, must they be counted.
_READS = """
coalesce(
    (SELECT CASE WHEN part.from_seq = 1 AND part.to_seq IS NULL THEN dedup_count
                 WHEN last_seq - dedup_count = (SELECT coalesce(sum(upper(gap) - lower(gap)), 0)
                                                FROM unnest(missing) AS gap)
                 THEN greatest(least(part.to_seq - 1, last_seq) - part.from_seq + 1, 0)
                      - (SELECT coalesce(sum(upper(gap) - lower(gap)), 0)::bigint
                         FROM unnest(missing * int8multirange(int8range(part.from_seq, part.to_seq))) AS gap)
            END
     FROM stream_metrics AS stored
     WHERE stored.stream_id = $1 AND stored.stream_epoch = part.stream_epoch),
    (SELECT count(*) FROM events
     WHERE events.stream_id = $1 AND events.stream_epoch = part.stream_epoch
       AND seq >= part.from_seq AND seq < coalesce(part.to_seq, 9223372036854775807))
)
"""
# $2, $3, $4: pieces. How many reads each has, and when its reader said the first and the last of them.
MEASURED = f"""
SELECT {_READS} AS reads,
       (SELECT read_at FROM events
        WHERE events.stream_id = $1 AND events.stream_epoch = part.stream_epoch AND read_at IS NOT NULL
          AND seq >= part.from_seq AND seq < coalesce(part.to_seq, 9223372036854775807)
        ORDER BY seq LIMIT 1) AS first_at,
       (SELECT read_at FROM events
        WHERE events.stream_id = $1 AND events.stream_epoch = part.stream_epoch AND read_at IS NOT NULL
          AND seq >= part.from_seq AND seq < coalesce(part.to_seq, 9223372036854775807)
        ORDER BY seq DESC LIMIT 1) AS last_at
FROM unnest($2::bigint[], $3::bigint[], $4::bigint[]) WITH ORDINALITY AS part(stream_epoch, from_seq, to_seq, place)
ORDER BY place
"""  # noqa: S608 - of constants only
# $2, $3: keys. The first read of each from there on, along the primary key.
_READS_AT = """
SELECT there.*
FROM unnest($2::bigint[], $3::bigint[]) WITH ORDINALITY AS given(stream_epoch, seq, place)
LEFT JOIN LATERAL (
    SELECT stream_epoch AS epoch, events.seq, read_at AS at, tag_id
    FROM events
    WHERE stream_id = $1 AND (events.stream_epoch, events.seq) >= (given.stream_epoch, given.seq)
    ORDER BY events.stream_epoch, events.seq
    LIMIT 1
) AS there ON true
ORDER BY place
"""
# In the order of numbers, not of times: a reader's clock that was set back would have it begin in the middle else.
_FIRST_AT = """
SELECT stream_epoch, seq FROM events
WHERE stream_id = $1 AND read_at >= $2 AND ($3::bigint IS NULL OR stream_epoch = $3)
ORDER BY stream_epoch, seq
LIMIT 1
"""
# Of those that are asked for, and the last that there is.
_KNOWN = """
SELECT stream_epoch, coalesce(max(last_seq), 0) AS last_seq
FROM (
    SELECT stream_epoch, last_seq FROM stream_metrics WHERE stream_id = $1
    UNION ALL SELECT stream_epoch, 0 FROM epoch_races WHERE stream_id = $1
    UNION ALL SELECT stream_epoch, 0 FROM streams WHERE stream_id = $1
) AS known
WHERE stream_epoch = ANY($2::bigint[]) OR stream_epoch = (SELECT stream_epoch FROM streams WHERE stream_id = $1)
GROUP BY stream_epoch
"""
# $2, $3: the first and the last epoch.
_PIECES = """
SELECT known.stream_epoch, part.from_seq, part.to_seq, part.race_id
FROM stream_metrics AS known CROSS JOIN LATERAL ranges_of_epoch(known.stream_id, known.stream_epoch) AS part
WHERE known.stream_id = $1 AND known.stream_epoch BETWEEN $2 AND $3
ORDER BY known.stream_epoch, part.from_seq
"""
# Reads that change sides.
_COUNTED = f"""
SELECT {_READS} AS reads,
       low.seq AS first_seq, low.read_at AS first_at, low.tag_id AS first_tag,
       high.seq AS last_seq, high.read_at AS last_at, high.tag_id AS last_tag
FROM unnest($2::bigint[], $3::bigint[], $4::bigint[]) WITH ORDINALITY AS part(stream_epoch, from_seq, to_seq, place)
LEFT JOIN LATERAL (
    SELECT seq, read_at, tag_id FROM events
    WHERE events.stream_id = $1 AND events.stream_epoch = part.stream_epoch
      AND seq >= part.from_seq AND seq < coalesce(part.to_seq, 9223372036854775807)
    ORDER BY seq LIMIT 1) AS low ON true
LEFT JOIN LATERAL (
    SELECT seq, read_at, tag_id FROM events
    WHERE events.stream_id = $1 AND events.stream_epoch = part.stream_epoch
      AND seq >= part.from_seq AND seq < coalesce(part.to_seq, 9223372036854775807)
    ORDER BY seq DESC LIMIT 1) AS high ON true
ORDER BY place
"""  # noqa: S608 - of constants only

# When chips came by a stream, by its reader, along its passings by time. $1: the stream, $2: the race, $3, $4: since,
# until, where they are given. The width is such that there are 600 bins at the most; where none is wide enough there is
# no bin, and no passing is looked at.
AXIS = """
WITH own AS (
    SELECT min(first_read_at) AS first, max(last_read_at) AS last
    FROM ranges_of_race($2) AS part
    JOIN passings USING (stream_id, stream_epoch)
    WHERE part.stream_id = $1
      AND high_seq >= from_seq AND (to_seq IS NULL OR low_seq < to_seq)
),
newest AS (
    SELECT first_read_at AS at FROM passings WHERE stream_id = $1 ORDER BY first_read_at DESC LIMIT 1
),
ends AS (
    SELECT coalesce($4, own.last + interval '5 minutes', newest.at + interval '5 minutes') AS until, own.first
    FROM own LEFT JOIN newest ON true
),
axis AS MATERIALIZED (
    SELECT until, date_trunc('minute', CASE
               WHEN $3::timestamp IS NOT NULL THEN $3
               WHEN first IS NULL THEN until - interval '2 hours'
               ELSE greatest(first - interval '30 minutes', until - interval '36 hours') END) AS since
    FROM ends
),
scale AS MATERIALIZED (
    SELECT axis.*,
           (SELECT min(width) FROM unnest(ARRAY[60, 300, 900, 3600, 10800]) AS width
            WHERE until - since <= make_interval(secs => width * 600)) AS bin_s
    FROM axis
),
bins AS (
    SELECT stream_epoch AS epoch, floor(extract(epoch FROM first_read_at - since) / bin_s)::integer AS number,
           sum(reads)::bigint AS reads
    FROM scale JOIN passings ON stream_id = $1 AND first_read_at >= since AND first_read_at < until
    WHERE bin_s IS NOT NULL
    GROUP BY 1, 2
    ORDER BY 1, 2
    LIMIT 6000
)
SELECT since, until, bin_s, epoch, number, reads FROM scale LEFT JOIN bins ON true ORDER BY epoch, number
"""


class KnownEpoch(NamedTuple):
    """An epoch that a stream has, or is to have, and the number of its last read; 0: it has none."""

    stream_epoch: int
    last_seq: int


async def ranges(database: Statements, stream_id: UUID) -> list[dict[str, Any]]:
    """Return whose the reads of a stream's newest epochs are, in their order."""
    with translated():
        return [dict(row) for row in await database.fetch(_RANGES, stream_id, EPOCHS_SHOWN)]


async def measured(
    database: Statements, stream_id: UUID, ranges: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Return the same with how many reads each has, and when they came."""
    columns = [[each[name] for each in ranges] for name in ("epoch", "from_seq", "to_seq")]
    with translated():
        rows = await database.fetch(MEASURED, stream_id, *columns)
    return [{**each, **dict(row)} for each, row in zip(ranges, rows, strict=True)]


async def reads_at(
    database: Statements, stream_id: UUID, keys: Collection[Key]
) -> dict[Key, dict[str, Any] | None]:
    """Return the first read of a stream from each key on; None where none has come."""
    epochs, seqs = [epoch for epoch, _ in keys], [seq for _, seq in keys]
    with translated():
        rows = await database.fetch(_READS_AT, stream_id, epochs, seqs)
    return {key: None if row["seq"] is None else dict(row) for key, row in zip(keys, rows, strict=True)}


async def first_at(database: Statements, stream_id: UUID, at: datetime, epoch: int | None) -> Key | None:
    """Return the first read, in the order of numbers, whose reader said this time or a later one."""
    with translated():
        row = await database.fetchrow(_FIRST_AT, stream_id, at, epoch)
    return None if row is None else (row["stream_epoch"], row["seq"])


async def axis(
    database: Statements, stream_id: UUID, race_id: UUID, since: datetime | None, until: datetime | None
) -> list[dict[str, Any]]:
    """Return when the reads of a stream came: bins, each with its axis; one row without a bin where there is none."""
    with translated():
        return [dict(row) for row in await database.fetch(AXIS, stream_id, race_id, since, until)]


async def known_epochs(
    database: Statements, stream_id: UUID, epochs: Collection[int]
) -> dict[int, KnownEpoch]:
    """Return those of the epochs that a stream has, or is to have, and its current one."""
    with translated():
        rows = await database.fetch(_KNOWN, stream_id, list(epochs))
    return {row["stream_epoch"]: KnownEpoch(*row) for row in rows}


async def pieces(database: Statements, stream_id: UUID, epochs: tuple[int, int]) -> list[Piece]:
    """Return whose the reads of a stream are, from one epoch to another."""
    with translated():
        return [Piece(*row) for row in await database.fetch(_PIECES, stream_id, *epochs)]


async def counted(database: Statements, stream_id: UUID, moved: Sequence[Moved]) -> list[dict[str, Any]]:
    """Return how many reads change sides, with the first and the last of them, for each piece."""
    columns = [[each[at] for each in moved] for at in range(3)]
    with translated():
        return [dict(row) for row in await database.fetch(_COUNTED, stream_id, *columns)]
