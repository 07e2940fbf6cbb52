"""What is red is heard by who looks away, once each, and after a tap only: browsers allow no more."""

import signal
from typing import Any

import pytest
from playwright.async_api import Browser, expect

from tests.dashboard.browser import DRAWN, Tab, tab
from tests.dashboard.conftest import Stack
from tests.lines import line
from tests.waiting import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="session")

READER = "10.0.0.1:10000"
# What a browser would do is written down: how many tones have begun, and which buzzes and locks were asked for.
_NOTE = """
window.heard = { tones: 0, buzzes: 0, locks: 0, released: 0 };
const real = AudioContext.prototype.createOscillator;
AudioContext.prototype.createOscillator = function () { heard.tones += 1; return real.call(this); };
navigator.vibrate = () => { heard.buzzes += 1; return true; };
Object.defineProperty(navigator, "wakeLock", { value: {
    request: async () => { heard.locks += 1; return { release: () => { heard.released += 1; } }; } } });
"""
ALL_OF_IT = 3


async def heard(page: Tab) -> dict[str, Any]:
    await page.page.evaluate(DRAWN)
    found: dict[str, Any] = await page.page.evaluate("heard")
    return found


async def test_each_new_red_is_heard_once_and_only_after_a_tap(browser: Browser, stack: Stack) -> None:
    async with tab(browser, stack.url) as page:
        await page.page.add_init_script(_NOTE)
        await page.open()
        button = page.page.get_by_role("button", name="Sound")
        await expect(button).to_have_attribute("aria-pressed", "false")
        await red(page, stack, "silent")
        assert (await heard(page))["tones"] == 0
        await button.click()
        await expect(button).to_have_text("Sound on")
        # What was red before is known to who taps; one tone says how loud it will be.
        assert await heard(page) == {"tones": 1, "buzzes": 0, "locks": 1, "released": 0}
        await red(page, stack, "told")
        assert await heard(page) == {"tones": 1 + ALL_OF_IT, "buzzes": 1, "locks": 1, "released": 0}
        # The same red again and again is no news.
        await stack.pass_time(60)
        await page.page.evaluate("new Promise((done) => setTimeout(done, 1500))")
        assert (await heard(page))["tones"] == 1 + ALL_OF_IT
        stack.api.signal(signal.SIGSTOP)
        try:
            await page.verdict("LINK LOST")
            # Not by the page's own waiting, which its policy for scripts forbids.
            again = f"heard.tones === {1 + 2 * ALL_OF_IT}"
            await wait_until(lambda: page.page.evaluate(again), what="the lost link to be heard")
        finally:
            stack.api.signal(signal.SIGCONT)
        await expect(page.page.locator(".verdict .word")).to_contain_text("ACT")
        await button.click()
        await expect(button).to_have_text("Sound off")
        assert (await heard(page))["released"] == 1


async def red(page: Tab, stack: Stack, device_id: str) -> None:
    """Let a forwarder be gone for so long that it is red."""
    async with stack.forwarder(device_id, READER) as forwarder:
        forwarder.record(READER, line("0580000000A1"))
        await forwarder.drained()
    await stack.gone(device_id)
    await stack.pass_time(60)
    alert = page.page.locator(".alert", has_text=device_id)
    await expect(alert.get_by_text("act", exact=True)).to_be_visible()
