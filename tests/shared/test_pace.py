"""How many events a process handles in a second."""

from prometheus_client import REGISTRY

from shared.metrics import counter
from shared.runtime.pace import LEAST_S, Pace, counted


def test_a_rate_is_of_the_time_since_the_last_question() -> None:
    now, total = 0.0, 100.0
    pace = Pace(lambda: total, clock=lambda: now)
    seen = []
    for passed, came in ((2.0, 50.0), (LEAST_S / 2, 7.0), (1.0, 3.0), (2.0, 0.0)):
        now, total = now + passed, total + came
        seen.append(pace.per_second())
    assert seen == [25.0, 25.0, 8.0, 0.0]


def test_what_is_counted_is_the_counter_of_that_name() -> None:
    assert counted("pace_of_a_test") == 0.0
    made = counter("pace_of_a_test", "of a test")
    try:
        made.inc(3)
        assert counted("pace_of_a_test") == 3.0
    finally:
        REGISTRY.unregister(made)  # ARCHITECTURE.md has all that there are (deploy/test_architecture.py)
