"""A newer forwarder's readers all the way: what it tells shows over HTTP, what an operator asks reaches it, and what
becomes of both when it goes, changes its software, or a process between them dies.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from tests.api.sse import follow
from tests.failure.facts import Database
from tests.failure.test_commands import Operator, operators
from tests.failure.wire import READER, Wire, batch, connect, read
from tests.services import Services, make_token, services
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(120)

INFO = {"banner": "Elite", "config": {"mode": "event", "timeout": 5}, "recording": True}
PATH = f"forwarders/box/readers/{READER.replace(':', '%3A')}"
STATUS = {
    "battery_percent": 60,
    "battery_voltage_mv": 3900,
    "charging": False,
    "power_plugged": False,
    "temperature_cdeg": 2150,
    "sampled_at": 1777797602508,
}

Says = Callable[[dict[str, Any]], "dict[str, Any] | None"]


def yes(request: dict[str, Any]) -> dict[str, Any]:
    return {"success": True, "reader_info": INFO}


class Box:
    """A newer forwarder with one reader, on its socket. says: what it answers to a command; None: it goes instead."""

    def __init__(self, wire: Wire, says: Says) -> None:
        self.wire, self.says = wire, says
        self.asked: list[dict[str, Any]] = []

    async def tell(self, kind: str, **fields: Any) -> None:
        await self.wire.send({"kind": kind, **fields})

    async def run(self) -> None:
        """Answer what is asked until the socket ends."""
        while (message := await self.wire.next()) is not None:
            if message["kind"] != "reader_control_request":
                continue
            self.asked.append(message["action"])
            said = self.says(message)
            if said is None:
                await self.wire.drop()
                break
            about = {"request_id": message["request_id"], "reader_ip": message["reader_ip"], "error": None}
            await self.tell("reader_control_response", **{**about, **said})


@asynccontextmanager
async def box(running: Services, token: str, says: Says = yes) -> AsyncIterator[Box]:
    """Connect a newer forwarder, which tells of its reader at once."""
    async with connect(running.gateways[0].url, token) as wire:
        await wire.greet(forwarder_id="box")
        device = Box(wire, says)
        await device.tell("reader_status_update", reader_ip=READER, connected=True)
        answering = asyncio.create_task(device.run())
        try:
            yield device
        finally:
            answering.cancel()
            await asyncio.wait([answering])


async def state(operator: Operator) -> tuple[str, bool, Any] | None:
    """Return state, link and info of the reader, None where nothing is told of it."""
    _, answer = await operator.ask("GET", "reader-states")
    found = [(each["state"], each["connected"], each["reader_info"]) for each in answer["reader_states"]]
    return found[0] if found else None


async def becomes(operator: Operator, *wanted: Any) -> None:
    """Wait until the reader is shown so."""

    async def shown() -> bool:
        return await state(operator) == wanted

    await wait_until(shown, what=f"{wanted}")


async def test_what_a_box_tells_is_shown_and_what_an_operator_asks_reaches_it(
    database_url: str, database: Database
) -> None:
    token = await make_token(database, "forwarder", "box")
    async with services(database_url, gateway=1, fanout=0) as running, operators(database_url) as two:
        async with (
            aiohttp.ClientSession() as http,
            follow(http, two[0].url) as events,
            box(running, token) as device,
        ):
            await becomes(two[1], "connected", True, None)
            told = await events.until(lambda event: event["type"] == "reader_info_updated")
            assert (told["reader_ip"], told["state"]) == (READER, "connected")
            status, answer = await two[1].ask("GET", f"{PATH}/info")
            assert (status, answer) == (200, {"ok": True, "error": None, "reader_info": INFO})
            # What it answers is what is known of it from then on.
            await becomes(two[0], "connected", True, INFO)
            assert (await two[0].ask("POST", f"{PATH}/clear-records")) == (202, {"ok": True})
            status, answer = await two[1].ask("PUT", f"{PATH}/tto", json={"enabled": True})
            assert (status, "clearing its memory" in answer["message"]) == (409, True)
            assert device.asked == [{"type": "get_info"}, {"type": "clear_records"}]
            await device.tell("forwarder_ups_status", forwarder_id="box", available=True, status=STATUS)
            ups = await events.until(lambda event: event["type"] == "forwarder_ups_updated")
            assert (ups["available"], ups["status"]) == (True, STATUS)
            await device.tell("reader_status_update", reader_ip=READER, connected=False)
            updated = await events.until(lambda event: event.get("reader_connected") is False)
            assert updated["type"] == "stream_updated"
            await becomes(two[1], "disconnected", False, INFO)
        await becomes(two[0], "disconnected", False, INFO)
        assert (await two[0].ask("GET", f"{PATH}/info"))[0] == 404


async def test_a_box_that_goes_with_a_command_in_hand_is_said_to_have_gone(
    database_url: str, database: Database
) -> None:
    token = await make_token(database, "forwarder", "box")
    async with (
        services(database_url, gateway=1, fanout=0) as running,
        operators(database_url, count=1) as one,
    ):
        async with box(running, token, lambda _: None):
            status, answer = await one[0].ask("POST", f"{PATH}/reconnect")
        assert (status, answer["code"]) == (502, "FORWARDER_ERROR")
        assert "disconnected before it answered" in answer["message"]


async def test_an_older_box_in_its_place_is_asked_nothing_and_its_reader_is_not_red(
    database_url: str, database: Database
) -> None:
    token = await make_token(database, "forwarder", "box")
    async with (
        services(database_url, gateway=1, fanout=0) as running,
        operators(database_url, count=1) as one,
    ):
        async with box(running, token) as device:
            await device.tell("reader_status_update", reader_ip=READER, connected=False)
            await becomes(one[0], "disconnected", False, None)
        async with connect(running.gateways[0].url, token) as older:
            await older.greet(forwarder_id="box")
            await older.send(batch(read(1)))
            assert await older.ack() == [(READER, 1, 1)]
            # It has had the time to tell.
            await database.execute(
                "UPDATE forwarder_sessions SET connected_at = connected_at - interval '3 seconds'"
            )
            assert await state(one[0]) is None
            _, answer = await one[0].ask("GET", "forwarders")
            assert answer["forwarders"][0]["readers"] == [{"reader_ip": READER, "connected": True}]
            status, answer = await one[0].ask("GET", f"{PATH}/info")
            assert (status, answer["code"], older.close_code) == (409, "CONFLICT", None)


async def test_a_gateway_that_is_killed_leaves_no_reader_connected(
    database_url: str, database: Database
) -> None:
    token = await make_token(database, "forwarder", "box")
    async with (
        services(database_url, gateway=1, fanout=0) as running,
        operators(database_url, count=1) as one,
        box(running, token),
    ):
        assert (await one[0].ask("POST", f"{PATH}/refresh"))[0] == 200
        await becomes(one[0], "connected", True, INFO)
        await running.gateways[0].kill()
        await becomes(one[0], "disconnected", False, INFO)
