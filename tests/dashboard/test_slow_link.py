"""A phone in a field: two hundred streams over 50 kB/s with half a second to the server and back.

Counts are asserted, not times: how many bytes pass until the verdict is there and how many requests one after the
other, of which its time follows; and how many bytes each second costs afterwards. The page runs over the link all the
same: it must be live in the end.
"""

import asyncio
import itertools
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from deploy.local.child import until_answering
from deploy.local.reverse_proxy import ReverseProxy
from deploy.simulation.devices.forwarder import Forwarder
from tests.dashboard.browser import NARROW, Tab, tab
from tests.dashboard.conftest import Stack
from tests.dashboard.slow_link import Request, SlowLink, named_by_page, seconds, slow_link
from tests.lines import line
from tests.waiting import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="session")

READERS = [f"10.0.{n // 100}.{n % 100}:10000" for n in range(200)]
BUSY = READERS[:6]
READS_PER_S = 50
VERDICT_WITHIN_S = 3.0
BYTES_PER_HOUR = 5_000_000
# Of a packet and of the one that says that it has come: IPv4 or IPv6, TCP with timestamps.
PACKET_BYTES = 2 * 72
EVENTS = 11

# How often the first page asks for the course of a race, as its module says.
_COURSE = files("api") / "dashboard" / "static" / "course.js"
_EVERY_S = re.compile(r"^const EVERY_MS = (\d+)000;$", re.MULTILINE)

_STARTERS = (
    "INSERT INTO participants SELECT $1, n, 'Ada ' || n % 97, 'Byron ' || n % 89, NULL, 'F'"
    " FROM generate_series(1, 1500) AS n",
    "INSERT INTO chips SELECT $1, '0580000' || lpad(to_hex(n - 1), 5, '0'), n, n, true"
    " FROM generate_series(1, 1500) AS n",
)
_COUNT_EVENTS = """import('/static/state.js').then(({ onEvent }) => {
    window.told = 0;
    onEvent(({ type }) => { if (type === "changed") told += 1 });
})"""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def proxy(module_stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ReverseProxy]:
    """The reverse proxy before the stack, which compresses."""
    upstreams = {"api": [module_stack.api.url.removeprefix("http://")]}
    proxy = ReverseProxy(
        "127.0.0.1:0", data_dir=tmp_path_factory.mktemp("proxy"), upstreams=lambda: upstreams
    )
    child = await proxy.launch()
    try:
        assert await until_answering(child, proxy.answers), child.last_lines(5)
        yield proxy
    finally:
        await child.stop(proxy.stop_signals, within_s=5)


@pytest_asyncio.fixture(loop_scope="session")
async def link(proxy: ReverseProxy) -> AsyncIterator[SlowLink]:
    host, _, port = proxy.address.rpartition(":")
    async with slow_link((host, int(port))) as link:
        yield link


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def crowd(module_stack: Stack) -> AsyncIterator[Forwarder]:
    """Two hundred streams, each of which has read something."""
    async with module_stack.forwarder("crowd", *READERS) as forwarder:
        for reader, number in zip(READERS * 2, range(400), strict=True):
            forwarder.record(reader, line(f"0580000{number:05X}"))
        await forwarder.drained()
        yield forwarder


@asynccontextmanager
async def phone(browser: Browser, link: SlowLink) -> AsyncIterator[Tab]:
    async with tab(browser, link.url, size=NARROW) as page:
        yield page
        assert page.errors == []


async def test_the_verdict_is_there_in_three_seconds_and_the_page_is_live_afterwards(
    browser: Browser, crowd: Forwarder, proxy: ReverseProxy, link: SlowLink
) -> None:
    first, later, others = await named_by_page(proxy.url)
    # The verdict needs nothing else, and nothing that is found only in what comes later: all else is held back.
    link.let_pass(lambda path: path == "" or path in first)
    async with phone(browser, link) as page:
        await page.page.goto(link.url)
        await expect(page.page.locator(".verdict[data-level] .word")).to_have_text(
            re.compile("ALL GOOD|WATCH|ACT")
        )
        assert "200 streams" in await said(page.page) or "WATCH" in await said(page.page)
        needed = [each for each in link.requests if not each.path.endswith(".svg")]
        assert {each.path for each in needed} == {"", *(each for each in first if not each.endswith(".svg"))}
        assert seconds(needed) < VERDICT_WITHIN_S, [(each.path, each.down) for each in needed]
        link.let_pass(lambda _: True)
        await expect(page.page.locator(".cards > .card")).to_have_count(200)
        await page.whole()
        asked = [each.path for each in link.requests]
        modules = [each for each in asked if each.endswith(".js")]
        assert sorted(modules) == sorted(each for each in first | later | others if each.endswith(".js"))
        # What the other pages need takes nothing away from the first: it comes when that has all it shows.
        (reads,) = (each for each in asked if each.startswith("api/v1/reads/latest"))
        needed_first = [each for each in first | later if not each.endswith(".svg")]
        assert max(map(asked.index, (reads, *needed_first))) < min(map(asked.index, others))
        crowd.record(READERS[-1], line("0580000000A1"))
        await expect(page.page.locator(".cards > :last-child .fact dd").first).to_have_text("3")
        await expect(page.page.locator(".verdict .word")).not_to_have_text("LINK LOST")
        # Not a page of two hundred rows for each change.
        assert sum(each.path.startswith("api/v1/overview") for each in link.requests) == 1


async def said(page: Page) -> str:
    return str(await page.locator(".verdict").text_content())


@asynccontextmanager
async def busy(forwarder: Forwarder) -> AsyncIterator[None]:
    """Have six readers read, fifty times a second in sum, or less often where the machine is busy."""

    async def go_on() -> None:
        for reader, number in zip(itertools.cycle(BUSY), itertools.count()):
            forwarder.record(reader, line(f"0580000{number * 7919 % 1500:05X}"))
            await asyncio.sleep(1 / READS_PER_S)

    task = asyncio.create_task(go_on())
    try:
        yield
    finally:
        task.cancel()


@pytest_asyncio.fixture(loop_scope="session")
async def race(module_stack: Stack, crowd: Forwarder) -> AsyncIterator[str]:
    """A race that is on, with all two hundred streams, of which nobody has said where they stand; whoever is read runs
    in it.
    """
    race_id = await module_stack.database.fetchval(
        "INSERT INTO races (name) VALUES ('Ultra') RETURNING race_id"
    )
    for statement in _STARTERS:
        await module_stack.database.execute(statement, race_id)
    given = "INSERT INTO forwarder_races VALUES ($1, $2)"
    await module_stack.database.execute(given, crowd.device_id, race_id)
    yield str(race_id)
    await module_stack.database.execute("DELETE FROM races")


async def test_six_busy_streams_of_a_race_cost_less_than_five_megabytes_an_hour(
    browser: Browser, crowd: Forwarder, race: str, link: SlowLink
) -> None:
    loop = asyncio.get_running_loop()
    async with phone(browser, link) as page, busy(crowd):
        since = loop.time()
        await page.open()
        await expect(page.page.locator(".cards > .card")).to_have_count(200)
        await expect(page.page.locator(".tail .body .row")).to_have_count(50)
        await expect(page.page.locator(".tail").get_by_text("Ada").first).to_be_visible()
        await expect(page.page.get_by_text("188 more streams without a place")).to_be_visible()
        await page.whole()
        await page.page.evaluate(_COUNT_EVENTS)
        begun, before, asked = await told(page.page, 1), passed(link), len(link.requests)
        ended, after = await told(page.page, begun + EVENTS), passed(link)
        # There is one a second at the most, whatever the machine.
        each = (after - before) / (ended - begun) + PACKET_BYTES
        # Besides, the course, and who came by when: however long this took, not more often than its module says.
        every_s = int(_EVERY_S.findall(_COURSE.read_text())[0])
        hour = each * 3600
        for what in ("/course", "/flow"):
            asked_of = [each for each in link.requests if of_course(each) and what in each.path]
            # Once more where the page has heard only since then that the race is on.
            assert 1 <= len(asked_of) <= 2 + (loop.time() - since) / every_s
            hour += max(each.up + each.down for each in asked_of) * 3600 / every_s
        assert hour < BYTES_PER_HOUR, (
            f"{hour / 1e6:.1f} MB an hour, {each * 3600 / 1e6:.1f} without the course"
        )
        # Nothing else is asked for again: not the overview, not the newest reads.
        again = [each for each in link.requests[asked:] if not of_course(each)]
        assert [each.path for each in again if not each.path.endswith(".svg")] == []


def of_course(request: Request) -> bool:
    return request.path.startswith("api/v1/races/")


def passed(link: SlowLink) -> int:
    """Return the bytes that have passed, but for those of courses."""
    return link.passed - sum(each.up + each.down for each in link.requests if of_course(each))


async def told(page: Page, count: int) -> int:
    """Wait until so many events of changes have come, and return how many there were."""

    async def come() -> int | None:
        found: int = await page.evaluate("told")
        return found if found >= count else None

    found = await wait_until(come, what=f"{count} events")
    assert found is not None
    return found
