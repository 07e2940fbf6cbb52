"""What one receiver gets: its subscriptions, and the task that sends.

It holds positions, not events: what waits for a slow receiver is its place in each stream, the rest of one page, and
one message on its way. Streams take turns: who gave something comes last the next time, who is behind the tail waits
until the page of another one is through.
"""

import asyncio
import logging
from collections.abc import Iterable
from uuid import UUID

from fanout import metrics, store
from fanout.delivery import InFlight
from fanout.events import BATCH_SUFFIX, MESSAGE_BYTES, Slice, batch_prefix
from fanout.node import Node
from fanout.store import CursorKey, StartingPoint
from fanout.subscription import Subscription
from shared.errors import DatabaseUnavailable, ProtocolError
from shared.log import get_logger
from shared.messages import AckEntry, StreamRef
from shared.peer import Peer
from shared.trace import batch_name
from shared.wake import Wake

__all__ = ["Sender"]

RETRY_S = 0.5
# As many as one hello or subscription may name.
MAX_SUBSCRIPTIONS = 10_000

log = get_logger(__name__)
_NOTHING_STORED = StartingPoint(0, {}, {})


class Sender:
    """Where one receiver stands, and what is sent to it."""

    def __init__(self, peer: Peer, receiver_id: str, node: Node) -> None:
        self._peer = peer
        self._receiver_id = receiver_id
        self._node = node
        self._subscriptions: dict[StreamRef, Subscription] = {}
        self._stirred: dict[StreamRef, None] = {}  # in turn: subscriptions that may have something to send
        self._paging: StreamRef | None = None  # the one that holds the rest of a page
        self._in_flight = InFlight()
        self._unlisted = False  # whether streams have begun that the session's row does not list yet
        self._news = asyncio.Event()
        self._acks = Wake()
        self._prefix = batch_prefix(peer.session_id)

    def resume(self, cursors: Iterable[AckEntry]) -> None:
        """Subscribe to what the receiver resumes; of a cursor that is listed twice the higher counts."""
        by_stream: dict[StreamRef, dict[int, int]] = {}
        for cursor in cursors:
            epochs = by_stream.setdefault(StreamRef(cursor.forwarder_id, cursor.reader_ip), {})
            epochs[cursor.stream_epoch] = max(cursor.last_seq, epochs.get(cursor.stream_epoch, 0))
        for ref, epochs in by_stream.items():
            self.subscribe(ref, epochs)

    def subscribe(self, ref: StreamRef, resume: dict[int, int]) -> None:
        """Follow a stream, which need not exist yet; naming it again changes nothing."""
        if ref in self._subscriptions:
            return
        if len(self._subscriptions) >= MAX_SUBSCRIPTIONS:
            raise ProtocolError(f"more than {MAX_SUBSCRIPTIONS} streams")
        self._subscriptions[ref] = Subscription(self._node.tails.follow(ref, self), resume)
        self.stir(ref)

    def stir(self, ref: StreamRef) -> None:
        """Look at a subscription: its stream has moved."""
        self._stirred[ref] = None
        self._news.set()

    def ack(self, entries: Iterable[AckEntry]) -> None:
        """Note what the receiver is done with, as far as it can have had it."""
        covered = 0
        for entry in entries:
            ref = StreamRef(entry.forwarder_id, entry.reader_ip)
            subscription = self._subscriptions.get(ref)
            if (
                subscription is None
                or subscription.stream_id is None
                or not subscription.knows(entry.stream_epoch)
            ):
                continue
            key = CursorKey(self._receiver_id, subscription.stream_id, entry.stream_epoch)
            self._node.cursors.advance(key, entry.last_seq)
            covered += self._in_flight.ack(ref, entry.stream_epoch, entry.last_seq)
        if covered:
            metrics.ACKED.inc(covered)
            self._acks.set()

    def leave(self) -> None:
        """Follow nothing any more."""
        self._node.tails.leave(self._subscriptions, self)

    async def run(self) -> None:
        """Send what there is, until cancelled; PeerGone when the socket ends."""
        while True:
            room = await self._room()
            try:
                await self._begin_new()
                taken = await self._gather(room)
            except DatabaseUnavailable as error:
                log.debug("delivery_waits", receiver_id=self._receiver_id, error=str(error))
                await asyncio.sleep(RETRY_S)
                continue
            if taken:
                await self._send(taken)
            else:
                await self._news.wait()
                self._news.clear()

    async def _room(self) -> int:
        """Wait until something may be sent and return how many events at the most.

        A receiver that acks nothing is given time to digest instead of being waited for.
        """
        settings = self._node.settings
        while self._in_flight.events >= settings.max_in_flight:
            if not await self._acks.wait(at_most_s=settings.pace_ms / 1000):
                self._in_flight.forget(settings.batch_events)
        return min(settings.batch_events, settings.max_in_flight - self._in_flight.events)

    async def _begin_new(self) -> None:
        """Start with the streams that have come to exist, and list them in the session's row."""
        stirred = [self._subscriptions[ref] for ref in self._stirred]
        due = {each.tail.stream_id: each for each in stirred if each.awaits_start}
        if due:
            await self._begin({id_: each for id_, each in due.items() if id_ is not None})
        if self._unlisted:
            known = [each.stream_id for each in self._subscriptions.values() if each.stream_id is not None]
            await store.subscribe_session(self._node.process.pool, self._peer.session_id, known)
            self._unlisted = False

    async def _begin(self, due: dict[UUID, Subscription]) -> None:
        points = await store.starting_points(self._node.process.pool, self._receiver_id, list(due))
        for stream_id, subscription in due.items():
            # One that is not there has been deleted meanwhile.
            done = subscription.begin(stream_id, points.get(stream_id, _NOTHING_STORED))
            for epoch, last_seq in done.items():
                self._node.cursors.advance(CursorKey(self._receiver_id, stream_id, epoch), last_seq)
        self._unlisted = True

    async def _gather(self, room: int) -> list[tuple[StreamRef, Slice]]:
        """Take up to `room` events from the streams that have any, in turns.

        A database that fails for one stream keeps no other from being sent what the tail has of it.
        """
        taken: list[tuple[StreamRef, Slice]] = []
        size = 0
        failed: DatabaseUnavailable | None = None
        for ref in list(self._stirred):
            subscription = self._subscriptions[ref]
            if subscription.needs_page and (failed or self._paging not in (None, ref)):
                continue
            try:
                found = await subscription.take(self._node.pages, room)
            except DatabaseUnavailable as error:
                failed = error
                continue
            self._take_turn(ref, subscription)
            if found.event_count:
                taken.append((ref, found))
                room -= found.event_count
                size += len(found.json)
            if room <= 0 or size >= MESSAGE_BYTES:
                break
        if failed and not taken:
            raise failed
        return taken

    def _take_turn(self, ref: StreamRef, subscription: Subscription) -> None:
        """Let the other streams come first next time, or until something new comes."""
        if subscription.holds_page:
            self._paging = ref
        elif self._paging == ref:
            self._paging = None
        del self._stirred[ref]
        if subscription.due:
            self._stirred[ref] = None

    async def _send(self, taken: list[tuple[StreamRef, Slice]]) -> None:
        for ref, each in taken:
            for sent in each.sent:
                self._in_flight.add(ref, sent)
        metrics.DELIVERED.inc(sum(each.event_count for _, each in taken))
        if log.is_enabled_for(logging.DEBUG):
            self._trace(taken)
        message = b"".join((self._prefix, b",".join([each.json for _, each in taken]), BATCH_SUFFIX))
        await self._peer.send(message)

    def _trace(self, taken: list[tuple[StreamRef, Slice]]) -> None:
        session_id = str(self._peer.session_id)
        for ref, each in taken:
            for received_at in each.batches:
                batch = batch_name(ref.forwarder_id, received_at)
                log.debug("batch_sent", batch=batch, receiver_id=self._receiver_id, session_id=session_id)
