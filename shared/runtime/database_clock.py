"""What time it is by the database's clock, on a machine that has one of its own.

Processes stand on many machines, and what they note of when something came must be of one clock. Each asks the database
the time, with what it asks anyway, and learns within which bounds its own clock is ahead: what the database says was so
between the moment when it was asked and the one when it answered. The correction moves no further than these bounds
demand: a machine that is right is not moved by slow answers, one whose clock drifts or is set is followed at once, and
what is not known is taken to be nothing.

It costs who asks for the time one subtraction.
"""

import ctypes
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from time import time

__all__ = ["DatabaseClock", "clock_is_kept"]

# What the kernel answers while nobody has told it for hours how far off it may be (adjtimex(2), TIME_ERROR).
_NOT_KEPT = 5
# Larger than what it writes, on any machine; all zeros ask and set nothing.
_TIMEX_BYTES = 512


class DatabaseClock:
    """The database's clock, as a process knows it. own: this machine's, in seconds since 1970."""

    def __init__(self, *, own: Callable[[], float] = time) -> None:
        self.own = own
        self._ahead = timedelta()
        self._is_known = False

    @property
    def ahead_ms(self) -> float | None:
        """How far this machine's clock is ahead of the database's; None: nobody has asked yet."""
        return self._ahead / timedelta(milliseconds=1) if self._is_known else None

    def learn(self, asked: float, said: datetime, answered: float) -> None:
        """Take in what the database said that the time was; when it was asked and had answered, by our own clock."""
        at = said.timestamp()
        least, most = timedelta(seconds=asked - at), timedelta(seconds=answered - at)
        self._is_known = True
        # A clock that was set while we waited makes bounds that exclude each other, and says nothing.
        if least <= most:
            self._ahead = min(max(self._ahead, least), most)

    def now(self) -> datetime:
        """Return the time, by the database's clock."""
        return datetime.fromtimestamp(self.own(), UTC) - self._ahead


def clock_is_kept() -> bool | None:
    """Return whether somebody keeps this machine's clock, as the kernel knows it; None where it cannot be asked."""
    try:
        adjtimex = ctypes.CDLL(None).adjtimex
    except AttributeError:
        return None
    state: int = adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    return None if state < 0 else state != _NOT_KEPT
