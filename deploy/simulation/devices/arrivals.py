"""What has arrived at a receiver: of each epoch of each stream, which seqs, and in what order they came.

Constant in memory as long as nothing is missing, whatever the number of reads. With a path it outlives the
process, so that a receiver that comes back knows what it had. It counts and never complains.
"""

from dataclasses import dataclass, field
from pathlib import Path

from deploy.simulation.devices.journal import open_database
from deploy.simulation.devices.messages import StreamEpoch

__all__ = ["Arrivals", "EpochArrivals"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS arrivals (
    forwarder_id TEXT, reader_ip TEXT, stream_epoch INTEGER, through INTEGER,
    PRIMARY KEY (forwarder_id, reader_ip, stream_epoch)) WITHOUT ROWID;
"""
_PUT_THROUGH = "INSERT OR REPLACE INTO arrivals VALUES (?, ?, ?, ?)"


@dataclass(slots=True)
class EpochArrivals:
    """What came of one epoch: all of 1..`through`, and `ahead` beyond the first gap.

    `again` counts reads that a later connection brought once more, as it may. `twice` and `backward` count
    what no connection may do: bring a read a second time, or behind one with a higher seq.
    """

    through: int = 0
    ahead: set[int] = field(default_factory=set)
    again: int = 0
    twice: int = 0
    backward: int = 0
    last_here: int = 0

    @property
    def reads(self) -> int:
        """How many different reads have come."""
        return self.through + len(self.ahead)

    def note(self, seq: int) -> bool:
        """Count one arrival; True when it is the first of its kind."""
        known = seq <= self.through or seq in self.ahead
        if seq > self.last_here:
            self.last_here = seq
            self.again += known
        elif known:
            self.twice += 1
        else:
            self.backward += 1
        if not known:
            self._take(seq)
        return not known

    def _take(self, seq: int) -> None:
        self.ahead.add(seq)
        while self.through + 1 in self.ahead:
            self.through += 1
            self.ahead.remove(self.through)


class Arrivals:
    """The arrivals of one receiver by (forwarder_id, reader_ip, stream_epoch)."""

    def __init__(self, path: Path | None = None) -> None:
        self._database = open_database(path, _SCHEMA)
        self.epochs: dict[StreamEpoch, EpochArrivals] = {
            (forwarder_id, reader_ip, epoch): EpochArrivals(through)
            for forwarder_id, reader_ip, epoch, through in self._database.execute("SELECT * FROM arrivals")
        }

    def note(self, epoch: StreamEpoch, seq: int) -> bool:
        """Count one arrival; True when it is the first of its kind."""
        return self.epochs.setdefault(epoch, EpochArrivals()).note(seq)

    def of_stream(self, forwarder_id: str, reader_ip: str) -> list[EpochArrivals]:
        """Return the arrivals of each epoch of one stream."""
        stream = (forwarder_id, reader_ip)
        return [arrivals for epoch, arrivals in self.epochs.items() if epoch[:2] == stream]

    def start_connection(self) -> None:
        """From here on a read may come once more: it is another connection."""
        for arrivals in self.epochs.values():
            arrivals.last_here = 0

    def save(self, epochs: set[StreamEpoch]) -> None:
        """Keep how far these epochs have come; to be called before they are acked."""
        with self._database:
            self._database.executemany(
                _PUT_THROUGH, [(*epoch, self.epochs[epoch].through) for epoch in epochs]
            )

    def close(self) -> None:
        """Release the file."""
        self._database.close()
