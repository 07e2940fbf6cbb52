"""A gateway on a machine whose clock is wrong: what it receives is dated by the database's."""

from time import time

import pytest

from tests.failure.facts import Database
from tests.failure.wire import READER, batch, forwarder, reads
from tests.gateway.conftest import Inside
from tests.waiting import wait_until

pytestmark = pytest.mark.usefixtures("writer")

OFF_S = -3600.0


async def test_reads_are_dated_by_the_database_s_clock_on_a_machine_that_is_an_hour_behind(
    inside: Inside, database: Database
) -> None:
    clock = inside.gateway.process.presence.clock
    clock.own = lambda: time() + OFF_S
    await wait_until(lambda: (clock.ahead_ms or 0) < -3_000_000)
    before = await database.fetchval("SELECT clock_timestamp()")
    async with forwarder(inside.url, inside.token) as wire:
        await wire.send(batch(*reads(1, 3)))
        assert await wire.ack() == [(READER, 1, 3)]
    after = await database.fetchval("SELECT clock_timestamp()")
    (received_at,) = {row[0] for row in await database.fetch("SELECT received_at FROM events")}
    # What the way to the database and back may hide is far less than a second.
    assert (before - received_at).total_seconds() < 1
    assert (received_at - after).total_seconds() < 1

    async def told() -> float | None:
        found: float | None = await database.fetchval(
            "SELECT clock_ahead_ms FROM processes WHERE role = 'gateway' AND abs(clock_ahead_ms) > 1000"
        )
        return found

    await wait_until(told)  # with the next sign of life
    assert await told() == pytest.approx(OFF_S * 1000, abs=1000)
