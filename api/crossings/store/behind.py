"""The reads behind crossings. Of events what lies near the reads that count is looked at, and nothing else."""

from collections.abc import Mapping, Sequence

from api.crossings.crossing import Passing, ReadAt, Rule
from shared.db.connections import Statements
from shared.db.errors import translated

__all__ = ["BEHIND", "behind"]

# The reads of a passing lie among those of others; farther from the read that counts none is looked for.
NEAR = 5_000


def _behind(order: str) -> str:
    # $1: which crossing; $2 to $8: passings of it; $9: the number that counts, near which reads are looked for; $10: so
    # many of each. A passing's numbers are also those of other chips, and of other passings of its own.
    return f"""
SELECT crossing, read_at, passing.stream_id, passing.stream_epoch, seq
FROM unnest($1::integer[], $2::uuid[], $3::bigint[], $4::text[], $5::timestamp[], $6::timestamp[], $7::bigint[],
            $8::bigint[], $9::bigint[])
    AS passing(crossing, stream_id, stream_epoch, tag_id, first_read_at, last_read_at, low_seq, high_seq, near_seq)
CROSS JOIN LATERAL (
    SELECT read_at, seq FROM events
    WHERE events.stream_id = passing.stream_id AND events.stream_epoch = passing.stream_epoch
      AND seq BETWEEN greatest(low_seq, near_seq - {NEAR}) AND least(high_seq, near_seq + {NEAR})
      AND events.tag_id = passing.tag_id AND read_at BETWEEN passing.first_read_at AND passing.last_read_at
    ORDER BY read_at {order}, seq {order}
    LIMIT $10
) AS read
"""  # noqa: S608 - of constants only


BEHIND: Mapping[Rule, str] = {"first": _behind("ASC"), "last": _behind("DESC")}


async def behind(
    database: Statements, crossings: Sequence[Sequence[Passing]], rule: Rule, *, limit: int
) -> list[list[ReadAt]]:
    """Return reads of each crossing among some of its passings, of each passing those that would count first."""
    rows: list[tuple[object, ...]] = [
        (
            *(number, each.stream_id, each.stream_epoch, each.tag_id, each.first_read_at, each.last_read_at),
            *(each.low_seq, each.high_seq, each.first_seq if rule == "first" else each.last_seq),
        )
        for number, passings in enumerate(crossings)
        for each in passings
    ]
    found: list[list[ReadAt]] = [[] for _ in crossings]
    if not rows:
        return found
    columns = [list(column) for column in zip(*rows, strict=True)]
    with translated():
        reads = await database.fetch(BEHIND[rule], *columns, limit)
    for crossing, *read in map(tuple, reads):
        found[crossing].append(ReadAt(*read))
    return found
