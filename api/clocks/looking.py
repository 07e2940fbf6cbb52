"""Looks at readers' clocks every ten seconds, in whichever api process comes first, behind the drain: what was stored
since the look before says how far off each clock is (estimate.py), and what is kept of that how it drifts (drift.py).

Every api process tries; one row lets one through. All of a look is one transaction, so a process that dies in the
middle has not looked. Nobody waits for it: pages and alerts show what the last look has found.
"""

from api.clocks import estimate
from api.clocks.drift import drift
from api.clocks.store import looks as store
from shared.db.connections import transaction_of
from shared.db.errors import DatabaseRefused
from shared.log import get_logger
from shared.runtime.process import Process

__all__ = ["EVERY_S", "ClockLooks"]

EVERY_S = 10.0
# A little less than the interval: those who come a moment early need not wait for another round.
TURN_S = 9.5
QUARTER_MS = 15 * 60 * 1000

log = get_logger(__name__)


class ClockLooks:
    """One api process's share in it. time_zone: what readers' clocks are set to, or empty."""

    def __init__(self, process: Process, *, time_zone: str = "") -> None:
        self._process = process
        self._time_zone = time_zone or None
        self._problem: str | None = None
        process.concerns["clocks"] = lambda: self._problem
        self._loop = process.loop("clocks", self._look_in_turn, poll_s=EVERY_S)

    async def run(self) -> None:
        """Look, or see that another does, until the process stops."""
        await self._loop.run()

    async def _look_in_turn(self) -> None:
        try:
            await self.look()
            self._problem = None
        except DatabaseRefused as error:
            # As a zone that the database knew when it was set, and knows no more. Nobody's reads wait for it.
            if self._problem is None:
                log.warning("clocks_refused", error=str(error))
            self._problem = f"readers' clocks cannot be looked at: {error}"

    async def look(self, *, turn_s: float = TURN_S) -> bool:
        """Look once, if nobody has within `turn_s`; return whether it was our turn."""
        async with transaction_of(self._process.pool) as connection:
            tidies = await store.take_turn(connection, every_s=turn_s)
            if tidies is None:
                return False
            # Zones first: what was believed and what is told now must be of the same zone.
            await store.give_zones(connection, self._time_zone)
            looked = [_looked(each) for each in await store.due(connection, self._time_zone)]
            if looked:
                await store.keep(connection, looked)
            if moved := [seen.stream_id for seen, _, marks in looked if marks]:
                points = await store.points(connection, moved)
                await store.set_drifts(connection, {each: drift(points.get(each, [])) for each in moved})
            # Streams that are gone before the vote, which they have no part in; the vote by what is believed now.
            await store.tidy(connection, marks=tidies)
            quarter = estimate.agreed_quarter(await store.votes(connection))
            await store.zone(connection, None if quarter is None else quarter * QUARTER_MS)
        return True


def _looked(seen: store.Seen) -> tuple[store.Seen, estimate.Clock, list[estimate.Mark]]:
    """Return what is believed of a clock now. Of one whose reads say nothing only that they were looked at."""
    if seen.told is None:
        return seen, seen.clock, []
    clock, marks = estimate.look(seen.clock, seen.told)
    return seen, clock, marks
