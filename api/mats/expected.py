"""How many should have come by a point over time, behind how many did: for its plot. Pure."""

from collections.abc import Sequence

__all__ = ["expected_counts"]


def expected_counts(
    before: Sequence[int], bin_s: float, travel_s: Sequence[float], arrive: float
) -> list[float]:
    """Return how many are expected in each bin, by how many came by the point before in each: such a share of them, by
    as many times as it takes equal shares of those who come.
    """
    counts = [0.0] * len(before)
    for number, came in enumerate(before):
        for took in travel_s if came else ():
            at = int(number + took / bin_s + 0.5)
            if 0 <= at < len(counts):
                counts[at] += came * arrive / len(travel_s)
    return [round(count, 1) for count in counts]
