"""The one account of what devices make a process hold, in bytes as they send them.

A message counts from the moment when its head says how long it is, whole, until whoever works on it has done: so what
is begun can always be finished, and what has no room is not read: its own TCP connection holds it. Who works on a
message counts it on by `holding`. What is made of a message takes several times its size: ARCHITECTURE.md, Bounds.

Messages wait in their order, large ones and small ones apart: the large take half of the room at most, and while one of
them waits the small take no more than the other half. So neither keeps the other out, and one of each is always
admitted, whatever its size. What devices say before they are admitted, where it is longer than a hello usually is, has
an eighth of the room for itself. Sockets count too, and a quarter of the room is theirs at most; so does what a session
keeps until it ends, which has half of it: beyond, a session may keep no more, and nobody else is admitted.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from shared.log import get_logger
from shared.metrics import HELD_BYTES

__all__ = ["Account", "Held"]

# Batches as devices in the field send them are small.
SMALL_BYTES = 256 * 1024
# A hello of 256 readers has some 6 kB.
HELLO_BYTES = 16 * 1024
# A socket that is idle takes some 50 kB, a sixth of which is counted, as of a message.
SOCKET_BYTES = 8 * 1024

log = get_logger(__name__)


class Held(NamedTuple):
    """Bytes that are counted. first: of a message of a device that is not admitted yet."""

    size: int
    first: bool = False


class _Waiting(NamedTuple):
    size: int
    admitted: Callable[[], None]


@dataclass(slots=True)
class _Pool:
    held: int = 0
    waiting: deque[_Waiting] = field(default_factory=deque)


class Account:
    """How much is held, and who waits for room."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit = limit_bytes
        self.sockets = 0
        self.kept = 0
        self._first, self._small, self._large = _Pool(), _Pool(), _Pool()
        self._pools = (self._first, self._large, self._small)
        self._looking = False
        HELD_BYTES.set_function(lambda: self.held)

    @property
    def held(self) -> int:
        """How many bytes are held."""
        messages = self._first.held + self._small.held + self._large.held
        return self.sockets * SOCKET_BYTES + self.kept + messages

    @property
    def full(self) -> bool:
        """Whether no more devices should come: some message waits for room, or there is none for a socket."""
        return bool(
            self._small.waiting
            or self._large.waiting
            or self.held > self.limit
            or self.crowded
            or (self.sockets + 1) * SOCKET_BYTES > self.limit // 4
        )

    @property
    def crowded(self) -> bool:
        """Whether sessions keep as much as they may."""
        return self.kept > self.limit // 2

    @property
    def awaited(self) -> bool:
        """Whether anybody waits for room."""
        return bool(self._small.waiting or self._large.waiting or self._first.waiting)

    @contextmanager
    def socket(self) -> Iterator[None]:
        """Count a socket while inside."""
        self.sockets += 1
        try:
            yield
        finally:
            self.sockets -= 1
            self._look_soon()

    def keep(self, size: int) -> None:
        """Count some bytes that a session keeps from now on; who keeps less again gives a negative size."""
        self.kept += size
        if size < 0:
            self._look_soon()

    def admit(self, held: Held, admitted: Callable[[], None]) -> bool:
        """Count a message that begins, if there is room; else it waits, and is counted when `admitted` is called."""
        pool = self._pool(held)
        # Whoever waits comes first, also where the newcomer is small enough to fit: or a large message would wait for
        # ever.
        if not pool.waiting and self._fits(pool, held.size):
            pool.held += held.size
            return True
        if not self.awaited:
            log.warning("back_pressure", held_bytes=self.held)
        pool.waiting.append(_Waiting(held.size, admitted))
        return False

    def withdraw(self, admitted: Callable[[], None]) -> None:
        """Let a message wait no more."""
        for pool in self._pools:
            for each in pool.waiting:
                if each.admitted == admitted:
                    # Those behind it may fit, though nothing was given back.
                    pool.waiting.remove(each)
                    self._look_soon()
                    self._say_if_over()
                    return

    def hold(self, held: Held) -> None:
        """Count some bytes, room or not: what they are of has been counted until now."""
        self._pool(held).held += held.size

    def give_back(self, held: Held) -> None:
        """Count no more what was counted."""
        self._pool(held).held -= held.size
        self._look_soon()

    @contextmanager
    def holding(self, size: int) -> Iterator[None]:
        """Count some bytes while inside."""
        self.hold(Held(size))
        try:
            yield
        finally:
            self.give_back(Held(size))

    def _pool(self, held: Held) -> _Pool:
        if held.first and held.size > HELLO_BYTES:
            return self._first
        return self._large if held.size > SMALL_BYTES else self._small

    def _fits(self, pool: _Pool, size: int) -> bool:
        """Whether there is room, or nothing of the kind is held."""
        room, half = self.limit - self.held >= size, self.limit // 2
        if pool is self._first:
            return not pool.held or (room and pool.held + size <= self.limit // 8)
        if pool is self._large:
            if not pool.held:
                return room or self._small.held <= half
            return room and pool.held + size <= half
        return not pool.held or (room and (not self._large.waiting or pool.held + size <= half))

    def _look_soon(self) -> None:
        """Not at once: who gives back what it was sent counts it on within the same step of the loop."""
        if not self._looking and self.awaited:
            self._looking = True
            asyncio.get_running_loop().call_soon(self._look)

    def _look(self) -> None:
        # First: what is given back from here on must be able to ask for another look.
        self._looking = False
        if not self.awaited:  # the last has withdrawn, which was said
            return
        # The large before the small: whether one of them still waits decides how much the small may have.
        for pool in self._pools:
            while pool.waiting and self._fits(pool, pool.waiting[0].size):
                size, admitted = pool.waiting.popleft()
                # Counted before it is told: it reads on at once, and its next message may ask for room.
                pool.held += size
                admitted()
        self._say_if_over()

    def _say_if_over(self) -> None:
        if not self.awaited:
            log.info("back_pressure_over", held_bytes=self.held)
