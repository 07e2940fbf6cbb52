"""The course of a race, and its clock: points in order, who has come by, and since when the clock goes."""

from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.api.conftest import RACES, Ask, Noted
from tests.api.gateways import ending
from tests.api.seeds import START, Database, add_forwarder_session, add_metrics, add_process, add_stream
from tests.api.test_races import form

PEOPLE = "1,Byron,Ada\n2,Turing,Alan\n"
# Ada wears two chips, and one of Alan's is hers first; nobody is bib 9.
CHIPS = "1,aa\n1,ab\n2,bb\n2,ab\n9,cc\n"


async def saw(database: Database, stream: UUID, *tags: str, epoch: int = 1) -> None:
    """Let an epoch of a stream have seen chips, each once."""
    await add_metrics(database, stream, epoch=epoch, dedup=len(tags), chips=len(tags))
    rows = [(stream, epoch, tag) for tag in tags]
    await database.copy_records_to_table("epoch_chips", records=rows)


async def points(ask: Ask, race: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await ask("GET", f"{RACES}/{race}/course"))["points"]
    return found


@pytest.fixture
async def running(ask: Ask, race: str) -> str:
    """A race with people and chips."""
    await ask("POST", f"{RACES}/{race}/participants/upload", data=form(PEOPLE))
    await ask("POST", f"{RACES}/{race}/chips/upload", data=form(CHIPS))
    return race


async def test_streams_of_a_race_are_points_by_themselves_until_somebody_says_where_they_are(
    ask: Ask, running: str, database: Database
) -> None:
    finish, start = await add_stream(database, "finish"), await add_stream(database, "start")
    await add_stream(database, "elsewhere")
    await ask("PUT", "/api/v1/forwarders/start/race", json={"race_id": running})
    await ask("PUT", f"/api/v1/streams/{finish}/epochs/3/race", json={"race_id": running})
    found = await points(ask, running)
    assert [(each["name"], each["placed"], each["reads"]) for each in found] == [
        ("finish · 10.0.0.1:10000", False, 0),
        ("start · 10.0.0.1:10000", False, 0),
    ]
    assert found[1]["streams"] == [
        {
            "stream_id": str(start),
            "forwarder_id": "start",
            "title": "start · 10.0.0.1:10000",
            "seen": None,
            "of_chips": None,
        }
    ]
    assert found[0]["last_received_at"] is None


async def test_points_stand_in_course_order_and_twins_count_a_person_once(
    ask: Ask, running: str, database: Database, noted: Noted
) -> None:
    streams = [await add_stream(database, name) for name in ("late", "left", "right", "gun")]
    _, left, right, gun = map(str, streams)
    for each in ("gun", "left", "right", "late"):
        await ask("PUT", f"/api/v1/forwarders/{each}/race", json={"race_id": running})
    await saw(database, streams[3], "aa", "bb", "cc", "ff")
    await saw(database, streams[1], "aa", "ff")
    await saw(database, streams[2], "ab", "bb", "ff", "fe")
    course = [
        {"name": " Start ", "stream_ids": [gun]},
        {"name": "Finish", "stream_ids": [right, left]},
    ]
    answer = await ask("PUT", f"{RACES}/{running}/course", json={"points": course})
    assert answer == await ask("GET", f"{RACES}/{running}/course")
    shown = [(each["name"], each["placed"], len(each["streams"])) for each in answer["points"]]
    assert shown == [("Start", True, 1), ("Finish", True, 2), ("late · 10.0.0.1:10000", False, 1)]
    counts = [(each["crossed"], each["unknown_chips"], each["reads"]) for each in answer["points"]]
    assert counts == [(3, 1, 4), (2, 2, 6), (0, 0, 0)]
    assert answer["points"][0]["last_received_at"] == START.isoformat()
    assert [each["title"] for each in answer["points"][1]["streams"]] == [
        "left · 10.0.0.1:10000",
        "right · 10.0.0.1:10000",
    ]
    assert (await noted("race_course_set", race="10 km"))["points"] == "Start, Finish"
    # The whole is replaced.
    await ask("PUT", f"{RACES}/{running}/course", json={"points": []})
    assert [each["placed"] for each in await points(ask, running)] == [False] * 4


async def test_epochs_of_another_race_and_of_before_do_not_count(
    ask: Ask, running: str, database: Database
) -> None:
    stream = await add_stream(database, "start", epoch=4)
    for epoch, tags in ((1, ("aa",)), (2, ("bb",)), (3, ("cc",)), (4, ("ff",))):
        await saw(database, stream, *tags, epoch=epoch)
    await ask("PUT", "/api/v1/forwarders/start/race", json={"race_id": running})
    other = (await ask("POST", RACES, status=201, json={"name": "5 km"}))["race_id"]
    epochs = f"/api/v1/streams/{stream}/epochs"
    await ask("PUT", f"{epochs}/2/race", json={"race_id": running})
    # Its own and the current one; the first was run under nobody knows which race.
    (point,) = await points(ask, running)
    assert (point["crossed"], point["unknown_chips"], point["reads"]) == (1, 1, 2)
    await ask("PUT", f"{epochs}/4/race", json={"race_id": other})
    (point,) = await points(ask, running)
    assert (point["crossed"], point["unknown_chips"], point["reads"]) == (1, 0, 1)


async def test_a_course_that_cannot_be_is_refused_and_the_old_one_stays(
    ask: Ask, running: str, database: Database
) -> None:
    stream = str(await add_stream(database))
    path = f"{RACES}/{running}/course"
    await ask("PUT", path, json={"points": [{"name": "Start", "stream_ids": [stream]}]})
    twice = [{"name": name, "stream_ids": [stream]} for name in ("Start", "Finish")]
    wrong: list[tuple[int, Any]] = [
        (400, {"points": twice}),
        (400, {"points": [{"name": "  ", "stream_ids": [stream]}]}),
        (400, {"points": [{"name": "x"}]}),
        (400, {"points": [{"name": "x", "stream_ids": [stream], "open": True}]}),
        (400, {}),
        (404, {"points": [{"name": "x", "stream_ids": [str(uuid4())]}]}),
    ]
    for status, body in wrong:
        await ask("PUT", path, status=status, json=body)
    await ask("GET", f"{RACES}/{uuid4()}/course", status=404)
    await ask("PUT", f"{RACES}/{uuid4()}/course", status=404, json={"points": []})
    assert [each["name"] for each in await points(ask, running)] == ["Start"]


async def test_a_point_whose_stream_is_gone_stays_in_its_place(
    ask: Ask, running: str, database: Database
) -> None:
    streams = [str(await add_stream(database, name)) for name in ("a", "b")]
    course = [{"name": name, "stream_ids": [each]} for name, each in zip("AB", streams, strict=True)]
    await ask("PUT", f"{RACES}/{running}/course", json={"points": course})
    await database.execute("DELETE FROM streams WHERE stream_id = $1", UUID(streams[0]))
    assert [(each["name"], len(each["streams"])) for each in await points(ask, running)] == [
        ("A", 0),
        ("B", 1),
    ]
    # Also when the points are arranged anew: until another stream stands there.
    course = [{"name": "A", "stream_ids": []}, {"name": "C", "stream_ids": streams[1:]}]
    await ask("PUT", f"{RACES}/{running}/course", json={"points": course})
    assert [(each["name"], len(each["streams"])) for each in await points(ask, running)] == [
        ("A", 0),
        ("C", 1),
    ]
    await ask("DELETE", f"{RACES}/{running}", status=204)
    assert await database.fetchval("SELECT count(*) FROM race_points") == 0
    assert await database.fetchval("SELECT count(*) FROM point_streams") == 0


async def test_the_clock_goes_from_the_first_begin_on_or_from_when_somebody_says(
    ask: Ask, race: str, database: Database, database_url: str, noted: Noted
) -> None:
    await add_stream(database)
    await add_forwarder_session(database, "start", await add_process(database, "gateway"))
    await ask("PUT", "/api/v1/forwarders/start/race", json={"race_id": race})
    async with ending(database_url, "failed", {"error": "no"}):
        await ask("POST", f"{RACES}/{race}/begin", json={})
    assert (await ask("GET", f"{RACES}/{race}"))["gun_at"] is None
    async with ending(database_url, "done", {"new_stream_epoch": 2}):
        await ask("POST", f"{RACES}/{race}/begin", json={})
        begun = (await ask("GET", f"{RACES}/{race}"))["gun_at"]
        assert await database.fetchval(
            "SELECT $1::text::timestamptz BETWEEN now() - interval '1 min' AND now()", begun
        )
        await ask("POST", f"{RACES}/{race}/begin", json={})
    assert (await ask("GET", f"{RACES}/{race}"))["gun_at"] == begun
    gun = "2026-05-03T09:00:00+00:00"
    assert (await ask("PATCH", f"{RACES}/{race}", json={"gun_at": gun}))["gun_at"] == gun
    assert (await noted("race_gun_set", race="10 km"))["gun_at"] == gun
    verdict = (await ask("GET", "/api/v1/overview"))["verdict"]
    assert verdict["races"] == [{"race_id": race, "name": "10 km", "gun_at": gun}]
    assert (await ask("PATCH", f"{RACES}/{race}", json={"gun_at": None}))["gun_at"] is None
