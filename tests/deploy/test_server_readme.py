"""deploy/server/README.md: its commands are typed as they stand, and its configurations of other reverse proxies do
what it says of them.
"""

import os
import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NamedTuple

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from deploy.local.reverse_proxy import caddy
from tests.deploy.compose import COMPOSE_FILE, load_compose, read_env
from tests.deploy.pages import table
from tests.programs import find, needs
from tests.services import free_port
from tests.waiting import wait_until

README = COMPOSE_FILE.with_name("README.md")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)
# Below which path each leads to us, in the order of the document.
PREFIXES = ["", "/timing"]


def configurations(kind: str) -> list[str]:
    found = [text for language, text in BLOCKS if language == kind]
    assert len(found) == len(PREFIXES)
    return found


# --- its commands ----------------------------------------------------------------------------------------

# What compose has of each subcommand (docs.docker.com, 2.24): its options, and those that take a value.
FLAGS = {
    "down": {"-v", "--volumes", "--remove-orphans", "--dry-run"},
    "exec": {"-T", "--no-TTY", "-d", "--detach", "--privileged", "--dry-run"},
    "logs": {"-f", "--follow", "-t", "--timestamps", "--no-color", "--no-log-prefix", "--dry-run"},
    "ps": {"-a", "--all", "-q", "--quiet", "--services", "--no-trunc", "--orphans", "--dry-run"},
    "pull": {"-q", "--quiet", "--ignore-buildable", "--ignore-pull-failures", "--include-deps", "--dry-run"},
    "restart": {"--no-deps", "--dry-run"},
    "up": {
        "-d",
        "--detach",
        "--build",
        "--no-build",
        "--no-deps",
        "--force-recreate",
        "--no-recreate",
        "--wait",
    },
}
VALUES = {
    "exec": {"-e", "--env", "-u", "--user", "-w", "--workdir", "--index"},
    "logs": {"-n", "--tail", "--since", "--until"},
    "restart": {"-t", "--timeout"},
    "up": {"--scale", "--pull", "-t", "--timeout"},
}
TOP = COMPOSE_FILE.parents[2]
# Says how it was called, and what compose would know of its surroundings.
_STAND_IN = """#!/bin/bash
printf '%s\\t' "${0##*/}" "$COMPOSE_FILE" "$COMPOSE_ENV_FILES" "$@" >> "$LOG"
echo >> "$LOG"
"""


class Typed(NamedTuple):
    """What came of typing the page's commands: how programs were called, and `.env`."""

    calls: list[list[str]]
    env: str

    def of(self, program: str, subcommand: str) -> list[list[str]]:
        return [each[3:] for each in self.calls if each[0] == program and each[3:][:1] == [subcommand]]


@pytest.fixture(scope="module")
def typed(tmp_path_factory: pytest.TempPathFactory) -> Typed:
    """Type every command of the page, in its order, with stand-ins for docker and curl."""
    home = tmp_path_factory.mktemp("checkout")
    (home / "deploy" / "server").mkdir(parents=True)
    shutil.copy(COMPOSE_FILE.with_name(".env.example"), home / "deploy" / "server")
    for program in ("docker", "curl"):
        (home / program).write_text(_STAND_IN)
        (home / program).chmod(0o755)
    blocks = [text for language, text in BLOCKS if language == "sh"]
    prose = re.sub(r"^```.*?^```$", "", README.read_text(), flags=re.MULTILINE | re.DOTALL)
    inline = [each for each in re.findall(r"`([^`]+)`", prose) if each.split()[0] in {"docker", *FLAGS}]
    inline = [
        each if each.startswith("docker") else f"docker compose {each}" for each in inline if " " in each
    ]
    script = "\n".join(["set -eu", *blocks, *inline])
    environment = {"PATH": f"{home}:{os.defpath}", "LOG": str(home / "log"), "HOME": str(home)}
    subprocess.run(["bash", "-c", script], cwd=home, env=environment, check=True)
    calls = [line.split("\t")[:-1] for line in (home / "log").read_text().splitlines()]
    return Typed(calls, (home / "deploy" / "server" / ".env").read_text())


def services_of(subcommand: str, words: list[str]) -> list[str]:
    """Return the services that a subcommand is about; a flag that compose does not have is an AssertionError."""
    while words and words[0].startswith("-"):
        assert words[0] in FLAGS[subcommand] | VALUES.get(subcommand, set()), (subcommand, words)
        words = words[2 if words[0] in VALUES.get(subcommand, ()) else 1 :]
    return words[:1] if subcommand == "exec" else words


def test_its_commands_are_such_as_compose_has_and_about_services_that_there_are(typed: Typed) -> None:
    services = load_compose({"POSTGRES_PASSWORD": "p"})["services"].keys()
    about: dict[str, list[str]] = {}
    for _, file, env_file, *words in [each for each in typed.calls if each[3] == "compose"]:
        assert TOP / file == COMPOSE_FILE
        assert env_file == "deploy/server/.env"
        about.setdefault(words[1], []).extend(services_of(words[1], words[2:]))
    assert about.keys() == FLAGS.keys()
    assert {each for found in about.values() for each in found} <= services
    assert about["logs"] == ["server", "gateway", "writer", "fanout", "api"]
    assert (about["restart"], about["exec"]) == (["server"], ["api"])
    assert "server" in about["up"]


def test_what_is_asked_after_the_start_is_where_it_is_published(typed: Typed) -> None:
    (call,) = [each for each in typed.calls if each[0] == "curl"]
    port = load_compose({"POSTGRES_PASSWORD": "p"})["services"]["server"]["ports"][0].split(":")[1]
    assert call[-1] == f"http://localhost:{port}/readyz"


def test_who_else_reaches_loopback_with_an_older_engine_is_said_wherever_loopback_is_promised() -> None:
    """moby#45610: mended in 28."""
    _, least, _ = next(
        each for each in table(README.read_text(), "what", "at least") if each[0] == "Docker Engine"
    )
    assert re.match(
        r"28\. From 25 on .* where `API_TOKEN` is set, or nobody else is on .* network segment", least
    )
    for page in (README.with_name(".env.example"), README.parents[1] / "docs" / "security.md"):
        (said,) = re.findall(r"[^\n]*[Bb]efore Docker 28[^\n]*\n?[^\n]*", page.read_text())
        assert "segment" in said, page.name
        assert "API_TOKEN" in said, page.name


def test_what_is_built_and_pushed_is_what_the_server_pulls_and_starts(typed: Typed) -> None:
    ((*_, file, _, tag, context),) = [each for each in typed.of("docker", "build") if "--tag" in each]
    assert typed.of("docker", "push") == [["push", tag]]
    services = load_compose({**read_env(typed.env, {}), "POSTGRES_PASSWORD": "p"})["services"]
    assert {name for name, each in services.items() if each["image"] != tag} == {"postgres"}
    # The build that `up --build` makes is the same.
    (built,) = [each["build"] for each in services.values() if "build" in each]
    assert (COMPOSE_FILE.parent / built["context"]).resolve() == (TOP / context).resolve()
    assert built["dockerfile"] == file == str(Path("deploy", "Dockerfile"))
    assert (TOP / file).exists()
    ((*_, both_file, _, _, _, _),) = typed.of("docker", "buildx")
    assert both_file == file
    # Nothing is built after a pull.
    order = [each[4:] for each in typed.calls if each[3] == "compose" and each[4] in ("pull", "up")]
    assert order[order.index(["pull"]) + 1] == ["up", "-d", "--no-build"]


def test_what_it_sets_in_the_environment_file_is_there_to_be_set(typed: Typed) -> None:
    known = read_env(typed.env, {})
    (tls,) = [text for language, text in BLOCKS if language == "sh" and text.startswith("SITE_ADDRESS=")]
    told = read_env(tls, {})
    rows = re.findall(r"^\| (`[A-Z_]+[=`][^|]*) \|", README.read_text(), re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`([A-Z_]+)\b", row)}
    assert named >= {"PUBLISH", "API_TOKEN", "HTTP_PORT", "HTTPS_PORT"}
    assert named | told.keys() <= known.keys()
    server = load_compose({**known, **told, "POSTGRES_PASSWORD": "p"})["services"]["server"]
    assert server["ports"] == ["0.0.0.0:80:8080", "0.0.0.0:443:8443"]
    assert server["environment"]["SITE_ADDRESS"] == "timing.example.org"


# --- other reverse proxies --------------------------------------------------------------------------------


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


async def leads_on(proxy: "subprocess.Popen[bytes]", url: str, prefix: str, host: str) -> None:
    """See that what is asked for below a path arrives without it, with its host, WebSockets too."""
    headers = {"Host": host}
    async with AsyncExitStack() as stack:
        connector = aiohttp.TCPConnector(ssl=False)
        http = await stack.enter_async_context(aiohttp.ClientSession(connector=connector, headers=headers))

        async def answers() -> bool:
            assert proxy.poll() is None, f"the reverse proxy has ended with {proxy.returncode}"
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
            await leads_on(running, f"http://127.0.0.1:{port}", prefix, f"{site}:{port}")
        finally:
            running.terminate()


@needs("nginx")
@pytest.mark.parametrize(("number", "prefix"), list(enumerate(PREFIXES)))
async def test_nginx_leads_to_us(number: int, prefix: str, upstream: str, tmp_path: Path) -> None:
    port = free_port()
    text = configurations("nginx")[number].replace("127.0.0.1:8080", upstream)
    text = re.sub(r"listen 443 ssl http2;", f"listen 127.0.0.1:{port};", text)
    text = re.sub(r"ssl_certificate.*;\n", "", text)
    configuration = tmp_path / "nginx.conf"
    paths = "".join(
        f"{each}_temp_path {tmp_path / each};\n"
        for each in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    configuration.write_text(
        f"daemon off; pid {tmp_path}/pid; error_log stderr;\nevents {{}}\nhttp {{\naccess_log off;\n{paths}{text}}}\n"
    )
    with subprocess.Popen([*find("nginx"), "-c", str(configuration)]) as running:  # noqa: ASYNC220
        try:
            await leads_on(running, f"http://127.0.0.1:{port}", prefix, "timing.example.org")
        finally:
            running.terminate()
