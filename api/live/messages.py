"""The events that keep the first page up to date."""

from datetime import datetime
from typing import Annotated, Any, Literal, TypeAlias
from uuid import UUID

import msgspec
import orjson
from msgspec import UNSET, Meta, UnsetType

from api.alerts.types import Alert, Mute
from api.events.types import Read
from api.http.types import Answer, Request, Time
from api.live.types import (
    Card,
    Database,
    Flow,
    Overview,
    Verdict,
    WatchedProcess,
)
from api.logs.types import LogEntry
from api.readers.types import LinkState, ReaderInfo
from api.streams.types import StreamMetrics
from api.ups.types import UpsStatus

__all__ = [
    "Changed",
    "EventQuery",
    "FlowKey",
    "Form",
    "ForwarderMetricsUpdated",
    "ForwarderRaceAssigned",
    "ForwarderUpsUpdated",
    "LogWritten",
    "Message",
    "MetricsUpdated",
    "OverviewTold",
    "Partial",
    "ProcessUpdated",
    "RateBins",
    "ReaderDownloadProgress",
    "ReaderInfoUpdated",
    "ReceiverUpdated",
    "Resync",
    "Stalled",
    "StreamCreated",
    "StreamUpdated",
    "Tick",
    "VerdictUpdated",
    "encoded",
    "name_of",
]

EventId = Annotated[str, Meta(max_length=60, description="the id of the last event that was seen")]
Form = Literal["single", "changed"]
Partial: TypeAlias = dict[str, Any]


class EventQuery(Request):
    """From where on; a Last-Event-ID in the header counts more. form: `single` events, one for each stream, receiver or
    process that has changed, whole; or one `changed` a second at the most, of what differs.
    """

    last_event_id: EventId | None = None
    form: Form = "single"


class StreamCreated(Answer, tag_field="type", tag="stream_created"):
    """A stream is new: its card, and at the top level what GET /api/v1/streams says of it, for programs that take the
    event for that.
    """

    stream_id: UUID
    forwarder_id: str
    reader_ip: str
    display_alias: str | None
    forwarder_display_name: str | None
    stream_epoch: int
    online: bool
    reader_connected: bool
    created_at: Time
    stream: Card


class StreamUpdated(Answer, omit_defaults=True, tag_field="type", tag="stream_updated"):
    """Names, epoch, connection or state of a stream have changed, or its epoch has its first read: its card, and beside
    it what programs of the field look for, where it has changed. With an id alone, or an epoch, names or races of its
    epochs have changed.
    """

    stream_id: UUID
    stream: Card | UnsetType = UNSET
    display_alias: str | UnsetType | None = UNSET
    forwarder_display_name: str | UnsetType | None = UNSET
    stream_epoch: int | UnsetType = UNSET
    online: bool | UnsetType = UNSET
    reader_connected: bool | UnsetType = UNSET


class MetricsUpdated(StreamMetrics, tag_field="type", tag="metrics_updated"):
    """Numbers of a stream have changed: those of GET .../metrics, at the top level as well, and the card."""

    stream_id: UUID
    metrics: StreamMetrics
    card: Card


class ForwarderMetricsUpdated(Answer, tag_field="type", tag="forwarder_metrics_updated"):
    """Numbers of a forwarder's current epochs have changed."""

    forwarder_id: str
    unique_chips: int
    total_reads: int
    last_read_at: Time | None


class ForwarderUpsUpdated(Answer, tag_field="type", tag="forwarder_ups_updated"):
    """A forwarder's battery is otherwise; of each that is known one comes first."""

    forwarder_id: str
    available: bool
    status: UpsStatus | None


class ReaderInfoUpdated(Answer, omit_defaults=True, tag_field="type", tag="reader_info_updated"):
    """A reader's link or its info is another; reader_info is left out where none was ever told."""

    forwarder_id: str
    reader_ip: str
    state: LinkState
    reader_info: ReaderInfo | UnsetType = UNSET


class ReaderDownloadProgress(Answer, tag_field="type", tag="reader_download_progress"):
    """How far a forwarder is with what a reader has stored."""

    forwarder_id: str
    reader_ip: str
    state: Literal["downloading", "complete", "error", "idle"]
    reads_received: int
    progress: int
    total: int
    error: str | None = None


class ForwarderRaceAssigned(Answer, tag_field="type", tag="forwarder_race_assigned"):
    """A forwarder has another race, or none; or people or chips of its race have changed."""

    forwarder_id: str
    race_id: UUID | None


class ReceiverUpdated(Answer, tag_field="type", tag="receiver_updated"):
    """A receiver stands elsewhere: all of its rows, none when it is forgotten."""

    receiver_id: str
    flow: list[Flow]


class ProcessUpdated(Answer, tag_field="type", tag="process_updated"):
    """A process is new or has changed."""

    process: WatchedProcess


class VerdictUpdated(Answer, tag_field="type", tag="verdict_updated"):
    """A alert has begun, has changed or is resolved, or somebody has said something of it: all that are listed."""

    verdict: Verdict
    troubles: list[Alert]
    mutes: list[Mute]


class FlowKey(Answer):
    """A row of the flow."""

    receiver_id: str
    stream_id: UUID


class RateBins(Answer):
    """What came in the newest bins, the last of which has this number; zeros in those of streams that are not named."""

    bin: int
    counts: dict[UUID, list[int]]


class Changed(Answer, omit_defaults=True, tag_field="type", tag="changed"):
    """How the overview differs from what was told before. Rows hold their key (`stream_id`; `receiver_id` and
    `stream_id`; `trouble_id`; `process_id`) and of all other fields those that have changed, new ones all of them.
    troubles_shown: all that are listed, in their order, where that has changed. reads: the newest that were stored
    since, the newest first; reads_skipped: how many came besides. races_changed: a race is new, gone or another,
    or what belongs to one. What has not changed is left out.
    """

    at: Time
    verdict: Verdict | UnsetType = UNSET
    streams: list[Partial] | UnsetType = UNSET
    streams_gone: list[UUID] | UnsetType = UNSET
    flow: list[Partial] | UnsetType = UNSET
    flow_gone: list[FlowKey] | UnsetType = UNSET
    troubles: list[Partial] | UnsetType = UNSET
    troubles_shown: list[int] | UnsetType = UNSET
    mutes: list[Mute] | UnsetType = UNSET
    processes: list[Partial] | UnsetType = UNSET
    processes_gone: list[UUID] | UnsetType = UNSET
    database: Database | UnsetType = UNSET
    reads: list[Read] | UnsetType = UNSET
    reads_skipped: int | UnsetType = UNSET
    rates: RateBins | UnsetType = UNSET
    races_changed: bool | UnsetType = UNSET


class LogWritten(Answer, tag_field="type", tag="log_entry"):
    """Something happened."""

    entry: LogEntry


class Resync(Answer, omit_defaults=True, tag_field="type", tag="resync"):
    """Something may have been missed, or cannot be told by an event: fetch the overview anew. overview_follows: it need
    not be fetched, the next event is it.
    """

    overview_follows: bool = False


class OverviewTold(Answer, tag_field="type", tag="overview"):
    """All of the first page, of the very process that tells what changes of it, in the form `changed`."""

    overview: Overview


class Tick(Answer, tag_field="type", tag="tick"):
    """Nothing has happened for some seconds, and all is told until now."""

    at: Time


class Stalled(Answer, tag_field="type", tag="stalled"):
    """Nobody knows what has happened: the server is there, and its database does not answer."""

    at: Time


Message: TypeAlias = (
    Changed
    | StreamCreated
    | StreamUpdated
    | MetricsUpdated
    | ForwarderMetricsUpdated
    | ForwarderUpsUpdated
    | ReaderInfoUpdated
    | ReaderDownloadProgress
    | ForwarderRaceAssigned
    | ReceiverUpdated
    | ProcessUpdated
    | VerdictUpdated
    | LogWritten
    | OverviewTold
    | Resync
    | Stalled
    | Tick
)


def name_of(message: Message) -> str:
    """Return what a message's `event:` line says."""
    return str(type(message).__struct_config__.tag)


def encoded(message: Message, event_id: str | None) -> bytes:
    """Return a message as it goes over the wire; without an id whoever gets it has seen no more than before."""
    body = orjson.dumps(msgspec.to_builtins(message, builtin_types=(datetime,)))
    seen = b"" if event_id is None else b"id: %b\n" % event_id.encode()
    return b"%bevent: %b\ndata: %b\n\n" % (seen, name_of(message).encode(), body)
