"""The database's clock, on a machine that has another: pure, with clocks of the test's own."""

from datetime import UTC, datetime, timedelta

import pytest

from shared.runtime.database_clock import DatabaseClock, clock_is_kept

NOON = datetime(2026, 5, 3, 12, tzinfo=UTC)


class Machine:
    """A machine whose clock is so far ahead of the database's, at a moment of that."""

    def __init__(self, ahead_s: float) -> None:
        self.ahead_s = ahead_s
        self.at = NOON
        self.clock = DatabaseClock(own=lambda: self.at.timestamp() + self.ahead_s)

    def ask(self, *, there_s: float = 0.001, back_s: float = 0.001) -> None:
        asked = self.clock.own()
        self.at += timedelta(seconds=there_s)
        said = self.at
        self.at += timedelta(seconds=back_s)
        self.clock.learn(asked, said, self.clock.own())

    @property
    def wrong_ms(self) -> float:
        return (self.clock.now() - self.at) / timedelta(milliseconds=1)


@pytest.mark.parametrize("ahead_s", [0.0004, 0.2, -0.2, 3600, -86400, -9618 * 86400])
def test_a_machine_that_is_off_tells_the_database_s_time_after_one_answer(ahead_s: float) -> None:
    machine = Machine(ahead_s)
    assert machine.wrong_ms == pytest.approx(ahead_s * 1000, abs=0.01)
    machine.ask()
    assert abs(machine.wrong_ms) <= 1.01
    assert machine.clock.ahead_ms == pytest.approx(ahead_s * 1000, abs=1.01)


def test_slow_answers_move_nothing_and_quick_ones_no_further_than_they_must() -> None:
    machine = Machine(0)
    machine.ask(there_s=2, back_s=0.001)
    machine.ask(there_s=0.001, back_s=2)
    assert machine.clock.ahead_ms == 0
    machine = Machine(0.5)
    machine.ask(there_s=0.3, back_s=0.3)
    machine.ask()
    known = machine.wrong_ms
    assert abs(known) <= 1.01
    machine.ask(there_s=0.5, back_s=0.5)
    assert machine.wrong_ms == known


def test_a_clock_that_drifts_or_is_set_is_followed_with_the_next_answer() -> None:
    machine = Machine(0)
    for _ in range(600):  # a quarter of an hour at 100 ppm
        machine.at += timedelta(seconds=1.5)
        machine.ahead_s += 0.00015
        machine.ask()
        assert abs(machine.wrong_ms) <= 1.2
    machine.ahead_s -= 3600
    machine.ask()
    assert abs(machine.wrong_ms) <= 1.2


def test_a_clock_that_is_set_back_while_it_is_asked_says_nothing() -> None:
    machine = Machine(0.2)
    machine.ask()
    known = machine.clock.ahead_ms
    machine.clock.learn(NOON.timestamp(), NOON, NOON.timestamp() - 60)
    assert machine.clock.ahead_ms == known


def test_nothing_is_known_before_the_first_answer_and_the_time_is_our_own() -> None:
    machine = Machine(0.2)
    assert machine.clock.ahead_ms is None
    assert machine.clock.now() == NOON + timedelta(seconds=0.2)


def test_the_kernel_says_whether_somebody_keeps_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    class Kernel:
        def __init__(self, state: int) -> None:
            self.adjtimex = lambda _: state

    for state, kept in ((0, True), (5, False), (-1, None)):
        monkeypatch.setattr("ctypes.CDLL", lambda _, state=state: Kernel(state))
        assert clock_is_kept() is kept
    monkeypatch.setattr("ctypes.CDLL", lambda _: object())  # no such call on this system
    assert clock_is_kept() is None
    monkeypatch.undo()
    assert clock_is_kept() in (True, False, None)
