"""One device sends whatever it likes, another sends its reads beside it and must not notice."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress

import aiohttp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.failure.facts import Database, counts, lines
from tests.failure.hostile import EXTREMES, hostile_messages
from tests.failure.wire import READER, Wire, batch, connect, forwarder, read, unresponsive
from tests.services import Process, make_token, services
from tests.waiting import stretched, wait_until

# An ack takes a few milliseconds; what a neighbour may cost is a scheduler's slice, not a lost connection.
NOTICEABLE_S = 2.0
MIB = 1024 * 1024
BAD = {"PROTOCOL_ERROR", "IDENTITY_MISMATCH"}


class Neighbour:
    """A device that sends one read after the other and notes how long each ack took."""

    def __init__(self) -> None:
        self.sent = 0
        self.slowest_s = 0.0

    async def send(self, wire: Wire) -> None:
        """Send until cancelled."""
        while True:
            self.sent += 1
            began = time.monotonic()
            await wire.send(batch(read(self.sent)))
            assert await wire.ack(within_s=stretched(30)) == [(READER, 1, self.sent)]
            self.slowest_s = max(self.slowest_s, time.monotonic() - began)


@asynccontextmanager
async def neighbourhood(
    database_url: str, database: Database
) -> AsyncIterator[tuple[Process, Iterator[str]]]:
    """A gateway, and tokens of hostile devices, which are braked one by one; at the end the neighbour must not have
    noticed.
    """
    good = await make_token(database, "forwarder", "good")
    bad = itertools.cycle([await make_token(database, "forwarder", f"bad-{n}") for n in range(300)])
    async with (
        services(database_url, fanout=0) as running,
        forwarder(running.gateways[0].url, good) as wire,
    ):
        neighbour = Neighbour()
        sending = asyncio.create_task(neighbour.send(wire))
        yield running.gateways[0], bad
        assert not sending.done()
        sending.cancel()
        await asyncio.wait([sending])
        await running.gateways[0].ready()
        await running.writers[0].ready()
    assert neighbour.sent > 10
    assert neighbour.slowest_s < stretched(NOTICEABLE_S)
    stored = await lines(database, "good", READER)
    assert stored == [(1, number, f"line {number}") for number in range(1, len(stored) + 1)]
    assert len(stored) >= neighbour.sent - 1
    assert (await counts(database)).exact
    assert not await database.fetchval("SELECT EXISTS (SELECT FROM poisoned_parts)")


async def attack(gateway: Process, token: str, messages: list[bytes]) -> None:
    """Send the messages after a good hello; the device is served on, or told why not, in the written way."""
    async with connect(gateway.url, token) as wire:
        await wire.greet()
        try:
            for message in messages:
                await wire.send(message)
            await wire.ping()
            while (frame := await wire.frame(within_s=stretched(20))).type is aiohttp.WSMsgType.TEXT:
                wire.seen.append(frame.json())
        except (ConnectionError, aiohttp.ClientError):
            return  # it had closed while we were sending still
        if frame.type is aiohttp.WSMsgType.PONG:
            return
        assert wire.close_code == 1008
        assert wire.seen[-1]["code"] in BAD, wire.seen[-1]
        assert len(wire.seen[-1]["message"]) < 500


async def test_the_largest_deepest_and_falsest_messages_hurt_only_their_sender(
    database_url: str, database: Database
) -> None:
    async with neighbourhood(database_url, database) as (gateway, tokens):
        for message in EXTREMES.values():
            await attack(gateway, next(tokens), [message])
            async with connect(gateway.url, next(tokens)) as wire:
                with suppress(
                    ConnectionError
                ):  # as it is closed on the head of a message that is too large for one
                    await wire.send(message)  # instead of a hello
                if len(message) > MIB:
                    assert await wire.closed() == 1009
                else:
                    assert (await wire.next() or {})["code"] == "PROTOCOL_ERROR"


async def test_any_message_hurts_only_its_sender(database_url: str, database: Database) -> None:
    async with neighbourhood(database_url, database) as (gateway, tokens):

        @settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
        @given(messages=st.lists(hostile_messages, min_size=1, max_size=4))
        def attack_with(messages: list[bytes]) -> None:
            asyncio.run(attack(gateway, next(tokens), messages))

        await asyncio.to_thread(attack_with)


async def test_a_device_that_never_reads_hurts_only_itself(database_url: str, database: Database) -> None:
    async with (
        neighbourhood(database_url, database) as (gateway, tokens),
        unresponsive(gateway.url, next(tokens)),
    ):
        stored = (await counts(database)).events
        await wait_until(lambda: more_than(database, stored + 50), what="the neighbour's reads")


async def more_than(database: Database, stored: int) -> bool:
    return (await counts(database)).events > stored
