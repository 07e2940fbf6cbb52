"""Races: made, named, looked at, deleted."""

from datetime import datetime
from typing import Any, Literal, NamedTuple
from uuid import UUID

from msgspec import UNSET, UnsetType

from api.races.types import MappedEpoch, Race, RaceDetails
from shared.db.connections import Pool, Statements, Transaction
from shared.db.errors import translated

__all__ = [
    "MOST_RACES",
    "Patch",
    "add",
    "delete",
    "details",
    "find",
    "hold",
    "is_to_come",
    "list_races",
    "name_of",
    "patch",
    "start_clock",
]

# Who looks at races looks at all of them.
MOST_RACES = 1000

# Whoever makes a race has seen that it has nobody: until then its roster is as old as the race.
_RACE = """race_id, name, created_at, participants_until, gun_at,
       coalesce(roster_changed_at, created_at) AS roster_changed_at"""
# Each table is counted once, whatever the number of races.
_LIST = f"""
SELECT {_RACE}, coalesce(people.found, 0) AS participant_count, coalesce(worn.found, 0) AS chip_count
FROM races
LEFT JOIN (SELECT race_id, count(*) AS found FROM participants GROUP BY race_id) AS people USING (race_id)
LEFT JOIN (SELECT race_id, count(*) AS found FROM chips GROUP BY race_id) AS worn USING (race_id)
ORDER BY created_at DESC, race_id DESC
"""  # noqa: S608 - of constants only
_FIND = f"""
SELECT {_RACE},
       (SELECT count(*) FROM participants WHERE participants.race_id = $1) AS participant_count,
       (SELECT count(*) FROM chips WHERE chips.race_id = $1) AS chip_count
FROM races WHERE race_id = $1
"""  # noqa: S608 - of constants only
_NAME = "SELECT name FROM races WHERE race_id = $1"

# Unmatched: of a chip's bibs the first alone decides, as it does for reads. Unknown: by what has been
# seen in what is given to it, which the writer keeps, so that no event is counted.
_DETAILS = """
SELECT (SELECT count(*) FROM chips
        WHERE race_id = $1 AND is_owner
          AND NOT EXISTS (SELECT FROM participants
                          WHERE participants.race_id = $1 AND participants.bib = chips.bib)) AS unmatched_count,
       (SELECT count(DISTINCT chip_id) FROM chips WHERE race_id = $1 AND NOT is_owner) AS ambiguous_count,
       (SELECT count(DISTINCT tag_id) FROM chips_of_race($1) AS seen
        WHERE rule <> 'forwarder'
          AND NOT EXISTS (SELECT FROM chips WHERE chips.race_id = $1 AND chips.chip_id = seen.tag_id)
       ) AS unknown_chip_count,
       ARRAY(SELECT forwarder_id FROM forwarder_races WHERE race_id = $1 ORDER BY forwarder_id) AS forwarder_ids
"""
_MAPPED = """
SELECT stream_id, stream_epoch FROM epoch_races WHERE race_id = $1 ORDER BY stream_id, stream_epoch
"""

_ADD = f"""
INSERT INTO races (name)
SELECT $1 WHERE (SELECT count(*) FROM races) < $2
RETURNING {_RACE}, 0 AS participant_count, 0 AS chip_count
"""  # noqa: S608 - of constants only
# $2, $4, $6: whether $3, $5 and $7 are wanted.
_PATCH = """
UPDATE races SET name = CASE WHEN $2 THEN $3 ELSE name END,
                 participants_until = CASE WHEN $4 THEN $5 ELSE participants_until END,
                 gun_at = CASE WHEN $6 THEN $7 ELSE gun_at END
WHERE race_id = $1
"""
# By the clock that removes people.
_IS_TO_COME = "SELECT $1::timestamptz > clock_timestamp()"
_HOLD = "SELECT FROM races WHERE race_id = $1 FOR NO KEY UPDATE"
# $2: seconds since it began. Told once more, for those that had not begun, it began when it did.
_START_CLOCK = """
UPDATE races SET gun_at = clock_timestamp() - make_interval(secs => $2) WHERE race_id = $1 AND gun_at IS NULL
"""
_DELETE = "SELECT delete_races($1)"


class Patch(NamedTuple):
    """What of a race is to be another; UNSET: nothing of it. Null is a time that nobody has said."""

    name: str | UnsetType = UNSET
    participants_until: datetime | UnsetType | None = UNSET
    gun_at: datetime | UnsetType | None = UNSET


async def list_races(pool: Pool) -> list[Race]:
    """Return all races, the newest first."""
    with translated():
        return [Race(**row) for row in await pool.fetch(_LIST)]


async def find(database: Statements, race_id: UUID) -> Race | None:
    """Return a race; None when there is none of this id."""
    with translated():
        row = await database.fetchrow(_FIND, race_id)
    return None if row is None else Race(**row)


async def name_of(database: Statements, race_id: UUID) -> str | None:
    """Return what a race is called; None when there is none of this id."""
    with translated():
        name: str | None = await database.fetchval(_NAME, race_id)
    return name


async def details(pool: Pool, race_id: UUID) -> RaceDetails | None:
    """Return a race with what belongs to it; None when there is none of this id."""
    race = await find(pool, race_id)
    if race is None:
        return None
    with translated():
        found: Any = await pool.fetchrow(_DETAILS, race_id)
        mapped = await pool.fetch(_MAPPED, race_id)
    fields = {name: getattr(race, name) for name in Race.__struct_fields__}
    return RaceDetails(**fields, **found, mapped_epochs=[MappedEpoch(**row) for row in mapped])


async def add(database: Statements, name: str) -> Race | None:
    """Make a race; None when there are as many as there may be."""
    with translated():
        row = await database.fetchrow(_ADD, name, MOST_RACES)
    return None if row is None else Race(**row)


async def hold(connection: Transaction, race_id: UUID) -> Race | None:
    """Return a race that stays as it is until the transaction ends; None when there is none of this id."""
    with translated():
        await connection.execute(_HOLD, race_id)
    # A statement of its own: it sees what whoever held the row before us has done.
    return await find(connection, race_id)


async def is_to_come(connection: Transaction, at: datetime) -> bool:
    """Whether a time is still to come."""
    with translated():
        return bool(await connection.fetchval(_IS_TO_COME, at))


async def patch(database: Statements, race_id: UUID, wanted: Patch) -> None:
    """Change what is wanted of a race."""
    # Each with whether it is wanted at all, because null is a value.
    given = (each for value in wanted for each in (value is not UNSET, None if value is UNSET else value))
    with translated():
        await database.execute(_PATCH, race_id, *given)


async def start_clock(database: Statements, race_id: UUID, *, ago_s: float) -> None:
    """Let the clock of a race go since then, unless somebody has said since when it goes."""
    with translated():
        await database.execute(_START_CLOCK, race_id, ago_s)


async def delete(database: Statements, race_id: UUID | None) -> Literal["deleted", "absent", "followed"]:
    """Delete a race, or all of them, with what belongs to it; say what became of that."""
    with translated():
        outcome: Literal["deleted", "absent", "followed"] = await database.fetchval(_DELETE, race_id)
    return outcome
