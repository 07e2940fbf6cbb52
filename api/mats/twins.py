"""Whether one of several mats of a point sees too little. Pure."""

__all__ = ["FEWEST", "SHARE", "sees_less"]

# Of its twin's chips.
SHARE = 0.8
# Of fewer chips a share says little.
FEWEST = 50


def sees_less(seen: int, best: int, *, chips: int) -> bool:
    """Return whether a mat sees less than it should, of so many chips that came last."""
    return chips >= FEWEST and seen < SHARE * best
