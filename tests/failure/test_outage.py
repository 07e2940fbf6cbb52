"""The database is away for ten seconds under all services, with devices at them: each process says so once."""

import asyncio
import re
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.delivery.wire import receiver
from tests.delivery.wire_v12 import live, receiver_v12
from tests.failure.cluster import own_cluster
from tests.failure.fleet import fleet
from tests.failure.wire import forwarder
from tests.services import make_token, services
from tests.waiting import wait_until

AWAY_S = 10.0
_LINE = re.compile(r"\[(warning|error|critical)\s*\] (\w+) .*\brole=(\w+)")


def said(text: str) -> Counter[tuple[str, str]]:
    """Return how often each role said what, of all that is worth a warning."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    return Counter((role, event) for _, event, role in _LINE.findall(plain))


async def test_each_process_says_once_that_the_database_is_away_and_once_that_it_is_back(
    tmp_path: Path, seed: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async with own_cluster(tmp_path, seed) as cluster:
        async with cluster.connection() as database:
            token = await make_token(database, "receiver", "tent")
            of_leaving = [await make_token(database, kind, "leaves") for kind in ("forwarder", "receiver")]
        async with (
            cluster.connection() as database,
            services(cluster.url, gateway=1, writer=1, fanout=1, api=1) as running,
            receiver(running.fanouts[0].url, token),
            fleet(database, running.gateways[0].url, count=2) as devices,
            devices.racing(),
            AsyncExitStack() as leaving,
        ):
            await leaving.enter_async_context(forwarder(running.gateways[0].url, of_leaving[0]))
            await leaving.enter_async_context(receiver(running.fanouts[0].url, of_leaving[1]))
            await leaving.enter_async_context(receiver_v12(running.fanouts[0].url, of_leaving[1], live()))
            await devices.goes_on()
            capfd.readouterr()
            await cluster.stop()
            # Each leaves a row behind, which is said by nobody: it is cleared when the database is there.
            await leaving.aclose()
            await asyncio.sleep(AWAY_S)
            await cluster.start()
            said_of_it: Counter[tuple[str, str]] = Counter()

            def all_are_back() -> bool:
                said_of_it.update(said(capfd.readouterr().err))
                return sum(said_of_it[each.role, "database_available"] for each in running.all) == 4

            await wait_until(all_are_back, what="each to say that it is back")
            await devices.goes_on()
        said_of_it.update(said(capfd.readouterr().err))
    assert said_of_it == Counter(
        (each.role, event) for each in running.all for event in ("database_unavailable", "database_available")
    )
