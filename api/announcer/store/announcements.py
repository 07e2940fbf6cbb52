"""Who was announced: from the reads of selected streams to the rows that are shown."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from api.announcer.run import Finish, Read, display_name
from api.announcer.types import Finisher, PublicFinisher
from api.races.names import NOBODY, Sighting, Whose, people, whose
from shared.db.connections import Statements, Transaction
from shared.db.errors import translated

__all__ = ["INSERT", "PAGE", "READS", "ROWS", "Announcement", "advance", "announce", "reads", "rows"]

# Reads of each stream in one look: what is beyond comes with the next, a moment later.
PAGE = 100

# What of each stream lies above its position, along UNIQUE (stream_id, position), the next $1. `up_to`: as far as
# that has been looked at. Without a full page it is the last position that there is, of the same moment: numbers that
# an administrator has deleted would be looked for again and again else.
READS = """
SELECT selected.stream_id, selected.stream_epoch AS run_epoch, page.*,
       CASE WHEN count(page.position) OVER of_stream = $1 THEN max(page.position) OVER of_stream
            ELSE greatest(last_position, selected.position) END AS up_to
FROM announcer_streams AS selected
JOIN streams USING (stream_id)
LEFT JOIN LATERAL (
    SELECT events.stream_epoch, seq, events.position, tag_id, reader_timestamp, received_at
    FROM events
    WHERE events.stream_id = selected.stream_id AND events.position > selected.position
    ORDER BY events.position
    LIMIT $1
) AS page ON true
WHERE last_position > selected.position
WINDOW of_stream AS (PARTITION BY selected.stream_id)
"""
_ADVANCE = """
UPDATE announcer_streams AS selected SET position = given.position
FROM unnest($1::uuid[], $2::bigint[]) AS given(stream_id, position)
WHERE selected.stream_id = given.stream_id
"""

# $1: the run; the rest: finishes in their order. Somebody who was announced is left out, also where the roster came in
# between: he may stand there as one of his chips, or with a bib that his chip has no more.
INSERT = """
WITH new AS (
    SELECT given.*
    FROM unnest($2::text[], $3::uuid[], $4::integer[], $5::uuid[], $6::bigint[], $7::bigint[], $8::text[], $9::text[],
                $10::timestamptz[])
        WITH ORDINALITY AS given(subject, race_id, bib, stream_id, stream_epoch, seq, tag_id, reader_timestamp,
                                 received_at, place)
    WHERE NOT EXISTS (SELECT FROM announcements AS told WHERE told.run_id = $1 AND told.subject = given.subject)
      AND NOT EXISTS (
          SELECT FROM announcements AS told
          WHERE told.run_id = $1 AND told.tag_id = given.tag_id AND given.bib IS NULL)
      AND NOT EXISTS (
          SELECT FROM chips JOIN announcements AS told ON told.run_id = $1 AND told.subject = 'chip:' || chip_id
          WHERE chips.race_id = given.race_id AND chips.bib = given.bib AND is_owner)
),
announced AS (
    INSERT INTO announcements (run_id, announcement_id, subject, stream_id, stream_epoch, seq, tag_id,
                               reader_timestamp, received_at)
    SELECT $1,
           (SELECT coalesce(max(announcement_id), 0) FROM announcements WHERE run_id = $1)
               + row_number() OVER (ORDER BY place),
           subject, stream_id, stream_epoch, seq, tag_id, nullif(reader_timestamp, ''), received_at
    FROM new
    RETURNING 1
)
SELECT count(*) FROM announced
"""

# $1: the run, $2: above which id, $3: so many, the newest first.
ROWS = """
SELECT announcement_id, subject, stream_id, stream_epoch, seq, tag_id, reader_timestamp, received_at
FROM announcements
WHERE run_id = $1 AND announcement_id > $2
ORDER BY announcement_id DESC
LIMIT $3
"""


class Announcement(NamedTuple):
    """Somebody who was announced, in both shapes."""

    announcement_id: int
    finisher: Finisher
    public: PublicFinisher


async def reads(connection: Transaction) -> tuple[list[Read], Mapping[UUID, int]]:
    """Return the next reads of selected streams, and up to where each of these has then been looked at."""
    with translated():
        found = await connection.fetch(READS, PAGE)
    up_to = {row["stream_id"]: row["up_to"] for row in found}
    return [
        Read(**{name: row[name] for name in Read._fields}) for row in found if row["position"] is not None
    ], up_to


async def announce(connection: Transaction, run_id: int, finishes: Sequence[Finish]) -> int:
    """Announce those who have not been announced in a run, in their order, and return how many."""
    if not finishes:
        return 0
    columns = zip(*map(_columns, finishes), strict=True)
    with translated():
        return int(await connection.fetchval(INSERT, run_id, *map(list, columns)))


def _columns(finish: Finish) -> tuple[object, ...]:
    read, who = finish
    known = (None, None) if who.bib is None else (who.race_id, who.bib)
    return (
        *(finish.subject, *known, read.stream_id, read.stream_epoch, read.seq, read.tag_id),
        *(read.reader_timestamp, read.received_at),
    )


async def advance(connection: Transaction, up_to: Mapping[UUID, int]) -> None:
    """Note up to where streams have been looked at."""
    with translated():
        await connection.execute(_ADVANCE, list(up_to), list(up_to.values()))


async def rows(database: Statements, run_id: int, *, above: int = 0, at_most: int) -> list[Announcement]:
    """Return those who were announced in a run above an id, the newest first, with names as they are now."""
    with translated():
        found = await database.fetch(ROWS, run_id, above, at_most)
    sightings = [Sighting(*(row[name] for name in Sighting._fields)) for row in found]
    known = await whose(database, sightings)
    # A stream that was deleted has no race any more; who came in there has the bib that he was announced with.
    told = [_told(row["subject"]) for row in found]
    missing = {
        bib
        for bib, each in zip(told, sightings, strict=True)
        if bib and known.get(each, NOBODY).race_id is None
    }
    named = await people(database, missing)
    return [
        _announcement(dict(row), _who(known.get(each, NOBODY), bib, named))
        for row, each, bib in zip(found, sightings, told, strict=True)
    ]


def _told(subject: str) -> tuple[UUID, int] | None:
    kind, _, rest = subject.partition(":")
    race_id, _, bib = rest.partition(":")
    return (UUID(race_id), int(bib)) if kind == "bib" else None


def _who(now: Whose, told: tuple[UUID, int] | None, named: Mapping[tuple[UUID, int], Whose]) -> Whose:
    if now.race_id is not None or told is None:
        return now
    return named.get(told, Whose(*told))


def _announcement(row: Mapping[str, Any], who: Whose) -> Announcement:
    shown = {"bib": who.bib, "display_name": display_name(who), "reader_timestamp": row["reader_timestamp"]}
    return Announcement(
        row["announcement_id"],
        Finisher(
            stream_id=row["stream_id"],
            seq=row["seq"],
            chip_id=row["tag_id"],
            received_at=row["received_at"],
            **shown,
        ),
        PublicFinisher(announcement_id=row["announcement_id"], **shown),
    )
