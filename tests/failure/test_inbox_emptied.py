"""The inbox is emptied and no connection is lost: as a failover behind a pooler looks, or an administrator's hand."""

import asyncio
import signal

import pytest

from tests.failure.facts import Database, counts, lines
from tests.failure.fleet import fleet
from tests.failure.wire import READER, batch, forwarder, reads
from tests.services import Process, make_token, services
from tests.waiting import wait_until

_EMPTY = "TRUNCATE inbox, outcomes, inbox_generation"
_HELD = """
SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid)
WHERE relation = 'inbox'::regclass AND application_name LIKE 'rt-server writer%'
"""


async def stand_still(database: Database, writer: Process) -> None:
    """Stop a writer that holds nothing: in the middle of a statement it keeps the inbox, and us from emptying it."""
    while True:
        writer.signal(signal.SIGSTOP)
        if not await database.fetchval(_HELD):
            return
        writer.signal(signal.SIGCONT)
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("listen", ["on", "off"])
async def test_what_lay_in_it_is_staged_again_in_its_order(
    database_url: str, database: Database, listen: str
) -> None:
    token = await make_token(database, "forwarder", "f")
    async with (
        services(database_url, fanout=0, LISTEN=listen) as running,
        forwarder(running.gateways[0].url, token) as wire,
    ):
        await stand_still(database, running.writers[0])
        for first in (1, 11, 21):
            await wire.send(batch(*reads(first, first + 9)))
        await wait_until(lambda: database.fetchval("SELECT count(*) = 3 FROM inbox"), what="three parts")
        await database.execute(_EMPTY)
        await wait_until(
            lambda: database.fetchval("SELECT count(*) = 3 FROM inbox"),
            deadline_s=3.0,
            what="three parts again",
        )
        numbers = await database.fetch("SELECT seqs[1] FROM inbox ORDER BY arrival")
        assert [row[0] for row in numbers] == [1, 11, 21]
        assert await running.gateways[0].metric("rtserver_parts_staged_again_total") == 3
        running.writers[0].signal(signal.SIGCONT)
        assert [await wire.ack() for _ in range(3)] == [[(READER, 1, last)] for last in (10, 20, 30)]
    assert [row[1] for row in await lines(database, "f", READER)] == list(range(1, 31))


async def test_outcomes_that_vanish_with_it_do_not_leave_a_device_waiting(
    database_url: str, database: Database
) -> None:
    """The parts are written, and what tells so is gone: they are staged again, as retransmits."""
    token = await make_token(database, "forwarder", "f")
    async with services(database_url, fanout=0) as running, forwarder(running.gateways[0].url, token) as wire:
        gateway, writer = running.gateways[0], running.writers[0]
        await stand_still(database, writer)
        await wire.send(batch(*reads(1, 10)))
        await wait_until(lambda: database.fetchval("SELECT count(*) = 1 FROM inbox"), what="the part")
        # The notification says only that there is an outcome.
        await database.execute("UPDATE inbox SET receipt = NULL")
        gateway.signal(signal.SIGSTOP)
        writer.signal(signal.SIGCONT)
        await wait_until(lambda: database.fetchval("SELECT count(*) = 1 FROM outcomes"), what="the outcome")
        await database.execute(_EMPTY)
        gateway.signal(signal.SIGCONT)
        assert await wire.ack() == [(READER, 1, 10)]
    assert await counts(database) == (20, 10, 10, 0, 10, 0, 10)


async def test_a_fleet_does_not_notice_that_it_happens_again_and_again(
    database_url: str, database: Database
) -> None:
    async with (
        services(database_url, gateway=2, writer=2, fanout=0) as running,
        fleet(database, *(each.url for each in running.gateways)) as devices,
    ):
        async with devices.racing():
            for _ in range(4):
                await devices.goes_on(20)
                await database.execute(_EMPTY)
        await devices.drained()
        assert devices.reconnects == 0
        await devices.whole(database)
