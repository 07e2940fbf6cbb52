"""What it costs the ingest that reads become passings meanwhile: the same drain with an api process that makes them,
and with one whose database answers that there is nothing to do, in turns. And how long the backlog takes afterwards.
"""

import time

from tests.bench.ground import NO_PAUSE, Ground, Site
from tests.bench.ingest import EVENTS, FORWARDERS, drain, join_fleet
from tests.bench.report import Row, Target, row, say
from tests.services import services
from tests.waiting import wait_until

__all__ = ["measure"]

_NOTHING = """
CREATE OR REPLACE FUNCTION fill_passings(most_events integer, OUT taken bigint, OUT waiting bigint)
LANGUAGE sql AS 'SELECT 0::bigint, 0::bigint'
"""
_LEFT = "SELECT sum(last_position) - (SELECT coalesce(sum(position), 0) FROM passings_progress) FROM streams"


async def measure(ground: Ground, rounds: int) -> list[Row]:
    """Take turns between the two."""
    filled: list[float] = []
    bare: list[float] = []
    behind: list[float] = []
    for number in range(rounds):
        # Which of the two is first changes: what was measured just before is felt.
        for fills in (False, True) if number % 2 else (True, False):
            (filled if fills else bare).append(await one_drain(ground, behind, fills=fills))
        say(
            f"passings, round {number + 1}: ingest {filled[-1]:,.0f} events/s with them and {bare[-1]:,.0f} without, "
            f"all are made {behind[-1]:.0f} s later"
        )
    return [
        row(
            "ingest while passings are made",
            filled,
            "events/s",
            against=bare,
            target=Target("at least", 0.95, of="ratio"),
        ),
        row("200,000 reads in passings, after their ingest", behind, "s"),
    ]


async def one_drain(ground: Ground, behind: list[float], *, fills: bool) -> float:
    """Return events per second until all are acked and delivered; note how long their passings took beyond that."""
    async with ground.site() as site:
        if not fills:
            await site.database.execute(_NOTHING)
        async with services(site.url, api=1, LOG_LEVEL="warn", **NO_PAUSE) as running:
            passed = await drain(*await join_fleet(site, running))
            if fills:
                behind.append(await until_filled(site))
        return FORWARDERS * EVENTS / passed


async def until_filled(site: Site) -> float:
    """Return how many seconds it takes until all that is stored is in passings."""
    began = time.perf_counter()

    async def is_filled() -> bool:
        return not await site.database.fetchval(_LEFT)

    await wait_until(is_filled, deadline_s=240, what="all reads to be in passings")
    return time.perf_counter() - began
