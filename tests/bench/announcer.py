"""Who comes in: from a read's ack to its row on the page for everybody, with many who look on; and what a read costs.

Each read is another chip, so each is announced. The processor time is that of the api and of Postgres, with the
announcer on and two hundred who follow, and in turns with it off and nobody there: reads and load are the same.
"""

import asyncio
import re
import time
from collections.abc import Sequence
from typing import NamedTuple, cast
from urllib.parse import urlsplit

import aiohttp

from tests.bench.fleet import Ticker
from tests.bench.ground import Ground, Site
from tests.bench.latency import tick
from tests.bench.report import Row, cpu_seconds, percentile, row, say, tree_cpu_seconds
from tests.bench.sockets import connect
from tests.services import Services, make_token, services
from tests.waiting import wait_until

__all__ = ["measure"]

FOLLOWERS = 200
# Reads a second, and for how long: every chip of the fleet's lines comes but once.
LOADS = ((1, 30.0), (50, 15.0))
_REQUEST = b"GET /api/v1/public/announcer/events HTTP/1.1\r\nHost: hall\r\n\r\n"
_ROW = re.compile(rb'"reader_timestamp":"([^"]+)"')


class Reader(Ticker):
    """A reader at the finish that keeps when each of its reads was acked, by what its timestamp says."""

    def __init__(self, token: str) -> None:
        super().__init__(token)
        self.acked_at: dict[bytes, float] = {}

    def acked(self) -> None:
        now = time.perf_counter()
        self.acked_at.update({f"{at:.6f}".encode(): now for at in self._outstanding})
        super().acked()


class Onlooker(asyncio.Protocol):
    """A page that follows: when each row came, by the same."""

    def __init__(self) -> None:
        self.came_at: dict[bytes, float] = {}
        self.opened = asyncio.Event()
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(_REQUEST)

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        self.opened.set()
        # An event may come in two pieces.
        *events, self._rest = (self._rest + data).split(b"\n\n")
        for event in events:
            for stamp in _ROW.findall(event):
                self.came_at[stamp] = now

    def close(self) -> None:
        """Leave."""
        self._transport.abort()


class Found(NamedTuple):
    """Seconds from ack to row, of each read and page; seconds of a core for each read, of the api and of Postgres."""

    delays_s: Sequence[float]
    api_s: float
    postgres_s: float


async def measure(ground: Ground, rounds: int) -> list[Row]:
    """Take turns between the loads, on and off."""
    found: dict[tuple[int, bool], list[Found]] = {}
    for number in range(rounds):
        for rate, seconds in LOADS:
            for announced in (True, False):
                one = await one_run(ground, rate, seconds, announced=announced)
                found.setdefault((rate, announced), []).append(one)
                say(
                    f"announcer {'on' if announced else 'off'} at {rate}/s, round {number + 1}: {_spoken(one)}"
                )
    return [
        each for (rate, announced), runs in found.items() for each in _rows(rate, runs, announced=announced)
    ]


def _spoken(found: Found) -> str:
    told = ", ".join(
        f"p{share:.0%} {1000 * percentile(found.delays_s, share):.0f} ms" for share in (0.5, 0.99)
    )
    cost = f"api {1000 * found.api_s:.2f} ms/read, postgres {1000 * found.postgres_s:.2f} ms/read"
    return f"{told if found.delays_s else 'nobody looks on'}; {cost}"


def _rows(rate: int, runs: Sequence[Found], *, announced: bool) -> list[Row]:
    what = f"announcer {'on' if announced else 'off'} at {rate} reads/s"
    rows = [
        row(f"{what}: processor of the api", [1000 * each.api_s for each in runs], "ms/read"),
        row(f"{what}: processor of Postgres", [1000 * each.postgres_s for each in runs], "ms/read"),
    ]
    if announced:
        for share in (0.5, 0.99):
            delays = [1000 * percentile(each.delays_s, share) for each in runs]
            rows.append(row(f"{what}: ack to {FOLLOWERS} pages, p{100 * share:.0f}", delays, "ms"))
    return rows


async def one_run(ground: Ground, rate: int, seconds: float, *, announced: bool) -> Found:
    """Measure one load on fresh processes over a fresh database."""
    async with ground.site() as site, services(site.url, fanout=0, api=1, LOG_LEVEL="warn") as running:
        reader = await connect(
            Reader(await make_token(site.database, "forwarder", "finish")), running.gateways[0].url
        )
        await reader.greeted.wait()
        pages: list[Onlooker] = []
        if announced:
            await enable(site, running)
            pages = await join(running.apis[0].url)
        before = used(ground, running)
        await tick([reader], rate, seconds)
        await wait_until(lambda: reader.idle, what="all acks")
        for page in pages:
            await wait_until(lambda: len(page.came_at) >= reader.events, what="every row on every page")  # noqa: B023
        after = used(ground, running)
        delays = [at - reader.acked_at[stamp] for page in pages for stamp, at in page.came_at.items()]
        reader.close()
        for page in pages:
            page.close()
    api_s, postgres_s = ((now - then) / reader.events for then, now in zip(before, after, strict=True))
    return Found(delays, api_s, postgres_s)


def used(ground: Ground, running: Services) -> tuple[float, float]:
    """Return the seconds of a core that the api and Postgres have used."""
    pid = ground.postgres_pid
    return cpu_seconds(running.apis[0].pid), 0.0 if pid is None else tree_cpu_seconds(pid)


async def enable(site: Site, running: Services) -> None:
    """Announce whoever comes in at the one stream."""
    stream_id = await site.database.fetchval("SELECT stream_id FROM streams")
    wanted = {"enabled": True, "max_list_size": 25, "selected_stream_ids": [str(stream_id)]}
    url = f"{running.apis[0].url}/api/v1/announcer/config"
    async with aiohttp.ClientSession() as http, http.put(url, json=wanted) as answer:
        assert answer.status == 200, await answer.text()


async def join(url: str) -> list[Onlooker]:
    """Have all who look on follow."""
    at, loop = urlsplit(url), asyncio.get_running_loop()
    assert at.hostname
    assert at.port
    pages = [Onlooker() for _ in range(FOLLOWERS)]
    for page in pages:
        await loop.create_connection(lambda: page, at.hostname, at.port)  # noqa: B023 - called at once
    async with asyncio.timeout(30):
        await asyncio.gather(*(each.opened.wait() for each in pages))
    return pages
