"""Long tests begin first: one that begins last is waited for by all workers but its own.

Who has asked for more time than others (`pytest.mark.timeout` at the test itself) is long; there is no list to keep.
Each worker of the tests is given a part of them in a row, as large as the others', and takes from others when it has
done its own: so the long ones are put at the beginnings of the parts.
"""

from collections.abc import Sequence
from typing import TypeVar

__all__ = ["long_ones_first"]

T = TypeVar("T")


def long_ones_first(tests: Sequence[T], long: Sequence[T], workers: int) -> list[T]:
    """Return the tests with the long ones dealt out to the beginnings of so many parts; the others keep their order."""
    hands = [list(long[first::workers]) for first in range(workers)]
    others = [each for each in tests if each not in long]
    dealt: list[T] = []
    for place, hand in enumerate(hands):
        # As xdist cuts them: each takes its share of what those before it have left.
        size = (len(tests) - len(dealt)) // (workers - place)
        room = max(0, size - len(hand))
        dealt += hand + others[:room]
        others = others[room:]
    return dealt + others
