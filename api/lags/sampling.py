"""Samples every ten seconds how far each receiver is behind, in whichever api process comes first, and keeps the worst
of every two minutes, for twelve hours.
"""

from datetime import datetime

from api.lags import store
from shared.db.connections import transaction_of
from shared.db.errors import DatabaseRefused
from shared.log import get_logger
from shared.runtime.process import Process

__all__ = ["EVERY_S", "Sampling"]

EVERY_S = 10.0
# A little less than the interval: those who come a moment early need not wait for another round.
TURN_S = 9.5

log = get_logger(__name__)


class Sampling:
    """One api process's share in it."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._problem: str | None = None
        process.concerns["lags"] = lambda: self._problem
        self._loop = process.loop("lags", self._sample_in_turn, poll_s=EVERY_S)

    async def run(self) -> None:
        """Sample, or see that another does, until the process stops."""
        await self._loop.run()

    async def _sample_in_turn(self) -> None:
        try:
            await self.sample()
            self._problem = None
        except DatabaseRefused as error:
            # As a number that has come out too large. A plot that is not drawn ends no process.
            if self._problem is None:
                log.warning("lags_refused", error=str(error))
            self._problem = f"how far receivers are behind cannot be sampled: {error}"

    async def sample(self, *, turn_s: float = TURN_S, at: datetime | None = None) -> bool:
        """Sample once, if nobody has within `turn_s`; return whether it was our turn. at: the moment, else now."""
        async with transaction_of(self._process.pool) as connection:
            if not await store.take_turn(connection, every_s=turn_s):
                return False
            await store.sample(connection, at=at)
        return True
