"""Compares a file with what we have of a stream, and leaves what only the file has to be stored.

What we have: the reader's stream, the stream of its memory, and what was left for that and is on its way. The long
part, the reader's stream, is gone through without any lock. What is left is decided under a lock of that reader, with
what has come to both streams until then: so of two who bring the same file, to whichever processes, the second leaves
nothing.
"""

import asyncio
from uuid import UUID

from api.http.context import Api
from api.http.errors import ApiError
from api.reconcile import store
from api.reconcile.comparison import Comparison
from api.reconcile.types import Left
from shared.db.connections import Statements, Transaction
from shared.db.errors import translated
from shared.protocol.memory import memory_of

__all__ = ["Ours", "compare", "compare_and_store"]

# Of a reader, that no gateway has staged yet: one file's.
MOST_WAITING = 600_000


class Ours:
    """What we have of a reader, counted in a comparison as far as it was gone through: of its stream up to a position;
    of its memory from before, with what of that is on its way.
    """

    def __init__(self, stream_id: UUID, reader: store.Reader, comparison: Comparison) -> None:
        self._stream_id = stream_id
        self.reader = reader
        self.comparison = comparison
        self._upto = 0
        self.waiting = 0
        self.on_their_way = 0  # the same, of whatever time
        self.of_memory = 0

    async def read_stream(self, database: Statements) -> None:
        """Go through what has come to the reader's stream since the last time."""
        upto = await store.last_position(database, self._stream_id)
        await self._read(database, self._stream_id, above=self._upto, upto=upto)
        self._upto = upto

    async def read_memory(self, connection: Transaction) -> None:
        """Go through what its memory had before, once."""
        before = self.comparison.total.ours
        stream_id, upto = None, 0
        async for part in store.waiting(connection, self.reader):
            stream_id, upto = part.stream_id, part.last_position
            self.on_their_way += len(part.lines)
            await asyncio.to_thread(self.comparison.take_waiting, part.lines)
        self.waiting = self.comparison.total.ours - before
        if stream_id is not None:
            await self._read(connection, stream_id, above=0, upto=upto)
        self.of_memory = self.comparison.total.ours - before

    async def _read(self, database: Statements, stream_id: UUID, *, above: int, upto: int) -> None:
        span = self.comparison.span
        async for page in store.stored(database, stream_id, above=above, upto=upto, span=span):
            # Beside the event loop, page by page: nothing of ours is kept.
            await asyncio.to_thread(self.comparison.take_ours, page)


async def compare(api: Api, ours: Ours) -> None:
    """Go through all that we have; changes nothing."""
    await ours.read_stream(api.pool)
    with translated():
        # For the cursor, which is of one snapshot.
        async with api.pool.acquire() as connection, connection.transaction():
            await ours.read_memory(connection)


async def compare_and_store(api: Api, ours: Ours) -> Left:
    """Go through all that we have, and leave what only the file has for a gateway to stage."""
    await ours.read_stream(api.pool)
    async with api.changing() as (connection, note):
        # Before the rest is read, in a statement of its own: what is read from here on has all that others have left.
        await store.lock(connection, ours.reader)
        await ours.read_stream(connection)
        await ours.read_memory(connection)
        lines = await asyncio.to_thread(ours.comparison.missing)
        if ours.on_their_way + len(lines) > MOST_WAITING:
            raise ApiError(
                "CONFLICT",
                f"{ours.on_their_way:,} lines of this reader wait to be stored already: see whether a gateway runs",
            )
        left = _left(ours.reader, len(lines))
        if lines:
            await store.leave(connection, ours.reader, lines)
            await note(
                "memory_left_to_be_stored",
                stream=ours.reader.title,
                lines=len(lines),
                reader_ip=left.reader_ip,
            )
    return left


def _left(reader: store.Reader, lines: int) -> Left:
    return Left(
        lines=lines,
        forwarder_id=reader.forwarder_id,
        reader_ip=memory_of(reader.reader_ip),
        stream_epoch=reader.stream_epoch,
    )
