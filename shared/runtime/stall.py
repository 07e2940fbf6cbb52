"""How long the event loop is held at a time: nobody of the process is served meanwhile.

A timer of the loop says by how much it was woken too late. That is what devices feel, whatever the reason: work done in
one go, a call that blocks, or a machine that is busy with something else. The processor time which the loop's thread
has used meanwhile bounds what of it was work of our own: it stays small where the machine is to blame, and where the
loop was stopped or waited.
"""

import asyncio
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from shared.metrics import gauge, histogram

__all__ = ["Longest", "measuring_stalls"]

# A stall is seen from when the timer was due, so up to a step of it is not. But each look wakes the process, and fifty
# a second would be half of what an idle one costs: who does nothing looks less often.
_STEP_S, _IDLE_STEP_S = 0.02, 0.05
_IDLE_BELOW_S = 0.001  # processor time in a step
_NOTED_FROM_S = 0.02
_SLOT_S, _SLOTS = 10.0, 6

_STALLS = histogram("loop_stall_seconds", "how long the event loop was held at a time, from 20 ms on")
_LONGEST = gauge("loop_longest_stall_seconds", "the longest that the event loop was held in the last minute")
_LONGEST_OWN = gauge(
    "loop_longest_own_stall_seconds",
    "the longest that it was held by work of its own: processor time used meanwhile",
)


class Longest:
    """The longest of the last minute, give or take the ten seconds of a slot."""

    def __init__(self) -> None:
        self._slots: deque[tuple[int, float]] = deque(maxlen=_SLOTS + 1)  # number of the slot, longest of it

    def note(self, seconds: float, *, now: float) -> None:
        """Take one more into account."""
        slot = int(now / _SLOT_S)
        if self._slots and self._slots[-1][0] == slot:
            slot, longest = self._slots.pop()
            seconds = max(seconds, longest)
        self._slots.append((slot, seconds))

    def at(self, now: float) -> float:
        """Return the longest; 0 when there was none."""
        oldest = int(now / _SLOT_S) - _SLOTS
        return max((seconds for slot, seconds in self._slots if slot >= oldest), default=0.0)


class _Meter:
    """A timer that starts itself anew, and what it found."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._longest, self._longest_own = Longest(), Longest()
        _LONGEST.set_function(lambda: self._longest.at(time.monotonic()))
        _LONGEST_OWN.set_function(lambda: self._longest_own.at(time.monotonic()))
        self._start(_STEP_S)

    def stop(self) -> None:
        """Look no more."""
        self._timer.cancel()

    def _start(self, step_s: float) -> None:
        self._due_at = time.monotonic() + step_s
        # From here on, not from when the timer was due: more than what was used while it was late, so a bound from
        # above.
        self._used_s = time.thread_time()
        self._timer = self._loop.call_later(step_s, self._look)

    def _look(self) -> None:
        now = time.monotonic()
        late_s, used_s = now - self._due_at, time.thread_time() - self._used_s
        if late_s >= _NOTED_FROM_S:
            _STALLS.observe(late_s)
            self._longest.note(late_s, now=now)
            self._longest_own.note(min(late_s, used_s), now=now)
        # Set anew only now: a stall counts once, however many steps long it was.
        self._start(_STEP_S if used_s >= _IDLE_BELOW_S else _IDLE_STEP_S)


@contextmanager
def measuring_stalls() -> Iterator[None]:
    """Measure the running loop inside."""
    meter = _Meter(asyncio.get_running_loop())
    try:
        yield
    finally:
        meter.stop()
