"""deploy/server/README.md: its configurations of other reverse proxies do what it says of them."""

import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from deploy.local.reverse_proxy import caddy
from tests.deploy.compose import COMPOSE_FILE, load_compose
from tests.services import free_port
from tests.waiting import wait_until

README = COMPOSE_FILE.with_name("README.md")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)
NGINX = shutil.which("nginx") or (shutil.which("nginx", path="/usr/sbin"))
# Below which path each leads to us, in the order of the document.
PREFIXES = ["", "/timing"]


def configurations(kind: str) -> list[str]:
    found = [text for language, text in BLOCKS if language == kind]
    assert len(found) == len(PREFIXES)
    return found


def test_its_commands_are_about_services_that_there_are() -> None:
    services = load_compose({"POSTGRES_PASSWORD": "p"})["services"].keys()
    named = re.findall(r"docker compose (?:logs --tail 100|restart|up -d|exec -T) (\w+)", README.read_text())
    assert set(named) == {"server", "api"} <= services


@pytest.fixture
async def upstream() -> AsyncIterator[str]:
    """What stands for `server`: says which path and host it was asked for."""

    async def answer(request: web.Request) -> web.Response:
        return web.json_response([request.path, request.headers["Host"]])

    async def talk(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str(request.path)
        return socket

    app = web.Application()
    app.router.add_get("/ws/v1/forwarders", talk)
    app.router.add_route("*", "/{any:.*}", answer)
    async with TestServer(app) as server:
        yield f"{server.host}:{server.port}"


async def leads_on(url: str, prefix: str, host: str) -> None:
    """See that what is asked for below a path arrives without it, with its host, WebSockets too."""
    headers = {"Host": host}
    async with AsyncExitStack() as stack:
        connector = aiohttp.TCPConnector(ssl=False)
        http = await stack.enter_async_context(aiohttp.ClientSession(connector=connector, headers=headers))

        async def answers() -> bool:
            try:
                async with http.get(f"{url}{prefix}/api/v1/streams") as answer:
                    return answer.status == 200
            except aiohttp.ClientError:
                return False

        await wait_until(answers, what="the reverse proxy")
        for path in ("/", "/api/v1/overview", "/static/main.js"):
            async with http.get(f"{url}{prefix}{path}") as answer:
                assert await answer.json() == [path, host]
        async with http.ws_connect(f"{url}{prefix}/ws/v1/forwarders") as socket:
            assert await socket.receive_str() == "/ws/v1/forwarders"


@pytest.mark.parametrize(("number", "prefix"), list(enumerate(PREFIXES)))
async def test_caddy_leads_to_us(number: int, prefix: str, upstream: str, tmp_path: Path) -> None:
    port = free_port()
    text = configurations("caddy")[number]
    site, _, rest = text.partition(" {\n")
    configuration = tmp_path / "Caddyfile"
    rest = rest.replace("127.0.0.1:8080", upstream)
    configuration.write_text(f"{{\n\tadmin off\n\tpersist_config off\n}}\nhttp://{site}:{port} {{\n{rest}")
    argv = [str(caddy()), "run", "--adapter", "caddyfile", "--config", str(configuration)]
    with subprocess.Popen(argv, stderr=subprocess.DEVNULL) as running:  # noqa: ASYNC220 - ends at once
        try:
            await leads_on(f"http://127.0.0.1:{port}", prefix, f"{site}:{port}")
        finally:
            running.terminate()


@pytest.mark.skipif(not NGINX, reason="nginx is not installed")
@pytest.mark.parametrize(("number", "prefix"), list(enumerate(PREFIXES)))
async def test_nginx_leads_to_us(number: int, prefix: str, upstream: str, tmp_path: Path) -> None:
    port = free_port()
    text = configurations("nginx")[number].replace("127.0.0.1:8080", upstream)
    text = re.sub(r"listen 443 ssl;", f"listen 127.0.0.1:{port};", text)
    text = re.sub(r"ssl_certificate.*;\n", "", text)
    configuration = tmp_path / "nginx.conf"
    paths = "".join(
        f"{each}_temp_path {tmp_path / each};\n"
        for each in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    configuration.write_text(
        f"daemon off; pid {tmp_path}/pid; error_log stderr;\nevents {{}}\nhttp {{\naccess_log off;\n{paths}{text}}}\n"
    )
    with subprocess.Popen([str(NGINX), "-c", str(configuration)]) as running:  # noqa: ASYNC220
        try:
            await leads_on(f"http://127.0.0.1:{port}", prefix, "timing.example.org")
        finally:
            running.terminate()
