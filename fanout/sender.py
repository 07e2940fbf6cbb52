"""What one receiver gets: its subscriptions, and the task that sends.

It holds positions, not events: what waits for a slow receiver is its place in each stream, the rest of one page, and
one message on its way. Streams take turns: who gave something comes last the next time, who is behind the tail waits
until the page of another one is through.
"""

import asyncio
import logging
from collections.abc import Iterable

from fanout import metrics
from fanout.delivery import Cursor, InFlight
from fanout.events import BATCH_SUFFIX, MESSAGE_BYTES, batch_prefix
from fanout.node import Node
from fanout.pace import Pace
from fanout.store import cursors as store
from fanout.store.cursors import CursorKey, StartingPoint
from fanout.store.sessions import subscribe_session
from fanout.subscription import Subscription, Taken
from shared.db.errors import DatabaseUnavailable
from shared.errors import ProtocolError
from shared.log import get_logger
from shared.protocol.v1 import AckEntry, StreamRef
from shared.trace import batch_name
from shared.transport.connection import DeviceConnection
from shared.transport.tokens import Identity
from shared.wake import Wake

__all__ = ["Sender"]

RETRY_S = 0.5
# A whole marathon has a few hundred streams.
MAX_SUBSCRIPTIONS = 1_000
# How many streams one statement begins with, so that the first of a thousand do not wait for the last.
BEGIN_AT_ONCE = 100
# A stream that an administrator holds rows of lets the others go on. Each look at it waits for the lock, half a second.
REST_S = 5.0
# How soon a receiver is asked again for a pong: it may answer the latest of several pings alone.
PONG_LOOK_S = 5.0

log = get_logger(__name__)
_NOTHING_STORED = StartingPoint(0, {}, {})


class Sender:
    """Where one receiver stands, and what is sent to it."""

    def __init__(self, connection: DeviceConnection, identity: Identity, node: Node) -> None:
        self._connection = connection
        self._receiver_id = identity.device_id
        self._node = node
        self._subscriptions: dict[StreamRef, Subscription] = {}
        self._woken: dict[StreamRef, None] = {}  # in turn: subscriptions that may have something to send
        self._resting: set[StreamRef] = set()
        self._paging: StreamRef | None = None  # the one that holds the rest of a page
        self._in_flight = InFlight()
        self._unlisted = False  # whether streams have begun that the session's row does not list yet
        self._news = asyncio.Event()
        self._acks = Wake()
        self._pace = Pace(node.settings, identity.events_per_second)
        self._pings = 0
        self._ponged = 0
        connection.on_pong = self._receive_pong
        self._prefix = batch_prefix(connection.session_id)

    async def resume(self, cursors: Iterable[AckEntry]) -> None:
        """Subscribe to what the receiver resumes and what exists; of a cursor that is listed twice the higher counts.

        A name that stands for no stream is no subscription: there is nothing to go on with. DatabaseUnavailable.
        """
        by_stream: dict[StreamRef, dict[int, int]] = {}
        for cursor in cursors:
            epochs = by_stream.setdefault(StreamRef(cursor.forwarder_id, cursor.reader_ip), {})
            epochs[cursor.stream_epoch] = max(cursor.last_seq, epochs.get(cursor.stream_epoch, 0))
        for ref in await self._node.tails.existing(by_stream):
            self.subscribe(ref, by_stream[ref])

    def subscribe(self, ref: StreamRef, resume: dict[int, int]) -> None:
        """Follow a stream, which need not exist yet; naming it again changes nothing."""
        if ref in self._subscriptions:
            return
        if len(self._subscriptions) >= MAX_SUBSCRIPTIONS:
            raise ProtocolError(f"more than {MAX_SUBSCRIPTIONS} streams")
        self._subscriptions[ref] = Subscription(self._node.tails.follow(ref, self), resume)
        self.wake(ref)

    def wake(self, ref: StreamRef) -> None:
        """Look at a subscription: its stream has moved."""
        if ref not in self._resting:
            self._woken[ref] = None
            self._news.set()

    def _rest(self, ref: StreamRef) -> None:
        """Leave a subscription alone for a while."""
        if self._paging == ref:
            self._paging = None
        self._woken.pop(ref, None)
        self._resting.add(ref)
        asyncio.get_running_loop().call_later(REST_S, self._rested, ref)

    def _rested(self, ref: StreamRef) -> None:
        self._resting.discard(ref)
        self.wake(ref)

    def ack(self, entries: Iterable[AckEntry]) -> None:
        """Note what the receiver is done with, as far as it was sent."""
        covered = 0
        for entry in entries:
            ref = StreamRef(entry.forwarder_id, entry.reader_ip)
            acked = self._in_flight.ack(ref, entry.stream_epoch, entry.last_seq)
            covered += acked.events
            if acked.cursor is not None:
                self._advance(self._subscriptions[ref], entry.stream_epoch, acked.cursor)
        if covered:
            metrics.ACKED.inc(covered)
            self._acks.set()

    def _advance(self, subscription: Subscription, epoch: int, cursor: Cursor) -> None:
        cursor_id = subscription.cursor_ids.get(epoch)
        if cursor_id is not None and subscription.stream_id is not None:
            self._node.cursors.advance(CursorKey(subscription.stream_id, cursor_id), cursor)

    def _record_proven(self, subscription: Subscription) -> None:
        while subscription.proven:
            self._advance(subscription, *subscription.proven.popitem())

    def restart(self, ref: StreamRef) -> None:
        """Begin anew with a stream whose cursors were deleted, from its very first event."""
        subscription = self._subscriptions.get(ref)
        if subscription is not None:
            if subscription.stream_id is not None:  # its past may have been deleted with them
                self._node.pages.forget(subscription.stream_id)
            subscription.restart()
            self.wake(ref)

    def leave(self) -> None:
        """Follow nothing any more."""
        self._node.tails.leave(self._subscriptions, self)
        for subscription in self._subscriptions.values():
            self._node.cursors.release(subscription.cursor_ids.values(), self)

    async def run(self) -> None:
        """Send what there is, until cancelled; ConnectionGone when the socket ends."""
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

        A receiver that acks nothing is given time to digest, and must have read what it was sent: for seconds after its
        hello one in the field reads nothing, and then all that has come in one go, far more than it can hold.
        """
        loop, settings = asyncio.get_running_loop(), self._node.settings
        if pause_s := self._pace.pause_s(loop.time()):
            await asyncio.sleep(pause_s)
        while self._in_flight.events >= settings.max_in_flight:
            if await self._acks.wait(at_most_s=settings.pace_ms / 1000):
                continue
            await self._until_read()
            if self._in_flight.events >= settings.max_in_flight:
                self._in_flight.forget(settings.batch_events)
        return min(settings.batch_events, settings.max_in_flight - self._in_flight.events)

    async def _until_read(self) -> None:
        """Wait for a pong to a ping that follows all that was sent, or for acks. Who never answers is dropped by
        `stay_alive`, which ends this task.
        """
        owed = self._in_flight.events
        first = self._pings + 1
        while self._ponged < first and self._in_flight.events == owed:
            self._pings += 1
            await self._connection.ping(self._pings.to_bytes(8))
            await self._acks_or_pong(first, owed)

    async def _acks_or_pong(self, first: int, owed: int) -> None:
        """Wait PONG_LOOK_S for a pong to `first` or a later ping, or for acks."""
        gives_up_at = asyncio.get_running_loop().time() + PONG_LOOK_S
        while self._ponged < first and self._in_flight.events == owed:
            left_s = gives_up_at - asyncio.get_running_loop().time()
            if left_s <= 0 or not await self._acks.wait(at_most_s=left_s):
                return

    def _receive_pong(self, payload: bytes) -> None:
        number = int.from_bytes(payload[:8])  # 0: one of `stay_alive`
        if self._ponged < number <= self._pings:
            self._ponged = number
            self._acks.set()

    async def _begin_new(self) -> None:
        """Start with the streams that have come to exist, and list them in the session's row."""
        woken = [self._subscriptions[ref] for ref in self._woken]
        due = [each for each in woken if each.awaits_start]
        for first in range(0, len(due), BEGIN_AT_ONCE):
            await self._begin(due[first : first + BEGIN_AT_ONCE])
        if self._unlisted:
            known = [each.stream_id for each in self._subscriptions.values() if each.stream_id is not None]
            await subscribe_session(self._node.process.pool, self._connection.session_id, known)
            self._unlisted = False

    async def _begin(self, due: list[Subscription]) -> None:
        """Begin with streams; where an administrator holds rows of one, with all others."""
        try:
            await self._begin_together(due)
        except store.RowLocked as error:
            if len(due) == 1:
                log.debug(
                    "stream_waits", receiver_id=self._receiver_id, stream=due[0].tail.ref, error=str(error)
                )
                self._rest(due[0].tail.ref)
                return
            for subscription in due:
                await self._begin([subscription])

    async def _begin_together(self, due: list[Subscription]) -> None:
        by_id = {each.tail.stream_id: each for each in due if each.tail.stream_id is not None}
        resumes = {stream_id: subscription.resume for stream_id, subscription in by_id.items()}
        points = await store.starting_points(self._node.process.pool, self._receiver_id, resumes)
        for stream_id, subscription in by_id.items():
            ref = subscription.tail.ref
            self._node.cursors.release(subscription.cursor_ids.values(), self)
            self._in_flight.void(ref)
            # One that is not there has been deleted meanwhile.
            subscription.begin(stream_id, points.get(stream_id, _NOTHING_STORED))
            self._node.cursors.hold(subscription.cursor_ids.values(), self, ref)
            self._record_proven(subscription)
        self._unlisted = True

    async def _take(self, subscription: Subscription, room: int) -> Taken:
        """Take the next events of a stream; where an epoch begins with them, its row is made first."""
        taken = await subscription.take(self._node.pages, room)
        if not taken.steps and subscription.new_epochs and subscription.stream_id is not None:
            cursor_ids = await store.begin_epochs(
                self._node.process.pool, self._receiver_id, subscription.stream_id, subscription.new_epochs
            )
            if not cursor_ids:  # the stream has been deleted: what it holds of it is not sent any more
                subscription.restart()
            subscription.begin_epochs(cursor_ids)
            self._node.cursors.hold(cursor_ids.values(), self, subscription.tail.ref)
            taken = await subscription.take(self._node.pages, room)
        self._record_proven(subscription)
        return taken

    async def _gather(self, room: int) -> list[tuple[StreamRef, Taken]]:
        """Take up to `room` events from the streams that have any, in turns.

        A database that fails for one stream keeps no other from being sent what the tail has of it.
        """
        taken: list[tuple[StreamRef, Taken]] = []
        size = 0
        failed: DatabaseUnavailable | None = None
        for ref in list(self._woken):
            subscription = self._subscriptions[ref]
            if subscription.needs_page and (failed or self._paging not in (None, ref)):
                continue
            try:
                found = await self._take(subscription, room)
            except store.RowLocked:
                self._rest(ref)
                continue
            except DatabaseUnavailable as error:
                failed = error
                continue
            self._take_turn(ref, subscription)
            if found.steps:
                taken.append((ref, found))
                room -= found.slice.event_count
                size += len(found.slice.json)
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
        del self._woken[ref]
        if subscription.due:
            self._woken[ref] = None

    async def _send(self, taken: list[tuple[StreamRef, Taken]]) -> None:
        for ref, each in taken:
            for sent, step in zip(each.slice.sent, each.steps, strict=True):
                self._in_flight.add(ref, sent, step)
        count = sum(each.slice.event_count for _, each in taken)
        metrics.DELIVERED.inc(count)
        if log.is_enabled_for(logging.DEBUG):
            self._trace(taken)
        message = b"".join((self._prefix, b",".join([each.slice.json for _, each in taken]), BATCH_SUFFIX))
        await self._connection.send(message)
        now = asyncio.get_running_loop().time()
        self._pace.sent(now, count, live=all(each.live for _, each in taken))

    def _trace(self, taken: list[tuple[StreamRef, Taken]]) -> None:
        session_id = str(self._connection.session_id)
        for ref, each in taken:
            for received_at in each.slice.batches:
                batch = batch_name(ref.forwarder_id, received_at)
                log.debug("batch_sent", batch=batch, receiver_id=self._receiver_id, session_id=session_id)
