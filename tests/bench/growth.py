"""Does anything become slower with what is stored? The same work over ten thousand, one and ten million events."""

import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from uuid import UUID

import aiohttp

from tests.bench.crowd import Crowd
from tests.bench.fleet import READER, Drainer
from tests.bench.ground import NO_PAUSE, Ground, Site, running
from tests.bench.report import Row, Target, row, say
from tests.bench.sockets import connect
from tests.delivery.stored import make_stream, store_many
from tests.services import Services, make_token, services
from tests.waiting import wait_until

__all__ = ["measure"]

STORED = (10_000, 1_000_000, 10_000_000)
STREAMS = 200  # one that holds nearly everything, and many beside it
BESIDE = 50  # events in each of those
INGESTED = 10_000  # a round
REPLAYED = 10_000
REQUESTS = 40
FORWARDER = "bench"


@dataclass
class Place:
    """One stack over so many stored events, and what was measured there."""

    stored: int
    site: Site
    services: Services
    api_url: str
    stream_id: UUID
    sent: int = 0
    found: dict[str, list[float]] = field(default_factory=dict)


async def measure(ground: Ground, rounds: int) -> list[Row]:
    """Take turns between the three places."""
    async with AsyncExitStack() as stack:
        places = [await stack.enter_async_context(place(ground, stored)) for stored in STORED]
        for number in range(rounds + 1):
            for each in places:
                await one_round(each, kept=number > 0)  # the first warms the caches
            say(f"growth, round {number} of {rounds}")
    return [each for name in FIGURES for each in _rows(name, places)]


async def one_round(place: Place, *, kept: bool) -> None:
    """Measure every figure once."""
    for name, act in FIGURES.items():
        value = await act(place)
        if kept:
            place.found.setdefault(name, []).append(value)


def _rows(name: str, places: list[Place]) -> list[Row]:
    smallest = places[0].found[name]
    unit, target = "events/s", Target("at least", 0.8, of="ratio")
    if name in REQUESTED:
        unit, target = "ms", Target("at most", 1.2, of="ratio")
    rows = [row(f"{name} with {places[0].stored:,} events stored", smallest, unit)]
    for each in places[1:]:
        figure = f"{name} with {each.stored:,} events stored"
        rows.append(row(figure, each.found[name], unit, against=smallest, target=target))
    if name in REQUESTED:
        rows.append(
            row(f"{name}, {STREAMS} streams", places[-1].found[name], "ms", target=Target("at most", 20))
        )
    return rows


@asynccontextmanager
async def place(ground: Ground, stored: int) -> AsyncIterator[Place]:
    """Store so many events in one stream and run one of each role over it."""
    async with ground.site() as site:
        say(f"storing {stored:,} events")
        stream_id = await make_stream(site.database, FORWARDER, READER)
        await store_many(site.database, stream_id, stored)
        for number in range(STREAMS - 1):
            other = await make_stream(site.database, f"{FORWARDER}-{number}", READER)
            await store_many(site.database, other, BESIDE)
        await site.database.execute("VACUUM ANALYZE", timeout=600)
        async with services(site.url, LOG_LEVEL="warn", **NO_PAUSE) as roles, running("api", site) as api:
            yield Place(stored, site, roles, api.url, stream_id)


async def ingest(at: Place) -> float:
    """Return acked events per second of one forwarder that adds to the stream."""
    token = await make_token(at.site.database, "forwarder", FORWARDER)
    forwarder = Drainer(token, events=INGESTED, size=500, first_seq=at.stored + at.sent + 1)
    await connect(forwarder, at.services.gateways[0].url)
    await forwarder.greeted.wait()
    forwarder.prepare()
    began = time.perf_counter()
    forwarder.start()
    await wait_until(forwarder.drained.is_set, deadline_s=60, what="the forwarder to drain")
    passed = time.perf_counter() - began
    forwarder.close()
    at.sent += INGESTED
    return INGESTED / passed


async def replay(at: Place) -> float:
    """Return events per second of the first events to a receiver that is new."""
    token = await make_token(at.site.database, "receiver", f"tent-{at.sent}")
    crowd = Crowd(at.services.fanouts[0].url, [(FORWARDER, READER)])
    began = time.perf_counter()
    await crowd.join([token])
    await wait_until(lambda: crowd.events >= REPLAYED, deadline_s=60, what="the replay")
    crowd.leave()
    return crowd.events / (time.perf_counter() - began)


def request(path: str) -> Callable[[Place], Awaitable[float]]:
    """Return what measures the median time of a request, in milliseconds."""

    async def measured(at: Place) -> float:
        url = at.api_url + path.format(stream_id=at.stream_id)
        times = []
        async with aiohttp.ClientSession() as http:
            for _ in range(REQUESTS):
                began = time.perf_counter()
                async with http.get(url) as answer:
                    answer.raise_for_status()
                    await answer.read()
                times.append(1000 * (time.perf_counter() - began))
        return statistics.median(times)

    return measured


REQUESTED = {
    "page of reads": request("/api/v1/streams/{stream_id}/reads?limit=100"),
    "stream metrics": request("/api/v1/streams/{stream_id}/metrics"),
    "streams": request("/api/v1/streams"),
    "overview": request("/api/v1/overview"),
}
FIGURES: dict[str, Callable[[Place], Awaitable[float]]] = {"ingest": ingest, "replay": replay, **REQUESTED}
