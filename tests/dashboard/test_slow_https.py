"""The same phone as a deployment has it: by HTTPS, and asked for the API token.

All that passes is counted as it is on the link, encrypted, with the headers that HTTP/2 makes short.
"""

import re
import subprocess
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Route, expect

from deploy.local.child import until_answering
from deploy.local.reverse_proxy import ReverseProxy, caddy
from tests.dashboard.browser import NARROW, tab
from tests.dashboard.conftest import Stack, stack_of
from tests.dashboard.slow_link import named_by_page, seconds_over_tls, slow_link
from tests.dashboard.test_below_path import answering
from tests.ports import free_port
from tests.postgres import Postgresql

pytestmark = pytest.mark.asyncio(loop_scope="session")

PASSWORD = "a token of some length"
VERDICT_WITHIN_S = 3.0
HANDSHAKE_BYTES = 4_000

_STREAMS = """
INSERT INTO streams (forwarder_id, reader_ip, stream_epoch)
SELECT 'crowd', format('10.0.0.%s:10000', n), 1 FROM generate_series(1, 200) AS n
"""
# What a site has before everything: here it certifies itself, for this machine alone.
_SITE = """{
\tadmin off
\tpersist_config off
\tskip_install_trust
\tauto_https disable_redirects
}
https://localhost:%d {
\ttls internal
\treverse_proxy %s {
\t\tflush_interval -1
\t}
}
http://localhost:%d {
\trespond "ready"
}
"""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def locked(browser: Browser, cluster: Postgresql) -> AsyncIterator[Stack]:
    """Two hundred streams, and a token that is asked for."""
    async with stack_of(cluster, API_TOKEN=PASSWORD) as stack:
        await stack.database.execute(_STREAMS)
        yield stack


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def proxy(locked: Stack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ReverseProxy]:
    """The reverse proxy before the stack, which compresses."""
    upstreams = {"api": [locked.api.url.removeprefix("http://")]}
    proxy = ReverseProxy(
        "127.0.0.1:0", data_dir=tmp_path_factory.mktemp("proxy"), upstreams=lambda: upstreams
    )
    child = await proxy.launch()
    try:
        assert await until_answering(child, proxy.answers), child.last_lines(5)
        yield proxy
    finally:
        await child.stop(proxy.stop_signals, within_s=5)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def site(proxy: ReverseProxy, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[int]:
    """The port of a site with HTTPS before it."""
    port, ready = free_port(), free_port()
    place = tmp_path_factory.mktemp("site")
    (place / "Caddyfile").write_text(_SITE % (port, proxy.address, ready))
    environment = {"XDG_DATA_HOME": str(place), "XDG_CONFIG_HOME": str(place), "HOME": str(place)}
    argv = [str(caddy()), "run", "--adapter", "caddyfile", "--config", str(place / "Caddyfile")]
    with subprocess.Popen(argv, env=environment, stderr=subprocess.DEVNULL) as running:  # noqa: ASYNC220 - ends at once
        try:
            await answering(running, f"http://localhost:{ready}/")
            yield port
        finally:
            running.terminate()


async def test_by_https_and_with_a_sign_in_the_verdict_is_there_in_three_seconds(
    browser: Browser, proxy: ReverseProxy, site: int
) -> None:
    first, _, _ = await named_by_page(proxy.url, PASSWORD)

    async def hold_back(route: Route) -> None:
        path = urlsplit(route.request.url).path.removeprefix("/")
        if path == "" or (path in first and not path.endswith(".svg")):
            await route.continue_()

    async with slow_link(("127.0.0.1", site)) as link:
        url = link.url.replace("http://127.0.0.1", "https://localhost")
        async with tab(browser, url, size=NARROW, password=PASSWORD, trusting=True) as page:
            await page.page.route("**/*", hold_back)
            await page.page.goto(url)
            await expect(page.page.locator(".verdict[data-level] .word")).to_have_text(
                re.compile("ALL GOOD|WATCH|ACT")
            )
            await expect(page.page.locator(".verdict")).to_contain_text("200 streams")
            passed = [each.down for each in link.requests]
    # One connection for all: nothing waits until another is open.
    assert len([each for each in passed if each > HANDSHAKE_BYTES]) == 1, passed
    assert seconds_over_tls(sum(passed)) < VERDICT_WITHIN_S, passed
