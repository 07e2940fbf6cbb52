"""The database's clock, on a machine that has another: pure, with clocks of the test's own."""

import ctypes
from datetime import UTC, datetime, timedelta

import pytest

from shared.runtime.database_clock import DatabaseClock, clock_is_kept

NOON = datetime(2026, 5, 3, 12, tzinfo=UTC)


class Machine:
    """A machine whose clock is so far ahead of the database's, at a moment of that."""

    def __init__(self, ahead_s: float) -> None:
        self.ahead_s = ahead_s
        self.at = NOON
        self.clock = DatabaseClock(
            own=lambda: self.at.timestamp() + self.ahead_s,
            counted=lambda: (self.at - NOON).total_seconds() + 1234.5,
        )

    def ask(self, *, there_s: float = 0.001, back_s: float = 0.001) -> None:
        asked = self.clock.counted()
        self.at += timedelta(seconds=there_s)
        said = self.at
        self.at += timedelta(seconds=back_s)
        self.clock.learn(asked, said, self.clock.counted())

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


def test_a_machine_that_counts_too_fast_is_followed_with_the_next_answer() -> None:
    machine = Machine(0)
    fast_s = 0.0
    counted = machine.clock.counted
    machine.clock.counted = lambda: counted() + fast_s
    for _ in range(600):  # a quarter of an hour at 100 ppm
        machine.at += timedelta(seconds=1.5)
        fast_s += 0.00015
        machine.ask()
        assert abs(machine.wrong_ms) <= 1.2


@pytest.mark.parametrize("set_s", [3600, -3600, 0.3])
def test_a_clock_that_is_set_dates_nothing_not_even_until_the_next_answer(set_s: float) -> None:
    machine = Machine(0.2)
    machine.ask()
    machine.ahead_s += set_s
    machine.at += timedelta(seconds=1)
    assert abs(machine.wrong_ms) <= 1.01
    assert machine.clock.ahead_ms == pytest.approx((0.2 + set_s) * 1000, abs=1.01)
    machine.ask()
    assert abs(machine.wrong_ms) <= 1.01


def test_a_machine_that_was_asleep_is_right_with_the_next_answer() -> None:
    machine = Machine(0)
    machine.ask()
    counted = machine.clock.counted
    machine.at += timedelta(hours=1)
    machine.clock.counted = lambda: counted() - 3600
    assert machine.wrong_ms == pytest.approx(-3_600_000, abs=1.01)
    machine.ask()
    assert abs(machine.wrong_ms) <= 1.01


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


def test_this_machine_s_kernel_is_asked_and_sets_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Kernel:
        @staticmethod
        def adjtimex(given: ctypes.Array[ctypes.c_char]) -> int:
            asked.append(bytes(given))
            return 0

    monkeypatch.setattr("ctypes.CDLL", lambda name: Kernel if name is None else None)
    assert clock_is_kept()
    (given,) = asked
    # `struct timex` has 208 bytes on machines of 64 bits; modes of 0 set nothing.
    assert len(given) >= 208
    assert set(given) == {0}
