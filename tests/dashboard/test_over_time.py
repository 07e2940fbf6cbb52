"""What was so over time: how far readers' clocks were off, how far receivers were behind; with the numbers for who does
not see it.
"""

from uuid import UUID

import pytest
from playwright.async_api import Browser, expect

from tests.dashboard.browser import NARROW, WIDE, Size, Tab, Theme, tab, violations
from tests.dashboard.conftest import Stack
from tests.dashboard.test_points import START

pytestmark = pytest.mark.asyncio(loop_scope="session")

# Of a clock that was half a minute behind until it was set half an hour ago, and gains since. Its zone is given, or the
# next look at clocks would find that nobody knows it.
_CLOCK = """
WITH zone AS (
    INSERT INTO forwarder_zones (forwarder_id, time_zone) SELECT forwarder_id, 'UTC' FROM streams WHERE stream_id = $1
),
clock AS (
    INSERT INTO reader_clocks (stream_id, position, ahead_ms, zone, zone_ms, told_ms, told_at, was_ms, stepped_at,
                               drift_ppm, drift_error_ppm)
    VALUES ($1, 0, 150, 'UTC', 0, 150, now(), -30000, now() - interval '30 minutes', 50, 2)
    ON CONFLICT (stream_id) DO UPDATE SET ahead_ms = 150
    RETURNING stream_id
)
INSERT INTO reader_clock_marks
SELECT stream_id, now() - minutes * interval '1 minute', CASE WHEN minutes > 30 THEN -30000 ELSE 150 - 3 * minutes END,
       minutes = 30
FROM clock CROSS JOIN generate_series(0, 300, 10) AS minutes
"""
_LAGS = """
INSERT INTO receiver_lags
SELECT name, floor(extract(epoch FROM now()) / 120), array_fill(0::real, ARRAY[300]) || array_fill(worst, ARRAY[60])
FROM (VALUES ('tent', 47.2::real), ('barn', 0.4::real)) AS given(name, worst)
"""


async def make_clocks(stack: Stack, forwarder: str) -> UUID:
    stream_id = UUID(await stack.stream_id(forwarder))
    await stack.database.execute(_CLOCK, stream_id)
    return stream_id


async def test_offsets_of_clocks_are_drawn_with_drift_and_steps(page: Tab, stack: Stack) -> None:
    async with stack.forwarder("mat", START):
        stream_id = await make_clocks(stack, "mat")
        for place, region in (("streams", "Readers' clocks"), (f"stream/{stream_id}", "Clock")):
            await page.open(place)
            clocks = page.page.get_by_role("region", name=region, exact=True)
            name = "Offsets of readers' clocks over 12 hours, now: "
            await expect(clocks.get_by_role("img", name=name)).to_be_visible()
            await expect(clocks.get_by_role("img", name="+150 ms, gains 50 ppm")).to_be_visible()
            await expect(clocks.get_by_role("listitem").filter(has_text="set at")).to_contain_text(
                "from −30.0 s to +60 ms"  # noqa: RUF001
            )
            # What was set has no line from there to here.
            drawn = str(await clocks.locator(".sums .line").first.get_attribute("d"))
            assert drawn.count("H") >= 28
            await clocks.get_by_text("The same in numbers").click()
            rows = clocks.get_by_role("table", name="How far readers' clocks were off").get_by_role("row")
            await expect(rows).to_have_count(25)
            await expect(rows.last).to_contain_text("+150 ms")
            await expect(rows.nth(1)).to_contain_text("–")  # noqa: RUF001


async def test_how_far_receivers_were_behind_is_drawn_with_the_worst_first(page: Tab, stack: Stack) -> None:
    await stack.database.execute(_LAGS)
    await page.open("devices")
    lags = page.page.get_by_role("region", name="Seconds behind")
    await expect(lags.get_by_role("img", name="at the worst: tent 47 s, barn 0.4 s")).to_be_visible()
    await lags.get_by_text("The same in numbers").click()
    rows = lags.get_by_role("table", name="How far receivers were behind").get_by_role("row")
    await expect(rows.first).to_have_text("Untiltentbarn")
    await expect(rows.last).to_contain_text("47 s0.4 s")


async def test_who_knows_nothing_says_what_to_wait_for(page: Tab, stack: Stack) -> None:
    await page.open("streams")
    await expect(page.page.get_by_text("No clock is known yet.")).to_be_visible()
    await page.open("devices")
    await expect(page.page.get_by_text("No receiver yet.").last).to_be_visible()


@pytest.mark.parametrize("size", [NARROW, WIDE], ids=["360", "1440"])
@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_what_was_over_time_is_accessible_and_fits(
    browser: Browser, stack: Stack, size: Size, theme: Theme
) -> None:
    await stack.database.execute(_LAGS)
    async with (
        stack.forwarder("mat", START),
        tab(browser, stack.url, size=size, theme=theme) as page,
    ):
        stream_id = await make_clocks(stack, "mat")
        for place in ("streams", f"stream/{stream_id}", "devices"):
            await page.open(place)
            await expect(page.page.locator(".sums").last).to_be_visible()
            assert await violations(page.page) == [], place
            assert await page.page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, place
        assert page.errors == []
