"""Receivers as they are in the field, catching up beside busy processes: what their race software never gets.

Such a receiver comes back to 20,000 reads that were stored while it was away, reads nothing at first, acks at once and
drops what comes faster than it can pass on (deploy/simulation/devices/receiver.py). Nothing of it can be changed, so
the server's pace alone decides; the machine is kept busy, so that nobody has a turn when it is due. One read lost is
one too many.
"""

import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from deploy.local.child import ends_with_parent
from deploy.simulation.devices.receiver import Receiver
from tests.bench.ground import Ground, Site, running
from tests.bench.report import Row, Target, row, say
from tests.delivery.stored import make_stream, store_many
from tests.services import make_token
from tests.waiting import wait_until

__all__ = ["measure"]

STREAM = ("bench", "10.0.0.1:10000")
HAD, READS = 200, 20_000  # what it had, and what it missed
IN_A_ROUND = 4  # twenty with the usual rounds
BUSY = 2


async def measure(ground: Ground, rounds: int) -> list[Row]:
    """Catch up again and again, each time with a receiver that was never here before."""
    found: list[tuple[int, float]] = []
    async with ground.site() as site, running("fanout", site) as fanout, busy(BUSY):
        await store_many(site.database, await make_stream(site.database, *STREAM), HAD + READS)
        await site.database.execute("VACUUM ANALYZE events")
        for number in range(rounds * IN_A_ROUND):
            found.append(await catch_up(site, fanout.url, f"tent-{number}"))
            say(f"field receiver {number + 1}: {found[-1][0]:,} of {READS:,} lost, {found[-1][1]:.1f} s")
    what = f"{len(found)} field receivers catch up on {READS:,} reads beside {BUSY} busy processes"
    return [
        row(f"{what}: lost of all", [sum(lost for lost, _ in found)], "reads", target=Target("at most", 0)),
        row(f"{what}: each took", [seconds for _, seconds in found], "s"),
    ]


async def catch_up(site: Site, url: str, name: str) -> tuple[int, float]:
    """Return how many reads never came to one receiver's race software, and how many seconds it took."""
    receiver = Receiver(
        url=url,
        token=await make_token(site.database, "receiver", name),
        streams=[STREAM],
        resume={(*STREAM, 1): HAD},
        keep=False,
    )
    arrived = receiver.arrivals.epochs
    began = time.perf_counter()
    connection = asyncio.ensure_future(receiver.run())
    # Whatever was dropped was older than the last.
    await wait_until(
        lambda: any(each.last_here == HAD + READS for each in arrived.values()),
        deadline_s=120,
        what="the last read",
    )
    passed = time.perf_counter() - began
    await receiver.drop()
    await connection
    return READS - receiver.received, passed


@asynccontextmanager
async def busy(processes: int) -> AsyncIterator[None]:
    """Have so many processes that always want a core."""
    command = ends_with_parent([sys.executable, "-c", "while True: pass"], signal.SIGKILL)
    spinning = [await asyncio.create_subprocess_exec(*command) for _ in range(processes)]
    try:
        yield
    finally:
        for each in spinning:
            each.kill()
            await each.wait()
