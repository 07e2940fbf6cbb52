"""A link to one person: made and withdrawn on her page, and what it shows to whoever has it, with no credentials."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from playwright.async_api import Browser, Page, expect

from api.http.access import OPEN_FILES
from tests.dashboard.browser import (
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
from tests.dashboard.test_search import ADA, add_course

pytestmark = pytest.mark.asyncio(loop_scope="session")

_TOO_WIDE = "() => Math.max(0, document.documentElement.scrollWidth - innerWidth)"


async def make_link(stack: Stack, page: Page) -> str:
    race = await stack.database.fetchval("SELECT race_id FROM races")
    answer = await page.request.post(f"{stack.url}/api/v1/races/{race}/bibs/1/link", data={"hours": 2})
    assert answer.ok
    return f"{stack.url}/{(await answer.json())['path']}"


@asynccontextmanager
async def opened_link(
    browser: Browser, stack: Stack, *, size: Size = WIDE, theme: Theme = "light"
) -> AsyncIterator[tuple[Page, Tab, list[str]]]:
    """Open a link to Ada, and yield the page and what it has asked for."""
    asked: list[str] = []
    async with tab(browser, stack.url, size=size, theme=theme) as opened:
        link = await make_link(stack, opened.page)
        opened.page.on("request", lambda request: asked.append(f"{request.method} {request.url}"))
        await opened.page.goto(link)
        await expect(opened.page.get_by_role("heading", level=1)).to_have_text("Ada Byron")
        yield opened.page, opened, asked


async def test_a_link_is_made_on_her_page_shown_to_be_copied_and_withdrawn_with_all_others(
    page: Tab, stack: Stack
) -> None:
    await add_course(stack)
    race = await stack.database.fetchval("SELECT race_id FROM races")
    await page.open(f"person/{race}/1")
    await page.page.get_by_role("button", name="Make a link…").click()
    hours = page.page.get_by_role("dialog").get_by_label("Valid for, in hours")
    await expect(hours).to_have_value("24")
    await hours.fill("3")
    await page.page.get_by_role("button", name="Make it").click()
    link = page.page.get_by_role("textbox", name="Link")
    await expect(link).to_be_visible()
    await expect(page.page.get_by_text("Valid until")).to_be_visible()
    url = await link.input_value()
    assert url.startswith(f"{stack.url}/person#")
    await page.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await page.page.get_by_role("button", name="Copy").click()
    await expect(page.page.get_by_role("button", name="Copied")).to_be_visible()
    assert await page.page.evaluate("navigator.clipboard.readText()") == url
    said = await stack.database.fetchval(
        "SELECT fields->>'bib' FROM activity WHERE event = 'timeline_link_made'"
    )
    assert said == "1"
    await page.page.get_by_role("button", name="Withdraw all links…").click()
    await page.page.get_by_role("button", name="Go back").click()
    await expect(link).to_be_visible()
    await page.page.get_by_role("button", name="Withdraw all links…").click()
    await page.page.get_by_role("button", name="Withdraw them").click()
    await expect(page.page.locator("#said")).to_have_text("All links are withdrawn.")
    await expect(link).to_have_count(0)
    shown = await page.page.request.post(
        f"{stack.url}/api/v1/public/timeline", data={"link": url.partition("#")[2]}
    )
    assert shown.status == 404


async def test_it_shows_her_timeline_until_when_and_asks_for_nothing_that_takes_credentials(
    browser: Browser, stack: Stack
) -> None:
    await add_course(stack)
    async with opened_link(browser, stack) as (page, opened, asked):
        points = page.get_by_role("table", name="The course").locator(".body .row")
        await expect(points.locator("[data-title=State]")).to_have_text(["Seen", "Not seen", "Seen", "Due"])
        reads = page.get_by_role("table", name="Reads", exact=True).locator(".body .row")
        await expect(reads.locator("[data-title=Chip]")).to_have_text([ADA] * 4)
        await expect(page.get_by_text("This page is valid until")).to_be_visible()
        await expect(page.get_by_role("link")).to_have_count(0)
        await expect(page.get_by_role("button")).to_have_count(0)
        assert opened.errors == []
        text = page.url.partition("#")[2]
        assert text
        assert not [each for each in asked if text in each.partition("#")[0]], "the link stands in an address"
    paths = {each.partition("#")[0].replace(stack.url, "") for each in asked}
    of_page = {f"GET {each}" for each in OPEN_FILES if each.startswith("/person/")}
    assert paths - {"GET /favicon.ico"} | of_page == of_page | {"GET /person", "POST /api/v1/public/timeline"}


async def test_a_lost_link_to_the_server_is_seen_and_what_was_shown_stays(
    browser: Browser, stack: Stack
) -> None:
    await add_course(stack)
    async with opened_link(browser, stack) as (page, _, _):
        await page.context.set_offline(True)
        await expect(page.locator("#link")).to_contain_text("Link lost")
        await expect(page.get_by_role("heading", level=1)).to_have_text("Ada Byron")
        assert await violations(page) == []
        await page.context.set_offline(False)
        await expect(page.locator("#link")).to_be_hidden()


async def test_withdrawn_it_takes_her_off_the_screen(browser: Browser, stack: Stack) -> None:
    await add_course(stack)
    async with opened_link(browser, stack) as (page, _, _):
        assert (await page.request.delete(f"{stack.url}/api/v1/links")).ok
        # It asks again as soon as it has a network.
        await page.context.set_offline(True)
        await page.context.set_offline(False)
        await expect(page.get_by_role("heading")).to_have_text(
            ["This link is not valid, or was withdrawn; ask for another."]
        )
        await expect(page.locator("#link")).to_be_hidden()
        assert "Ada" not in await page.locator("body").inner_text()


async def test_without_a_link_it_shows_nobody(browser: Browser, stack: Stack) -> None:
    async with tab(browser, stack.url) as opened:
        for tail in ("", "#", "#nonsense"):
            await opened.page.goto(f"{stack.url}/person{tail}")
            await expect(opened.page.locator("#calm")).to_contain_text("This link is not valid")
        assert await violations(opened.page) == []


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["1440", "360"])
async def test_it_is_accessible_and_fits_in_both_themes(browser: Browser, stack: Stack, size: Size) -> None:
    await add_course(stack)
    async with opened_link(browser, stack, size=size) as (page, _, _):
        await expect(page.locator(".course-dots li")).to_have_count(4)
        assert await violations_by_night_and_day(page) == []
        assert await page.evaluate(_TOO_WIDE) == 0
