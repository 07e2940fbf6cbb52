"""A race, as the second generation has it: exactly the epochs that are mapped to it now.

Pure: no socket, no database.
"""

from collections.abc import Collection, Mapping

from fanout.delivery import NOTHING, Cursor, EpochState, begin_of, is_valid
from fanout.store.starting_points import StartingPoint

__all__ = ["Mapped"]


class Mapped:
    """The epochs of a stream that are mapped to a race, which change while the receiver is connected."""

    wants_all = False
    earliest: int | None = None

    def __init__(self, epochs: Collection[int]) -> None:
        self.epochs = frozenset(epochs)
        self._begun: frozenset[int] = frozenset()

    @property
    def is_empty(self) -> bool:
        """Whether no epoch of it is mapped."""
        return not self.epochs

    @property
    def missing(self) -> frozenset[int]:
        """Epochs that were mapped since."""
        return self.epochs - self._begun

    def map(self, epochs: Collection[int]) -> None:
        """Want these from now on. What is mapped no more ends at once; what is new waits for `begin`."""
        self.epochs = frozenset(epochs)
        # An epoch that goes and comes back begins anew, behind what was acked of it: what was stored meanwhile was
        # passed over.
        self._begun &= self.epochs

    def begin(self, point: StartingPoint, _resume: Mapping[int, int]) -> dict[int, Cursor]:
        """Each mapped epoch from after what was acked of that very epoch on, or from where a resume names it."""
        self._begun = self.epochs
        return {epoch: _begin(point, state) for epoch, state in point.epochs.items() if epoch in self.epochs}

    def disbelieves(self, point: StartingPoint) -> Collection[int]:
        """Those that were only implied: acks below what was implied would not be written, and a replay that is cut
        would begin with the first event again.
        """
        return [
            epoch for epoch in self.missing if epoch in point.epochs and point.epochs[epoch].cursor.implied
        ]

    def wants(self, epoch: int) -> bool:
        """Whether it is mapped, and what was stored of it before is on its way."""
        return epoch in self._begun


def _begin(point: StartingPoint, state: EpochState) -> Cursor:
    """What a newer epoch's resume implied of this one is no ack of it: a race must have it whole."""
    if state.cursor.implied:
        state = state._replace(cursor=NOTHING, above_cursor=state.event_count or 0)
    return begin_of(point.last_position, state, state.resume if is_valid(state) else None)
