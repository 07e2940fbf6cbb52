"""Races whose people come by: reads as a writer leaves them, and their passings as the filling does."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from api.crossings.crossing import Passing
from shared.protocol.ipico import compose
from tests.api.conftest import RACES, Ask
from tests.api.passed import Seen, passings
from tests.api.seeds import Database, add_events, add_metrics, add_stream
from tests.api.test_races import form

__all__ = ["GUN", "PEOPLE", "arrange", "come_by", "fill", "make_race", "tag"]

GUN = datetime(2026, 5, 3, 10, 0)  # noqa: DTZ001 - a reader's own clock
PEOPLE = "1,Byron,Ada\n2,Turing,Alan\n3,Hopper,Grace\n"


def tag(number: int) -> str:
    """Return the id of a chip."""
    return f"0580000000{number:02x}"


async def make_race(ask: Ask, chips: str = "", *, people: str = PEOPLE, name: str = "10 km") -> str:
    """Make a race with people; `chips`: rows of bib and number of a chip, by default one each."""
    race_id: str = (await ask("POST", RACES, status=201, json={"name": name}))["race_id"]
    await ask("POST", f"{RACES}/{race_id}/participants/upload", data=form(people))
    rows = [row.split(",") for row in (chips or "1,1\n2,2\n3,3").split()]
    worn = "".join(f"{bib},{tag(int(number))}\n" for bib, number in rows)
    await ask("POST", f"{RACES}/{race_id}/chips/upload", data=form(worn))
    return race_id


async def arrange(ask: Ask, database: Database, race_id: str, **points: Sequence[str]) -> dict[str, UUID]:
    """Arrange points of forwarders that are the race's, one stream each, and return their streams."""
    streams = {name: await add_stream(database, name) for names in points.values() for name in names}
    for name in streams:
        await ask("PUT", f"/api/v1/forwarders/{name}/race", json={"race_id": race_id})
    course = [
        {"name": point, "stream_ids": [str(streams[name]) for name in names]}
        for point, names in points.items()
    ]
    await ask("PUT", f"{RACES}/{race_id}/course", json={"points": course})
    return streams


async def come_by(
    database: Database,
    stream_id: UUID,
    reads: Iterable[tuple[int, float]],
    *,
    epoch: int = 1,
    ls: bool = False,
) -> None:
    """Have chips read, each by its number at so many seconds since the gun, in the order of arrival; `ls`: as lines
    of last seen.
    """
    first = 1 + await database.fetchval(
        "SELECT coalesce(max(seq), 0) FROM events WHERE stream_id = $1 AND stream_epoch = $2",
        stream_id,
        epoch,
    )
    lines = [
        compose(reader_id="40", tag_id=tag(chip), read_at=GUN + timedelta(seconds=at)) + ("LS" if ls else "")
        for chip, at in reads
    ]
    await add_events(database, stream_id, lines, epoch=epoch, first_seq=first)
    await database.execute(
        "DELETE FROM stream_metrics WHERE stream_id = $1 AND stream_epoch = $2", stream_id, epoch
    )
    await add_metrics(database, stream_id, epoch=epoch, dedup=first - 1 + len(lines))
    await fill(database, stream_id)


async def fill(database: Database, stream_id: UUID) -> None:
    """Make the passings of a stream anew, and note that they hold all that is stored."""
    rows: list[Any] = await database.fetch(
        """
        SELECT tag_id, stream_id, stream_epoch, seq, read_at, position FROM events
        WHERE stream_id = $1 AND tag_id IS NOT NULL AND read_at IS NOT NULL
        """,
        stream_id,
    )
    seen = [(Seen.at(*row[:5]), row[5]) for row in map(tuple, rows)]
    found = passings((each for each, _ in seen), {each.read: position for each, position in seen})
    async with database.transaction():
        await database.execute(
            """
            INSERT INTO passings_progress SELECT stream_id, last_position FROM streams WHERE stream_id = $1
            ON CONFLICT (stream_id) DO UPDATE SET position = excluded.position
            """,
            stream_id,
        )
        await database.execute("DELETE FROM passings WHERE stream_id = $1", stream_id)
        await database.copy_records_to_table("passings", records=found, columns=Passing._fields)
