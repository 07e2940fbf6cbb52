"""Readers and batteries behind forwarders, as they hold now: by the rows that gateways write."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.api.conftest import Ask
from tests.api.seeds import (
    START,
    Database,
    add_forwarder_session,
    add_metrics,
    add_process,
    add_reader_state,
    add_stream,
    add_ups,
)

STATES, UPS, FORWARDERS = "/api/v1/reader-states", "/api/v1/forwarder-ups", "/api/v1/forwarders"
READER, SECOND_READER = "10.0.0.1:10000", "10.0.0.2:10000"
INFO: dict[str, Any] = {"banner": "Elite", "recording": True, "clock": {"drift_ms": -1500}}
STATUS = {
    "battery_percent": 55,
    "battery_voltage_mv": 4012,
    "charging": True,
    "power_plugged": True,
    "temperature_cdeg": -150,
    "sampled_at": 1777797602508,
}


@pytest.fixture
async def gateway(database: Database) -> UUID:
    return await add_process(database, "gateway")


@pytest.fixture
async def session_id(database: Database, gateway: UUID) -> UUID:
    """The live session of forwarder `start`."""
    return await add_forwarder_session(database, "start", gateway)


async def end_session(database: Database) -> None:
    await database.execute("UPDATE forwarder_sessions SET ended_at = now()")


# --- reader-states ----------------------------------------------------------------------------------------


async def test_a_reader_is_shown_as_its_forwarder_told(
    ask: Ask, database: Database, session_id: UUID
) -> None:
    await add_reader_state(database, "start", READER, session_id, info=INFO)
    (state,) = (await ask("GET", STATES))["reader_states"]
    assert state.pop("updated_at") is not None
    assert state.pop("info_at") is not None
    assert state == {
        "forwarder_id": "start",
        "reader_ip": READER,
        "state": "connected",
        "connected": True,
        "reader_info": INFO,
    }


async def test_readers_of_one_forwarder_are_found(ask: Ask, database: Database, session_id: UUID) -> None:
    for forwarder_id in ("start", "finish"):
        await add_reader_state(database, forwarder_id, READER, session_id)
    (state,) = (await ask("GET", STATES + "?forwarder_id=finish"))["reader_states"]
    assert state["forwarder_id"] == "finish"
    assert len((await ask("GET", STATES))["reader_states"]) == 2


@pytest.mark.parametrize(
    ("connected", "state", "shown"),
    [
        (True, "connected", ("connected", True)),
        (True, None, ("connected", True)),
        (False, "connecting", ("connecting", False)),
        (False, None, ("disconnected", False)),
        (None, "disconnected", ("disconnected", False)),
        (None, "connected", ("connected", True)),
        # Only its info was told, by who has spoken with it.
        (None, None, ("connected", True)),
    ],
)
async def test_of_link_and_state_what_was_told_counts(
    ask: Ask,
    database: Database,
    session_id: UUID,
    *,
    connected: bool | None,
    state: str | None,
    shown: tuple[str, bool],
) -> None:
    await add_reader_state(database, "start", READER, session_id, connected=connected, state=state)
    (known,) = (await ask("GET", STATES))["reader_states"]
    assert (known["state"], known["connected"]) == shown


async def test_with_its_forwarder_gone_a_reader_is_disconnected_and_its_info_stays(
    ask: Ask, database: Database, session_id: UUID
) -> None:
    await add_stream(database, "start", READER)
    await add_reader_state(database, "start", READER, session_id, info=INFO)
    await end_session(database)
    (state,) = (await ask("GET", STATES))["reader_states"]
    assert (state["state"], state["connected"], state["reader_info"]) == ("disconnected", False, INFO)
    assert (await readers_of_start(ask)) == [{"reader_ip": READER, "connected": False}]


async def test_what_an_earlier_session_told_is_not_shown_of_the_one_that_is_there(
    ask: Ask, database: Database, session_id: UUID
) -> None:
    """A forwarder of today is replaced by an older one, which tells nothing: its reader is not red for that."""
    await add_stream(database, "start", READER)
    await add_reader_state(database, "start", READER, uuid4(), connected=False, state="disconnected")
    await began(database, ago="3 seconds")
    assert (await ask("GET", STATES))["reader_states"] == []
    assert (await readers_of_start(ask)) == [{"reader_ip": READER, "connected": True}]


@pytest.mark.parametrize(("connected", "state"), [(False, None), (False, "connected"), (None, "connecting")])
async def test_an_unplugged_reader_is_not_connected_for_a_moment_while_its_forwarder_comes_back(
    ask: Ask, database: Database, session_id: UUID, *, connected: bool | None, state: str | None
) -> None:
    """What the new session tells of it is written within a second or two."""
    for reader_ip in (READER, SECOND_READER):
        await add_stream(database, "start", reader_ip)
    before = uuid4()
    await add_reader_state(
        database, "start", READER, before, connected=connected, state=state, download={"state": "idle"}
    )
    await add_reader_state(database, "start", SECOND_READER, before, connected=True, state="connected")
    await began(database, ago="-1 hour")  # however slow this machine is
    expected = [False, True]
    assert [each["connected"] for each in await readers_of_start(ask)] == expected
    for path in ("/api/v1/streams", "/api/v1/overview"):
        assert [each["reader_connected"] for each in (await ask("GET", path))["streams"]] == expected
    (known,) = (await ask("GET", STATES))["reader_states"]
    assert (known["reader_ip"], known["connected"]) == (READER, False)
    # A download that an earlier session told of is none of this one.
    assert await database.fetchval("SELECT count(download) FROM reported_readers") == 0


async def began(database: Database, *, ago: str) -> None:
    await database.execute(f"UPDATE forwarder_sessions SET connected_at = now() - interval '{ago}'")


async def readers_of_start(ask: Ask) -> list[dict[str, Any]]:
    (start,) = (await ask("GET", FORWARDERS))["forwarders"]
    readers: list[dict[str, Any]] = start["readers"]
    return readers


async def test_a_stream_says_whether_its_reader_is_connected(
    ask: Ask, database: Database, session_id: UUID
) -> None:
    for forwarder_id, reader_ip in (("start", READER), ("start", SECOND_READER), ("away", READER)):
        await add_stream(database, forwarder_id, reader_ip)
    await add_reader_state(database, "start", SECOND_READER, session_id, connected=False)
    await add_reader_state(database, "away", READER, uuid4())

    async def connected() -> list[bool]:
        return [each["reader_connected"] for each in (await ask("GET", "/api/v1/streams"))["streams"]]

    # Of the first nothing was told: it is there with its forwarder.
    assert await connected() == [True, False, False]
    await end_session(database)
    assert await connected() == [False, False, False]


# --- forwarders -------------------------------------------------------------------------------------------


async def test_a_forwarder_shows_its_readers_and_what_they_have_read(
    ask: Ask, database: Database, session_id: UUID
) -> None:
    streams = [await add_stream(database, "start", each, epoch=2) for each in (READER, SECOND_READER)]
    await add_reader_state(database, "start", SECOND_READER, session_id, connected=False)
    await add_metrics(database, streams[0], epoch=1, dedup=100, chips=50)
    for stream_id, chips, at in zip(streams, (["a", "b"], ["b", "c"]), (0, 5), strict=True):
        received_at = START + timedelta(minutes=at)
        await add_metrics(database, stream_id, epoch=2, dedup=10, chips=2, received_at=received_at)
        await database.executemany(
            "INSERT INTO epoch_chips (stream_id, stream_epoch, tag_id) VALUES ($1, 2, $2)",
            [(stream_id, chip) for chip in chips],
        )
    (start,) = (await ask("GET", FORWARDERS))["forwarders"]
    assert start["readers"] == [
        {"reader_ip": READER, "connected": True},
        {"reader_ip": SECOND_READER, "connected": False},
    ]
    assert (start["unique_chips"], start["total_reads"]) == (3, 20)
    assert start["last_read_at"] == "2026-05-03T08:05:00+00:00"


async def test_a_forwarder_without_a_stream_has_no_readers_and_read_nothing(
    ask: Ask, session_id: UUID
) -> None:
    (start,) = (await ask("GET", FORWARDERS))["forwarders"]
    shown = {name: start[name] for name in ("readers", "unique_chips", "total_reads", "last_read_at")}
    assert shown == {"readers": [], "unique_chips": 0, "total_reads": 0, "last_read_at": None}


# --- batteries --------------------------------------------------------------------------------------------


async def test_batteries_are_shown_by_forwarder(ask: Ask, database: Database, session_id: UUID) -> None:
    assert await ask("GET", UPS) == {"forwarder_ups": {}}
    await add_ups(database, "start", session_id, status=STATUS)
    shown = (await ask("GET", UPS))["forwarder_ups"]["start"]
    assert shown.pop("received_at") is not None
    assert shown == {"available": True, "status": STATUS}


async def test_a_battery_that_was_never_read_has_no_status(
    ask: Ask, database: Database, session_id: UUID
) -> None:
    await add_ups(database, "start", session_id, available=False, status=None)
    shown = (await ask("GET", UPS))["forwarder_ups"]["start"]
    assert (shown["available"], shown["status"]) == (False, None)


async def test_with_its_forwarder_gone_a_battery_is_unavailable_and_its_status_stays(
    ask: Ask, database: Database, session_id: UUID
) -> None:
    await add_ups(database, "start", session_id, status=STATUS)
    await end_session(database)
    shown = (await ask("GET", UPS))["forwarder_ups"]["start"]
    assert (shown["available"], shown["status"]) == (False, STATUS)


@pytest.mark.parametrize(("connected_ago", "available"), [(1, True), (11, False)])
async def test_after_a_reconnect_a_battery_is_what_it_was_until_it_should_have_told(
    ask: Ask, database: Database, session_id: UUID, connected_ago: int, *, available: bool
) -> None:
    await add_ups(database, "start", uuid4(), status=STATUS)
    await database.execute("UPDATE forwarder_ups SET received_at = now() - interval '3 hours'")
    connected_at = timedelta(minutes=connected_ago)
    await database.execute("UPDATE forwarder_sessions SET connected_at = now() - $1::interval", connected_at)
    assert (await ask("GET", UPS))["forwarder_ups"]["start"]["available"] is available


@pytest.mark.parametrize("told", [[1], {"banner": 1}, {"battery_percent": "full"}])
async def test_what_a_gateway_of_a_later_release_has_put_there_tells_nothing(
    ask: Ask, database: Database, session_id: UUID, told: object
) -> None:
    await add_reader_state(database, "start", READER, session_id, info=told)
    await add_ups(database, "start", session_id, status=told)
    (state,) = (await ask("GET", STATES))["reader_states"]
    assert state["reader_info"] in (None, {})
    assert (await ask("GET", UPS))["forwarder_ups"]["start"]["status"] is None


async def test_the_version_is_that_of_the_document(ask: Ask) -> None:
    document = await ask("GET", "/api/v1/openapi.json")
    assert await ask("GET", "/api/v1/version") == {"version": document["info"]["version"]}
