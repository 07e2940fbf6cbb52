"""More devices than the lock table has room for are online: none of them costs a lock."""

from contextlib import AsyncExitStack

from tests.failure.facts import Database
from tests.failure.wire import forwarder
from tests.services import make_token, services

_LOCKS = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
DEVICES = 200


async def test_devices_online_hold_no_advisory_lock(database_url: str, database: Database) -> None:
    tokens = [await make_token(database, "forwarder", f"f{number}") for number in range(DEVICES)]
    async with services(database_url, writer=0, fanout=0) as running, AsyncExitStack() as stack:
        before = await database.fetchval(_LOCKS)
        for token in tokens:
            await stack.enter_async_context(forwarder(running.gateways[0].url, token))
        assert await database.fetchval("SELECT count(*) FROM live_forwarder_sessions") == DEVICES
        assert await database.fetchval(_LOCKS) == before
