"""What a screen reader makes of the pages: Chromium's own accessibility tree, read as it would be read out."""

from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from tests.dashboard.browser import Tab, tab
from tests.dashboard.conftest import Stack
from tests.dashboard.test_looks import READER, busy, look_at_all

__all__ = ["busy"]

pytestmark = pytest.mark.asyncio(loop_scope="session")

# What must say by its name which one it is.
NAMED = (
    "button",
    "textbox",
    "searchbox",
    "combobox",
    "table",
    "image",
    "img",
    "region",
    "dialog",
    "navigation",
)
# What is told apart by its name alone.
_OF_THE_BROWSER = "Show local date and time picker"
DIFFERENT = ("button", "table", "region", "textbox", "searchbox", "combobox")


@dataclass
class Tree:
    """The nodes that are read out, in order: (role, name, level of a heading)."""

    nodes: list[tuple[str, str, int]] = field(default_factory=list)

    def names(self, *roles: str) -> list[str]:
        """Return the names of all nodes of some roles."""
        return [name for role, name, _ in self.nodes if role in roles]

    @property
    def headings(self) -> list[int]:
        """The levels of the headings, from the top down."""
        return [level for role, _, level in self.nodes if role == "heading"]


async def tree_of(page: Page) -> Tree:
    """Return the tree as it is now."""
    session = await page.context.new_cdp_session(page)
    raw = (await session.send("Accessibility.getFullAXTree"))["nodes"]
    await session.detach()
    by_id = {node["nodeId"]: node for node in raw}
    tree = Tree()

    def walk(node: dict[str, Any]) -> None:
        if not node.get("ignored"):
            levels = [
                each["value"]["value"] for each in node.get("properties", []) if each["name"] == "level"
            ]
            name = str(node.get("name", {}).get("value", "")).strip()
            tree.nodes.append((str(node["role"]["value"]), name, int(levels[0]) if levels else 0))
        for child in node.get("childIds", []):
            if child in by_id:
                walk(by_id[child])

    walk(raw[0])
    return tree


async def test_every_page_reads_as_a_page(browser: Browser, busy: Stack) -> None:
    async with (
        busy.forwarder("second", READER, display_name="Second box"),
        tab(browser, busy.url) as page,
    ):
        async for place in look_at_all(page, busy):
            tree = await tree_of(page.page)
            assert len(tree.names("main")) == 1, place
            assert tree.names("navigation") == ["Pages"], place
            assert "Verdict" in tree.names("region"), place
            assert tree.headings[0] == 1, place
            assert tree.headings.count(1) == 1, place
            steps = zip(tree.headings, tree.headings[1:], strict=False)
            assert all(after - before <= 1 for before, after in steps), (place, tree.headings)
            assert [role for role, name, _ in tree.nodes if role in NAMED and not name] == [], place
            for role in DIFFERENT:
                names = (name for name in tree.names(role) if not name.startswith(_OF_THE_BROWSER))
                twice = [name for name, count in Counter(names).items() if count > 1]
                assert twice == [], (place, role)


async def test_a_dialog_has_a_name_and_gives_the_focus_back(browser: Browser, busy: Stack) -> None:
    async with tab(browser, busy.url) as page:
        await page.open(f"stream/{await busy.stream_id('looks')}")
        reset = page.page.get_by_role("button", name="Reset epoch…")
        await reset.click()
        (name,) = (await tree_of(page.page)).names("dialog")
        assert name.startswith("Reset the epoch of ")
        await page.page.keyboard.press("Escape")
        await page.closed()
        await expect(reset).to_be_focused()


async def test_the_focus_is_not_lost_with_the_button_that_opened_a_dialog(
    browser: Browser, busy: Stack
) -> None:
    async with busy.forwarder("goes", READER), tab(browser, busy.url) as page:
        await page.open("devices")
        await page.page.get_by_role("button", name="Revoke the token of goes").click()
        dialog = page.page.get_by_role("dialog")
        confirm = dialog.locator("[data-typed]")
        if await confirm.count():
            await confirm.fill("goes")
        await dialog.get_by_role("button", name="Revoke").click()
        await page.closed()
        await expect(page.page.get_by_role("button", name="Revoke the token of goes")).to_have_count(0)
        await expect(page.page.locator("main")).to_be_focused()


@pytest_asyncio.fixture(loop_scope="session")
async def talks(browser: Browser, busy: Stack) -> AsyncIterator[Tab]:
    """The first page. Not the tab of all tests, which has the devices of a test retired when it is over."""
    async with tab(browser, busy.url) as page:
        await page.open()
        yield page


_SPOKEN = """async (verdicts) => {
    const { verdictBar } = await import("/static/verdict.js");
    const { state } = await import("/static/state.js");
    const [kept, bar] = [state.verdict, verdictBar()];
    const said = verdicts.map((more) => {
        state.verdict = { ...kept, since: null, watch: 0, ...more };
        bar.update();
        return bar.node.querySelector("[role=status]").textContent;
    });
    state.verdict = kept;
    bar.update();
    return said;
}"""


async def test_who_listens_is_told_what_is_wrong_and_only_when_that_is_another_thing(talks: Tab) -> None:
    page = talks
    wrong = {"level": "act", "act": 1, "headline": "not connected · Start"}
    said = await page.page.evaluate(
        _SPOKEN,
        [wrong, wrong | {"act": 44}, wrong | {"headline": "no read · Finish"}, {"level": "good"}],
    )
    # Which race is on comes after it, where one is.
    assert said[0].startswith("1 ACT. not connected · Start")
    # Forty-three more of them are to be seen, and no reason to speak again.
    assert said[1] == said[0]
    assert said[2].startswith("1 ACT. no read · Finish")
    assert said[3].startswith("ALL GOOD. ")


async def test_nothing_speaks_while_nothing_happens(talks: Tab) -> None:
    page = talks
    regions = page.page.locator("[role=status], [role=alert], [aria-live]")
    await expect(regions.first).to_be_attached()
    # Ages grow by the second, and are nobody's news.
    assert (
        await page.page.locator(
            ":is([role=status], [role=alert], [aria-live]) :is(.age, .age-value, .since)"
        ).count()
        == 0
    )
    assert (
        await page.page.locator(":is(.age, .age-value, .since):is([role=status], [aria-live])").count() == 0
    )


async def test_the_words_under_a_field_are_its_own_and_do_not_interrupt_whoever_types(
    browser: Browser, busy: Stack
) -> None:
    async with tab(browser, busy.url) as page:
        await page.open("config/looks")
        text = page.page.locator("textarea").first
        await text.fill("{")
        problem = page.page.locator(f"#{await text.get_attribute('aria-describedby')}")
        await expect(problem).to_contain_text("Not JSON yet")
        assert await problem.evaluate(
            "(node) => node.closest('[role=status], [role=alert], [aria-live]') === null"
        )
