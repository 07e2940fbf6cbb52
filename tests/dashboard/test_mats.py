"""The course as a strip: who is due where, what was expected behind who came, twins, and points that are closed."""

import pytest
from playwright.async_api import Browser, expect

from tests.dashboard.browser import NARROW, WIDE, Size, Tab, Theme, tab, violations
from tests.dashboard.conftest import Stack
from tests.dashboard.test_points import course
from tests.waiting import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="session")

# As if somebody had looked at a race of hundreds: 12 a minute are due.
_WATCHED = """
UPDATE point_watches
SET due = array_fill(2.0, ARRAY[180]), surely_due = array_fill(2.0, ARRAY[180]), newest_at = now() - interval '60 s',
    from_place = 1, travel_s = '{0}', arrive = 1, due_in_all = 360
WHERE place = 2
"""
_SEEN = """
UPDATE mat_shares AS share SET seen = CASE reader_ip WHEN $1 THEN 200 ELSE 150 END, best = 200, chips = 200
FROM streams WHERE streams.stream_id = share.stream_id
"""


async def watch(stack: Stack) -> None:
    """Wait until the points are looked at, and let them be of a race of hundreds."""
    looked = "SELECT (SELECT count(*) = 2 FROM point_watches) AND (SELECT count(*) = 2 FROM mat_shares)"
    await wait_until(lambda: stack.database.fetchval(looked), what="the points to be looked at")
    await stack.database.execute(_WATCHED)
    await stack.database.execute(_SEEN, "10.0.0.2:10000")


async def test_the_strip_tells_who_is_due_and_what_each_twin_has_seen(page: Tab, stack: Stack) -> None:
    async with course(stack):
        await watch(stack)
        await page.open()
        start, finish = page.page.locator(".course .point").nth(0), page.page.locator(".course .point").nth(1)
        await expect(finish.get_by_text("12 a minute due now")).to_be_visible()
        await expect(start.get_by_text("due now")).to_have_count(0)
        await expect(finish.locator(".where[data-twins] li")).to_have_text(
            [f"mats · 10.0.0.{n}:10000saw {seen} of the last 200" for n, seen in ((2, 200), (3, 150))]
        )
        await expect(start.locator(".where[data-twins]")).to_have_count(0)
        # What was expected stands behind it, and is said to who cannot see it.
        assert await finish.locator(".due").get_attribute("d")
        assert not await start.locator(".due").get_attribute("d")
        assert "1 were expected by then" in await finish.locator("svg title").inner_html()


async def test_a_closed_point_is_grey_whatever_its_mats_say(page: Tab, stack: Stack) -> None:
    async with course(stack) as (race_id, mats):
        await watch(stack)
        await page.open(f"race/{race_id}")
        points = page.page.get_by_role("table", name="Points", exact=True)
        await points.get_by_role("button", name="Close… Finish", exact=True).click()
        await page.page.get_by_role("dialog").get_by_role("button", name="Close point").click()
        await page.closed()
        await expect(points.get_by_text("nobody: closed by")).to_be_visible()
        # What is wrong with the mat is said where mats are shown, and not here.
        mats.record("10.0.0.2:10000", "no chip, but noise on the cable")
        await mats.drained()
        await page.open()
        await page.verdict("1 ACT")
        finish = page.page.locator(".course .point").nth(1)
        await expect(finish).to_have_attribute("data-level", "quiet")
        await expect(finish.locator(".badge")).to_have_text("closed")
        await expect(finish.get_by_text("nobody is expected")).to_be_visible()
        await page.open(f"race/{race_id}")
        await points.get_by_role("button", name="Open Finish", exact=True).click()
        await expect(points.get_by_text("whoever is on the way")).to_have_count(2)


@pytest.mark.parametrize(
    ("size", "theme"), [(WIDE, "light"), (WIDE, "dark"), (NARROW, "light"), (NARROW, "dark")]
)
async def test_it_can_be_used_by_everybody(browser: Browser, stack: Stack, size: Size, theme: Theme) -> None:
    async with course(stack) as (race_id, _):
        await watch(stack)
        async with tab(browser, stack.url, size=size, theme=theme) as page:
            await page.open()
            await expect(page.page.get_by_text("12 a minute due now")).to_be_visible()
            assert await violations(page.page) == []
            await page.open(f"race/{race_id}")
            await expect(page.page.get_by_role("button", name="Close… Finish", exact=True)).to_be_visible()
            assert await violations(page.page) == []
            wide = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
            assert await page.page.evaluate(wide)
