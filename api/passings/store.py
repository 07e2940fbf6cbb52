"""Reads that become passings. How stands in migrations/routines/passings.sql."""

from typing import NamedTuple

from shared.db.connections import Pool
from shared.db.errors import DatabaseFault, translated

__all__ = ["FILL", "Look", "fill"]

# $1: the most events that are taken.
FILL = "SELECT taken, waiting FROM fill_passings($1)"


class Look(NamedTuple):
    """How many events were taken, and how many of all streams are left to take."""

    taken: int
    waiting: int


async def fill(pool: Pool, *, most_events: int) -> Look:
    """Take events of streams that nobody else is at, and merge them into passings; all of it or nothing."""
    with translated():
        row = await pool.fetchrow(FILL, most_events)
    if row is None:
        raise DatabaseFault("fill_passings answers nothing")
    return Look(**row)
