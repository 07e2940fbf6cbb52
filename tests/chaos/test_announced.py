"""Each way in which the announcer may break its word is found, and nothing is said where it keeps it."""

import pytest

from tests.chaos.announced import Announced, Announcer, Standing, announced, shown
from tests.chaos.ledger import Event
from tests.chaos.oracle import Stored

CHIPS = [f"0580000000{number:02x}" for number in range(1, 6)]
NAME = ("finish", "r")


def read(position: int, chip: str, *, epoch: int = 1) -> Stored:
    return Stored(Event(*NAME, epoch, position, f"aa01{chip}000000", "", "raw"), position)


STORED = [read(position, chip) for position, chip in enumerate(CHIPS, start=1)]
ROWS = [
    Announced(7, number, f"chip:{chip}", *NAME, 1, number, chip) for number, chip in enumerate(CHIPS, start=1)
]


def at(rows: list[Announced], position: int = 5, run_id: int = 7) -> Announcer:
    return Announcer(run_id, rows, {NAME: Standing(1, position, 5)})


def test_where_it_keeps_its_word_nothing_is_said() -> None:
    assert announced(at(ROWS), STORED, None) == []
    # Read twice, and late, of an epoch of before; and what it has not looked at yet.
    again = [*STORED, read(6, CHIPS[0]), read(7, "0580000000ff", epoch=0), read(8, "0580000000fe")]
    assert announced(at(ROWS, 7), again, at(ROWS[:2], 2)) == []
    assert announced(at([each._replace(run_id=8) for each in ROWS], run_id=8), STORED, at(ROWS[:2], 2)) == []
    assert shown(at(ROWS), count=5, numbers=[5, 4]) == []
    assert at(ROWS).has_all
    assert not at(ROWS, 4).has_all


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([*ROWS[:2], *ROWS[3:]], ["numbers are not 1, 2, 3", "1 came in and not announced"]),
        ([*ROWS, ROWS[0]._replace(number=6)], ["1 announced twice", "1 streams in another order"]),
        ([ROWS[1]._replace(number=1), ROWS[0]._replace(number=2), *ROWS[2:]], ["streams in another order"]),
        ([*ROWS[:4], ROWS[4]._replace(seq=99)], ["1 announced and not stored", "1 streams in another order"]),
        ([*ROWS[:3], ROWS[4]._replace(number=4)], ["1 came in and not announced"]),
    ],
)
def test_a_run_that_is_not_what_came_in_is_found(rows: list[Announced], words: list[str]) -> None:
    problems = announced(at(rows), STORED, None)
    assert len(problems) == len(words)
    assert all(any(each in problem for problem in problems) for each in words)


def test_the_first_of_whom_nobody_was_told_since_is_missed_too() -> None:
    late = [each._replace(number=each.number - 1) for each in ROWS[1:]]
    assert announced(at(late), STORED, None) == []
    (problem,) = announced(at(late), STORED, at([], 0))
    assert "1 came in and not announced" in problem


def test_what_was_announced_and_is_another_by_now_is_found() -> None:
    other = [ROWS[0], ROWS[2]._replace(number=2), ROWS[1]._replace(number=3), *ROWS[3:]]
    problems = announced(at(other), STORED, at(ROWS[:3], 3))
    assert any("2 announced, and another one by now" in each for each in problems)


def test_a_page_that_shows_something_else_is_found() -> None:
    assert shown(at(ROWS), count=4, numbers=[4, 3])
    assert shown(at(ROWS), count=5, numbers=[5, 3])
