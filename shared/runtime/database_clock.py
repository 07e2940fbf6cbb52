"""What time it is by the database's clock, on a machine that has one of its own.

Processes stand on many machines, and what they note of when something came must be of one clock. Each asks the database
the time, with what it asks anyway, and learns within which bounds its own clock is ahead: what the database says was so
between the moment when it was asked and the one when it answered. The correction moves no further than these bounds
demand: a machine that is right is not moved by slow answers, one whose clock drifts is followed at once, and what is
not known is taken to be nothing.

Between two answers time goes on by what the machine counts since it was started, which nobody sets: a clock that is set
on a machine dates nothing, not even until the next answer. (A machine that was asleep has not counted; its first answer
says by how much.)

It costs who asks for the time one addition.
"""

import ctypes
from collections.abc import Callable
from datetime import UTC, datetime
from time import monotonic, time

__all__ = ["DatabaseClock", "clock_is_kept"]

# What the kernel answers while nobody has told it for hours how far off it may be (adjtimex(2), TIME_ERROR).
_NOT_KEPT = 5
# Larger than what it writes, on any machine; all zeros ask and set nothing.
_TIMEX_BYTES = 512


class DatabaseClock:
    """The database's clock, as a process knows it. own: this machine's, in seconds since 1970. counted: seconds that
    the machine has counted, from whenever on.
    """

    def __init__(self, *, own: Callable[[], float] = time, counted: Callable[[], float] = monotonic) -> None:
        self.own, self.counted = own, counted
        # What the database's clock says, less what we have counted: until it has answered, as our own clock has it.
        self._began = own() - counted()
        self._is_known = False

    @property
    def ahead_ms(self) -> float | None:
        """How far this machine's clock is ahead of the database's; None: nobody has asked yet."""
        return (self.own() - self.counted() - self._began) * 1000 if self._is_known else None

    def learn(self, asked: float, said: datetime, answered: float) -> None:
        """Take in what the database said that the time was; when it was asked and had answered, as counted."""
        at = said.timestamp()
        self._is_known = True
        self._began = min(max(self._began, at - answered), at - asked)

    def now(self) -> datetime:
        """Return the time, by the database's clock."""
        return datetime.fromtimestamp(self.counted() + self._began, UTC)


def clock_is_kept() -> bool | None:
    """Return whether somebody keeps this machine's clock, as the kernel knows it; None where it cannot be asked."""
    try:
        adjtimex = ctypes.CDLL(None).adjtimex
    except AttributeError:
        return None
    state: int = adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    return None if state < 0 else state != _NOT_KEPT
