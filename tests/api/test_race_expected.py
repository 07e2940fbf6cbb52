"""Of two operators who change a race at once the second is told what is so by now, and nothing of his is done."""

import asyncio
from typing import Any
from uuid import UUID

import pytest

from tests.api.conftest import RACES, Ask, Client
from tests.api.gateways import carrying_out, ending
from tests.api.seeds import Database, add_forwarder_session, add_process, add_stream
from tests.api.test_races import form
from tests.waiting import wait_until

_WAITS = (
    "SELECT EXISTS (SELECT FROM pg_stat_activity"
    " WHERE wait_event_type = 'Lock' AND datname = current_database())"
)

GUN, LATER = "2026-05-03T09:00:00.250000+00:00", "2026-05-03T09:30:00+00:00"
FAR = "2999-05-03T09:30:00+00:00"


@pytest.fixture
async def stream(database: Database) -> UUID:
    """A stream in its first epoch, of a forwarder that is connected."""
    await add_forwarder_session(database, "start", await add_process(database, "gateway"))
    return await add_stream(database)


# --- the race itself and its course ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "before", "theirs", "ours"),
    [
        ("name", "10 km", "Ten", "Zehn"),
        ("gun_at", None, GUN, LATER),
        ("participants_until", None, FAR, None),
    ],
)
async def test_who_changes_a_race_that_another_has_changed_is_told(
    ask: Ask, race: str, *, field: str, before: str | None, theirs: str, ours: str | None
) -> None:
    path, expected = f"{RACES}/{race}", f"expected_{field}"
    changed = await ask("PATCH", path, json={field: theirs, expected: before})
    assert changed[field] == theirs
    wanted = ours if ours != before else "2999-01-01T00:00:00+00:00"
    refused = await ask("PATCH", path, status=409, json={field: wanted, expected: before})
    assert refused["details"] == {field: theirs}
    assert theirs in refused["message"]
    # Who wants what is so already has it; who has looked again may change it.
    await ask("PATCH", path, json={field: theirs, expected: before})
    assert (await ask("PATCH", path, json={field: ours, expected: theirs}))[field] == ours


async def test_nothing_of_a_change_is_made_where_one_part_is_otherwise(ask: Ask, race: str) -> None:
    path = f"{RACES}/{race}"
    body = {"name": "Ten", "gun_at": GUN, "expected_gun_at": LATER}
    assert (await ask("PATCH", path, status=409, json=body))["details"] == {"gun_at": None}
    assert (await ask("GET", path))["name"] == "10 km"


async def test_of_two_who_arrange_the_points_the_second_is_told(ask: Ask, race: str, stream: UUID) -> None:
    path = f"{RACES}/{race}/course"

    def points(name: str) -> list[Any]:
        return [{"name": name, "stream_ids": [str(stream)]}]

    assert (await ask("GET", path))["arranged_at"] is None
    first = await ask("PUT", path, json={"points": points("Start"), "expected_arranged_at": None})
    assert first["arranged_at"] is not None
    refused = await ask(
        "PUT", path, status=409, json={"points": points("Finish"), "expected_arranged_at": None}
    )
    assert refused["details"] == {"arranged_at": first["arranged_at"]}
    assert (await ask("GET", path))["points"][0]["name"] == "Start"
    second = await ask(
        "PUT", path, json={"points": points("Finish"), "expected_arranged_at": first["arranged_at"]}
    )
    assert (second["points"][0]["name"], second["arranged_at"] > first["arranged_at"]) == ("Finish", True)
    # A script need not say.
    await ask("PUT", path, json={"points": points("Anything")})


@pytest.mark.parametrize(
    ("method", "place", "body"),
    [
        ("PATCH", "", {"name": "Zehn", "expected_name": "10 km"}),
        ("PUT", "/course", {"points": [], "expected_arranged_at": None}),
    ],
)
async def test_who_waits_for_another_s_change_is_told_of_it(
    client: Client,
    race: str,
    database: Database,
    *,
    method: str,
    place: str,
    body: dict[str, Any],
) -> None:
    async with database.transaction():
        await database.execute("UPDATE races SET name = 'Ten', course_changed_at = now()")
        asking = asyncio.ensure_future(client.request(method, f"{RACES}/{race}{place}", json=body))
        await wait_until(lambda: database.fetchval(_WAITS), what="it to wait for the race's row")
    async with await asking as answer:
        assert answer.status == 409


# --- people and chips -------------------------------------------------------------------------------------


async def test_of_two_who_import_files_the_second_overrules_nobody_unseen(
    ask: Ask, race: str, database: Database
) -> None:
    async def has() -> Any:
        return await ask("GET", f"{RACES}/{race}/participants")

    async def upload(
        kind: str, file: str, seen: str | None, status: int = 200, dry_run: str = "false"
    ) -> Any:
        query = {"dry_run": dry_run} | ({} if seen is None else {"expected_roster_changed_at": seen})
        path = f"{RACES}/{race}/{kind}/upload"
        return await ask("POST", path, status=status, data=form(file), params=query)

    made = (await ask("GET", RACES))["races"][0]
    seen = made["roster_changed_at"]
    assert seen == made["created_at"]
    # What a look at a file says is what was so at that moment.
    assert (await upload("participants", "1,A,A\n", seen, dry_run="true"))["roster_changed_at"] == seen
    people = (await upload("participants", "1,A,A\n", seen))["roster_changed_at"]
    chips = (await upload("chips", "1,aa\n", people))["roster_changed_at"]
    assert seen < people < chips == (await ask("GET", f"{RACES}/{race}"))["roster_changed_at"]
    before, entries = await has(), await database.fetchval("SELECT count(*) FROM activity")
    for kind, file in (("participants", "2,B,B\n"), ("chips", "2,bb\n")):
        for stale in (seen, people):
            for dry_run in ("true", "false"):
                refused = await upload(kind, file, stale, 409, dry_run)
                assert refused["details"] == {"roster_changed_at": chips}
                assert "look at them again" in refused["message"]
    assert (await has(), await database.fetchval("SELECT count(*) FROM activity")) == (before, entries)
    # A person who was removed comes back by no file that was looked at before.
    await ask("DELETE", f"{RACES}/{race}/bibs/1", status=204)
    removed = (await upload("participants", "1,A,A\n", chips, 409))["details"]["roster_changed_at"]
    assert (await upload("participants", "2,B,B\n", removed))["imported"] == 1
    # A script need not say.
    await upload("participants", "3,C,C\n", None)


@pytest.mark.parametrize("kind", ["participants", "chips"])
async def test_who_waits_for_another_s_import_is_told_of_it(
    ask: Ask, race: str, kind: str, database: Database
) -> None:
    seen = (await ask("GET", f"{RACES}/{race}"))["roster_changed_at"]
    path, query = f"{RACES}/{race}/{kind}/upload", {"expected_roster_changed_at": seen}
    async with database.transaction():
        await database.execute("UPDATE races SET roster_changed_at = now()")
        asking = asyncio.ensure_future(ask("POST", path, status=409, data=form("1,a,a\n"), params=query))
        await wait_until(lambda: database.fetchval(_WAITS), what="it to wait for the race's row")
    assert (await asking)["details"]["roster_changed_at"] > seen
    assert (await ask("GET", f"{RACES}/{race}/participants"))["participants"] == []


# --- whose forwarders and epochs are ----------------------------------------------------------------------


@pytest.mark.parametrize("what", ["/api/v1/forwarders/start/race", "/api/v1/streams/{}/epochs/3/race"])
async def test_who_gives_away_what_another_has_given_away_is_told(
    ask: Ask, race: str, stream: UUID, what: str
) -> None:
    path = what.format(stream)
    other = (await ask("POST", RACES, status=201, json={"name": "5 km"}))["race_id"]
    for race_id in (race, race):  # the second has it as he wants it
        await ask("PUT", path, json={"race_id": race_id, "expected_race_id": None})
    for wanted, expected in ((other, None), (None, other)):
        refused = await ask("PUT", path, status=409, json={"race_id": wanted, "expected_race_id": expected})
        assert refused["details"] == {"race_id": race}
    assert (await ask("PUT", path, json={"race_id": other, "expected_race_id": race}))["race_id"] == other
    assert (await ask("PUT", path, json={"race_id": None, "expected_race_id": other}))["race_id"] is None


# --- beginning --------------------------------------------------------------------------------------------


async def test_of_two_who_begin_a_race_each_stream_obeys_the_first(
    ask: Ask, race: str, stream: UUID, database: Database, database_url: str
) -> None:
    unnamed = await add_stream(database, "start", "10.0.0.2:10000", epoch=7)
    await ask("PUT", "/api/v1/forwarders/start/race", json={"race_id": race})
    await database.execute("UPDATE streams SET stream_epoch = 2 WHERE stream_id = $1", stream)
    await ask("PUT", f"/api/v1/streams/{stream}/epochs/2/race", json={"race_id": race})
    body = {"expected_epochs": {str(stream): 1}, "epoch_name": "Gun"}
    async with ending(database_url, "done", {"new_stream_epoch": 8}) as came:
        found = (await ask("POST", f"{RACES}/{race}/begin", json=body))["results"]
    assert found[0] == {
        "stream_id": str(stream),
        "state": "begun_already",
        "new_stream_epoch": None,
        "message": "somebody else has begun it: epoch 2",
    }
    # One of which nothing is expected begins as ever.
    assert (found[1]["stream_id"], found[1]["state"]) == (str(unnamed), "begun")
    assert [request["stream_id"] for _, request in came] == [str(unnamed)]


@pytest.mark.parametrize("of_race", [True, False])
async def test_who_is_second_after_the_look_is_told_by_the_gateway(
    ask: Ask, race: str, stream: UUID, database: Database, database_url: str, *, of_race: bool
) -> None:
    await ask("PUT", f"/api/v1/streams/{stream}/epochs/{2 if of_race else 9}/race", json={"race_id": race})
    # Between the api's look and the gateway's.
    await database.execute(
        """
        CREATE FUNCTION another() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN UPDATE streams SET stream_epoch = 2; RETURN NULL; END $$;
        CREATE TRIGGER another AFTER INSERT ON commands EXECUTE FUNCTION another();
        """
    )
    async with ending(database_url, "absent") as came:
        (found,) = (await ask("POST", f"{RACES}/{race}/begin", json={"expected_epochs": {str(stream): 1}}))[
            "results"
        ]
    assert came[0][1]["expected_epoch"] == 1
    told = ("begun_already", "epoch 2") if of_race else ("failed", "it is in epoch 2, not in 1")
    assert (found["state"], told[1] in found["message"]) == (told[0], True)


async def test_a_stream_is_sent_to_its_next_epoch_out_of_the_expected_one_only(
    ask: Ask, race: str, stream: UUID, database_url: str
) -> None:
    await ask("PUT", f"/api/v1/streams/{stream}/epochs/1/race", json={"race_id": race})
    path = f"{RACES}/{race}/streams/{stream}/epochs/activate-next"
    async with carrying_out(database_url, lambda *_: ("done", {"new_stream_epoch": 2})) as came:
        refused = await ask("POST", path, status=409, json={"expected_epoch": 3})
        assert refused["details"] == {"stream_epoch": 1}
        await ask("POST", path, status=204, json={"expected_epoch": 1})
    assert [request["expected_epoch"] for _, request in came] == [1]


# --- what is the same as before ---------------------------------------------------------------------------


async def test_a_course_that_is_the_same_is_not_sent_again(
    client: Client, ask: Ask, race: str, stream: UUID
) -> None:
    path = f"{RACES}/{race}/course"
    await ask("PUT", "/api/v1/forwarders/start/race", json={"race_id": race})
    async with client.get(path) as answer:
        tag, body = answer.headers["ETag"], await answer.json()
    assert [each["name"] for each in body["points"]] == ["start · 10.0.0.1:10000"]
    async with client.get(path, headers={"If-None-Match": tag}) as answer:
        assert (answer.status, await answer.read(), answer.headers["ETag"]) == (304, b"", tag)
    await ask("PUT", path, json={"points": [{"name": "Start", "stream_ids": [str(stream)]}]})
    async with client.get(path, headers={"If-None-Match": tag}) as answer:
        assert (answer.status, (await answer.json())["points"][0]["name"]) == (200, "Start")
        assert answer.headers["ETag"] != tag


async def test_streams_without_a_place_are_counted_where_they_are_not_wanted(
    ask: Ask, race: str, stream: UUID, database: Database
) -> None:
    for n in range(2, 6):
        await add_stream(database, "start", f"10.0.0.{n}:10000")
    await ask("PUT", "/api/v1/forwarders/start/race", json={"race_id": race})
    path = f"{RACES}/{race}/course"
    await ask("PUT", path, json={"points": [{"name": "Start", "stream_ids": [str(stream)]}]})

    async def found(query: str) -> tuple[list[bool], int]:
        course = await ask("GET", path + query)
        return [each["placed"] for each in course["points"]], course["left_out"]

    assert await found("") == ([True, False, False, False, False], 0)
    assert await found("?unplaced=1") == ([True, False], 3)
    assert await found("?unplaced=0") == ([True], 4)
    assert (await found("?unplaced=9"))[1] == 0
    await ask("GET", path + "?unplaced=-1", status=400)
