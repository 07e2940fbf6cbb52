"""A conflict costs what an event costs, however long the line is that it is in conflict with."""

from collections.abc import Iterable
from secrets import token_hex
from uuid import UUID

from shared.protocol.v1 import ReadEvent
from tests.failure.facts import Database
from tests.writer.inbox import add_stream, drain, event, put

LONG = 64 * 1024
COUNT = 1_000

_SIZE = "SELECT pg_total_relation_size('events') + pg_total_relation_size('integrity_conflicts')"
# Of this connection alone: the server writes for others too, whenever it likes.
_WAL = "SELECT wal_bytes::bigint FROM pg_stat_get_backend_wal(pg_backend_pid())"


async def wal_of(database: Database) -> int:
    await database.execute("SELECT pg_stat_force_next_flush()")
    wal: int = await database.fetchval(_WAL)
    return wal


async def written(database: Database, stream_id: UUID, reads: Iterable[ReadEvent]) -> tuple[int, int]:
    """Return by how many bytes the tables grow, and the bytes of WAL, when such reads are stored."""
    await put(database, stream_id, reads)
    await database.execute("CHECKPOINT")
    size, wal = await database.fetchval(_SIZE), await wal_of(database)
    await drain(database)
    return await database.fetchval(_SIZE) - size, await wal_of(database) - wal


async def test_conflicts_with_a_long_line_take_no_more_room_than_events(database: Database) -> None:
    one, other = await add_stream(database, "one"), await add_stream(database, "other")
    text = token_hex(LONG // 2)  # random, or it would be compressed
    events = await written(database, other, (event(seq, f"tiny {seq}") for seq in range(1, COUNT + 1)))
    await put(database, one, [event(1, text)])
    await drain(database)
    stored = await written(database, one, (event(1, f"tiny {number}") for number in range(COUNT)))
    beside = await written(
        database,
        one,
        [event(2, text), *(event(2, f"tiny {number}") for number in range(COUNT))],
    )
    assert await database.fetchval("SELECT count(*) FROM integrity_conflicts") == 2 * COUNT
    for size, of_events in zip(stored, events, strict=True):
        assert size <= 2 * of_events, (stored, events)
    for size, of_events in zip(beside, events, strict=True):
        assert size <= 2 * of_events + 2 * LONG, (beside, events)
