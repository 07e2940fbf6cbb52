"""Places for exports. Each export has a connection of its own to the database for as long as its client takes, so there
are few places; who holds one and takes nothing loses it to whoever waits.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from time import monotonic

from api.http.errors import ApiError

__all__ = ["Place", "Places"]

# A client whose network carries 13 kB/s takes a block in this time.
IDLE_S = 5.0
WAITS_S = 10.0


class Place:
    """One export. `drop` ends it."""

    def __init__(self, drop: Callable[[], None]) -> None:
        self.drop = drop
        self.waits_since: float | None = None

    @contextmanager
    def client_takes(self) -> Iterator[None]:
        """What is inside takes as long as the client does."""
        self.waits_since = monotonic()
        try:
            yield
        finally:
            self.waits_since = None


class Places:
    """At most `count` of them."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._held: set[Place] = set()
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def hold(self, drop: Callable[[], None]) -> AsyncIterator[Place]:
        """Hold a place; ApiError when none comes free in time, though who takes nothing is dropped for it."""
        place = Place(drop)
        async with self._changed:
            try:
                async with asyncio.timeout(WAITS_S):
                    while len(self._held) >= self._count:
                        await self._wait()
            except TimeoutError:
                raise ApiError(
                    "UNAVAILABLE", f"{self._count} exports are under way; try again later"
                ) from None
            self._held.add(place)
        try:
            yield place
        finally:
            self._held.discard(place)
            async with self._changed:
                self._changed.notify_all()

    async def _wait(self) -> None:
        """Wait until something may have changed, the longest silence reaching its end included."""
        silent = min((each for each in self._held if each.waits_since is not None), key=_since, default=None)
        left = WAITS_S if silent is None else _since(silent) + IDLE_S - monotonic()
        if silent is not None and left <= 0:
            silent.waits_since = None
            silent.drop()
            left = WAITS_S
        try:
            async with asyncio.timeout(left):
                await self._changed.wait()
        except TimeoutError:
            return


def _since(place: Place) -> float:
    return place.waits_since if place.waits_since is not None else monotonic()
