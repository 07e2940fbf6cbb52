"""How a race begins: streams are commanded to epochs that are the race's, with a gateway that is a few lines of SQL."""

import asyncio
import re
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from api.commands import ask as commands
from api.races import beginning
from tests.api.conftest import RACES, Ask, Noted
from tests.api.gateways import carrying_out, ending
from tests.api.seeds import Database, add_forwarder_session, add_process, add_stream
from tests.waiting import stretched, wait_until


async def connect(database: Database, *forwarders: str) -> None:
    gateway = await add_process(database, "gateway")
    for each in forwarders:
        await add_forwarder_session(database, each, gateway)


async def assign(ask: Ask, race: str, *forwarders: str) -> None:
    for each in forwarders:
        await ask("PUT", f"/api/v1/forwarders/{each}/race", json={"race_id": race})


# --- one stream ------------------------------------------------------------------------------------------


async def test_the_next_epoch_is_commanded_as_the_race_s(
    ask: Ask, race: str, database: Database, database_url: str, noted: Noted
) -> None:
    stream = await add_stream(database, epoch=4)
    await connect(database, "start")
    path = f"{RACES}/{race}/streams/{stream}/epochs/activate-next"
    await ask("POST", path, status=404)
    await ask("PUT", f"/api/v1/streams/{stream}/epochs/2/race", json={"race_id": race})
    async with ending(database_url, "done", {"new_stream_epoch": 5}) as came:
        await ask("POST", path, status=204, headers={"Content-Type": "application/json"})
    assert came == [
        ("epoch_reset", {"stream_id": str(stream), "reader_ip": "10.0.0.1:10000", "race_id": race})
    ]
    ended = await noted("epoch_reset_ended")
    assert (ended["race"], ended["stream_epoch"], ended["ending"]) == ("10 km", 5, "done")


async def test_a_stream_that_has_an_epoch_of_another_race_only_is_not_found(
    ask: Ask, race: str, database: Database
) -> None:
    stream = await add_stream(database)
    other = (await ask("POST", RACES, status=201, json={"name": "5 km"}))["race_id"]
    await ask("PUT", f"/api/v1/streams/{stream}/epochs/1/race", json={"race_id": other})
    for each in (stream, uuid4()):
        await ask("POST", f"{RACES}/{race}/streams/{each}/epochs/activate-next", status=404)


async def test_who_is_not_connected_or_does_not_answer_is_told_apart(
    ask: Ask, race: str, database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "ANSWER_WITHIN_S", 0.5)
    stream = await add_stream(database)
    await ask("PUT", f"/api/v1/streams/{stream}/epochs/1/race", json={"race_id": race})
    path = f"{RACES}/{race}/streams/{stream}/epochs/activate-next"
    assert (await ask("POST", path, status=409))["message"] == "forwarder not connected"
    await connect(database, "start")
    async with carrying_out(database_url, lambda *_: None):
        await ask("POST", path, status=504)


# --- all at once -----------------------------------------------------------------------------------------


async def test_a_race_begins_on_the_streams_of_its_forwarders_and_those_with_an_epoch_of_it(
    ask: Ask, race: str, database: Database, database_url: str, noted: Noted
) -> None:
    own = [await add_stream(database, "start", f"10.0.0.{n}:10000") for n in (1, 2)]
    mapped = await add_stream(database, "finish")
    await add_stream(database, "elsewhere")
    await connect(database, "start", "finish", "elsewhere")
    await assign(ask, race, "start")
    await ask("PUT", f"/api/v1/streams/{mapped}/epochs/9/race", json={"race_id": race})
    async with ending(database_url, "done", {"new_stream_epoch": 2}) as came:
        answer = await ask("POST", f"{RACES}/{race}/begin", json={"epoch_name": " Gun "})
    assert answer == {
        "results": [
            {"stream_id": str(each), "state": "begun", "new_stream_epoch": 2, "message": None}
            for each in (*own, mapped)
        ],
        "message": None,
    }
    assert {request["race_id"] for _, request in came} == {race}
    names = await database.fetch("SELECT stream_id, stream_epoch, name FROM epoch_names")
    assert {tuple(each) for each in names} == {(each, 2, "Gun") for each in (*own, mapped)}
    entry = await noted("race_begun")
    assert (entry["streams"], entry["begun"], entry["epoch_name"]) == (3, 3, "Gun")


async def test_each_stream_says_what_became_of_it(
    ask: Ask, race: str, database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "ANSWER_WITHIN_S", 4.0)
    streams = {each: await add_stream(database, each) for each in ("good", "away", "silent", "busy")}
    second = await add_stream(database, "silent", "10.0.0.2:10000")
    await connect(database, "good", "silent", "busy")
    ends: dict[UUID, Any] = {
        streams["good"]: ("done", {"new_stream_epoch": 3}),
        streams["silent"]: None,
        streams["busy"]: ("busy", None),
    }
    nowhere = uuid4()
    wanted = [str(each) for each in (*streams.values(), second, nowhere)]

    def gateway(_kind: str, request: Any) -> Any:
        return ends[UUID(request["stream_id"])]

    async with carrying_out(database_url, gateway) as came:
        answer = await ask("POST", f"{RACES}/{race}/begin", json={"stream_ids": [*wanted, wanted[0]]})
    found = {each["stream_id"]: each for each in answer["results"]}
    assert [each["stream_id"] for each in answer["results"]] == wanted
    assert [found[each]["state"] for each in wanted] == [
        "begun",
        "not_connected",
        "unknown",
        "failed",
        "failed",
        "failed",
    ]
    assert found[wanted[0]]["new_stream_epoch"] == 3
    # A forwarder that does not answer is asked for one stream, not for each of them.
    assert [UUID(each["stream_id"]) for _, each in came].count(second) == 0
    assert "has not answered" in found[str(second)]["message"]
    assert "no stream" in found[str(nowhere)]["message"]


async def test_a_forwarder_that_is_not_there_is_looked_for_once(
    ask: Ask, race: str, database: Database, noted: Noted
) -> None:
    for n in range(5):
        await add_stream(database, "away", f"10.0.0.{n}:10000")
    await assign(ask, race, "away")
    results = (await ask("POST", f"{RACES}/{race}/begin"))["results"]
    assert [each["state"] for each in results] == ["not_connected"] * 5
    # What is noted comes in order.
    await noted("race_begun", begun=0)
    assert await database.fetchval("SELECT count(*) FROM activity WHERE event = 'epoch_reset_asked'") == 1


async def test_what_would_come_too_late_is_not_asked(
    ask: Ask, race: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beginning, "ASKED_WITHIN_S", -1.0)
    await add_stream(database)
    await connect(database, "start")
    await assign(ask, race, "start")
    (result,) = (await ask("POST", f"{RACES}/{race}/begin"))["results"]
    assert (result["state"], result["new_stream_epoch"]) == ("failed", None)
    assert "too much was to be done" in result["message"]


async def test_streams_of_a_forwarder_are_asked_for_some_at_once_behind_one_that_was_alone(
    ask: Ask, race: str, database: Database
) -> None:
    for n in range(6):
        await add_stream(database, "start", f"10.0.0.{n}:10000")
    await connect(database, "start")
    await assign(ask, race, "start")
    begins = asyncio.ensure_future(ask("POST", f"{RACES}/{race}/begin"))
    # Alone at first; then four at the most; the last takes the place of one of them.
    for count in (1, 4, 1):
        await wait_until(lambda: _asked(database, count), what=f"{count} at once")  # noqa: B023
        await asyncio.sleep(0.1)
        assert await _asked(database, count)
        await database.execute("UPDATE commands SET state = 'done', answer = '{\"new_stream_epoch\": 2}'")
        await database.execute("NOTIFY rt_answers")
    assert [each["state"] for each in (await begins)["results"]] == ["begun"] * 6


async def _asked(database: Database, count: int) -> bool:
    return bool(await database.fetchval("SELECT count(*) FROM commands WHERE state = 'asked'") == count)


# --- what goes wrong on the way --------------------------------------------------------------------------

_NOT_WRITTEN = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql
    AS $$ BEGIN RAISE EXCEPTION 'away' USING ERRCODE = '57P01'; END $$;
CREATE TRIGGER refuse BEFORE {} EXECUTE FUNCTION refuse();
"""


@pytest.mark.parametrize("hangs", [False, True])
async def test_what_became_of_each_stream_is_answered_though_the_database_went_away_behind_the_commands(
    ask: Ask,
    race: str,
    database: Database,
    noted: Noted,
    *,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    hangs: bool,
) -> None:
    stream = await add_stream(database)
    await connect(database, "start")
    await assign(ask, race, "start")
    if not hangs:
        await database.execute(_NOT_WRITTEN.format("UPDATE ON races"))
    monkeypatch.setattr(beginning, "FINISHED_WITHIN_S", 0.2 if hangs else 60.0)
    async with ending(database_url, "done", {"new_stream_epoch": 2}), AsyncExitStack() as held:
        if hangs:
            another = await asyncpg.connect(database_url)
            held.push_async_callback(another.close)
            await held.enter_async_context(another.transaction())
            await another.execute("SELECT FROM races FOR NO KEY UPDATE")
        answer = await ask("POST", f"{RACES}/{race}/begin", json={"epoch_name": "Gun"})
    assert [(each["stream_id"], each["new_stream_epoch"]) for each in answer["results"]] == [(str(stream), 2)]
    # What to do, with the time that the clock would have gone from.
    at = re.search(
        r"set its gun to (\S+); the new epochs may have no name: call them Gun$", answer["message"]
    )
    assert at is not None
    assert datetime.fromisoformat(at[1]) <= datetime.now(UTC)
    # Whoever has begun it stands in the log when that can be written.
    await noted("race_begun", race="10 km", begun=1, by="no token")


async def test_a_stream_that_could_not_be_asked_and_one_that_may_have_been_are_told_apart(
    ask: Ask, race: str, database: Database, database_url: str
) -> None:
    await add_stream(database)
    await connect(database, "start")
    await assign(ask, race, "start")

    async def said(broken: str) -> tuple[str, str]:
        await database.execute(_NOT_WRITTEN.format(broken))
        (found,) = (await ask("POST", f"{RACES}/{race}/begin"))["results"]
        await database.execute("DROP FUNCTION refuse() CASCADE")
        return found["state"], found["message"]

    # The entry of who asks comes first: without it nothing is asked.
    entry = "INSERT ON activity FOR EACH ROW WHEN (NEW.event = 'epoch_reset_asked')"
    assert await said(entry) == ("failed", "not asked: the database is away")
    # An insert whose end nobody has heard of may be there.
    asked = "the database is away: nobody knows whether it was asked"
    assert await said("INSERT ON commands") == ("unknown", asked)


async def test_what_is_not_answered_in_time_keeps_no_other_s_answer(
    ask: Ask,
    race: str,
    database: Database,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(commands, "ANSWER_WITHIN_S", 600.0)
    monkeypatch.setattr(beginning, "ANSWERED_WITHIN_S", stretched(1.5))
    streams = {each: await add_stream(database, each) for each in ("good", "odd", "silent")}
    await connect(database, *streams)
    await assign(ask, race, *streams)
    ends: dict[str, Any] = {
        str(streams["good"]): ("done", {"new_stream_epoch": 3}),
        str(streams["odd"]): ("done", b"{"),
    }
    async with carrying_out(database_url, lambda _, request: ends.get(request["stream_id"])):
        results = (await ask("POST", f"{RACES}/{race}/begin"))["results"]
    assert {each["stream_id"]: each["state"] for each in results} == {
        str(streams["good"]): "begun",
        str(streams["odd"]): "unknown",
        str(streams["silent"]): "unknown",
    }
    assert (
        "no answer in time"
        in {each["stream_id"]: each for each in results}[str(streams["silent"])]["message"]
    )


async def test_a_race_without_a_stream_cannot_begin(ask: Ask, race: str, database: Database) -> None:
    await add_stream(database)
    refused = await ask("POST", f"{RACES}/{race}/begin", status=409)
    assert "give a forwarder to it" in refused["message"]
    wrong: list[dict[str, Any]] = [
        {"stream_ids": []},
        {"stream_ids": ["x"]},
        {"epoch_name": "x" * 256},
        {"streams": []},
    ]
    for body in wrong:
        await ask("POST", f"{RACES}/{race}/begin", status=400, json=body)
