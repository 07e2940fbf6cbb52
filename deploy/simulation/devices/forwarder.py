"""A forwarder as the ones in the field: it journals what its readers say and brings it to the server.

One batch at a time, waiting for each ack without any timeout; what was not acked is sent again after every
reconnect. It has all manners of those in the field, the awkward ones, too: it backs off when no session can be
opened, but comes back at once when one ends while it has a backlog; it moves its cursors only forward; it
applies any epoch that it is told; a message of a kind it does not know makes it reconnect.
"""

import asyncio
import hashlib
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

from deploy.simulation.devices.connection import UNREACHABLE, Connection, open_connection
from deploy.simulation.devices.journal import Event, Journal
from deploy.simulation.devices.messages import REQUESTS, Message, answer, event_batch, forwarder_hello

__all__ = ["Forwarder"]

_PATH = "/ws/v1/forwarders"


class Forwarder:
    """One simulated forwarder; `run` keeps it connected, `record` gives it a read at any time.

    `url` is the server's base URL, `readers` are the "a.b.c.d:port" of its readers, `backoff_s` the first and
    the longest pause between attempts to connect, `flush_s` how long a batch that is not full waits for more.
    `device_id` is what the token stands for, `hello_id` what the device calls itself: unless given, what field
    forwarders derive from their token.
    """

    def __init__(
        self,
        *,
        url: str,
        token: str,
        device_id: str,
        readers: Sequence[str],
        journal: Journal | None = None,
        batch_size: int = 50,
        display_name: str | None = None,
        hello_id: str | None = None,
        backoff_s: tuple[float, float] = (1.0, 30.0),
        flush_s: float = 0.05,
    ) -> None:
        self.device_id = device_id
        self.readers = list(readers)
        self.display_name = display_name
        self.journal = journal or Journal()
        self.config: dict[str, Any] = {
            "general": {"display_name": display_name},
            "readers": {"reader_ips": list(readers)},
        }
        self.recorded = self.sent = self.acked = self.sessions = self.reconnects = 0
        self.ack_latency_s: float | None = None
        self.last_error: Message | None = None
        self.url, self._token = url, token
        self._hello_id = hello_id or f"fwd-{hashlib.sha256(token.encode()).hexdigest()[:16]}"
        self._batch_size, self._backoff_s, self._flush_s = batch_size, backoff_s, flush_s
        self._connection: Connection | None = None
        self._session_id = ""
        self._replaying = False
        self._batches = 0
        self._flush_from = 0.0
        self._connected, self._answered = asyncio.Event(), asyncio.Event()
        self._recorded, self._full, self._drained = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._stopping = asyncio.Event()
        self._note_backlog()

    @property
    def connected(self) -> bool:
        """Whether there is a session."""
        return self._connected.is_set()

    def record(
        self, reader_ip: str, raw_line: str, *, reader_timestamp: str | None = None, read_type: str = "raw"
    ) -> Event:
        """Journal one read; it is sent as soon as there is a session."""
        if reader_timestamp is None:
            reader_timestamp = datetime.now().isoformat(timespec="milliseconds")  # noqa: DTZ005 - has no zone
        event = self.journal.append(
            reader_ip, raw_line, reader_timestamp=reader_timestamp, read_type=read_type
        )
        self.recorded += 1
        self._note_backlog()
        return event

    async def run(self) -> None:
        """Stay connected until `stop`, or until cancelled."""
        shortest_s, longest_s = self._backoff_s
        pause_s = shortest_s
        while not self._stopping.is_set():
            sessions = self.sessions
            with suppress(*UNREACHABLE):
                async with open_connection(self.url.rstrip("/") + _PATH, self._token) as connection:
                    await self._session(connection)
            if self.sessions > sessions:
                pause_s = shortest_s
                if self._returns_at_once():
                    continue
            # Not wait_for, which takes no notice of a cancellation that comes just when it is done.
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._stopping.wait()
            pause_s = min(2 * pause_s, longest_s)

    def _returns_at_once(self) -> bool:
        """Whether it comes back without a pause when a session has ended."""
        return self.journal.backlog > 0

    async def stop(self) -> None:
        """Close with a close frame; `run` returns."""
        self._stopping.set()
        if self._connection:
            await self._connection.close()

    async def drop(self) -> None:
        """Lose the connection without a close frame; `run` goes on and reconnects."""
        if self._connection:
            await self._connection.drop()

    async def loses_journal(self) -> None:
        """Reboot without its journal: reconnect, and the next read is epoch 1, seq 1 again."""
        await self.drop()
        self.journal.wipe()
        self._note_backlog()

    def forget_acks(self, reads: int) -> None:
        """Send up to so many of each reader's newest acked reads again; only while it is not connected."""
        self.journal.forget_acks(reads)
        self._note_backlog()

    async def wait_connected(self) -> None:
        """Return when there is a session: the server's heartbeat has come."""
        await self._connected.wait()

    async def drained(self) -> None:
        """Return when all that was recorded is acked."""
        await self._drained.wait()

    async def _session(self, connection: Connection) -> None:
        if self._stopping.is_set():
            return
        self._connection = connection
        self._answered.clear()
        self._replaying = self.journal.backlog > 0
        try:
            await connection.send(forwarder_hello(self._hello_id, self.readers, self.display_name))
            async with asyncio.TaskGroup() as tasks:
                sending = tasks.create_task(self._send_batches(connection), name=f"{self.device_id} sends")
                await self._listen(connection)
                sending.cancel()
        finally:
            self._connected.clear()
            self._connection = None

    async def _send_batches(self, connection: Connection) -> None:
        await self._connected.wait()
        with suppress(ConnectionError):
            while True:
                await self._batch_due()
                events = self.journal.batch(self._batch_size)
                if not events:
                    continue
                await self._send_batch(connection, events)

    async def _send_batch(self, connection: Connection, events: list[Event]) -> None:
        self._batches += 1
        self._answered.clear()
        sent_at = time.monotonic()
        await connection.send(
            event_batch(
                self._session_id,
                f"{self._hello_id}-{self._batches}",
                forwarder_id=self._hello_id,
                events=events,
            )
        )
        self.sent += len(events)
        await self._answered.wait()
        self.ack_latency_s = time.monotonic() - sent_at

    async def _batch_due(self) -> None:
        """Wait for a full batch, or until the oldest read of a smaller one has waited for `flush_s`."""
        await self._recorded.wait()
        waiting_from = time.monotonic()
        while self.journal.backlog < self._batch_size:
            # What the server says starts the wait anew, as it does in the field.
            left_s = max(waiting_from, self._flush_from) + self._flush_s - time.monotonic()
            if left_s <= 0:
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(left_s):
                    await self._full.wait()

    async def _listen(self, connection: Connection) -> None:
        with suppress(ConnectionError):
            async for message in connection.messages():
                if self._starts_flush_anew(message):
                    self._flush_from = time.monotonic()
                if not await self._handle(connection, message):
                    return

    def _starts_flush_anew(self, _message: Message) -> bool:
        """Whether the wait for more reads begins again with this message: with any, in the first generation."""
        return True

    async def _handle(self, connection: Connection, message: Message) -> bool:
        """Do what the message asks; False when it ends the session."""
        match message.get("kind"):
            case "heartbeat":
                self._begin(message["session_id"])
            case "forwarder_ack":
                self._take_ack(message["entries"])
            case "epoch_reset_command":
                self.journal.turn_epoch(message["reader_ip"], message["new_stream_epoch"])
            case kind if kind in REQUESTS:
                await connection.send(answer(message, self.config))
                # Asked in the middle of a replay, a field forwarder answers and reconnects.
                return not self._replaying and kind != "restart_request"
            case _:
                self.last_error = message
                return False
        return True

    def _begin(self, session_id: str) -> None:
        if not self._connected.is_set():
            self.reconnects += self.sessions > 0
            self.sessions += 1
        self._session_id = session_id
        self._connected.set()

    def _take_ack(self, entries: list[Message]) -> None:
        for entry in entries:
            self.acked += self.journal.ack(entry["reader_ip"], entry["stream_epoch"], entry["last_seq"])
        self._note_backlog()
        self._answered.set()

    def _note_backlog(self) -> None:
        backlog = self.journal.backlog
        for event, is_so in (
            (self._recorded, backlog > 0),
            (self._full, backlog >= self._batch_size),
            (self._drained, backlog == 0),
        ):
            if is_so:
                event.set()
            else:
                event.clear()
        self._replaying = self._replaying and backlog > 0
