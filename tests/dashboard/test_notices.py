"""The Log page says what people were told of alerts, what is tried and what was given up."""

import pytest
from playwright.async_api import expect

from tests.dashboard.browser import Tab
from tests.dashboard.conftest import Stack

pytestmark = pytest.mark.asyncio(loop_scope="session")

_ADD = """
INSERT INTO alert_notices (kind, state, title, ended_at, due_at, tries, reached, problem)
VALUES ('red', $1, $2, CASE WHEN $1 <> 'due' THEN now() END, now() + interval '1 hour', 3, $3, $4)
"""


async def test_what_was_sent_tried_and_given_up_is_said_in_a_line_and_in_rows(
    page: Tab, stack: Stack
) -> None:
    await page.open("log")
    summary = page.page.locator("summary", has_text="Told to people")
    await expect(summary).to_have_text("Told to people: nobody")
    await summary.click()
    await expect(
        page.page.get_by_text("Nobody is told of red alerts: ALERT_URLS is not set.")
    ).to_be_visible()
    for state, title, reached, problem in (
        ("sent", "ACT: Finish: not connected", ["ntfys 1"], None),
        ("due", "ACT: Start: its clock", ["ntfys 1"], "tgram 2: answers 500"),
        ("given_up", "ACT: Tent: behind", [], "tgram 2: answers 403"),
    ):
        await stack.database.execute(_ADD, state, title, reached, problem)
    # What no event tells of is asked for again whenever somebody comes here, and every ten seconds.
    await page.open("devices")
    await page.open("log")
    await expect(summary).to_have_text("Told to people: 1 given up, 1 being tried, 1 sent")
    await summary.click()
    rows = page.page.get_by_role("table", name="Notices").get_by_role("row")
    given_up = rows.filter(has_text="Tent")
    await expect(given_up).to_contain_text("given up")
    await expect(given_up).to_contain_text("tgram 2: answers 403 · 3 tries")
    await expect(rows.filter(has_text="Start")).to_contain_text("reached ntfys 1 · tgram 2: answers 500")
