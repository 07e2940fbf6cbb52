"""Anybody is found from every page, and what was read of her stands there, as a line and in rows."""

import pytest
from playwright.async_api import Browser, expect

from tests.api.seeds import add_stream
from tests.api.test_passings import Read, store
from tests.dashboard.browser import NARROW, WIDE, Size, Tab, tab, violations_by_night_and_day
from tests.dashboard.conftest import Stack
from tests.waiting import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="session")

ADA = "0580000000a1"


async def add_course(stack: Stack) -> None:
    """Add a race of four points; ten have run all of it, Ada was not seen at the second and is due at the last."""
    database = stack.database
    race = await database.fetchval("INSERT INTO races (name) VALUES ('Marathon') RETURNING race_id")
    await database.execute(
        "INSERT INTO participants (race_id, bib, last_name, first_name, gender)"
        " VALUES ($1, 1, 'Byron', 'Ada', 'F'), ($1, 2, 'Byrne', 'Ada May', 'F')",
        race,
    )
    await database.execute("INSERT INTO chips VALUES ($1, $2, 1, 1, true)", race, ADA)
    others = [f"0580000001{n:02x}" for n in range(10)]
    seen = {"Start": (0, 3), "5 km": (1200, None), "10 km": (2500, 2510), "Finish": (5000, None)}
    for place, (name, (first, hers)) in enumerate(seen.items(), start=1):
        stream_id = await add_stream(database, name)
        await database.execute("INSERT INTO race_points VALUES ($1, $2, $3)", race, place, name)
        await database.execute("INSERT INTO point_streams VALUES ($1, $2, $3)", race, stream_id, place)
        await database.execute("INSERT INTO epoch_races VALUES ($1, 1, $2)", stream_id, race)
        reads = [Read(tag, 1, 100 * (first + n), n + 1) for n, tag in enumerate(others)]
        if hers is not None:
            reads += [Read(ADA, 1, 100 * hers, 50), Read(ADA, 1, 100 * hers + 50, 51)]
        await store(database, stream_id, reads)
    await database.execute("SELECT pg_notify('rt_positions', ''), pg_notify('rt_races', '')")

    async def all_are_passings() -> bool:
        found = await database.fetchval("SELECT count(*) FROM passings")
        return bool(found == 42)

    await wait_until(all_are_passings, what="the reads to be in passings")


async def find(page: Tab, text: str) -> None:
    await page.page.keyboard.press("/")
    await page.page.keyboard.type(text)
    await page.page.keyboard.press("Enter")


async def test_a_name_leads_from_any_page_to_all_that_was_read_of_her(page: Tab, stack: Stack) -> None:
    await add_course(stack)
    asked: list[str] = []
    page.page.on("request", lambda request: asked.append(request.url))
    await page.open("log")
    await find(page, "ada byr")
    found = page.page.get_by_role("table", name="Found").locator(".body .row")
    await expect(found).to_have_count(1)
    await page.page.get_by_role("link", name="Ada Byron").click()
    await expect(page.page.get_by_role("heading", level=1)).to_have_text("Ada Byron")
    points = page.page.get_by_role("table", name="The course").locator(".body .row")
    await expect(points.locator("[data-title=State]")).to_have_text(["Seen", "Not seen", "Seen", "Due"])
    expected = points.locator("[data-title=Expected]")
    await expect(expected.nth(1)).to_have_text("about 12:20:03.5; 10 others were in that minute")
    await expect(expected.nth(3)).to_have_text("about 13:23:30, as 10 others took")
    await expect(page.page.locator(".course-dots li")).to_have_count(4)
    reads = page.page.get_by_role("table", name="Reads", exact=True).locator(".body .row")
    await expect(reads.locator("[data-title=Is]")).to_have_text(
        ["follow-up", "counts", "counts", "follow-up"]
    )
    # Hers, and no part of it that the hexadecimal ids in addresses could have.
    assert not [each for each in asked if "byr" in each.lower()], "a name stands in an address"


async def test_who_is_not_there_is_said_and_a_chip_of_nobody_has_its_page(page: Tab, stack: Stack) -> None:
    await add_course(stack)
    await page.open()
    await find(page, "nobody at all")
    await expect(page.page.get_by_role("status").filter(has_text="Nobody is")).to_be_visible()
    # The same page, another question.
    await page.page.locator(".find input").fill("058000000105")
    await page.page.keyboard.press("Enter")
    await page.page.get_by_role("link", name="The chip, wherever it was read").click()
    await expect(page.page.get_by_role("heading", level=1)).to_have_text("Chip 058000000105")
    crossings = page.page.get_by_role("table", name="Crossings").locator(".body .row")
    await expect(crossings).to_have_count(4)


@pytest.mark.parametrize("size", [WIDE, NARROW])
async def test_it_is_fit_for_everybody_at_any_size_by_day_and_by_night(
    browser: Browser, stack: Stack, size: Size
) -> None:
    await add_course(stack)
    async with tab(browser, stack.url, size=size) as page:
        await page.open()
        await find(page, "ada")
        await expect(page.page.get_by_role("link", name="Ada Byron")).to_be_visible()
        # Room for a name, whatever else stands beside it.
        assert await page.page.locator(".find input").evaluate("(each) => each.offsetWidth") >= 180
        assert await violations_by_night_and_day(page.page) == []
        await page.page.get_by_role("link", name="Ada Byron").click()
        await expect(page.page.locator(".course-dots li")).to_have_count(4)
        assert await violations_by_night_and_day(page.page) == []
        assert await page.page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
