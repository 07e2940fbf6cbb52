"""Live, as the second generation has it: everything from an epoch on, the floor (deploy/docs/protocol.md, section
12.3).

Pure: no socket, no database.
"""

from collections.abc import Collection, Mapping

from fanout.delivery import Cursor, begin_of
from fanout.store.starting_points import StartingPoint

__all__ = ["FromFloor"]


class FromFloor:
    """The epochs from the lowest on that we have a record for or that a resume names; without any, from the one that
    the receiver asked for, without that either from the current one. A record is an ack, or that a session has begun
    with the epoch, acked or not: what comes of it while the receiver is away is not less wanted because a newer epoch
    has become the current one meanwhile.
    """

    wants_all = False
    is_empty = False
    missing: Collection[int] = ()

    def __init__(self, earliest_epoch: int | None) -> None:
        self.earliest = earliest_epoch
        self.floor: int | None = None

    def begin(self, point: StartingPoint, resume: Mapping[int, int]) -> dict[int, Cursor]:
        """Find the floor. A resume counts for the epochs that it names, and implies nothing of older ones.

        Whose cursors are deleted begins again from no higher one: to be sent everything again is never to lose some.
        """
        valid = {epoch: seq for epoch, seq in resume.items() if _can_be_true(point, epoch, seq)}
        acked = {epoch for epoch, state in point.epochs.items() if state.cursor.last_seq}
        begun = {epoch for epoch, wanted in point.wanted.items() if wanted}
        # That one has begun proves nothing of it, so it never raises a floor.
        known = valid.keys() | acked or {self._without_any(point.current_epoch)}
        floor = min(known | begun)
        floor = floor if self.floor is None else min(self.floor, floor)
        self.floor = self.earliest = floor
        return {
            epoch: begin_of(point.last_position, state, valid.get(epoch))
            for epoch, state in point.epochs.items()
            if epoch >= floor
        }

    def _without_any(self, current: int) -> int:
        return current if self.earliest is None else min(self.earliest, current)

    def disbelieves(self, _point: StartingPoint) -> Collection[int]:
        """None: from the floor on, what an older session's resume implied counts as it did then."""
        return ()

    def wants(self, epoch: int) -> bool:
        """Whether it is not below the floor, however late it comes."""
        return self.floor is not None and epoch >= self.floor


def _can_be_true(point: StartingPoint, epoch: int, seq: int) -> bool:
    """Whether a resume is not beyond the newest event of its epoch; of nothing, not beyond the current epoch."""
    if not seq:
        return 1 <= epoch <= point.current_epoch
    return epoch in point.epochs and seq <= point.epochs[epoch].last_seq
