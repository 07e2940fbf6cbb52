"""What changes while a page is open, or cannot be had at first, is there in the end: whole, and without a reload."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from playwright.async_api import Locator, Route, expect

from tests.dashboard.browser import Tab
from tests.dashboard.conftest import Stack
from tests.dashboard.test_commands import READER, open_stream
from tests.lines import line
from tests.waiting import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="session")

NOT_NOW = {"code": "UNAVAILABLE", "message": "not now"}


async def numbers(reads: Locator) -> list[int]:
    """Return the numbers of the reads that are shown, from the top down."""
    shown = await reads.locator("[data-title='Epoch, number']").all_text_contents()
    return [int(each.partition(" · ")[2].replace(",", "")) for each in shown]


@pytest.mark.parametrize(("before", "burst"), [(20, 150), (60, 500), (0, 450)])
async def test_a_burst_leaves_no_hole_and_all_of_it_can_be_reached(
    page: Tab, stack: Stack, before: int, burst: int
) -> None:
    device_id, newest = f"burst-{burst}", before + burst
    async with stack.forwarder(device_id, READER) as forwarder:
        for number in range(before):
            forwarder.record(READER, line(f"0580000000{number % 7:02X}"))
        await forwarder.drained()
        await open_stream(page, stack, device_id)
        reads = page.page.get_by_role("table", name="Reads").locator(".body .row")
        older = page.page.get_by_role("button", name="Older reads")
        await expect(reads).to_have_count(before)
        for number in range(burst):
            forwarder.record(READER, line(f"0580000000{number % 7:02X}"))
        await forwarder.drained()

        async def settled() -> bool:
            shown = await numbers(reads)
            whole = shown == list(range(newest, newest - len(shown), -1))
            return whole and shown != [] and (shown[-1] == 1 or await older.is_visible())

        await wait_until(settled, deadline_s=30, what="the newest in one piece, and a way to what is older")
        while await older.is_visible():
            had = len(await numbers(reads))
            await older.click()
            await expect(reads.nth(had)).to_be_visible()
        assert await numbers(reads) == list(range(newest, 0, -1))


async def test_what_is_told_while_the_log_is_on_its_way_stays(page: Tab, stack: Stack) -> None:
    read, go = asyncio.Event(), asyncio.Event()

    async def late(route: Route) -> None:
        answer = await route.fetch()
        read.set()
        await go.wait()
        await route.fulfill(response=answer)

    async with stack.forwarder("logged-early", READER):
        pass
    await page.page.route("**/api/v1/logs", late)
    await page.open("log")
    await asyncio.wait_for(read.wait(), 30)
    entries = page.page.get_by_role("table", name="Log").locator(".body .row")
    async with stack.forwarder("logged-late", READER):
        await expect(entries.filter(has_text="logged-late").first).to_be_visible()
        go.set()
        await expect(entries.filter(has_text="logged-early").first).to_be_visible()
        assert await entries.filter(has_text="logged-late").count() > 0


@asynccontextmanager
async def refusing(page: Tab, what: str) -> AsyncIterator[None]:
    """Let the server answer one path with an error."""

    async def refuse(route: Route) -> None:
        await route.fulfill(status=503, json=NOT_NOW)

    await page.page.route(what, refuse)
    yield
    await page.page.unroute(what)


@pytest.mark.parametrize(
    ("place", "asks", "table"),
    [
        ("devices", "**/api/v1/forwarders", "Forwarders"),
        ("devices", "**/api/v1/admin/tokens", "Tokens"),
        ("streams", "**/api/v1/streams", "Streams"),
        ("stream/{}", "**/epochs", "Epochs"),
        ("stream/{}", "**/reads?*", "Reads"),
        ("log", "**/api/v1/logs", "Log"),
    ],
)
async def test_what_could_not_be_had_is_asked_for_again(
    page: Tab, stack: Stack, place: str, asks: str, table: str
) -> None:
    # Each its own: a forwarder that comes back without its journal is in conflict with itself.
    device_id = f"again-{table.lower()}"
    async with stack.forwarder(device_id, READER) as forwarder:
        forwarder.record(READER, line("0580000000A1"))
        await forwarder.drained()
        # What its coming tells the page is told by then: nothing but the refusal is a reason to ask again.
        await page.open()
        await expect(page.card(f"{device_id} · {READER}").locator(".badge")).to_have_text("good")
        async with refusing(page, asks):
            await page.open(place.format(await stack.stream_id(device_id)))
            await expect(page.page.get_by_text("not now")).to_be_visible()
        rows = page.page.get_by_role("table", name=table).locator(".body .row")
        await expect(rows.first).to_be_visible()
        await expect(page.page.get_by_text("not now")).to_have_count(0)
    assert page.errors
    assert all("503" in each for each in page.errors)
    page.errors.clear()


async def test_conflicts_that_could_not_be_had_are_asked_for_again(page: Tab) -> None:
    async with refusing(page, "**/api/v1/conflicts?*"):
        await page.open("conflicts")
        await expect(page.page.get_by_text("not now")).to_be_visible()
    await expect(page.page.get_by_text("No conflicts.")).to_be_visible()
    assert all("503" in each for each in page.errors)
    page.errors.clear()
