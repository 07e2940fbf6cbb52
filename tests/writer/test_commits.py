"""How long commits take now."""

from writer.commits import AT_MOST, WITHIN_S, Commits


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_middle_of_the_last_commits_is_told_in_milliseconds() -> None:
    commits = Commits(Clock())
    for seconds in (0.002, 0.003, 1.5):
        commits.add(seconds)
    assert commits.usual_ms() == 3.0


def test_nothing_is_told_of_a_writer_that_has_stored_nothing_for_a_minute() -> None:
    clock = Clock()
    commits = Commits(clock)
    assert commits.usual_ms() is None
    commits.add(0.002)
    clock.now += WITHIN_S - 1
    commits.add(0.004)
    assert commits.usual_ms() == 3.0
    clock.now += 1
    assert commits.usual_ms() == 4.0
    clock.now += WITHIN_S
    assert commits.usual_ms() is None


def test_no_more_is_kept_than_what_is_looked_at() -> None:
    commits = Commits(Clock())
    for seconds in (*[9.0] * AT_MOST, *[0.001] * AT_MOST):
        commits.add(seconds)
    assert commits.usual_ms() == 1.0
