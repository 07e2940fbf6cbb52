"""Two hundred mats with nothing wrong: what comes by chance, as runners do, is no alert. Pure; the chance is seeded.

Each stream is read at random moments, a few seconds apart in the mean. What is known of its gaps is what the samples
know (api/alerts/samples.py): median and longest of the newest 48, as they were at the beginning of a bin of ten
seconds.
"""

from collections import deque
from collections.abc import Sequence
from random import Random
from statistics import median
from uuid import UUID

import pytest

from api.alerts.conditions import Owner
from api.alerts.engine import AlertState, advance
from api.alerts.findings import Facts, find
from api.alerts.samples import BIN_S
from api.alerts.stream_facts import ClockFacts, StreamFacts, streams
from tests.api.watching import at

STREAMS = 200
SECONDS = 120
GAPS = 48


class Mat:
    """A stream whose reads come by chance."""

    def __init__(self, number: int, *, mean_s: float, random: Random) -> None:
        self._number, self._mean_s, self._random = number, mean_s, random
        self._gaps: deque[float] = deque((random.expovariate(1 / mean_s) for _ in range(GAPS)), maxlen=GAPS)
        self._last = 0.0
        self._next = random.expovariate(1 / mean_s)
        self._known = self._measured()

    def facts(self, second: int) -> StreamFacts:
        """Return what is known of it."""
        while self._next <= second:
            self._gaps.append(self._next - self._last)
            self._last, self._next = self._next, self._next + self._random.expovariate(1 / self._mean_s)
        if second % BIN_S == 0:
            self._known = self._measured()
        usual, longest = self._known
        return StreamFacts(
            stream_id=UUID(int=self._number),
            title=f"mat {self._number}",
            owner=Owner("forwarder", f"box {self._number // 8}", "box"),
            stream_epoch=1,
            online=True,
            last_received_at=at(self._last),
            median_gap_s=usual,
            reads=1000,
            missing_count=0,
            unparsed_count=0,
            open_conflicts=0,
            clock=ClockFacts(),
            longest_gap_s=longest,
        )

    def _measured(self) -> tuple[float, float]:
        return median(self._gaps), max(self._gaps)


def counted(states: Sequence[AlertState]) -> int:
    """Return how many count in the verdict: not what is shown only until it has been over for its time."""
    return sum(each.level != "good" and each.calm_at is None for each in states)


@pytest.mark.parametrize("mean_s", [4, 10])
def test_two_hundred_mats_with_nothing_wrong_are_calm(mean_s: float) -> None:
    random = Random(f"calm {mean_s}")
    mats = [Mat(number, mean_s=mean_s, random=random) for number in range(STREAMS)]
    states: list[AlertState] = []
    shown = []
    for second in range(SECONDS):
        facts: Facts = {streams: [mat.facts(second) for mat in mats]}
        changed = advance(states, find(facts, states), at(second))
        latest = {each.key: each for each in (*states, *changed)}
        states = [each for each in latest.values() if each.ended_at is None]
        shown.append(counted(states))
        assert not any(each.level == "act" for each in states)
    # Hardly ever one of two hundred, for some seconds.
    assert sum(shown) / SECONDS < 0.5
