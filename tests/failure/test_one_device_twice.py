"""One device connects to two gateways within a millisecond: one of the two connections acquires its session."""

import asyncio

from tests.failure.facts import Database
from tests.failure.wire import READER, Message, Wire, batch, connect, hello, read
from tests.services import make_token, services
from tests.waiting import wait_until

ALREADY = "a session for this device is already active"


async def enter(wire: Wire) -> Message:
    """Say hello and return the refusal; who gets in goes on answering pings and never returns."""
    await wire.send(hello())
    while (message := await wire.next(within_s=60)) is not None:
        if message["kind"] == "error":
            return message
    raise AssertionError("neither admitted nor refused")


async def test_one_gets_in_and_the_other_is_told_so(database_url: str, database: Database) -> None:
    token = await make_token(database, "forwarder", "f")
    async with services(database_url, gateway=2, fanout=0) as running:
        here, there = (each.url for each in running.gateways)
        for number in range(1, 7):
            async with connect(here, token) as one, connect(there, token) as two:
                wires = {asyncio.create_task(enter(wire)): wire for wire in (one, two)}
                refused, in_place = await asyncio.wait(wires, return_when=asyncio.FIRST_COMPLETED)
                assert len(refused) == len(in_place) == 1
                (loser,), (winner,) = refused, in_place
                assert (loser.result()["code"], loser.result()["message"]) == ("PROTOCOL_ERROR", ALREADY)
                assert await wires[loser].closed() == 1008
                wire = wires[winner]
                await wait_until(lambda wire=wire: wire.seen, what="the heartbeat")  # type: ignore[misc]
                winner.cancel()
                await asyncio.wait([winner])
                await wire.send(batch(read(number)))
                assert await wire.ack() == [(READER, 1, number)]
