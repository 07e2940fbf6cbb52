"""What receivers have of each stream and epoch, as far as they have acked it.

A cursor's row is made when a session begins with an epoch (last_seq 0: nothing is acked yet), and acks only update it,
by its cursor_id. So a deletion, by whom and how ever, makes all acks void that were given before it: they find no row,
and whoever holds the id begins anew with the stream.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple
from uuid import UUID

import asyncpg

from fanout.delivery import Cursor
from shared.db.connections import Pool
from shared.db.errors import DatabaseRefused, RowLocked, translated, translated_rows

__all__ = [
    "ADVANCE",
    "BEGIN_EPOCHS",
    "FLAG",
    "GONE",
    "CursorKey",
    "advance_cursors",
    "begin_again",
    "begin_epochs",
    "flag_cursors",
    "gone_cursors",
    "row_errors",
]


class CursorKey(NamedTuple):
    """A cursor, by its row, and the stream that it belongs to."""

    stream_id: UUID
    cursor_id: int


# The row first, then the first event of the epoch: an ack must find it. One that another session makes at this moment
# is waited for, and read by the second statement.
BEGIN_EPOCHS = """
INSERT INTO receiver_cursors (receiver_id, stream_id, stream_epoch, last_seq, position, event_count, wanted)
SELECT $1, stream_id, epoch, 0, 0, 0, wanted
FROM streams CROSS JOIN unnest($3::bigint[], $4::boolean[]) AS begun(epoch, wanted)
WHERE stream_id = $2
ORDER BY epoch
ON CONFLICT (receiver_id, stream_id, stream_epoch) DO NOTHING
"""
_EPOCHS_BEGUN = """
SELECT wanted.stream_epoch, known.cursor_id
FROM unnest($3::bigint[]) AS wanted(stream_epoch)
CROSS JOIN LATERAL (
    SELECT row.cursor_id FROM receiver_cursors AS row
    WHERE row.receiver_id = $1 AND row.stream_id = $2
      AND row.stream_epoch >= wanted.stream_epoch AND row.stream_epoch <= wanted.stream_epoch
    ORDER BY row.stream_epoch DESC LIMIT 1
) AS known
"""

# A pair is written whole, and only where neither number falls: of two sessions of one receiver, (100, 100) of one and
# (50, 200) of the other do not make (100, 200). Locked in the order of their ids, so that two nodes never wait for each
# other in a circle. Returned are those that are there no more. That the ids are these is said to the UPDATE once more:
# while the table seems to hold one row, a join alone would be planned as a walk through all of its index.
ADVANCE = """
WITH acked AS (
    SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::boolean[])
        AS acked(cursor_id, last_seq, position, event_count, implied)
),
held AS MATERIALIZED (
    SELECT cursor_id FROM receiver_cursors WHERE cursor_id = ANY($1::bigint[])
    ORDER BY cursor_id
    FOR NO KEY UPDATE
),
written AS (
    UPDATE receiver_cursors AS cursors
    SET last_seq = acked.last_seq, position = acked.position, event_count = acked.event_count,
        implied = acked.implied, updated_at = now()
    FROM acked
    WHERE cursors.cursor_id = acked.cursor_id AND acked.cursor_id IN (SELECT cursor_id FROM held)
      AND cursors.cursor_id = ANY($1::bigint[])
      AND acked.last_seq >= cursors.last_seq AND acked.position >= coalesce(cursors.position, 0)
)
SELECT cursor_id FROM acked WHERE cursor_id NOT IN (SELECT cursor_id FROM held)
"""

# Which epochs a receiver wants at all: what is not wanted is not owed (routines/operators.sql). By id, in their order,
# as in ADVANCE.
FLAG = """
WITH held AS MATERIALIZED (
    SELECT cursor_id FROM receiver_cursors WHERE cursor_id = ANY($1::bigint[])
    ORDER BY cursor_id
    FOR NO KEY UPDATE
)
UPDATE receiver_cursors AS cursors SET wanted = flagged.wanted
FROM unnest($1::bigint[], $2::boolean[]) AS flagged(cursor_id, wanted)
WHERE cursors.cursor_id = flagged.cursor_id AND flagged.cursor_id IN (SELECT cursor_id FROM held)
  AND cursors.cursor_id = ANY($1::bigint[])
"""

# What was only implied begins again, under another id: acks that were given on top of it count no more. By id, in their
# order, as in ADVANCE; one that was acked meanwhile is left as it is.
_BEGIN_AGAIN = """
WITH held AS MATERIALIZED (
    SELECT cursor_id FROM receiver_cursors WHERE cursor_id = ANY($1::bigint[]) AND implied
    ORDER BY cursor_id
    FOR UPDATE
)
UPDATE receiver_cursors
SET cursor_id = DEFAULT, last_seq = 0, position = 0, event_count = 0, implied = false, updated_at = now()
WHERE cursor_id = ANY($1::bigint[]) AND cursor_id IN (SELECT cursor_id FROM held)
"""

GONE = """
SELECT cursor_id FROM unnest($1::bigint[]) AS held(cursor_id)
WHERE (SELECT cursors.cursor_id FROM receiver_cursors AS cursors
       WHERE cursors.cursor_id >= held.cursor_id AND cursors.cursor_id <= held.cursor_id
       ORDER BY cursors.cursor_id DESC LIMIT 1) IS NULL
"""


@contextmanager
def row_errors() -> Iterator[None]:
    """Raise RowLocked for what an administrator's transaction does to the streams, and our errors for all else."""
    try:
        with translated_rows():
            yield
    except DatabaseRefused as error:
        if isinstance(error.__cause__, asyncpg.ForeignKeyViolationError):
            raise RowLocked("another transaction has deleted the cursors' stream") from error
        raise


async def begin_epochs(
    pool: Pool, receiver_id: str, stream_id: UUID, epochs: Mapping[int, bool]
) -> dict[int, int]:
    """Make the rows that acks of these epochs will move, which say whether each is wanted, and return their ids by
    epoch; none of a deleted stream.

    RowLocked when somebody holds the stream, or is deleting it.
    """
    with row_errors():
        await pool.execute(BEGIN_EPOCHS, receiver_id, stream_id, list(epochs), list(epochs.values()))
        rows = await pool.fetch(_EPOCHS_BEGUN, receiver_id, stream_id, list(epochs))
    return {row["stream_epoch"]: row["cursor_id"] for row in rows}


async def advance_cursors(pool: Pool, cursors: Mapping[CursorKey, Cursor]) -> list[int]:
    """Move cursors forward, in one statement, and return the ids of those that are there no more.

    RowLocked when somebody holds one of them.
    """
    ids = [key.cursor_id for key in cursors]
    with row_errors():
        rows = await pool.fetch(ADVANCE, ids, *map(list, zip(*cursors.values(), strict=True)))
    return [row["cursor_id"] for row in rows]


async def flag_cursors(pool: Pool, flags: Mapping[int, bool]) -> None:
    """Have cursors say whether their epochs are wanted. RowLocked when somebody holds one of them."""
    with row_errors():
        await pool.execute(FLAG, list(flags), list(flags.values()))


async def begin_again(pool: Pool, cursor_ids: Iterable[int]) -> None:
    """Have cursors that were only implied say nothing. RowLocked when somebody holds one of them."""
    with row_errors():
        await pool.execute(_BEGIN_AGAIN, list(cursor_ids))


async def gone_cursors(pool: Pool, cursor_ids: Iterable[int]) -> list[int]:
    """Return those of the ids whose rows were deleted."""
    with translated():
        return [row["cursor_id"] for row in await pool.fetch(GONE, list(cursor_ids))]
