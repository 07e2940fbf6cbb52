"""A reader's own memory on the page of its stream: compared first, by the minute, and stored when that is confirmed."""

import pytest
from playwright.async_api import FilePayload, expect

from deploy.simulation.devices.forwarder import Forwarder
from tests.dashboard.browser import DRAWN, NARROW, Tab, violations
from tests.dashboard.conftest import Stack
from tests.lines import line

pytestmark = pytest.mark.asyncio(loop_scope="session")

READER = "10.0.0.1:10000"
CAME, MISSED = line("0580000000A1"), line("0580000000B2")


def file(*lines: str) -> FilePayload:
    text = "".join(f"{each}\r\n" for each in ("Reader 4.1", *lines))
    return {"name": "memory.txt", "mimeType": "", "buffer": text.encode()}


async def opened(page: Tab, stack: Stack, forwarder: Forwarder, *lines: str) -> str:
    """Open the page of a stream of which these lines came, and return its place."""
    for each in lines:
        forwarder.record(READER, each)
    await forwarder.drained()
    place = f"stream/{await stack.stream_id('start')}"
    await page.open(place)
    return place


async def test_what_never_came_is_shown_by_the_minute_and_stored_once_it_is_confirmed(
    page: Tab, stack: Stack
) -> None:
    async with stack.forwarder("start", READER) as forwarder:
        place = await opened(page, stack, forwarder, CAME)
        memory = page.page.get_by_role("region", name="The reader's memory")
        await memory.locator("input[type=file]").set_input_files(file(CAME, MISSED, MISSED))
        await expect(memory).to_contain_text("2 of 3 lines never came")
        await expect(memory).to_contain_text("1 line passed over, none of a read")
        await expect(memory.locator("tbody tr").first.locator("td")).to_have_text(["2", "0", "3", "1"])
        await memory.get_by_text("The lines").click()
        await expect(memory.locator("pre")).to_have_text(f"{MISSED}  (2 times)")
        assert await violations(page.page) == []
        assert await stack.database.fetchval("SELECT count(*) FROM memory_parts") == 0
        await memory.get_by_role("button", name="Store 2 lines…").click()
        dialog = page.page.get_by_role("dialog")
        store = dialog.get_by_role("button", name="Store")
        await expect(store).to_be_disabled()
        assert await violations(page.page) == []
        await dialog.locator("[data-typed]").fill(f"start {READER}")
        await store.click()
        await expect(page.page.locator("#said")).to_contain_text(f"2 lines become {READER}#memory, epoch 1")
        # As a stream of its own, which neither has a memory itself nor can be reset.
        await page.page.goto(f"{stack.url}/#/")
        link = page.page.get_by_role("link", name=f"start · {READER}#memory", exact=True).first
        await link.click()
        await expect(page.page.locator(".rows.reads .body .row")).to_have_count(2)
        for hidden in ("The reader's memory", "Reset epoch…"):
            await expect(page.page.get_by_text(hidden, exact=True).first).to_be_hidden()
        # The same file again: all of it is there.
        await page.open(place)
        await memory.locator("input[type=file]").set_input_files(file(CAME, MISSED, MISSED))
        await expect(memory).to_contain_text("All 3 lines of the file came")
        await expect(memory.get_by_role("button", name="Store")).to_have_count(0)


async def test_a_file_without_a_read_is_refused_and_another_one_says_so(page: Tab, stack: Stack) -> None:
    async with stack.forwarder("start", READER) as forwarder:
        await opened(page, stack, forwarder, CAME)
        memory = page.page.get_by_role("region", name="The reader's memory")
        await page.page.set_viewport_size({"width": NARROW[0], "height": NARROW[1]})
        await memory.locator("input[type=file]").set_input_files(file())
        await expect(memory.locator(".failure")).to_contain_text("lines of a reader begin with aa")
        page.refused(400)
        await memory.locator("input[type=file]").set_input_files(file(MISSED))
        await expect(memory).to_contain_text("is it this reader's file")
        await page.page.evaluate(DRAWN)
        assert await page.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        await memory.get_by_role("button", name="Forget the file").click()
        await expect(memory.locator(".file")).to_have_count(0)
