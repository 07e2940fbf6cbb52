"""What each role costs while nothing happens: with a hundred silent devices, and a fanout with a thousand receivers."""

import asyncio
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack

from shared.roles import ROLES
from tests.bench.crowd import Crowd
from tests.bench.fleet import Ticker, streams
from tests.bench.ground import Ground, receivers, running
from tests.bench.report import Row, Target, cpu_seconds, resident_bytes, row, say
from tests.bench.sockets import connect
from tests.services import make_token

__all__ = ["measure"]

DEVICES = 100  # half forwarders, half receivers of all streams
RECEIVERS = 1_000
STREAMS = 10  # that each of those follows
SECONDS = 20.0  # pings come every 20 s
SETTLE_S = 5.0  # what their arrival leaves to do
MIB = 2**20


async def measure(ground: Ground, rounds: int) -> list[Row]:
    """Connect all, then look at the processor's clock."""
    return [*await silent_devices(ground, rounds), *await idle_receivers(ground, rounds)]


async def silent_devices(ground: Ground, rounds: int) -> list[Row]:
    """A stack of one of each role."""
    names = [f"f{n}" for n in range(DEVICES // 2)]
    async with ground.site() as site, AsyncExitStack() as stack:
        roles = {role: await stack.enter_async_context(running(role, site)) for role in ROLES}
        forwarders = [
            await connect(Ticker(await make_token(site.database, "forwarder", name)), roles["gateway"].url)
            for name in names
        ]
        await asyncio.gather(*(each.greeted.wait() for each in forwarders))
        crowd = Crowd(roles["fanout"].url, streams(names))
        await crowd.join([await make_token(site.database, "receiver", name) for name in names])
        pids = {role: each.pid for role, each in roles.items()}
        shares = await look(pids, rounds)
        memory = {role: resident_bytes(pid) / MIB for role, pid in pids.items()}
        crowd.leave()
        for each in forwarders:
            each.close()
    rows = []
    for role in ROLES:
        rows.append(row(f"idle {role}: processor", shares[role], "% of a core", target=Target("at most", 1)))
        rows.append(row(f"idle {role}: memory", [memory[role]], "MiB", target=Target("at most", 80)))
    return rows


async def idle_receivers(ground: Ground, rounds: int) -> list[Row]:
    """A fanout alone with many receivers."""
    names = [f"f{n}" for n in range(STREAMS)]
    async with ground.site() as site, running("fanout", site) as fanout:
        crowd = Crowd(fanout.url, streams(names))
        empty = resident_bytes(fanout.pid)
        await crowd.join(await receivers(site, RECEIVERS))
        shares = await look({"fanout": fanout.pid}, rounds)
        each_kib = (resident_bytes(fanout.pid) - empty) / RECEIVERS / 1024
        if crowd.lost:
            raise AssertionError(f"{crowd.lost} connections were lost")
        crowd.leave()
    figure = f"fanout with {RECEIVERS:,} idle receivers"
    return [
        row(f"{figure}: processor", shares["fanout"], "% of a core", target=Target("at most", 2)),
        row(f"{figure}: memory of each", [each_kib], "KiB"),
    ]


async def look(pids: Mapping[str, int], rounds: int) -> dict[str, list[float]]:
    """Return by process what share of a core it used, in percent, round after round."""
    await asyncio.sleep(SETTLE_S)
    shares: dict[str, list[float]] = {name: [] for name in pids}
    for number in range(rounds):
        began, used = time.perf_counter(), {name: cpu_seconds(pid) for name, pid in pids.items()}
        await asyncio.sleep(SECONDS)
        passed = time.perf_counter() - began
        for name, pid in pids.items():
            shares[name].append(100 * (cpu_seconds(pid) - used[name]) / passed)
        spoken = ", ".join(f"{name} {values[-1]:.2f} %" for name, values in shares.items())
        say(f"idle, round {number + 1}: {spoken}")
    return shares
