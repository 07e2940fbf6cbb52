"""A receiver as the ones in the field: it subscribes, acks what comes and hands it on to the race software.

What it does was seen of real ones, and none of it can be changed:
- It is **unresponsive** for seconds after its hello: it reads nothing, answers no ping and sends nothing. What was sent
  meanwhile it then reads in one go. It subscribes when it has read the heartbeat; what its hello resumed may come
  before that.
- It **acks before the reads have passed** its relay (relay.py), which forgets the oldest when it is full. So acks
  pace nothing, and what was acked and forgotten never comes again: the next hello resumes from what was *acked*, one
  cursor (epoch, seq) for each stream, which moves only forward.
- It connects when it is told to and not by itself, and never subscribes anew.

What came to the **race software** is what counts as received: `received`, `events` and `arrivals` are its. Beyond what
real receivers do it keeps account of what came, how late, and whether it is what was sent, for those who ask whether
the server kept its promises. How fast it acks, or whether at all, is the caller's choice.
"""

import asyncio
import statistics
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass

from deploy.simulation.devices.arrivals import Arrivals
from deploy.simulation.devices.connection import Connection, open_connection
from deploy.simulation.devices.journal import Event
from deploy.simulation.devices.messages import (
    Message,
    StreamEpoch,
    receiver_ack,
    receiver_hello,
    receiver_subscribe,
)
from deploy.simulation.devices.relay import Relay

__all__ = ["AT_ONCE", "FIRST_GENERATION", "SECOND_GENERATION", "Lookup", "Manners", "Receiver"]

# What was sent as (forwarder_id, reader_ip, stream_epoch, seq), or None when nothing was.
Lookup = Callable[[str, str, int, int], Event | None]

# Enough for a steady median, few enough that it follows a change within seconds.
_LATENCIES_KEPT = 500


@dataclass(frozen=True, slots=True)
class Manners:
    """How long a receiver is unresponsive, how many reads each hop of its relay holds, how many the race software
    takes.

    Without `places` there is no relay: reads arrive before they are acked.
    """

    unresponsive_s: float
    places: int = 256
    takes_per_s: float = 10_000.0


# The pace is the one that every real one was seen to follow without a loss, on a busy machine too.
FIRST_GENERATION = Manners(unresponsive_s=3.0)
SECOND_GENERATION = Manners(unresponsive_s=10.0)
# For tests of something else.
AT_ONCE = Manners(unresponsive_s=0.0, places=0)


class Receiver:
    """One simulated receiver; each `run` is one connection.

    `resume` is where it stands before its first one; with `resumes` off it never names anything else. `ack_after_s`
    is how long it works on a batch before it acks it and looks at the next one, None for never acking. With `keep`,
    `events` holds (seq, raw_read_line) of everything that came, in the order it came. With `lookup` each first
    arrival is compared with what was sent (`altered`) and timed; `latencies_kept` of these are kept, all with None.
    """

    path = "/ws/v1/receivers"

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
        manners: Manners = FIRST_GENERATION,
        resumes: bool = True,
        latencies_kept: int | None = _LATENCIES_KEPT,
    ) -> None:
        self.receiver_id = receiver_id
        self.streams = list(streams)
        self.arrivals = arrivals or Arrivals()
        self.events: defaultdict[StreamEpoch, list[tuple[int, str]]] = defaultdict(list)
        self.received = self.batches = self.events_seen = self.altered = self.sessions = 0
        self.latencies_s: deque[float] = deque(maxlen=latencies_kept)
        self.last_error: Message | None = None
        self.url, self._token = url, token
        self._resumes, self._resume = resumes, dict(resume or {})
        self._unresponsive_s = manners.unresponsive_s
        self._relay = (
            Relay(places=manners.places, takes_per_s=manners.takes_per_s, consume=self._consume)
            if manners.places
            else None
        )
        self._ack_after_s, self._keep, self._lookup = ack_after_s, keep, lookup
        self.connection: Connection | None = None
        self._session_id = ""
        self._connected, self._arrived, self._leaving = asyncio.Event(), asyncio.Event(), asyncio.Event()

    @property
    def connected(self) -> bool:
        """Whether there is a session."""
        return self._connected.is_set()

    @property
    def latency_s(self) -> float | None:
        """Median time from record to arrival of the latest reads."""
        return statistics.median(self.latencies_s) if self.latencies_s else None

    @property
    def dropped(self) -> int:
        """How many reads were acked and never came to the race software: they came faster than it takes them."""
        return self._relay.dropped if self._relay else 0

    async def run(self) -> None:
        """Connect, subscribe and receive until the connection ends; raises one of UNREACHABLE without one."""
        passing = self._relay.passing() if self._relay else nullcontext()
        async with open_connection(self.url.rstrip("/") + self.path, self._token) as connection, passing:
            self.connection = connection
            self._leaving.clear()
            self.arrivals.start_connection()
            try:
                with suppress(ConnectionError):
                    await self._receive(connection)
            finally:
                self._connected.clear()
                self.connection = None

    async def subscribe(self, streams: Iterable[tuple[str, str]]) -> None:
        """Subscribe to (forwarder_id, reader_ip)s, now if there is a session, and in all later ones."""
        added = list(streams)
        self.streams += added
        if self.connection and self._connected.is_set():
            await self.connection.send(receiver_subscribe(self._session_id, added))

    async def stop(self) -> None:
        """Close with a close frame; `run` returns."""
        self._leaving.set()
        if self.connection:
            await self.connection.close()

    async def drop(self) -> None:
        """Lose the connection without a close frame; `run` returns."""
        self._leaving.set()
        if self.connection:
            await self.connection.drop()

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
        # Frames stay unread and pings unanswered: both are done by whoever asks the connection for messages.
        with suppress(TimeoutError):
            async with asyncio.timeout(self._unresponsive_s):
                await self._leaving.wait()
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
        came = [
            ((event["forwarder_id"], event["reader_ip"], event["stream_epoch"]), event) for event in events
        ]
        last_seqs: dict[StreamEpoch, int] = {}
        for epoch, event in came:
            last_seqs[epoch] = max(event["seq"], last_seqs.get(epoch, 0))
        self.batches += 1
        if self._relay is None:
            self._consume(came)
        else:
            for each in came:
                self._relay.put(each)
        if self._ack_after_s is None:
            return
        if self._ack_after_s:  # else without a turn for anybody: what lies in the socket is read in one go
            await asyncio.sleep(self._ack_after_s)
        self._move_cursors(last_seqs)
        await connection.send(receiver_ack(self._session_id, last_seqs))

    def _move_cursors(self, last_seqs: dict[StreamEpoch, int]) -> None:
        """Keep the highest (epoch, seq) of each stream, for the next hello."""
        if not self._resumes:
            return
        for key, seq in last_seqs.items():
            held = max((each for each in self._resume if each[:2] == key[:2]), default=key)
            if (key, seq) >= (held, self._resume.get(held, 0)):
                self._resume.pop(held, None)
                self._resume[key] = seq

    def _consume(self, came: Sequence[tuple[StreamEpoch, Message]]) -> None:
        """The race software gets what has passed."""
        now = time.time()
        for epoch, event in came:
            self._note(epoch, event, now)
        self.arrivals.save({epoch for epoch, _ in came})
        self._arrived.set()

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
        if sent is None or not self._is_as_sent(event, sent):
            self.altered += 1
        if sent is not None:
            self.latencies_s.append(now - sent.recorded_at)

    def _is_as_sent(self, event: Message, sent: Event) -> bool:
        """Whether what came is what its forwarder recorded."""
        told = (event["reader_timestamp"], event["raw_read_line"], event["read_type"])
        return told == (sent.reader_timestamp, sent.raw_read_line, sent.read_type)
