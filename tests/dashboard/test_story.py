"""What an operator sees of a stream, from its first connection on."""

import pytest
from playwright.async_api import Browser, Locator, expect

from tests.dashboard.browser import Tab, tab
from tests.dashboard.conftest import Stack, reading
from tests.lines import line
from tests.waiting import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="session")

_NOTED = "SELECT count(*) FROM subscriptions WHERE receiver_id = 'tent-1'"
READER = "10.0.0.1:10000"


def chips(page: Tab) -> Locator:
    """Return the chips of the live tail, the newest first."""
    return page.page.get_by_role("table", name="Latest reads").locator("[data-title=Chip]")


async def test_a_page_without_streams_says_what_to_do(page: Tab) -> None:
    await page.open()
    await page.verdict("ALL GOOD")
    await expect(page.page.get_by_text("No streams yet.")).to_be_visible()
    await expect(page.page.get_by_text("rt-server token create --type forwarder")).to_be_visible()


async def test_nothing_is_left_of_a_test_for_the_next(page: Tab, stack: Stack) -> None:
    """Tests of a module run in any order, in a stack that any of them may have used before."""
    await page.open()
    async with stack.forwarder("leaves", READER) as forwarder:
        forwarder.record(READER, "no read at all")
        await page.verdict("1 ACT")
    await stack.empty()
    await page.verdict("ALL GOOD")
    await page.page.reload()
    for part in ("streams", "reads"):
        await expect(page.page.get_by_text(f"No {part} yet.")).to_be_visible()


async def test_a_stream_appears_when_its_forwarder_connects(page: Tab, stack: Stack) -> None:
    await page.open()
    await page.live_only()
    async with stack.forwarder("appears", READER, display_name="Start box"):
        card = page.card(f"Start box · {READER}")
        await expect(card.get_by_text("online", exact=True)).to_be_visible()
        await expect(card.get_by_text("no read yet")).to_be_visible()


async def test_reads_are_counted_and_listed_while_one_looks(page: Tab, stack: Stack) -> None:
    await page.open()
    await page.live_only()
    async with stack.forwarder("counts", READER) as forwarder:
        card = page.card(f"counts · {READER}")
        for count in (1, 2, 3):
            forwarder.record(READER, line(f"0580000000C{count % 2}"))
            await expect(page.fact(card, "Reads")).to_have_text(str(count))
        await expect(page.fact(card, "Chips")).to_have_text("2")
        await expect(page.fact(card, "Missing")).to_have_text("0")
        await expect(card.get_by_text("since the last read")).to_be_visible()
        await expect(chips(page)).to_have_text(["0580000000c1", "0580000000c0", "0580000000c1"])


async def test_the_tail_shows_the_chip_that_is_asked_for_and_can_be_held(page: Tab, stack: Stack) -> None:
    await page.open()
    pause = page.page.get_by_role("button", name="Pause")
    async with stack.forwarder("tails", READER) as forwarder:
        forwarder.record(READER, line("0580000000D1"))
        forwarder.record(READER, line("0580000000D2"))
        await page.page.get_by_label("Chip, bib or name").fill("0580000000D2")
        await expect(chips(page)).to_have_text(["0580000000d2"])
        await pause.click()
        # More than the tail would need to follow: the cards are told four times a second at the most, it looks once.
        for count in range(3, 9):
            forwarder.record(READER, line("0580000000D2"))
            await expect(page.fact(page.card(f"tails · {READER}"), "Reads")).to_have_text(str(count))
        await expect(chips(page)).to_have_count(1)
        await page.page.get_by_role("button", name="Go on").click()
        await expect(chips(page)).to_have_count(7)


async def test_a_stream_turns_red_when_its_forwarder_dies_and_green_when_it_is_back(
    page: Tab, stack: Stack
) -> None:
    await page.open()
    card = page.card(f"dies · {READER}")
    async with stack.forwarder("dies", READER) as forwarder:
        forwarder.record(READER, line("0580000000E1"))
        await expect(page.fact(card, "Reads")).to_have_text("1")
        await expect(card.get_by_text("good", exact=True)).to_be_visible()
        journal = forwarder.journal
    await expect(card.get_by_text("offline", exact=True)).to_be_visible()
    await stack.pass_time(20)
    await expect(card.get_by_text("watch", exact=True)).to_be_visible()
    await page.verdict("1 WATCH")
    await stack.pass_time(30)
    await expect(card.get_by_text("act", exact=True)).to_be_visible()
    await page.verdict("1 ACT")
    await expect(page.page.locator(".alert", has_text="not connected")).to_be_visible()
    assert "ACT" in await page.page.title()
    async with (
        stack.forwarder("dies", READER, journal=journal) as forwarder,
        reading(forwarder, READER, "0580000000E1"),
    ):
        await expect(card.get_by_text("online", exact=True)).to_be_visible()
        await stack.clear()
        await page.verdict("ALL GOOD")
        await expect(card.get_by_text("good", exact=True)).to_be_visible()
        await expect(page.page.get_by_text("resolved alert")).to_be_visible()


async def test_a_receiver_shows_how_far_it_is_behind(page: Tab, stack: Stack) -> None:
    await page.open()
    flow = page.page.get_by_role("table", name="Receivers").locator(".row", has_text="tent-1")
    async with stack.forwarder("flows", READER) as forwarder:
        forwarder.record(READER, line("0580000000F1"))
        await forwarder.drained()
        async with stack.receiver("tent-1", ("flows", READER), ack_after_s=None) as receiver:
            await receiver.wait_for(1)
            await expect(flow.get_by_text("connected", exact=True)).to_be_visible()
            await expect(flow.locator("[data-title='Reads behind']")).to_have_text("1")
            await wait_until(lambda: stack.database.fetchval(_NOTED), what="the subscription to be noted")
        await expect(flow.get_by_text("gone", exact=True)).to_be_visible()


async def test_what_a_device_says_of_itself_is_text_and_never_markup(page: Tab, stack: Stack) -> None:
    evil = "<img src=x onerror='document.title=`owned`'><b>x</b>"
    await page.open()
    async with stack.forwarder("evil", READER, display_name=evil) as forwarder:
        forwarder.record(READER, evil)
        card = page.card(f"{evil} · {READER}")
        await expect(page.fact(card, "Unparsed")).to_have_text("1")
        await expect(page.page.get_by_role("cell", name=evil, exact=True)).to_be_visible()
        assert await page.page.locator("main img, main b").count() == 0
        for place in (f"stream/{await stack.stream_id('evil')}", "devices", "log"):
            await page.open(place)
            await expect(page.page.get_by_text(evil).first).to_be_visible()
            assert await page.page.locator("main img, main b").count() == 0


@pytest.mark.parametrize("place", ["%", "stream/%zz", "constructor", "nothing"])
async def test_an_address_that_cannot_be_read_shows_the_first_page(
    browser: Browser, stack: Stack, place: str
) -> None:
    async with tab(browser, stack.url) as page:
        await page.page.goto(f"{stack.url}/#/{place}")
        await expect(page.page.get_by_role("heading", name="Streams")).to_be_visible()
        assert page.errors == []


async def test_what_needs_a_look_stands_right_under_the_verdict_and_says_what_is_wrong_first(
    browser: Browser, stack: Stack
) -> None:
    async with stack.forwarder("wrong", READER) as forwarder, tab(browser, stack.url) as page:
        forwarder.record(READER, "no read at all")
        await page.open()
        headings = page.page.locator("main h2")
        await expect(headings.first).to_have_text("Needs a look")
        link = page.page.get_by_role("link", name=f"wrong · {READER}", exact=True)
        alert = page.page.locator(".alert", has=link).filter(has_text="no chip read")
        await expect(alert.locator(".what")).to_have_text(f"1 line that is no chip read wrong · {READER}")
        # Its link works as often as it is used.
        for _ in range(2):
            await page.page.evaluate("scrollTo(0, document.body.scrollHeight)")
            await page.page.locator(".verdict .what").click()
            await expect(headings.first).to_be_in_viewport()
