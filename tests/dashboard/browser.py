"""A Chromium that is installed here, and pages of it that remember what went wrong in them."""

import asyncio
import shutil
from bisect import bisect_left
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any, Literal

import orjson
import pytest
from playwright.async_api import Browser, BrowserContext, Locator, Page, async_playwright, expect

from tests.waiting import wait_until

__all__ = [
    "DRAWN",
    "NARROW",
    "WIDE",
    "Size",
    "Tab",
    "Theme",
    "chromium",
    "tab",
    "tasks_ms",
    "traced",
    "violations",
    "violations_by_night_and_day",
]

Theme = Literal["light", "dark"]
Size = tuple[int, int]

NARROW: Size = (360, 740)
WIDE: Size = (1440, 900)
# Debian's, and what others call it or have instead. The one without windows first: a tab costs it a quarter.
_PROGRAMS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
# Far beyond what anything takes; what is waited for comes when it comes.
PATIENCE_MS = 90_000

# What a place shows is told from what the place before it did: that stands until the page has heard of its new address.
_LEAVE = (
    "document.querySelectorAll('main > div').forEach((shown) => shown.toggleAttribute('data-left', true))"
)
_ARRIVED = "main > div:not([data-left])"

# Whatever the page has been told by now is on the screen when this is done.
DRAWN = "new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))"

# The modules of other pages than the first come when that is alive and waits for nothing.
_WHOLE = """(() => {
    const here = new Set(performance.getEntriesByType("resource").map(({ name }) => name));
    const named = [...document.querySelectorAll("link[rel=modulepreload]")];
    return document.querySelector("template#others").content.childElementCount === 0
        && named.every(({ href }) => here.has(href));
})()"""

# Everything that axe knows, and the contrast of 7:1 that the page promises; or what it knows of colours only.
_AXE = """async (coloursOnly) => {
    const colours = ["color-contrast", "color-contrast-enhanced", "link-in-text-block"];
    const found = await axe.run(document, {
        rules: { "color-contrast-enhanced": { enabled: true } },
        ...(coloursOnly && { runOnly: { type: "rule", values: colours } }),
    });
    return found.violations.flatMap(({ id, nodes }) =>
        nodes.map((node) => `${id}: ${node.target} ${node.failureSummary}`));
}"""
_AXE_SOURCE = files("axe_playwright_python") / "axe.min.js"


@dataclass
class Tab:
    """A page of the dashboard. errors: what its console and its scripts complained of."""

    page: Page
    url: str
    errors: list[str] = field(default_factory=list)

    async def open(self, place: str = "") -> None:
        """Go to a place, such as `stream/<id>`, and wait until the page has something to show."""
        address = f"{self.url}/#/{place}"
        if self.page.url not in ("about:blank", address):
            await self.page.evaluate(_LEAVE)
        await self.page.goto(address)
        await expect(self.page.locator(_ARRIVED)).to_be_visible()

    async def whole(self) -> None:
        """Wait until the modules of all pages are here."""

        async def here() -> bool:
            return bool(await self.page.evaluate(_WHOLE))

        await wait_until(here, what="the modules of all pages")

    async def closed(self) -> None:
        """Wait until there is no dialog any more: one that is merely closed is nobody's to see and still there."""
        await expect(self.page.locator("dialog")).to_have_count(0)

    async def live_only(self) -> None:
        """Let no further overview come: what changes from now on was told by the event stream."""
        await self.page.route("**/api/v1/overview", lambda _route: None)

    async def verdict(self, words: str) -> None:
        """Wait for the word of the verdict bar."""
        await expect(self.page.locator(".verdict .word")).to_have_text(words)

    def refused(self, status: int) -> None:
        """Forgive the browser its word for the one refusal that a test has asked for."""
        (error,) = self.errors
        assert str(status) in error
        self.errors.clear()

    def card(self, name: str) -> Locator:
        """Return the card of the stream of a name."""
        return self.page.locator(".card", has=self.page.get_by_role("link", name=name, exact=True))

    def fact(self, where: Locator, label: str) -> Locator:
        """Return the number that stands beside a label."""
        return where.locator(".fact", has=self.page.get_by_text(label, exact=True)).locator("dd")


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """Run Chromium; whoever has none is told how to get it."""
    program = next(filter(None, map(shutil.which, _PROGRAMS)), None)
    if program is None:
        pytest.skip(
            "there is no Chromium here, so the dashboard is not tested: `apt-get install chromium-headless-shell`"
        )
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program)
        yield browser
        await browser.close()


@asynccontextmanager
async def tab(
    browser: Browser,
    url: str,
    *,
    size: Size = WIDE,
    theme: Theme = "light",
    password: str | None = None,
    zone: str | None = None,
    trusting: bool = False,
) -> AsyncIterator[Tab]:
    """Open a tab of a browser that knows nothing, and close it. zone: the time zone it is in, if not this machine's.
    trusting: whoever has made a certificate.
    """
    context: BrowserContext = await browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        color_scheme=theme,
        timezone_id=zone,
        http_credentials=None if password is None else {"username": "operator", "password": password},
        permissions=["clipboard-read", "clipboard-write"],
        ignore_https_errors=trusting,
    )
    context.set_default_timeout(PATIENCE_MS)
    expect.set_options(timeout=PATIENCE_MS)
    opened = Tab(await context.new_page(), url)
    opened.page.on("console", lambda said: opened.errors.append(said.text) if said.type == "error" else None)
    opened.page.on("pageerror", lambda error: opened.errors.append(str(error)))
    try:
        yield opened
    finally:
        # What still answers for the server when a test ends would fail at what is closed, and be told to the next test.
        for page in context.pages:
            await page.unroute_all(behavior="ignoreErrors")
        await context.close()


async def violations(page: Page, *, of_colours_only: bool = False) -> list[str]:
    """Return what axe finds wrong with a page as it stands."""
    if not await page.evaluate("'axe' in window"):
        source = await asyncio.to_thread(_AXE_SOURCE.read_text, encoding="utf-8")
        await page.evaluate(source)
    found: list[str] = await page.evaluate(_AXE, of_colours_only)
    return found


async def violations_by_night_and_day(page: Page) -> list[str]:
    """Return what axe finds wrong with a page as it stands by day, and with its colours by night: a theme is colours
    and nothing else, in style sheets only, and nothing has to be loaded again for the other.
    """
    found = await violations(page)
    await page.emulate_media(color_scheme="dark")
    await page.evaluate(DRAWN)
    found += [f"by night: {each}" for each in await violations(page, of_colours_only=True)]
    await page.emulate_media(color_scheme="light")
    await page.evaluate(DRAWN)
    return found


@asynccontextmanager
async def traced(browser: Browser, page: Tab) -> AsyncIterator[list[float]]:
    """Trace a page from before it is opened; at the end the list has the processor time of each of its tasks, in ms."""
    tasks: list[float] = []
    await browser.start_tracing(page=page.page, categories=["toplevel", "blink.user_timing"])
    try:
        yield tasks
    finally:
        tasks += tasks_ms(await browser.stop_tracing(), page.url)


def tasks_ms(trace: bytes, url: str) -> list[float]:
    """Return the processor time of each task of the main thread of the page at a URL, from the browser's own trace.

    Not those of other pages, such as the one that a new tab begins with, nor those in which the browser is asked by
    whoever tests the page: what is looked for by role or text, above all in vain, takes longer than all that is ours.
    """
    events = orjson.loads(trace)["traceEvents"]
    ours = {each["pid"] for each in events if _address(each).startswith(url)}
    tasks = [each for each in events if _is_task(each) and each["pid"] in ours]
    asked = sorted(each["ts"] for each in events if _is_asked(each) and each["pid"] in ours)
    return [
        each["tdur"] / 1000
        for each in tasks
        if bisect_left(asked, each["ts"]) == bisect_left(asked, each["ts"] + each["dur"])
    ]


def _address(event: Any) -> str:
    """Return where a navigation leads to, nothing of any other event."""
    if event["name"] != "navigationStart":
        return ""
    return str(event["args"].get("data", {}).get("documentLoaderURL", ""))


def _is_task(event: Any) -> bool:
    # Of a renderer only the main thread has the number of its process.
    return (
        event["name"].endswith("ThreadControllerImpl::RunTask")
        and event["pid"] == event["tid"]
        and "tdur" in event
    )


def _is_asked(event: Any) -> bool:
    asked = event.get("args", {}).get("chrome_mojo_event_info", {}).get("mojo_interface_tag", "")
    return bool(event["name"] == "Receive mojo message" and asked == "blink.mojom.DevToolsSession")
