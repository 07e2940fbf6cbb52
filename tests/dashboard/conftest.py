"""One browser for all, one stack for each module, which each test finds empty; a tab for each test, and devices."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Any

import asyncpg
import pytest_asyncio
from playwright.async_api import Browser

from deploy.simulation.devices.forwarder import Forwarder
from deploy.simulation.devices.receiver import AT_ONCE, Receiver
from shared.db.channels import RACES, STATES, STREAMS, TOKENS
from tests.conftest import fresh_database
from tests.dashboard.browser import Tab, chromium, tab
from tests.lines import line
from tests.postgres import Postgresql
from tests.services import Services, make_token, services
from tests.waiting import wait_until

_AGE_ALERTS = """
UPDATE troubles
SET since = since - $1::interval, noticed_at = noticed_at - $1::interval, eased_at = eased_at - $1::interval,
    calm_at = calm_at - $1::interval
WHERE ended_at IS NULL
"""

# The turn to look at states first: a look that has begun before would write of what is gone. What stays are the
# processes themselves and the schema; all else goes, whichever tables there will be. In any order: what refers to a row
# goes with it.
_EMPTY = """
DO $$
DECLARE
    each text;
BEGIN
    PERFORM FROM evaluation FOR UPDATE;
    FOR each IN
        SELECT format('DELETE FROM %s', oid::regclass) FROM pg_class
        WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
          AND relname NOT IN ('processes', 'evaluation', 'inbox_generation', 'announcer', 'link_secret',
                              'clocks_turn', 'lags_turn', 'notices_turn', 'passings_turn', 'certificate_keys',
                              'schema_migrations', 'schema_routines')
    LOOP
        EXECUTE each;
    END LOOP;
    UPDATE passings_turn SET rest_until = '-infinity', waiting = 0;
    UPDATE announcer SET enabled = false, enabled_until = NULL, max_list_size = 25, updated_at = now();
END $$
"""
_NOBODY_IS_THERE = """
SELECT NOT EXISTS (SELECT FROM live_forwarder_sessions) AND NOT EXISTS (SELECT FROM live_receiver_sessions)
"""

_ALL_CLEARED = "SELECT bool_and(calm_at IS NOT NULL) FROM troubles WHERE ended_at IS NULL"


class Stack:
    """All roles over a database of their own, and the devices that a test connects to them."""

    def __init__(self, roles: Services, database: "asyncpg.Connection[asyncpg.Record]") -> None:
        self.roles = roles
        self.database = database
        self.api = roles.apis[0]

    @property
    def url(self) -> str:
        """Where the dashboard is."""
        return self.api.url

    @asynccontextmanager
    async def forwarder(
        self, device_id: str, *readers: str, token: str = "", **more: Any
    ) -> AsyncIterator[Forwarder]:
        """Connect a forwarder; at the end it vanishes."""
        device = Forwarder(
            url=self.roles.gateways[0].url,
            token=token or await make_token(self.database, "forwarder", device_id),
            device_id=device_id,
            readers=readers,
            backoff_s=(0.2, 1.0),
            **more,
        )
        async with _alive(device):
            await device.wait_connected()
            yield device

    @asynccontextmanager
    async def receiver(
        self, device_id: str, *streams: tuple[str, str], **more: Any
    ) -> AsyncIterator[Receiver]:
        """Connect a receiver; at the end it vanishes."""
        token = await make_token(self.database, "receiver", device_id)
        device = Receiver(
            url=self.roles.fanouts[0].url, token=token, streams=streams, manners=AT_ONCE, **more
        )
        async with _alive(device):
            await device.wait_connected()
            yield device

    async def pass_time(self, seconds: float) -> None:
        """Let the states of what is so at the moment be so for longer: they know only what stands in the database."""
        past = timedelta(seconds=seconds)
        await self.database.execute("UPDATE forwarder_sessions SET ended_at = ended_at - $1::interval", past)
        await self.database.execute(_AGE_ALERTS, past)

    async def gone(self, device_id: str) -> None:
        """Wait until the session of a forwarder has ended."""
        ended = "SELECT ended_at FROM forwarder_sessions WHERE forwarder_id = $1"
        await wait_until(lambda: self.database.fetchval(ended, device_id), what=f"{device_id} to be gone")

    async def silence(self, device_id: str, *, seconds: float) -> None:
        """Let the last read of a forwarder's streams have come so long ago."""
        await self.database.execute(
            "UPDATE stream_metrics SET last_received_at = last_received_at - $2::interval "
            "FROM streams WHERE streams.stream_id = stream_metrics.stream_id AND forwarder_id = $1",
            device_id,
            timedelta(seconds=seconds),
        )

    async def clear(self) -> None:
        """Let whatever is clear at the moment have been so for long enough."""
        await wait_until(lambda: self.database.fetchval(_ALL_CLEARED), deadline_s=30, what="alerts to ease")
        await self.pass_time(600)

    async def retire(self) -> None:
        """Let nobody miss the devices that were there."""
        await self.database.execute("UPDATE device_tokens SET revoked_at = now() WHERE revoked_at IS NULL")

    async def empty(self) -> None:
        """Leave nothing of what was there, in the database or in what processes keep of it."""
        await wait_until(lambda: self.database.fetchval(_NOBODY_IS_THERE), what="all devices to be gone")
        await self.database.execute(_EMPTY)
        for channel in (STREAMS, TOKENS, STATES, RACES):
            await self.database.execute("SELECT pg_notify($1, '')", channel)

    async def stream_id(self, device_id: str) -> str:
        """Return the id of the one stream of a forwarder."""
        return str(
            await self.database.fetchval("SELECT stream_id FROM streams WHERE forwarder_id = $1", device_id)
        )


@asynccontextmanager
async def reading(forwarder: Forwarder, reader: str, chip: str) -> AsyncIterator[None]:
    """Let a chip be read ten times a second: a single read that is held up looks like a clock that is behind."""

    async def go_on() -> None:
        while True:
            forwarder.record(reader, line(chip))
            await asyncio.sleep(0.1)

    task = asyncio.create_task(go_on())
    try:
        yield
    finally:
        task.cancel()


@asynccontextmanager
async def _alive(device: Forwarder | Receiver) -> AsyncIterator[None]:
    running = asyncio.create_task(device.run())
    try:
        yield
    finally:
        running.cancel()
        await asyncio.wait([running])


@asynccontextmanager
async def stack_of(cluster: Postgresql, **environment: str) -> AsyncIterator[Stack]:
    """Run all roles over a fresh database."""
    async with AsyncExitStack() as both:
        url = await both.enter_async_context(fresh_database(cluster))
        roles = await both.enter_async_context(
            services(url, gateway=1, writer=1, fanout=1, api=1, **environment)
        )
        database = await asyncpg.connect(url)
        both.push_async_callback(database.close)
        yield Stack(roles, database)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """The browser of all modules: a tab knows nothing of another."""
    async with chromium() as browser:
        yield browser


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def module_stack(browser: Browser, cluster: Postgresql) -> AsyncIterator[Stack]:
    """The module's stack, for what all its tests share; it comes after the browser, so that nothing starts where there
    is none.
    """
    async with stack_of(cluster) as stack:
        yield stack


@pytest_asyncio.fixture(loop_scope="session")
async def stack(module_stack: Stack) -> AsyncIterator[Stack]:
    """The module's stack, with nothing in it: whichever tests have run in it before, and in whichever order."""
    yield module_stack
    await module_stack.empty()


@pytest_asyncio.fixture(loop_scope="session")
async def page(browser: Browser, stack: Stack) -> AsyncIterator[Tab]:
    """A tab that must have nothing to complain of."""
    async with tab(browser, stack.url) as opened:
        yield opened
        assert opened.errors == []
