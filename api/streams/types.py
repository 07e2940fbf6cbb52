"""Streams, their numbers and epochs."""

from typing import ClassVar
from uuid import UUID

import msgspec

from api.http.types import Answer, EpochNumber, LongName, Name, Number, Request, Time

__all__ = [
    "Epoch",
    "EpochName",
    "EpochPath",
    "EpochQuery",
    "ForwarderStreamsPatch",
    "MissingRange",
    "NamedEpoch",
    "SequenceMap",
    "SequenceQuery",
    "Stream",
    "StreamMetrics",
    "StreamPatch",
    "StreamPath",
    "Streams",
    "StreamsChanged",
]


class StreamPath(Request):
    """A stream."""

    stream_id: UUID


class EpochPath(Request):
    """An epoch of a stream, begun or not."""

    stream_id: UUID
    epoch: EpochNumber


class EpochQuery(Request):
    """Which epochs: those below one."""

    below: Number | None = None


class Stream(Answer):
    """One reader of one forwarder. Online: the forwarder's session is live; reader_connected: and has not said that it
    has lost the reader. Closed: nobody expects a read of it.
    """

    stream_id: UUID
    forwarder_id: str
    reader_ip: str
    display_alias: str | None
    forwarder_display_name: str | None
    stream_epoch: int
    current_epoch_name: str | None
    online: bool
    reader_connected: bool
    created_at: Time
    closed: bool


class Streams(Answer):
    """All streams, in order of creation."""

    streams: list[Stream]


class StreamPatch(Request):
    """What of a stream can be changed, either or both. A blank alias is none. A closed stream raises no alert of
    silence; a read that comes all the same is stored and delivered, and said.

    expected_display_alias, expected_closed: as the stream was when it was looked at; if it is otherwise by now, nothing
    is changed (409).
    """

    says_something: ClassVar[bool] = True

    display_alias: Name | msgspec.UnsetType | None = msgspec.UNSET
    closed: bool | msgspec.UnsetType = msgspec.UNSET
    expected_display_alias: Name | msgspec.UnsetType | None = msgspec.UNSET
    expected_closed: bool | msgspec.UnsetType = msgspec.UNSET


class ForwarderStreamsPatch(Request):
    """What can be changed of all streams of a forwarder at once."""

    closed: bool


class StreamsChanged(Answer):
    """How many streams were changed."""

    changed: int


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


class SequenceQuery(Request):
    """Which epoch; the current one, unless another is named."""

    epoch: Number | None = None


class SequenceMap(Answer):
    """What became of the numbers of an epoch, 1 to `last`, in bins of `bin` numbers, the last of which may be shorter:
    how many of a bin never came, and of how many another line lies aside. retransmits: how often one came again; which
    they were is not kept. known_to: beyond it there are gaps that are not listed.
    """

    stream_id: UUID
    epoch: int
    last: int
    known_to: int
    bin: int
    missing: list[int]
    conflicts: list[int]
    missing_count: int
    conflict_count: int
    retransmit_count: int


class Epoch(Answer):
    """One epoch of a stream; times are when its first and last event were received. race_id: the race that it was given
    to; null: that of its forwarder counts.
    """

    epoch: int
    name: str | None
    race_id: UUID | None
    event_count: int
    first_event_at: Time | None
    last_event_at: Time | None
    is_current: bool
    missing_count: int


class NamedEpoch(Epoch):
    """An epoch, and which one it is."""

    stream_id: UUID
    stream_epoch: int


class EpochName(Request):
    """What to call an epoch. A blank name is none. expected_name: as it was called; if it is called otherwise by now,
    nothing is changed (409).
    """

    name: LongName | None
    expected_name: LongName | msgspec.UnsetType | None = msgspec.UNSET
