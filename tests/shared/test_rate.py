"""How many events a process handles in a second."""

from prometheus_client import REGISTRY

from shared.metrics import counter
from shared.runtime.rate import LEAST_S, OF_S, Rate, counted


def rates(*asked: tuple[float, float]) -> list[float]:
    """Return what is said when it is asked after some seconds each, in which something came."""
    now, total, seen = 0.0, 100.0, []
    rate = Rate(lambda: total, clock=lambda: now)
    for passed, came in asked:
        now, total = now + passed, total + came
        seen.append(rate.per_second())
    return seen


def test_a_rate_is_of_the_last_seconds() -> None:
    assert rates((2.0, 50.0), (LEAST_S / 2, 7.0), (1.75, 3.0)) == [25.0, 25.0, 15.0]
    # Who is asked seldom says it of the time since the last question.
    assert rates((2.0, 50.0), (OF_S + 4.0, 20.0)) == [25.0, 2.0]


def test_a_rate_is_zero_when_nothing_has_come_for_seconds_and_not_after_a_moment() -> None:
    seen = rates((1.5, 30.0), *((1.5, 0.0) for _ in range(6)))
    assert [each > 0 for each in seen] == [True] * 4 + [False] * 3


def test_what_is_counted_is_the_counter_of_that_name() -> None:
    assert counted("pace_of_a_test") == 0.0
    made = counter("pace_of_a_test", "of a test")
    try:
        made.inc(3)
        assert counted("pace_of_a_test", "pace_of_none") == 3.0
    finally:
        REGISTRY.unregister(made)  # ARCHITECTURE.md has all that there are (deploy/test_architecture.py)
