"""Two hundred streams and fifty reads a second: nothing that the page does keeps its operator waiting.

What is bounded is the processor time of each task of the page's main thread, from the browser's own trace: how long a
task takes by the clock says more of the machine that the test runs on than of the page.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Locator, expect

from deploy.simulation.devices.forwarder import Forwarder
from tests.dashboard.browser import Tab, tab, traced
from tests.dashboard.conftest import Stack
from tests.lines import line

pytestmark = pytest.mark.asyncio(loop_scope="session")

READERS = [f"10.0.{n // 100}.{n % 100}:10000" for n in range(200)]
READS_PER_S = 50
READS = 200
# Of processor time.
LONG_TASK_MS = 50.0
# A phone is some four times slower than what this runs on; the browser makes it so by spending the time.
SLOWER = 4

# How many tasks have put cards on the page.
_COUNT_PIECES = """
window.pieces = 0;
const isNews = ({ target, addedNodes }) => addedNodes.length > 0 && target.matches?.(".cards");
new MutationObserver((records) => (pieces += records.some(isNews) ? 1 : 0))
    .observe(document, { childList: true, subtree: true });
"""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def crowd(module_stack: Stack) -> AsyncIterator[Forwarder]:
    """A forwarder of two hundred readers."""
    async with module_stack.forwarder("crowd", *READERS) as forwarder:
        yield forwarder


@pytest.mark.parametrize("slower", [1, SLOWER])
async def test_two_hundred_streams_at_fifty_reads_a_second_cause_no_long_task(
    browser: Browser, module_stack: Stack, crowd: Forwarder, slower: int
) -> None:
    """From the first byte on, here and where everything takes four times as long, and a task may do so, too."""
    async with tab(browser, module_stack.url) as page:
        await page.page.add_init_script(_COUNT_PIECES)
        session = await page.page.context.new_cdp_session(page.page)
        await session.send("Emulation.setCPUThrottlingRate", {"rate": slower})
        async with traced(browser, page) as tasks:
            await page.open()
            await expect(page.page.locator(".cards > .card")).to_have_count(200)
            # Between two of them a touch or a key is answered. A fast machine needs several, a slow one more.
            assert await page.page.evaluate("pieces") > 1
            already = int(str(await last_reads(page).text_content()).replace(",", ""))
            # This is the load, not a wait: so many reads a second, or fewer where the machine is busy.
            for reader, number in zip(itertools.cycle(READERS), range(READS), strict=False):
                crowd.record(reader, line(f"0580000{number:05X}"))
                await asyncio.sleep(1 / READS_PER_S)
            await expect(last_reads(page)).to_have_text(str(already + READS // len(READERS)))
        # Updates are coalesced where the machine is busy: not one for each read.
        assert len(tasks) > READS / 10, "the trace shows no tasks"
        assert max(tasks) < LONG_TASK_MS * slower, sorted(tasks)[-5:]


def last_reads(page: Tab) -> Locator:
    """The count of the last card, which is the last reader's."""
    return page.page.locator(".cards > :last-child dd").first
