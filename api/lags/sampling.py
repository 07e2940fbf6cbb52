"""Samples every ten seconds how far each receiver is behind, in whichever api process comes first, and keeps the worst
of every two minutes, for twelve hours.
"""

from api.lags import store
from shared.db.connections import transaction_of
from shared.runtime.process import Process

__all__ = ["EVERY_S", "Sampling"]

EVERY_S = 10.0
# A little less than the interval: those who come a moment early need not wait for another round.
TURN_S = 9.5


class Sampling:
    """One api process's share in it."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._loop = process.loop("lags", self.sample, poll_s=EVERY_S)

    async def run(self) -> None:
        """Sample, or see that another does, until the process stops."""
        await self._loop.run()

    async def sample(self, *, turn_s: float = TURN_S) -> bool:
        """Sample once, if nobody has within `turn_s`; return whether it was our turn."""
        async with transaction_of(self._process.pool) as connection:
            if not await store.take_turn(connection, every_s=turn_s):
                return False
            await store.sample(connection)
        return True
