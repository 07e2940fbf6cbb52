"""The dashboard's first page."""

from uuid import UUID

from api.alerts.conditions import Level
from api.alerts.types import Alert, Mute, Quiet
from api.devices.types import Process
from api.http.types import Answer, Time

__all__ = [
    "Card",
    "CurrentVerdict",
    "Database",
    "Flow",
    "Overview",
    "RaceOn",
    "Verdict",
    "WatchedProcess",
]


class RaceOn(Answer):
    """A race that is on, and since when its clock goes."""

    race_id: UUID
    name: str
    gun_at: Time | None


class Verdict(Answer):
    """How things stand as a whole: the worst level, how many causes of alerts are open, each at its worst
    (watch, act), and of the worst the oldest. What is acknowledged, muted or about to clear is open too, and
    counted apart. How many streams there are, of how many the forwarder is connected, how many are closed, and
    how many reads their current epochs miss; flows: how many streams receivers follow, each receiver counted.
    races: those that streams with a connected forwarder are in, by name. The overview lists no more than 500 of
    each.
    """

    level: Level
    watch: int
    act: int
    since: Time | None
    headline: str | None
    acknowledged: int
    muted: int
    clearing: int
    streams: int
    online: int
    closed: int
    missing: int
    flows: int
    races: list[RaceOn]


class Card(Answer):
    """A stream. Counts, chips and last_received_at are of its current epoch, open_conflicts are of all its epochs
    (1,000 at the most). clock_offset: reader clock minus server clock; null where no live read has told, or where
    nobody knows the reader's zone. reader_connected: its forwarder is, and has not said otherwise of the reader. rate:
    events in 180 bins of 10 s, the newest complete one last; empty but in the overview. race: of its current epoch.
    closed_at: since when nobody expects a read of it, with how many came all the same. quiet: why nothing of what is
    wrong with it counts in the verdict.
    """

    stream_id: UUID
    forwarder_id: str
    reader_ip: str
    display_alias: str | None
    forwarder_display_name: str | None
    stream_epoch: int
    epoch_name: str | None
    online: bool
    online_since: Time | None
    reader_connected: bool
    created_at: Time
    race_id: UUID | None
    race_name: str | None
    closed_at: Time | None
    closed_by: str | None
    reads_since_closed: int
    level: Level
    quiet: Quiet | None
    reasons: list[str]
    last_received_at: Time | None
    epoch_reads: int
    unique_chips: int
    events_per_second: float
    missing_count: int
    retransmit_count: int
    conflict_count: int
    open_conflicts: int
    unparsed_count: int
    clock_offset_ms: int | None
    zone_unknown: bool
    last_tag_id: str | None
    rate: list[int]


class Flow(Answer):
    """How far a receiver is in a stream that it follows, or has followed: events that it has not acked, and how long
    ago the oldest of them came in.
    """

    receiver_id: str
    stream_id: UUID
    connected: bool
    subscribed: bool
    behind: int
    behind_seconds: float | None
    level: Level
    quiet: Quiet | None


class Database(Answer):
    """The database: how many parts of batches wait in it to be stored, and for how long the oldest; its size, and what
    is free on its disk where that can be known; its connections; how long it took to answer just now, and how long a
    commit of the writers usually takes, of the slowest of them; null when none stored anything within a minute.
    """

    level: Level
    quiet: Quiet | None
    waiting_parts: int
    waiting_s: float
    size_bytes: int
    free_bytes: int | None
    connections: int
    connections_max: int
    answer_ms: float
    commit_ms: float | None


class WatchedProcess(Process):
    """A process of the cluster, and its state; one that has died and is missed, too. problem: what is wrong with it, by
    its own word.
    """

    problem: str | None
    level: Level
    quiet: Quiet | None


class CurrentVerdict(Answer):
    """How things stand as a whole, at a moment: the first words of the overview, for whom all of it is too much."""

    at: Time
    time_zone: str | None
    verdict: Verdict


class Overview(Answer):
    """All of the first page, of one moment. Events that come after last_event_id are not in it yet. Streams: at most
    500, those first of which something is wrong, then those that read within a day, then the newest; events tell of
    these only. Flow: at most 500 rows, those first that are behind. Alerts: the worst 500, and some that are over.
    Mutes: all that hold.
    rates_bin: the number of the bin that is the newest in each stream's rate, in tens of seconds since 1970.
    time_zone: the zone of the IANA database that times are to be shown in (the setting TIME_ZONE); null: the viewer's.
    """

    at: Time
    time_zone: str | None
    last_event_id: str
    verdict: Verdict
    streams: list[Card]
    flow: list[Flow]
    troubles: list[Alert]
    mutes: list[Mute]
    processes: list[WatchedProcess]
    database: Database
    rates_bin: int
