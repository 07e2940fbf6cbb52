"""The page below a path of a site that is there already, behind the reverse proxy that deploy/server/README.md has for
it: all that it asks for is asked for below that path.
"""

import asyncio
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Request, expect

from deploy.local.reverse_proxy import caddy
from tests.dashboard.browser import Tab, tab
from tests.dashboard.conftest import Stack
from tests.deploy.test_server_readme import configurations
from tests.lines import line
from tests.ports import free_port
from tests.waiting import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="session")

READER = "10.0.0.1:10000"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def below(module_stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """Where the page is reached, without the last slash."""
    site = f"http://127.0.0.1:{free_port()}"
    (text,) = (each for each in configurations("caddy") if "handle_path" in each)
    _, _, rest = text.partition(" {\n")
    rest = rest.replace("127.0.0.1:8080", module_stack.url.removeprefix("http://"))
    configuration = tmp_path_factory.mktemp("below") / "Caddyfile"
    configuration.write_text(f"{{\n\tadmin off\n\tpersist_config off\n}}\n{site} {{\n{rest}")
    argv = [str(caddy()), "run", "--adapter", "caddyfile", "--config", str(configuration)]
    with subprocess.Popen(argv, stderr=subprocess.DEVNULL) as running:  # noqa: ASYNC220 - ends at once
        try:
            await answering(running, f"{site}/timing/api/v1/version")
            yield f"{site}/timing"
        finally:
            running.terminate()


async def answering(proxy: "subprocess.Popen[bytes]", url: str) -> None:
    """Wait until a reverse proxy answers; AssertionError at once when it has ended."""
    async with aiohttp.ClientSession() as http:

        async def answers() -> bool:
            assert proxy.poll() is None, f"the reverse proxy has ended with {proxy.returncode}"
            try:
                async with http.get(url) as answer:
                    return answer.status == 200
            except aiohttp.ClientError:
                return False

        await wait_until(answers, what="the reverse proxy")


async def test_below_a_path_everything_works_and_nothing_is_asked_for_beside_it(
    browser: Browser, stack: Stack, below: str
) -> None:
    asked: list[str] = []

    def note(request: Request) -> None:
        asked.append(request.url)

    async with stack.forwarder("finish", READER) as forwarder, tab(browser, below) as page:
        page.page.on("request", note)
        forwarder.record(READER, line("0580000000A1"))
        await forwarder.drained()
        await page.open()
        reads = page.fact(page.card(f"finish · {READER}"), "Reads")
        await expect(reads).to_have_text("1")
        await page.live_only()
        forwarder.record(READER, line("0580000000A2"))
        await expect(reads).to_have_text("2")
        await exported(page, stack)
        for place, heading in (("devices", "Forwarders"), ("conflicts", "Conflicts"), ("log", "Log")):
            await page.page.get_by_role("navigation").get_by_role("link", name=place).click()
            await expect(page.page.get_by_role("heading", name=heading).first).to_be_visible()
        await page.open("chip/0580000000a1")
        await page.page.get_by_role("button", name="Make a link…").click()
        await page.page.get_by_role("button", name="Make it").click()
        await page.page.goto(await page.page.get_by_role("textbox", name="Link").input_value())
        await expect(page.page.get_by_role("heading", level=1)).to_have_text("Chip 0580000000a1")
        assert page.errors == []
    assert any("/api/v1/events" in each for each in asked)
    assert [each for each in asked if not each.startswith(f"{below}/")] == []


async def exported(page: Tab, stack: Stack) -> None:
    """Follow each link to an export of the stream, and see that the reads are in what is loaded."""
    await page.open(f"stream/{await stack.stream_id('finish')}")
    links = page.page.locator("a[href*=export]")
    await expect(links.first).to_be_visible()
    for link in await links.all():
        async with page.page.expect_download() as loading:
            await link.click()
        loaded = Path(await (await loading.value).path())
        lines = (await asyncio.to_thread(loaded.read_text)).lower()
        assert all(chip in lines for chip in ("0580000000a1", "0580000000a2")), await link.get_attribute(
            "href"
        )
