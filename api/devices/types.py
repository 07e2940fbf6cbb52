"""Forwarders, receivers and their cursors, processes."""

from uuid import UUID

from api.http.types import Answer, DeviceId, Request, Time
from shared.roles import Role

__all__ = [
    "Cursor",
    "Cursors",
    "Forwarder",
    "ForwarderReader",
    "Forwarders",
    "Process",
    "Processes",
    "Receiver",
    "ReceiverPath",
    "ReceiverSession",
    "ReceiverStream",
    "ReceiverStreamPath",
    "Receivers",
]


class ReceiverPath(Request):
    """A receiver, by its device id."""

    receiver_id: DeviceId


class ReceiverStreamPath(Request):
    """A receiver and a stream."""

    receiver_id: DeviceId
    stream_id: UUID


class ForwarderReader(Answer):
    """A reader of a forwarder. connected: the forwarder is, and has not said otherwise of its reader; older forwarders
    say nothing of theirs.
    """

    reader_ip: str
    connected: bool


class Forwarder(Answer):
    """A forwarder that has connected before. connected_at and gateway (a process id) are of its live session. Chips,
    reads and the time of the last one are of its streams' current epochs; a chip at several readers counts once.
    """

    forwarder_id: str
    display_name: str | None
    online: bool
    connected_at: Time | None
    gateway: UUID | None
    stream_ids: list[UUID]
    readers: list[ForwarderReader]
    unique_chips: int
    total_reads: int
    last_read_at: Time | None
    last_seen_at: Time | None


class Forwarders(Answer):
    """All forwarders, by id."""

    forwarders: list[Forwarder]


class ReceiverSession(Answer):
    """A live connection of a receiver, and the process that holds it."""

    session_id: UUID
    connected_at: Time
    fanout: UUID


class ReceiverStream(Answer):
    """Where a receiver stands in a stream: the newest epoch that it has acked anything of, up to which seq, and how
    many of the stream's events it has not acked, older epochs included. Nulls: subscribed, but nothing acked yet.
    """

    stream_id: UUID
    stream_epoch: int | None
    last_seq: int | None
    behind: int
    updated_at: Time | None


class Receiver(Answer):
    """A receiver that is connected or has cursors."""

    receiver_id: str
    sessions: list[ReceiverSession]
    streams: list[ReceiverStream]


class Receivers(Answer):
    """All receivers, by id."""

    receivers: list[Receiver]


class Cursor(Answer):
    """Everything of an epoch up to and including last_seq is done with."""

    stream_id: UUID
    stream_epoch: int
    last_seq: int
    updated_at: Time


class Cursors(Answer):
    """The stored cursors of a receiver, the first 10,000."""

    receiver_id: str
    cursors: list[Cursor]


class Process(Answer):
    """A live process of the cluster."""

    process_id: UUID
    role: Role
    host: str
    pid: int
    address: str
    version: str
    started_at: Time
    last_seen_at: Time
    connections: int
    events_per_second: float
    ready: bool


class Processes(Answer):
    """All live processes, by role and age."""

    processes: list[Process]
