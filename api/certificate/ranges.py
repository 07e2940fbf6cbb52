"""Which numbers are not there, found of how many events each block has, so that full blocks are looked at no further.
Pure: no database. A range is (first, last), both included.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, TypeAlias

from api.certificate.digests import BLOCK_EVENTS

__all__ = ["Holes", "Range", "holes", "in_words", "joined", "without"]

Range: TypeAlias = tuple[int, int]

# As many as a person reads.
_NAMED = 10


class Holes(NamedTuple):
    """absent: ranges of which nothing is there. partial: those of blocks that hold some of their numbers."""

    absent: list[Range]
    partial: list[Range]


def holes(blocks: Iterable[tuple[int, int]], low: int, high: int) -> Holes:
    """Return what of low..high is not there, of (block, how many of those numbers it has), in order."""
    found = Holes([], [])
    behind = low
    for block, count in blocks:
        first, last = max(block * BLOCK_EVENTS + 1, low), min((block + 1) * BLOCK_EVENTS, high)
        if behind < first:
            found.absent.append((behind, first - 1))
        if count < last - first + 1:
            found.partial.append((first, last))
        behind = last + 1
    if behind <= high:
        found.absent.append((behind, high))
    return found


def joined(ranges: Iterable[Range]) -> list[Range]:
    """Return ranges in order, those that touch as one."""
    whole: list[Range] = []
    for first, last in sorted(ranges):
        if whole and first <= whole[-1][1] + 1:
            whole[-1] = whole[-1][0], max(whole[-1][1], last)
        else:
            whole.append((first, last))
    return whole


def without(ranges: Iterable[Range], others: Sequence[Range]) -> Iterator[Range]:
    """Yield what of ranges lies in none of the others; both joined. Each is looked at once, however many there are."""
    at = 0
    for first, last in ranges:
        behind = first
        while at < len(others) and others[at][0] <= last:
            if behind < others[at][0]:
                yield behind, others[at][0] - 1
            behind = max(behind, others[at][1] + 1)
            if behind > last:
                # It may reach into the next range.
                break
            at += 1
        if behind <= last:
            yield behind, last


def in_words(ranges: Sequence[Range]) -> str:
    """Return the first of them as people say them: 5, 7 to 9 and 3 more ranges."""
    said = ", ".join(
        f"{first:,}" if first == last else f"{first:,} to {last:,}" for first, last in ranges[:_NAMED]
    )
    left = len(ranges) - _NAMED
    return f"{said} and {left:,} more range{'s' if left > 1 else ''}" if left > 0 else said
