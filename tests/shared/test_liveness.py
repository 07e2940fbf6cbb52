"""Presence: a crash shows at once, a hang within the lease."""

from uuid import UUID

import asyncpg

from shared.runtime.liveness import LEASE_S, Presence
from shared.wake import Stop
from tests.services import services
from tests.waiting import wait_until

LIVE = "SELECT process_id FROM live_processes"


async def live(database: "asyncpg.Connection[asyncpg.Record]") -> set[UUID]:
    return {row["process_id"] for row in await database.fetch(LIVE)}


def presence(url: str, *, holds_lock: bool) -> Presence:
    return Presence(url, role="writer", address="here:1", holds_lock=holds_lock, stop=Stop())


async def test_a_process_is_alive_while_it_holds_its_lock(
    database_url: str, database: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    async with presence(database_url, holds_lock=True) as here:
        assert await live(database) == {here.process_id}
        await database.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE '%presence'"
        )
        await wait_until(lambda: _nobody(database), what="the crash to show")


async def test_a_process_without_a_lock_lives_by_its_lease(
    database_url: str, database: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    async with presence(database_url, holds_lock=False) as here:
        assert await live(database) == {here.process_id}
        await database.execute(
            "UPDATE processes SET lease_expires_at = lease_expires_at - interval '1 minute'"
        )
        assert await live(database) == set()


async def test_a_process_that_ends_in_order_leaves_no_row(
    database_url: str, database: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    async with presence(database_url, holds_lock=True):
        pass
    assert await database.fetchval("SELECT count(*) FROM processes") == 0


async def test_a_killed_process_is_dead_before_its_lease_is_over(
    database_url: str, database: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    async with services(database_url, gateway=0, fanout=0) as running:
        assert len(await live(database)) == 1
        await running.writers[0].kill()
        await wait_until(lambda: _nobody(database), deadline_s=LEASE_S / 2, what="the crash to show")
        assert await database.fetchval("SELECT bool_and(lease_expires_at > now()) FROM processes")


async def _nobody(database: "asyncpg.Connection[asyncpg.Record]") -> bool:
    return not await live(database)
