"""Who runs in a race, and whose chip is whose: replaced whole, or not at all."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple, TypeAlias
from uuid import UUID

from api.races.types import UnknownChip
from shared.db.connections import Pool, Transaction
from shared.db.errors import translated

__all__ = [
    "UNKNOWN_CHIPS",
    "Forgotten",
    "Kind",
    "Replaced",
    "changed_at",
    "forget",
    "hold",
    "remove_participant",
    "replace",
    "roster",
    "unknown_chips",
]

# Of a roster, and what its table is called.
Kind: TypeAlias = Literal["participants", "chips"]

UNKNOWN_CHIPS = 500

# Whoever makes a race has seen that it has nobody: until then its roster is as old as the race.
_CHANGED_AT = "SELECT coalesce(roster_changed_at, created_at) FROM races WHERE race_id = $1"
# Two imports of a race queue here, and who deletes it waits. NO KEY: a forwarder that is given the race, an epoch that
# is reserved for it and a receiver that follows it refer to the row, and plain FOR UPDATE would have them wait until
# fifty thousand people are stored.
# What it returns is what is so once it is held: who waited for another import sees the time of that one.
_LOCK = f"{_CHANGED_AT} FOR NO KEY UPDATE"
_EMPTY: dict[Kind, str] = {
    "participants": "DELETE FROM participants WHERE race_id = $1",
    "chips": "DELETE FROM chips WHERE race_id = $1",
}
_COLUMNS: dict[Kind, list[str]] = {
    "participants": ["race_id", "bib", "first_name", "last_name", "affiliation", "gender"],
    "chips": ["race_id", "chip_id", "bib", "line", "is_owner"],
}
# By the clock, not by the transaction's beginning: two imports that queue leave two times. $2: in how many days people
# are to be removed who were imported without a word about it; 0: never. `before` is of a row that we hold: nobody has
# changed it since.
_CHANGED = """
UPDATE races SET roster_changed_at = clock_timestamp(),
                 participants_until = CASE WHEN $2::integer > 0
                                           THEN coalesce(before.participants_until, now() + make_interval(days => $2))
                                           ELSE before.participants_until END
FROM (SELECT participants_until FROM races WHERE race_id = $1) AS before
WHERE race_id = $1
RETURNING roster_changed_at, CASE WHEN before.participants_until IS NULL THEN races.participants_until END
"""

# One document, made where the rows are: fifty thousand people as rows, objects and JSON would hold the event loop for
# a quarter of a second, and receivers wait for the answer without reading their sockets.
_ROSTER = """
SELECT json_build_object(
    'participants', (
        SELECT coalesce(json_agg(json_build_object(
                   'bib', person.bib, 'first_name', person.first_name, 'last_name', person.last_name,
                   'gender', person.gender, 'affiliation', person.affiliation,
                   'chip_ids', coalesce(worn.chip_ids, '[]'::json)) ORDER BY person.bib), '[]'::json)
        FROM participants AS person
        LEFT JOIN (SELECT bib, json_agg(chip_id ORDER BY line) AS chip_ids
                   FROM chips WHERE race_id = $1 AND is_owner GROUP BY bib) AS worn USING (bib)
        WHERE person.race_id = $1),
    'chips_without_participant', (
        SELECT coalesce(json_agg(json_build_object('chip_id', chip_id, 'bib', bib) ORDER BY line), '[]'::json)
        FROM chips
        WHERE race_id = $1 AND is_owner
          AND NOT EXISTS (SELECT FROM participants AS person WHERE person.race_id = $1 AND person.bib = chips.bib)),
    'ambiguous_chips', (
        SELECT coalesce(json_agg(json_build_object('chip_id', chip_id, 'bibs', bibs) ORDER BY first_line), '[]'::json)
        FROM (SELECT chip_id, json_agg(bib ORDER BY line) AS bibs, min(line) AS first_line
              FROM chips
              WHERE race_id = $1 AND chip_id IN (SELECT chip_id FROM chips WHERE race_id = $1 AND NOT is_owner)
              GROUP BY chip_id) AS several)
)::text
FROM races WHERE race_id = $1
"""
_UNKNOWN_CHIPS = """
SELECT tag_id AS chip_id,
       array_agg(DISTINCT stream_title(streams, forwarder_display_name IN (SELECT * FROM shared_names()))) AS streams
FROM chips_of_race($1) AS seen
JOIN streams USING (stream_id)
WHERE rule <> 'forwarder'
  AND NOT EXISTS (SELECT FROM chips WHERE chips.race_id = $1 AND chips.chip_id = seen.tag_id)
GROUP BY tag_id
ORDER BY tag_id
LIMIT $2
"""

# Behind _LOCK, and statements of their own: what they see is younger than the lock, so whoever was imported just before
# is removed, too. The lock comes first, as everywhere: who held a person and waited for the race, while an import holds
# the race and waits for the person, would wait for ever.
_REMOVE = """
WITH removed AS (DELETE FROM participants WHERE race_id = $1 AND bib = $2 RETURNING race_id)
UPDATE races SET roster_changed_at = clock_timestamp() FROM removed WHERE races.race_id = removed.race_id
RETURNING races.race_id
"""
# Whose time has come; what another process is at is passed over.
_LOCK_DUE = """
SELECT race_id FROM races WHERE participants_until <= now() ORDER BY race_id FOR NO KEY UPDATE SKIP LOCKED
"""
_FORGET = """
WITH removed AS (DELETE FROM participants WHERE race_id = ANY($1::uuid[]) RETURNING race_id)
UPDATE races SET participants_until = NULL, roster_changed_at = clock_timestamp()
WHERE race_id = ANY($1::uuid[])
RETURNING race_id, name, (SELECT count(*) FROM removed WHERE removed.race_id = races.race_id) AS people
"""


class Replaced(NamedTuple):
    """When a roster was replaced. kept_until: when its people will be removed, where only this import has said so."""

    changed_at: datetime
    kept_until: datetime | None


class Forgotten(NamedTuple):
    """A race whose people were removed because their time had come."""

    race_id: UUID
    name: str
    people: int


async def changed_at(pool: Pool, race_id: UUID) -> datetime | None:
    """Return since when a race's roster is as it is; None when there is no such race."""
    with translated():
        since: datetime | None = await pool.fetchval(_CHANGED_AT, race_id)
    return since


async def hold(connection: Transaction, race_id: UUID) -> datetime | None:
    """The same, and let nobody else change it until the transaction ends."""
    with translated():
        since: datetime | None = await connection.fetchval(_LOCK, race_id)
    return since


async def replace(
    connection: Transaction, race_id: UUID, kind: Kind, rows: Sequence[tuple[Any, ...]], *, kept_days: int
) -> Replaced:
    """Let a race that is held have these people or chips and no others. kept_days: for how long people are kept, where
    nobody has said it of the race; 0: until somebody does.
    """
    with translated():
        await connection.execute(_EMPTY[kind], race_id)
        await connection.copy_records_to_table(kind, records=_of(race_id, rows), columns=_COLUMNS[kind])
        days = kept_days if kind == "participants" else 0
        changed: Any = await connection.fetchrow(_CHANGED, race_id, days)
    return Replaced(*changed)


def _of(race_id: UUID, rows: Iterable[tuple[Any, ...]]) -> Iterable[tuple[Any, ...]]:
    return ((race_id, *row) for row in rows)


async def roster(pool: Pool, race_id: UUID) -> bytes | None:
    """Return the JSON of a Roster; None when there is no such race."""
    with translated():
        text: str | None = await pool.fetchval(_ROSTER, race_id)
    return None if text is None else text.encode()


async def unknown_chips(pool: Pool, race_id: UUID) -> list[UnknownChip]:
    """Return the first chips that were read in what is given to the race and are none of its own."""
    with translated():
        return [UnknownChip(**row) for row in await pool.fetch(_UNKNOWN_CHIPS, race_id, UNKNOWN_CHIPS)]


async def remove_participant(connection: Transaction, race_id: UUID, bib: int) -> bool:
    """Remove one person; false when the race has none of this bib."""
    with translated():
        await connection.execute(_LOCK, race_id)
        return await connection.fetchval(_REMOVE, race_id, bib) is not None


async def forget(connection: Transaction) -> list[Forgotten]:
    """Remove the people of all races whose time has come."""
    with translated():
        due = [row["race_id"] for row in await connection.fetch(_LOCK_DUE)]
        return [Forgotten(*row) for row in await connection.fetch(_FORGET, due)] if due else []
