"""What one receiver gets: the task that sends.

It holds positions, not events: what waits for a slow receiver is its place in each stream, the rest of one page, and
one message on its way. What it is sent comes from a source: its subscriptions, in turns, or what it asked to have once
more. What else it is told goes out between two messages, behind the reads: of each thing the newest, once a second at
the most.
"""

import asyncio
import logging
from collections.abc import Collection, Iterable
from contextlib import suppress
from typing import NamedTuple, Protocol

from fanout import metrics
from fanout.allowance import Allowance
from fanout.delivery import Cursor
from fanout.events import BATCH_SUFFIX, batch_prefix
from fanout.subscription import Taken
from shared.db.errors import DatabaseUnavailable
from shared.db.patience import before_next_try
from shared.log import get_logger
from shared.protocol.v1 import AckEntry, StreamRef
from shared.trace import batch_name
from shared.transport.connection import DeviceConnection

__all__ = ["Saying", "Sender", "Source"]


# The same thing is told so often at the most.
EVERY_S = 1.0

log = get_logger(__name__)


class Saying(NamedTuple):
    """What is told beside reads, and what it is about: a newer one about the same takes its place while it waits.

    ref, position: of reads that it counts; it goes out behind them. rank: of what may go out at the same moment the
    lower goes first. stream: the one that it is about, if it is about one, by name: who follows that no more is not
    told.
    """

    about: object
    message: bytes
    ref: StreamRef | None = None
    position: int = 0
    rank: int = 0
    stream: StreamRef | None = None


class Source(Protocol):
    """Where events come from. `news` is set when there may be some to take."""

    news: asyncio.Event

    async def begin(self) -> None:
        """Do what comes before anything is taken. DatabaseUnavailable."""

    async def gather(self, room: int) -> list[tuple[StreamRef, Taken]]:
        """Take up to `room` events for the next message. DatabaseUnavailable."""

    def advance(self, ref: StreamRef, epoch: int, cursor: Cursor) -> None:
        """Record what the receiver has of an epoch, by an ack."""

    def is_behind(self, ref: StreamRef, position: int) -> bool:
        """Whether what is stored up to a position is just on its way; a past that takes longer is not waited for."""


class Sender:
    """Sends to one receiver what its source has, and takes its acks."""

    def __init__(
        self, connection: DeviceConnection, source: Source, allowance: Allowance, *, receiver_id: str
    ) -> None:
        self._connection = connection
        self._receiver_id = receiver_id
        self._source = source
        self._allowance = allowance
        self._in_flight = allowance.in_flight
        self._sayings: dict[object, Saying] = {}  # what goes out behind the reads
        self.told_at: dict[object, float] = {}  # of what was told within EVERY_S, by what it was about
        self._telling = asyncio.Lock()
        self._prefix = batch_prefix(connection.session_id)
        self._tracing = log.is_enabled_for(logging.DEBUG)

    def tell(self, saying: Saying) -> None:
        """Send a message when there is time."""
        # In the place of an older one, if that still waits: a slow receiver is told what is so by then, and of no more
        # than there is to be told about.
        self._sayings[saying.about] = saying
        self._source.news.set()

    def forget(self, streams: Collection[StreamRef]) -> None:
        """Tell nothing more of these, of what still waits either."""
        self._sayings = {about: each for about, each in self._sayings.items() if each.stream not in streams}

    def ack(self, entries: Iterable[AckEntry]) -> None:
        """Note what the receiver is done with, as far as it was sent."""
        covered = 0
        for entry in entries:
            ref = StreamRef(entry.forwarder_id, entry.reader_ip)
            acked = self._in_flight.ack(ref, entry.stream_epoch, entry.last_seq)
            covered += acked.events
            if acked.cursor is not None:
                self._source.advance(ref, entry.stream_epoch, acked.cursor)
        if covered:
            metrics.ACKED.inc(covered)
            self._allowance.acked()

    async def run(self) -> None:
        """Send what there is, until cancelled; ConnectionGone when the socket ends."""
        while True:
            # Room before events: what is taken is on its way, and can neither be put back nor wait here.
            room = await self._allowance.room()
            try:
                await self._source.begin()
                taken = await self._source.gather(room)
            except DatabaseUnavailable as error:
                log.debug("delivery_waits", receiver_id=self._receiver_id, error=str(error))
                # Nothing was taken: neither of them raises with events in its hands.
                await before_next_try()
                continue
            if taken:
                await self.send(taken)
            told = await self.tell_due()
            if not (taken or told):
                await self._until_news()

    async def tell_due(self) -> bool:
        """Send what may be told now, whatever the reads wait for; return whether there was any."""
        if not self._sayings:
            return False
        # Held from the choice until the last is sent: of two who tell the second has the newer things to say.
        async with self._telling:
            due = self._due()
            for saying in due:
                await self._connection.send(saying.message)
                # The second counts from when the socket has taken it, as the pace does.
                self.told_at[saying.about] = asyncio.get_running_loop().time()
        return bool(due)

    def _due(self) -> list[Saying]:
        """Take out what may be told now. All of it before the first is sent: meanwhile newer ones may come."""
        since = asyncio.get_running_loop().time() - EVERY_S
        # What is older holds nothing back any more, also of streams that went: so this never grows beyond what was told
        # within a second.
        self.told_at = {about: at for about, at in self.told_at.items() if at > since}
        due = [each for each in self._sayings.values() if self._may_be_told(each)]
        for each in due:
            del self._sayings[each.about]
        return sorted(due, key=lambda each: each.rank)

    def _may_be_told(self, saying: Saying) -> bool:
        if saying.about in self.told_at:
            return False
        return saying.ref is None or not self._source.is_behind(saying.ref, saying.position)

    async def _until_news(self) -> None:
        """Wait for something to take or to tell, or until the second of something that waits to be told is over."""
        if not self._sayings:  # nearly always: a timeout costs as much as the wait
            await self._source.news.wait()
        else:
            waiting = self.told_at.keys() & self._sayings.keys()
            due_at = min((self.told_at[about] + EVERY_S for about in waiting), default=None)
            with suppress(TimeoutError):
                async with asyncio.timeout_at(due_at):
                    await self._source.news.wait()
        # What came while we looked has left it set. It is cleared behind the wait and before the next look, so that
        # nothing falls between.
        self._source.news.clear()

    async def send(self, taken: list[tuple[StreamRef, Taken]]) -> None:
        """Send what the source has given; ConnectionGone when the socket ends."""
        for ref, each in taken:
            for sent, step in zip(each.slice.sent, each.steps, strict=True):
                # Before it is written: where the socket takes it slowly its ack may come while the send still waits.
                done = self._in_flight.add(ref, sent, step)
                if done is not None:
                    self._source.advance(ref, sent.stream_epoch, done)
        count = sum(each.slice.event_count for _, each in taken)
        if not count:
            return
        metrics.DELIVERED.inc(count)
        if self._tracing:
            self._trace(taken)
        events = b",".join([each.slice.json for _, each in taken if each.slice.event_count])
        await self._connection.send(b"".join((self._prefix, events, BATCH_SUFFIX)))
        # The pause counts from when the socket has taken it.
        now = asyncio.get_running_loop().time()
        self._allowance.pace.sent(now, count, live=all(each.live for _, each in taken))

    def _trace(self, taken: list[tuple[StreamRef, Taken]]) -> None:
        session_id = str(self._connection.session_id)
        for ref, each in taken:
            for received_at in each.slice.batches:
                batch = batch_name(ref.forwarder_id, received_at)
                log.debug("batch_sent", batch=batch, receiver_id=self._receiver_id, session_id=session_id)
