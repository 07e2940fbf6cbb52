"""Events and what was set aside of them: pages, always along the primary key.

Pages go by key, not by offset: a page costs what it holds, wherever it lies. `since`, `until` and `tag_id` have no
index, which would slow down every insert: they are filters on the way.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Generic, Literal, NamedTuple, TypeVar
from uuid import UUID

import asyncpg

from api.events.filter import WANTED, Key, arguments
from api.events.types import Conflict, EventFilter, Read
from shared.db.connections import Pool
from shared.db.errors import translated
from shared.protocol.lines import shown_line

__all__ = [
    "BY_KEY",
    "CONFLICTS",
    "LATEST",
    "LATEST_LOOKED_AT",
    "PAGE_BYTES",
    "READS",
    "SINCE",
    "Growth",
    "Page",
    "by_keys",
    "conflicts",
    "latest",
    "reads",
    "since",
]


_READ = """stream_id, stream_epoch, seq, reader_timestamp, raw_frame AS raw_read_line, read_type, tag_id, read_at,
       received_at, parse_error, framed AS raw_read_line_framed
"""


def _page(rows: str, *, lines: Sequence[str], order: str, most: str, most_bytes: str) -> str:
    """Return the statement of a page: the first rows of `rows`, and no more once their lines are so long together, but
    at least one. `more` of the last one says whether another would follow. What is cut is never fetched, nor taken out
    of where long lines are kept: their lengths are known without.
    """
    size = " + ".join(f"coalesce(octet_length({line}), 0)" for line in lines)
    return f"""
SELECT * FROM (
    SELECT next.*, {size} AS size, lead(true, 1, false) OVER key AS more, row_number() OVER key AS place,
           sum({size}) OVER (key ROWS UNBOUNDED PRECEDING) AS bytes
    FROM ({rows} ORDER BY {order} LIMIT {most}::bigint + 1) AS next
    WINDOW key AS (ORDER BY {order})
) AS summed
WHERE place <= {most} AND bytes - size < {most_bytes}
ORDER BY {order}
"""  # noqa: S608 - of constants only


# $9 at most so many, $10 of so many bytes.
READS = {
    way.lower(): _page(
        f"SELECT {_READ}{WANTED}",
        lines=["raw_read_line"],
        order=f"stream_epoch {way}, seq {way}",
        most="$9",
        most_bytes="$10",
    )
    for way in ("ASC", "DESC")
}
PAGE_BYTES = 1024 * 1024


# $1, $2, $3: keys, in the order in which they are shown; $4 of so many bytes.
_BY_KEY = """
SELECT place, newest.*
FROM unnest($1::uuid[], $2::bigint[], $3::bigint[]) WITH ORDINALITY AS key(stream_id, stream_epoch, seq, place)
CROSS JOIN LATERAL (
    SELECT events.stream_id, events.stream_epoch, events.seq, reader_timestamp, raw_frame AS raw_read_line, read_type,
           tag_id, read_at, received_at, parse_error, framed AS raw_read_line_framed
    FROM events
    WHERE events.stream_id = key.stream_id AND events.stream_epoch = key.stream_epoch AND events.seq = key.seq
) AS newest
"""
BY_KEY = f"""
SELECT * FROM (
    SELECT found.*, octet_length(raw_read_line) AS size, false AS more,
           sum(octet_length(raw_read_line)) OVER (ORDER BY place ROWS UNBOUNDED PRECEDING) AS bytes
    FROM ({_BY_KEY}) AS found
) AS summed
WHERE bytes - size < $4
ORDER BY place
"""  # noqa: S608 - of constants only


# $1 a stream or null; $2 below this id; $3, $4 at most. The line that was kept stands in `events`; null where it was
# deleted since. Those of before there was a hash were copied, and were texts.
CONFLICTS = _page(
    """
SELECT conflict_id, stream_id, stream_epoch, seq,
       CASE WHEN kept_hash IS NULL THEN kept_frame ELSE kept.raw_frame END AS kept_line,
       kept_hash IS NOT NULL AND kept.framed AS kept_line_framed,
       rejected_frame AS rejected_line, conflict.framed AS rejected_line_framed, received_at, session_id,
       acknowledged_at
FROM integrity_conflicts AS conflict
LEFT JOIN LATERAL (
    SELECT raw_frame, framed FROM events
    WHERE events.stream_id = conflict.stream_id AND events.stream_epoch = conflict.stream_epoch
      AND events.seq >= conflict.seq AND events.seq <= conflict.seq AND sha256(raw_frame) = kept_hash
    ORDER BY events.seq LIMIT 1
) AS kept ON kept_hash IS NOT NULL
WHERE conflict_id < $2 AND ($1::uuid IS NULL OR stream_id = $1)
""",
    lines=["kept_line", "rejected_line"],
    order="conflict_id DESC",
    most="$3",
    most_bytes="$4",
)


# $1 a stream or null; $2 tags or null; $3, $5 at most; $6 behind this position, which is one of a stream. Streams have
# no order among each other but by the clock. Tags
# are looked for in as many of the newest positions of each stream as make LATEST_LOOKED_AT of all ($4). Without one the
# newest reads are among those of as many streams as are asked for, of which something came last.
_LATEST_READS = """
SELECT streams.stream_id, newest.*
FROM (
    SELECT stream_id, last_position,
           CASE WHEN $2::text[] IS NULL THEN $3::bigint
                ELSE $4::bigint / greatest(count(*) OVER (), 1) END AS looked_at
    FROM streams
    CROSS JOIN LATERAL (
        SELECT max(last_received_at) AS at FROM stream_metrics AS epoch
        WHERE epoch.stream_id = streams.stream_id
    ) AS last
    WHERE $1::uuid[] IS NULL OR stream_id = ANY($1)
    ORDER BY last.at DESC NULLS LAST
    LIMIT CASE WHEN $2::text[] IS NULL THEN $3::bigint END
) AS streams
CROSS JOIN LATERAL (
    SELECT stream_epoch, seq, reader_timestamp, raw_frame AS raw_read_line, read_type, tag_id, read_at, received_at,
           parse_error, framed AS raw_read_line_framed, position
    FROM events
    WHERE events.stream_id = streams.stream_id
      AND position > greatest(last_position - greatest(looked_at, 1), $6)
      AND ($2::text[] IS NULL OR tag_id = ANY($2))
    ORDER BY position DESC
    LIMIT $3
) AS newest
"""
LATEST = _page(
    _LATEST_READS,
    lines=["raw_read_line"],
    order="received_at DESC, stream_id, stream_epoch DESC, seq DESC",
    most="$3",
    most_bytes="$5",
)
LATEST_LOOKED_AT = 20_000

# What was stored of streams ($1) behind one position of each ($2) and up to another ($3): the newest $4 of all, at most
# $5 bytes of lines, and none that is longer than half of that by itself.
SINCE = _page(
    """
SELECT grown.stream_id, newest.*
FROM unnest($1::uuid[], $2::bigint[], $3::bigint[]) AS grown(stream_id, behind, until)
CROSS JOIN LATERAL (
    SELECT stream_epoch, seq, reader_timestamp, raw_frame AS raw_read_line, read_type, tag_id, read_at, received_at,
           parse_error, framed AS raw_read_line_framed
    FROM events
    WHERE events.stream_id = grown.stream_id
      AND position > greatest(behind, until - $4) AND position <= until
      AND octet_length(raw_frame) <= $5 / 2
    ORDER BY position DESC
    LIMIT $4
) AS newest
""",
    lines=["raw_read_line"],
    order="received_at DESC, stream_id, stream_epoch DESC, seq DESC",
    most="$4",
    most_bytes="$5",
)


Row = TypeVar("Row", Read, Conflict)


class Page(NamedTuple, Generic[Row]):
    """Rows, and whether there are more behind them."""

    rows: list[Row]
    more: bool


class Growth(NamedTuple):
    """What was stored of a stream behind one position and up to another."""

    behind: int
    until: int


async def reads(
    pool: Pool,
    stream_id: UUID,
    wanted: EventFilter,
    *,
    order: Literal["asc", "desc"],
    after: Key | None,
    limit: int,
) -> Page[Read]:
    """Return the first reads behind `after` in that order, or from the start: `limit` or PAGE_BYTES of them."""
    found = arguments(stream_id, wanted, order=order, after=after)
    with translated():
        rows = await pool.fetch(READS[order], *found, limit, PAGE_BYTES)
    return _paged(Read, rows, "raw_read_line")


async def by_keys(pool: Pool, keys: Sequence[tuple[UUID, int, int]]) -> list[Read]:
    """Return the reads of keys (stream, epoch, seq), in their order; no more once their lines make PAGE_BYTES."""
    columns = [[each[at] for each in keys] for at in range(3)]
    with translated():
        rows = await pool.fetch(BY_KEY, *columns, PAGE_BYTES)
    return _paged(Read, rows, "raw_read_line").rows


async def conflicts(pool: Pool, stream_id: UUID | None, *, below: int, limit: int) -> Page[Conflict]:
    """Return the newest conflicts with an id below `below`, of one stream or of all."""
    with translated():
        rows = await pool.fetch(CONFLICTS, stream_id, below, limit, PAGE_BYTES)
    return _paged(Conflict, rows, "kept_line", "rejected_line")


async def latest(
    pool: Pool, streams: Sequence[UUID] | None, tags: Sequence[str] | None, *, limit: int, behind: int = 0
) -> tuple[Page[Read], int]:
    """Return the newest reads of some streams or of all, the newest first: `limit` or PAGE_BYTES of them; of one, those
    behind a position, and the position of the newest.
    """
    with translated():
        rows = await pool.fetch(LATEST, streams, tags, limit, LATEST_LOOKED_AT, PAGE_BYTES, behind)
    newest = max((row["position"] for row in rows), default=behind)
    return _paged(Read, rows, "raw_read_line"), newest


async def since(pool: Pool, grown: Mapping[UUID, Growth], *, limit: int, lines_bytes: int) -> list[Read]:
    """Return the newest of what some streams have grown by, the newest first."""
    behind, until = ([each[at] for each in grown.values()] for at in (0, 1))
    with translated():
        rows = await pool.fetch(SINCE, list(grown), behind, until, limit, lines_bytes)
    return _paged(Read, rows, "raw_read_line").rows


def _paged(kind: type[Row], rows: Sequence[asyncpg.Record], *lines: str) -> Page[Row]:
    """Return the rows of a page, lines as people are shown them, null where there is none."""
    # Whose a read is says no row, but its race (naming.py).
    names = [
        name for name in kind.__struct_fields__ if name not in lines and name in (rows[0] if rows else ())
    ]
    shown = [
        kind(**{name: row[name] for name in names}, **{name: _text(row, name) for name in lines})
        for row in rows
    ]
    return Page(shown, bool(rows) and rows[-1]["more"])


def _text(row: asyncpg.Record, name: str) -> Any:
    """Return a line of a row as text, None where there is none. A frame may hold any bytes."""
    line: bytes | None = row[name]
    if line is None:
        return None
    return shown_line(line, framed=row[f"{name}_framed"]).decode(errors="replace")
