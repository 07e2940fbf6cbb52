"""Streams, their numbers and epochs."""

from uuid import UUID

from api.messages.types import Answer, Name, Number, Request, Time

__all__ = [
    "Epoch",
    "EpochName",
    "EpochPath",
    "EpochQuery",
    "MissingRange",
    "Stream",
    "StreamMetrics",
    "StreamPatch",
    "StreamPath",
    "Streams",
]


class StreamPath(Request):
    """A stream."""

    stream_id: UUID


class EpochPath(Request):
    """An epoch of a stream."""

    stream_id: UUID
    epoch: Number


class EpochQuery(Request):
    """Which epochs: those below one."""

    below: Number | None = None


class Stream(Answer):
    """One reader of one forwarder. Online: the forwarder's session is live."""

    stream_id: UUID
    forwarder_id: str
    reader_ip: str
    display_alias: str | None
    forwarder_display_name: str | None
    stream_epoch: int
    online: bool
    created_at: Time


class Streams(Answer):
    """All streams, in order of creation."""

    streams: list[Stream]


class StreamPatch(Request):
    """What of a stream can be changed. A blank alias is none."""

    display_alias: Name | None


class MissingRange(Answer):
    """Sequence numbers that never came: from first to last, both included."""

    first: int
    last: int


class StreamMetrics(Answer):
    """The numbers of a stream: of its whole life, and (epoch_*, unique_chips, missing_*) of its current epoch.

    raw_count is dedup_count + retransmit_count + conflict_count. lag: since the last canonical event. backlog:
    canonical events not yet acked by the slowest connected receiver that is subscribed. clock_offset: estimate of
    reader clock minus server clock, by live reads; null where none has told, and where nobody knows the reader's zone
    (zone_unknown: neither TIME_ZONE nor other readers say it).
    """

    raw_count: int
    dedup_count: int
    retransmit_count: int
    conflict_count: int
    unparsed_count: int
    lag_ms: int | None
    backlog: int
    epoch_raw_count: int
    epoch_dedup_count: int
    epoch_retransmit_count: int
    epoch_lag_ms: int | None
    epoch_last_received_at: Time | None
    unique_chips: int
    missing_count: int
    missing_ranges: list[MissingRange]
    last_tag_id: str | None
    last_reader_timestamp: str | None
    clock_offset_ms: int | None
    zone_unknown: bool


class Epoch(Answer):
    """One epoch of a stream; times are when its first and last event were received."""

    epoch: int
    name: str | None
    event_count: int
    first_event_at: Time | None
    last_event_at: Time | None
    is_current: bool
    missing_count: int


class EpochName(Request):
    """What to call an epoch. A blank name is none."""

    name: Name | None
