"""One connected receiver, from its hello to its end (protocol.md, sections 2 and 5).

Three tasks: one hears subscriptions and acks, one sends, one keeps the connection alive. The session holds positions,
not events: what waits for a slow receiver is its place in each stream, and one message on its way.
"""

import asyncio
from uuid import UUID

from fanout import metrics, store
from fanout.cursors import Cursors
from fanout.delivery import InFlight
from fanout.events import BATCH_SUFFIX, Slice, batch_prefix
from fanout.pages import Pages
from fanout.settings import FanoutSettings
from fanout.store import CursorKey
from fanout.subscription import Subscription
from fanout.tail import Tails
from shared.errors import DatabaseUnavailable
from shared.log import get_logger
from shared.messages import (
    AckEntry,
    ReceiverAck,
    ReceiverHello,
    ReceiverSubscribe,
    StreamRef,
    decode_receiver,
    encode_heartbeat,
)
from shared.peer import Peer, check_id, count_unknown, greet
from shared.process import Process
from shared.tokens import Identity
from shared.wake import Wake

__all__ = ["Session"]

RETRY_S = 0.5

log = get_logger(__name__)


class Session:
    """What the fanout knows of one receiver while it is connected."""

    def __init__(
        self,
        peer: Peer,
        *,
        process: Process,
        settings: FanoutSettings,
        tails: Tails,
        pages: Pages,
        cursors: Cursors,
    ) -> None:
        self._peer = peer
        self._process = process
        self._settings = settings
        self._tails = tails
        self._pages = pages
        self._cursors = cursors
        self._receiver_id = ""
        self._subscriptions: dict[StreamRef, Subscription] = {}
        self._in_flight = InFlight()
        self._news = Wake()  # a tail moved, or there is another subscription
        self._acks = Wake()
        self._prefix = batch_prefix(peer.session_id)

    async def run(self, identity: Identity | None) -> None:
        """Live until the socket ends. Raises what `attend` tells the device: ProtocolError and others."""
        identity, hello = await greet(self._peer, identity, decode_receiver, ReceiverHello)
        check_id(hello.receiver_id, identity)
        self._receiver_id = identity.device_id
        session_id = self._peer.session_id
        await store.begin_session(
            self._process.pool,
            session_id=session_id,
            receiver_id=self._receiver_id,
            fanout_id=self._process.presence.process_id,
            token_id=identity.token_id,
        )
        log.info("receiver_connected", receiver_id=self._receiver_id, session_id=str(session_id))
        try:
            await self._peer.send(encode_heartbeat(session_id, self._receiver_id))
            self._resume(hello.resume or [])
            await self._live()
        finally:
            log.info("receiver_gone", receiver_id=self._receiver_id, session_id=str(session_id))
            self._tails.leave(self._subscriptions, self._news)
            await self._end(session_id)

    async def _live(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            side = [
                tasks.create_task(self._deliver(), name="deliver"),
                tasks.create_task(self._peer.stay_alive(self._receiver_id), name="alive"),
            ]
            await self._hear()
            for task in side:
                task.cancel()

    async def _end(self, session_id: UUID) -> None:
        try:
            await store.end_session(self._process.pool, session_id)
        except DatabaseUnavailable as error:
            log.warning("session_row_left", session_id=str(session_id), error=str(error))

    # --- what the receiver says ---

    async def _hear(self) -> None:
        while (message := await self._peer.receive()) is not None:
            decoded = decode_receiver(message)
            if isinstance(decoded, ReceiverAck):
                self._ack(decoded.entries)
            elif isinstance(decoded, ReceiverSubscribe):
                for ref in decoded.streams:
                    self._subscribe(ref, {})
            elif isinstance(decoded, ReceiverHello):
                self._resume(decoded.resume or [])
                await self._peer.send(encode_heartbeat(self._peer.session_id, self._receiver_id))
            else:
                count_unknown(decoded)

    def _resume(self, cursors: list[AckEntry]) -> None:
        """Subscribe to what the receiver resumes; of a cursor that is listed twice the higher counts."""
        by_stream: dict[StreamRef, dict[int, int]] = {}
        for cursor in cursors:
            epochs = by_stream.setdefault(StreamRef(cursor.forwarder_id, cursor.reader_ip), {})
            epochs[cursor.stream_epoch] = max(cursor.last_seq, epochs.get(cursor.stream_epoch, 0))
        for ref, epochs in by_stream.items():
            self._subscribe(ref, epochs)

    def _subscribe(self, ref: StreamRef, resume: dict[int, int]) -> None:
        if ref not in self._subscriptions:
            self._subscriptions[ref] = Subscription(self._tails.follow(ref, self._news), resume)
            self._news.set()

    def _ack(self, entries: list[AckEntry]) -> None:
        for entry in entries:
            ref = StreamRef(entry.forwarder_id, entry.reader_ip)
            subscription = self._subscriptions.get(ref)
            if subscription is None or subscription.stream_id is None:
                continue
            key = CursorKey(self._receiver_id, subscription.stream_id, entry.stream_epoch)
            self._cursors.advance(key, entry.last_seq)
            metrics.ACKED.inc(self._in_flight.ack(ref, entry.stream_epoch, entry.last_seq))
        self._acks.set()

    # --- what the receiver gets ---

    async def _deliver(self) -> None:
        while True:
            room = await self._room()
            try:
                await self._begin_new()
                taken = await self._gather(room)
            except DatabaseUnavailable as error:
                log.debug("delivery_waits", receiver_id=self._receiver_id, error=str(error))
                await asyncio.sleep(RETRY_S)
                continue
            if not taken:
                await self._news.wait(at_most_s=60)
                continue
            await self._send(taken)

    async def _room(self) -> int:
        """Wait until something may be sent and return how many events at the most.

        A receiver that acks nothing is given time to digest instead of being waited for.
        """
        limit = self._settings.max_in_flight
        while self._in_flight.events >= limit:
            if not await self._acks.wait(at_most_s=self._settings.pace_ms / 1000):
                self._in_flight.forget(self._settings.batch_events)
        return min(self._settings.batch_events, limit - self._in_flight.events)

    async def _begin_new(self) -> None:
        """Start with the streams that have come to exist."""
        due = {each.tail.stream_id: each for each in self._subscriptions.values() if each.awaits_start}
        stream_ids = [stream_id for stream_id in due if stream_id is not None]
        if not stream_ids:
            return
        points = await store.starting_points(self._process.pool, self._receiver_id, stream_ids)
        for stream_id, point in points.items():
            for epoch, last_seq in due[stream_id].begin(stream_id, point).items():
                self._cursors.advance(CursorKey(self._receiver_id, stream_id, epoch), last_seq)
        known = {each.stream_id for each in self._subscriptions.values()}
        await store.subscribe_session(
            self._process.pool, self._peer.session_id, [each for each in known if each is not None]
        )

    async def _gather(self, room: int) -> list[tuple[StreamRef, Slice]]:
        """Take up to `room` events from all streams, in turns: who came last comes first the next time.

        What one stream gave is sent even when the database fails for the next.
        """
        taken: list[tuple[StreamRef, Slice]] = []
        for ref, subscription in list(self._subscriptions.items()):
            try:
                found = await subscription.take(self._pages, room)
            except DatabaseUnavailable:
                if taken:
                    break
                raise
            if found.event_count:
                taken.append((ref, found))
                self._subscriptions[ref] = self._subscriptions.pop(ref)
                room -= found.event_count
            if room <= 0:
                break
        return taken

    async def _send(self, taken: list[tuple[StreamRef, Slice]]) -> None:
        for ref, each in taken:
            for sent in each.sent:
                self._in_flight.add(ref, sent)
            metrics.DELIVERED.inc(each.event_count)
        message = b"".join((self._prefix, b",".join([each.json for _, each in taken]), BATCH_SUFFIX))
        await self._peer.send(message)
