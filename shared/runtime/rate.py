"""How many events a process handles in a second, by its own counters: what it says of itself to all.

It is that of the last seconds, and not of the moment since it was last asked: zero says that for `OF_S` nothing came,
and not that one thing took a second or two.
"""

from collections import deque
from collections.abc import Callable
from time import monotonic

from prometheus_client import REGISTRY

__all__ = ["Rate", "counted"]

# Who asks again sooner gets the same: of a moment there is no rate.
LEAST_S = 0.5
OF_S = 6.0


def counted(*names: str) -> float:
    """Return what the counters `rtserver_<name>_total` of this process have come to in all; 0 where there are none."""
    return sum(REGISTRY.get_sample_value(f"rtserver_{name}_total") or 0.0 for name in names)


class Rate:
    """The rate of `total` over the last OF_S, as far back as it was asked for. `clock`: seconds, from anywhere."""

    def __init__(self, total: Callable[[], float], *, clock: Callable[[], float] = monotonic) -> None:
        self._total = total
        self._clock = clock
        self._asked = deque([(clock(), total())])  # when, and what it was
        self._rate = 0.0

    def per_second(self) -> float:
        """Return how many came in a second; who is asked seldom says it of the time since the last question."""
        total, now = self._total(), self._clock()
        if now - self._asked[-1][0] >= LEAST_S:
            while len(self._asked) > 1 and now - self._asked[0][0] > OF_S:
                self._asked.popleft()
            began, before = self._asked[0]
            self._rate = (total - before) / (now - began)
            self._asked.append((now, total))
        return self._rate
