"""Reads that become passings. How stands in migrations/routines/passings.sql."""

from typing import NamedTuple

from shared.db.connections import Pool
from shared.db.errors import DatabaseFault, translated

__all__ = ["FILL", "WITHOUT_A_PAUSE", "Look", "Pace", "fill"]

# $1: the most events that are taken; $2 to $5: the pace.
FILL = "SELECT taken, waiting, rest FROM fill_passings_in_turn($1, $2, $3, $4, $5)"


class Pace(NamedTuple):
    """The pause behind a look, of all processes: so many times as long as it took, of which one where more is left than
    before; at least and at most so many seconds.
    """

    rests: float
    rests_behind: float
    shortest_s: float
    longest_s: float


WITHOUT_A_PAUSE = Pace(0, 0, 0, 0)


class Look(NamedTuple):
    """How many events were taken, how many of all streams are left to take, and for how long nobody looks. taken: None
    where it was not the time to look, or another was at it.
    """

    taken: int | None
    waiting: int
    rest_s: float


async def fill(pool: Pool, *, most_events: int, pace: Pace = WITHOUT_A_PAUSE) -> Look:
    """Take events, and merge them into passings; all of it or nothing. While another looks, or the pause behind the
    last look is not over, nothing.
    """
    with translated():
        row = await pool.fetchrow(FILL, most_events, *pace)
    if row is None:
        raise DatabaseFault("fill_passings_in_turn answers nothing")
    return Look(*row)
