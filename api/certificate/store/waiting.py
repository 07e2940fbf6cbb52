"""What has come and is not stored: in the inbox, or left there of a reader's memory. It must be looked at first of
all in a snapshot.
"""

from uuid import UUID

from shared.db.connections import Transaction
from shared.db.errors import translated

__all__ = ["waiting"]

# Before there is a snapshot, which is why it is a statement of its own: a writer's upkeep empties the inbox with a
# TRUNCATE and puts back what lives, of which an older snapshot would see nothing.
_LOCK = "LOCK TABLE waiting_reads IN ACCESS SHARE MODE"

# What a memory had waits for its reader's stream, too; it is there until it is found in `events`, so also while it is
# in the inbox: not both are counted.
_WAITING = """
SELECT stream_id, stream_epoch, greatest(sum(staged), sum(left_there))::bigint
FROM (
    SELECT stream_id, stream_epoch, event_count AS staged, 0 AS left_there FROM waiting_reads
    UNION ALL
    SELECT streams.stream_id, part.stream_epoch, 0, cardinality(part.lines)
    FROM memory_parts AS part
    JOIN streams ON streams.forwarder_id = part.forwarder_id
                AND streams.reader_ip IN (part.reader_ip, part.reader_ip || '#memory')
) AS either
GROUP BY stream_id, stream_epoch
"""


async def waiting(connection: Transaction) -> dict[tuple[UUID, int], int]:
    """Return how many reads wait to be stored, by stream and epoch. The snapshot begins with it, and goes on behind it:
    the lock does not, or writers would wait for whoever certifies.
    """
    with translated():
        savepoint = connection.transaction()
        await savepoint.start()
        try:
            await connection.execute(_LOCK)
            rows = await connection.fetch(_WAITING)
        finally:
            await savepoint.rollback()
    return {(stream_id, epoch): count for stream_id, epoch, count in rows}
