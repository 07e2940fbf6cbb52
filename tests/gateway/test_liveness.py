"""A forwarder is dropped for not answering pings, never for silence, and never while we do not listen ourselves."""

import asyncio

import pytest

from shared.transport import connection
from tests.failure.link import link
from tests.failure.wire import Wire, batch, forwarder
from tests.gateway.conftest import Inside
from tests.waiting import wait_until

ANSWER_WITHIN_S = 0.4


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "PING_EVERY_S", 0.1)
    monkeypatch.setattr(connection, "ANSWER_WITHIN_S", ANSWER_WITHIN_S)
    monkeypatch.setattr(connection, "HEARTBEAT_EVERY_S", 0.3)


async def heartbeats(wire: Wire, count: int) -> None:
    """Answer pings until so many heartbeats have come."""
    for _ in range(count):
        message = await wire.next()
        assert message is not None
        assert (message["kind"], message["session_id"]) == ("heartbeat", wire.session_id)


async def test_a_device_that_only_answers_pings_stays_and_gets_heartbeats(inside: Inside) -> None:
    async with forwarder(inside.url, inside.token) as wire:
        await heartbeats(wire, 4)


async def test_a_device_that_answers_no_ping_is_dropped(inside: Inside) -> None:
    async with link(inside.url) as way, forwarder(way.url, inside.token):
        way.freeze()
        await wait_until(lambda: not inside.gateway.ownership.held, deadline_s=3, what="the session to end")


async def test_a_device_that_we_did_not_read_for_long_is_not_dropped_when_we_do_again(inside: Inside) -> None:
    async with forwarder(inside.url, inside.token) as wire:
        answering = asyncio.create_task(heartbeats(wire, 3))
        full = [inside.gateway.account.holding(size) for size in (1, 2**30)]
        with full[0], full[1]:
            await wire.send(batch())  # and its pongs, which lie behind it
            await asyncio.wait_for(answering, 5)  # longer than it may take to answer
        assert await wire.ack() == []
        await heartbeats(wire, 3)
