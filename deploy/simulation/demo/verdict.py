"""Did the server keep its word? What was sent against what was acked, stored, delivered and exported.

The journals are the truth that the rest is held to: every read of theirs must have been stored once, delivered
in order with nothing altered, and come out of the export byte for byte; and the server's own certificate must say so.
"""

import csv
import io
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

from rich.console import Group
from rich.text import Text

from deploy.simulation.demo.certified import Certified, Sent, certified
from deploy.simulation.demo.crew import Crew
from deploy.simulation.demo.progress import Progress, StreamProgress
from deploy.simulation.demo.server import Server, Stream
from deploy.simulation.demo.view import number, table
from deploy.simulation.devices.forwarder import Forwarder
from deploy.simulation.devices.journal import Event

__all__ = ["StreamVerdict", "Verdict", "compare_export", "judge"]

_EXPORT_COLUMNS = ("stream_epoch", "seq", "reader_timestamp", "raw_read_line", "read_type")
_COLUMNS = [
    ("forwarder", -9),
    ("reader", -13),
    ("sent", 7),
    ("acked", 7),
    ("stored", 7),
    ("delivered", 9),
    ("export", -8),
]


@dataclass(frozen=True, slots=True)
class StreamVerdict:
    """What was found out about one stream; `export` says how the export differs, "" when it does not."""

    progress: StreamProgress
    conflicts: int = 0
    twice: int = 0
    backward: int = 0
    export: str = ""

    @property
    def problems(self) -> list[str]:
        """Every promise that does not hold for this stream, in words."""
        sent, where = self.progress.recorded, f"{self.progress.forwarder} {self.progress.reader_ip}"
        found = [
            (self.progress.acked != sent, f"{self.progress.acked} acked of {sent} sent"),
            (self.progress.stored != sent, f"{self.progress.stored} stored of {sent} sent"),
            (self.progress.delivered != sent, f"{self.progress.delivered} delivered of {sent} sent"),
            (self.conflicts > 0, f"{self.conflicts} in conflict with another line"),
            (self.twice > 0, f"{self.twice} delivered twice on one connection"),
            (self.backward > 0, f"{self.backward} delivered behind a later one"),
            (self.export != "", f"the export differs: {self.export}"),
        ]
        return [f"{where}: {words}" for holds, words in found if holds]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The verdict on the whole race; printed, it is a table and one closing line, or every problem.

    `altered` counts what was delivered and is not what was sent, `said` is what may explain a problem: what the server
    told the devices, and what came too fast for the receiver. `certificate`: what the server certifies; None where
    nothing was sent.
    """

    streams: list[StreamVerdict]
    altered: int = 0
    said: tuple[str, ...] = ()
    certificate: Certified | None = None

    @property
    def problems(self) -> list[str]:
        """Every promise that was not kept, in words."""
        found = [words for stream in self.streams for words in stream.problems]
        if self.altered:
            found.append(f"{self.altered} delivered that differ from what was sent, or that nobody sent")
        if self.certificate is not None:
            found += self.certificate.problems
        return [*found, *self.said] if found else []

    @property
    def ok(self) -> bool:
        """Whether every promise was kept."""
        return not self.problems

    @property
    def reads(self) -> int:
        """How many reads were sent."""
        return sum(stream.progress.recorded for stream in self.streams)

    def __rich__(self) -> Group:
        drawn = table(*_COLUMNS)
        for stream in self.streams:
            where = stream.progress
            counts = (where.recorded, where.acked, where.stored, where.delivered)
            export = Text("differs", style="red") if stream.export else Text("the same")
            drawn.add_row(where.forwarder, where.reader_ip, *map(number, counts), export)
        closing = [Text(words, style="red") for words in self.problems] or [
            Text(f"everything sent was stored once and delivered: {self.reads} reads", style="green"),
            *([Text(str(self.certificate), style="green")] if self.certificate is not None else []),
        ]
        return Group(Text(), drawn, Text(), *closing)


async def judge(crew: Crew, server: Server, progress: Progress) -> Verdict:
    """Return the verdict on a race that has come to rest at `progress`; ServerError when it cannot be had."""
    stream_ids = await server.streams()
    streams = []
    for (forwarder, reader_ip), stream in zip(crew.streams(), progress.streams, strict=True):
        stream_id = stream_ids.get((forwarder.device_id, reader_ip))
        if stream_id is None:
            # Without a read there need not be a stream.
            missing = "there is no such stream" if stream.recorded else ""
            streams.append(StreamVerdict(replace(stream, stored=0), export=missing))
        else:
            streams.append(await _judge_stream(crew, server, forwarder, stream, stream_id))
    devices = [(forwarder.device_id, forwarder.last_error) for forwarder in crew.forwarders]
    devices += [(receiver.receiver_id, receiver.last_error) for receiver in crew.receivers]
    said = [f"the server told {device_id}: {error}" for device_id, error in devices if error]
    said += [
        f"{receiver.receiver_id} acked and then dropped {receiver.dropped}: they came faster than the race software"
        " takes them"
        for receiver in crew.receivers
        if receiver.dropped
    ]
    altered = sum(receiver.altered for receiver in crew.receivers)
    return Verdict(streams, altered, tuple(said), await _certify(crew, server, stream_ids))


async def _certify(crew: Crew, server: Server, stream_ids: Mapping[Stream, str]) -> Certified | None:
    sent: Sent = {
        stream_ids[forwarder.device_id, reader_ip]: partial(forwarder.journal.events, reader_ip)
        for forwarder, reader_ip in crew.streams()
        if (forwarder.device_id, reader_ip) in stream_ids and forwarder.journal.reads(reader_ip)[0]
    }
    return await certified(server, sent) if sent else None


async def _judge_stream(
    crew: Crew, server: Server, forwarder: Forwarder, stream: StreamProgress, stream_id: str
) -> StreamVerdict:
    metrics = await server.metrics(stream_id)
    arrivals = [
        epoch
        for receiver in crew.receivers
        for epoch in receiver.arrivals.of_stream(forwarder.device_id, stream.reader_ip)
    ]
    return StreamVerdict(
        replace(stream, stored=metrics["dedup_count"]),
        conflicts=metrics["conflict_count"],
        twice=sum(epoch.twice for epoch in arrivals),
        backward=sum(epoch.backward for epoch in arrivals),
        export=await compare_export(
            server.export_lines(stream_id), forwarder.journal.events(stream.reader_ip)
        ),
    )


async def compare_export(exported: AsyncIterator[bytes], sent: Iterable[Event]) -> str:
    """Return how the lines of a CSV export differ from what was sent, "" when they do not."""
    due = _csv_lines(sent)
    at = 0
    async for line in exported:
        at += 1
        expected = next(due, None)
        if line != expected:
            return f"line {at} is {line!r} and not {expected!r}"
    missing = sum(1 for _ in due)
    return f"it ends {missing} lines early" if missing else ""


def _csv_lines(events: Iterable[Event]) -> Iterator[bytes]:
    """The export that these events should give, line by line."""
    line = io.StringIO()
    writer = csv.writer(line, lineterminator="\n")
    writer.writerow(_EXPORT_COLUMNS)
    for event in events:
        yield line.getvalue().encode()
        line.seek(0)
        line.truncate()
        writer.writerow(event[1:6])
    yield line.getvalue().encode()
