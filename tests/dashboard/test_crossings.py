"""Crossings on the page of a race: who came by where and when, and why then; and what the latest reads say of it."""

import csv
import io

import pytest
from playwright.async_api import Browser, expect

from tests.api.crossed import come_by
from tests.dashboard.browser import NARROW, WIDE, Size, Tab, tab, violations_by_night_and_day
from tests.dashboard.conftest import Stack
from tests.dashboard.test_points import course

pytestmark = pytest.mark.asyncio(loop_scope="session")

_STREAMS = "SELECT stream_id FROM streams WHERE forwarder_id = 'mats' ORDER BY reader_ip"
# Numbers of events that nobody stores: whoever makes passings of them goes past them.
_BACKLOG = (
    "UPDATE streams SET last_position = last_position + 6000 "
    "WHERE forwarder_id = 'mats' AND reader_ip LIKE '%.1:%'"
)
_WORN = """
WITH people AS (INSERT INTO participants VALUES ($1, 1, 'Ada', 'Byron', NULL, 'F') RETURNING race_id, bib)
INSERT INTO chips SELECT race_id, '058000000001', bib, 1, true FROM people
"""


async def run(stack: Stack, race_id: str) -> None:
    """Let Ada wait at the start, and come in at two mats, and somebody whom nobody knows after her."""
    await stack.database.execute("DELETE FROM chips WHERE chip_id = '058000000001'")
    await stack.database.execute("DELETE FROM participants WHERE bib = 1")
    await stack.database.execute(_WORN, race_id)
    start, left, right = [each["stream_id"] for each in await stack.database.fetch(_STREAMS)]
    await come_by(stack.database, start, [(1, 0), (1, 2.5)])
    await come_by(stack.database, left, [(1, 273.5), (1, 274)])
    await come_by(stack.database, right, [(1, 273.75), (250, 300)])


async def test_who_came_by_stands_there_with_the_reads_behind_it(page: Tab, stack: Stack) -> None:
    async with course(stack, silent=True) as (race_id, _):
        await run(stack, race_id)
        await page.open(f"race/{race_id}")
        came = page.page.get_by_role("region", name="Crossings")
        lines = came.locator(".rows.crossings .body .row")
        await expect(lines).to_have_count(3)
        await expect(lines.nth(0)).to_contain_text("unknown chip 0580000000fa")
        await expect(lines.nth(1)).to_contain_text("10:04:33.50")
        await expect(lines.nth(1)).to_contain_text("1 Ada Byron")
        await lines.nth(1).get_by_text("the first of 3 reads").click()
        behind = lines.nth(1).get_by_role("listitem")
        await expect(behind).to_have_count(3)
        await expect(behind.nth(0)).to_contain_text("10:04:33.50")
        await expect(behind.nth(0)).to_contain_text("counts")
        await expect(behind.nth(1)).to_contain_text("10:04:33.75")
        await expect(behind.nth(1)).to_contain_text("would count without it")
        await came.get_by_label("Point").select_option("Start")
        await expect(lines).to_have_count(1)
        await expect(lines).to_contain_text("the start: the last of 2 reads before leaving")
        async with page.page.expect_download() as download:
            await came.get_by_role("link", name="Download .csv").click()
        rows = list(csv.DictReader(io.StringIO((await (await download.value).path()).read_text())))
        assert [(each["point"], each["bib"]) for each in rows] == [("Start", "1")]


async def test_while_much_is_stored_that_is_in_no_crossing_the_page_says_so_and_why_there_is_no_file(
    page: Tab, stack: Stack
) -> None:
    async with course(stack, silent=True) as (race_id, _):
        await run(stack, race_id)
        # As if another process were at it.
        await stack.database.execute("SELECT pg_advisory_lock(x'72747074'::int, 0)")
        await stack.database.execute(_BACKLOG)
        await page.open(f"race/{race_id}")
        came = page.page.get_by_role("region", name="Crossings")
        await expect(came.get_by_text("6,000 stored events are not looked at yet")).to_be_visible()
        await came.get_by_role("link", name="Download .csv").click()
        await expect(came.get_by_text("people would be missing in the file")).to_be_visible()
        # Asked by its head, which has no words, and then for these.
        assert [each for each in page.errors if "503" not in each] == []
        page.errors.clear()
        assert page.page.url.endswith(f"#/race/{race_id}")
        await stack.database.execute("SELECT pg_advisory_unlock(x'72747074'::int, 0)")
        await expect(came.get_by_text("not looked at yet")).to_have_count(0)


async def test_the_latest_reads_say_first_or_again_and_the_time_since_the_point_before(
    page: Tab, stack: Stack
) -> None:
    async with course(stack, silent=True) as (race_id, _):
        await run(stack, race_id)
        await page.open()
        reads = page.page.get_by_role("region", name="Latest reads").locator(".rows.latest .body")
        for said in ("first, +4:31 since Start", "again, +4:31 since Start"):
            await expect(reads.get_by_text(said, exact=True).first).to_be_visible()


@pytest.mark.parametrize("size", [NARROW, WIDE], ids=["360", "1440"])
async def test_crossings_are_accessible_and_fit(browser: Browser, stack: Stack, size: Size) -> None:
    async with (
        course(stack, silent=True) as (race_id, _),
        tab(browser, stack.url, size=size) as page,
    ):
        await run(stack, race_id)
        await page.open(f"race/{race_id}")
        came = page.page.get_by_role("region", name="Crossings")
        await came.get_by_text("the first of 3 reads").click()
        await came.scroll_into_view_if_needed()
        assert await violations_by_night_and_day(page.page) == []
        assert await page.page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
        assert page.errors == []
