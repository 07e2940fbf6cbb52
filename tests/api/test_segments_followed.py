"""What follows the segments of races at once: names beside reads, exports with names, the course, what a race has not
known, the card of a stream. What was announced stays.
"""

from typing import Any
from uuid import UUID

import pytest

from api.races.names import Sighting, whose
from api.races.store import course
from shared.runtime.process import Process
from tests.api.conftest import RACES, Ask, Client
from tests.api.seeds import Database, add_forwarder_session, add_process, add_race, add_stream
from tests.api.segmented import add_segment
from tests.api.test_plans import of_events, plan_of, stream_id
from tests.api.test_views import ADA, BOB, Said, say

__all__ = ["stream_id"]  # a fixture

STRANGE = "058000000009"


@pytest.fixture
async def stream(database: Database) -> UUID:
    """A stream with five reads of Ada, Bob and a chip that nobody knows, in one epoch, and passings of them."""
    stream_id = await add_stream(database)
    reads = [Said(ADA, 0, 0), Said(STRANGE, 10, 10), Said(ADA, 20, 20), Said(BOB, 30, 30), Said(ADA, 40, 40)]
    await say(database, stream_id, reads)
    await database.execute("INSERT INTO passings_progress VALUES ($1, 5)", stream_id)
    await database.execute(
        """
        INSERT INTO passings
        SELECT stream_id, stream_epoch, tag_id, read_at, seq, read_at, seq, seq, seq, 1, position FROM events
        """
    )
    await database.execute(
        "INSERT INTO epoch_chips SELECT DISTINCT stream_id, stream_epoch, tag_id FROM events"
    )
    await database.execute(
        "UPDATE stream_metrics SET last_received_at = (SELECT max(received_at) FROM events)"
    )
    return stream_id


@pytest.fixture
async def races(database: Database) -> tuple[UUID, UUID]:
    """Two races; Ada runs in both, under another bib in each, and Bob in the second."""
    a, b = await add_race(database, "A"), await add_race(database, "B")
    for race, bib, chip in ((a, 1, ADA), (b, 11, ADA), (b, 12, BOB)):
        await database.execute("INSERT INTO participants VALUES ($1, $2, 'Ada', 'X', NULL, 'F')", race, bib)
        await database.execute("INSERT INTO chips VALUES ($1, $2, $3, 1, true)", race, chip, bib)
    return a, b


async def bibs(ask: Ask, stream: UUID, query: str = "") -> list[int | None]:
    page = await ask("GET", f"/api/v1/streams/{stream}/reads?order=asc{query}")
    return [each["bib"] for each in page["reads"]]


async def exported(client: Client, stream: UUID) -> list[str]:
    found = []
    for path in (f"{stream}/export.csv", f"{stream}/epochs/1/export.csv"):
        answer = await client.get(f"/api/v1/streams/{path}?participants=true")
        rows = (await answer.text()).splitlines()[1:]
        found.append(" ".join(row.split(",")[-3] or "-" for row in rows))
    assert found[0] == found[1]
    return found[0].split()


async def test_names_and_exports_follow_segments(
    ask: Ask, client: Client, database: Database, stream: UUID, races: tuple[UUID, UUID]
) -> None:
    a, b = races
    await ask("PUT", f"/api/v1/streams/{stream}/epochs/1/race", json={"race_id": str(a)})
    assert await bibs(ask, stream) == [1, None, 1, None, 1]
    await add_segment(database, b, stream, (1, 3), (1, 5))
    assert await bibs(ask, stream) == [1, None, 11, 12, 1]
    assert await bibs(ask, stream, "&dedup=first&window_secs=5") == [1, None, 11, 12, 1]
    assert await exported(client, stream) == ["1", "-", "11", "12", "1"]
    # With a segment of its own in it the epoch is the race's no more but for that.
    await add_segment(database, a, stream, (1, 5), None)
    assert await bibs(ask, stream) == [None, None, 11, 12, 1]
    assert await exported(client, stream) == ["-", "-", "11", "12", "1"]


async def test_a_course_counts_what_lies_between_boundaries(
    ask: Ask, database: Database, stream: UUID, races: tuple[UUID, UUID]
) -> None:
    _, b = races

    async def counted() -> tuple[Any, ...]:
        (point,) = (await ask("GET", f"{RACES}/{b}/course"))["points"]
        details = await ask("GET", f"{RACES}/{b}")
        unknown = await ask("GET", f"{RACES}/{b}/unknown-chips")
        strange = [each["chip_id"] for each in unknown["chips"]]
        assert (details["unknown_chip_count"], point["unknown_chips"]) == (len(strange), len(strange))
        at = point["last_received_at"]
        return point["reads"], point["crossed"], strange, at and at[14:19]

    await ask("PUT", f"/api/v1/streams/{stream}/epochs/1/race", json={"race_id": str(b)})
    assert await counted() == (5, 2, [STRANGE], "00:40")
    await add_segment(database, b, stream, (1, 3), (1, 5))
    assert await counted() == (2, 2, [], "00:30")
    await database.execute("UPDATE race_segments SET from_seq = 2, to_seq = 4")
    assert await counted() == (2, 1, [STRANGE], "00:20")
    await database.execute("UPDATE race_segments SET from_seq = 1, to_epoch = NULL, to_seq = NULL")
    assert await counted() == (5, 2, [STRANGE], "00:40")


async def test_the_card_of_a_stream_says_of_which_race_its_next_read_is(
    ask: Ask, database: Database, stream: UUID, races: tuple[UUID, UUID]
) -> None:
    a, b = races

    async def race() -> str | None:
        (card,) = (await ask("GET", "/api/v1/overview"))["streams"]
        name: str | None = card["race_name"]
        return name

    await ask("PUT", f"/api/v1/streams/{stream}/epochs/1/race", json={"race_id": str(a)})
    assert await race() == "A"
    await add_segment(database, a, stream, (1, 1), (1, 6))
    assert await race() is None
    await add_segment(database, b, stream, (1, 6), None)
    assert await race() == "B"


async def test_somebody_else_s_race_that_begins_ends_what_is_open(
    database: Database, stream: UUID, races: tuple[UUID, UUID], process: Process
) -> None:
    a, b = races
    await add_segment(database, a, stream, (1, 2), None)
    session = await _session(database)
    assert await database.fetchval("SELECT reserve_race_epoch($1, 1, $2, $3, NULL)", stream, session, a) == 2
    assert await _ends(database) == [None]
    assert await database.fetchval("SELECT reserve_race_epoch($1, 2, $2, $3, NULL)", stream, session, b) == 3
    assert await _ends(database) == [(3, 1)]
    sightings = [Sighting(stream, epoch, 1, ADA) for epoch in (1, 2, 3)]
    found = await whose(process.pool, sightings)
    assert [(found[each].bib if each in found else None) for each in sightings] == [None, 1, 11]


async def _session(database: Database) -> UUID:
    await add_forwarder_session(database, "start", await add_process(database, "gateway"))
    session: UUID = await database.fetchval("SELECT session_id FROM forwarder_sessions")
    return session


async def _ends(database: Database) -> list[tuple[int, int] | None]:
    rows = await database.fetch("SELECT to_epoch, to_seq FROM race_segments")
    return [None if row["to_epoch"] is None else (row["to_epoch"], row["to_seq"]) for row in rows]


async def test_a_course_without_a_cut_epoch_looks_at_no_event_and_no_passing(
    process: Process, database: Database, stream_id: UUID
) -> None:
    race = await add_race(database)
    await database.execute("INSERT INTO epoch_races VALUES ($1, 2, $2)", stream_id, race)
    assert _touched(await plan_of(process, course.COURSE, race)) == 0
    await add_segment(database, race, stream_id, (1, 1), (2, 101))
    plan = await plan_of(process, course.COURSE, race)
    (scan,) = of_events(plan)
    assert (scan["Index Name"], scan["Actual Rows"]) == ("events_pkey", 50)


def _touched(plan: list[dict[str, Any]]) -> int:
    scans = [node for node in plan if node.get("Relation Name") in ("events", "passings")]
    assert scans
    return sum(node["Actual Loops"] for node in scans)
