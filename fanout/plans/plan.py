"""What a plan is, and the plan of the first generation: everything, from where the receiver stands on.

Pure: no socket, no database.
"""

from collections.abc import Collection, Mapping
from typing import Protocol

from fanout.delivery import Cursor, begin_of, is_valid
from fanout.store.starting_points import StartingPoint

__all__ = ["Everything", "Plan"]


class Plan(Protocol):
    """What a receiver wants of one stream.

    wants_all: all epochs that there are, from the moment that it begins. earliest: the epoch from which on it is asked
    for, if one is.
    """

    wants_all: bool
    earliest: int | None

    @property
    def is_empty(self) -> bool:
        """Whether nothing of the stream is wanted at the moment."""

    @property
    def missing(self) -> Collection[int]:
        """Epochs that are wanted and that have not begun: they came to be wanted since."""

    def begin(self, point: StartingPoint, resume: Mapping[int, int], /) -> dict[int, Cursor]:
        """Decide, as the stream stands, which of its epochs are sent, and return what the receiver has of each."""

    def disbelieves(self, point: StartingPoint, /) -> Collection[int]:
        """Return the epochs that begin now, and of which our record is no ack: it is to begin again."""

    def wants(self, epoch: int, /) -> bool:
        """Whether what is stored of an epoch from now on is sent."""


class Everything:
    """All epochs. A resume says that everything older is done, unless our record of an older epoch says otherwise
    (protocol.md, section 5.2).
    """

    wants_all = True
    earliest: int | None = None
    is_empty = False
    missing: Collection[int] = ()

    def begin(self, point: StartingPoint, _resume: Mapping[int, int]) -> dict[int, Cursor]:
        """All of them. The resume is in the states of the epochs that it can be true of."""
        resumed = {epoch: state.resume for epoch, state in point.epochs.items() if is_valid(state)}
        resumed_at = max(resumed, default=0)
        begins: dict[int, Cursor] = {}
        for epoch, state in point.epochs.items():
            if epoch not in resumed and not state.cursor.last_seq and epoch < resumed_at:
                begins[epoch] = Cursor(state.last_seq, point.last_position, state.event_count, implied=True)
            else:
                begins[epoch] = begin_of(point.last_position, state, resumed.get(epoch))
        return begins

    def disbelieves(self, _point: StartingPoint) -> Collection[int]:
        """None."""
        return ()

    def wants(self, _epoch: int) -> bool:
        """All of them."""
        return True
