"""How many events each block of an epoch has, and digests of blocks, kept or made. What a digest is, is in
digests.py.
"""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from api.certificate.digests import BLOCK_EVENTS
from api.certificate.ranges import Range
from api.certificate.store.parts import Part
from shared.db.connections import LARGEST_BIGINT, Statements
from shared.db.errors import translated

__all__ = ["Block", "Counted", "absent", "count_blocks", "first_position_from", "keep", "make"]

# How many changes of the epoch are noted, which a kept digest must have been made with.
_CHANGES = "SELECT count(*) FROM event_changes WHERE stream_id = $1 AND stream_epoch = $2"

# $1 stream, $2 epoch, $3 and $4 its numbers from one up to and without another, $5 changes, $6 at most. The events
# are counted each time, along the key and nothing but the key: counts are what a kept digest is held to, and what
# notices events that are gone though no trigger has told of it. A block whose events lie on both sides of a boundary
# has another count on either side than the whole, so that no digest of the whole is taken for that of a part.
_COUNTED = f"""
SELECT counted.*, kept.digest, kept.late_count, kept.unparsed_count, kept.first_position
FROM (
    SELECT (seq - 1) / {BLOCK_EVENTS} AS block, count(*)::integer AS event_count, min(seq) AS first_seq,
           max(seq) AS last_seq
    FROM (
        SELECT seq FROM events
        WHERE stream_id = $1 AND stream_epoch = $2 AND seq >= $3 AND seq < $4
        ORDER BY stream_id, stream_epoch, seq
        OFFSET 0
    ) AS event
    GROUP BY (seq - 1) / {BLOCK_EVENTS}
    LIMIT $6
) AS counted
LEFT JOIN event_blocks AS kept
    ON kept.stream_id = $1 AND kept.stream_epoch = $2 AND kept.block = counted.block
   AND kept.event_count = counted.event_count AND kept.changes = $5
"""  # noqa: S608 - of constants only

# $3: blocks, of which $4 and $5 are the first number and the one behind the last. $6: the lowest position of all that
# is numbered above them, or null. An event came late where something that is numbered above it has a lower position,
# which one pass from the top finds. Each block is put together by itself, along the key: nothing is sorted, and no
# more than a block is in memory.
_MAKE = f"""
WITH late AS MATERIALIZED (
    SELECT (seq - 1) / {BLOCK_EVENTS} AS block, count(*)::integer AS event_count
    FROM (
        SELECT seq, position,
               least($6, min(position) OVER (ORDER BY seq DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING))
                   AS above
        FROM events
        WHERE stream_id = $1 AND stream_epoch = $2 AND seq >= $4 AND seq < $5
    ) AS event
    WHERE position > above
    GROUP BY (seq - 1) / {BLOCK_EVENTS}
)
SELECT asked.block, made.*, coalesce(late.event_count, 0) AS late_count
FROM unnest($3::bigint[]) AS asked(block)
CROSS JOIN LATERAL (
    SELECT count(*)::integer AS event_count, min(seq) AS first_seq, max(seq) AS last_seq,
           sha256(string_agg(int8send(seq) || int4send(octet_length(line)) || line, '' ORDER BY seq)) AS digest,
           count(parse_error)::integer AS unparsed_count, min(position) AS first_position
    FROM (
        SELECT seq, position, parse_error, shown_line(raw_frame, framed) AS line
        FROM events
        WHERE stream_id = $1 AND stream_epoch = $2
          AND seq > asked.block * {BLOCK_EVENTS} AND seq <= (asked.block + 1) * {BLOCK_EVENTS}
          AND seq >= $4 AND seq < $5
        ORDER BY stream_id, stream_epoch, seq
        OFFSET 0
    ) AS event
) AS made
LEFT JOIN late ON late.block = asked.block
"""  # noqa: S608 - of constants only

_FIRST_POSITION = "SELECT min(position) FROM events WHERE stream_id = $1 AND stream_epoch = $2 AND seq >= $3"

# $3 and $4: first and last numbers, each pair within a block. Of each what is not there, up to $5 ranges.
_ABSENT = """
SELECT lower(gap), upper(gap) - 1
FROM unnest($3::bigint[], $4::bigint[]) AS asked(first, last)
CROSS JOIN LATERAL (
    SELECT int8multirange(int8range(asked.first, asked.last + 1))
           - coalesce(range_agg(int8range(seq, seq + 1)), '{}') AS gaps
    FROM (
        SELECT seq FROM events
        WHERE stream_id = $1 AND stream_epoch = $2 AND seq >= asked.first AND seq <= asked.last
        ORDER BY stream_id, stream_epoch, seq
        OFFSET 0
    ) AS event
) AS looked
CROSS JOIN unnest(looked.gaps) AS gap
LIMIT $5
"""

_KEEP = "SELECT keep_event_blocks($1, $2, $3, $4, $5, $6, $7, $8, $9)"


class Block(NamedTuple):
    """A block of an epoch, or what of it is asked for. digest and what is counted with it: None where it must be
    made.
    """

    block: int
    event_count: int
    first_seq: int
    last_seq: int
    digest: bytes | None
    late_count: int | None
    unparsed_count: int | None
    first_position: int | None


class Counted(NamedTuple):
    """The blocks of a part in order, and how many changes of its epoch are noted."""

    changes: int
    blocks: list[Block]


def _bounds(part: Part) -> tuple[int, int]:
    return part.from_seq, LARGEST_BIGINT if part.to_seq is None else part.to_seq


async def count_blocks(database: Statements, part: Part, *, most: int) -> Counted:
    """Return up to `most` blocks of a part, each with its digest where one is kept that holds."""
    with translated():
        changes = await database.fetchval(_CHANGES, part.stream_id, part.stream_epoch)
        rows = await database.fetch(
            _COUNTED, part.stream_id, part.stream_epoch, *_bounds(part), changes, most
        )
    return Counted(changes, sorted(Block(*row) for row in rows))


async def first_position_from(database: Statements, part: Part, seq: int) -> int | None:
    """Return the lowest position of what of the part's epoch is numbered from `seq` on; None: nothing is."""
    with translated():
        found: int | None = await database.fetchval(_FIRST_POSITION, part.stream_id, part.stream_epoch, seq)
    return found


async def make(database: Statements, part: Part, blocks: Sequence[Block], above: int | None) -> list[Block]:
    """Return blocks that follow each other, with their digests. above: the lowest position of all behind them."""
    first, last = blocks[0].first_seq, blocks[-1].last_seq
    numbers = [each.block for each in blocks]
    with translated():
        rows = await database.fetch(_MAKE, part.stream_id, part.stream_epoch, numbers, first, last + 1, above)
    return sorted(Block(**row) for row in rows)


async def absent(database: Statements, part: Part, ranges: Sequence[Range], *, most: int) -> list[Range]:
    """Return up to `most` ranges of numbers within ranges that are not there."""
    firsts, lasts = [first for first, _ in ranges], [last for _, last in ranges]
    with translated():
        rows = await database.fetch(_ABSENT, part.stream_id, part.stream_epoch, firsts, lasts, most)
    return [(row[0], row[1]) for row in rows]


async def keep(
    database: Statements, stream_id: UUID, epoch: int, changes: int, blocks: Sequence[Block]
) -> None:
    """Keep digests of whole blocks, that were made when so many changes of the epoch were noted."""
    fields = zip(
        *(
            (b.block, b.event_count, b.digest, b.late_count, b.unparsed_count, b.first_position)
            for b in blocks
        ),
        strict=True,
    )
    with translated():
        await database.execute(_KEEP, stream_id, epoch, changes, *map(list, fields))
