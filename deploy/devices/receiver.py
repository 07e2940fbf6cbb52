"""A receiver as the ones in the field: it subscribes, takes what comes and acks it.

It connects when it is told to and not by itself, and never subscribes anew. Beyond what real ones do it keeps
account of what came, how late, and whether it is what was sent, for those who ask whether the server kept its
promises. How fast it acks, or whether at all, is the caller's choice.
"""

import asyncio
import statistics
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from contextlib import suppress

from deploy.devices.arrivals import Arrivals
from deploy.devices.connection import Connection, open_connection
from deploy.devices.journal import Event
from deploy.devices.messages import (
    Message,
    StreamEpoch,
    receiver_ack,
    receiver_hello,
    receiver_subscribe,
)

__all__ = ["Lookup", "Receiver"]

# What was sent as (forwarder_id, reader_ip, stream_epoch, seq), or None when nothing was.
Lookup = Callable[[str, str, int, int], Event | None]

_PATH = "/ws/v1/receivers"
# Enough for a steady median, few enough that it follows a change within seconds.
_LATENCIES_KEPT = 500


class Receiver:
    """One simulated receiver; each `run` is one connection.

    `ack_after_s` is how long it works on a batch before it acks it and looks at the next one, None for never
    acking. With `keep`, `events` holds (seq, raw_read_line) of everything that came, in the order it came.
    With `lookup` each first arrival is compared with what was sent (`altered`) and timed.
    """

    def __init__(
        self,
        *,
        url: str,
        token: str,
        receiver_id: str = "receiver-main",
        streams: Iterable[tuple[str, str]] = (),
        resume: dict[StreamEpoch, int] | None = None,
        ack_after_s: float | None = 0.0,
        keep: bool = True,
        lookup: Lookup | None = None,
        arrivals: Arrivals | None = None,
    ) -> None:
        self.receiver_id = receiver_id
        self.streams = list(streams)
        self.arrivals = arrivals or Arrivals()
        self.events: defaultdict[StreamEpoch, list[tuple[int, str]]] = defaultdict(list)
        self.received = self.batches = self.events_seen = self.altered = self.sessions = 0
        self.latencies_s: deque[float] = deque(maxlen=_LATENCIES_KEPT)
        self.last_error: Message | None = None
        self._url, self._token = url.rstrip("/") + _PATH, token
        self._resume = resume or {}
        self._ack_after_s, self._keep, self._lookup = ack_after_s, keep, lookup
        self._connection: Connection | None = None
        self._session_id = ""
        self._connected, self._arrived = asyncio.Event(), asyncio.Event()

    @property
    def connected(self) -> bool:
        """Whether there is a session."""
        return self._connected.is_set()

    @property
    def latency_s(self) -> float | None:
        """Median time from record to arrival of the latest reads."""
        return statistics.median(self.latencies_s) if self.latencies_s else None

    async def run(self) -> None:
        """Connect, subscribe and receive until the connection ends; raises one of UNREACHABLE without one."""
        async with open_connection(self._url, self._token) as connection:
            self._connection = connection
            self.arrivals.start_connection()
            try:
                with suppress(ConnectionError):
                    await self._receive(connection)
            finally:
                self._connected.clear()
                self._connection = None

    async def subscribe(self, streams: Iterable[tuple[str, str]]) -> None:
        """Subscribe to (forwarder_id, reader_ip)s, now if there is a session, and in all later ones."""
        added = list(streams)
        self.streams += added
        if self._connection and self._connected.is_set():
            await self._connection.send(receiver_subscribe(self._session_id, added))

    async def stop(self) -> None:
        """Close with a close frame; `run` returns."""
        if self._connection:
            await self._connection.close()

    async def drop(self) -> None:
        """Lose the connection without a close frame; `run` returns."""
        if self._connection:
            await self._connection.drop()

    async def wait_connected(self) -> None:
        """Return when there is a session and the subscriptions have gone out."""
        await self._connected.wait()

    async def wait_for(self, count: int) -> None:
        """Return when `count` different reads have come since this receiver was made."""
        while self.received < count:
            self._arrived.clear()
            await self._arrived.wait()

    async def _receive(self, connection: Connection) -> None:
        await connection.send(receiver_hello(self.receiver_id, self._resume))
        async for message in connection.messages():
            match message.get("kind"):
                case "heartbeat":
                    await self._begin(connection, message["session_id"])
                case "receiver_event_batch":
                    await self._take(connection, message["events"])
                case "error":
                    self.last_error = message

    async def _begin(self, connection: Connection, session_id: str) -> None:
        if self._connected.is_set():
            return
        self.sessions += 1
        self._session_id = session_id
        if self.streams:
            await connection.send(receiver_subscribe(session_id, self.streams))
        self._connected.set()

    async def _take(self, connection: Connection, events: list[Message]) -> None:
        last_seqs: dict[StreamEpoch, int] = {}
        now = time.time()
        for event in events:
            epoch = (event["forwarder_id"], event["reader_ip"], event["stream_epoch"])
            last_seqs[epoch] = max(event["seq"], last_seqs.get(epoch, 0))
            self._note(epoch, event, now)
        self.batches += 1
        self._arrived.set()
        if self._ack_after_s is None:
            return
        await asyncio.sleep(self._ack_after_s)
        self.arrivals.save(set(last_seqs))
        await connection.send(receiver_ack(self._session_id, last_seqs))

    def _note(self, epoch: StreamEpoch, event: Message, now: float) -> None:
        self.events_seen += 1
        if self._keep:
            self.events[epoch].append((event["seq"], event["raw_read_line"]))
        if not self.arrivals.note(epoch, event["seq"]):
            return
        self.received += 1
        if self._lookup is None:
            return
        sent = self._lookup(*epoch, event["seq"])
        told = (event["reader_timestamp"], event["raw_read_line"], event["read_type"])
        if sent is None or told != (sent.reader_timestamp, sent.raw_read_line, sent.read_type):
            self.altered += 1
        if sent is not None:
            self.latencies_s.append(now - sent.recorded_at)
