"""All times on the page are in one zone, which it names: the server's, or this device's where the server has none."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Locator, Route, expect

from tests.dashboard.browser import NARROW, Tab, tab
from tests.dashboard.conftest import Stack, stack_of
from tests.lines import line
from tests.postgres import Postgresql

pytestmark = pytest.mark.asyncio(loop_scope="session")

READER = "10.0.0.1:10000"
# No two of the reader's, the server's and the browser's clocks show the same hour, nor the same minute.
ZONE, BROWSER = "Asia/Kathmandu", "America/St_Johns"
_RECEIVED = "SELECT received_at FROM events"
_READ = "SELECT read_at FROM events"
_NOTE = """
INSERT INTO activity (level, process_id, event, fields)
SELECT 'warn', process_id, 'storing_resumed', jsonb_build_object('happened_at', $1::text) FROM processes LIMIT 1
"""
_NOTED = "SELECT at FROM activity WHERE event = 'storing_resumed'"
# In one task: the page itself uses the server's zone, whenever it is told which that is.
_SAY = """([zone, name, ...given]) => import("/static/format.js").then((format) => {
    format.useZone(zone);
    return format[name](...given);
})"""

# What a module of the page answers, in a zone.
Say: TypeAlias = Callable[..., Awaitable[Any]]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stack(browser: Browser, cluster: Postgresql) -> AsyncIterator[Stack]:
    """A stack whose server has a zone, and one read."""
    async with stack_of(cluster, TIME_ZONE=ZONE) as stack, stack.forwarder("times", READER) as forwarder:
        forwarder.record(READER, line("0580000000A1"))
        await forwarder.drained()
        yield stack


@pytest_asyncio.fixture(loop_scope="session")
async def page(browser: Browser, stack: Stack) -> AsyncIterator[Tab]:
    """A tab of a browser that is elsewhere."""
    async with tab(browser, stack.url, zone=BROWSER) as opened:
        yield opened
        assert opened.errors == []


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def say(browser: Browser, stack: Stack) -> AsyncIterator[Say]:
    """What the page's module of times answers: one page for all questions, of which none leaves anything."""
    async with tab(browser, stack.url, zone=BROWSER) as opened:
        await opened.open()

        async def say(zone: str, name: str, *given: Any) -> Any:
            return await opened.page.evaluate(_SAY, [zone, name, *given])

        yield say
        assert opened.errors == []


def hundredths(at: datetime) -> str:
    return f"{at:%H:%M:%S}.{at.microsecond // 10_000:02}"


async def shows(cell: Locator, text: str) -> None:
    """Wait until a cell shows a time; a test that runs at midnight sees its date before it."""
    await expect(cell).to_have_text(re.compile(rf"^([^:]*, )?{re.escape(text)}$"))


async def test_a_read_has_two_times_each_with_its_word_and_its_hundredths(page: Tab, stack: Stack) -> None:
    received: datetime = await stack.database.fetchval(_RECEIVED)
    read: datetime = await stack.database.fetchval(_READ)
    here = hundredths(received.astimezone(ZoneInfo(ZONE)))
    await page.open()
    await shows(page.page.locator(".tail [role=cell][data-title=Received]"), here)
    await page.open(f"stream/{await stack.stream_id('times')}")
    reads = page.page.get_by_role("table", name="Reads")
    await expect(reads.get_by_role("columnheader", name="Received", exact=True)).to_be_visible()
    await expect(reads.get_by_role("columnheader", name="Reader time", exact=True)).to_be_visible()
    await shows(reads.locator("[role=cell][data-title=Received]"), here)
    # The reader's clock names no zone, so none is made of what it said.
    await shows(reads.locator("[role=cell][data-title='Reader time']"), hundredths(read))
    await shows(page.page.locator("[role=cell][data-title='Last received']"), here)


async def test_on_a_phone_each_time_still_has_its_word(browser: Browser, stack: Stack) -> None:
    async with tab(browser, stack.url, size=NARROW) as page:
        await page.open(f"stream/{await stack.stream_id('times')}")
        for title in ("Received", "Reader time"):
            cell = page.page.locator(f".rows.reads [role=cell][data-title='{title}']")
            await expect(cell).to_be_visible()
            shown = await cell.evaluate("(node) => getComputedStyle(node, '::before').content")
            assert shown == f'"{title}"'


async def test_the_page_names_the_servers_zone(page: Tab) -> None:
    await page.open()
    await expect(page.page.locator("nav .zone")).to_have_text("Times in Asia/Kathmandu, UTC+5:45")


async def test_without_a_zone_of_the_server_it_is_the_devices_own_and_named(page: Tab, stack: Stack) -> None:
    async def without(route: Route) -> None:
        answer = await route.fetch()
        await route.fulfill(response=answer, json=await answer.json() | {"time_zone": None})

    received: datetime = await stack.database.fetchval(_RECEIVED)
    await page.page.route("**/api/v1/overview", without)
    await page.open()
    zone = page.page.locator("nav .zone")
    await expect(zone).to_have_text(re.compile(rf"^Times in {BROWSER}, UTC.\d:30, this device's$"))
    there = hundredths(received.astimezone(ZoneInfo(BROWSER)))
    await shows(page.page.locator(".tail [role=cell][data-title=Received]"), there)


async def test_what_is_typed_as_a_time_is_of_the_pages_zone(page: Tab, stack: Stack) -> None:
    await page.open(f"stream/{await stack.stream_id('times')}")
    since = datetime.now(ZoneInfo(ZONE)).replace(second=5, microsecond=0) - timedelta(minutes=10)
    field = page.page.get_by_label("Received since")
    await expect(page.page.locator(".field", has=field)).to_contain_text(ZONE)
    async with page.page.expect_request(lambda request: "since=" in request.url) as asked:
        await field.fill(f"{since:%Y-%m-%dT%H:%M:%S}")
    (said,) = parse_qs(urlsplit((await asked.value).url).query)["since"]
    assert datetime.fromisoformat(said) == since
    await expect(page.page.locator(".rows.reads .body .row")).to_have_count(1)


async def test_times_within_the_servers_words_are_of_the_pages_zone(page: Tab, stack: Stack) -> None:
    at = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=1)
    await stack.database.execute(_NOTE, at.isoformat())
    await page.open("log")
    entry = page.page.locator(".rows.log .body .row", has_text="storing resumed")
    noted: datetime = await stack.database.fetchval(_NOTED)
    await shows(entry.locator("[data-title=At]"), f"{noted.astimezone(ZoneInfo(ZONE)):%H:%M:%S}")
    said = entry.locator("[data-title=With]")
    await expect(said).to_have_text(re.compile(f"{at.astimezone(ZoneInfo(ZONE)):%H:%M:%S}$"))


@pytest.mark.parametrize(
    ("typed", "last", "meant"),
    [
        ("2026-07-01T12:00", False, "2026-07-01T10:00:00.000Z"),
        ("2026-12-01T12:00:30", False, "2026-12-01T11:00:30.000Z"),
        # Clocks are set back: this half past two comes twice.
        ("2026-10-25T02:30", False, "2026-10-25T00:30:00.000Z"),
        ("2026-10-25T02:30", True, "2026-10-25T01:30:00.000Z"),
        # Clocks are set forward: this one never comes.
        ("2026-03-29T02:30", False, "2026-03-29T01:30:00.000Z"),
        ("", True, ""),
    ],
)
async def test_a_time_that_is_typed_is_found_in_every_night(
    say: Say, typed: str, last: bool, meant: str
) -> None:
    assert await say("Europe/Berlin", "moment", typed, {"last": last}) == meant


_NOW = datetime(2026, 11, 26, 1, 0, tzinfo=UTC).timestamp() * 1000


@pytest.mark.parametrize(
    ("name", "given", "shown"),
    [
        ("time", "2026-11-26T00:59:58.999Z", "06:44:58"),
        ("time", "2026-11-25T17:00:00Z", "25 Nov, 22:45"),
        ("received", "2026-11-26T00:59:58.999Z", "06:44:58.99"),
        ("received", "2025-11-25T17:00:00Z", "25 Nov 2025, 22:45:00.00"),
        ("readerTime", {"read_at": "2026-11-26T01:00:00.07", "reader_timestamp": ""}, "01:00:00.07"),
        ("readerTime", {"read_at": "2000-01-01T01:00:00", "reader_timestamp": ""}, "1 Jan 2000, 01:00:00.00"),
        ("readerTime", {"read_at": None, "reader_timestamp": "half past"}, "half past"),
        ("readerTime", {"read_at": None, "reader_timestamp": ""}, "\N{EN DASH}"),
        ("zoneNow", None, {"said": "Asia/Kathmandu, UTC+5:45", "own": False}),
        ("withTimes", "since 2026-11-26T00:59:58+00:00, pid 7", "since 06:44:58, pid 7"),
    ],
)
async def test_times_read_as_people_write_them(say: Say, name: str, given: Any, shown: Any) -> None:
    arguments = [_NOW] if given is None else [given, _NOW]
    assert await say(ZONE, name, *arguments) == shown


async def test_a_zone_that_is_its_own_offset_is_named_once(say: Say) -> None:
    assert await say("UTC", "zoneNow", _NOW) == {"said": "UTC", "own": False}
