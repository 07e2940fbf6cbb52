"""Lines of readers' memories that an api process has left to be staged."""

from collections.abc import Collection, Sequence
from typing import NamedTuple
from uuid import UUID

from shared.db.connections import Pool
from shared.db.errors import translated

__all__ = ["MemoryPart", "end_parts", "take_parts"]

# By functions (migrations/routines/memory.sql): a gateway sees what it has taken, and can take nothing away that is not
# stored.
_TAKE = "SELECT * FROM take_memory_parts($1, $2, $3) ORDER BY part_id"
_END = "SELECT end_memory_parts($1)"


class MemoryPart(NamedTuple):
    """Lines of a reader's memory, the first of which has the number first_seq. reader_ip: the reader's own name.
    display_name: what its forwarder calls itself, if the reader's stream is there.
    """

    part_id: int
    forwarder_id: str
    reader_ip: str
    display_name: str | None
    stream_epoch: int
    first_seq: int
    lines: Sequence[bytes]


async def take_parts(
    pool: Pool, gateway_id: UUID, *, under_way: Collection[int], most: int
) -> list[MemoryPart]:
    """Take up to `most` parts that nobody else alive has; none of those that are under way here."""
    with translated():
        return [MemoryPart(**row) for row in await pool.fetch(_TAKE, gateway_id, list(under_way), most)]


async def end_parts(pool: Pool, part_ids: Collection[int]) -> set[int]:
    """Take parts away of which every line is stored, and return those."""
    with translated():
        return {row[0] for row in await pool.fetch(_END, list(part_ids))}
