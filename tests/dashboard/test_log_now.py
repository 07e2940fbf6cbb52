"""What the page of the log says while nothing can be written: what processes say of themselves, above all entries."""

import pytest
from playwright.async_api import expect

from tests.dashboard.browser import Tab
from tests.dashboard.conftest import Stack

pytestmark = pytest.mark.asyncio(loop_scope="session")

FULL = "drain: the disk is full: could not extend file"
# A process that is not there any more, but still expected to be.
_SAYS = """
INSERT INTO processes (process_id, role, host, pid, address, version, holds_lock, ready, problem, lease_expires_at)
VALUES (gen_random_uuid(), 'writer', 'race-laptop', 1, '127.0.0.1:1', '0', false, false, $1, now() + interval '1 hour')
"""


async def test_what_a_process_says_stands_above_the_log_while_it_says_so(page: Tab, stack: Stack) -> None:
    await page.open("log")
    said = page.page.get_by_role("list", name="What processes say")
    await expect(page.page.get_by_role("heading", name="Log")).to_be_visible()
    await expect(said).to_be_hidden()
    # It must come with what is told, and in no entry.
    await page.live_only()
    await stack.database.execute(_SAYS, FULL)
    try:
        item = said.get_by_role("listitem")
        await expect(item).to_have_count(1)
        await expect(item).to_contain_text(FULL)
        await expect(item).to_contain_text("writer race-laptop, not ready")
        assert (
            await stack.database.fetchval(
                "SELECT count(*) FROM activity WHERE fields::text LIKE $1", "%disk%"
            )
            == 0
        )
        await stack.database.execute(
            "UPDATE processes SET problem = 'mended, nearly' WHERE host = 'race-laptop'"
        )
        await expect(item).to_contain_text("mended, nearly")
    finally:
        await stack.database.execute("DELETE FROM processes WHERE host = 'race-laptop'")
    await expect(said).to_be_hidden()
