"""What an operator does to streams, devices and tokens, and what comes of it."""

import csv
from pathlib import Path

import pytest
from playwright.async_api import Browser, Locator, expect

from tests.dashboard.browser import Tab, tab
from tests.dashboard.conftest import Stack
from tests.lines import line
from tests.waiting import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="session")

READER = "10.0.0.1:10000"


def dialog(page: Tab) -> Locator:
    return page.page.get_by_role("dialog")


async def said(page: Tab, words: str) -> None:
    await expect(page.page.locator("#said")).to_have_text(words)


async def open_stream(page: Tab, stack: Stack, device_id: str) -> None:
    """Open a stream's page the way that an operator does: by its card."""
    await page.open()
    cards = page.page.locator(".cards")
    await cards.get_by_role("link", name=f"{device_id} · {READER}", exact=True).click()
    await expect(page.page.get_by_role("heading", level=1)).to_have_text(f"{device_id} · {READER}")


async def test_a_stream_is_renamed_for_everybody_who_looks(page: Tab, stack: Stack) -> None:
    async with stack.forwarder("renamed", READER):
        await open_stream(page, stack, "renamed")
        await page.page.get_by_role("button", name="Rename…").click()
        await dialog(page).get_by_label("Name").fill("Finish <line>")
        await dialog(page).get_by_role("button", name="Rename").click()
        await expect(page.page.get_by_role("heading", level=1)).to_have_text("Finish <line>")
        await page.open()
        await expect(page.card("Finish <line>")).to_be_visible()


async def test_an_epoch_is_named_and_its_reads_are_shown(page: Tab, stack: Stack) -> None:
    async with stack.forwarder("named", READER) as forwarder:
        forwarder.record(READER, line("0580000000A1"))
        await open_stream(page, stack, "named")
        await page.page.get_by_role("button", name="Name epoch 1").click()
        await dialog(page).get_by_label("Name").fill("Saturday 10 km")
        await dialog(page).get_by_role("button", name="Save").click()
        epochs = page.page.get_by_role("table", name="Epochs")
        await expect(epochs.get_by_role("cell", name="Saturday 10 km")).to_be_visible()
        await page.page.get_by_role("button", name="Show the reads of epoch 1").click()
        await expect(page.page.get_by_role("combobox", name="Epoch")).to_have_value("1")
        reads = page.page.get_by_role("table", name="Reads")
        await expect(reads.locator("[data-title=Chip]")).to_have_text(["0580000000a1"])


async def test_an_epoch_is_reset_when_its_stream_has_been_typed_and_not_before(
    page: Tab, stack: Stack
) -> None:
    async with stack.forwarder("reset", READER) as forwarder:
        await open_stream(page, stack, "reset")
        await page.page.get_by_role("button", name="Reset epoch…").click()
        go = dialog(page).get_by_role("button", name="Reset epoch")
        await expect(go).to_be_disabled()
        await dialog(page).get_by_role("textbox").fill("reset 10.0.0.1")
        await expect(go).to_be_disabled()
        await dialog(page).get_by_role("textbox").fill(f"Reset {READER} ")
        await go.click()
        await said(page, "The forwarder was told to begin epoch 2.")
        forwarder.record(READER, line("0580000000A1"))
        await expect(page.page.get_by_role("cell", name="2, current")).to_be_visible()


async def test_of_two_operators_who_reset_at_once_the_second_is_told(
    page: Tab, browser: Browser, stack: Stack
) -> None:
    async with stack.forwarder("two", READER), tab(browser, stack.url) as second:
        for each in (page, second):
            await open_stream(each, stack, "two")
            await each.page.get_by_role("button", name="Reset epoch…").click()
            await dialog(each).get_by_role("textbox").fill(f"two {READER}")
        await dialog(page).get_by_role("button", name="Reset epoch").click()
        await said(page, "The forwarder was told to begin epoch 2.")
        await expect(dialog(second).get_by_role("alert")).to_contain_text("somebody else has reset it")
        await expect(dialog(second).get_by_role("button", name="Reset epoch")).to_be_disabled()


async def test_a_reset_that_reaches_nobody_says_so(page: Tab, stack: Stack) -> None:
    async with stack.forwarder("away", READER):
        await open_stream(page, stack, "away")
    await expect(page.page.get_by_text("offline")).to_be_visible()
    await page.page.get_by_role("button", name="Reset epoch…").click()
    await expect(dialog(page).get_by_text("Its forwarder is offline")).to_be_visible()
    await dialog(page).get_by_role("textbox").fill(f"away · {READER}")
    await dialog(page).get_by_role("button", name="Reset epoch").click()
    await expect(dialog(page).get_by_role("alert")).to_contain_text("not connected")
    await dialog(page).get_by_role("button", name="Go back").click()
    await page.closed()
    page.refused(409)


async def test_an_export_holds_what_the_filter_on_the_screen_shows(
    page: Tab, stack: Stack, tmp_path: Path
) -> None:
    async with stack.forwarder("exports", READER) as forwarder:
        for number in range(150):
            forwarder.record(READER, line(f"0580000000{number % 3:02X}"))
        await forwarder.drained()
        await open_stream(page, stack, "exports")
        reads = page.page.get_by_role("table", name="Reads").locator(".body .row")
        await expect(reads).to_have_count(100)
        await page.page.get_by_role("button", name="Older reads").click()
        await expect(reads).to_have_count(150)
        await page.page.get_by_label("Chip", exact=True).fill("058000000002")
        await expect(reads).to_have_count(50)
        rows = list(csv.DictReader((await download(page, "Download .csv", tmp_path)).splitlines()))
        assert {row["raw_read_line"][4:16] for row in rows} == {"058000000002"}
        assert len(rows) == 50
        lines = (await download(page, "Download .txt", tmp_path)).splitlines()
        assert lines == [row["raw_read_line"] for row in rows]


async def download(page: Tab, name: str, directory: Path) -> str:
    async with page.page.expect_download() as started:
        await page.page.get_by_role("link", name=name, exact=True).click()
    path = directory / "download"
    await (await started.value).save_as(path)
    return path.read_text()


async def test_a_token_is_made_shown_once_used_and_revoked(page: Tab, stack: Stack) -> None:
    await page.open("devices")
    await page.page.get_by_label("For a").select_option("forwarder")
    await page.page.get_by_label("Device id").fill("minted")
    await page.page.get_by_role("button", name="Make a token").click()
    token = await dialog(page).get_by_label("Token", exact=True).input_value()
    assert len(token) == 43
    await dialog(page).get_by_role("button", name="Copy").click()
    await expect(dialog(page).get_by_role("button", name="Copied")).to_be_visible()
    assert await page.page.evaluate("navigator.clipboard.readText()") == token
    await dialog(page).get_by_role("button", name="I have it").click()
    await page.closed()
    assert token not in await page.page.content()
    async with stack.forwarder("minted", READER, token=token) as forwarder:
        forwarders = page.page.get_by_role("table", name="Forwarders")
        await expect(forwarders.get_by_role("cell", name="online").first).to_be_visible()
        await page.page.get_by_role("button", name="Revoke the token of minted").click()
        await dialog(page).get_by_role("button", name="Revoke").click()
        await said(page, "The token of minted is revoked.")
        await wait_until(lambda: forwarder.last_error, what="the session to end")
    tokens = page.page.get_by_role("table", name="Tokens")
    await expect(tokens.locator(".row", has_text="minted").get_by_text("revoked")).to_be_visible()


async def test_a_forwarders_configuration_is_read_written_and_refused(page: Tab, stack: Stack) -> None:
    async with stack.forwarder("configured", READER) as forwarder:
        forwarder.config["upload"] = {"batch": 50}
        await page.open("devices")
        row = page.page.get_by_role("table", name="Forwarders").locator(".row", has_text="configured")
        await row.get_by_role("link", name="Configuration").click()
        text = page.page.get_by_role("textbox", name="Section upload")
        save = page.page.locator("section", has=text).get_by_role("button", name="Save to forwarder")
        await expect(save).to_be_disabled()
        await text.fill('{"batch": ')
        await expect(page.page.get_by_text("Not JSON yet")).to_be_visible()
        await expect(save).to_be_disabled()
        await text.fill('{"batch": 60}')
        await save.click()
        await said(page, "The forwarder has taken section upload.")
        await expect(page.page.get_by_text("only after a restart")).to_be_visible()
        assert forwarder.config["upload"] == {"batch": 60}
        del forwarder.config["upload"]
        await text.fill('{"batch": 70}')
        await save.click()
        await expect(page.page.get_by_text("no section 'upload'")).to_be_visible()
        page.refused(502)


async def test_nothing_is_asked_of_a_forwarder_that_is_not_there_to_be_restarted(
    page: Tab, stack: Stack
) -> None:
    async with stack.forwarder("restarts", READER):
        pass
    await stack.gone("restarts")
    await page.open("config/restarts")
    await expect(page.page.get_by_role("alert")).to_contain_text("not connected")
    await page.page.get_by_role("button", name="Restart forwarder…").click()
    # A session that comes while a question stands would be restarted by the answer to it.
    await said(page, "restarts is not connected: the command cannot reach it now.")
    await expect(dialog(page)).to_have_count(0)
    page.refused(404)


async def test_both_lines_of_a_conflict_stand_side_by_side_until_somebody_has_seen_them(
    page: Tab, stack: Stack
) -> None:
    async with stack.forwarder("conflicts", READER) as forwarder:
        kept, other = line("0580000000A1"), line("0580000000B2")
        forwarder.record(READER, kept)
        await forwarder.drained()
        await forwarder.loses_journal()
        forwarder.record(READER, other)
        await page.open()
        await expect(page.card(f"conflicts · {READER}").get_by_text("act", exact=True)).to_be_visible()
        await page.page.get_by_role("link", name="Conflicts", exact=True).click()
        await expect(page.page.locator("figure", has_text="Kept").get_by_text(kept)).to_be_visible()
        await expect(page.page.locator("figure", has_text="Set aside").get_by_text(other)).to_be_visible()
        await page.page.get_by_role("button", name="I have seen").click()
        await said(page, "The conflict is acknowledged.")
        await expect(page.page.get_by_text("seen", exact=True)).to_be_visible()
        await page.open()
        await expect(page.card(f"conflicts · {READER}").get_by_text("act", exact=True)).to_have_count(0)


async def test_the_log_shows_what_happens_and_finds_it(page: Tab, stack: Stack) -> None:
    await page.open("log")
    entries = page.page.get_by_role("table", name="Log").locator(".body .row")
    async with stack.forwarder("logged-1", READER), stack.forwarder("logged-2", READER):
        await expect(entries.filter(has_text="logged-2").first).to_be_visible()
        await page.page.get_by_label("Find", exact=True).fill("LOGGED-1")
        await expect(entries.filter(has_text="logged-2")).to_have_count(0)
        await expect(entries.filter(has_text="logged-1").first).to_be_visible()


async def test_the_processes_of_the_cluster_are_listed(page: Tab) -> None:
    await page.open()
    await page.page.get_by_text("4 processes, all ready").click()
    roles = page.page.get_by_role("table", name="Processes").locator("[data-title=Role]")
    await expect(roles).to_have_text(["api", "fanout", "gateway", "writer"])
