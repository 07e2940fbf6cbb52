"""What a receiver asks through its own socket, from there to an api process and back, while reads go on."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from deploy.simulation.devices.newer_forwarder import NewerForwarder
from deploy.simulation.devices.newer_receiver import NewerReceiver
from deploy.simulation.devices.receiver import AT_ONCE
from shared.db.connections import Connection
from tests.services import Services, make_token, services
from tests.waiting import wait_until

READER = "10.0.0.1:10000"


@asynccontextmanager
async def connected(
    running: Services, database: Connection, *, manners: Any = AT_ONCE
) -> AsyncIterator[NewerReceiver]:
    """A receiver of all that forwarder `start` sends."""
    receiver = NewerReceiver(
        url=running.fanouts[0].url,
        api_url=running.apis[0].url if running.apis else "http://127.0.0.1:9",
        token=await make_token(database, "receiver", "tent"),
        receiver_id="tent",
        streams=[("start", READER)],
        earliest_epochs={("start", READER): 1},
        manners=manners,
    )
    staying = asyncio.create_task(receiver.stay((0.05, 0.2)))
    try:
        await receiver.wait_connected()
        yield receiver
    finally:
        staying.cancel()
        await asyncio.wait({staying})


@asynccontextmanager
async def forwarding(running: Services, database: Connection) -> AsyncIterator[NewerForwarder]:
    forwarder = NewerForwarder(
        url=running.gateways[0].url,
        token=await make_token(database, "forwarder", "start"),
        device_id="start",
        readers=[READER],
        backoff_s=(0.05, 0.2),
        flush_s=0.01,
    )
    task = asyncio.create_task(forwarder.run())
    try:
        await forwarder.wait_connected()
        yield forwarder
    finally:
        task.cancel()
        await asyncio.wait({task})


async def test_what_is_asked_of_a_forwarder_and_its_reader_comes_back_while_reads_go_on(
    database: Connection, database_url: str
) -> None:
    async with (
        services(database_url, api=1) as running,
        forwarding(running, database) as forwarder,
        connected(running, database) as receiver,
    ):
        forwarder.record(READER, "aa")
        await receiver.wait_for(1)
        listed, config, away, info = await asyncio.gather(
            receiver.ask("streams_list"),
            receiver.ask("config_get", forwarder_id="start"),
            receiver.ask("config_get", forwarder_id="nobody"),
            receiver.ask(
                "reader_control", forwarder_id="start", reader_ip=READER, action={"type": "get_info"}
            ),
        )
        forwarder.record(READER, "bb")
        await receiver.wait_for(2)
        announcer = await receiver.ask("announcer_config_set", payload={"enabled": False, "max_list_size": 7})
        reset = await receiver.ask("announcer_reset")
        said = await receiver.ask("restart", forwarder_id="start")
        entry = await wait_until(
            lambda: database.fetchval("SELECT fields FROM activity WHERE event = 'restart_ended'"),
            what="who asked",
        )
    assert [stream["reader_ip"] for stream in listed["streams"]] == [READER]
    assert (config["kind"], config["config"]) == ("receiver_proxy_config_get_response", forwarder.config)
    assert (away["ok"], away["error"]) == (False, "forwarder not connected")
    assert info["reader_info"]["banner"] == "IPICO reader (simulated)"
    assert (announcer["kind"], announcer["ok"]) == ("receiver_proxy_announcer_config_response", True)
    assert announcer["config"]["max_list_size"] == 7
    assert (reset["kind"], reset["ok"]) == ("receiver_proxy_announcer_reset_response", True)
    assert (said["kind"], said["ok"]) == ("receiver_proxy_control_response", True)
    assert json.loads(entry)["by"] == "receiver tent"


async def test_without_an_api_process_reads_go_on_and_what_is_asked_waits(
    database: Connection, database_url: str
) -> None:
    async with (
        services(database_url) as running,
        forwarding(running, database) as forwarder,
        connected(running, database) as receiver,
    ):
        asked = asyncio.ensure_future(receiver.ask("streams_list"))
        await wait_until(lambda: database.fetchval("SELECT count(*) FROM receiver_requests"))
        for number in range(3):
            forwarder.record(READER, f"aa{number}")
            await receiver.wait_for(number + 1)
        assert not asked.done()
        await receiver.drop()
        with pytest.raises(ConnectionError):
            await asked

        async def taken_back() -> bool:
            return not await database.fetchval("SELECT count(*) FROM receiver_requests")

        await wait_until(taken_back, what="what nobody waits for")


async def test_an_api_process_that_dies_with_a_request_in_hand_costs_just_that_answer(
    database: Connection, database_url: str
) -> None:
    async with (
        services(database_url, api=1) as running,
        forwarding(running, database) as forwarder,
        connected(running, database) as receiver,
    ):
        mute = forwarder.boxes[READER]
        mute.mute = True
        asked = asyncio.ensure_future(
            receiver.ask(
                "reader_control", forwarder_id="start", reader_ip=READER, action={"type": "get_info"}
            )
        )
        await wait_until(
            lambda: database.fetchval("SELECT count(*) FROM receiver_requests WHERE state = 'taken'")
        )
        await running.apis[0].kill()
        await running.apis[0].start()
        await running.apis[0].ready()
        listed = await receiver.ask("streams_list")
        assert listed["ok"]
        assert await database.fetchval("SELECT count(*) FROM receiver_requests WHERE state = 'taken'") == 1
        asked.cancel()


async def test_a_file_of_fifteen_megabytes_fits_and_more_does_not(
    database: Connection, database_url: str
) -> None:
    async with (
        services(database_url, gateway=0, writer=0, api=1) as running,
        connected(running, database) as receiver,
    ):
        answer = await receiver.ask("file_upload", race_id="r", file_data="QUJD" * (15 * 2**18))
        assert answer["kind"] == "receiver_proxy_file_upload_response"
        assert receiver.sessions == 1
        with pytest.raises(ConnectionError):
            await receiver.ask("file_upload", file_data="QUJD" * (17 * 2**18))


async def test_what_cannot_be_answered_is_counted_and_the_session_goes_on(
    database: Connection, database_url: str
) -> None:
    async with (
        services(database_url, gateway=0, writer=0, api=1) as running,
        connected(running, database) as receiver,
    ):
        assert receiver.connection is not None
        for message in (
            {"kind": "receiver_proxy_streams_list_request"},
            {"kind": "receiver_proxy_streams_list_request", "request_id": 7},
            {"kind": "receiver_proxy_firmware_request", "request_id": "q"},
        ):
            await receiver.connection.send(message)
        malformed = await receiver.ask("config_get")
        counted = await running.fanouts[0].metric("rtserver_unknown_messages_total")
        assert (malformed["ok"], malformed["config"], counted) == (False, None, 3)
        assert receiver.sessions == 1
