"""A role's life: a start that says what is wrong, an end within its deadline."""

import asyncio
import os
import re
import signal
import socket
import sys
from pathlib import Path

import pytest

from shared.roles import ROLES
from tests.ports import free_port
from tests.services import Process, services
from tests.waiting import PATIENCE_S, stretched


async def run_to_the_end(role: str, **environment: str) -> tuple[int, str]:
    """Run a role that cannot start; return its exit code and what it said."""
    clean = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        role,
        env={**clean, "BIND_ADDR": f"127.0.0.1:{free_port()}", **environment},
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(stretched(20)):
        _, said = await child.communicate()
    assert child.returncode is not None
    return child.returncode, said.decode()


@pytest.mark.parametrize("role", ROLES)
async def test_wrong_settings_end_the_start_with_one_line_each(role: str) -> None:
    code, said = await run_to_the_end(role, LISTEN="perhaps", LOG_LEVEL="loud")
    assert code == 2
    lines = said.strip().splitlines()
    assert [line.split()[2] for line in lines] == ["DATABASE_URL", "LOG_LEVEL", "LISTEN"]


@pytest.mark.parametrize("role", ROLES)
async def test_a_database_that_is_not_there_ends_the_start_with_one_line(role: str) -> None:
    url = f"postgresql://user:hunter2@127.0.0.1:{free_port()}/rt"
    code, said = await run_to_the_end(role, DATABASE_URL=url)
    assert code == 1
    assert len(said.strip().splitlines()) == 1
    assert "cannot connect to 127.0.0.1" in said
    assert "hunter2" not in said


async def test_a_port_in_use_ends_the_start_with_one_line(database_url: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        code, said = await run_to_the_end("writer", DATABASE_URL=database_url, BIND_ADDR=address)
    assert code == 1
    assert "cannot serve on" in said
    assert "Traceback" not in said


async def test_twenty_processes_start_at_once_on_an_empty_database(empty_database_url: str) -> None:
    processes = [Process("writer", empty_database_url, {}) for _ in range(20)]
    try:
        for process in processes:
            await process.start()
        await asyncio.gather(*(process.ready(deadline_s=60) for process in processes))
    finally:
        for process in processes:
            process.signal(signal.SIGKILL)
        await asyncio.gather(*(process.ended() for process in processes))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_every_role_in_order(database_url: str, number: signal.Signals) -> None:
    async with services(database_url) as running:
        for process in running.all:
            process.signal(number)
        async with asyncio.timeout(PATIENCE_S):
            assert [await process.ended() for process in running.all] == [0, 0, 0]


async def test_a_role_may_open_as_many_sockets_as_its_limit_can_be_raised_to(database_url: str) -> None:
    child = await asyncio.create_subprocess_exec(
        *("prlimit", "--nofile=256:4096", "--", sys.executable, "-m", "writer"),
        env={**os.environ, "DATABASE_URL": database_url, "BIND_ADDR": f"127.0.0.1:{free_port()}"},
        stderr=asyncio.subprocess.PIPE,
    )
    assert child.stderr
    async with asyncio.timeout(PATIENCE_S):
        while b"started" not in (line := await child.stderr.readline()):
            assert line, "it ended"
    limits = Path(f"/proc/{child.pid}/limits").read_text()  # noqa: ASYNC240 - no disk's
    child.kill()
    await child.communicate()
    assert re.search(r"^Max open files +4096 +4096 ", limits, re.MULTILINE), limits
