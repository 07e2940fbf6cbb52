"""A page that shows what is old says so: the link to the server, lost and found again."""

import asyncio
import re
import signal
from importlib.resources import files

import pytest
from playwright.async_api import Browser, Route, expect

from tests.dashboard.browser import DRAWN, Tab, tab
from tests.dashboard.conftest import Stack
from tests.lines import line
from tests.postgres import Postgresql, frozen
from tests.waiting import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="session")

READER = "10.0.0.1:10000"
TAKEN = "import('/static/state.js').then(({ state }) => state.at)"
_NOTE_WORDS = """() => {
    window.words = new Set();
    const word = document.querySelector(".verdict .word");
    const note = () => words.add(word.textContent);
    new MutationObserver(note).observe(word, { childList: true, subtree: true });
}"""
_NOTE_WORDS_FROM_THE_START = """
window.words = new Set();
new MutationObserver(() => {
    const word = document.querySelector(".verdict .word");
    if (word !== null) words.add(word.textContent);
}).observe(document, { childList: true, subtree: true, characterData: true });
"""
# All that addresses may name, as the page has it.
PLACES = re.findall(
    r"^  (\w+): ", (files("api") / "dashboard" / "static" / "pages.js").read_text(), re.MULTILINE
)
NOBODY = "0190a000-0000-7000-8000-000000000000/1"
STRUCK = "getComputedStyle(document.querySelector('.fact .num')).textDecorationLine"


async def icon(page: Tab) -> str:
    return str(await page.page.locator("link[rel=icon]").get_attribute("href"))


async def test_a_stopped_api_process_is_seen_as_a_lost_link_and_recovers(
    browser: Browser, stack: Stack
) -> None:
    async with (
        stack.forwarder("stays", READER) as forwarder,
        tab(browser, stack.url) as page,
    ):
        await page.open()
        forwarder.record(READER, line("0580000000A1"))
        reads = page.fact(page.card(f"stays · {READER}"), "Reads")
        await expect(reads).to_have_text("1")
        await page.verdict("ALL GOOD")
        assert await page.page.evaluate(STRUCK) == "none"
        stack.api.signal(signal.SIGSTOP)
        try:
            await page.verdict("LINK LOST")
            assert await page.page.evaluate(STRUCK) == "line-through"
            assert await icon(page) == "static/icon-lost.svg"
            assert "LINK LOST" in await page.page.title()
        finally:
            stack.api.signal(signal.SIGCONT)
        forwarder.record(READER, line("0580000000A1"))
        await expect(reads).to_have_text("2")
        await page.verdict("ALL GOOD")
        assert await icon(page) == "static/icon-good.svg"


async def test_a_killed_api_process_is_seen_as_a_lost_link_and_its_successor_is_found(
    browser: Browser, stack: Stack
) -> None:
    async with tab(browser, stack.url) as page:
        await page.open()
        await stack.api.kill()
        await page.verdict("LINK LOST")
        await stack.api.start()
        await expect(page.page.locator(".verdict .word")).not_to_have_text("LINK LOST")


async def test_a_database_that_does_not_answer_is_no_lost_link(
    browser: Browser, stack: Stack, cluster: Postgresql
) -> None:
    async with stack.forwarder("waits", READER) as forwarder, tab(browser, stack.url) as page:
        await page.open()
        forwarder.record(READER, line("0580000000A1"))
        reads = page.fact(page.card(f"waits · {READER}"), "Reads")
        await expect(reads).to_have_text("1")
        await page.page.evaluate(_NOTE_WORDS)
        with frozen(cluster):
            await page.verdict("NO DATABASE")
            assert await page.page.evaluate(STRUCK) == "line-through"
            assert await icon(page) == "static/icon-lost.svg"
            assert "NO DATABASE" in await page.page.title()
            # Who comes only now is told the same.
            async with tab(browser, stack.url) as other:
                await other.page.goto(stack.url)
                await other.verdict("NO DATABASE")
        forwarder.record(READER, line("0580000000A1"))
        await expect(reads).to_have_text("2")
        await expect(page.page.locator(".verdict .word")).not_to_have_text("NO DATABASE")
        assert await page.page.evaluate(STRUCK) == "none"
        assert "LINK LOST" not in await page.page.evaluate("[...words]")


@pytest.mark.parametrize("table", ["streams", "events", "activity"])
async def test_a_page_that_is_opened_while_a_table_is_locked_says_no_database(
    browser: Browser, stack: Stack, table: str
) -> None:
    async with stack.forwarder("locked", READER), tab(browser, stack.url) as page:
        await page.page.add_init_script(_NOTE_WORDS_FROM_THE_START)
        async with stack.database.transaction():
            await stack.database.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
            await page.page.goto(stack.url)
            await page.verdict("NO DATABASE")
        await expect(page.card(f"locked · {READER}")).to_be_visible()
        await expect(page.page.locator(".verdict .word")).not_to_have_text("NO DATABASE")
        said = await page.page.evaluate("[...words]")
        assert "NO DATABASE" in said
        assert not {"LINK LOST", "NO LINK"} & set(said)


@pytest.mark.parametrize("part", ["pages.js", "page-first.js", "rows.js", "parts.css"])
async def test_a_part_of_the_page_that_did_not_come_is_loaded_again(
    browser: Browser, stack: Stack, part: str
) -> None:
    async with tab(browser, stack.url) as page:
        await page.page.route(f"**/static/{part}", lambda route: route.abort(), times=1)
        await page.page.goto(stack.url)
        await expect(page.page.get_by_role("heading", name="Streams")).to_be_visible()
        assert await page.page.evaluate("document.styleSheets.length") == 3


async def test_a_link_that_is_lost_when_the_first_page_was_idle_keeps_no_page_from_opening(
    browser: Browser, stack: Stack
) -> None:
    async with tab(browser, stack.url) as page:
        await page.open()
        await page.whole()
        await page.page.context.set_offline(True)
        for place in PLACES:
            # What it shows was not to be had. That it says so, or how little there is, is the page's own.
            await page.open(f"{place}/{NOBODY}")


async def test_an_overview_that_events_have_overtaken_does_not_undo_them(page: Tab, stack: Stack) -> None:
    asked, told = asyncio.Event(), asyncio.Event()

    async def late(route: Route) -> None:
        answer = await route.fetch()
        asked.set()
        await told.wait()
        await route.fulfill(response=answer)

    await page.open()
    async with stack.forwarder("late", READER) as forwarder:
        reads = page.fact(page.card(f"late · {READER}"), "Reads")
        await expect(reads).to_have_text("0")
        before = await page.page.evaluate(TAKEN)

        async def taken() -> bool:
            return bool(await page.page.evaluate(TAKEN) != before)

        await page.page.route("**/api/v1/overview", late)
        await page.page.evaluate("dispatchEvent(new Event('online'))")
        await asked.wait()
        forwarder.record(READER, line("0580000000A1"))
        await expect(reads).to_have_text("1")
        told.set()
        await wait_until(taken, what="the late overview to be taken")
        await page.page.evaluate(DRAWN)
        assert await reads.text_content() == "1"


async def test_an_overview_of_another_process_is_followed_by_one_of_the_stream_s(
    page: Tab, stack: Stack
) -> None:
    """It holds what was so between two of the differences that the stream tells: no event would put that right."""

    shown = asyncio.Event()

    async def once_shown(route: Route) -> None:
        await shown.wait()
        await route.continue_()

    async def of_another(route: Route) -> None:
        answer = await route.fetch()
        overview = await answer.json()
        overview["last_event_id"] = "deadbeef-7"
        for card in overview["streams"]:
            card["epoch_reads"] = 99
        await route.fulfill(response=answer, json=overview)

    await page.open()
    async with stack.forwarder("elsewhere", READER) as forwarder:
        reads = page.fact(page.card(f"elsewhere · {READER}"), "Reads")
        forwarder.record(READER, line("0580000000A1"))
        await expect(reads).to_have_text("1")
        await page.page.route("**/api/v1/overview", of_another)
        await page.page.route(re.compile("events.*deadbeef"), once_shown)
        await page.page.evaluate("dispatchEvent(new Event('online'))")
        await expect(reads).to_have_text("99")
        shown.set()
        await expect(reads).to_have_text("1")


async def test_what_the_newest_bins_say_is_appended_once(page: Tab, stack: Stack) -> None:
    """An overview may be younger than what was told: the event that comes next tells of bins that it has already."""
    await page.open()
    async with stack.forwarder("bins", READER):
        await expect(page.card(f"bins · {READER}")).to_be_visible()
        rates = await page.page.evaluate(
            """async () => {
                const { state, takeEvent } = await import("/static/state.js");
                const [[id, card]] = [...state.streams].filter(([, each]) => each.forwarder_id === "bins");
                state.ratesBin += 1000;
                const rate = [...new Array(178).fill(0), 5, 6];
                takeEvent({ type: "changed", streams: [{ stream_id: id, rate }] });
                takeEvent({ type: "changed", rates: { bin: state.ratesBin + 1, counts: { [id]: [6, 7] } } });
                return state.streams.get(id).rate;
            }"""
        )
    assert (len(rates), rates[-3:]) == (180, [5, 6, 7])


async def test_a_page_that_was_opened_before_anything_was_read_takes_its_first_bins(
    page: Tab, stack: Stack
) -> None:
    """It knows no bin that they could be counted from, and what comes with them must not be lost for it."""
    await page.open()
    async with stack.forwarder("first", READER):
        await expect(page.card(f"first · {READER}")).to_be_visible()
        rates = await page.page.evaluate(
            """async () => {
                const { state, takeEvent } = await import("/static/state.js");
                const [[id, card]] = [...state.streams];
                state.ratesBin = 0;
                state.streams.set(id, { ...card, rate: [5, 6] });
                takeEvent({ type: "changed", rates: { bin: 170_000_000, counts: { [id]: [7] } } });
                return [state.streams.get(id).rate, state.ratesBin];
            }"""
        )
    assert (len(rates[0]), rates[0][-3:], rates[1]) == (180, [5, 6, 7], 170_000_000)


async def test_what_is_told_of_a_row_that_an_overview_has_no_more_makes_no_row(page: Tab) -> None:
    """It was told before, and its end is on the way."""
    await page.open()
    rows = {
        "streams": [{"stream_id": "gone", "epoch_reads": 1}],
        "flow": [{"receiver_id": "gone", "stream_id": "gone", "behind": 1}],
        "troubles": [{"trouble_id": -1, "reason": "gone"}],
        "processes": [{"process_id": "gone", "ready": False}],
    }
    known = await page.page.evaluate(
        """async (rows) => {
            const { state, takeEvent } = await import("/static/state.js");
            takeEvent({ type: "changed", ...rows });
            return ["streams", "flow", "processes"].map((name) => state[name].has("gone"))
                .concat(state.troubles.some((each) => each.reason === "gone"));
        }""",
        rows,
    )
    assert known == [False] * 4


async def test_a_page_that_nothing_happens_on_keeps_its_link(browser: Browser, stack: Stack) -> None:
    async with tab(browser, stack.url) as page:
        await page.open()
        await page.page.evaluate(_NOTE_WORDS)
        await page.page.evaluate(
            """async () => {
                const source = new EventSource("/api/v1/events");
                for (let ticks = 0; ticks < 3; ticks += 1)
                    await new Promise((heard) => source.addEventListener("tick", heard, { once: true }));
                source.close();
            }"""
        )
        assert "LINK LOST" not in await page.page.evaluate("[...words]")
