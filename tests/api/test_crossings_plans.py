"""What crossings are made of is looked up along indexes: a page costs what it holds, whatever the race has."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from api.crossings.pages import FIRST
from api.crossings.store import behind, changed, passings, visits
from api.search import others, store
from shared.runtime.process import Process
from tests.api.crossed import GUN
from tests.api.seeds import Database
from tests.api.test_plans import EVENTS, of_events, plan_of, stream_id
from tests.api.test_race_plans import race_id

__all__ = ["race_id", "stream_id"]  # fixtures

PEOPLE = 5_000


@pytest.fixture
async def passed(database: Database, stream_id: UUID, race_id: UUID) -> UUID:
    """A race whose people have come by, each once, and among them another race's; and others the day after."""
    await database.execute("INSERT INTO passings_progress SELECT stream_id, last_position FROM streams")
    await database.execute(
        """
        INSERT INTO passings
        SELECT stream_id, 1 + n % 2, (n % 2000)::text, $1::timestamp + n * interval '1 second', n,
               $1::timestamp + n * interval '1 second', n, n, n, 1, n
        FROM streams, generate_series(1, $2::integer) AS n
        """,
        GUN,
        PEOPLE,
    )
    await database.execute(
        """
        INSERT INTO passings
        SELECT stream_id, 3, tag_id, first_read_at + interval '1 day', first_seq, last_read_at + interval '1 day',
               last_seq, low_seq, high_seq, 1, 1
        FROM passings
        """
    )
    await database.execute("ANALYZE")
    return race_id


def of_passings(plan: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [node for node in plan if node.get("Relation Name") == "passings" and node["Actual Loops"]]


async def test_the_newest_passings_are_found_along_their_time(process: Process, passed: UUID) -> None:
    late = FIRST._replace(read_at=GUN + timedelta(seconds=PEOPLE / 2))
    for before in (FIRST, late):
        for at in (None, "1"):
            plan = await plan_of(process, passings.NEWEST, passed, at, *before, 20)
            whole = [node for node in of_passings(plan) if node.get("Index Name") == "passings_epoch_time"]
            assert len(whole) == len(of_passings(plan)) == (1 if at is None else 0), plan
            for scan in whole:
                assert scan["Actual Rows"] <= 22
                # Those of other epochs lie between and behind, and none of them is looked at.
                assert scan.get("Rows Removed by Filter", 0) == 0
                assert "stream_epoch" in scan["Index Cond"]


async def test_the_passings_of_people_are_looked_up_by_epochs_and_their_chips(
    process: Process, passed: UUID
) -> None:
    tags = [str(n) for n in range(0, 200, 2)]
    arguments = [None] * len(tags), tags, passings.MOST_PASSINGS
    plan = await plan_of(process, passings.OF_PEOPLE, passed, *arguments)
    (scan,) = of_passings(plan)
    assert (scan["Index Name"], scan["Actual Loops"]) == ("passings_pkey", 100)
    # Those of its own epoch, and none else.
    assert scan["Actual Rows"] <= PEOPLE / 2000 + 1
    assert scan.get("Rows Removed by Filter", 0) == 0
    for node in plan:
        if node.get("Relation Name") in ("chips", "race_segments", "epoch_races"):
            assert "Index" in node["Node Type"], node


async def test_what_has_changed_is_found_behind_positions(
    process: Process, passed: UUID, database: Database
) -> None:
    known = {row[0]: PEOPLE - 10 for row in await database.fetch("SELECT stream_id FROM streams")}
    plan = await plan_of(process, changed.CHANGED, passed, list(known), list(known.values()), 100)
    (scan,) = of_passings(plan)
    assert (scan["Index Name"], scan["Actual Rows"]) == ("passings_position", 10)


@pytest.mark.parametrize("rule", ["first", "last"])
async def test_reads_behind_a_crossing_are_looked_for_near_the_one_that_counts(
    process: Process, stream_id: UUID, rule: Any
) -> None:
    columns = [0], [stream_id], [1], ["7"], [GUN], [GUN + timedelta(1)], [1], [EVENTS], [behind.NEAR + 200]
    (scan,) = of_events(await plan_of(process, behind.BEHIND[rule], *columns, 20))
    assert scan["Index Name"] == "events_pkey"
    assert scan["Actual Rows"] + scan.get("Rows Removed by Filter", 0) <= 2 * behind.NEAR + 1


async def test_what_is_said_of_reads_is_looked_up_by_chips_and_behind_positions(
    process: Process, passed: UUID
) -> None:
    bibs = list(range(0, 100, 2))
    plan = await plan_of(process, visits.SEEN, [passed] * len(bibs), bibs)
    (scan,) = of_passings(plan)
    assert (scan["Index Name"], scan["Actual Loops"]) == ("passings_pkey", 50)
    # Nothing is cut by a boundary, so no event is looked at for that.
    (behind_progress,) = (node for node in of_events(plan) if node["Actual Loops"])
    assert behind_progress["Index Name"] == "events_stream_id_position_key"
    assert behind_progress["Actual Rows"] == 0


async def test_what_others_tell_of_somebody_is_looked_up_along_the_time_of_the_race_s_epochs(
    process: Process, passed: UUID, database: Database
) -> None:
    finish, start = [
        await database.fetchval("SELECT stream_id FROM streams WHERE forwarder_id = $1", name)
        for name in ("f1", "f2")
    ]
    await database.execute("INSERT INTO forwarder_races VALUES ('f2', $1)", passed)
    await database.execute("INSERT INTO race_points VALUES ($1, 1, 'Start'), ($1, 2, 'Finish')", passed)
    await database.execute(
        "INSERT INTO point_streams (race_id, place, stream_id) VALUES ($1, 1, $2), ($1, 2, $3)",
        passed,
        start,
        finish,
    )
    await database.execute("ANALYZE")
    plan = await plan_of(process, others.TRAVEL, passed, [1], [2], ["7"], 30)
    scans = {scan["Index Name"]: scan for scan in of_passings(plan)}
    assert set(scans) == {"passings_epoch_time", "passings_pkey"}
    arrivals = scans["passings_epoch_time"]
    assert (arrivals["Actual Rows"], arrivals.get("Rows Removed by Filter", 0)) == (30, 0)
    assert scans["passings_pkey"]["Actual Loops"] == 30
    plan = await plan_of(process, others.CROWD, passed, [2], [GUN + timedelta(seconds=500)], ["7"])
    (minute,) = of_passings(plan)
    # Those of the other epoch lie between.
    assert (minute["Index Name"], minute["Actual Rows"]) == ("passings_epoch_time", 30)


async def test_what_somebody_left_in_a_race_is_looked_up_by_epochs_and_chips(
    process: Process, passed: UUID
) -> None:
    plan = await plan_of(process, store.OF_PERSON, ["6", "8"], store.MOST_WAITING, 100, passed)
    (scan,) = of_passings(plan)
    assert (scan["Index Name"], scan["Actual Loops"]) == ("passings_pkey", 2)
    assert scan["Actual Rows"] <= PEOPLE / 2000 + 1
