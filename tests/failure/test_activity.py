"""What happens to devices is in the cluster's activity log, whichever process saw it, and never floods it."""

import asyncio
import json
import re
from typing import Any

import aiohttp

from deploy.cli.token import create_token
from tests.failure.facts import Database
from tests.failure.wire import READER, batch, connect, forwarder, hello, read
from tests.services import make_token, services
from tests.waiting import wait_until


async def entries(database: Database) -> list[tuple[str, str, dict[str, Any]]]:
    """Return role, event and fields, the oldest first."""
    rows = await database.fetch(
        "SELECT role, event, fields FROM activity LEFT JOIN processes USING (process_id) ORDER BY activity_id"
    )
    return [(row["role"], row["event"], json.loads(row["fields"])) for row in rows]


async def test_comings_and_goings_of_devices_are_in_the_log(database_url: str, database: Database) -> None:
    token = await make_token(database, "forwarder", "f")
    receiver = (await create_token(database_url, "receiver", "tent")).token
    notified = asyncio.Event()
    await database.add_listener("rt_activity", lambda *_: notified.set())
    async with services(database_url) as running:
        url = running.gateways[0].url
        async with forwarder(url, token) as wire:
            await wire.send(batch(read(1)))
            await wire.ack()
            await wire.send(batch(read(1, "another line")))
            await wire.expect("forwarder_ack")
            await wire.expect("epoch_reset_command")
            answering = asyncio.create_task(wire.closed(within_s=60))
            async with connect(url, token) as second:
                await second.send(hello())
                await second.expect("error")
            answering.cancel()
        async with connect(url, "wr0ng") as stranger:
            await stranger.send(hello())
            await stranger.expect("error")
        async with (
            aiohttp.ClientSession() as http,
            http.ws_connect(
                running.fanouts[0].url.replace("http", "ws") + "/ws/v1/receivers",
                headers={"Authorization": f"Bearer {receiver}"},
            ) as socket,
        ):
            await socket.send_json({"kind": "receiver_hello", "receiver_id": "tent"})
            await socket.receive()

        async def gone() -> bool:
            return {"receiver_gone", "forwarder_gone", "forwarder_refused"} <= {
                event for _, event, _ in await entries(database)
            }

        await wait_until(gone, what="the last entries")
        found = [each for each in await entries(database) if each[1] != "database_back"]
        await notified.wait()
    reader = {"forwarder_id": "f", "reader_ip": READER}
    minted = found.pop(0)
    assert (minted[1], minted[2]["device_id"]) == ("token_minted", "tent")
    assert re.fullmatch(r"command line \(.+@.+\)", minted[2]["by"])
    assert [each for each in found if each[0] == "fanout"] == [
        ("fanout", "receiver_connected", {"receiver_id": "tent"}),
        ("fanout", "receiver_gone", {"receiver_id": "tent"}),
    ]
    assert [each for each in found if each[0] == "gateway"] == [
        ("gateway", "forwarder_connected", {"forwarder_id": "f"}),
        ("gateway", "integrity_conflict", reader),
        ("gateway", "epoch_reset", {**reader, "stream_epoch": 2, "asked_by": "conflict"}),
        (
            "gateway",
            "forwarder_refused",
            {
                "device_id": "f",
                "address": "127.0.0.1",
                "code": "PROTOCOL_ERROR",
                "reason": "a session for this device is already active",
            },
        ),
        ("gateway", "forwarder_gone", {"forwarder_id": "f"}),
        (
            "gateway",
            "forwarder_refused",
            {
                "device_id": None,
                "address": "127.0.0.1",
                "code": "INVALID_TOKEN",
                "reason": "the token is missing, unknown or revoked",
            },
        ),
    ]


async def test_a_device_that_comes_and_goes_all_the_time_does_not_flood_the_log(
    database_url: str, database: Database
) -> None:
    token = await make_token(database, "forwarder", "f")
    async with services(database_url, writer=0, fanout=0) as running:
        for _ in range(50):
            async with forwarder(running.gateways[0].url, token):
                pass
            async with connect(running.gateways[0].url, "wr0ng") as stranger:
                await stranger.send(hello())
                await stranger.expect("error")

        async def counted() -> bool:
            sums: dict[str, int] = {}
            for _, event, fields in await entries(database):
                sums[event] = sums.get(event, 0) + fields.get("count", 1)
            return all(
                sums.get(event) == 50
                for event in ("forwarder_connected", "forwarder_gone", "forwarder_refused")
            )

        await wait_until(counted, deadline_s=30, what="all of them to be counted")
        assert len(await entries(database)) <= 30  # of 150
