"""The certificate of a race, as people see and print it: green only when complete, else each reason with a link."""

import json
import re
from pathlib import Path
from uuid import UUID

import pytest
from click.testing import CliRunner
from playwright.async_api import Route, expect

from deploy.cli.main import main
from tests.dashboard.browser import Tab
from tests.dashboard.conftest import Stack
from tests.dashboard.test_race_page import add_race
from tests.lines import line
from tests.waiting import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="session")

READER = "10.0.0.1:10000"
_EPOCH = "INSERT INTO epoch_races SELECT stream_id, 1, $1 FROM streams WHERE forwarder_id = 'finish'"
# As many as a large race has: twelve points with two mats each.
_MATS = """
WITH made AS (
    INSERT INTO streams (forwarder_id, reader_ip, forwarder_display_name, last_position)
    SELECT 'mat-' || n, '10.0.0.1:10000', 'Split ' || n, 0 FROM generate_series(1, 24) AS n RETURNING stream_id
),
mapped AS (INSERT INTO epoch_races SELECT stream_id, 1, $1 FROM made)
SELECT count(*) FROM made
"""


async def test_it_is_green_only_when_complete_and_a_reason_leads_to_where_it_is_mended(
    page: Tab, stack: Stack, tmp_path: Path
) -> None:
    race_id = await add_race(stack, "Half <b>marathon</b>")
    async with stack.forwarder("finish", READER) as forwarder:
        for n in range(1, 8):
            forwarder.record(READER, line(f"0580000000A{n}"))
        await forwarder.drained()
        await stack.database.execute(_EPOCH, UUID(race_id))
        async with stack.receiver("tent", ("finish", READER)) as receiver:
            await receiver.wait_for(7)
            acked = "SELECT count(*) = 1 FROM receiver_cursors WHERE event_count = 7"
            await wait_until(lambda: stack.database.fetchval(acked), what="the ack of all reads")
            await page.open(f"race/{race_id}")
            await page.page.get_by_role("link", name="Certificate", exact=True).click()
            sheet = page.page.locator(".sheet")
            verdict = sheet.locator(".badge")
            await expect(verdict).to_have_text("complete")
            await expect(verdict).to_have_attribute("data-level", "good")
            await expect(sheet).to_contain_text("7 of 7 reads")
            await expect(sheet.get_by_role("row").last).to_contain_text(re.compile("finish.*7 of 7.*all 1"))
            # What is saved is the very answer, which can be verified.
            async with page.page.expect_download() as saved:
                await page.page.get_by_role("link", name="Save the file").click()
            await (await saved.value).save_as(tmp_path / "saved.json")
            key = json.loads((tmp_path / "saved.json").read_bytes())["signature"]["key"]
            await expect(sheet).to_contain_text(f"rt-server certificate verify FILE --key {key} --export")
            given = [str(tmp_path / "saved.json"), "--complete", "--key", key]
            done = CliRunner().invoke(main, ["certificate", "verify", *given])
            assert done.exit_code == 0, done.output

            await stack.database.execute("DELETE FROM events WHERE seq = 4")
            await page.page.get_by_role("button", name="Certify again").click()
            await expect(verdict).to_have_text("incomplete")
            await expect(verdict).to_have_attribute("data-level", "act")
            reason = sheet.get_by_role("link", name=re.compile("1 read was deleted .*: 4."))
            await expect(reason).to_have_attribute("href", f"#/stream/{await stack.stream_id('finish')}")


async def test_on_paper_it_is_one_sheet_also_of_a_large_race(page: Tab, stack: Stack) -> None:
    race_id = await add_race(stack, "Marathon")
    assert await stack.database.fetchval(_MATS, UUID(race_id)) == 24
    await page.open(f"certificate/{race_id}")
    await expect(page.page.locator(".sheet tbody tr")).to_have_count(24)
    await expect(page.page.locator(".sheet-reasons li")).to_have_count(13)
    await expect(page.page.locator(".sheet-reasons li").last).to_have_text("12 more reasons, in the file.")
    # The styles are the page's own: without them it would be more than a sheet.
    printed = await page.page.pdf(format="A4", prefer_css_page_size=True)
    assert len(re.findall(rb"/Type\s*/Page\b", printed)) == 1
    await page.page.emulate_media(media="print")
    for gone in ("nav", ".no-print"):
        await expect(page.page.locator(gone).first).to_be_hidden()


async def test_a_race_that_is_gone_has_none(page: Tab, stack: Stack) -> None:
    await page.open("certificate/00000000-0000-0000-0000-000000000000")
    await expect(page.page.get_by_text("There is no such race.")).to_be_visible()
    page.refused(404)


async def test_while_digests_are_made_the_page_says_how_far_that_is_and_asks_again(
    page: Tab, stack: Stack
) -> None:
    race_id = await add_race(stack, "10 km")
    said = {"code": "UNAVAILABLE", "message": "digests of 5 of 9 blocks are made; ask again for the rest"}
    await page.page.route(
        "**/api/v1/certificate?*", lambda route: route.fulfill(status=503, json=said), times=1
    )
    await page.open(f"certificate/{race_id}")
    await expect(page.page.get_by_role("alert")).to_contain_text("digests of 5 of 9 blocks are made")
    await expect(page.page.locator(".sheet h1")).to_have_text("10 km")
    await expect(page.page.get_by_role("alert")).to_have_count(0)
    page.refused(503)


async def test_what_is_refused_for_what_it_is_is_not_asked_for_again_by_itself(
    page: Tab, stack: Stack
) -> None:
    race_id = await add_race(stack, "10 km")
    asked = []

    async def refuse(route: Route) -> None:
        asked.append(route.request.url)
        await route.fulfill(status=400, json={"code": "BAD_REQUEST", "message": "more than 20,000 blocks"})

    await page.page.route("**/api/v1/certificate?*", refuse)
    await page.open(f"certificate/{race_id}")
    await expect(page.page.get_by_role("alert")).to_contain_text("more than 20,000 blocks")
    # Longer than it takes until what may pass is asked for again.
    await page.page.wait_for_timeout(3_500)
    assert len(asked) == 1
    page.refused(400)


async def test_what_nobody_can_know_beside_forwarders_stands_on_the_sheet(page: Tab, stack: Stack) -> None:
    race_id = await add_race(stack, "10 km")
    await stack.database.execute("INSERT INTO race_points VALUES ($1, 1, 'Start')", UUID(race_id))
    await page.open(f"certificate/{race_id}")
    told = page.page.get_by_role("region", name="What nobody here can know").get_by_role("listitem")
    await expect(told).to_have_text(
        [re.compile("anybody came by Start: no stream"), re.compile("deleted as a whole")]
    )
