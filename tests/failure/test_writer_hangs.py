"""A writer that lives, is ready and stores nothing, because somebody holds what it needs: red, and no read is lost."""

from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest

from shared.protocol.ipico import compose
from tests.failure.facts import Database, counts
from tests.failure.wire import batch, forwarder, read
from tests.services import Process, make_token, services
from tests.waiting import wait_until

HANGS = "reads have waited for more than 5 s and nothing is stored"


def chip() -> str:
    """What a reader with a right clock says of a chip now."""
    return compose(reader_id="00", tag_id="0580000000A1", read_at=datetime.now(UTC).replace(tzinfo=None))


async def of_the_database(http: aiohttp.ClientSession, api: Process) -> Any:
    """Return what is said of the database, None for nothing."""
    async with http.get(f"{api.url}/api/v1/alerts") as answer:
        assert answer.status == 200, await answer.text()
        alerts = (await answer.json())["alerts"]
    said = [each for each in alerts if each["signal"] == "database" and each["ended_at"] is None]
    return said[0] if said else None


@pytest.mark.parametrize(
    "lock",
    [
        # What an index that is made holds: whoever reads the table does not notice.
        "LOCK TABLE events IN SHARE MODE",
        # What somebody has changed by hand and not committed.
        "SELECT FROM streams FOR UPDATE",
    ],
)
async def test_a_drain_that_waits_for_a_lock_is_red_until_it_goes_on(
    database_url: str, database: Database, lock: str
) -> None:
    token = await make_token(database, "forwarder", "f")
    async with (
        services(database_url, fanout=0, api=1) as running,
        forwarder(running.gateways[0].url, token) as wire,
        aiohttp.ClientSession() as http,
    ):
        api = running.apis[0]
        await wire.send(batch(read(1, chip())))
        await wire.ack()

        async def red() -> Any:
            said = await of_the_database(http, api)
            return said if said and said["level"] == "act" else None

        async def well() -> bool:
            said = await of_the_database(http, api)
            return said is None or said["quiet"] == "clearing"

        async with database.transaction():
            await database.execute(lock)
            await wire.send(batch(read(2, chip())))
            said = await wait_until(red, deadline_s=30, what="the hanging writer to be red")
            assert said["reason"] == HANGS
        await wire.ack()
        assert (await counts(database)).events == 2
        await wait_until(well, deadline_s=30, what="the alert to clear")
