"""The announcer's page: for everybody, in a hall and on a phone, following a finish as it happens."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, Route, expect

from shared.db.channels import ANNOUNCER, RACES
from tests.dashboard.browser import (
    DRAWN,
    NARROW,
    WIDE,
    Size,
    Tab,
    Theme,
    tab,
    violations,
    violations_by_night_and_day,
)
from tests.dashboard.conftest import Stack
from tests.dashboard.halls import Hall
from tests.waiting import PATIENCE_S, wait_until

pytestmark = pytest.mark.asyncio(loop_scope="session")

_FONT_SIZE = "(name) => parseFloat(getComputedStyle(name).fontSize)"
_TOO_SMALL = """() => [...document.querySelectorAll("#list span, header *")]
    .filter((each) => each.checkVisibility() && parseFloat(getComputedStyle(each).fontSize) < 14)
    .map((each) => each.outerHTML)"""
# Of each row the number is left of the name, or above it, and the time right of it.
_OVERLAPPING = """() => [...document.querySelectorAll("#list li")].filter((row) => {
    const [bib, time, name] = ["bib", "time", "name"].map((each) => row.querySelector(`.${each}`));
    const shown = [bib, time, name].filter((each) => each.checkVisibility());
    const boxes = shown.map((each) => each.getBoundingClientRect());
    return boxes.some((a, n) => boxes.some((b, m) => n < m &&
        a.left < b.right && b.left < a.right && a.top < b.bottom - 1 && b.top < a.bottom - 1));
}).map((row) => row.textContent)"""
_TOO_WIDE = "() => Math.max(0, document.documentElement.scrollWidth - innerWidth)"


@pytest_asyncio.fixture(loop_scope="session")
async def hall(stack: Stack) -> Hall:
    """A stack with a finish line that is announced."""
    hall = Hall(stack)
    await hall.begin()
    return hall


@asynccontextmanager
async def screen(
    browser: Browser, stack: Stack, *, size: Size = WIDE, theme: Theme = "light"
) -> AsyncIterator[tuple[Page, Tab]]:
    async with tab(browser, stack.url, size=size, theme=theme) as opened:
        await opened.page.goto(f"{stack.url}/announcer")
        yield opened.page, opened


async def test_it_follows_a_finish_as_it_happens_each_once_the_newest_first(
    browser: Browser, hall: Hall
) -> None:
    async with screen(browser, hall.stack) as (page, opened):
        await expect(page.locator("#calm")).to_have_text("Waiting for the first to come in")
        await hall.come_in(1, 4)
        await expect(page.locator("#list .name")).to_have_text(["Grace Doe", "Ada Doe"])
        await expect(page.locator("#list .bib")).to_have_text(["1204", "7"])
        await expect(page.locator("#count")).to_have_text("2 in")
        # Her other chip, a chip of nobody.
        await hall.come_in(2, 99)
        await expect(page.locator("#list .name")).to_have_text(["Unknown", "Grace Doe", "Ada Doe"])
        assert opened.errors == []


async def test_who_comes_in_while_the_list_is_loaded_is_shown_once_and_in_order(
    browser: Browser, hall: Hall
) -> None:
    await hall.come_in(1)
    held: asyncio.Future[Route] = asyncio.get_running_loop().create_future()
    async with tab(browser, hall.stack.url) as opened:
        page = opened.page

        async def hold(route: Route) -> None:
            answer = await route.fetch()
            held.set_result(route)
            await go_on.wait()
            await route.fulfill(response=answer)

        go_on = asyncio.Event()
        await page.route("**/public/announcer/state", hold, times=1)
        async with page.expect_request("**/public/announcer/events"):
            await page.goto(f"{hall.stack.url}/announcer")
        await held
        await hall.come_in(3, 4)
        await _announced(hall, 3)
        # Told, and kept for when the list is there.
        go_on.set()
        await expect(page.locator("#list .bib")).to_have_text(["1204", "8", "7"])
        await expect(page.locator("#count")).to_have_text("3 in")


async def test_a_name_that_is_told_younger_than_the_list_was_loaded_is_shown(
    browser: Browser, hall: Hall
) -> None:
    answered = asyncio.Event()
    async with tab(browser, hall.stack.url) as opened:
        page = opened.page

        async def of_old(route: Route) -> None:
            """Answer with the name that was, once somebody has come in."""
            await hall.come_in(1)
            await _announced(hall, 1)
            answer = await route.fetch()
            await route.fulfill(response=answer, body=(await answer.text()).replace("Ada Doe", "Ada Byron"))
            answered.set()

        await page.route("**/public/announcer/state", of_old, times=1)
        await page.goto(f"{hall.stack.url}/announcer")
        await expect(page.locator("#list .name")).to_have_count(1)
        async with asyncio.timeout(PATIENCE_S):
            await answered.wait()
        await page.evaluate(DRAWN)
        await expect(page.locator("#list .name")).to_have_text(["Ada Doe"])


async def _announced(hall: Hall, count: int) -> None:
    async def all_are() -> bool:
        found: int = await hall.stack.database.fetchval(
            "SELECT count(*) FROM announcements JOIN announcer USING (run_id)"
        )
        return found == count

    await wait_until(all_are, what="all are announced")


async def test_a_resync_has_it_load_anew(browser: Browser, hall: Hall) -> None:
    await hall.come_in(1, 4)
    async with screen(browser, hall.stack) as (page, _):
        await expect(page.locator("#list .name")).to_have_text(["Grace Doe", "Ada Doe"])
        await hall.stack.database.execute("UPDATE participants SET last_name = 'Byron' WHERE bib = 7")
        await hall.notify(RACES)
        await expect(page.locator("#list .name")).to_have_text(["Grace Doe", "Ada Byron"])
        await hall.stack.database.execute("UPDATE announcer SET enabled = false, enabled_until = NULL")
        await hall.notify(ANNOUNCER)
        await expect(page.locator("#calm")).to_have_text("Nobody is announced at the moment")
        await expect(page.locator("#list li")).to_have_count(0)


async def test_the_list_stays_as_short_as_it_may_be(browser: Browser, stack: Stack) -> None:
    hall = Hall(stack)
    await hall.begin(size=2)
    async with screen(browser, stack) as (page, _):
        await expect(page.locator("#calm")).to_have_text("Waiting for the first to come in")
        await hall.come_in(1, 3)
        await hall.come_in(4)
        await expect(page.locator("#list .bib")).to_have_text(["1204", "8"])
        await expect(page.locator("#count")).to_have_text("3 in")


async def test_a_lost_link_is_seen_and_what_was_missed_is_there_when_it_is_back(
    browser: Browser, hall: Hall
) -> None:
    await hall.come_in(1)
    async with screen(browser, hall.stack) as (page, _):
        await expect(page.locator("#list .name")).to_have_text(["Ada Doe"])
        await page.context.set_offline(True)
        await expect(page.locator("#link")).to_contain_text("Link lost")
        # What is old looks so.
        newest = page.locator("#list li").first
        assert await newest.evaluate("(each) => getComputedStyle(each).outlineStyle") == "dashed"
        await hall.come_in(4)
        await page.context.set_offline(False)
        await expect(page.locator("#list .name")).to_have_text(["Grace Doe", "Ada Doe"])
        await expect(page.locator("#link")).to_be_hidden()


async def test_it_needs_nothing_that_asks_for_credentials(browser: Browser, hall: Hall) -> None:
    asked: list[str] = []
    async with tab(browser, hall.stack.url) as opened:
        opened.page.on("request", lambda request: asked.append(request.url.removeprefix(hall.stack.url)))
        await opened.page.goto(f"{hall.stack.url}/announcer")
        await expect(opened.page.locator("#calm")).to_have_text("Waiting for the first to come in")
        assert opened.errors == []
    assert set(asked) - {"/favicon.ico", "/announcer/icon.svg"} == {
        *("/announcer", "/announcer/announcer.css", "/announcer/announcer.js"),
        *("/api/v1/public/announcer/state", "/api/v1/public/announcer/events"),
    }


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["1440", "360"])
async def test_it_is_accessible_and_fits_in_both_themes(browser: Browser, hall: Hall, size: Size) -> None:
    async with screen(browser, hall.stack, size=size) as (page, _):
        await expect(page.locator("#calm")).to_have_text("Waiting for the first to come in")
        assert await violations_by_night_and_day(page) == []
        await hall.come_in(1, 99, 3, 5, 4)
        await expect(page.locator("#list li")).to_have_count(5)
        await page.evaluate(DRAWN)
        await page.evaluate("Promise.all(document.getAnimations().map((each) => each.finished))")
        assert await violations_by_night_and_day(page) == []
        assert await page.evaluate(_TOO_WIDE) == 0
        assert await page.evaluate(_TOO_SMALL) == []
        assert await page.evaluate(_OVERLAPPING) == []
        newest = await page.locator("#list .name").first.evaluate(
            "(name) => parseFloat(getComputedStyle(name).fontSize)"
        )
        # A tenth of a screen's width is 7 cm on one that is 80 cm wide: what ten metres ask.
        assert newest >= (size[0] * 0.085 if size == WIDE else 32)
        await page.context.set_offline(True)
        await expect(page.locator("#link")).to_contain_text("Link lost")
        assert await violations(page) == []
