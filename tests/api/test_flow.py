"""Who came by each point of a race over time: each once, by the reader's clock, in bins that fit, counted but once."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from api.flow import flows as counted
from api.flow import store
from api.flow.flows import BINS, LENGTHS_S, UNPLACED, Flows, flow_of
from api.flow.store import Bin, Stand
from shared.runtime.process import Process
from tests.api.conftest import RACES, Ask
from tests.api.crossed import arrange, come_by, make_race
from tests.api.seeds import Database, add_metrics, add_stream
from tests.api.segmented import add_segment
from tests.api.test_plans import of_events, plan_of
from tests.api.test_races import form

GUN = datetime(2026, 5, 3, 10)  # noqa: DTZ001 - the reader's own clock
# Ada wears two chips; nobody is the last.
PEOPLE, CHIPS = "1,Byron,Ada\n2,Turing,Alan\n", "1,aa\n1,ab\n2,bb\n"

_PASSING = """
INSERT INTO passings
SELECT $1, $2, tag, at, n, at, n, n, n, 1, n
FROM unnest($3::text[], $4::timestamp[]) WITH ORDINALITY AS given(tag, at, n)
"""


async def came_by(
    database: Database, stream: UUID, seen: Sequence[tuple[str, float]], *, epoch: int = 1
) -> None:
    """Let chips have passed a stream, each so many seconds after the gun."""
    at = [GUN + timedelta(seconds=seconds) for _, seconds in seen]
    position = await database.fetchval(
        "INSERT INTO passings_progress VALUES ($1, $2) "
        "ON CONFLICT (stream_id) DO UPDATE SET position = passings_progress.position + $2 RETURNING position",
        stream,
        len(seen),
    )
    assert position
    await database.execute(_PASSING, stream, epoch, [tag for tag, _ in seen], at)


@pytest.fixture
async def mats(ask: Ask, race: str, database: Database) -> list[UUID]:
    """A race with people: its start, and two mats of its finish."""
    await ask("POST", f"{RACES}/{race}/participants/upload", data=form(PEOPLE))
    await ask("POST", f"{RACES}/{race}/chips/upload", data=form(CHIPS))
    streams = [await add_stream(database, name) for name in ("start", "left", "right")]
    for name in ("start", "left", "right"):
        await ask("PUT", f"/api/v1/forwarders/{name}/race", json={"race_id": race})
    start, left, right = map(str, streams)
    points = [{"name": "Start", "stream_ids": [start]}, {"name": "Finish", "stream_ids": [left, right]}]
    await ask("PUT", f"{RACES}/{race}/course", json={"points": points})
    return streams


@pytest.fixture
def flows(process: Process, monkeypatch: pytest.MonkeyPatch) -> Flows:
    """What is counted holds for longer than any test, unless something else ends it."""
    monkeypatch.setattr(counted, "REST_S", 3_600.0)
    return Flows(process)


def sketch(flow: Any) -> list[tuple[str, int, dict[int, int]]]:
    """Return of each point its name, who came by, and which bins are not empty."""
    return [
        (each["name"], each["crossed"], {n: count for n, count in enumerate(each["counts"]) if count})
        for each in flow["points"]
    ]


async def test_everybody_counts_once_at_a_point_by_any_of_its_mats_and_any_chip(
    ask: Ask, race: str, mats: list[UUID], database: Database
) -> None:
    start, left, right = mats
    path = f"{RACES}/{race}/flow"
    empty = await ask("GET", path)
    assert (empty["begins_at"], sketch(empty)) == (None, [("Start", 0, {}), ("Finish", 0, {})])
    # A chip of nobody counts by itself; who comes by again does not.
    await came_by(database, start, [("aa", 1), ("bb", 12), ("ee", 13), ("aa", 700)])
    await came_by(database, left, [("aa", 605), ("bb", 631)])
    await came_by(database, right, [("ab", 601), ("aa", 606), ("bb", 629)])
    await ask(
        "PUT",
        f"{RACES}/{race}/course",
        json={
            "points": [
                {"name": "Start", "stream_ids": [str(start)]},
                {"name": "In", "stream_ids": [str(left), str(right)]},
            ]
        },
    )
    flow = await ask("GET", path)
    assert (flow["begins_at"], flow["bin_s"]) == ("2026-05-03T10:00:00", 10)
    assert sketch(flow) == [("Start", 3, {0: 1, 1: 2}), ("In", 2, {60: 1, 62: 1})]
    assert [each["stream_ids"] for each in flow["points"]] == [[str(start)], [str(left), str(right)]]


async def test_only_what_is_of_the_race_counts(
    ask: Ask, race: str, mats: list[UUID], database: Database
) -> None:
    start = mats[0]
    other = await ask("POST", RACES, json={"name": "other"}, status=201)
    await came_by(database, start, [("aa", 0)], epoch=1)
    await came_by(database, start, [("bb", 20)], epoch=2)
    for epoch in (1, 2):
        await add_metrics(database, start, epoch=epoch, dedup=1, chips=1)
    await ask("PUT", f"/api/v1/streams/{start}/epochs/1/race", json={"race_id": other["race_id"]})
    await ask("PUT", f"/api/v1/streams/{start}/epochs/2/race", json={"race_id": race})
    assert sketch(await ask("GET", f"{RACES}/{race}/flow"))[0] == ("Start", 1, {0: 1})
    assert [each[1] for each in sketch(await ask("GET", f"{RACES}/{other['race_id']}/flow"))] == [1]


async def test_who_came_by_outside_of_a_boundary_is_not_of_the_race(
    ask: Ask, race: str, mats: list[UUID], database: Database
) -> None:
    start = mats[0]
    await came_by(database, start, [("aa", 0), ("bb", 20), ("cc", 40)])
    await database.execute(
        "INSERT INTO race_segments (race_id, stream_id, from_epoch, from_seq, to_epoch, to_seq) "
        "VALUES ($1, $2, 1, 2, 1, 3)",
        UUID(race),
        start,
    )
    assert sketch(await ask("GET", f"{RACES}/{race}/flow"))[0] == ("Start", 1, {0: 1})


async def test_who_stood_on_the_mat_when_the_race_began_came_by_at_the_first_read_that_is_the_race_s(
    ask: Ask, database: Database
) -> None:
    race = await make_race(ask)
    start = (await arrange(ask, database, race, Start=["gun"], Finish=["line"]))["gun"]
    await come_by(database, start, [(1, 0), (2, 0.25), (3, 1), (1, 0.75), (2, 30), (1, 1.5), (3, 50)])
    await add_segment(database, UUID(race), start, (1, 6), None)
    flow = await ask("GET", f"{RACES}/{race}/flow")
    assert (flow["begins_at"], sketch(flow)[0]) == ("2026-05-03T10:00:00", ("Start", 2, {0: 1, 5: 1}))
    await database.execute("UPDATE race_segments SET from_seq = 4, to_epoch = 1, to_seq = 6")
    # Ada at 0.75 and Alan at 30; Grace had not come.
    assert sketch(await ask("GET", f"{RACES}/{race}/flow"))[0] == ("Start", 2, {0: 1, 3: 1})


@pytest.mark.parametrize(
    ("hours", "bin_s"), [(0.5, 10), (0.6, 30), (1.6, 30), (3, 60), (6, 120), (16, 300), (30, 600)]
)
async def test_bins_are_as_short_as_there_is_room_for(
    ask: Ask, race: str, mats: list[UUID], database: Database, *, hours: float, bin_s: int
) -> None:
    await came_by(database, mats[0], [("aa", 0), ("bb", hours * 1800), ("cc", hours * 3600)])
    flow = await ask("GET", f"{RACES}/{race}/flow")
    assert flow["bin_s"] == bin_s
    assert len(flow["points"][0]["counts"]) <= BINS
    assert sum(flow["points"][0]["counts"]) == 3


async def test_a_reader_of_a_wrong_date_makes_no_one_bin_of_a_race(
    ask: Ask, race: str, mats: list[UUID], database: Database
) -> None:
    start, left, _ = mats
    await came_by(database, start, [(f"{n:02}", n) for n in range(50)])
    await came_by(database, left, [("aa", 86400 * 365), ("bb", -86400 * 3650)])
    flow = await ask("GET", f"{RACES}/{race}/flow")
    assert flow["bin_s"] == 10
    assert [(each["crossed"], each["outside"]) for each in flow["points"]] == [(50, 0), (2, 2)]


async def test_it_is_counted_once_for_all_who_ask_while_nothing_is_another(
    flows: Flows, ask: Ask, race: str, mats: list[UUID], database: Database
) -> None:
    race_id = UUID(race)
    await came_by(database, mats[0], [("aa", 0)])
    first = await flows.of(race_id)
    assert (await flows.of(race_id), flows.counts) == (first, 1)
    # Who comes by meanwhile has a moment, and what the race is has none.
    await came_by(database, mats[0], [("bb", 20)])
    assert (await flows.of(race_id), flows.counts) == (first, 1)
    await ask("POST", f"{RACES}/{race}/chips/upload", data=form("1,aa\n1,bb\n"))
    again = await flows.of(race_id)
    assert again is not None
    assert (again.points[0].crossed, flows.counts) == (1, 2)
    assert await flows.of(uuid4()) is None


@pytest.mark.parametrize("others", [["bb"], ["bb", "cc"]])
async def test_passings_that_were_made_anew_between_two_looks_are_counted_at_once(
    flows: Flows, race: str, mats: list[UUID], database: Database, others: list[str]
) -> None:
    race_id = UUID(race)
    await came_by(database, mats[0], [("aa", 0)])
    assert await flows.of(race_id) is not None
    # Somebody's reads are deleted, and others have come by: the stream is filled as far as it was, or further.
    await database.execute("DELETE FROM passings_progress")
    await came_by(database, mats[0], [(each, 86400) for each in others])
    anew = await flows.of(race_id)
    assert anew is not None
    assert (anew.begins_at, anew.points[0].crossed) == (GUN + timedelta(days=1), len(others))
    assert flows.counts == 2


async def test_who_has_it_is_told_that_it_is_the_same(
    client: Any, ask: Ask, race: str, mats: list[UUID]
) -> None:
    path = f"{RACES}/{race}/flow"
    assert len(mats) == 3
    async with client.get(path) as answer:
        tag = answer.headers["ETag"]
    async with client.get(path, headers={"If-None-Match": tag}) as answer:
        assert answer.status == 304
    await ask("GET", f"{RACES}/{uuid4()}/flow", status=404)


def test_streams_without_a_place_come_last_and_some_are_left_out() -> None:
    many = [Stand(UUID(int=n), None, f"mat {n}", 0, "", None) for n in range(UNPLACED + 3)]
    flow = flow_of(
        UUID(int=9), [*many, Stand(UUID(int=99), 1, "Start", 0, None, None)], [Bin("1", GUN, 10, 2, 1)]
    )
    assert (len(flow.points), flow.left_out) == (UNPLACED + 1, 3)
    assert (flow.points[0].name, flow.points[0].counts, flow.points[1].counts) == ("Start", [0, 2], [0, 0])


async def test_no_event_is_read_and_passings_along_their_key(
    process: Process, race: str, mats: list[UUID], database: Database
) -> None:
    await database.execute(
        "INSERT INTO passings_progress SELECT stream_id, 1 FROM streams ON CONFLICT DO NOTHING"
    )
    await database.execute(
        """
        INSERT INTO passings
        SELECT stream_id, epoch, n::text, at, n, at, n, n, n, 1, n
        FROM streams, generate_series(1, 20) AS epoch, generate_series(1, 500) AS n,
             LATERAL (SELECT timestamp '2026-05-03' + n * interval '1 s' AS at) AS time
        """
    )
    await database.execute("ANALYZE")
    plan = await plan_of(process, store.CROSSED, UUID(race), BINS, list(LENGTHS_S))
    # Nothing is cut by a boundary, so no event is looked at for that.
    assert not any(node["Actual Loops"] for node in of_events(plan))
    scans = [node for node in plan if node.get("Relation Name") == "passings" and node["Actual Loops"]]
    assert scans
    # Of the epochs of the race, and no others: the current one of each of the three mats.
    assert {scan["Index Name"] for scan in scans} <= {"passings_pkey", "passings_epoch_time"}
    assert sum(scan["Actual Rows"] * scan["Actual Loops"] for scan in scans) == 1500
    await plan_of(process, store.POINTS, UUID(race))
