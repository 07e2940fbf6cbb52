"""The dashboard on a phone in a field: how long until its verdict is there, what it costs, and what holds it up.

Of the first two what is measured are bytes and requests, over a link of 50 kB/s and half a second (slow_link.py), with
the reverse proxy before an api process; the times follow from them. The third is processor time of the page's tasks.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import NamedTuple

from playwright.async_api import Browser, expect

from deploy.local.reverse_proxy import ReverseProxy
from deploy.simulation.devices.forwarder import Forwarder
from shared.runtime.settings import host_port
from tests.bench.ground import RESULTS, Ground, Site, running
from tests.bench.report import Row, Target, row, say
from tests.dashboard.browser import NARROW, chromium, tab, traced
from tests.dashboard.slow_link import named_by_page, seconds, slow_link
from tests.lines import line
from tests.services import make_token
from tests.waiting import wait_until

__all__ = ["measure"]

READERS = [f"10.0.{n // 100}.{n % 100}:10000" for n in range(200)]
READS_PER_S = 50
BUSY = 6
SECONDS = 30.0


class Stack(NamedTuple):
    """A race of two hundred streams behind a reverse proxy."""

    url: str
    forwarder: Forwarder


async def measure(ground: Ground, rounds: int) -> list[Row]:
    """Open the page anew in each round."""
    found: list[tuple[float, float, float]] = []
    async with ground.site() as site, chromium() as browser, race(site) as stack:
        for number in range(rounds):
            found.append(
                (
                    await verdict_s(browser, stack),
                    await megabytes_an_hour(browser, stack),
                    await longest_task_ms(browser, stack),
                )
            )
            say(
                f"page, round {number + 1}: {found[-1][0]:.2f} s, {found[-1][1]:.1f} MB/h, {found[-1][2]:.0f} ms"
            )
    first, cost, longest = zip(*found, strict=True)
    return [
        row("page: verdict over 50 kB/s and 0.5 s, 200 streams", first, "s", target=Target("at most", 3)),
        row("page: six busy streams, 50 reads/s", cost, "MB/hour", target=Target("at most", 5)),
        row("page: longest task, 200 streams, 50 reads/s", longest, "ms", target=Target("at most", 50)),
    ]


async def verdict_s(browser: Browser, stack: Stack) -> float:
    """Return how long the verdict takes over the slow link, by what passes until it is there."""
    first, _, _ = await named_by_page(stack.url)
    async with slow_link(address(stack.url)) as link, tab(browser, link.url, size=NARROW) as page:
        link.let_pass(lambda path: path == "" or path in first)
        await page.page.goto(link.url)
        await expect(page.page.locator(".verdict .what")).not_to_be_empty()
        return seconds([each for each in link.requests if not each.path.endswith(".svg")])


async def megabytes_an_hour(browser: Browser, stack: Stack) -> float:
    """Return what an open page costs, both ways, without the heads of packets."""
    async with (
        reading(stack.forwarder, READERS[:BUSY]),
        slow_link(address(stack.url)) as link,
        tab(browser, link.url, size=NARROW) as page,
    ):
        await page.open()
        await expect(page.page.locator(".tail .body .row")).to_have_count(50)
        before = link.passed
        await asyncio.sleep(SECONDS)
        return (link.passed - before) / SECONDS * 3600 / 1e6


async def longest_task_ms(browser: Browser, stack: Stack) -> float:
    """Return the processor time of the longest task, from the first byte on."""
    async with tab(browser, stack.url) as page, reading(stack.forwarder, READERS):
        async with traced(browser, page) as tasks:
            await page.open()
            await asyncio.sleep(SECONDS)
        return max(tasks)


@asynccontextmanager
async def race(site: Site) -> AsyncIterator[Stack]:
    """Run what a page needs, and a forwarder of two hundred readers, each of which has read something."""
    async with AsyncExitStack() as stack:
        roles = {
            role: await stack.enter_async_context(running(role, site))
            for role in ("gateway", "writer", "api")
        }
        upstreams = {"api": [roles["api"].url.removeprefix("http://")]}
        proxy = ReverseProxy("127.0.0.1:0", data_dir=RESULTS, upstreams=lambda: upstreams)
        child = await proxy.launch()
        stack.push_async_callback(child.stop, proxy.stop_signals, within_s=5)
        await wait_until(proxy.answers, what="the reverse proxy")
        token = await make_token(site.database, "forwarder", "crowd")
        forwarder = Forwarder(url=roles["gateway"].url, token=token, device_id="crowd", readers=READERS)
        running_on = asyncio.create_task(forwarder.run())
        stack.callback(running_on.cancel)
        await forwarder.wait_connected()
        for reader in READERS:
            forwarder.record(reader, line("0580000000A1"))
        await forwarder.drained()
        yield Stack(proxy.url, forwarder)


@asynccontextmanager
async def reading(forwarder: Forwarder, readers: list[str]) -> AsyncIterator[None]:
    """Have readers read in turn, fifty times a second in sum."""

    async def go_on() -> None:
        for reader, number in zip(itertools.cycle(readers), itertools.count(), strict=False):
            forwarder.record(reader, line(f"0580000{number * 7919 % 1500:05X}"))
            await asyncio.sleep(1 / READS_PER_S)

    task = asyncio.create_task(go_on())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def address(url: str) -> tuple[str, int]:
    """Return where a URL of this machine leads to."""
    host, _, port = url.removeprefix("http://").rpartition(":")
    assert url == f"http://{host_port((host, int(port)))}"
    return host, int(port)
