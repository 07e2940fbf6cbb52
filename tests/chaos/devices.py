"""The simulated devices, watched: what they send and are acked goes into the ledger, what they receive is kept.

They behave as deploy/simulation/devices has it, and besides: they can be rebooted, lose their journal or their cursors,
and be given another token. The number of a read, which rises over all devices, stands in its chip: so whoever
sees a line knows how recent it is.
"""

import asyncio
import hashlib
from collections import defaultdict, deque
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Any

from deploy.simulation.devices.connection import UNREACHABLE
from deploy.simulation.devices.forwarder import Forwarder
from deploy.simulation.devices.journal import Event as JournalEvent
from deploy.simulation.devices.journal import Journal
from deploy.simulation.devices.messages import Message, StreamEpoch
from deploy.simulation.devices.newer_forwarder import NewerForwarder
from deploy.simulation.devices.newer_receiver import NewerReceiver
from deploy.simulation.devices.receiver import Manners, Receiver
from shared.protocol.ipico import compose
from tests.chaos.ledger import Event, Ledger

__all__ = [
    "WANTED_EPOCHS",
    "ComingAndGoing",
    "NewerWatchedForwarder",
    "NewerWatchedReceiver",
    "ReplayingReceiver",
    "WatchedForwarder",
    "WatchedReceiver",
    "number_of",
]

_REPEATS = 0.15
_UNACKED_BATCHES = 8
# What a race has of each stream, and a replay. Devices that lose their journals come to higher ones.
WANTED_EPOCHS = range(1, 4)
# An operator at the receiver's desk sees that it is cut off and connects it again.
_CONNECT_AGAIN_S = (0.25, 1.0)
_PRESENT_S, _AWAY_S = (3.0, 12.0), (0.5, 4.0)


def number_of(line: str) -> int:
    """Return the number of the read that says `line`."""
    return int(line[4:16], 16)


class WatchedJournal(Journal):
    """A journal that tells the ledger what leaves it and what is acked."""

    def __init__(
        self, forwarder_id: str, ledger: Ledger, path: Path | None = None, *, line_end: str | None = None
    ) -> None:
        super().__init__(path)
        self.newest_acked = 0
        self._line_end = line_end
        self._forwarder_id = forwarder_id
        self._ledger = ledger
        # A command has a newer device send anew what waits for its ack; a late ack counts for that.
        self._batches: deque[list[Event]] = deque(maxlen=1 if line_end is None else _UNACKED_BATCHES)
        self._to_hold: dict[str, int] = {}
        self._held: list[JournalEvent] = []

    def append(self, reader_ip: str, raw_line: str, *, reader_timestamp: str, read_type: str) -> JournalEvent:
        event = super().append(reader_ip, raw_line, reader_timestamp=reader_timestamp, read_type=read_type)
        pending = self._readers[reader_ip].pending
        if self._to_hold.get(reader_ip, 0) and pending and pending[-1] is event:
            self._to_hold[reader_ip] -= 1
            self._held.append(pending.pop())
        return event

    def hold_back(self, reader_ip: str, reads: int) -> None:
        """Keep the next reads of one reader from being sent, while those that follow go ahead of them."""
        self._to_hold[reader_ip] = reads

    def let_go(self) -> None:
        """Have what was held back sent, behind higher numbers; only while nothing is under way.

        An ack of a higher number that is under way would take these for acked, too.
        """
        for event in self._release():
            reader = self._readers[event.reader_ip]
            reader.pending = deque(sorted([*reader.pending, event], key=lambda each: each[1:3]))
            # A cursor moves forward only, and that of the device is beyond these: it forgets it.
            reader.acked = min(reader.acked, (event.stream_epoch, event.seq - 1))

    def _release(self) -> list[JournalEvent]:
        held, self._held, self._to_hold = self._held, [], {}
        self._ledger.late |= {self.event(each).identity for each in held}
        return held

    def batch(self, limit: int) -> list[JournalEvent]:
        events = super().batch(limit)
        self._batches.append([self.event(each) for each in events])
        self._ledger.note_sent(self._batches[-1])
        return events

    @property
    def _in_flight(self) -> list[Event]:
        return [event for batch in self._batches for event in batch]

    def ack(self, reader_ip: str, stream_epoch: int, last_seq: int) -> int:
        self._ledger.note_acked(
            self._in_flight, reader_ip=reader_ip, stream_epoch=stream_epoch, last_seq=last_seq
        )
        acked = [each for each in self._in_flight if each.reader_ip == reader_ip and each.seq <= last_seq]
        self.newest_acked = max([self.newest_acked, *(number_of(each.line) for each in acked)])
        return super().ack(reader_ip, stream_epoch, last_seq)

    def wipe(self) -> None:
        super().wipe()
        self._batches.clear()
        # Numbers that were passed over and never sent: whoever comes later with them is late, or nobody does.
        self._ledger.torn |= {self.event(each).identity[:3] for each in self._release()}
        self._ledger.note_journal_lost(self._forwarder_id)

    def forget_cursors(self) -> None:
        """Take everything for unacked, what is held back as well."""
        self._release()
        for reader_ip, reader in self._readers.items():
            reader.acked = (0, 0)
            reader.pending = deque(self.events(reader_ip))

    def event(self, each: JournalEvent) -> Event:
        """Return an event as it goes over the wire."""
        line = each.raw_read_line + (self._line_end or "")
        framed = self._line_end is not None
        return Event(self._forwarder_id, *each[:3], line, each.reader_timestamp, each.read_type, framed)


class WatchedForwarder(Forwarder):
    """A forwarder that can be rebooted; `start` it first.

    `sessions_revoked` is how many of its first sessions came with tokens that are revoked by now. `generation` are the
    settings that only newer ones have.
    """

    def __init__(
        self,
        *,
        url: str,
        token: str,
        token_id: str,
        device_id: str,
        readers: list[str],
        ledger: Ledger,
        **generation: Any,
    ):
        line_end = generation.get("line_end")
        self.watched = WatchedJournal(
            device_id, ledger, line_end=None if line_end is None else line_end.decode()
        )
        super().__init__(
            url=url,
            token=token,
            device_id=device_id,
            readers=readers,
            journal=self.watched,
            backoff_s=_CONNECT_AGAIN_S,
            **generation,
        )
        self.token_id = token_id
        self.sessions_revoked = 0
        self._running: asyncio.Task[None] | None = None
        self._last_lines: dict[str, str] = {}

    def start(self) -> None:
        """Switch it on."""
        self._running = asyncio.create_task(self.run(), name=self.device_id)

    async def off(self) -> None:
        """Lose its power."""
        await self.drop()
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait({self._running})

    async def reboot(self, change: Callable[[], object] = lambda: None) -> None:
        """Go off without a word, have `change` happen, and come up again."""
        await self.off()
        change()
        self._note_backlog()
        self.start()

    def rotate(self, token: str, token_id: str) -> None:
        """From the next connection on, be known by another token."""
        self._token, self.token_id = token, token_id
        self._hello_id = f"fwd-{hashlib.sha256(token.encode()).hexdigest()[:16]}"

    def lose_journal(self) -> None:
        """Number from 1 again, with lines that nobody has seen."""
        self.watched.wipe()
        self._last_lines.clear()

    def say(self, number: int, random: Random) -> None:
        """Have one of the readers say read `number`, or now and then its last line once more."""
        place = number % len(self.readers)
        reader_ip, now = self.readers[place], datetime.now()  # noqa: DTZ005 - readers have no zone
        repeated = self._last_lines.get(reader_ip) if random.random() < _REPEATS else None
        line = repeated or compose(reader_id=f"{place:02x}", tag_id=f"{number:012x}", read_at=now)
        self._last_lines[reader_ip] = line
        self.record(reader_ip, line)

    def journalled(self, reader_ip: str) -> list[Event]:
        """Return what the journal holds of one reader, in order."""
        return [self.watched.event(each) for each in self.journal.events(reader_ip)]


class NewerWatchedForwarder(WatchedForwarder, NewerForwarder):
    """The same of the second generation."""


class WatchedReceiver(Receiver):
    """A receiver that keeps what came on each connection, and the newest number that came of each forwarder."""

    ended = False  # a newer one that is refused before its heartbeat

    def __init__(
        self,
        *,
        url: str,
        token: str,
        token_id: str,
        receiver_id: str,
        streams: list[tuple[str, str]],
        resumes: bool,
        manners: Manners,
        **generation: Any,
    ) -> None:
        super().__init__(
            url=url,
            token=token,
            receiver_id=receiver_id,
            streams=streams,
            keep=False,
            manners=manners,
            resumes=resumes,
            **generation,
        )
        self.token_id = token_id
        self.sessions_revoked = 0
        self.connections: list[list[Event]] = []
        self.newest: defaultdict[str, int] = defaultdict(int)
        self.wanted = asyncio.Event()
        self.wanted.set()
        self._running: asyncio.Task[None] | None = None
        self._kept: dict[Event, Event] = {}

    def start(self) -> None:
        """Keep it connected while it is `wanted`."""
        self._running = asyncio.create_task(self._stay(), name=self.receiver_id)

    async def off(self) -> None:
        """Lose its power."""
        await self.drop()
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait({self._running})

    async def reboot(self) -> None:
        """Go off without a word, and come up again."""
        await self.off()
        self.start()

    def rotate(self, token: str, token_id: str) -> None:
        """From the next connection on, be known by another token."""
        self._token, self.token_id = token, token_id

    async def run(self) -> None:
        self.connections.append([])
        await super().run()

    def _note(self, epoch: StreamEpoch, event: Message, now: float) -> None:
        super()._note(epoch, event, now)
        came = Event(
            *epoch, event["seq"], event["raw_read_line"], event["reader_timestamp"], event["read_type"]
        )
        # The same event comes again after a reconnect: it is kept once.
        self.connections[-1].append(self._kept.setdefault(came, came))
        self.newest[epoch[0]] = max(self.newest[epoch[0]], number_of(came.line))

    async def _stay(self) -> None:
        shortest_s, longest_s = _CONNECT_AGAIN_S
        pause_s = shortest_s
        while not self.ended:
            await self.wanted.wait()
            sessions = self.sessions
            with suppress(*UNREACHABLE):
                await self.run()
            pause_s = shortest_s if self.sessions > sessions else min(2 * pause_s, longest_s)
            await asyncio.sleep(pause_s)


class NewerWatchedReceiver(WatchedReceiver, NewerReceiver):
    """The same of the second generation."""


class ReplayingReceiver(NewerWatchedReceiver):
    """One whose user asks for the same epochs whenever it connects, from their first read on."""

    async def run(self) -> None:
        self.want(
            {
                "mode": "targeted_replay",
                "targets": [
                    {"forwarder_id": name, "reader_ip": reader_ip, "stream_epoch": epoch}
                    for name, reader_ip in self.streams
                    for epoch in WANTED_EPOCHS
                ],
            }
        )
        await super().run()


class ComingAndGoing:
    """Somebody who closes a receiver and opens it again all the time, by its own dice."""

    def __init__(self, receiver: WatchedReceiver, random: Random) -> None:
        self._receiver, self._random = receiver, random

    async def run(self) -> None:
        """Come and go until cancelled, and leave the receiver wanted."""
        try:
            while True:
                await asyncio.sleep(self._random.uniform(*_PRESENT_S))
                self._receiver.wanted.clear()
                await (self._receiver.drop() if self._random.random() < 0.5 else self._receiver.stop())
                await asyncio.sleep(self._random.uniform(*_AWAY_S))
                self._receiver.wanted.set()
        finally:
            self._receiver.wanted.set()
