"""Two operators who have the same page open: each sees what the other does, and is told when it comes between."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from tests.dashboard.browser import Tab, tab
from tests.dashboard.conftest import Stack
from tests.dashboard.test_commands import READER, dialog, open_stream, said
from tests.lines import line
from tests.waiting import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def other(browser: Browser, stack: Stack) -> AsyncIterator[Tab]:
    """The other operator's tab."""
    async with tab(browser, stack.url) as opened:
        yield opened


async def mint(page: Tab, device_id: str) -> None:
    await page.page.get_by_label("For a").select_option("forwarder")
    await page.page.get_by_label("Device id").fill(device_id)
    await page.page.get_by_role("button", name="Make a token").click()


async def test_tokens_that_another_makes_and_revokes_are_there_at_once(page: Tab, other: Tab) -> None:
    for each in (page, other):
        await each.open("devices")
    await mint(other, "anothers")
    await dialog(other).get_by_role("button", name="I have it").click()
    row = page.page.get_by_role("table", name="Tokens").locator(".row", has_text="anothers")
    await expect(row.get_by_text("valid")).to_be_visible()
    # Both are about to revoke it.
    for each in (page, other):
        await each.page.get_by_role("button", name="Revoke the token of anothers").click()
    await dialog(other).get_by_role("button", name="Revoke").click()
    await said(other, "The token of anothers is revoked.")
    await expect(dialog(page).get_by_role("alert")).to_have_text("It is revoked already.")
    await expect(dialog(page).get_by_role("button", name="Revoke")).to_be_disabled()
    await dialog(page).get_by_role("button", name="Go back").click()
    await expect(row.get_by_text("revoked")).to_be_visible()
    await page.open("log")
    entries = page.page.get_by_role("table", name="Log").locator(".body .row")
    await expect(entries.filter(has_text="token revoked").filter(has_text="anothers")).to_be_visible()


async def test_a_token_that_is_shown_once_goes_only_when_that_is_meant(page: Tab) -> None:
    await page.open("devices")
    await mint(page, "once")
    shown = dialog(page).get_by_label("Token", exact=True)
    token = await shown.input_value()
    question = dialog(page).get_by_text("Have you kept the token?")
    for _ in range(3):
        await page.page.keyboard.press("Escape")
        await expect(question).to_be_visible()
        await expect(shown).to_have_value(token)
    await dialog(page).get_by_role("button", name="Show it still").click()
    await expect(question).to_be_hidden()
    await page.page.mouse.click(5, 5)
    await expect(question).to_be_visible()
    await expect(shown).to_have_value(token)
    await dialog(page).get_by_role("button", name="Close it").click()
    await page.closed()


async def test_of_two_who_rename_the_second_sees_that_it_has_another_name_now(
    page: Tab, other: Tab, stack: Stack
) -> None:
    async with stack.forwarder("renames", READER):
        for each in (page, other):
            await open_stream(each, stack, "renames")
            await each.page.get_by_role("button", name="Rename…").click()
        await dialog(other).get_by_label("Name").fill("Finish")
        await dialog(other).get_by_role("button", name="Rename").click()
        await said(other, "It is Finish now.")
        await expect(dialog(page).get_by_role("alert")).to_have_text("Somebody else has renamed it: Finish.")
        await expect(dialog(page).get_by_role("button", name="Rename")).to_be_disabled()


async def second_epoch(stack: Stack, page: Tab, device_id: str) -> str:
    """Let a stream's first epoch be an old one, and open its page; return its path in the API."""
    streams = f"{stack.url}/api/v1/streams/{await stack.stream_id(device_id)}"
    assert (await page.page.request.post(f"{streams}/reset-epoch")).ok
    await page.open(f"stream/{await stack.stream_id(device_id)}")
    await expect(page.page.get_by_role("cell", name="2, current")).to_be_visible()
    return streams


async def test_the_name_that_another_gives_to_an_older_epoch_is_told(page: Tab, stack: Stack) -> None:
    async with stack.forwarder("names", READER) as forwarder:
        forwarder.record(READER, line("0580000000A1"))
        await forwarder.drained()
        streams = await second_epoch(stack, page, "names")
        await page.page.get_by_role("button", name="Name epoch 1").click()
        await dialog(page).get_by_label("Name").fill("Heat 2")
        named = await page.page.request.put(f"{streams}/epochs/1/name", data={"name": "Heat 1"})
        assert named.ok
        await expect(dialog(page).get_by_role("alert")).to_have_text("Somebody else has named it: Heat 1.")
        await expect(dialog(page).get_by_role("button", name="Save")).to_be_disabled()
        await dialog(page).get_by_role("button", name="Go back").click()
        await expect(page.page.get_by_role("cell", name="Heat 1")).to_be_visible()


async def test_who_is_refused_with_a_name_sees_the_one_that_stands(page: Tab, stack: Stack) -> None:
    async with stack.forwarder("refuses", READER) as forwarder:
        forwarder.record(READER, line("0580000000A1"))
        await forwarder.drained()
        await second_epoch(stack, page, "refuses")
        await page.page.get_by_role("button", name="Name epoch 1").click()
        await dialog(page).get_by_label("Name").fill("Heat 2")
        # As if it had not been told yet.
        await stack.database.execute(
            "INSERT INTO epoch_names (stream_id, stream_epoch, name) VALUES ($1, 1, 'Heat 1')",
            await stack.stream_id("refuses"),
        )
        await dialog(page).get_by_role("button", name="Save").click()
        words = dialog(page).get_by_role("alert")
        await expect(words.filter(has_text="look at it again")).to_be_visible()
        await expect(words.filter(has_text="Somebody else has named it: Heat 1.")).to_be_visible()
        await dialog(page).get_by_role("button", name="Go back").click()
        await page.page.get_by_role("button", name="Name epoch 1").click()
        await dialog(page).get_by_label("Name").fill("Heat 2")
        await dialog(page).get_by_role("button", name="Save").click()
        await said(page, "Epoch 1 is Heat 2 now.")
        page.refused(409)


async def test_of_two_who_close_a_stream_the_second_is_told_by_whom_it_was(
    page: Tab, other: Tab, stack: Stack
) -> None:
    async with stack.forwarder("closes", READER):
        for each in (page, other):
            await open_stream(each, stack, "closes")
            await each.page.get_by_role("button", name="Close…").click()
        await dialog(other).get_by_role("button", name="Close stream").click()
        await other.closed()
        await expect(dialog(page).get_by_role("alert")).to_have_text("Somebody has closed it already.")
        await dialog(page).get_by_role("button", name="Go back").click()
        await expect(page.page.get_by_role("button", name="Open again")).to_be_visible()


async def test_a_dialog_whose_stream_is_gone_says_so(page: Tab, other: Tab, stack: Stack) -> None:
    async with stack.forwarder("goes", READER):
        for each in (page, other):
            await open_stream(each, stack, "goes")
    for each in (page, other):
        await each.page.get_by_role("button", name="Delete…").click()
    await dialog(other).get_by_role("button", name="Delete").click()
    await other.closed()
    await expect(dialog(page).get_by_role("alert")).to_have_text("There is no such stream any more.")
    await expect(dialog(page).get_by_role("button", name="Delete")).to_be_disabled()
    await dialog(page).get_by_role("button", name="Go back").click()
    # It has asked for what there is of the stream, and was told; nor does it ask for more while this ends.
    await page.page.goto("about:blank")
    assert all("404" in each for each in page.errors)
    page.errors.clear()


async def test_of_two_who_change_a_configuration_the_second_is_told(
    page: Tab, other: Tab, stack: Stack
) -> None:
    async with stack.forwarder("configures", READER) as forwarder:
        forwarder.config["upload"] = {"batch": 50}
        for each in (page, other):
            await each.open("config/configures")
            await each.page.get_by_role("textbox", name="Section upload").fill('{"batch": 60}')
        saves = [
            each.page.locator(
                "section", has=each.page.get_by_role("textbox", name="Section upload")
            ).get_by_role("button", name="Save to forwarder")
            for each in (page, other)
        ]
        await other.page.get_by_role("textbox", name="Section upload").fill('{"batch": 70}')
        await saves[1].click()
        await said(other, "The forwarder has taken section upload.")
        await saves[0].click()
        await expect(page.page.get_by_text("somebody else has changed this section")).to_be_visible()
        assert forwarder.config["upload"] == {"batch": 70}
        page.refused(409)
        # What one has written oneself is no change of somebody else.
        await other.page.get_by_role("textbox", name="Section upload").fill('{"batch": 80}')
        await saves[1].click()
        await wait_until(lambda: forwarder.config["upload"] == {"batch": 80}, what="the device to have it")


async def test_of_two_who_arrange_and_begin_a_race_the_second_is_told(
    page: Tab, other: Tab, stack: Stack
) -> None:
    async with stack.forwarder("starts", READER):
        race_id = await stack.database.fetchval("INSERT INTO races (name) VALUES ('Half') RETURNING race_id")
        await stack.database.execute("INSERT INTO forwarder_races VALUES ('starts', $1)", race_id)
        for each in (page, other):
            await each.open(f"race/{race_id}")
            await each.page.get_by_role("button", name="Arrange the points…").click()
        await dialog(other).get_by_role("textbox").fill("Start")
        await dialog(other).get_by_role("button", name="Arrange", exact=True).click()
        await other.closed()
        await expect(dialog(page).get_by_role("alert")).to_contain_text("Somebody else has arranged")
        await expect(dialog(page).get_by_role("button", name="Arrange", exact=True)).to_be_disabled()
        await dialog(page).get_by_role("button", name="Go back").click()
        for each in (page, other):
            await each.page.get_by_role("button", name="Begin race…").click()
            await dialog(each).locator("[data-typed]").fill("Half")
        for each, word in ((other, "begin epoch 2"), (page, "somebody else has begun it: epoch 2")):
            await dialog(each).get_by_role("button", name="Begin race").click()
            await each.closed()
            became = each.page.get_by_role("table", name="What became of each stream")
            await expect(became.locator(".body .row")).to_contain_text(word)
        # Nothing is left that could be told again.
        await expect(page.page.get_by_role("button", name="Tell those again")).to_be_hidden()
        epoch = await stack.database.fetchval(
            "SELECT stream_epoch FROM streams WHERE forwarder_id = 'starts'"
        )
        assert epoch == 2
