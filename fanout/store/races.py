"""Which epochs of which streams are of a race."""

from collections import defaultdict
from collections.abc import Collection, Iterable
from typing import NamedTuple
from uuid import UUID

from asyncpg import Record

from shared.db.connections import Pool
from shared.db.errors import translated
from shared.protocol.v1 import StreamRef

__all__ = ["MAPPINGS", "UNKNOWN", "RaceMapping", "read_mappings"]

# OFFSET 0 keeps each look-up what it is: races have few epochs among all, and statistics of the first hour of a race
# say nothing of the last (routines/drain.sql).
MAPPINGS = """
SELECT named.race_id, known.race_id IS NOT NULL AS is_known, stream.forwarder_id, stream.reader_ip,
       mapped.stream_epoch
FROM unnest($1::uuid[]) AS named(race_id)
LEFT JOIN LATERAL (
    SELECT races.race_id FROM races
    WHERE races.race_id >= named.race_id AND races.race_id <= named.race_id
    ORDER BY races.race_id DESC LIMIT 1
) AS known ON true
LEFT JOIN LATERAL (
    SELECT epoch_races.stream_id, epoch_races.stream_epoch FROM epoch_races
    WHERE epoch_races.race_id = named.race_id
    OFFSET 0
) AS mapped ON true
LEFT JOIN LATERAL (
    SELECT streams.forwarder_id, streams.reader_ip FROM streams
    WHERE streams.stream_id >= mapped.stream_id AND streams.stream_id <= mapped.stream_id
    ORDER BY streams.stream_id DESC LIMIT 1
) AS stream ON true
"""


class RaceMapping(NamedTuple):
    """Whether there is such a race, and its epochs by stream: {StreamRef("start", "10.0.0.1:10000"): {1, 3}}."""

    is_known: bool
    epochs: dict[StreamRef, frozenset[int]]


UNKNOWN = RaceMapping(False, {})


async def read_mappings(pool: Pool, race_ids: Collection[UUID]) -> dict[UUID, RaceMapping]:
    """Return the mappings of races, also of those that do not exist."""
    with translated():
        rows = await pool.fetch(MAPPINGS, list(race_ids))
    return _mappings(rows)


def _mappings(rows: Iterable[Record]) -> dict[UUID, RaceMapping]:
    known: dict[UUID, bool] = {}
    epochs: dict[UUID, defaultdict[StreamRef, set[int]]] = {}
    for row in rows:
        known[row["race_id"]] = row["is_known"]
        of_race = epochs.setdefault(row["race_id"], defaultdict(set))
        if row["reader_ip"] is not None:
            of_race[StreamRef(row["forwarder_id"], row["reader_ip"])].add(row["stream_epoch"])
    return {
        race_id: RaceMapping(is_known, {ref: frozenset(of) for ref, of in epochs[race_id].items()})
        for race_id, is_known in known.items()
    }
