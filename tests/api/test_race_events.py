"""What is told of races, of forwarders and epochs that are theirs: to programs that know of no more than that."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import aiohttp
import pytest

from api.live.messages import ForwarderRaceAssigned, Message, Resync, StreamUpdated
from api.live.races import Mark, Marks, Race, changes
from api.live.sparing import spared
from tests.api.conftest import RACES
from tests.api.seeds import (
    Database,
    add_events,
    add_forwarder_session,
    add_metrics,
    add_process,
    add_stream,
)
from tests.api.sse import Events, follow
from tests.services import Process, make_token

AT = datetime(2026, 5, 3, 8, 0, tzinfo=UTC)
LATER = AT + timedelta(seconds=1)
RACE, OTHER, STREAM = UUID(int=1), UUID(int=2), UUID(int=3)
NOTHING = Marks({}, {}, {})
TOKEN = "geheim-7-und-lang"


def told(before: Marks, now: Marks) -> list[Message]:
    return list(changes(before, now))


# --- decided without a database --------------------------------------------------------------------------


def test_a_race_that_is_new_renamed_or_gone_has_everybody_look_again_once() -> None:
    one = Marks({RACE: Race("10 km", None, None)}, {}, {})
    both = Marks({RACE: Race("10 km", None, None), OTHER: Race("5 km", None, None)}, {}, {})
    renamed = Marks({RACE: Race("Half", None, None)}, {}, {})
    for before, now in ((NOTHING, both), (one, both), (one, renamed), (both, NOTHING)):
        assert told(before, now) == [Resync()]
    assert told(both, both) == []


def test_other_people_or_chips_are_told_of_one_forwarder_of_the_race_too() -> None:
    before = Marks({RACE: Race("10 km", None, "start")}, {"start": RACE, "finish": RACE}, {})
    now = before._replace(races={RACE: Race("10 km", AT, "start")})
    assert told(before, now) == [Resync(), ForwarderRaceAssigned(forwarder_id="start", race_id=RACE)]
    # One of an epoch of the race has another race itself, or none.
    lent = now._replace(assigned={})
    assert told(lent, lent._replace(races={RACE: Race("10 km", LATER, "start")})) == [
        Resync(),
        ForwarderRaceAssigned(forwarder_id="start", race_id=None),
    ]


def test_a_forwarder_s_race_is_told_when_it_is_given_changed_and_taken() -> None:
    one, other = NOTHING._replace(assigned={"f": RACE}), NOTHING._replace(assigned={"f": OTHER})
    for before, now, race in ((NOTHING, one, RACE), (one, other, OTHER), (other, NOTHING, None)):
        assert told(before, now) == [ForwarderRaceAssigned(forwarder_id="f", race_id=race)]


def marked(epoch: int, marks: int, at: datetime, race: UUID | None = None) -> Marks:
    return NOTHING._replace(streams={STREAM: Mark(epoch, marks, at, race)})


def test_names_and_races_of_epochs_are_told_with_the_stream_alone() -> None:
    alone = [StreamUpdated(stream_id=STREAM)]
    one = marked(1, 1, AT)
    assert told(NOTHING, one) == told(one, marked(1, 1, LATER)) == told(one, NOTHING) == alone
    assert told(marked(1, 2, LATER), marked(1, 1, AT)) == alone
    # The epoch itself is told by others.
    assert told(one, marked(2, 1, AT)) == []


def test_an_epoch_that_has_become_a_race_s_is_told_with_its_number() -> None:
    numbered = [StreamUpdated(stream_id=STREAM, stream_epoch=5)]
    before = marked(4, 1, AT, RACE)
    assert told(before, marked(5, 2, LATER, RACE)) == told(NOTHING, marked(5, 1, AT, RACE)) == numbered
    assert told(marked(5, 1, AT, OTHER), marked(5, 1, LATER, RACE)) == numbered
    # The name of another epoch says nothing of it.
    assert told(before, marked(4, 2, LATER, RACE)) == [StreamUpdated(stream_id=STREAM)]


def message(name: str, number: int) -> bytes:
    return b'id: x-%d\nevent: %b\ndata: {"type":"%b"}' % (number, name.encode(), name.encode())


def chunk(*messages: bytes) -> bytes:
    return b"".join(each + b"\n\n" for each in messages)


def test_a_receiver_gets_the_last_of_what_has_it_ask_for_the_streams() -> None:
    stream, log, race = (
        message(name, n) for n, name in enumerate(("stream_updated", "log_entry", "forwarder_race_assigned"))
    )
    again, created = message("stream_updated", 4), message("stream_created", 5)
    assert spared(chunk(stream, log, again, race, created)) == (chunk(log, race, created), True)
    assert spared(chunk(log, race)) == (chunk(log, race), False)
    assert spared(chunk(stream)) == (chunk(stream), True)
    # A resync says more.
    resync = message("resync", 6)
    assert spared(chunk(resync, stream)) == (chunk(resync), True)


# --- as it comes -----------------------------------------------------------------------------------------


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[Process]:
    process = Process("api", database_url, {"API_TOKEN": TOKEN})
    await process.start()
    try:
        await process.ready()
        yield process
    finally:
        await process.kill()


@pytest.fixture
async def http(api: Process) -> AsyncIterator[aiohttp.ClientSession]:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with aiohttp.ClientSession(api.url, headers=headers, timeout=aiohttp.ClientTimeout(60)) as session:
        yield session


async def ask(http: aiohttp.ClientSession, method: str, path: str, **more: Any) -> Any:
    async with http.request(method, path, **more) as answer:
        assert answer.status < 300, await answer.text()
        return await answer.json() if answer.status != 204 else None


async def race_event(events: Events, *names: str) -> dict[str, Any]:
    return await events.until(lambda event: event["type"] in names)


async def test_whoever_follows_is_told_of_races_forwarders_and_epochs(
    http: aiohttp.ClientSession, database: Database
) -> None:
    stream_id = await add_stream(database)
    async with follow(http) as events:
        race = (await ask(http, "POST", RACES, json={"name": "10 km"}))["race_id"]
        await events.named("resync")
        await ask(http, "PUT", "/api/v1/forwarders/start/race", json={"race_id": race})
        assigned = await race_event(events, "forwarder_race_assigned", "resync")
        assert assigned == {"type": "forwarder_race_assigned", "forwarder_id": "start", "race_id": race}
        data = aiohttp.FormData()
        data.add_field("file", b"1,Byron,Ada\n", filename="x")
        await ask(http, "POST", f"{RACES}/{race}/participants/upload", data=data)
        await events.named("resync")
        assert (await events.named("forwarder_race_assigned")) == assigned
        await ask(http, "PUT", f"/api/v1/streams/{stream_id}/epochs/7/name", json={"name": "later"})
        named = await events.named("stream_updated")
        assert named == {"type": "stream_updated", "stream_id": str(stream_id)}
        await ask(http, "PUT", f"/api/v1/streams/{stream_id}/epochs/1/race", json={"race_id": race})
        mapped = await events.until(lambda each: each["type"] == "stream_updated" and "stream" not in each)
        assert mapped == {"type": "stream_updated", "stream_id": str(stream_id), "stream_epoch": 1}


async def test_events_of_streams_hold_at_the_top_what_programs_look_for(
    http: aiohttp.ClientSession, database: Database
) -> None:
    async with follow(http) as events:
        stream_id = await add_stream(database)
        await database.execute("SELECT pg_notify('rt_streams', '')")
        created = await events.named("stream_created")
        (listed,) = (await ask(http, "GET", "/api/v1/streams"))["streams"]
        fields = {name for name in created if name not in ("type", "stream")}
        assert {name: created[name] for name in fields} == {name: listed[name] for name in fields}
        assert fields == listed.keys() - {"closed", "current_epoch_name"}
        await add_events(database, stream_id, ["x"])
        await add_metrics(database, stream_id, dedup=1)
        await database.execute("SELECT pg_notify('rt_positions', '')")
        # With the first read of an epoch its number is told once more.
        told: dict[str, dict[str, Any]] = {}
        while told.keys() != {"stream_updated", "metrics_updated"}:
            event = await race_event(events, "stream_updated", "metrics_updated")
            if event["type"] == "stream_updated" or event["dedup_count"] == 1:
                told[event["type"]] = event
        updated, metrics = told["stream_updated"], told["metrics_updated"]
        assert (updated["stream_id"], updated["stream_epoch"]) == (str(stream_id), 1)
        assert updated["stream"]["epoch_reads"] == 1
        assert {name: metrics[name] for name in metrics["metrics"]} == metrics["metrics"]


async def test_the_page_is_told_that_races_have_changed_and_which_are_on(
    http: aiohttp.ClientSession, database: Database
) -> None:
    await add_stream(database)
    await add_forwarder_session(database, "start", await add_process(database, "gateway"))
    async with follow(http, query="?form=changed") as events:
        race = (await ask(http, "POST", RACES, json={"name": "10 km"}))["race_id"]
        await events.until(lambda event: event["type"] == "changed" and event.get("races_changed"))
        await ask(http, "PUT", "/api/v1/forwarders/start/race", json={"race_id": race})
        await events.until(
            lambda event: (
                event["type"] == "changed"
                and [each["name"] for each in event.get("verdict", {}).get("races", [])] == ["10 km"]
            )
        )
    overview = await ask(http, "GET", "/api/v1/overview")
    (card,) = overview["streams"]
    assert (card["race_id"], card["race_name"]) == (race, "10 km")


async def test_a_receiver_asks_what_is_a_receiver_s_with_its_own_token(
    http: aiohttp.ClientSession, api: Process, database: Database
) -> None:
    race = (await ask(http, "POST", RACES, json={"name": "10 km"}))["race_id"]
    tokens = {kind: await make_token(database, kind, f"{kind}-1") for kind in ("forwarder", "receiver")}
    paths = [
        "/api/v1/forwarder-races",
        RACES,
        f"{RACES}/{race}/participants",
        f"{RACES}/{race}/stream-epochs",
    ]
    more = [f"{RACES}/{race}", f"{RACES}/{race}/unknown-chips", "/api/v1/forwarders/start/race"]
    async with aiohttp.ClientSession(api.url) as device:
        for kind, token in tokens.items():
            for path in (*paths, *more):
                async with device.get(path, headers={"Authorization": f"Bearer {token}"}) as answer:
                    admitted = kind == "receiver" and path in paths
                    assert answer.status == (200 if admitted else 401), (kind, path)
        async with device.post(RACES, headers={"Authorization": f"Bearer {tokens['receiver']}"}) as answer:
            assert answer.status == 401
