"""Removes the people of races whose time has come. Every api process looks; what one is at, the others pass over."""

from api.races.store import roster
from shared.db.channels import RACES
from shared.runtime.process import Process

__all__ = ["Forgetting"]

EVERY_S = 60.0


class Forgetting:
    """The loop that forgets people."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._loop = process.loop("forgetting", self.forget, poll_s=EVERY_S)

    async def run(self) -> None:
        """Look once a minute, until the process stops."""
        await self._loop.run()

    async def forget(self) -> bool:
        """Remove people whose time has come, and tell whether there were any."""
        async with self._process.activity.changing(self._process.pool) as (connection, note):
            forgotten = await roster.forget(connection)
            for each in forgotten:
                await note("participants_forgotten", race=each.name, race_id=each.race_id, count=each.people)
        for each in forgotten:
            self._process.notifier.notify(RACES, str(each.race_id))
        return bool(forgotten)
