"""The announcer's page for those who run it: chosen by point, switched on and off, and nobody's setting overwritten."""

import pytest
from playwright.async_api import Browser, Locator, expect

from shared.db.channels import RACES
from tests.api.seeds import add_stream
from tests.dashboard.browser import NARROW, Tab, tab, violations
from tests.dashboard.conftest import Stack
from tests.dashboard.halls import Hall
from tests.dashboard.test_commands import dialog, said

pytestmark = pytest.mark.asyncio(loop_scope="session")

_SELECTED = "SELECT array_agg(forwarder_id ORDER BY forwarder_id) FROM announcer_streams JOIN streams USING (stream_id)"


async def open_hall(page: Tab, stack: Stack) -> Hall:
    """Open the announcer's page over a race with a start and a finish of two mats, none of them announced."""
    hall = Hall(stack)
    await hall.begin()
    database = stack.database
    await database.execute("UPDATE announcer SET enabled = false, enabled_until = NULL")
    await database.execute("DELETE FROM announcer_streams")
    race_id = await database.fetchval("UPDATE races SET gun_at = now() RETURNING race_id")
    for name in ("second mat", "start"):
        await add_stream(database, name)
        await database.execute("INSERT INTO forwarder_races VALUES ($1, $2)", name, race_id)
    await add_stream(database, "elsewhere")
    await database.execute("INSERT INTO race_points VALUES ($1, 1, 'Start'), ($1, 2, 'Finish line')", race_id)
    await database.execute(
        "INSERT INTO point_streams SELECT $1, stream_id, CASE forwarder_id WHEN 'start' THEN 1 ELSE 2 END "
        "FROM streams WHERE forwarder_id <> 'elsewhere'",
        race_id,
    )
    await hall.notify(RACES)
    await page.open("announcer")
    return hall


def box(page: Tab, name: str) -> Locator:
    return page.page.get_by_role("checkbox", name=name, exact=True)


def listed(page: Tab) -> Locator:
    return page.page.get_by_role("table", name="Who has come in").locator(".body .row")


async def press(page: Tab, name: str, confirm: str) -> None:
    await page.page.get_by_role("button", name=name, exact=True).click()
    await dialog(page).get_by_role("button", name=confirm, exact=True).click()
    await page.closed()


async def test_it_is_switched_on_for_a_point_and_the_list_follows_until_it_is_reset_and_switched_off(
    page: Tab, stack: Stack
) -> None:
    hall = await open_hall(page, stack)
    await expect(page.page.locator(".announcer-now .badge")).to_have_text("off")
    # Both mats at once; what stands at no point has a line of its own.
    await box(page, "Finish line").check()
    await expect(page.page.get_by_role("checkbox", name="Finish line: second mat")).to_be_checked()
    await expect(page.page.get_by_role("group", name="Streams of no race")).to_contain_text("elsewhere")
    await press(page, "Switch on…", "Switch on")
    await said(page, "The announcer is on.")
    assert await stack.database.fetchval(_SELECTED) == ["finish", "second mat"]
    await hall.come_in(1, 4)
    await expect(listed(page).locator("[data-title=Name]")).to_have_text(["Grace Doe", "Ada Doe"])
    await expect(listed(page).locator("[data-title=In]")).to_have_text(["2", "1"])
    facts = page.page.locator(".announcer-now")
    await expect(page.fact(facts, "Have come in")).to_have_text("2")
    await press(page, "Reset the list…", "Reset the list")
    await expect(listed(page)).to_have_count(0)
    await hall.come_in(5)
    await expect(listed(page).locator("[data-title=In]")).to_have_text(["1"])
    await press(page, "Switch off…", "Switch off")
    await expect(page.page.get_by_text("Nobody is announced at the moment.")).to_be_visible()
    assert not await stack.database.fetchval("SELECT enabled FROM announcer")


async def test_of_twin_mats_one_can_be_left_out_and_other_streams_are_asked_about(
    page: Tab, stack: Stack
) -> None:
    hall = await open_hall(page, stack)
    await box(page, "Finish line").check()
    await press(page, "Switch on…", "Switch on")
    await hall.come_in(1)
    await expect(listed(page)).to_have_count(1)
    await page.page.get_by_role("checkbox", name="Finish line: second mat").uncheck()
    await expect(box(page, "Finish line")).not_to_be_checked()
    assert await box(page, "Finish line").evaluate("(each) => each.indeterminate")
    await page.page.get_by_role("button", name="Save", exact=True).click()
    await expect(dialog(page)).to_contain_text("Who is on it is shown no more: 1 person.")
    await dialog(page).get_by_role("button", name="Save", exact=True).click()
    await page.closed()
    await expect(listed(page)).to_have_count(0)
    assert await stack.database.fetchval(_SELECTED) == ["finish"]


async def test_how_many_are_shown_is_saved_without_a_question_and_begins_nothing_anew(
    page: Tab, stack: Stack
) -> None:
    hall = await open_hall(page, stack)
    await box(page, "Finish line").check()
    await press(page, "Switch on…", "Switch on")
    await hall.come_in(1, 4, 5)
    await expect(listed(page)).to_have_count(3)
    await page.page.get_by_label("How many are shown, 1 to 500").fill("2")
    await page.page.get_by_role("button", name="Save", exact=True).click()
    await expect(listed(page).locator("[data-title=In]")).to_have_text(["3", "2"])


async def test_what_another_operator_has_set_meanwhile_is_said_and_not_overwritten(
    page: Tab, stack: Stack
) -> None:
    await open_hall(page, stack)
    start = box(page, "Start start · 10.0.0.1:10000")
    await start.check()
    others = page.page.get_by_text("Somebody else has set it meanwhile.")
    await expect(others).to_be_hidden()
    given = {"enabled": False, "max_list_size": 77, "selected_stream_ids": []}
    assert (await page.page.request.put(f"{stack.url}/api/v1/announcer/config", data=given)).ok
    await expect(others).to_be_visible()
    await expect(start).to_be_checked()
    await page.page.get_by_role("button", name="Save", exact=True).click()
    await expect(page.page.get_by_role("alert")).to_contain_text("somebody else has set the announcer")
    page.refused(409)
    await page.page.get_by_role("button", name="Show how it is set").click()
    await expect(start).not_to_be_checked()
    await expect(page.page.get_by_label("How many are shown, 1 to 500")).to_have_value("77")


async def test_without_a_stream_it_is_not_switched_on(page: Tab, stack: Stack) -> None:
    await open_hall(page, stack)
    await page.page.get_by_role("button", name="Switch on…").click()
    await dialog(page).get_by_role("button", name="Switch on", exact=True).click()
    await expect(dialog(page).get_by_role("alert")).to_have_text(
        "Choose where people come in: a point, or a stream."
    )


async def test_the_address_of_the_page_for_everybody_is_copied(page: Tab, stack: Stack) -> None:
    await open_hall(page, stack)
    await page.page.get_by_role("button", name="Copy").click()
    await expect(page.page.get_by_role("button", name="Copied")).to_be_visible()
    assert await page.page.evaluate("navigator.clipboard.readText()") == f"{stack.url}/announcer"
    opened = page.page.get_by_role("link", name="Open it")
    assert await opened.evaluate("(link) => link.href") == f"{stack.url}/announcer"


async def test_it_is_all_done_from_the_keyboard_on_a_phone(browser: Browser, stack: Stack) -> None:
    async with tab(browser, stack.url, size=NARROW, theme="dark") as page:
        hall = await open_hall(page, stack)
        await box(page, "Finish line").focus()
        await page.page.keyboard.press("Space")
        await page.page.get_by_role("button", name="Switch on…").focus()
        await page.page.keyboard.press("Enter")
        await expect(dialog(page)).to_be_visible()
        assert await violations(page.page) == []
        await page.page.keyboard.press("Enter")
        await page.closed()
        await hall.come_in(1, 3)
        await expect(listed(page)).to_have_count(2)
        assert await violations(page.page) == []
        assert page.errors == []
