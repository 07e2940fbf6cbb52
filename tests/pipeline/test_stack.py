"""What a newcomer does: the stack from one command, a race through its reverse proxy, an end, and a second start."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg

from deploy.local.child import ends_with_parent
from shared.transport.tokens import token_hash
from tests.waiting import stretched, wait_until

RT_SERVER = [sys.executable, "-m", "deploy"]


@asynccontextmanager
async def up(data_dir: Path, *options: str) -> AsyncIterator[dict[str, Any]]:
    """Run `rt-server up` and yield its stack.json; it must end in order at the first signal."""
    child = await asyncio.create_subprocess_exec(
        *ends_with_parent(
            [*RT_SERVER, "up", "--data-dir", str(data_dir), "--bind", "127.0.0.1:0", *options], signal.SIGTERM
        ),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert child.stdout is not None
    try:
        async with asyncio.timeout(stretched(60)):
            while b"Ctrl-C" not in (line := await child.stdout.readline()):
                assert line, "the stack did not start"
        yield json.loads((data_dir / "stack.json").read_text())
    finally:
        child.send_signal(signal.SIGINT)
        rest, _ = await child.communicate()
    assert child.returncode == 0, rest.decode()


async def demo(url: str, *options: str) -> tuple[int, str]:
    """Hold a demo; return its exit code and what it said."""
    child = await asyncio.create_subprocess_exec(
        *RT_SERVER,
        "demo",
        "--url",
        url,
        *options,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await child.communicate()
    return child.returncode or 0, said.decode()


async def test_a_race_through_two_of_each_keeps_every_promise_and_outlives_a_restart(tmp_path: Path) -> None:
    several = ("--gateway", "2", "--writer", "2", "--fanout", "2", "--api", "2")
    async with up(tmp_path, *several) as stack:
        roles = [each["role"] for each in stack["processes"]]
        assert {role: roles.count(role) for role in ("gateway", "writer", "fanout", "api")} == {
            "gateway": 2,
            "writer": 2,
            "fanout": 2,
            "api": 2,
        }
        code, said = await demo(stack["reverse_proxy"], "--seconds", "4", "--rate", "150")
        assert code == 0, said
        assert "everything sent was stored once and delivered" in said
        assert "certificate: complete, " in said
    async with up(tmp_path) as stack:
        database = await asyncpg.connect(stack["database_url"])
        stored = await database.fetchval("SELECT count(*) FROM events")
        positions = await database.fetchval("SELECT sum(last_position) FROM streams")
        await database.close()
        assert stored == positions > 0
        async with (
            aiohttp.ClientSession() as http,
            http.get(stack["reverse_proxy"] + "/api/v1/streams") as answer,
        ):
            streams = (await answer.json())["streams"]
        assert len(streams) == 6
        assert not any(each["online"] for each in streams)


async def test_a_role_that_is_killed_is_started_again_and_stack_json_says_where(tmp_path: Path) -> None:
    async with up(tmp_path) as stack:
        gateway = next(each for each in stack["processes"] if each["role"] == "gateway")
        os.kill(gateway["pid"], signal.SIGKILL)

        def replaced() -> bool:
            now = json.loads((tmp_path / "stack.json").read_text())["processes"]
            return any(
                each["role"] == "gateway"
                and each["pid"] != gateway["pid"]
                and each["address"] == gateway["address"]
                for each in now
            )

        await wait_until(replaced, what="another gateway at the same address")
        code, said = await demo(stack["reverse_proxy"], "--seconds", "2", "--rate", "50")
        assert code == 0, said


async def test_a_second_stack_over_the_same_data_is_refused_in_one_line(tmp_path: Path) -> None:
    async with up(tmp_path):
        child = await asyncio.create_subprocess_exec(
            *RT_SERVER,
            "up",
            "--data-dir",
            str(tmp_path),
            "--bind",
            "127.0.0.1:0",
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        _, said = await child.communicate()
        assert child.returncode == 1
        assert "already running" in said.decode()
        assert len(said.decode().strip().splitlines()) == 1


async def test_a_printed_token_opens_the_proxy_for_its_device(
    database_url: str, database: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    child = await asyncio.create_subprocess_exec(
        *RT_SERVER,
        "token",
        "create",
        "--type",
        "forwarder",
        "--id",
        "start-line",
        "--database-url",
        database_url,
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await child.communicate()
    assert child.returncode == 0
    row = await database.fetchrow("SELECT device_type, device_id, token_hash FROM device_tokens")
    assert row is not None
    assert tuple(row) == ("forwarder", "start-line", token_hash(said.decode().strip()))


async def test_small_commands_tell_a_wrong_setting_in_one_line() -> None:
    for arguments in (["migrate"], ["token", "create", "--type", "forwarder", "--id", "x"]):
        child = await asyncio.create_subprocess_exec(
            *RT_SERVER, *arguments, env={"DATABASE_URL": "mysql://nope"}, stderr=asyncio.subprocess.PIPE
        )
        _, said = await child.communicate()
        assert child.returncode == 2
        assert said.decode().strip().splitlines() == [
            f"rt-server {arguments[0]}: DATABASE_URL is wrong: it must look like "
            "postgresql://user:password@host:5432/database"
        ]
