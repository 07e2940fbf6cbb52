"""What is known of pieces of epochs beside their events: counts, changes, receivers, conflicts, forwarders."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import asyncpg

from api.certificate.ranges import Range
from api.certificate.store.parts import Part
from shared.db.connections import LARGEST_BIGINT, Statements
from shared.db.errors import translated

__all__ = ["Change", "Facts", "Forwarder", "Receiver", "StreamSum", "facts", "now", "sums"]

# When the transaction began, which is just before what it sees: whatever came since is not in it.
_NOW = "SELECT now()"

# Of each part: $1 streams, $2 epochs, $3 and $4 numbers from one up to and without another; parts are told apart by
# their places.
_ASKED = """
WITH asked AS MATERIALIZED (
    SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[])
        WITH ORDINALITY AS part(stream_id, stream_epoch, from_seq, to_seq, place)
)
"""

# all_missing: the kept list of gaps has all of them. A dead letter is of the part where any of its numbers is. Heard
# of: as the page of devices says it.
_FACTS = f"""{_ASKED}, shared AS MATERIALIZED (SELECT * FROM shared_names() AS name)
SELECT streams.forwarder_id, streams.reader_ip, names.name AS epoch_name,
       stream_title(streams, streams.forwarder_display_name IN (SELECT name FROM shared)) AS title,
       counted.dedup_count, coalesce(counted.retransmit_count, 0) AS retransmit_count, counted.last_seq,
       counted.missing,
       coalesce(numbers_in(counted.missing) = counted.last_seq - counted.dedup_count, false) AS all_missing,
       conflicts.*, letters.dead_letter_count, noted.deleted_count,
       live.forwarder_id IS NOT NULL AS connected, session.connected_at, session.ended_at,
       greatest(session.connected_at, session.ended_at, heard.last_received_at,
                CASE WHEN session.ended_at IS NULL THEN gateway.last_seen_at END) AS last_heard_at
FROM asked
JOIN streams USING (stream_id)
LEFT JOIN stream_metrics AS counted
    ON counted.stream_id = asked.stream_id AND counted.stream_epoch = asked.stream_epoch
LEFT JOIN epoch_names AS names
    ON names.stream_id = asked.stream_id AND names.stream_epoch = asked.stream_epoch
LEFT JOIN forwarder_sessions AS session ON session.forwarder_id = streams.forwarder_id
LEFT JOIN processes AS gateway ON gateway.process_id = session.gateway_id
LEFT JOIN live_forwarder_sessions AS live ON live.forwarder_id = streams.forwarder_id
CROSS JOIN LATERAL (
    SELECT max(last_received_at) AS last_received_at FROM stream_metrics
    WHERE stream_metrics.stream_id = asked.stream_id
) AS heard
CROSS JOIN LATERAL (
    SELECT count(*) AS conflict_count, count(*) FILTER (WHERE acknowledged_at IS NULL) AS open_conflict_count
    FROM integrity_conflicts AS conflict
    WHERE conflict.stream_id = asked.stream_id AND conflict.stream_epoch = asked.stream_epoch
      AND conflict.seq >= asked.from_seq AND conflict.seq < asked.to_seq
) AS conflicts
CROSS JOIN LATERAL (
    SELECT coalesce(sum(event_count), 0)::bigint AS deleted_count FROM event_changes AS change
    WHERE change.stream_id = asked.stream_id AND change.stream_epoch = asked.stream_epoch AND change.kind = 'deleted'
) AS noted
CROSS JOIN LATERAL (
    SELECT count(*) AS dead_letter_count FROM poisoned_parts AS letter
    WHERE letter.stream_id = asked.stream_id AND letter.stream_epoch = asked.stream_epoch
      AND EXISTS (SELECT FROM unnest(letter.seqs) AS seq WHERE seq >= asked.from_seq AND seq < asked.to_seq)
) AS letters
ORDER BY asked.place
"""  # noqa: S608 - of constants only

# Those that can concern the part, a kind as one: an administrator may have made any number of them.
_CHANGES = f"""{_ASKED}
SELECT asked.place, change.kind, sum(change.event_count)::bigint AS events, min(change.first_seq) AS first_seq,
       max(change.last_seq) AS last_seq, max(change.noted_at) AS noted_at,
       bool_or(change.first_seq >= asked.from_seq AND change.last_seq < asked.to_seq) AS within
FROM asked
JOIN event_changes AS change
    ON change.stream_id = asked.stream_id AND change.stream_epoch = asked.stream_epoch
   AND change.last_seq >= asked.from_seq AND change.first_seq < asked.to_seq
GROUP BY asked.place, change.kind
ORDER BY asked.place, change.kind
"""  # noqa: S608 - of constants only

# Who is connected and follows the stream, who is missed, and who has acked any of the epoch. Which epochs it wants says
# who is connected: of one that is gone it may be of before, when the epoch was not yet given to its race. What is owed
# is told by counts where the part is all of the epoch, and where nothing is; else by each event: what is numbered above
# the cursor, along the key alone, and what came below it since. Of those that nobody waits for, who may be any number,
# nothing is counted: of them it is of the whole epoch.
_RECEIVERS = f"""{_ASKED},
live AS MATERIALIZED (
    SELECT receiver_id, unnest(stream_ids) AS stream_id FROM live_receiver_sessions
)
SELECT asked.place, named.receiver_id, named.connected, named.expected, plan.wanted,
       nullif(cursors.last_seq, 0) AS acked_seq,
       CASE WHEN whole.owed = 0 OR NOT named.expected
                 OR (asked.from_seq = 1 AND asked.to_seq = 9223372036854775807) THEN whole.owed
            ELSE (SELECT count(*) FROM (
                      SELECT FROM events AS event
                      WHERE event.stream_id = asked.stream_id AND event.stream_epoch = asked.stream_epoch
                        AND event.seq > greatest(asked.from_seq - 1, coalesce(cursors.last_seq, 0))
                        AND event.seq < asked.to_seq
                      ORDER BY event.stream_id, event.stream_epoch, event.seq
                      OFFSET 0) AS above)
                 + (SELECT count(*) FROM (
                      SELECT event.position FROM events AS event
                      WHERE event.stream_id = asked.stream_id AND event.stream_epoch = asked.stream_epoch
                        AND event.seq >= asked.from_seq
                        AND event.seq < least(asked.to_seq, coalesce(cursors.last_seq, 0) + 1)
                      ORDER BY event.stream_id, event.stream_epoch, event.seq
                      OFFSET 0) AS below
                    WHERE below.position > cursors.position) END AS owed
FROM asked
CROSS JOIN LATERAL (
    SELECT receiver_id, bool_or(connected) AS connected, bool_or(expected) AS expected, max(gone_since) AS gone_since
    FROM (
        SELECT receiver_id, true AS connected, true AS expected, NULL::timestamptz AS gone_since
        FROM live WHERE live.stream_id = asked.stream_id
        UNION ALL
        SELECT receiver_id, false, true, gone_since FROM subscriptions AS missed
        WHERE missed.stream_id = asked.stream_id
        UNION ALL
        SELECT receiver_id, false, false, NULL FROM receiver_cursors AS acked
        WHERE acked.stream_id = asked.stream_id AND acked.stream_epoch = asked.stream_epoch AND acked.last_seq > 0
    ) AS either
    GROUP BY receiver_id
) AS named
LEFT JOIN stream_metrics AS epoch
    ON epoch.stream_id = asked.stream_id AND epoch.stream_epoch = asked.stream_epoch
LEFT JOIN receiver_cursors AS cursors
    ON cursors.receiver_id = named.receiver_id AND cursors.stream_id = asked.stream_id
   AND cursors.stream_epoch = asked.stream_epoch
LEFT JOIN epoch_races AS mapped
    ON mapped.stream_id = asked.stream_id AND mapped.stream_epoch = asked.stream_epoch
CROSS JOIN LATERAL (
    SELECT coalesce(cursors.wanted, true) OR (NOT named.connected AND mapped.mapped_at > named.gone_since) IS TRUE
        AS wanted
) AS plan
CROSS JOIN LATERAL (
    SELECT CASE WHEN epoch.stream_id IS NULL OR NOT plan.wanted THEN 0
                WHEN cursors.event_count IS NULL THEN events_above(epoch, coalesce(cursors.last_seq, 0))
                ELSE greatest(0, epoch.dedup_count - cursors.event_count) END AS owed
) AS whole
ORDER BY asked.place, named.receiver_id
"""  # noqa: S608 - of constants only

# Of whole streams ($1), whatever is asked for: all events that are there, along the key, and all that are noted as
# deleted. Positions are handed out without gaps: together they must make the last one. Epochs are found one after the
# other, each by a look at the key; those that were counted already ($2 streams, $3 epochs) are not counted again.
_SUMS = """
SELECT streams.stream_id, streams.last_position, there.stream_epochs, there.event_counts,
       coalesce((SELECT sum(event_count) FROM event_changes AS change
                 WHERE change.stream_id = streams.stream_id AND change.kind = 'deleted'), 0)::bigint AS deleted
FROM streams
CROSS JOIN LATERAL (
    WITH RECURSIVE epochs (stream_epoch) AS (
        (SELECT event.stream_epoch FROM events AS event WHERE event.stream_id = streams.stream_id
         ORDER BY event.stream_epoch, event.seq LIMIT 1)
        UNION ALL
        SELECT (SELECT event.stream_epoch FROM events AS event
                WHERE event.stream_id = streams.stream_id AND event.stream_epoch > epochs.stream_epoch
                ORDER BY event.stream_epoch, event.seq LIMIT 1)
        FROM epochs WHERE epochs.stream_epoch IS NOT NULL
    )
    SELECT coalesce(array_agg(epochs.stream_epoch), '{}') AS stream_epochs,
           coalesce(array_agg(
               CASE WHEN NOT EXISTS (SELECT FROM unnest($2::uuid[], $3::bigint[]) AS known(stream_id, stream_epoch)
                                     WHERE known.stream_id = streams.stream_id
                                       AND known.stream_epoch = epochs.stream_epoch)
                    THEN (SELECT count(*)
                          FROM (SELECT FROM events AS event
                                WHERE event.stream_id = streams.stream_id
                                  AND event.stream_epoch = epochs.stream_epoch
                                ORDER BY event.stream_id, event.stream_epoch, event.seq
                                OFFSET 0) AS counted) END), '{}') AS event_counts
    FROM epochs WHERE epochs.stream_epoch IS NOT NULL
) AS there
WHERE streams.stream_id = ANY($1::uuid[])
"""


class Change(NamedTuple):
    """What was deleted or changed of a part, or across its bounds. within: some of it was within them for sure."""

    kind: str
    events: int
    first_seq: int
    last_seq: int
    noted_at: datetime
    within: bool


class Receiver(NamedTuple):
    """What a receiver has of an epoch, and of the part is owed, and whether anybody waits for it."""

    receiver_id: str
    connected: bool
    expected: bool
    wanted: bool
    acked_seq: int | None
    owed: int


class Forwarder(NamedTuple):
    """The last session of a forwarder, and when it was heard of last."""

    connected: bool
    connected_at: datetime | None
    ended_at: datetime | None
    last_heard_at: datetime | None


class Facts(NamedTuple):
    """What is known of a part. dedup_count, last_seq: as the writer counted its epoch, None where it has no counts.
    never_came: numbers that never came, by those counts; None where they are not all known. deleted_count: how many
    events of the whole epoch are noted as deleted.
    """

    forwarder_id: str
    reader_ip: str
    title: str
    epoch_name: str | None
    dedup_count: int | None
    last_seq: int | None
    never_came: list[Range] | None
    retransmit_count: int
    conflict_count: int
    open_conflict_count: int
    dead_letter_count: int
    deleted_count: int
    forwarder: Forwarder
    changes: list[Change]
    receivers: list[Receiver]


class StreamSum(NamedTuple):
    """All of a stream: its last position, how many events of each epoch are there, and how many are noted as
    deleted.
    """

    last_position: int
    events: dict[int, int]
    deleted: int

    @property
    def vanished(self) -> int:
        """How many events are gone of which nobody told; below 0: so many are there that no drain has stored."""
        return self.last_position - sum(self.events.values()) - self.deleted


async def now(database: Statements) -> datetime:
    """Return the time by the database's clock."""
    with translated():
        found: datetime = await database.fetchval(_NOW)
    return found


async def facts(database: Statements, parts: Sequence[Part]) -> list[Facts]:
    """Return what is known of each part."""
    asked = (
        [each.stream_id for each in parts],
        [each.stream_epoch for each in parts],
        [each.from_seq for each in parts],
        [LARGEST_BIGINT if each.to_seq is None else each.to_seq for each in parts],
    )
    changes: dict[int, list[Change]] = defaultdict(list)
    receivers: dict[int, list[Receiver]] = defaultdict(list)
    with translated():
        rows = await database.fetch(_FACTS, *asked)
        for place, *change in await database.fetch(_CHANGES, *asked):
            changes[place].append(Change(*change))
        for place, *receiver in await database.fetch(_RECEIVERS, *asked):
            receivers[place].append(Receiver(*receiver))
    return [_facts(row, changes[place], receivers[place]) for place, row in enumerate(rows, start=1)]


def _facts(row: "asyncpg.Record", changes: list[Change], receivers: list[Receiver]) -> Facts:
    fields = {name: row[name] for name in Facts._fields if name in row}
    gaps = [(gap.lower, gap.upper - 1) for gap in row["missing"] or ()]
    forwarder = Forwarder(*(row[name] for name in Forwarder._fields))
    return Facts(
        **fields,
        never_came=gaps if row["all_missing"] else None,
        forwarder=forwarder,
        changes=changes,
        receivers=receivers,
    )


async def sums(
    database: Statements, stream_ids: Sequence[UUID], known: Mapping[tuple[UUID, int], int]
) -> dict[UUID, StreamSum]:
    """Return what there is of whole streams, all of it counted. known: what was counted already, by stream and
    epoch.
    """
    of, epochs = [stream_id for stream_id, _ in known], [epoch for _, epoch in known]
    with translated():
        rows = await database.fetch(_SUMS, stream_ids, of, epochs)
    return {
        row["stream_id"]: StreamSum(
            row["last_position"],
            {
                epoch: known[row["stream_id"], epoch] if count is None else count
                for epoch, count in zip(row["stream_epochs"], row["event_counts"], strict=True)
            },
            row["deleted"],
        )
        for row in rows
    }
