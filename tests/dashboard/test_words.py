"""What the page says is what is known, once, and clearly."""

import re

import pytest
from playwright.async_api import expect

from tests.dashboard.browser import Tab
from tests.dashboard.conftest import Stack
from tests.lines import line

pytestmark = pytest.mark.asyncio(loop_scope="session")

READER = "10.0.0.1:10000"


async def test_a_reader_of_which_nothing_has_come_is_not_called_good(page: Tab, stack: Stack) -> None:
    await page.open()
    async with stack.forwarder("silent", READER) as forwarder:
        card = page.card(f"silent · {READER}")
        await expect(card.locator(".badge")).to_have_text("silent")
        await expect(card.locator(".reasons")).to_have_text(
            "Nothing has come from this reader in epoch 1 yet: it may be switched off."
        )
        await expect(page.page.locator(".verdict .what")).to_contain_text("1 without a read yet")
        forwarder.record(READER, line("0580000000A1"))
        await expect(card.locator(".badge")).to_have_text("good")
        await expect(card.locator(".reasons")).to_be_empty()


async def test_two_forwarders_of_one_name_are_told_apart_everywhere(page: Tab, stack: Stack) -> None:
    await page.open()
    await page.live_only()
    async with stack.forwarder("twin-1", READER, display_name="Box"):
        await expect(page.card(f"Box · {READER}")).to_be_visible()
        async with stack.forwarder("twin-2", READER, display_name="Box"):
            for twin in ("twin-1", "twin-2"):
                await expect(page.card(f"Box ({twin}) · {READER}")).to_be_visible()
            options = page.page.get_by_label("Point or stream").locator("option")
            await expect(options.filter(has_text="Box (twin-")).to_have_count(2)


async def test_where_a_stream_comes_from_stands_once(page: Tab, stack: Stack) -> None:
    async with stack.forwarder("once", READER):
        await page.open(f"stream/{await stack.stream_id('once')}")
        head = page.page.locator(".stream-head")
        await expect(head.get_by_role("heading")).to_have_text(f"once · {READER}")
        await expect(head.locator(".origin")).to_be_empty()
        await stack.database.execute(
            "UPDATE streams SET display_alias = 'Finish' WHERE forwarder_id = 'once'"
        )
        await page.open("streams")
        row = page.page.get_by_role("table", name="Streams").locator(".row", has_text="Finish")
        await expect(row.locator("[data-title='Forwarder and reader']")).to_have_text(f"once · {READER}")


async def test_what_is_not_there_is_said_as_it_is(page: Tab, stack: Stack) -> None:
    async with stack.forwarder("empty", READER) as forwarder:
        await page.open(f"stream/{await stack.stream_id('empty')}")
        reads = page.page.get_by_role("region", name="Reads")
        await expect(reads.get_by_text("No reads yet.")).to_be_visible()
        forwarder.record(READER, line("0580000000A1"))
        await expect(reads.get_by_role("cell", name="0580000000a1", exact=True)).to_be_visible()
        await reads.get_by_label("Chip").fill("0580000000FF")
        await expect(reads.get_by_text("No read passes this filter.")).to_be_visible()
        await page.open("log")
        await page.page.get_by_label("Find", exact=True).fill("what nobody says")
        await expect(page.page.get_by_text("No entry says that.")).to_be_visible()


async def test_the_newest_reads_say_that_long_lines_have_cut_them(page: Tab, stack: Stack) -> None:
    left = page.page.get_by_role("region", name="Latest reads").locator(".aside")
    async with stack.forwarder("long", READER) as forwarder:
        for _ in range(20):
            forwarder.record(READER, "x" * 60_000)
        await forwarder.drained()
        await page.open()
        await expect(left).to_contain_text(
            "Their lines are long, so that not all of the newest reads are shown here."
        )
        # What comes then fills the rest, and hides nothing.
        for number in range(50):
            forwarder.record(READER, line(f"0580000{number:05X}"))
        await forwarder.drained()
        await page.page.reload()
        await expect(page.page.locator(".tail .body .row")).to_have_count(50)
        await expect(left).to_be_empty()


async def test_the_database_says_how_long_a_query_and_a_commit_take(page: Tab, stack: Stack) -> None:
    await page.open()
    card = page.page.get_by_role("region", name="Database")
    async with stack.forwarder("commits", READER) as forwarder:
        forwarder.record(READER, line("0580000000A1"))
        await expect(page.fact(card, "A commit takes")).to_have_text(re.compile(r"^[0-9.,]+ ms$"))
    await expect(page.fact(card, "A query takes")).to_have_text(re.compile(r"^[0-9.,]+ ms$"))
