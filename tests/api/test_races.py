"""Races over HTTP: made, given people and chips, forwarders and epochs, and deleted."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from io import BytesIO
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import orjson
import pytest

from api.http.uploads import Upload
from api.races import imports, rosters
from api.races.forgetting import Forgetting
from api.races.store import mappings, races
from api.streams import epoch_names
from shared.runtime.activity import Activity
from shared.runtime.process import Process
from tests.api.conftest import RACES, Ask, Client, Noted
from tests.api.seeds import (
    Database,
    add_forwarder_session,
    add_metrics,
    add_process,
    add_receiver_session,
    add_stream,
)

PEOPLE = "1,Byron,Ada,Analysts,,F\n2,Turing,Alan,,,M\n"
LATER = "2999-01-01T00:00:00+00:00"
CHIPS = "1,058000000001\n1,058000000011\n2,058000000002\n"


def form(content: str | bytes, field: str = "file") -> aiohttp.FormData:
    """Return a form with a file in it."""
    data = aiohttp.FormData()
    file = BytesIO(content.encode() if isinstance(content, str) else content)
    data.add_field(field, file, filename="roster.ppl")
    return data


async def fill(ask: Ask, race: str, people: str = PEOPLE, chips: str = CHIPS) -> None:
    await ask("POST", f"{RACES}/{race}/participants/upload", data=form(people))
    await ask("POST", f"{RACES}/{race}/chips/upload", data=form(chips))


# --- races -----------------------------------------------------------------------------------------------


async def test_races_are_listed_newest_first_with_how_many_run_and_how_many_chips(ask: Ask) -> None:
    first = await ask("POST", RACES, status=201, json={"name": " 10 km "})
    second = await ask("POST", RACES, status=201, json={"name": "5 km"})
    assert first["name"] == "10 km"
    assert (first["participant_count"], first["chip_count"], first["participants_until"]) == (0, 0, None)
    await fill(ask, first["race_id"])
    found = (await ask("GET", RACES))["races"]
    assert [each["race_id"] for each in found] == [second["race_id"], first["race_id"]]
    assert [(each["participant_count"], each["chip_count"]) for each in found] == [(0, 0), (2, 3)]


@pytest.mark.parametrize("name", ["", "  \t", "x" * 256, "a\0b", 7, None])
async def test_a_race_has_a_name(ask: Ask, race: str, name: object) -> None:
    for method, path in (("POST", RACES), ("PATCH", f"{RACES}/{race}")):
        assert (await ask(method, path, status=400, json={"name": name}))["code"] == "BAD_REQUEST"


async def test_a_race_is_renamed_and_who_renamed_it_is_noted(ask: Ask, race: str, noted: Noted) -> None:
    assert (await ask("PATCH", f"{RACES}/{race}", json={"name": "Half"}))["name"] == "Half"
    entry = await noted("race_renamed")
    assert (entry["race"], entry["name"], entry["race_id"], entry["by"]) == (
        "10 km",
        "Half",
        race,
        "no token",
    )
    await noted("race_created", race="10 km")
    for body in ({}, {"nme": "x"}):
        await ask("PATCH", f"{RACES}/{race}", status=400, json=body)


@pytest.mark.parametrize("spelling", [str.upper, lambda u: u.replace("-", ""), "urn:uuid:{}".format])
async def test_a_race_is_found_by_its_id_however_it_is_spelt(
    ask: Ask, race: str, spelling: Callable[[str], str]
) -> None:
    assert (await ask("GET", f"{RACES}/{spelling(race)}"))["race_id"] == race


async def test_what_is_no_race_is_not_found_whatever_is_asked_of_it(ask: Ask) -> None:
    none = f"{RACES}/{uuid4()}"
    asked: list[tuple[str, str, dict[str, Any]]] = [
        ("GET", "", {}),
        ("PATCH", "", {"json": {"name": "x"}}),
        ("DELETE", "", {}),
        ("GET", "/participants", {}),
        ("GET", "/unknown-chips", {}),
        ("GET", "/stream-epochs", {}),
        ("DELETE", "/bibs/1", {}),
        ("POST", "/participants/upload", {"data": form(PEOPLE)}),
        ("POST", "/chips/upload", {"data": form(CHIPS)}),
        ("POST", f"/streams/{uuid4()}/epochs/activate-next", {}),
        ("POST", "/begin", {}),
    ]
    for method, path, more in asked:
        assert (await ask(method, none + path, status=404, **more))["code"] == "NOT_FOUND", path
    await ask("GET", f"{RACES}/no-uuid", status=400)


async def test_there_is_a_most_of_races(ask: Ask, race: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(races, "MOST_RACES", 1)
    assert "delete one" in (await ask("POST", RACES, status=409, json={"name": "x"}))["message"]


async def test_a_race_that_a_receiver_follows_is_not_deleted_and_nor_are_the_others(
    ask: Ask, race: str, database: Database
) -> None:
    session = await add_receiver_session(database, "tent", await add_process(database, "fanout"), [])
    await database.execute(
        "UPDATE receiver_sessions SET race_id = $2 WHERE session_id = $1", session, UUID(race)
    )
    await ask("POST", RACES, status=201, json={"name": "other"})
    for path in (f"{RACES}/{race}", "/api/v1/admin/races"):
        assert "follows" in (await ask("DELETE", path, status=409))["message"]
    assert len((await ask("GET", RACES))["races"]) == 2
    await database.execute("DELETE FROM receiver_sessions")
    await ask("DELETE", f"{RACES}/{race}", status=204)
    await ask("DELETE", f"{RACES}/{race}", status=404)
    for _ in range(2):
        await ask("DELETE", "/api/v1/admin/races", status=204)
    assert (await ask("GET", RACES))["races"] == []


# --- people and chips ------------------------------------------------------------------------------------


async def test_a_roster_holds_people_by_bib_with_their_chips_and_what_is_wrong_with_chips(
    ask: Ask, race: str
) -> None:
    await fill(ask, race, "9,Z,Z\n1,Byron,Ada,Analysts,,F\n", "1,BB\n1,aa\n5,cc\n9,bb\n5,aa\n")
    assert await ask("GET", f"{RACES}/{race}/participants") == {
        "participants": [
            {
                "bib": 1,
                "first_name": "Ada",
                "last_name": "Byron",
                "gender": "F",
                "affiliation": "Analysts",
                "chip_ids": ["bb", "aa"],
            },
            {
                "bib": 9,
                "first_name": "Z",
                "last_name": "Z",
                "gender": "X",
                "affiliation": None,
                "chip_ids": [],
            },
        ],
        "chips_without_participant": [{"chip_id": "cc", "bib": 5}],
        "ambiguous_chips": [{"chip_id": "bb", "bibs": [1, 9]}, {"chip_id": "aa", "bibs": [1, 5]}],
    }
    details = await ask("GET", f"{RACES}/{race}")
    assert (details["unmatched_count"], details["ambiguous_count"]) == (1, 2)


async def test_an_empty_race_has_an_empty_roster(ask: Ask, race: str) -> None:
    assert await ask("GET", f"{RACES}/{race}/participants") == {
        "participants": [],
        "chips_without_participant": [],
        "ambiguous_chips": [],
    }


async def test_an_import_replaces_all_of_its_kind_and_says_what_became_of_the_file(
    ask: Ask, race: str, noted: Noted
) -> None:
    await fill(ask, race)
    answer = await ask(
        "POST", f"{RACES}/{race}/participants/upload", data=form(";c\n3,C,C\n3,D,D\n", "anything")
    )
    assert answer == {
        "imported": 1,
        "skipped": 1,
        "duplicates": 1,
        "warnings": [{"line": 3, "message": "bib 3 is that of line 2 already: left out"}],
        "roster_changed_at": (await ask("GET", f"{RACES}/{race}"))["roster_changed_at"],
    }
    roster = await ask("GET", f"{RACES}/{race}/participants")
    assert [each["bib"] for each in roster["participants"]] == [3]
    assert len(roster["chips_without_participant"]) == 3
    await noted("participants_imported", race="10 km", count=1)
    await noted("chips_imported", count=3)


@pytest.mark.parametrize("kind", ["participants", "chips"])
async def test_a_bad_row_changes_nothing_and_is_named(
    ask: Ask, race: str, kind: str, database: Database
) -> None:
    await fill(ask, race)
    before = await ask("GET", f"{RACES}/{race}/participants")
    refused = await ask("POST", f"{RACES}/{race}/{kind}/upload", status=400, data=form("1,A,B\n2x,A,B\n3\n"))
    assert refused["code"] == "BAD_REQUEST"
    assert "line 2: bib '2x' is no whole number" in refused["message"]
    assert "line 3: fewer than" in refused["message"]
    assert refused["details"]["rows_bad"] == 2
    assert refused["details"]["rows"][0] == {"line": 2, "reason": "bib", "text": "2x,A,B"}
    assert await ask("GET", f"{RACES}/{race}/participants") == before


async def test_many_bad_rows_are_counted_and_the_first_are_named(ask: Ask, race: str) -> None:
    refused = await ask("POST", f"{RACES}/{race}/participants/upload", status=400, data=form("x\n" * 30))
    assert (len(refused["details"]["rows"]), refused["details"]["rows_bad"]) == (20, 30)
    assert refused["message"].endswith("; and 25 more")


async def test_a_dry_run_says_the_same_and_changes_nothing(ask: Ask, race: str, database: Database) -> None:
    await fill(ask, race)
    before = await ask("GET", f"{RACES}/{race}/participants")
    path = f"{RACES}/{race}/participants/upload?dry_run=true"
    assert (await ask("POST", path, data=form("3,C,C\n")))["imported"] == 1
    await ask("POST", path, status=400, data=form("x\n"))
    assert await ask("GET", f"{RACES}/{race}/participants") == before
    assert await database.fetchval("SELECT count(*) FROM activity WHERE event ~ 'imported'") <= 2


async def test_a_file_is_10_mib_at_the_most(ask: Ask, race: str) -> None:
    comment = b";" + b"x" * (rosters.MOST_BYTES - len(b";\n1,Byron,Ada")) + b"\n"
    path = f"{RACES}/{race}/participants/upload"
    assert (await ask("POST", path, data=form(comment + b"1,Byron,Ada")))["imported"] == 1
    refused = await ask("POST", path, status=413, data=form(comment + b"1,Byron,Ada\n"))
    assert refused == {"code": "PAYLOAD_TOO_LARGE", "message": "the file is larger than 10 MiB"}


async def test_a_file_that_does_not_end_is_not_read_to_its_end(ask: Ask, race: str) -> None:
    async def endless() -> AsyncIterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\n'
        while True:
            yield b";" * 64 * 1024

    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    path = f"{RACES}/{race}/participants/upload"
    async with asyncio.timeout(60):
        refused = await ask("POST", path, status=413, data=endless(), headers=headers)
    assert refused["code"] == "PAYLOAD_TOO_LARGE"


async def test_a_file_of_too_many_rows_is_refused(
    ask: Ask, race: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "MOST_CHIPS", 2)
    refused = await ask("POST", f"{RACES}/{race}/chips/upload", status=413, data=form(CHIPS))
    assert "more than 2 chips" in refused["message"]


async def test_what_is_no_form_is_refused_and_an_unknown_race_before_anything_is_read(
    ask: Ask, client: Client, race: str
) -> None:
    for kind in ("participants", "chips"):
        path = f"{RACES}/{race}/{kind}/upload"
        refused = await ask("POST", path, status=415, data=PEOPLE, headers={"Content-Type": "text/plain"})
        assert refused["code"] == "UNSUPPORTED_MEDIA_TYPE"
        for kind_of in ("multipart/form-data", "multipart/form-data; boundary=x"):
            await ask("POST", path, status=400, data="no form", headers={"Content-Type": kind_of})
        for broken in ("--x\r\n", "--x\r\nContent-Disposition: a\rb\r\n\r\n1,a,b\r\n--x--\r\n", "--x--\r\n"):
            headers = {"Content-Type": "multipart/form-data; boundary=x"}
            await ask("POST", path, status=400, data=broken, headers=headers)

    # A body that never comes: its answer is there all the same.
    async def endless() -> Any:
        yield b"--x\r\n"
        await asyncio.Event().wait()

    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    async with asyncio.timeout(30):
        async with client.post(f"{RACES}/{uuid4()}/chips/upload", data=endless(), headers=headers) as answer:
            assert answer.status == 404


async def test_imports_of_a_process_have_a_bound(
    ask: Ask, race: str, monkeypatch: pytest.MonkeyPatch, client: Client
) -> None:
    began, go_on = asyncio.Event(), asyncio.Event()
    under_way = 0
    read = Upload.first_field

    async def slow(upload: Upload, *, at_most: int) -> bytes:
        """A file comes slowly, once there is a place for it."""
        nonlocal under_way
        under_way += 1
        if under_way == rosters.AT_ONCE:
            began.set()
        await go_on.wait()
        return await read(upload, at_most=at_most)

    monkeypatch.setattr(Upload, "first_field", slow)
    path = f"{RACES}/{race}/participants/upload"
    uploads = [asyncio.ensure_future(ask("POST", path, data=form(PEOPLE))) for _ in range(rosters.AT_ONCE)]
    await began.wait()
    monkeypatch.setattr(rosters, "WAITS_S", 0.05)
    async with client.post(path, data=form(PEOPLE)) as answer:
        assert answer.status == 503
    go_on.set()
    for each in uploads:
        assert (await each)["imported"] == 2
    assert under_way == rosters.AT_ONCE


async def test_one_person_is_removed_and_the_chip_stays(
    ask: Ask, race: str, noted: Noted, database: Database
) -> None:
    await fill(ask, race)
    await ask("DELETE", f"{RACES}/{race}/bibs/2", status=204)
    await ask("DELETE", f"{RACES}/{race}/bibs/2", status=404)
    roster = await ask("GET", f"{RACES}/{race}/participants")
    assert [each["bib"] for each in roster["participants"]] == [1]
    assert roster["chips_without_participant"] == [{"chip_id": "058000000002", "bib": 2}]
    entry = await noted("participant_removed")
    assert entry["bib"] == 2
    # Nobody's name is in any entry.
    assert not await database.fetchval(
        "SELECT count(*) FROM activity WHERE fields::text ~ 'Turing|Byron|Alan|Ada'"
    )


@pytest.fixture
def forgetting(process: Process, activity: Activity) -> Forgetting:
    """What removes people, to be made to look."""
    process.activity = activity
    return Forgetting(process)


async def test_people_are_removed_when_their_time_has_come(
    ask: Ask, race: str, forgetting: Forgetting, *, noted: Noted, database: Database
) -> None:
    other = (await ask("POST", RACES, status=201, json={"name": "later"}))["race_id"]
    for each in (race, other):
        await fill(ask, each)
        patched = await ask("PATCH", f"{RACES}/{each}", json={"participants_until": LATER})
        assert patched["participants_until"] == LATER
    assert not await forgetting.forget()
    await database.execute("UPDATE races SET participants_until = now() WHERE race_id = $1", UUID(race))
    assert await forgetting.forget()
    assert not await forgetting.forget()
    found = {each["race_id"]: each for each in (await ask("GET", RACES))["races"]}
    assert (found[race]["participant_count"], found[race]["chip_count"]) == (0, 3)
    assert found[race]["participants_until"] is None
    assert found[other]["participant_count"] == 2
    await noted("participants_forgotten", count=2)
    await ask("PATCH", f"{RACES}/{other}", json={"participants_until": None})
    assert (await ask("GET", f"{RACES}/{other}"))["participants_until"] is None


@pytest.mark.parametrize("past", ["2026-01-01T00:00:00+00:00", "1026-01-01T00:00:00+00:00"])
async def test_nobody_is_removed_by_a_year_that_was_mistyped(
    ask: Ask, race: str, past: str, *, forgetting: Forgetting, database: Database
) -> None:
    path = f"{RACES}/{race}"
    await fill(ask, race)
    body = {"participants_until": past, "name": "Ten"}
    refused = await ask("PATCH", path, status=400, json=body)
    assert "would be removed at once, for good; give a time to come" in refused["message"]
    assert not await forgetting.forget()
    found = await ask("GET", path)
    assert (found["name"], found["participants_until"], found["participant_count"]) == ("10 km", None, 2)
    # What is so already is nobody's mistake, though its time comes just now; and it can still be called off.
    await database.execute("UPDATE races SET participants_until = '2026-01-01'")
    due = (await ask("GET", path))["participants_until"]
    await ask("PATCH", path, json={"participants_until": due, "name": "Ten"})
    await ask("PATCH", path, json={"participants_until": LATER, "expected_participants_until": due})


@pytest.mark.parametrize("field", ["gun_at", "participants_until"])
@pytest.mark.parametrize("edge", ["9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00"])
async def test_a_time_beyond_the_calendar_is_refused(ask: Ask, race: str, field: str, edge: str) -> None:
    refused = await ask("PATCH", f"{RACES}/{race}", status=400, json={field: edge})
    assert "years 2 to 9998" in refused["message"]
    await ask("PATCH", f"{RACES}/{race}", status=400, json={"name": "x", f"expected_{field}": edge})


async def test_people_are_kept_for_as_long_as_the_setting_says_where_the_race_does_not(
    serve: Callable[..., Awaitable[Client]], database: Database
) -> None:
    client = await serve(participants_kept_days="30")
    ids = []
    for until in (None, "2999-01-01T00:00:00+00:00"):
        async with client.post(RACES, json={"name": "x"}) as answer:
            ids.append((await answer.json())["race_id"])
        if until:
            await client.patch(f"{RACES}/{ids[-1]}", json={"participants_until": until})
        async with client.post(f"{RACES}/{ids[-1]}/participants/upload", data=form(PEOPLE)) as answer:
            assert answer.status == 200
    kept = await database.fetch(
        "SELECT participants_until - now() BETWEEN interval '29 d' AND interval '30 d' FROM races ORDER BY created_at"
    )
    assert [each[0] for each in kept] == [True, False]
    # Nobody has asked for it by itself: the log says because of what people will be removed, of that race alone.
    said = await database.fetch(
        "SELECT fields::jsonb FROM activity WHERE event = 'participants_kept_until' AND fields ? 'because'"
    )
    (entry,) = (orjson.loads(each[0]) for each in said)
    assert (entry["race_id"], entry["because"], entry["by"]) == (
        ids[0],
        "PARTICIPANTS_KEPT_DAYS=30",
        "no token",
    )
    # Once: what is so already is not said with each import.
    async with client.post(f"{RACES}/{ids[0]}/participants/upload", data=form(PEOPLE)) as answer:
        assert answer.status == 200
    found = await database.fetchval("SELECT count(*) FROM activity WHERE fields ? 'because'")
    assert found == 1


# --- forwarders and epochs -------------------------------------------------------------------------------


async def test_a_forwarder_has_one_race_known_or_not(ask: Ask, race: str, noted: Noted) -> None:
    other = (await ask("POST", RACES, status=201, json={"name": "5 km"}))["race_id"]
    path = "/api/v1/forwarders/start/race"
    assert await ask("GET", path) == {"forwarder_id": "start", "race_id": None}
    assert await ask("PUT", path, json={"race_id": race}) == {"forwarder_id": "start", "race_id": race}
    assert await ask("PUT", path, json={"race_id": other}) == {"forwarder_id": "start", "race_id": other}
    assert await ask("GET", "/api/v1/forwarder-races") == {
        "assignments": [{"forwarder_id": "start", "race_id": other}]
    }
    await noted("forwarder_race_set", race="5 km")
    bodies: list[dict[str, Any]] = [{"json": {"race_id": None}}, {}, {"json": {}}]
    for body in bodies:
        assert await ask("PUT", path, **body) == {"forwarder_id": "start", "race_id": None}
    assert await ask("GET", "/api/v1/forwarder-races") == {"assignments": []}
    await noted("forwarder_race_unset", race="5 km")


async def test_a_forwarder_s_race_must_be_one_and_the_id_a_forwarder_s(ask: Ask, race: str) -> None:
    await ask("PUT", "/api/v1/forwarders/start/race", status=404, json={"race_id": str(uuid4())})
    wrong: list[Any] = [{"race_id": "x"}, {"race": race}, []]
    for body in wrong:
        await ask("PUT", "/api/v1/forwarders/start/race", status=400, json=body)
    await ask("PUT", "/api/v1/forwarders/no%20id/race", status=400, json={"race_id": race})


async def test_epochs_are_mapped_before_they_begin_and_listed(
    ask: Ask, race: str, database: Database, noted: Noted
) -> None:
    stream = await add_stream(database, epoch=2)
    await add_metrics(database, stream, epoch=1, dedup=3)
    epochs = f"/api/v1/streams/{stream}/epochs"
    mapped = await ask("PUT", f"{epochs}/5/race", json={"race_id": race})
    assert mapped == {"stream_id": str(stream), "stream_epoch": 5, "race_id": race}
    await noted("epoch_race_set", stream_epoch=5)
    await ask("PUT", f"{epochs}/1/race", json={"race_id": race})
    named = await ask("PUT", f"{epochs}/2147483647/name", json={"name": "  far  "})
    assert (named["stream_id"], named["stream_epoch"], named["name"]) == (str(stream), 2147483647, "far")
    assert (named["event_count"], named["first_event_at"]) == (0, None)
    found = await ask("GET", epochs)
    assert [(each["epoch"], each["name"], each["race_id"]) for each in found] == [
        (1, None, race),
        (2, None, None),
        (5, None, race),
        (2147483647, "far", None),
    ]
    assert [each["event_count"] for each in found] == [3, 0, 0, 0]
    assert await ask("GET", f"{RACES}/{race}/stream-epochs") == {
        "mappings": [
            {
                "stream_id": str(stream),
                "forwarder_id": "start",
                "reader_ip": "10.0.0.1:10000",
                "stream_epoch": epoch,
                "race_id": race,
            }
            for epoch in (1, 5)
        ]
    }
    bodies: list[dict[str, Any]] = [{"json": {"race_id": None}}, {}]
    for body in bodies:
        assert (await ask("PUT", f"{epochs}/5/race", **body))["race_id"] is None
    await noted("epoch_race_unset", stream_epoch=5)
    details = await ask("GET", f"{RACES}/{race}")
    assert details["mapped_epochs"] == [{"stream_id": str(stream), "stream_epoch": 1}]


async def test_what_cannot_be_mapped_or_named(ask: Ask, race: str, database: Database) -> None:
    epochs = f"/api/v1/streams/{await add_stream(database)}/epochs"
    nowhere = f"/api/v1/streams/{uuid4()}/epochs"
    await ask("PUT", f"{epochs}/1/race", status=404, json={"race_id": str(uuid4())})
    await ask("PUT", f"{nowhere}/1/race", status=404, json={"race_id": race})
    await ask("PUT", f"{nowhere}/1/race", status=404, json={"race_id": None})
    await ask("PUT", f"{nowhere}/1/name", status=404, json={"name": "x"})
    await ask("PUT", f"{epochs}/1/name", status=400, json={})
    await ask("PUT", f"{epochs}/1/name", status=400, json={"name": "x" * 256})
    for epoch in (0, 2**31, "x"):
        await ask("PUT", f"{epochs}/{epoch}/race", status=400, json={"race_id": race})
        await ask("PUT", f"{epochs}/{epoch}/name", status=400, json={"name": "x"})


async def test_a_stream_has_a_most_of_names_and_of_mapped_epochs(
    ask: Ask, race: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(epoch_names, "MOST_NAMES", 2)
    monkeypatch.setattr(mappings, "MOST_MAPPED", 2)
    epochs = f"/api/v1/streams/{await add_stream(database)}/epochs"
    for epoch, status in ((1, 200), (2, 200), (3, 409)):
        await ask("PUT", f"{epochs}/{epoch}/name", status=status, json={"name": "x"})
        await ask("PUT", f"{epochs}/{epoch}/race", status=status, json={"race_id": race})
    await ask("PUT", f"{epochs}/2/name", json={"name": "y"})
    await ask("PUT", f"{epochs}/2/race", json={"race_id": race})


async def test_unknown_chips_are_those_that_epochs_of_the_race_have_seen_and_it_has_not(
    ask: Ask, race: str, database: Database
) -> None:
    stream = await add_stream(database)
    await fill(ask, race)
    for epoch, tags in (
        (1, ["058000000001", "0580000000ff"]),
        (2, ["0580000000ff", "0580000000ee"]),
        (3, ["dd"]),
    ):
        await add_metrics(database, stream, epoch=epoch, dedup=1)
        for tag in tags:
            await database.execute("INSERT INTO epoch_chips VALUES ($1, $2, $3)", stream, epoch, tag)
    for epoch in (1, 2):
        await ask("PUT", f"/api/v1/streams/{stream}/epochs/{epoch}/race", json={"race_id": race})
    assert (await ask("GET", f"{RACES}/{race}"))["unknown_chip_count"] == 2
    assert await ask("GET", f"{RACES}/{race}/unknown-chips") == {
        "chips": [
            {"chip_id": each, "streams": ["start · 10.0.0.1:10000"]}
            for each in ("0580000000ee", "0580000000ff")
        ]
    }


async def test_a_stream_says_how_its_current_epoch_is_called_and_whether_its_reader_is_there(
    ask: Ask, database: Database
) -> None:
    stream = await add_stream(database, epoch=2)
    await ask("PUT", f"/api/v1/streams/{stream}/epochs/1/name", json={"name": "old"})
    (found,) = (await ask("GET", "/api/v1/streams"))["streams"]
    assert (found["current_epoch_name"], found["reader_connected"], found["online"]) == (None, False, False)
    await ask("PUT", f"/api/v1/streams/{stream}/epochs/2/name", json={"name": "now"})
    gateway = await add_process(database, "gateway")
    await add_forwarder_session(database, "start", gateway)
    for said, connected in ((None, True), (True, True), (False, False)):
        await database.execute("DELETE FROM reader_states")
        await database.execute(
            """
            INSERT INTO reader_states (forwarder_id, reader_ip, session_id, connected, version)
            SELECT 'start', '10.0.0.1:10000', session_id, $1, 1 FROM forwarder_sessions
            """,
            said,
        )
        (found,) = (await ask("GET", "/api/v1/streams"))["streams"]
        assert (found["current_epoch_name"], found["reader_connected"]) == ("now", connected)
    # What a session of before has said counts for nothing once this one has had the time to tell.
    await database.execute("UPDATE forwarder_sessions SET connected_at = now() - interval '3 seconds'")
    await database.execute("UPDATE reader_states SET session_id = gen_random_uuid()")
    assert (await ask("GET", "/api/v1/streams"))["streams"][0]["reader_connected"]
