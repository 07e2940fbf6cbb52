"""The one account of what devices make a process hold, in bytes as they send them.

A message counts from the moment when its head says how long it is, whole, until whoever works on it has done: so what
is begun can always be finished, and what has no room is not read: its own TCP connection holds it. Who works on a
message counts it on by `holding`. What is made of a message takes several times its size: ARCHITECTURE.md, Bounds.

Messages wait in their order, large ones and small ones apart: the large take half of the room at most, and while one of
them waits the small take no more than the other half. So neither keeps the other out, and one of each is always let in,
whatever its size. Sockets count too, and a quarter of the room is theirs at most.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from shared.log import get_logger
from shared.metrics import HELD_BYTES

__all__ = ["Account"]

# Batches as devices in the field send them are small.
SMALL_BYTES = 256 * 1024
# A socket that is idle takes some 50 kB, a sixth of which is counted, as of a message.
SOCKET_BYTES = 8 * 1024

log = get_logger(__name__)


class _Waiting(NamedTuple):
    size: int
    admitted: Callable[[], None]


class Account:
    """How much is held, and who waits for room."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._sockets = 0
        self._small = 0
        self._large = 0
        self._small_waiting: deque[_Waiting] = deque()
        self._large_waiting: deque[_Waiting] = deque()
        self._looking = False
        HELD_BYTES.set_function(lambda: self.held)

    @property
    def held(self) -> int:
        """How many bytes are held."""
        return self._sockets * SOCKET_BYTES + self._small + self._large

    @property
    def full(self) -> bool:
        """Whether no more devices should come: some message waits for room, or there is none for a socket."""
        return bool(
            self._small_waiting
            or self._large_waiting
            or self.held > self._limit
            or (self._sockets + 1) * SOCKET_BYTES > self._limit // 4
        )

    @contextmanager
    def socket(self) -> Iterator[None]:
        """Count a socket while inside."""
        self._sockets += 1
        try:
            yield
        finally:
            self._sockets -= 1
            self._look_soon()

    def admit(self, size: int, admitted: Callable[[], None]) -> bool:
        """Count a message that begins, if there is room; else it waits, and is counted when `admitted` is called."""
        waiting = self._large_waiting if size > SMALL_BYTES else self._small_waiting
        if not waiting and self._fits(size):
            self.hold(size)
            return True
        if not (self._small_waiting or self._large_waiting):
            log.warning("back_pressure", held_bytes=self.held)
        waiting.append(_Waiting(size, admitted))
        return False

    def withdraw(self, admitted: Callable[[], None]) -> None:
        """Let a message wait no more."""
        for waiting in (self._small_waiting, self._large_waiting):
            for each in waiting:
                if each.admitted == admitted:
                    waiting.remove(each)
                    self._look_soon()
                    return

    def hold(self, size: int) -> None:
        """Count some bytes, room or not: what they are of has been counted until now."""
        if size > SMALL_BYTES:
            self._large += size
        else:
            self._small += size

    def give_back(self, size: int) -> None:
        """Count some bytes no more, that were counted by this very size."""
        if size > SMALL_BYTES:
            self._large -= size
        else:
            self._small -= size
        self._look_soon()

    @contextmanager
    def holding(self, size: int) -> Iterator[None]:
        """Count some bytes while inside."""
        self.hold(size)
        try:
            yield
        finally:
            self.give_back(size)

    def _fits(self, size: int) -> bool:
        room = self._limit - self.held >= size
        if size > SMALL_BYTES:
            if not self._large:
                return room or self._small <= self._limit // 2
            return room and self._large + size <= self._limit // 2
        if not self._small:
            return True
        return room and (not self._large_waiting or self._small + size <= self._limit // 2)

    def _look_soon(self) -> None:
        """Not at once: who gives back what it was sent counts it on within the same step of the loop."""
        if not self._looking and (self._small_waiting or self._large_waiting):
            self._looking = True
            asyncio.get_running_loop().call_soon(self._look)

    def _look(self) -> None:
        self._looking = False
        for waiting in (self._large_waiting, self._small_waiting):
            while waiting and self._fits(waiting[0].size):
                size, admitted = waiting.popleft()
                self.hold(size)
                admitted()
        if not (self._small_waiting or self._large_waiting):
            log.info("back_pressure_over", held_bytes=self.held)
