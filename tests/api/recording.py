"""A recording as readers of the field make it: one chip that is carried over a mat eight times, minutes apart.

Each time it dwells there for a minute and is read again and again. Of the lines 15 % are, byte for byte, an earlier
one, and 12 % come behind the latest time that was read before: readers do not sort what they say.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from random import Random

from shared.protocol.ipico import compose, parse

__all__ = ["APPROACHES", "CHIP", "LINES", "behind", "doubled", "recording"]

LINES, APPROACHES, CHIP = 4_116, 8, "058003700001"
_BEGAN = datetime(2026, 5, 3, 10)  # noqa: DTZ001 - a reader's clock has no zone
_BETWEEN = timedelta(minutes=4)
_DOUBLED, _LATE = 0.143, 0.106  # by chance some are both


def recording() -> list[str]:
    """Return the lines, in the order in which the reader said them; the same ones each time."""
    random = Random(4116)
    share, more = divmod(LINES, APPROACHES)
    return [
        line
        for n in range(APPROACHES)
        for line in _approach(random, _BEGAN + n * _BETWEEN, share + (n < more))
    ]


def _approach(random: Random, began: datetime, count: int) -> list[str]:
    """Return so many lines of a chip that dwells on the mat, never out of its sight for as long as a second."""
    lines: list[str] = []
    at = began
    while len(lines) < count:
        chance = random.random()
        if lines and chance < _DOUBLED:
            lines.append(lines[-1])
        elif lines and chance < _DOUBLED + _LATE:
            lines.append(_line(max(began, at - timedelta(milliseconds=random.choice([20, 40, 150, 700])))))
        else:
            at += timedelta(milliseconds=random.choice([20, 40, 60, 90, 90, 160, 450, 940]))
            lines.append(_line(at))
    return lines


def _line(at: datetime) -> str:
    return compose(reader_id="00", tag_id=CHIP, read_at=at)


def doubled(lines: Sequence[str]) -> float:
    """Return which share of lines is byte-identical to an earlier one."""
    return 1 - len(set(lines)) / len(lines)


def behind(lines: Sequence[str]) -> float:
    """Return which share of lines comes behind the latest time before it."""
    latest, late = datetime.min, 0  # noqa: DTZ901 - a reader's clock has no zone
    for at in (parse(line).read_at or _BEGAN for line in lines):
        late += at < latest
        latest = max(latest, at)
    return late / len(lines)
