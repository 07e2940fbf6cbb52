"""What a read costs each process of the stack in processor time, by load.

Time on the clock grows with whatever else the machine does; the time that the kernel has charged to a process does
not. It falls where more reads come together, and they gather while an ack is outstanding: so how many reads a batch
and a drain held stands beside it, and figures compare where these agree. Postgres is one sum over its server and all
backends, those included that have ended meanwhile. What the load itself costs is left out. Beside it, how long a
process of the stack held its event loop at the most.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from tests.bench.fleet import Forwarder
from tests.bench.ground import NO_PAUSE, Ground, Site
from tests.bench.ingest import drain, join_fleet, join_witness
from tests.bench.latency import READERS, WARM_UP_S, join_tickers, settled, tick
from tests.bench.report import Row, cpu_seconds, row, say, tree_cpu_seconds
from tests.services import Services, services

__all__ = ["measure"]

LOADS = (200, 1_000, 5_000)
UNITS = {"reads a batch": "reads", "reads a drain": "reads", "longest stall of its own work": "ms"}
# The kernel counts in hundredths of a second: 5 us of each of the 2,000 reads at the least load.
SECONDS = 10.0


class Look(NamedTuple):
    """What was used so far: seconds of a core by process; and how many reads, batches and drains there were."""

    used_s: dict[str, float]
    reads: int
    batches: int
    drains: float


# Look at what the processes of a load have used; the forwarders know how much they sent.
Looks = Callable[[Sequence[Forwarder]], Awaitable[Look]]
# Lets reads pass through a stack; returns a look before and one after.
Load = Callable[[Site, Services, Looks], Awaitable[tuple[Look, Look]]]


async def measure(ground: Ground, rounds: int) -> list[Row]:
    """Take turns between the loads."""
    loads = {**{f"{rate:,} reads/s": at_rate(rate) for rate in LOADS}, "full drain": full_drain}
    found: dict[tuple[str, str], list[float]] = {}
    for number in range(rounds):
        for name, load in loads.items():
            figures = await one_run(ground, load)
            for figure, value in figures.items():
                found.setdefault((name, figure), []).append(value)
            spoken = ", ".join(f"{figure} {value:.3g}" for figure, value in figures.items())
            say(f"processor at {name}, round {number + 1}: {spoken}")
    return [
        row(f"processor at {name}: {figure}", values, UNITS.get(figure, "ms/read"))
        for (name, figure), values in found.items()
    ]


async def one_run(ground: Ground, load: Load) -> dict[str, float]:
    """Return the figures of one load on fresh processes and a fresh database."""
    async with ground.site() as site, services(site.url, api=1, LOG_LEVEL="warn", **NO_PAUSE) as running:

        async def look(forwarders: Sequence[Forwarder]) -> Look:
            used_s = {each.role: cpu_seconds(each.pid) for each in running.all}
            if ground.postgres_pid is not None:
                used_s["postgres"] = tree_cpu_seconds(ground.postgres_pid)
            return Look(
                used_s,
                sum(each.events for each in forwarders),
                sum(each.batches for each in forwarders),
                await running.writers[0].metric("rtserver_drain_seconds_count"),
            )

        figures = figures_between(*await load(site, running, look))
        return figures | {"longest stall of its own work": 1000 * await longest_stall_s(running)}


async def longest_stall_s(running: Services) -> float:
    """Return how long any process of a stack has held its event loop in the last minute, by work of its own."""
    return max([await each.metric("rtserver_loop_longest_own_stall_seconds") for each in running.all])


def figures_between(before: Look, after: Look) -> dict[str, float]:
    """Return milliseconds of a core for each read, by process and their sum; and reads a batch and a drain."""
    reads = after.reads - before.reads
    costs = {name: 1000 * (used - before.used_s[name]) / reads for name, used in after.used_s.items()}
    return costs | {
        "sum": sum(costs.values()),
        "reads a batch": reads / (after.batches - before.batches),
        "reads a drain": reads / (after.drains - before.drains),
    }


def at_rate(rate: int) -> Load:
    """Return the open load of so many reads a second."""

    async def load(site: Site, running: Services, look: Looks) -> tuple[Look, Look]:
        names = [f"f{n}" for n in range(READERS)]
        witness = await join_witness(site, running.fanouts[0].url, names)
        tickers = await join_tickers(site, running.gateways[0].url, names)
        await tick(tickers, rate, WARM_UP_S)
        await settled(tickers, witness)
        before = await look(tickers)
        await tick(tickers, rate, SECONDS)
        await settled(tickers, witness)
        after = await look(tickers)
        for connection in (witness, *tickers):
            connection.close()
        return before, after

    return load


async def full_drain(site: Site, running: Services, look: Looks) -> tuple[Look, Look]:
    """A fleet with a backlog, as in the figure of the ingest."""
    witness, forwarders = await join_fleet(site, running)
    before = await look(forwarders)
    await drain(witness, forwarders)
    return before, await look(forwarders)
