"""What the event stream tells of readers, batteries and forwarders' numbers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import pytest

from api.app import API
from api.live.news import NUMBERS_EVERY_S
from api.live.view import Live
from tests.api.conftest import Client
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
from tests.api.sse import Events, follow
from tests.waiting import wait_until

READER = "10.0.0.1:10000"
INFO: dict[str, Any] = {"banner": "Elite", "recording": True}
STATUS = {
    "battery_percent": 55,
    "battery_voltage_mv": 4012,
    "charging": True,
    "power_plugged": True,
    "temperature_cdeg": 2950,
    "sampled_at": 1777797602508,
}
DOWNLOAD = {"state": "downloading", "reads_received": 5, "progress": 50, "total": 100, "error": None}


class Clock:
    """The clock of what is told; it stands until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class World:
    """A forwarder with one reader, and who follows what is told of it."""

    def __init__(self, database: Database, client: Client, session_id: UUID) -> None:
        self.database, self.client, self.session_id = database, client, session_id
        self.live: Live = client.server.app[API].part(Live)  # type: ignore[attr-defined]
        self.clock = self.live.news.clock = Clock()

    @asynccontextmanager
    async def followed(self, query: str = "") -> AsyncIterator[Events]:
        """Follow the events; what is there already is told."""
        async with follow(self.client, query=query) as events:  # type: ignore[arg-type]
            await wait_until(lambda: self.live.listeners)
            await self.live.refresh()
            yield events

    async def told(self, events: Events, until: str) -> list[dict[str, Any]]:
        """Look, and return the events up to the log's entry of that name, without those of the streams themselves."""
        await self.database.execute(
            "INSERT INTO activity (level, process_id, event) VALUES ('info', gen_random_uuid(), $1)", until
        )
        await self.live.refresh()
        found = []
        while (event := await events.next())["type"] != "log_entry" or event["entry"]["event"] != until:
            if event["type"].startswith(("reader_", "forwarder_", "stream_")):
                found.append(event)
        return found


@pytest.fixture
async def world(database: Database, client: Client) -> World:
    session_id = await add_forwarder_session(database, "start", await add_process(database, "gateway"))
    await add_stream(database, "start", READER)
    return World(database, client, session_id)


async def test_a_reader_s_link_and_info_are_told_when_they_change(world: World) -> None:
    about = {"type": "reader_info_updated", "forwarder_id": "start", "reader_ip": READER}
    async with world.followed() as events:
        await add_reader_state(world.database, "start", READER, world.session_id, state="connecting")
        assert await world.told(events, "one") == [{**about, "state": "connecting"}]
        await add_reader_state(world.database, "start", READER, world.session_id, info=INFO)
        assert await world.told(events, "two") == [{**about, "state": "connected", "reader_info": INFO}]
        assert await world.told(events, "nothing") == []


async def test_a_device_that_goes_leaves_its_readers_disconnected_with_their_info(world: World) -> None:
    await add_reader_state(world.database, "start", READER, world.session_id, info=INFO)
    await add_ups(world.database, "start", world.session_id, status=STATUS)
    async with world.followed() as events:
        assert (await events.next())["type"] == "forwarder_ups_updated"
        await world.database.execute("UPDATE forwarder_sessions SET ended_at = now()")
        told = {event["type"]: event for event in await world.told(events, "gone")}
    reader = told["reader_info_updated"]
    assert (reader["state"], reader["reader_info"]) == ("disconnected", INFO)
    ups = told["forwarder_ups_updated"]
    assert (ups["available"], ups["status"]) == (False, STATUS)
    assert told["stream_updated"]["reader_connected"] is False


async def test_a_stream_that_changes_says_beside_its_card_what_has_changed_and_no_more(world: World) -> None:
    async with world.followed() as events:
        await add_reader_state(world.database, "start", READER, world.session_id, connected=False)
        (updated,) = [each for each in await world.told(events, "link") if each["type"] == "stream_updated"]
        card = updated.pop("stream")
        assert updated == {
            "type": "stream_updated",
            "stream_id": card["stream_id"],
            "reader_connected": False,
        }
        assert (card["online"], card["reader_connected"]) == (True, False)
        await world.database.execute("UPDATE streams SET stream_epoch = 2")
        (updated,) = await world.told(events, "epoch")
        del updated["stream"]
        assert updated == {"type": "stream_updated", "stream_id": card["stream_id"], "stream_epoch": 2}


async def test_a_new_stream_says_what_programs_look_for(world: World) -> None:
    async with world.followed() as events:
        stream_id = await add_stream(world.database, "start", "10.0.0.2:10000")
        await world.live.refresh()
        created = await events.named("stream_created")
    card = created.pop("stream")
    assert created == {"type": "stream_created"} | {
        name: card[name]
        for name in (
            "stream_id",
            "forwarder_id",
            "reader_ip",
            "display_alias",
            "forwarder_display_name",
            "stream_epoch",
            "online",
            "reader_connected",
            "created_at",
        )
    }
    assert (created["stream_id"], created["reader_connected"]) == (str(stream_id), True)


async def test_a_download_s_progress_is_told(world: World) -> None:
    async with world.followed() as events:
        await add_reader_state(world.database, "start", READER, world.session_id, download=DOWNLOAD)
        _, progress = await world.told(events, "one")
        about = {"type": "reader_download_progress", "forwarder_id": "start", "reader_ip": READER}
        assert progress == {**about, **DOWNLOAD}
        await add_reader_state(
            world.database, "start", READER, world.session_id, info=INFO, download=DOWNLOAD
        )
        assert [each["type"] for each in await world.told(events, "two")] == ["reader_info_updated"]


async def test_a_new_stream_of_events_begins_with_the_batteries_that_are_known(world: World) -> None:
    await add_ups(world.database, "start", world.session_id, status=STATUS)
    await add_ups(world.database, "other", world.session_id, status=None, available=True)
    first = {"type": "forwarder_ups_updated", "forwarder_id": "other", "available": False, "status": None}
    second = {**first, "forwarder_id": "start", "available": True, "status": STATUS}
    async with world.followed() as events:
        assert [await events.next(), await events.next()] == [first, second]
        await add_ups(world.database, "start", world.session_id, status=STATUS)
        assert await world.told(events, "the same") == []
        await add_ups(world.database, "start", world.session_id, available=False, status=STATUS)
        assert await world.told(events, "another") == [{**second, "available": False}]
    async with world.followed("?last_event_id=" + events.last_id) as events:
        assert [await events.next(), await events.next()] == [first, {**second, "available": False}]


async def test_a_forwarder_s_numbers_are_told_once_a_second_at_the_most(world: World) -> None:
    stream_id = await world.database.fetchval("SELECT stream_id FROM streams")
    async with world.followed() as events:

        async def reads(count: int) -> None:
            await world.database.execute("DELETE FROM stream_metrics")
            await add_metrics(world.database, stream_id, dedup=count, chips=1)

        await reads(1)
        # The first read of an epoch tells of its stream, too.
        stream, numbers = await world.told(events, "first")
        assert (stream["type"], stream["stream_epoch"]) == ("stream_updated", 1)
        assert numbers == {
            "type": "forwarder_metrics_updated",
            "forwarder_id": "start",
            "unique_chips": 1,
            "total_reads": 1,
            "last_read_at": START.isoformat(),
        }
        await reads(2)
        world.clock.now += NUMBERS_EVERY_S / 2
        assert await world.told(events, "too soon") == []
        await reads(3)
        world.clock.now += NUMBERS_EVERY_S / 2
        (numbers,) = await world.told(events, "in time")
        assert numbers["total_reads"] == 3


async def test_the_page_that_follows_changes_is_told_of_readers_by_its_cards_alone(world: World) -> None:
    async with world.followed("?form=changed&last_event_id=0") as events:
        await events.named("overview")
        await add_reader_state(world.database, "start", READER, world.session_id, connected=False, info=INFO)
        await add_ups(world.database, "start", world.session_id, status=STATUS)
        await world.live.overview()
        assert await world.told(events, "link") == []
