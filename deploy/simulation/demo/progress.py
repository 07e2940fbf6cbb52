"""Where a race stands: of each stream how many reads were recorded, acked, stored and delivered.

Three of the four numbers are the devices' own; what is stored the server is asked for once a second. Only
numbers here: showing them and judging them is done elsewhere.
"""

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass

from deploy.simulation.demo.crew import Crew
from deploy.simulation.demo.server import Server, ServerError, Stream
from deploy.simulation.devices.forwarder import Forwarder
from deploy.simulation.devices.receiver import Receiver

__all__ = ["Progress", "ReceiverProgress", "StreamProgress", "Watch"]

_ASK_EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class StreamProgress:
    """The reads of one stream; `stored` counts as of the server's last answer, `delivered` what every receiver has."""

    forwarder: str
    reader_ip: str
    connected: bool
    epoch: int
    recorded: int
    acked: int
    stored: int
    delivered: int

    @property
    def behind(self) -> int:
        """Reads that some receiver does not have yet."""
        return self.recorded - self.delivered

    @property
    def unacked(self) -> int:
        """Reads that the forwarder may have to send again."""
        return self.recorded - self.acked


@dataclass(frozen=True, slots=True)
class ReceiverProgress:
    """The reads of one receiver; `latency_s` is the median from record to arrival."""

    receiver_id: str
    connected: bool
    received: int
    behind: int
    latency_s: float | None


@dataclass(frozen=True, slots=True)
class Progress:
    """Everything at one moment; `at_s` counts from the start of the demo."""

    at_s: float
    phase: str
    streams: list[StreamProgress]
    receivers: list[ReceiverProgress]

    def total(self, name: str) -> int:
        """Return the sum of one number over the streams."""
        return sum(getattr(stream, name) for stream in self.streams)


class Watch:
    """Keeps an eye on one crew's race."""

    def __init__(self, crew: Crew, server: Server) -> None:
        self.phase = "getting ready"
        self._crew = crew
        self._server = server
        self._stored: dict[Stream, int] = {}
        self._started_at = time.monotonic()

    async def run(self) -> None:
        """Ask the server what it has stored, again and again; while it does not answer the old counts stand."""
        while True:
            with suppress(ServerError):
                await self._ask()
            await asyncio.sleep(_ASK_EVERY_S)

    def progress(self) -> Progress:
        """Return where the race stands now."""
        streams = [self._stream(forwarder, reader_ip) for forwarder, reader_ip in self._crew.streams()]
        recorded = sum(stream.recorded for stream in streams)
        receivers = [self._receiver(receiver, recorded) for receiver in self._crew.receivers]
        return Progress(time.monotonic() - self._started_at, self.phase, streams, receivers)

    def _receiver(self, receiver: Receiver, recorded: int) -> ReceiverProgress:
        delivered = sum(
            _reads(receiver, forwarder, reader_ip) for forwarder, reader_ip in self._crew.streams()
        )
        return ReceiverProgress(
            receiver.receiver_id,
            receiver.connected,
            receiver.received,
            recorded - delivered,
            receiver.latency_s,
        )

    async def _ask(self) -> None:
        ours = {forwarder.device_id for forwarder in self._crew.forwarders}
        for stream, stream_id in (await self._server.streams()).items():
            if stream[0] in ours:
                self._stored[stream] = (await self._server.metrics(stream_id))["dedup_count"]

    def _stream(self, forwarder: Forwarder, reader_ip: str) -> StreamProgress:
        recorded, acked = forwarder.journal.reads(reader_ip)
        return StreamProgress(
            forwarder=forwarder.display_name or forwarder.device_id,
            reader_ip=reader_ip,
            connected=forwarder.connected,
            epoch=forwarder.journal.epoch(reader_ip),
            recorded=recorded,
            acked=acked,
            stored=self._stored.get((forwarder.device_id, reader_ip), 0),
            delivered=min(_reads(receiver, forwarder, reader_ip) for receiver in self._crew.receivers),
        )


def _reads(receiver: Receiver, forwarder: Forwarder, reader_ip: str) -> int:
    """Return how many different reads of a stream a receiver has."""
    return sum(epoch.reads for epoch in receiver.arrivals.of_stream(forwarder.device_id, reader_ip))
