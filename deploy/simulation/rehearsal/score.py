"""What is rehearsed: who says which line when, made of lines that were said once.

Time is squeezed: what took an hour at speed 20 takes three minutes, and each line says the time at which it is said
now, so that the readers' clocks are right. Everything else of a line stays: chip, reader, counters, what is doubled
(15 % of real lines are) and what comes behind a later time (12 %). A line that says no time, because it is damaged,
comes with the one before it. Pure: the same lines give the same score.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from shared.protocol.ipico import annotate

__all__ = ["Mat", "Said", "Score", "clock_at", "retimed", "score"]

# Where the time stands in a line, and where what it is checked by, by the line's length (protocol.md, section 3).
_TIME = slice(20, 34)
_LRC_AT = {36: 34, 38: 34, 42: 40, 44: 40}


class Mat(NamedTuple):
    """One reader of the race that is rehearsed: its forwarder, its own name, and its lines in their order."""

    forwarder: str
    reader_ip: str
    lines: Sequence[str]


class Said(NamedTuple):
    """A line of the mat of that number, `at_s` after the beginning; its clock says `clock_s`, if any time."""

    at_s: float
    mat: int
    clock_s: float | None
    line: str


class Score(NamedTuple):
    """All lines in the order in which they are said, and how long that takes."""

    mats: Sequence[Mat]
    said: Sequence[Said]
    seconds: float


def score(mats: Sequence[Mat], *, speed: float) -> Score:
    """Return who says what when; ValueError where no line says a time."""
    times = [read_at for mat in mats for line in mat.lines if (read_at := annotate(line)[1]) is not None]
    if not times:
        raise ValueError("no line of it says a time: these are no reads")
    began = min(times)
    said = sorted(
        (each for number, mat in enumerate(mats) for each in _of_mat(number, mat.lines, began, speed)),
        key=lambda each: each.at_s,
    )
    return Score(mats, said, said[-1].at_s)


def _of_mat(number: int, lines: Iterable[str], began: datetime, speed: float) -> list[Said]:
    found: list[Said] = []
    # A reader says its lines in the order that it has, whatever times they say.
    at_s = 0.0
    for line in lines:
        read_at = annotate(line)[1]
        clock_s = None if read_at is None else (read_at - began).total_seconds() / speed
        at_s = max(at_s, clock_s or 0.0)
        found.append(Said(at_s, number, clock_s, line))
    return found


def retimed(line: str, at: datetime) -> str:
    """Return a line that is a read as if it had been read at another time, checked by what that makes."""
    word = line.split(None, 1)[0]
    lrc_at = _LRC_AT[len(word)]
    time = f"{at:%y%m%d%H%M%S}{at.microsecond // 10_000:02x}"
    body = word[2 : _TIME.start] + time + word[_TIME.stop : lrc_at]
    return f"aa{body}{sum(body.encode()) & 0xFF:02x}{word[lrc_at + 2 :]}"


def clock_at(began: datetime, clock_s: float, off_s: float) -> datetime:
    """Return what a reader's clock says so long after the beginning, when it is off by so much."""
    return began + timedelta(seconds=clock_s + off_s)
