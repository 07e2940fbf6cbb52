"""Every page on a phone and on a laptop, by day and by night, and from the keyboard."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, Route, expect

from tests.dashboard.browser import DRAWN, NARROW, WIDE, Size, Tab, tab, violations_by_night_and_day
from tests.dashboard.conftest import Stack
from tests.dashboard.readers import tell_battery, tell_reader
from tests.lines import line

pytestmark = pytest.mark.asyncio(loop_scope="session")

READER = "10.0.0.1:10000"
LONG = "Zieleinlauf_Marktplatz_Halbmarathon_der_Männer_und_Frauen_Nordseite_" * 2

# What is wider than the screen; type under 14 px; what is touched and lower than 44 px.
_TOO_WIDE = "() => Math.max(0, document.documentElement.scrollWidth - innerWidth)"
_TOO_SMALL = """() => [...document.querySelectorAll("body *")]
    .filter((each) => each.checkVisibility() && [...each.childNodes].some((n) => n.nodeType === 3 && n.data.trim()))
    .filter((each) => parseFloat(getComputedStyle(each).fontSize) < 14)
    .map((each) => each.outerHTML)"""
_HARD_TO_TOUCH = """() => [...document.querySelectorAll("button, input, select, textarea, summary, nav a, .links a")]
    .filter((each) => each.checkVisibility() && each.getBoundingClientRect().height < 43.9)
    .map((each) => each.outerHTML)"""

# The browser's own measure, a share of the screen: a line that comes or goes costs five times that, a digit next to
# nothing.
STEADY = 0.001
_FIRST_CARD = "import('/static/state.js').then(({ state }) => state.streams.values().next().value)"
_WATCH_SHIFTS = """() => {
    window.shifted = 0;
    new PerformanceObserver((list) => list.getEntries().forEach((each) => (shifted += each.value)))
        .observe({ type: "layout-shift" });
}"""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def busy(module_stack: Stack) -> AsyncIterator[Stack]:
    """A stack where every page has something to show: long names, lines of all kinds, a conflict, a receiver."""
    async with module_stack.forwarder("looks", READER, display_name=LONG) as forwarder:
        forwarder.record(READER, line("0580000000A1"))
        forwarder.record(READER, "no read of a chip at all, but a long line " * 4)
        await forwarder.drained()
        await forwarder.loses_journal()
        forwarder.record(READER, line("0580000000B2"))
        await forwarder.drained()
        await tell_reader(module_stack, "looks", READER)
        await tell_battery(module_stack, "looks", power_plugged=False)
        await add_race(module_stack)
        await add_notices(module_stack)
        async with module_stack.receiver("tent-1", ("looks", READER)) as receiver:
            await receiver.wait_for(2)
            yield module_stack


async def add_notices(stack: Stack) -> None:
    """Add what people were told of alerts, and what they were not."""
    await stack.database.execute(
        """
        INSERT INTO alert_notices (kind, state, title, ended_at, tries, reached, problem)
        VALUES ('red', 'sent', $1, now(), 1, '{"ntfys 1"}', NULL),
               ('over', 'dropped', NULL, now(), 0, '{}', NULL),
               ('red', 'given_up', 'ACT: Start: not connected', now(), 61, '{}', 'ntfys 1: answers 403')
        """,
        f"ACT: {LONG}: no read for more than 45 s and 7 more",
    )


async def add_race(stack: Stack) -> None:
    """Add a race with something of everything: people, chips of all kinds, a forwarder, an epoch."""
    race = await stack.database.fetchval("INSERT INTO races (name) VALUES ($1) RETURNING race_id", LONG)
    for statement in (
        "INSERT INTO participants SELECT $1, n, 'Annegret Wilhelmine', repeat('von Ärmel-', 9), 'Verein', 'F' "
        "FROM generate_series(1, 3) AS n",
        "INSERT INTO chips VALUES ($1, '0580000000a1', 1, 1, true), ($1, '0580000000a1', 2, 2, false), "
        "($1, '0580000000c3', 99, 3, true)",
        "INSERT INTO forwarder_races SELECT forwarder_id, $1 FROM streams",
        "INSERT INTO epoch_races SELECT stream_id, epoch, $1 FROM streams, generate_series(1, 3) AS epoch",
    ):
        await stack.database.execute(statement, race)


async def look_at_all(page: Tab, stack: Stack) -> AsyncIterator[str]:
    """Open every page, wait until what it asks for has come, and yield its name."""
    for place, shown in (
        ("", ".tail .body .row"),
        (f"stream/{await stack.stream_id('looks')}", ".rows.reads .body .row"),
        ("devices", ".rows.tokens .body .row"),
        ("config/looks", "textarea"),
        ("races", ".rows.races .body .row"),
        (f"race/{await stack.database.fetchval('SELECT race_id FROM races')}", ".rows.roster .body .row"),
        (f"certificate/{await stack.database.fetchval('SELECT race_id FROM races')}", ".sheet tbody tr"),
        ("announcer", ".choice .check"),
        ("chip/0580000000a1", ".rows.person-reads .body .row"),
        ("conflicts", ".conflict"),
        ("log", ".rows.log .body .row"),
    ):
        await page.open(place)
        await expect(page.page.locator(shown).first).to_be_visible()
        if place == "log":
            await page.page.get_by_text("Told to people: ").click()
            await expect(page.page.locator(".rows.notices .body .row")).to_have_count(3)
        yield place


@pytest.mark.parametrize("size", [NARROW, WIDE], ids=["360", "1440"])
async def test_every_page_is_readable_and_usable(browser: Browser, busy: Stack, size: Size) -> None:
    async with tab(browser, busy.url, size=size) as page:
        async for place in look_at_all(page, busy):
            assert await page.page.evaluate(_TOO_WIDE) == 0, place
            assert await page.page.evaluate(_TOO_SMALL) == [], place
            assert await page.page.evaluate(_HARD_TO_TOUCH) == [], place
            assert await violations_by_night_and_day(page.page) == [], place
        assert page.errors == []


async def test_a_dialog_and_what_it_did_are_readable(browser: Browser, busy: Stack) -> None:
    async with tab(browser, busy.url, size=NARROW) as page:
        await page.open(f"stream/{await busy.stream_id('looks')}")
        await page.page.get_by_role("button", name="Reset epoch…").click()
        assert await page.page.evaluate(_TOO_WIDE) == 0
        assert await violations_by_night_and_day(page.page) == []
        await page.page.keyboard.press("Escape")
        await page.closed()
        await page.page.get_by_role("button", name="Clear its memory…").click()
        assert await page.page.evaluate(_TOO_WIDE) == 0
        assert await violations_by_night_and_day(page.page) == []
        await page.page.keyboard.press("Escape")
        await page.closed()
        await page.page.get_by_role("button", name="Rename…").click()
        await page.page.get_by_role("dialog").get_by_role("button", name="Rename").click()
        await expect(page.page.locator("#said")).to_be_visible()
        assert await violations_by_night_and_day(page.page) == []


async def test_numbers_that_change_move_nothing(browser: Browser, busy: Stack) -> None:
    events: asyncio.Queue[str] = asyncio.Queue()

    async def tell(route: Route) -> None:
        # The link is alive all the time, however long that takes here: what moves is moved by the numbers.
        said = "retry: 100\nevent: tick\ndata: {}\n\n" if events.empty() else events.get_nowait()
        await route.fulfill(body=said, content_type="text/event-stream")

    async with tab(browser, busy.url) as page:
        await page.page.route("**/api/v1/events*", tell)
        await page.open()
        await page.live_only()
        await expect(page.page.locator(".tail .body .row").first).to_be_visible()
        card = await page.page.evaluate(_FIRST_CARD)
        counts = ("epoch_reads", "unique_chips", "missing_count", "retransmit_count", "events_per_second")
        grown = dict.fromkeys(counts, 99_999) | {"last_received_at": card["created_at"]}
        told = {"type": "changed", "streams": [{"stream_id": card["stream_id"], **grown}]}
        await expect(page.page.locator(".course .point").first).to_be_visible()
        await page.page.evaluate(_WATCH_SHIFTS)
        await events.put(f"id: x\nevent: changed\ndata: {json.dumps(told)}\n\n")
        await expect(page.page.locator(".card dd").first).to_have_text("99,999")
        await page.page.evaluate(DRAWN)
        assert await page.page.evaluate("shifted") < STEADY


async def focused(page: Page) -> str:
    return str(await page.evaluate("document.activeElement.textContent.trim()"))


async def press_until(page: Page, words: str, *, within: str = "main") -> None:
    """Go from one thing to the next with Tab until the focus is on what is called so there.

    within: a stream is named in its card and, when something is wrong with it, above all cards, whenever that is told.
    """
    inside = f"document.activeElement.closest({within!r}) !== null"
    for _ in range(60):
        if await focused(page) == words and await page.evaluate(inside):
            return
        await page.keyboard.press("Tab")
    raise AssertionError(f"no Tab leads to {words!r} within {within}")


async def test_everything_is_reached_with_the_keyboard_alone(browser: Browser, busy: Stack) -> None:
    async with tab(browser, busy.url) as page:
        keys = page.page.keyboard
        await page.open()
        await press_until(page.page, f"{LONG} · {READER}", within=".cards")
        await keys.press("Enter")
        await expect(page.page.get_by_role("heading", name="Epochs")).to_be_visible()
        await press_until(page.page, "Rename…")
        await keys.press("Enter")
        await expect(page.page.get_by_role("dialog")).to_be_visible()
        await keys.type("Finish")
        await keys.press("Enter")
        await expect(page.page.get_by_role("heading", level=1)).to_have_text("Finish")
        # The stream's new name may have come before the answer that closes the dialog.
        await expect(page.page.get_by_role("button", name="Rename…")).to_be_focused()
        await keys.press("Enter")
        await keys.press("Escape")
        await page.closed()
        for place in ("", "log", f"stream/{await busy.stream_id('looks')}"):
            await page.open(place)
            # The first goes to the field that finds anybody, the second to the page's own filter.
            await keys.press("/")
            assert await page.page.evaluate("document.activeElement.matches('.find input')"), place
            await keys.press("/")
            await keys.type("a/b")
            assert await page.page.evaluate("document.activeElement.matches('[data-filter]')"), place
            assert await page.page.evaluate("document.activeElement.value") == "a/b", place


async def test_the_focus_stays_on_a_stream_that_moves_to_the_front(browser: Browser, busy: Stack) -> None:
    async with busy.forwarder("moves", READER) as forwarder, tab(browser, busy.url) as page:
        await page.open()
        name = f"moves · {READER}"
        forwarder.record(READER, line("0580000000A1"))
        await expect(page.fact(page.card(name), "Reads")).to_have_text("1")
        await press_until(page.page, name, within=".cards")
        forwarder.record(READER, "no read at all")
        await expect(page.page.locator(".cards > .card[data-level=act]", has_text=name)).to_be_visible()
        assert await focused(page.page) == name
