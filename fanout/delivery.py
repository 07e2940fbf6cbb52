"""Decisions of delivery, without sockets or database: where a receiver starts, and what it still owes acks for."""

from collections.abc import Mapping
from typing import NamedTuple

from fanout.events import Sent
from shared.messages import StreamRef

__all__ = ["InFlight", "Start", "start_of"]


class Start(NamedTuple):
    """What to replay, as (epoch, after seq, up to seq) in ascending order; and cursors that the resume implies."""

    replay: list[tuple[int, int, int]]
    done: dict[int, int]


def start_of(*, epochs: Mapping[int, int], stored: Mapping[int, int], resume: Mapping[int, int]) -> Start:
    """Decide where a receiver starts in a stream (protocol.md, section 5).

    epochs: newest stored seq by epoch. stored: the receiver's own acks as we know them. resume: what it says
    itself. Per epoch it starts after the higher of both. A cursor beyond what is stored (the server was wiped, or
    restored from a backup) is ignored, or the receiver would wait for ever. A resume cursor says that everything
    older is done, unless our record of an older epoch says otherwise; that is recorded, so that what comes late
    for such an epoch is delivered later too.
    """
    valid_stored = {e: seq for e, seq in stored.items() if seq <= epochs.get(e, -1)}
    valid_resume = {e: seq for e, seq in resume.items() if seq <= epochs.get(e, -1)}
    resumed_at = max(valid_resume, default=0)
    replay: list[tuple[int, int, int]] = []
    done: dict[int, int] = {}
    for epoch, newest in sorted(epochs.items()):
        if epoch < resumed_at and epoch not in valid_stored and epoch not in valid_resume:
            done[epoch] = newest
            continue
        after = max(valid_stored.get(epoch, 0), valid_resume.get(epoch, 0))
        if after > valid_stored.get(epoch, 0):
            done[epoch] = after
        if after < newest:
            replay.append((epoch, after, newest))
    return Start(replay, done)


class InFlight:
    """What was sent and not acked, oldest first; as short as the limit of events in flight."""

    def __init__(self) -> None:
        self.events = 0
        self._sent: dict[int, tuple[StreamRef, Sent]] = {}  # by number, in the order of sending
        self._numbers: dict[tuple[StreamRef, int], list[int]] = {}  # of each stream and epoch
        self._last = 0

    def add(self, ref: StreamRef, sent: Sent) -> None:
        """Note that something was sent."""
        self._last += 1
        self._sent[self._last] = ref, sent
        self._numbers.setdefault((ref, sent.stream_epoch), []).append(self._last)
        self.events += sent.event_count

    def ack(self, ref: StreamRef, epoch: int, last_seq: int) -> int:
        """Take out what an ack covers and return how many events that is."""
        before = self.events
        for number in self._numbers.get((ref, epoch), [])[:]:
            if self._sent[number][1].last_seq <= last_seq:
                self._take_out(number)
        return before - self.events

    def forget(self, events: int) -> None:
        """Wait no more for the oldest acks, of at least so many events."""
        until = self.events - events
        while self._sent and self.events > until:
            self._take_out(next(iter(self._sent)))

    def _take_out(self, number: int) -> None:
        ref, sent = self._sent.pop(number)
        numbers = self._numbers[ref, sent.stream_epoch]
        numbers.remove(number)
        if not numbers:
            del self._numbers[ref, sent.stream_epoch]
        self.events -= sent.event_count
