"""Whatever happens to a state: nothing bad is hidden, and nothing is shown that was not so."""

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from api.alerts.conditions import Condition, Finding, Key, Level
from api.alerts.engine import AlertState, judge
from api.alerts.rules import BOUNDS
from tests.api.watching import (
    RANK,
    STREAM,
    at,
)

KEY = Key("clock", "stream", str(STREAM), STREAM)


def finding(level: Level) -> Finding:
    return Finding(KEY, "Finish", [] if level == "good" else [Condition(level, 0, level)], "Do.", "cleared")


def lived(levels: Iterable[Level]) -> list[tuple[Level, Level]]:
    """Return what the conditions say and what is shown, second by second."""
    shown: list[tuple[Level, Level]] = []
    state: AlertState | None = None
    for second, level in enumerate(levels):
        state = judge(state, finding(level), at(second))
        if state is not None and state.ended_at is not None:
            state = None
        shown.append((level, "good" if state is None else state.level))
    return shown


LEVELS = st.lists(st.sampled_from(["good", "watch", "act"]), max_size=80)


@given(LEVELS)
def test_nothing_bad_is_ever_hidden(levels: list[Level]) -> None:
    assert all(RANK[shown] >= RANK[indicated] for indicated, shown in lived(levels))


@given(LEVELS)
def test_nothing_is_shown_that_was_not_so_within_its_time(levels: list[Level]) -> None:
    seen = lived(levels)
    hold = int(BOUNDS["clock"].leave_act_s)
    for second, (_, shown) in enumerate(seen):
        lately = [indicated for indicated, _ in seen[max(0, second - hold) : second + 1]]
        assert RANK[shown] <= max(RANK[indicated] for indicated in lately)


@given(LEVELS)
def test_a_level_is_left_only_after_its_time_without_it(levels: list[Level]) -> None:
    seen = lived(levels)
    hold = int(BOUNDS["clock"].leave_act_s)
    for second in range(1, len(seen)):
        if RANK[seen[second][1]] < RANK[seen[second - 1][1]]:
            left = RANK[seen[second - 1][1]]
            assert second >= hold
            assert all(RANK[indicated] < left for indicated, _ in seen[second - hold : second + 1])
