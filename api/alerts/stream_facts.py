"""Facts of streams, which six rules share: one statement reads them, for all that any of those may say."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import asyncpg

from api.alerts.conditions import Condition, Finding, Key, Owner
from api.mats.store.kept import WATCHED_STREAMS
from api.streams.columns import OPEN_CONFLICTS
from shared.db.connections import Connection

__all__ = ["ClockFacts", "StreamFacts", "of_stream", "statement", "streams"]


class ClockFacts(NamedTuple):
    """A reader's clock. offset_ms: reader's minus ours, None where the zone is not known. ahead_ms: its wall clock
    minus UTC's, or minus that of the zone that is given; None when no live read has told. shows: its wall clock when
    the last read came, which was `told_at`. stepped_at: when it was set, if that is some minutes ago; was_ms: its
    offset before, or `ahead_ms` where the zone is not known.
    """

    offset_ms: int | None = None
    ahead_ms: int | None = None
    shows: datetime | None = None
    stepped_at: datetime | None = None
    was_ms: int | None = None
    told_at: datetime | None = None
    drift_ppm: float | None = None
    drift_error_ppm: float | None = None


class StreamFacts(NamedTuple):
    """A stream, in its current epoch. median_gap_s, longest_gap_s: between its newest reads. closed: nobody expects a
    read of it. reader_connected: its forwarder has not said otherwise. at_point: it stands at a point of a race, where
    who is due says whether it is silent.
    """

    stream_id: UUID
    title: str
    owner: Owner
    stream_epoch: int
    online: bool
    last_received_at: datetime | None
    median_gap_s: float
    reads: int
    missing_count: int
    unparsed_count: int
    open_conflicts: int
    clock: ClockFacts
    longest_gap_s: float = 0
    closed: bool = False
    reader_connected: bool = True
    at_point: bool = False


# Only streams of which something may be said, or of which something was: a device has as many as it likes, and most of
# them are well. Each rule says what it wants to see, of the tables `epoch` (stream_metrics), `sample`, `clock` and
# `closed`, and of `now` and `conflicts`. Whose last read is a week old is waited for no more: readers' addresses change
# over the years. Of conflicts no more than 1,000 are counted. Of what a reader's memory had
# nobody expects a read either.
_STREAMS = f"""
WITH live AS MATERIALIZED (SELECT forwarder_id FROM live_forwarder_sessions),
watched AS MATERIALIZED ({WATCHED_STREAMS})
SELECT stream_id, stream_title(streams, is_shared) AS title, forwarder_id,
       forwarder_title(forwarder_id, forwarder_display_name, is_shared) AS forwarder_title, stream_epoch, now.online,
       now.last_received_at, coalesce(sample.gap_s, 0)::float AS median_gap_s,
       coalesce(sample.longest_gap_s, 0)::float AS longest_gap_s,
       closed.stream_id IS NOT NULL OR is_memory(reader_ip) AS closed,
       now.reader_connected, now.at_point, coalesce(epoch.dedup_count, 0) AS reads,
       coalesce(epoch.last_seq - epoch.dedup_count, 0) AS missing_count,
       coalesce(epoch.unparsed_count, 0) AS unparsed_count,
       conflicts.count AS open_conflicts,
       clock.offset_ms AS clock_offset_ms, clock.ahead_ms AS clock_ahead_ms,
       clock.told_at AT TIME ZONE coalesce(clock.zone, 'UTC') + clock.ahead_ms * interval '1 millisecond'
           AS clock_shows,
       CASE WHEN clock.stepped_at > now() - interval '5 minutes' THEN clock.stepped_at END AS clock_stepped_at,
       clock.was_ms - coalesce(clock.zone_ms, 0) AS clock_was_ms,
       clock.told_at AS clock_told_at, clock.drift_ppm AS clock_drift_ppm,
       clock.drift_error_ppm AS clock_drift_error_ppm
FROM streams
LEFT JOIN stream_metrics AS epoch USING (stream_id, stream_epoch)
LEFT JOIN stream_samples AS sample USING (stream_id)
LEFT JOIN reader_clocks AS clock USING (stream_id)
LEFT JOIN closed_streams AS closed USING (stream_id)
LEFT JOIN reported_readers AS reader USING (forwarder_id, reader_ip)
CROSS JOIN LATERAL (SELECT forwarder_display_name IN (SELECT * FROM shared_names())) AS named(is_shared)
CROSS JOIN LATERAL (
    SELECT forwarder_id IN (SELECT forwarder_id FROM live),
           CASE WHEN epoch.dedup_count > 0 AND epoch.last_received_at > now() - interval '7 days'
                THEN epoch.last_received_at END,
           coalesce(reader.connected, true),
           stream_id IN (SELECT stream_id FROM watched)
) AS now(online, last_received_at, reader_connected, at_point)
{OPEN_CONFLICTS}
"""  # noqa: S608 - of constants only
_KNOWN = "stream_id IN (SELECT stream_id FROM troubles WHERE subject_kind = 'stream' AND ended_at IS NULL)"


async def streams(connection: Connection, wanted: Sequence[str]) -> Sequence[StreamFacts]:
    """Return the streams of which one of the conditions `wanted` holds, and those that have an alert."""
    return [_stream(row) for row in await connection.fetch(statement(wanted))]


def statement(wanted: Sequence[str]) -> str:
    """Return what reads them; each condition stands alone, whatever AND and OR there is in it."""
    return _STREAMS + "WHERE " + "\n   OR ".join(f"({condition})" for condition in (*wanted, _KNOWN))


def of_stream(
    signal: str,
    facts: StreamFacts,
    conditions: Sequence[Condition],
    advice: str,
    cleared: str,
    *,
    outlives_epoch: bool = False,
) -> Finding:
    """Return a finding of a stream: of its current epoch, unless a new epoch settles nothing."""
    epoch = None if outlives_epoch else facts.stream_epoch
    key = Key(signal, "stream", str(facts.stream_id), facts.stream_id)
    return Finding(key, facts.title, conditions, advice, cleared, epoch, facts.owner)


def _stream(row: asyncpg.Record) -> StreamFacts:
    fields = dict(row)
    clock = ClockFacts(**{name: fields.pop(f"clock_{name}") for name in ClockFacts._fields})
    owner = Owner("forwarder", fields.pop("forwarder_id"), fields.pop("forwarder_title"))
    return StreamFacts(**fields, owner=owner, clock=clock)
