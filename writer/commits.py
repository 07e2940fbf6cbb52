"""How long commits take now: the middle one of the last. Pure: the clock comes in.

A mean would be one slow commit for a minute; the slowest is in the histogram (`rtserver_commit_seconds`). What is older
than a minute says nothing of the disk as it is now, so a writer that stores nothing knows nothing.
"""

from collections import deque
from collections.abc import Callable
from statistics import median

__all__ = ["Commits"]

WITHIN_S = 60.0
AT_MOST = 100


class Commits:
    """The last commits of a writer, a hundred of the last minute at the most."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._known: deque[tuple[float, float]] = deque(maxlen=AT_MOST)

    def add(self, seconds: float) -> None:
        """Note how long one took."""
        self._known.append((self._clock(), seconds))

    def usual_ms(self) -> float | None:
        """Return how long one takes, in ms; None where nothing was committed within the last minute."""
        since = self._clock() - WITHIN_S
        lately = [seconds for at, seconds in self._known if at > since]
        return round(median(lately) * 1000, 2) if lately else None
