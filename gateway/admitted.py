"""Which epochs of a forwarder are taken: those that it has begun, and more of them up to a bound.

A device begins an epoch by naming it, and each costs a row for ever, with every receiver that follows. A device in the
field begins one when it is commanded to, or when it has lost its journal: so the bound is met by what is broken or
stolen alone. What lies beyond stays in the device. An epoch that was commanded is taken all the same, until there are
as many again: a reset must go on working where operators need one.
"""

from collections.abc import Collection, Container, Iterable, Mapping
from time import monotonic
from uuid import UUID

from gateway.batch import Part
from gateway.store.streams import EpochsStored, epochs_stored
from shared.runtime.process import Process

__all__ = ["AdmittedEpochs", "Epoch", "admit"]

# How soon we look whether there is room by now: what was left out comes with every batch.
ASK_AGAIN_AFTER_S = 5.0

Epoch = tuple[str, int]  # of a reader


def admit(asked: Iterable[Epoch], stored: EpochsStored, waiting: set[Epoch], at_most: int) -> set[Epoch]:
    """Return which of the asked epochs are taken, and count in `waiting` those that have no row yet."""
    waiting -= stored.known
    room = at_most - stored.total - len(waiting)
    taken: set[Epoch] = set()
    for epoch in asked:
        if epoch in stored.known or epoch in waiting:
            taken.add(epoch)
        elif room > (-at_most if epoch in stored.commanded else 0):
            room -= 1
            taken.add(epoch)
            waiting.add(epoch)
    return taken


class AdmittedEpochs:
    """The epochs that one session takes."""

    def __init__(self, process: Process, forwarder_id: str, *, at_most: int) -> None:
        self._process = process
        self._forwarder_id = forwarder_id
        self._at_most = at_most
        self.taken: set[Epoch] = set()
        # Taken, and no row of them seen yet: they lie in the inbox, where none of them is counted.
        self._waiting: set[Epoch] = set()
        self._full_until = 0.0

    def unknown(self, parts: Iterable[Part], streams: Container[str]) -> dict[Epoch, None]:
        """Return the epochs, in their order, of which it must be asked whether they are taken: of readers with a
        stream.
        """
        found = {(part.reader_ip, part.stream_epoch): None for part in parts if part.reader_ip in streams}
        return {epoch: None for epoch in found if epoch not in self.taken}

    async def ask(self, unknown: Collection[Epoch], streams: Mapping[str, UUID]) -> list[Epoch]:
        """Take of these what there is room for, and return the rest; none where we have just looked in vain."""
        if monotonic() < self._full_until:
            return []
        asked = {*unknown, *self._waiting}
        stored = await epochs_stored(self._process.pool, self._forwarder_id, asked, streams)
        self.taken |= admit(unknown, stored, self._waiting, self._at_most)
        beyond = [epoch for epoch in unknown if epoch not in self.taken]
        if beyond:
            self._full_until = monotonic() + ASK_AGAIN_AFTER_S
        return beyond
