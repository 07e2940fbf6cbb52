"""Operators' commands over two api processes and two gateways, and what breaks under them."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from deploy.simulation.devices.forwarder import Forwarder
from tests.failure.facts import Database
from tests.failure.wire import READER, batch, forwarder, read
from tests.services import Process, Services, make_token, services
from tests.waiting import wait_until


class Operator:
    """Somebody at an api process."""

    def __init__(self, process: Process, http: aiohttp.ClientSession) -> None:
        self._process = process
        self._http = http

    @property
    def url(self) -> str:
        """Where the process is."""
        return self._process.url

    async def ask(self, method: str, path: str, **more: Any) -> tuple[int, Any]:
        """Return status and JSON of an answer."""
        async with self._http.request(method, f"{self._process.url}/api/v1/{path}", **more) as answer:
            return answer.status, await answer.json()

    async def reset(self, stream_id: object) -> tuple[int, Any]:
        """Reset the epoch of a stream."""
        return await self.ask("POST", f"streams/{stream_id}/reset-epoch")


@asynccontextmanager
async def operators(
    database_url: str, *, count: int = 2, **environment: str
) -> AsyncIterator[list[Operator]]:
    """Run api processes."""
    processes = [Process("api", database_url, environment) for _ in range(count)]
    try:
        for process in processes:
            await process.start()
        await asyncio.gather(*(process.ready() for process in processes))
        async with aiohttp.ClientSession() as http:
            yield [Operator(process, http) for process in processes]
    finally:
        await asyncio.gather(*(process.kill() for process in processes))


@asynccontextmanager
async def connected(services: Services, database: Database) -> AsyncIterator[list[Forwarder]]:
    """Have a forwarder connected to each gateway."""
    devices = [
        Forwarder(
            url=gateway.url,
            token=await make_token(database, "forwarder", f"f{n}"),
            device_id=f"f{n}",
            readers=[READER],
            backoff_s=(0.05, 0.5),
        )
        for n, gateway in enumerate(services.gateways)
    ]
    async with asyncio.TaskGroup() as tasks:
        for device in devices:
            tasks.create_task(device.run())
        await asyncio.gather(*(device.wait_connected() for device in devices))
        yield devices
        for device in devices:
            await device.stop()


async def stream_of(database: Database, device_id: str) -> Any:
    return await database.fetchval("SELECT stream_id FROM streams WHERE forwarder_id = $1", device_id)


@pytest.mark.parametrize("listen", ["on", "off"])
async def test_every_operator_reaches_every_forwarder(
    database_url: str, database: Database, listen: str, capfd: pytest.CaptureFixture[str]
) -> None:
    async with (
        services(database_url, gateway=2, fanout=0, LISTEN=listen) as running,
        operators(database_url, LISTEN=listen) as asking,
        connected(running, database) as devices,
    ):
        for n, operator in enumerate(asking):
            for device in devices:
                path = f"forwarders/{device.device_id}"
                section = {"password": f"s3cret-{n}"}
                assert (await operator.ask("POST", f"{path}/config/general", json=section))[0] == 200
                assert device.config["general"] == section
                status, answer = await operator.ask("GET", f"{path}/config")
                assert (status, answer["config"]) == (200, device.config)
                status, answer = await operator.ask("POST", f"{path}/config/none", json={"p": "s3cret"})
                assert (status, answer["details"]["status_code"]) == (502, 404)
                status, answer = await operator.reset(await stream_of(database, device.device_id))
                assert (status, answer) == (200, {"new_stream_epoch": n + 2})
                await wait_until(lambda device=device, n=n: device.journal.epoch(READER) == n + 2)  # type: ignore[misc]
        sessions = devices[0].sessions
        assert await asking[1].ask("POST", "forwarders/f0/restart") == (200, {"ok": True, "error": None})
        await wait_until(lambda: devices[0].sessions > sessions, what="the restarted device")
        rows = await database.fetch("SELECT event || fields::text FROM activity")
        assert await database.fetchval("SELECT count(*) FROM commands") == 0
    assert "s3cret" not in capfd.readouterr().err
    assert "s3cret" not in str(rows)


async def test_resets_at_the_same_moment_from_two_operators_rise(
    database_url: str, database: Database
) -> None:
    token = await make_token(database, "forwarder", "f")
    async with (
        services(database_url, fanout=0) as running,
        operators(database_url) as asking,
        forwarder(running.gateways[0].url, token) as wire,
    ):
        stream_id = await stream_of(database, "f")
        await wire.send(batch(read(1)))
        await wire.ack()
        await wire.send(batch(read(1, "after it lost its journal")))
        answers = await asyncio.gather(*(operator.reset(stream_id) for operator in asking * 4))
        assert {status for status, _ in answers} == {200}
        answered = [answer["new_stream_epoch"] for _, answer in answers]
        assert len(set(answered)) == 8
        epochs: list[int] = []
        while max(answered) not in epochs:
            message = await wire.next()
            assert message is not None
            if message["kind"] == "epoch_reset_command":
                epochs.append(message["new_stream_epoch"])
    # The conflict asks for one of its own, unless an operator's was first: that is enough for it.
    assert epochs == [*range(2, max(answered) + 1)]
    assert set(answered) <= set(epochs)
    assert len(set(epochs) - set(answered)) <= 1


async def test_a_device_that_answers_in_the_middle_of_a_replay_and_reconnects_is_answered(
    database_url: str, database: Database
) -> None:
    token = await make_token(database, "forwarder", "f")
    device = Forwarder(
        url="", token=token, device_id="f", readers=[READER], backoff_s=(0.05, 0.5), batch_size=5
    )
    for n in range(50):
        device.record(READER, f"line {n}")
    async with (
        services(database_url, fanout=0) as running,
        operators(database_url, count=1) as (operator,),
        asyncio.TaskGroup() as tasks,
    ):
        writer = running.writers[0]
        writer.signal(signal.SIGSTOP)  # or the replay would be over before anyone asks
        device.url = running.gateways[0].url
        tasks.create_task(device.run())
        await device.wait_connected()
        sessions = device.sessions
        status, answer = await operator.ask("GET", "forwarders/f/config")
        assert (status, answer["config"]) == (200, device.config)
        await wait_until(lambda: device.sessions > sessions, what="the device to be back")
        writer.signal(signal.SIGCONT)
        await device.drained()
        await device.stop()


async def test_a_device_that_never_answers_is_a_timeout(database_url: str, database: Database) -> None:
    token = await make_token(database, "forwarder", "f")
    async with (
        services(database_url, writer=0, fanout=0) as running,
        operators(database_url, count=1) as (operator,),
        forwarder(running.gateways[0].url, token) as wire,
    ):
        status, answer = await operator.ask("GET", "forwarders/f/config")
        assert (status, answer["code"]) == (504, "TIMEOUT")
        assert (await wire.expect("config_get_request"))["kind"] == "config_get_request"


async def test_a_gateway_that_is_killed_with_a_command_in_hand_is_no_answer(
    database_url: str, database: Database
) -> None:
    token = await make_token(database, "forwarder", "f")
    async with (
        services(database_url, writer=0, fanout=0) as running,
        operators(database_url, count=1) as (operator,),
        forwarder(running.gateways[0].url, token) as wire,
    ):
        stream_id = await stream_of(database, "f")
        asking = asyncio.create_task(operator.ask("POST", "forwarders/f/restart"))
        await wire.expect("restart_request")
        await running.gateways[0].kill()
        assert (await asking)[0] == 504
        assert (await operator.ask("POST", "forwarders/f/restart"))[0] == 404
        assert (await operator.reset(stream_id))[0] == 409


@pytest.mark.parametrize(
    ("signal_number", "more"),
    [(signal.SIGKILL, []), (signal.SIGTERM, [("restart_ended", "nobody knows")])],
)
async def test_an_api_process_that_ends_with_a_command_in_hand_leaves_who_asked_and_claims_nothing(
    database_url: str, database: Database, signal_number: signal.Signals, more: list[tuple[str, str]]
) -> None:
    token = await make_token(database, "forwarder", "f")
    entries = "SELECT event, fields->>'ending' AS ending, fields->>'by' AS by FROM activity WHERE event LIKE 'restart%'"
    async with (
        services(database_url, writer=0, fanout=0, api=1) as running,
        forwarder(running.gateways[0].url, token) as wire,
        aiohttp.ClientSession() as http,
    ):
        api = running.apis[0]
        asking = asyncio.create_task(Operator(api, http).ask("POST", "forwarders/f/restart"))
        await wire.expect("restart_request")
        # It stands there before the device has heard of it: no waiting.
        assert [tuple(row) for row in await database.fetch(entries)] == [("restart_asked", None, "no token")]
        api.signal(signal_number)
        await api.ended()
        with pytest.raises(aiohttp.ClientError):
            await asking
        # The device does it and answers, and nobody is there to hear it: of that no entry says anything.
        found = [tuple(row) for row in await database.fetch(entries)]
        assert [(event, ending) for event, ending, _ in found] == [("restart_asked", None), *more]
        await api.start()
        await api.ready()
        _, told = await Operator(api, http).ask("GET", "logs")
        assert "restart_asked" in [each["event"] for each in told["entries"]]


async def test_a_gateway_that_hangs_carries_out_nothing_when_it_wakes_up(
    database_url: str, database: Database
) -> None:
    token = await make_token(database, "forwarder", "f")
    async with (
        services(database_url, writer=0, fanout=0) as running,
        operators(database_url) as asking,
        forwarder(running.gateways[0].url, token) as wire,
    ):
        stream_id = await stream_of(database, "f")
        sleeper = running.gateways[0]
        sleeper.signal(signal.SIGSTOP)
        answers = await asyncio.gather(*(operator.reset(stream_id) for operator in asking))
        assert {status for status, _ in answers} <= {409, 504}
        sleeper.signal(signal.SIGCONT)

        async def works_again() -> Any:
            status, answer = await asking[0].reset(stream_id)
            return status == 200 and answer

        answer = await wait_until(works_again, deadline_s=30, what="a reset by the gateway that woke up")
        message = await wire.expect("epoch_reset_command")
        # The first that reaches the device is the one that was answered, though others were asked before.
        assert message["new_stream_epoch"] == answer["new_stream_epoch"]


async def test_a_command_taken_by_a_gateway_that_hangs_then_is_not_carried_out_when_it_wakes_up(
    database_url: str, database: Database
) -> None:
    token = await make_token(database, "forwarder", "f")
    async with (
        services(database_url, writer=0, fanout=0) as running,
        operators(database_url, count=1) as (operator,),
        forwarder(running.gateways[0].url, token) as wire,
    ):
        stream_id = await stream_of(database, "f")
        sleeper = running.gateways[0]
        async with database.transaction():
            # The reservation waits for this row, with the command in the gateway's hand.
            await database.execute("SELECT FROM streams FOR UPDATE")
            asking = asyncio.create_task(operator.reset(stream_id))
            await wait_until(
                lambda: database.fetchval(
                    "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                    " AND application_name = 'rt-server gateway')"
                ),
                what="the reservation to wait, with the command taken",
            )
            sleeper.signal(signal.SIGSTOP)
        assert (await asking)[0] == 504
        sleeper.signal(signal.SIGCONT)

        async def works_again() -> Any:
            status, answer = await operator.reset(stream_id)
            return status == 200 and answer

        answer = await wait_until(works_again, deadline_s=30, what="a reset by the gateway that woke up")
        message = await wire.expect("epoch_reset_command")
        assert message["new_stream_epoch"] == answer["new_stream_epoch"] == 3  # 2 was reserved in vain
