"""When who came by a point: on the page of a race and in the course strip, with its numbers for who does not see it."""

from uuid import UUID

import pytest
from playwright.async_api import Browser, expect

from tests.api.seeds import add_metrics
from tests.api.test_flow import came_by
from tests.api.test_sequence import put_aside
from tests.dashboard.browser import NARROW, WIDE, Size, Tab, tab, violations, violations_by_night_and_day
from tests.dashboard.conftest import Stack
from tests.dashboard.test_points import RIGHT, START, course
from tests.lines import line

pytestmark = pytest.mark.asyncio(loop_scope="session")

_STREAMS = "SELECT stream_id FROM streams WHERE forwarder_id = 'mats' ORDER BY reader_ip"

# Of those whom a course reads one starts and two come in.
_WORN = """
WITH people AS (
    INSERT INTO participants
    SELECT $1, bib, 'Byron', 'Ada', NULL, 'F' FROM generate_series(1, 3) AS bib
    RETURNING race_id, bib
)
INSERT INTO chips
SELECT race_id, (ARRAY['0580000000a1', '0580000000b2', '0580000000c3'])[bib], bib, 1, true FROM people
"""


async def come_by(stack: Stack) -> None:
    """Let sixty start within ten minutes, and forty of them come in at two mats."""
    start, left, right = [each["stream_id"] for each in await stack.database.fetch(_STREAMS)]
    await came_by(stack.database, start, [(f"{n:02}", 10 * n) for n in range(60)])
    await came_by(stack.database, left, [(f"{n:02}", 1800 + 10 * n) for n in range(30)])
    await came_by(stack.database, right, [(f"{n:02}", 1801 + 10 * n) for n in range(20, 40)])


async def test_who_came_by_is_drawn_and_stands_in_numbers(page: Tab, stack: Stack) -> None:
    async with course(stack, silent=True) as (race_id, _):
        await come_by(stack)
        await page.open(f"race/{race_id}")
        came = page.page.get_by_role("region", name="Came by", exact=True)
        await expect(
            came.get_by_role("img", name="Start: 60 came by from 10:00:00 to 10:10:00")
        ).to_be_visible()
        await expect(
            came.get_by_role("img", name="Finish: 40 came by from 10:30:00 to 10:37:00")
        ).to_be_visible()
        await expect(
            came.get_by_role("img", name="How many had come by: Start 60, Finish 40")
        ).to_be_visible()
        await expect(came.locator(".sums .line")).to_have_count(2)
        # Under the axis what is there, not what the bin beside it begins with.
        under = ["10:00:00", "10:09:15", "10:18:30", "10:27:45", "10:37:00"]
        await expect(came.locator(".sums + .times span")).to_have_text(under)
        await came.get_by_text("The same in numbers").click()
        lines = came.get_by_role("row")
        await expect(lines.first).to_have_text("UntilStartFinish")
        await expect(lines.last).to_have_text("10:37:006040")


async def test_what_readers_say_is_drawn_a_moment_later(page: Tab, stack: Stack) -> None:
    async with course(stack) as (race_id, mats):
        await page.open(f"race/{race_id}")
        came = page.page.get_by_role("region", name="Came by", exact=True)
        await expect(came.get_by_role("img", name="Finish: 2 came by")).to_be_visible()
        mats.record(START, line("0580000000E5"))
        await expect(came.get_by_role("img", name="Start: 2 came by")).to_be_visible()


async def test_the_course_on_the_first_page_has_a_plot_of_each_point_and_the_sum(
    page: Tab, stack: Stack
) -> None:
    async with course(stack) as (race_id, mats):
        await stack.database.execute(_WORN, UUID(race_id))
        # Who has come in at one mat of the finish comes by the other, too; a chip of nobody is no starter.
        for reader, chip in ((RIGHT, "0580000000B2"), (START, "0580000000E5")):
            mats.record(reader, line(chip))
        await mats.drained()
        await page.open()
        strip = page.page.get_by_role("region", name="Course")
        await expect(strip.get_by_role("img", name="Start: 2 came by")).to_be_visible()
        await expect(strip.get_by_role("img", name="Finish: 2 came by")).to_be_visible()
        await expect(page.page.locator(".verdict .what")).to_contain_text("1 started, 2 finished")


@pytest.mark.parametrize("size", [NARROW, WIDE], ids=["360", "1440"])
async def test_plots_are_accessible_and_fit(browser: Browser, stack: Stack, size: Size) -> None:
    async with (
        course(stack, silent=True) as (race_id, _),
        tab(browser, stack.url, size=size) as page,
    ):
        await come_by(stack)
        for place in ("", f"race/{race_id}"):
            await page.open(place)
            await expect(page.page.get_by_role("img", name="Finish: 40 came by").first).to_be_visible()
            assert await violations_by_night_and_day(page.page) == [], place
            assert await page.page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, place
        assert page.errors == []


async def test_a_map_of_numbers_says_what_is_missing_and_in_conflict(page: Tab, stack: Stack) -> None:
    async with stack.forwarder("map", START):
        stream = UUID(await stack.stream_id("map"))
        await add_metrics(
            stack.database, stream, dedup=950, conflict=1, retransmit=7, last_seq=1000, missing=[(101, 150)]
        )
        await put_aside(stack.database, stream, 900)
        await page.open(f"stream/{stream}")
        said = "Numbers 1 to 1,000 of epoch 1: 50 missing, 1 in conflict, 7 sent again"
        await expect(page.page.get_by_role("img", name=said)).to_be_visible()
        # A bin is five numbers: ten of them are gone, and the rest is there.
        missing, there, aside = [
            str(await page.page.locator(f".sequence .{kind}").get_attribute("d")).count("M")
            for kind in ("missing", "there", "aside")
        ]
        assert (missing, there, aside) == (10, 190, 1)
        numbers = page.page.get_by_role("region", name="Numbers")
        await numbers.get_by_text("The same in numbers").click()
        lines = page.page.get_by_role("table", name="Where numbers are missing").get_by_role("row")
        await expect(lines).to_have_count(12)
        await expect(lines.nth(1)).to_have_text("101 to 10550")
        assert await violations(page.page) == []
