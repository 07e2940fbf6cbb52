"""Keeps the inbox small: looks at it every few seconds, shows its numbers, and empties it of dead rows."""

from shared.database import Link
from shared.errors import DatabaseUnavailable
from shared.log import get_logger
from shared.process import Process
from writer import metrics, store

__all__ = ["Upkeep"]

LOOK_EVERY_S = 2.0
# A drain scans the inbox: at this size that takes a few milliseconds.
DEAD_BYTES = 32 * 1024 * 1024
# What the live rows may hold when they are copied out and in again.
LIVE_PARTS = 5_000
# After a refusal (a backup holds the tables) the next attempt, which lets everyone wait for the lock timeout.
REFUSED_S = 30.0

log = get_logger(__name__)


class Upkeep:
    """The inbox's housekeeping; any number of writers may do it."""

    def __init__(self, process: Process, *, dead_bytes: int = DEAD_BYTES) -> None:
        self._dead_bytes = dead_bytes
        self._stop = process.stop
        self._link = Link(process.settings.database_url, name="rt-server writer upkeep", lock_timeout="50ms")

    async def run(self) -> None:
        """Look after the inbox until the process stops."""
        while not self._stop.asked:
            pause = LOOK_EVERY_S
            try:
                pause = await self._look()
            except DatabaseUnavailable as error:
                log.debug("upkeep_interrupted", error=str(error))
                self._link.drop()
            await self._stop.sleep(pause)
        self._link.drop()

    async def _look(self) -> float:
        """Look once; returns the seconds until the next look."""
        connection = await self._link.get()
        await store.forget_outcomes(connection)
        state = await store.inbox_state(connection)
        metrics.INBOX_PARTS.set(state.parts)
        metrics.INBOX_AGE.set(state.age_s)
        metrics.INBOX_BYTES.set(state.bytes)
        if state.bytes < self._dead_bytes or state.parts > LIVE_PARTS:
            return LOOK_EVERY_S
        if not await store.empty_inbox(connection):
            log.info("inbox_not_emptied", bytes=state.bytes)
            return REFUSED_S
        metrics.INBOX_EMPTIED.inc()
        log.debug("inbox_emptied", bytes=state.bytes)
        return LOOK_EVERY_S
