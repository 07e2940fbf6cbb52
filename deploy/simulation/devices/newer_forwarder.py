"""A forwarder of the second generation: it sends reads as their bytes, and tells of its readers and its battery.

Like the first (forwarder.py), but
- a read goes out as `raw_frame`, an array of bytes with its line end, and never as `raw_read_line`;
- after the heartbeat come `reader_status_update`s, some twice, then what waits; before each flush one
  `reader_info_update` **per read** since the last flush, and one with all it knows every ten seconds;
- any message but an ack that it waits for starts its flush interval anew;
- it does what operators ask of a reader **inside its upload loop**: meanwhile it uploads nothing, and reads no ack. In
  a replay it answers and reconnects at once; later, what waited for its ack is sent anew with what came since;
- an ack that does not come within `ack_within_s` ends its session: in a replay it comes back at once, else after 1 s;
- a kind or an action that it does not know ends its session, and it is back after 1 s.
"""

import asyncio
import math
import time
from contextlib import suppress
from functools import partial
from typing import Any

from deploy.simulation.devices.connection import Connection
from deploy.simulation.devices.forwarder import Forwarder
from deploy.simulation.devices.journal import Event
from deploy.simulation.devices.messages import Message, framed_batch
from deploy.simulation.devices.reader_box import ReaderBox, UnknownActionError

__all__ = ["NewerForwarder"]

ACK_WITHIN_S = 30.0
TELLS_EVERY_S = 10.0
BATTERY_EVERY_S = 60.0
TELL_LOOK_S = 0.5
_CRLF = b"\r\n"


class NewerForwarder(Forwarder):
    """One simulated forwarder of the second generation.

    `line_end` is what its readers end a line with; `battery` its UPS, as `forwarder_ups_status` has it, None without
    one; `boxes` are its readers by address.
    """

    def __init__(
        self,
        *,
        line_end: bytes = _CRLF,
        battery: dict[str, Any] | None = None,
        ack_within_s: float = ACK_WITHIN_S,
        flush_s: float = 0.1,
        **settings: Any,
    ) -> None:
        super().__init__(flush_s=flush_s, **settings)
        self.line_end, self.battery = line_end, battery
        self.boxes = {reader_ip: ReaderBox() for reader_ip in self.readers}
        for reader_ip, box in self.boxes.items():
            box.told = partial(self._have_told, reader_ip)
            box.download = partial(self._download, reader_ip)
        self._ack_within_s = ack_within_s
        self._to_tell: list[str] = []  # readers that have something new to tell
        self._unreported: list[str] = []  # the reader of each read since the last flush
        self._told_at = self._battery_at = -math.inf
        self._free = asyncio.Lock()  # uploads and commands exclude each other
        self._waits_for_ack = False

    async def run(self) -> None:
        """Stay connected until `stop`, or until cancelled."""
        try:
            await super().run()
        finally:
            for box in self.boxes.values():
                await box.close()

    def record(self, reader_ip: str, raw_line: str, **more: Any) -> Event:
        """Journal one read, as the first generation does; a reader that records has it, too."""
        self._unreported.append(reader_ip)
        self.boxes[reader_ip].stored += self.boxes[reader_ip].recording
        return super().record(reader_ip, raw_line, **more)

    def _have_told(self, reader_ip: str) -> None:
        self._to_tell.append(reader_ip)

    def _download(self, reader_ip: str) -> None:
        """What the reader has stored comes again as ordinary reads, under new numbers."""
        for event in list(self.journal.events(reader_ip))[-self.boxes[reader_ip].stored :]:
            self.record(
                reader_ip,
                event.raw_read_line,
                reader_timestamp=event.reader_timestamp,
                read_type=event.read_type,
            )

    def _returns_at_once(self) -> bool:
        """In a replay it knows no pause; later, and where it gave up, it takes its time."""
        return self._replaying

    async def _send_batches(self, connection: Connection) -> None:
        await self._connected.wait()
        with suppress(ConnectionError):
            await self._tell_of_readers(connection)
            async with asyncio.TaskGroup() as tasks:
                telling = tasks.create_task(self._tell_now_and_then(connection), name="tells")
                await super()._send_batches(connection)
                telling.cancel()

    async def _tell_now_and_then(self, connection: Connection) -> None:
        """Tell what there is to tell, while no read has it told."""
        while True:
            await asyncio.sleep(TELL_LOOK_S)
            async with self._free:
                with suppress(ConnectionError):
                    await self._tell(connection)

    async def _tell_of_readers(self, connection: Connection) -> None:
        for place, (reader_ip, box) in enumerate(self.boxes.items()):
            for _ in range(1 + place % 2):
                await connection.send(
                    {"kind": "reader_status_update", "reader_ip": reader_ip, "connected": box.linked}
                )
        self._told_at = self._battery_at = -math.inf

    async def _send_batch(self, connection: Connection, events: list[Event]) -> None:
        async with self._free:
            await self._tell(connection)
            self._waits_for_ack = True
            self._answered.clear()
            await self._send_framed(connection, events)
        try:
            sent_at = time.monotonic()
            async with asyncio.timeout(self._ack_within_s):
                await self._answered.wait()
            self.ack_latency_s = time.monotonic() - sent_at
        except TimeoutError:
            await connection.close()
        finally:
            self._waits_for_ack = False

    async def _send_framed(self, connection: Connection, events: list[Event]) -> None:
        self._batches += 1
        await connection.send(
            framed_batch(
                self._session_id,
                f"{self._hello_id}-{self._batches}",
                forwarder_id=self._hello_id,
                events=events,
                line_end=self.line_end,
            )
        )
        self.sent += len(events)

    async def _tell(self, connection: Connection) -> None:
        """One update for each read since the last flush; now and then all that is known, and the battery."""
        reads, self._unreported = self._unreported, []
        for reader_ip in reads:
            await connection.send(self._update(reader_ip))
        due, self._to_tell = self._to_tell, []
        now = time.monotonic()
        if now - self._told_at >= TELLS_EVERY_S:
            due, self._told_at = list(self.boxes), now
        for reader_ip in due:
            await connection.send({**self._update(reader_ip), "reader_info": self.boxes[reader_ip].info()})
        if self.battery is not None and now - self._battery_at >= BATTERY_EVERY_S:
            self._battery_at = now
            status = {**self.battery, "sampled_at": int(time.time() * 1000)}
            await connection.send(
                {
                    "kind": "forwarder_ups_status",
                    "forwarder_id": self._hello_id,
                    "available": True,
                    "status": status,
                }
            )

    def _update(self, reader_ip: str) -> Message:
        state = "connected" if self.boxes[reader_ip].linked else "disconnected"
        return {"kind": "reader_info_update", "reader_ip": reader_ip, "state": state}

    async def _handle(self, connection: Connection, message: Message) -> bool:
        if message.get("kind") != "reader_control_request":
            going_on = await super()._handle(connection, message)
            if message.get("kind") in _COMMANDS:
                self._interrupted()
            return going_on
        async with self._free:
            try:
                outcome = await self.boxes[message["reader_ip"]].act(message["action"])
            except (UnknownActionError, KeyError, TypeError):
                self.last_error = message
                return False
            await connection.send(
                {
                    "kind": "reader_control_response",
                    "request_id": message["request_id"],
                    "reader_ip": message["reader_ip"],
                    "success": outcome.success,
                    "error": outcome.error,
                    "reader_info": outcome.info,
                }
            )
        self._interrupted()
        return not self._replaying

    def _interrupted(self) -> None:
        """What waits for its ack is sent anew, with what has come since; a late ack counts for that."""
        self._answered.set()

    def _starts_flush_anew(self, message: Message) -> bool:
        return not (message.get("kind") == "forwarder_ack" and self._waits_for_ack)


_COMMANDS = frozenset({"config_get_request", "config_set_request", "restart_request", "epoch_reset_command"})
