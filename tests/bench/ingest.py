"""Ingest, end to end: events acked and delivered per second, beside what one connection can COPY into `events`."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from uuid import UUID

from tests.bench.fleet import Drainer, Witness, lines
from tests.bench.ground import NO_PAUSE, Ground, Site
from tests.bench.report import Row, Target, row, say
from tests.bench.sockets import connect
from tests.delivery.stored import make_stream
from tests.services import Services, make_token, services
from tests.waiting import wait_until

__all__ = [
    "EVENTS",
    "FORWARDERS",
    "by_batch_size",
    "drain",
    "join_drainers",
    "join_fleet",
    "join_witness",
    "measure",
]

FORWARDERS = 20
EVENTS = 10_000  # of each
BATCH = 500
BATCH_SIZES = (1, 5, 20, 50, 100, 500, 2_000)

_COLUMNS = (
    "stream_id",
    "stream_epoch",
    "seq",
    "position",
    "received_at",
    "read_at",
    "raw_frame",
    "reader_timestamp",
    "read_type",
    "tag_id",
)


async def measure(ground: Ground, rounds: int) -> list[Row]:
    """Take turns: the limit, one of each role with forwarders of each generation, two gateways and two writers."""
    limits: list[float] = []
    ones: list[float] = []
    seconds: list[float] = []
    twos: list[float] = []
    for number in range(rounds):
        limits.append(await copy_straight(ground))
        # Which of the two is first changes: what was measured just before is felt.
        for framed in (False, True) if number % 2 else (True, False):
            (seconds if framed else ones).append(await ingest(ground, framed=framed))
        twos.append(await ingest(ground, gateways=2, writers=2))
        say(
            f"ingest, round {number + 1}: limit {limits[-1]:,.0f}, one of each {ones[-1]:,.0f}, "
            f"of the second generation {seconds[-1]:,.0f}, "
            f"two gateways and writers {twos[-1]:,.0f} events/s"
        )
    return [
        row("the limit: COPY straight into events", limits, "events/s"),
        row(
            "ingest, end to end",
            ones,
            "events/s",
            against=limits,
            target=Target("at least", 0.30, of="ratio"),
        ),
        row(
            "ingest of the second generation",
            seconds,
            "events/s",
            against=ones,
            target=Target("at least", 0.8, of="ratio"),
        ),
        row(
            "ingest, two gateways and two writers",
            twos,
            "events/s",
            against=ones,
            target=Target("at least", 1.0, of="ratio"),
        ),
    ]


async def by_batch_size(ground: Ground) -> dict[int, float]:
    """Return events per second, acked and delivered, by the size of the batches, of one of each role."""
    found = {}
    for size in BATCH_SIZES:
        events = min(EVENTS, 400 * size)
        found[size] = await ingest(ground, events=events, size=size)
        say(f"batches of {size}: {found[size]:,.0f} events/s")
    return found


async def copy_straight(ground: Ground) -> float:
    """COPY the rows that an ingest makes into `events`, committed per batch; return events per second."""
    async with ground.site() as site:
        stream_ids = [await make_stream(site.database, f"f{n}", "r") for n in range(FORWARDERS)]
        blocks = [
            records(stream_id, first) for first in range(1, EVENTS + 1, BATCH) for stream_id in stream_ids
        ]
        began = time.perf_counter()
        for block in blocks:
            await site.database.copy_records_to_table("events", records=block, columns=_COLUMNS)
        return FORWARDERS * EVENTS / (time.perf_counter() - began)


def records(stream_id: UUID, first: int) -> list[tuple[object, ...]]:
    """Return a batch of rows of `events`."""
    now = datetime.now(UTC)
    read_at = datetime(2026, 2, 22, 10, 11, 12)  # noqa: DTZ001 - a reader's clock has no zone
    return [
        (
            *(stream_id, 1, seq, seq, now, read_at, line.encode()),
            *("2026-02-22T10:11:12.340", "raw", f"{seq % 1_000:012x}"),
        )
        for seq, line in zip(range(first, first + BATCH), lines(BATCH), strict=True)
    ]


async def ingest(
    ground: Ground,
    *,
    gateways: int = 1,
    writers: int = 1,
    events: int = EVENTS,
    size: int = BATCH,
    framed: bool = False,
) -> float:
    """Have all forwarders drain, of the second generation if `framed`; return events per second until all are acked and
    delivered.
    """
    async with ground.site() as site, AsyncExitStack() as stack:
        running = await stack.enter_async_context(
            services(site.url, gateway=gateways, writer=writers, LOG_LEVEL="warn", **NO_PAUSE)
        )
        fleet = await join_fleet(site, running, events=events, size=size, framed=framed)
        return FORWARDERS * events / await drain(*fleet)


async def join_fleet(
    site: Site, running: Services, *, events: int = EVENTS, size: int = BATCH, framed: bool = False
) -> tuple[Witness, list[Drainer]]:
    """Connect a receiver of all streams and all forwarders, each with so many events in its backlog."""
    names = [f"f{n}" for n in range(FORWARDERS)]
    witness = await join_witness(site, running.fanouts[0].url, names)
    urls = [each.url for each in running.gateways]
    return witness, await join_drainers(site, urls, names, events=events, size=size, framed=framed)


async def drain(witness: Witness, forwarders: Sequence[Drainer]) -> float:
    """Drain all at once and let all go; return the seconds until everything was acked and delivered, in order."""
    total = sum(each.backlog for each in forwarders)
    began = time.perf_counter()
    for each in forwarders:
        each.start()
    await wait_until(
        lambda: witness.events >= total and all(each.drained.is_set() for each in forwarders),
        deadline_s=120,
        what="everything to be acked and delivered",
    )
    passed = time.perf_counter() - began
    if witness.wrong:
        raise AssertionError(f"{witness.wrong} events were missing, doubled or out of order")
    for connection in (witness, *forwarders):
        connection.close()
    return passed


async def join_drainers(
    site: Site,
    urls: Sequence[str],
    names: Sequence[str],
    *,
    events: int,
    size: int,
    prepared: bool = True,
    framed: bool = False,
) -> list[Drainer]:
    """Connect a forwarder for each name, spread over the gateways, ready to start."""
    forwarders = []
    for number, name in enumerate(names):
        token = await make_token(site.database, "forwarder", name)
        each = await connect(
            Drainer(token, events=events, size=size, framed=framed), urls[number % len(urls)]
        )
        if prepared:
            each.prepare()
        forwarders.append(each)
    await asyncio.gather(*(each.greeted.wait() for each in forwarders))
    return forwarders


async def join_witness(site: Site, url: str, names: Sequence[str], *, timed: bool = False) -> Witness:
    """Connect a receiver of all streams."""
    token = await make_token(site.database, "receiver", "bench")
    witness = await connect(Witness(token, names, timed=timed), url)
    await witness.greeted.wait()
    return witness
