"""What lies between a receiver's socket and the race software: two hops, each of which forgets the oldest when full.

The receivers in the field hand each read from the task that reads the socket to one that passes it on, and from
there to whoever writes to the race software. Each hand-over is a broadcast of 256 places: who puts never waits, and
who takes too late finds the oldest gone, without a word. The race software takes at a pace of its own. So reads are
lost here when they come faster than they are taken for more than the places last, and when more of them are put in
one go than there are places: the next task has no turn in between.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

__all__ = ["Relay"]

T = TypeVar("T")

_TICK_S = 0.001  # uvloop takes less for nothing at all


class _Hop(Generic[T]):
    """A broadcast with one listener: `put` never waits and never fails."""

    def __init__(self, places: int) -> None:
        self.dropped = 0
        self._kept: deque[T] = deque(maxlen=places)
        self._filled = asyncio.Event()

    def put(self, each: T) -> None:
        """Keep one more; the oldest makes room for it."""
        self.dropped += len(self._kept) == self._kept.maxlen
        self._kept.append(each)
        self._filled.set()

    def take(self, at_most: int | None = None) -> list[T]:
        """Take the oldest out."""
        count = len(self._kept) if at_most is None else min(at_most, len(self._kept))
        if count == len(self._kept):
            self._filled.clear()
        return [self._kept.popleft() for _ in range(count)]

    @property
    def empty(self) -> bool:
        """Whether there is nothing to take."""
        return not self._kept

    async def filled(self) -> None:
        """Return when there is something to take."""
        await self._filled.wait()


class Relay(Generic[T]):
    """Two hops of so many `places`, and a consumer that is given what has passed, `takes_per_s` at the most."""

    def __init__(self, *, places: int, takes_per_s: float, consume: Callable[[Sequence[T]], None]) -> None:
        self._first: _Hop[T] = _Hop(places)
        self._second: _Hop[T] = _Hop(places)
        self._each_s, self._consume = 1 / takes_per_s, consume
        self._since = 0.0  # when the first came of what is under way

    @property
    def dropped(self) -> int:
        """How many were forgotten."""
        return self._first.dropped + self._second.dropped

    def put(self, each: T) -> None:
        """Hand one in; never waits."""
        if self._first.empty and self._second.empty:
            self._since = time.monotonic()
        self._first.put(each)

    @asynccontextmanager
    async def passing(self) -> AsyncIterator[None]:
        """Pass on inside; what is under way at the end still arrives, because only the connection has ended."""
        # From the consumer backwards: each waits for the one before it.
        hops = [asyncio.create_task(self._feed()), asyncio.create_task(self._pass_on())]
        try:
            yield
        finally:
            for hop in hops:
                hop.cancel()
            await asyncio.wait(hops)
            self._consume([*self._second.take(), *self._first.take()])
        for hop in hops:
            if not hop.cancelled():
                hop.result()  # it broke: the consumer did

    async def _pass_on(self) -> None:
        while True:
            await self._first.filled()
            for each in self._first.take():
                self._second.put(each)
            # What comes meanwhile is put while we have no turn.
            await asyncio.sleep(0)

    async def _feed(self) -> None:
        free_at = 0.0  # when the consumer is done with what it was given
        while True:
            if self._second.empty:
                await self._second.filled()
                free_at = max(free_at, self._since)
            else:
                await asyncio.sleep(_TICK_S)
            # In the field nobody waits for our turn: whoever has it late has worked from when the first read came, so
            # what was due meanwhile is taken at once.
            due = 1 + math.floor((time.monotonic() - free_at) / self._each_s)
            if taken := self._second.take(max(0, due)):
                self._consume(taken)
                free_at += len(taken) * self._each_s
