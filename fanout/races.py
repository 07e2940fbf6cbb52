"""The races that receivers of this node follow: what is mapped to each, and who wants to know when that changes."""

import asyncio
from typing import Protocol
from uuid import UUID

from fanout.store.races import UNKNOWN, RaceMapping, read_mappings
from shared.db.channels import RACES
from shared.runtime.process import Process

__all__ = ["RaceFollower", "Races"]

# How soon a mapping is found whose notification was lost.
POLL_S = 2.0


class RaceFollower(Protocol):
    """Who follows a race."""

    def remap(self, mapping: RaceMapping) -> bool:
        """Take what is mapped to the race now; whether that is another than before. Must return at once."""


class Races:
    """Reads the mappings of all races that are followed, in one statement."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._followers: dict[UUID, set[RaceFollower]] = {}
        # One look at a time: what was read first must not be taken last.
        self._looking = asyncio.Lock()
        self._loop = process.loop("races", self._look_at_all, poll_s=POLL_S, channel=RACES)
        process.listener.on(RACES, self._on_notification)

    def _on_notification(self, payload: str) -> None:
        if not payload or any(str(race_id) == payload for race_id in self._followers):
            self._loop.wake()

    async def run(self) -> None:
        """Look, again and again, until the process stops."""
        await self._loop.run()

    async def follow(self, race_id: UUID, follower: RaceFollower) -> None:
        """Tell `follower` of a race, now and whenever it changes. After DatabaseUnavailable it may be asked again."""
        self._followers.setdefault(race_id, set()).add(follower)
        await self._look(list(self._followers))

    def leave(self, race_id: UUID, follower: RaceFollower) -> None:
        """Tell `follower` no more."""
        followers = self._followers.get(race_id, set())
        followers.discard(follower)
        if not followers:
            self._followers.pop(race_id, None)

    async def _look_at_all(self) -> bool:
        return bool(self._followers) and await self._look(list(self._followers))

    async def _look(self, race_ids: list[UUID]) -> bool:
        """Read and pass on; whether anything has changed for anybody."""
        async with self._looking:
            mappings = await read_mappings(self._process.pool, race_ids)
            changed = [
                follower.remap(mappings.get(race_id, UNKNOWN))
                for race_id in race_ids
                for follower in list(self._followers.get(race_id, ()))
            ]
        return any(changed)
