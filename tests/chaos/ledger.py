"""What the devices know for sure: every event that was ever handed to a socket, and every one that was acked.

An event that was sent and not acked when its device lost its journal is `forgotten`: it may be stored or not,
and nobody will send it again. An event that was recorded and never sent is nobody's debt. Pure.
"""

from collections.abc import Iterable
from typing import NamedTuple

__all__ = ["Event", "Ledger"]


class Event(NamedTuple):
    """A read as it goes over the wire, with the identity of its device.

    line: its text, or where it is `framed`, its bytes as text, the line end with them.
    """

    forwarder_id: str
    reader_ip: str
    stream_epoch: int
    seq: int
    line: str
    reader_timestamp: str
    read_type: str
    framed: bool = False

    @property
    def text(self) -> str:
        """Its line without a line end, as the first generation, exports and the search have it."""
        if not self.framed:
            return self.line
        return self.line.removesuffix("\n").removesuffix("\r") if self.line.endswith("\n") else self.line

    @property
    def frame(self) -> str:
        """Its bytes as the second generation has them: as they came, or the text with CR LF."""
        return self.line if self.framed else f"{self.line}\r\n"

    @property
    def identity(self) -> tuple[str, str, int, int]:
        """What it is known by."""
        return self[:4]


class Ledger:
    """The devices' side of the account."""

    def __init__(self) -> None:
        self.sent: set[Event] = set()
        self.acked: set[Event] = set()
        self.forgotten: set[Event] = set()
        self.without_journal: set[str] = set()
        # Identities that were sent behind higher ones; and epochs of whose numbers some may never have been sent.
        self.late: set[tuple[str, str, int, int]] = set()
        self.torn: set[tuple[str, str, int]] = set()
        self.unfounded_acks: list[str] = []

    @property
    def owed(self) -> set[Event]:
        """What must be stored in the end."""
        return self.sent - self.forgotten

    def note_sent(self, events: Iterable[Event]) -> None:
        """Events are about to be sent."""
        events = set(events)
        self.sent |= events
        self.forgotten -= events

    def note_acked(
        self, in_flight: Iterable[Event], *, reader_ip: str, stream_epoch: int, last_seq: int
    ) -> None:
        """An ack came, while `in_flight` was the batch that waits for one."""
        there = [
            event for event in in_flight if (event.reader_ip, event.stream_epoch) == (reader_ip, stream_epoch)
        ]
        self.acked.update(event for event in there if event.seq <= last_seq)
        if last_seq > max((event.seq for event in there), default=0):
            self.unfounded_acks.append(
                f"{reader_ip} epoch {stream_epoch}: acked up to {last_seq}, which was not sent"
            )

    def note_journal_lost(self, forwarder_id: str) -> None:
        """A device has nothing any more: what it was not acked, it will not send again."""
        self.without_journal.add(forwarder_id)
        self.forgotten |= {event for event in self.sent - self.acked if event.forwarder_id == forwarder_id}
