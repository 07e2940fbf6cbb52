"""Which forwarders and which epochs are of which race."""

from collections.abc import Collection
from typing import NamedTuple
from uuid import UUID

from api.races.types import Assignment, Mapping
from shared.db.connections import Pool, Statements, Transaction
from shared.db.errors import translated

__all__ = [
    "MOST_MAPPED",
    "Mapped",
    "Target",
    "assign",
    "assignment",
    "assignments",
    "epoch_now",
    "hold",
    "is_mapped",
    "map_epoch",
    "mappings",
    "race_of_epoch",
    "streams_of",
    "streams_of_race",
    "taken",
    "unassign",
    "unmap_epoch",
]

# Of a stream, by anybody's hand; and of a race, by what is shown of it.
MOST_MAPPED = 10_000

_ASSIGNMENTS = "SELECT forwarder_id, race_id FROM forwarder_races ORDER BY forwarder_id"
_ASSIGNMENT = "SELECT race_id FROM forwarder_races WHERE forwarder_id = $1"
# The race's row is held until the end: who deletes it waits, and then takes this with it.
_ASSIGN = """
WITH race AS MATERIALIZED (SELECT race_id FROM races WHERE race_id = $2 FOR KEY SHARE),
assigned AS (
    INSERT INTO forwarder_races AS known (forwarder_id, race_id)
    SELECT $1, race_id FROM race
    ON CONFLICT (forwarder_id) DO UPDATE SET race_id = excluded.race_id WHERE known.race_id <> excluded.race_id
    RETURNING 1
)
SELECT EXISTS (SELECT FROM race), EXISTS (SELECT FROM assigned)
"""
_UNASSIGN = "DELETE FROM forwarder_races WHERE forwarder_id = $1 RETURNING race_id"
# There may be no row that could be locked. $1: what of all the database's locks these are.
_HOLD = "SELECT pg_advisory_xact_lock($1, hashtext($2))"
_HELD = int.from_bytes(b"rtrm")

_MAP = """
WITH race AS MATERIALIZED (SELECT race_id FROM races WHERE race_id = $3 FOR KEY SHARE),
mapped AS (
    INSERT INTO epoch_races AS known (stream_id, stream_epoch, race_id)
    SELECT stream_id, $2, race.race_id FROM streams CROSS JOIN race
    WHERE stream_id = $1
      AND (SELECT count(*) FROM epoch_races AS other WHERE other.stream_id = $1) < $4
    ON CONFLICT (stream_id, stream_epoch) DO UPDATE SET race_id = excluded.race_id, mapped_at = clock_timestamp()
    WHERE known.race_id <> excluded.race_id
    RETURNING 1
)
SELECT EXISTS (SELECT FROM streams WHERE stream_id = $1), EXISTS (SELECT FROM race), EXISTS (SELECT FROM mapped),
       EXISTS (SELECT FROM epoch_races AS known
               WHERE known.stream_id = $1 AND known.stream_epoch = $2 AND known.race_id = $3)
"""
# Another race that has all of an epoch by a segment: nothing of it would be left.
_TAKEN = """
SELECT races.name FROM race_segments AS segment JOIN races USING (race_id)
WHERE segment.stream_id = $1 AND segment.race_id <> $3 AND (segment.from_epoch, segment.from_seq) <= ($2, 1)
  AND (segment.to_epoch IS NULL OR segment.to_epoch > $2)
"""
_RACE_OF_EPOCH = "SELECT race_id FROM epoch_races WHERE stream_id = $1 AND stream_epoch = $2"
_UNMAP = "SELECT unmap_epoch($1, $2)"
_MAPPINGS = """
SELECT stream_id, forwarder_id, reader_ip, epoch_races.stream_epoch, race_id
FROM epoch_races JOIN streams USING (stream_id)
WHERE race_id = $1
ORDER BY stream_id, epoch_races.stream_epoch
LIMIT $2
"""
_IS_MAPPED = "SELECT EXISTS (SELECT FROM epoch_races WHERE race_id = $1 AND stream_id = $2)"

# $2: the race that its current epoch may be of.
_EPOCH_NOW = """
SELECT stream_epoch, EXISTS (SELECT FROM epoch_races AS known
                             WHERE known.stream_id = $1 AND known.stream_epoch = streams.stream_epoch
                               AND known.race_id = $2) AS is_of_race
FROM streams WHERE stream_id = $1
"""

# What can begin: no device numbers what a reader's memory had.
_TARGET = """
SELECT stream_id, forwarder_id, reader_ip,
       stream_title(streams, forwarder_display_name IN (SELECT * FROM shared_names())) AS title
FROM streams
WHERE NOT is_memory(reader_ip)
"""
_STREAMS_OF = f"{_TARGET} AND stream_id = ANY($1::uuid[])"
# Those of its forwarders, and those that have an epoch of it.
_STREAMS_OF_RACE = f"""
{_TARGET}
AND (forwarder_id IN (SELECT forwarder_id FROM forwarder_races WHERE race_id = $1)
     OR stream_id IN (SELECT stream_id FROM epoch_races WHERE race_id = $1))
ORDER BY created_at, stream_id
"""  # noqa: S608 - of constants only


class Mapped(NamedTuple):
    """What became of a mapping: whether there are such a stream and such a race, whether it is another than before, and
    whether it holds now or was there already.
    """

    stream: bool
    race: bool
    changed: bool
    holds: bool


class Target(NamedTuple):
    """What it takes to command a stream to a new epoch."""

    stream_id: UUID
    forwarder_id: str
    reader_ip: str
    title: str


async def assignments(pool: Pool) -> list[Assignment]:
    """Return the forwarders that have a race, by id."""
    with translated():
        return [Assignment(**row) for row in await pool.fetch(_ASSIGNMENTS)]


async def hold(connection: Transaction, what: str) -> None:
    """Let nobody else give that forwarder, or that epoch, a race until the transaction ends. (A gateway that gives a
    new epoch to a race does not ask; that epoch is nobody's yet.)
    """
    with translated():
        await connection.execute(_HOLD, _HELD, what)


async def assignment(database: Statements, forwarder_id: str) -> UUID | None:
    """Return the race of a forwarder; None when it has none."""
    with translated():
        race_id: UUID | None = await database.fetchval(_ASSIGNMENT, forwarder_id)
    return race_id


async def assign(database: Statements, forwarder_id: str, race_id: UUID) -> tuple[bool, bool]:
    """Give a forwarder a race; return whether there is such a race, and whether it was another."""
    with translated():
        exists, changed = await database.fetchrow(_ASSIGN, forwarder_id, race_id) or (False, False)
    return exists, changed


async def unassign(database: Statements, forwarder_id: str) -> bool:
    """Let a forwarder have no race; false when it had none."""
    with translated():
        return await database.fetchval(_UNASSIGN, forwarder_id) is not None


async def race_of_epoch(database: Statements, stream_id: UUID, epoch: int) -> UUID | None:
    """Return the race that an epoch was given to; None: to none of its own."""
    with translated():
        race_id: UUID | None = await database.fetchval(_RACE_OF_EPOCH, stream_id, epoch)
    return race_id


async def map_epoch(database: Statements, stream_id: UUID, epoch: int, race_id: UUID) -> Mapped:
    """Let an epoch be of a race."""
    with translated():
        row = await database.fetchrow(_MAP, stream_id, epoch, race_id, MOST_MAPPED)
    stream, race, changed, held = row or (False, False, False, False)
    # What the statement sees is older than what it does.
    return Mapped(stream, race, changed, changed or held)


async def taken(database: Statements, stream_id: UUID, epoch: int, race_id: UUID) -> str | None:
    """Return the name of another race that has all of an epoch by a segment of its own; None: there is none."""
    with translated():
        name: str | None = await database.fetchval(_TAKEN, stream_id, epoch, race_id)
    return name


async def unmap_epoch(database: Statements, stream_id: UUID, epoch: int) -> bool:
    """Take an epoch out of its race; false when it was in none."""
    with translated():
        return bool(await database.fetchval(_UNMAP, stream_id, epoch))


async def mappings(pool: Pool, race_id: UUID) -> list[Mapping]:
    """Return the epochs of a race, by stream and epoch."""
    with translated():
        return [Mapping(**row) for row in await pool.fetch(_MAPPINGS, race_id, MOST_MAPPED)]


async def is_mapped(pool: Pool, race_id: UUID, stream_id: UUID) -> bool:
    """Whether any epoch of a stream is of a race."""
    with translated():
        return bool(await pool.fetchval(_IS_MAPPED, race_id, stream_id))


async def epoch_now(pool: Pool, stream_id: UUID, race_id: UUID) -> tuple[int, bool] | None:
    """Return the epoch of a stream and whether it is given to a race; None when there is no such stream."""
    with translated():
        row = await pool.fetchrow(_EPOCH_NOW, stream_id, race_id)
    return None if row is None else (row["stream_epoch"], row["is_of_race"])


async def streams_of(pool: Pool, stream_ids: Collection[UUID]) -> dict[UUID, Target]:
    """Return those of the streams that there are."""
    with translated():
        return {row["stream_id"]: Target(*row) for row in await pool.fetch(_STREAMS_OF, list(stream_ids))}


async def streams_of_race(pool: Pool, race_id: UUID) -> dict[UUID, Target]:
    """Return the streams of a race's forwarders, and those with an epoch of it, in order of creation."""
    with translated():
        return {row["stream_id"]: Target(*row) for row in await pool.fetch(_STREAMS_OF_RACE, race_id)}
