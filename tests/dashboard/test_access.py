"""The dashboard where an API token is asked for: the browser's own prompt opens page, requests and event stream."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Error, expect

from tests.dashboard.browser import tab
from tests.dashboard.conftest import Stack, stack_of
from tests.lines import line
from tests.postgres import Postgresql

pytestmark = pytest.mark.asyncio(loop_scope="session")

PASSWORD = "geheim-ü-7-und-lang"
READER = "10.0.0.1:10000"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def locked(browser: Browser, cluster: Postgresql) -> AsyncIterator[Stack]:
    async with stack_of(cluster, API_TOKEN=PASSWORD) as stack:
        yield stack


async def test_with_the_token_as_password_the_page_is_live(browser: Browser, locked: Stack) -> None:
    async with (
        tab(browser, locked.url, password=PASSWORD) as page,
        locked.forwarder("a", READER) as forwarder,
    ):
        await page.open()
        forwarder.record(READER, line("0580000000A1"))
        await expect(page.fact(page.card(f"a · {READER}"), "Reads")).to_have_text("1")
        assert page.errors == []


async def test_without_the_token_there_is_no_page(browser: Browser, locked: Stack) -> None:
    async with tab(browser, locked.url) as page:
        # A Chromium that has windows has nobody to answer its prompt, and gives up; one without shows what it was told.
        try:
            answer = await page.page.goto(locked.url)
        except Error as error:
            assert "ERR_INVALID_AUTH_CREDENTIALS" in str(error)  # noqa: PT017 (one of two ways)
        else:
            assert answer is not None
            assert answer.status == 401
        await expect(page.page.locator("main, .verdict")).to_have_count(0)
