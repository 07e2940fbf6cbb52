"""A device comes back at once with what was just refused, and again: it waits, and nobody else notices."""

import asyncio
import json
from pathlib import Path

import aiohttp
import pytest

from deploy.local.child import until_answering
from deploy.local.reverse_proxy import ReverseProxy
from gateway import brake, session
from tests.blunt import TEXT, blunt
from tests.failure.facts import Database
from tests.failure.wire import READER, batch, connect, forwarder, hello, read
from tests.gateway.conftest import Inside, running_gateway, running_writer
from tests.services import make_token, services
from tests.waiting import wait_until

MESSAGE_BYTES = 16 * 1024 * 1024
WRONG = batch({**read(1), "seq": 0})
COMPLAINT = "Expected `int` >= 1 - at `$.events[0].seq`"
FAULTS = "SELECT fault, complaint FROM forwarder_faults WHERE forwarder_id = $1 AND ended_at IS NULL"


async def refusal(url: str, token: str) -> tuple[int, str | None, str] | None:
    """Return status, Retry-After and code of a refused upgrade; None when the device is admitted."""
    async with (
        aiohttp.ClientSession() as http,
        http.get(
            f"{url}/ws/v1/forwarders",
            headers={
                "Authorization": f"Bearer {token}",
                "Connection": "Upgrade",
                "Upgrade": "websocket",
                "Sec-WebSocket-Version": "13",
                "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
            },
        ) as answer,
    ):
        if answer.status == 101:
            return None
        return answer.status, answer.headers.get("Retry-After"), (await answer.json())["code"]


async def sends_what_is_wrong(url: str, token: str) -> None:
    async with forwarder(url, token) as wire:
        await wire.send(WRONG)
        assert (await wire.expect("error"))["code"] == "PROTOCOL_ERROR"
        assert await wire.closed() == 1008


async def let_in_again(url: str, token: str) -> None:
    async def admitted() -> bool:
        return await refusal(url, token) is None

    await wait_until(admitted, what="the device to be admitted")


async def is_braked(url: str, token: str) -> None:
    refused = await refusal(url, token)
    assert refused is not None
    status, retry_after, code = refused
    assert (status, code) == (429, "TOO_MANY_REQUESTS")
    assert 1 <= int(retry_after or 0) <= 5


async def test_behind_the_reverse_proxy_nobody_else_is_held_up(
    database_url: str, database: Database, tmp_path: Path
) -> None:
    bad, good, third = [await make_token(database, "forwarder", name) for name in ("bad", "good", "third")]
    async with services(database_url, fanout=0) as running:
        address = running.gateways[0].url.removeprefix("http://")
        proxy = ReverseProxy("127.0.0.1:0", data_dir=tmp_path, upstreams=lambda: {"gateway": [address]})
        child = await proxy.launch()
        try:
            assert await until_answering(child, proxy.answers), child.last_lines(5)
            async with forwarder(proxy.url, good) as wire:
                await sends_what_is_wrong(proxy.url, bad)
                for seq in range(1, 11):
                    await is_braked(proxy.url, bad)
                    # One that comes anew is admitted at the first try, by the only gateway that there is.
                    async with forwarder(proxy.url, third):
                        await wire.send(batch(read(seq)))
                        assert await wire.ack() == [(READER, 1, seq)]
        finally:
            await child.stop(proxy.stop_signals, within_s=5)
    assert [tuple(row) for row in await database.fetch(FAULTS, "bad")] == [("malformed", COMPLAINT)]
    noted = await database.fetch("SELECT fields->>'complaint' FROM activity WHERE event = 'forwarder_braked'")
    assert [row[0] for row in noted] == [COMPLAINT]


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A brake that is over at once the first time, and never the second."""
    monkeypatch.setattr(brake, "DELAYS_S", (0.2, 600.0))


@pytest.mark.usefixtures("short")
async def test_an_ack_ends_it_and_what_operators_are_told(database_url: str, database: Database) -> None:
    token = await make_token(database, "forwarder", "f")
    async with running_writer(database_url), running_gateway(database_url, token) as inside:
        for seq in (1, 2):
            await sends_what_is_wrong(inside.url, token)
            await let_in_again(inside.url, token)
            async with forwarder(inside.url, token) as wire:
                assert await database.fetch(FAULTS, "f")
                await wire.send(batch(read(seq)))
                await wire.ack()
                await wait_until(lambda: _recovered(database), what="the fault to be over")
        await sends_what_is_wrong(inside.url, token)
        await let_in_again(inside.url, token)
        await sends_what_is_wrong(inside.url, token)
        assert (await refusal(inside.url, token) or (0,))[0] == 429


async def _recovered(database: Database) -> bool:
    return not await database.fetch(FAULTS, "f")


async def test_a_batch_that_became_a_dead_letter_brakes(
    database_url: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "REFUSE_AFTER_S", 0.01)
    await database.execute("ALTER TABLE inbox ADD CHECK (NOT 'poison' = ANY(raw_frames))")
    token = await make_token(database, "forwarder", "f")
    async with running_gateway(database_url, token) as inside:
        async with forwarder(inside.url, token) as wire:
            await wire.send(batch(read(1, "poison")))
            assert (await wire.expect("error"))["code"] == "INTERNAL_ERROR"
        assert (await refusal(inside.url, token) or (0,))[0] == 429
    assert [row["fault"] for row in await database.fetch(FAULTS, "f")] == ["dead_letter"]


async def test_a_message_that_is_too_long_brakes_before_the_device_can_be_back(
    database_url: str, database: Database
) -> None:
    token = await make_token(database, "forwarder", "f")

    def talk(url: str) -> int:
        with blunt(url, token) as device:
            device.send(json.dumps(hello()).encode())
            device.until(TEXT)
            device.send_head(MESSAGE_BYTES + 1)
            return device.ended()[1]

    async with running_gateway(database_url, token) as inside:
        assert await asyncio.to_thread(talk, inside.url) == 1009
        assert (await refusal(inside.url, token) or (0,))[0] == 429
    complaint = (
        "a message of over 16 MiB, which is not read; have it send fewer reads at once (batch_max_events)"
    )
    assert [tuple(row) for row in await database.fetch(FAULTS, "f")] == [("malformed", complaint)]


async def _speaks_wrongly_at_once(inside: Inside) -> None:
    for first in ("no json", hello(forwarder_id="another"), {"kind": "forwarder_hello"}, batch(read(1))):
        async with connect(inside.url, inside.token) as wire:
            await wire.send(first)
            await wire.expect("error")


async def _has_a_twin(inside: Inside) -> None:
    async with forwarder(inside.url, inside.token) as first, connect(inside.url, inside.token) as twin:
        answering = asyncio.create_task(first.closed())
        await twin.send(hello())
        assert "already active" in (await twin.expect("error"))["message"]
        answering.cancel()


@pytest.mark.parametrize("what", [_speaks_wrongly_at_once, _has_a_twin])
async def test_a_wrong_hello_and_a_twin_are_never_braked(
    database_url: str, database: Database, what: object
) -> None:
    assert callable(what)
    token = await make_token(database, "forwarder", "f")
    async with running_gateway(database_url, token) as inside:
        await what(inside)
        assert await refusal(inside.url, token) is None
    assert not await database.fetch(FAULTS, "f")
