"""The embedded Postgres keeps its data, its port and its password, whatever ended it."""

import asyncio
import os
import signal
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from deploy.local import StackError, postgres
from deploy.local.child import start_child
from deploy.local.postgres import EmbeddedPostgres, unprivileged, write_launchers
from shared.db.connections import connect
from tests.programs import AS_ROOT
from tests.waiting import stretched

STARTED_BY_ANOTHER = """
import asyncio, sys
from pathlib import Path
from deploy.local.postgres import EmbeddedPostgres

async def start() -> None:
    await EmbeddedPostgres(Path(sys.argv[1])).start()
    print("started", flush=True)
    await asyncio.Event().wait()

asyncio.run(start())
"""

# As a shell has them in which one works with a provider's database.
OF_OTHER_SERVERS = {
    "PGHOST": "db.example",
    "PGSSLMODE": "verify-full",
    "PGSSLROOTCERT": "system",
    "PGSSLNEGOTIATION": "direct",
    "PGTARGETSESSIONATTRS": "standby",
}


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(tmp_path)
    await server.start()
    yield server
    await server.stop()


async def execute(server: EmbeddedPostgres, statement: str) -> str:
    connection = await asyncpg.connect(server.url)
    try:
        return str(await connection.fetchval(statement))
    finally:
        await connection.close()


async def test_serves_a_utf8_database_with_fsync(server: EmbeddedPostgres) -> None:
    assert await execute(server, "SHOW fsync") == "on"
    assert await execute(server, "SHOW server_encoding") == "UTF8"


async def test_what_the_environment_asks_of_other_servers_is_not_asked_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in OF_OTHER_SERVERS.items():
        monkeypatch.setenv(name, value)
    server = EmbeddedPostgres(tmp_path)
    async with asyncio.timeout(stretched(60)):
        await server.start()
    try:
        connection = await connect(server.url, name="test")
        assert await connection.fetchval("SHOW ssl") == "off"
        await connection.close()
    finally:
        await server.stop()


async def test_keeps_data_and_port_across_an_orderly_restart(
    server: EmbeddedPostgres, tmp_path: Path
) -> None:
    await execute(server, "CREATE TABLE kept AS SELECT 7 AS n")
    await server.stop()
    again = EmbeddedPostgres(tmp_path)
    await again.start()
    try:
        assert await execute(again, "SELECT n FROM kept") == "7"
        assert again.url == server.url
    finally:
        await again.stop()


async def test_keeps_data_when_the_server_was_killed(server: EmbeddedPostgres) -> None:
    await execute(server, "CREATE TABLE kept AS SELECT 7 AS n")
    url, killed = server.url, server.pid
    os.kill(killed, signal.SIGKILL)
    await server.start()
    assert await execute(server, "SELECT n FROM kept") == "7"
    assert server.url == url
    assert server.pid != killed


async def test_starts_when_its_pid_file_names_a_living_stranger(
    server: EmbeddedPostgres, tmp_path: Path
) -> None:
    await server.stop()
    stranger = await start_child(unprivileged(["sleep", "60"]), log=tmp_path / "log", environment=os.environ)
    (tmp_path / "postgres" / "postmaster.pid").write_text(f"{stranger.pid}\n")
    try:
        await server.start()
        assert await execute(server, "SELECT 1") == "1"
    finally:
        await stranger.stop([signal.SIGKILL], within_s=5)


async def test_starts_after_its_parent_was_killed(tmp_path: Path) -> None:
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", STARTED_BY_ANOTHER, str(tmp_path), stdout=subprocess.PIPE
    )
    assert parent.stdout
    assert await parent.stdout.readline() == b"started\n"
    parent.kill()
    await parent.communicate()
    server = EmbeddedPostgres(tmp_path)
    await server.start()
    await server.stop()


async def test_refuses_a_second_server_over_the_same_data(
    server: EmbeddedPostgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "PATIENCE_S", 0.1)
    with pytest.raises(StackError, match=f"already running, pid {server.pid}$"):
        await EmbeddedPostgres(tmp_path).start()
    assert await execute(server, "SELECT 1") == "1"


async def test_lets_nobody_in_without_the_password(server: EmbeddedPostgres, tmp_path: Path) -> None:
    password = tmp_path / "postgres.password"
    assert stat.S_IMODE(password.stat().st_mode) == 0o600
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(server.url.replace(password.read_text().strip(), "guessed"))


async def test_begins_anew_when_making_the_cluster_was_interrupted(tmp_path: Path) -> None:
    (tmp_path / "postgres.new" / "base").mkdir(parents=True)
    (tmp_path / "postgres.password").write_text("of the one that never was\n")
    server = EmbeddedPostgres(tmp_path)
    await server.start()
    try:
        assert await execute(server, "SELECT 1") == "1"
    finally:
        await server.stop()


async def test_says_in_one_line_where_it_cannot_write() -> None:
    with pytest.raises(StackError, match=r"^cannot write to /proc/1/nowhere: [^\n]*$"):
        await EmbeddedPostgres(Path("/proc/1/nowhere")).start()


@pytest.mark.skipif(
    os.geteuid() != 0, reason=f"only root has directories closed to the server's user: {AS_ROOT}"
)
def test_finds_programs_below_a_directory_closed_to_its_user(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    program = closed / "program"
    program.touch(mode=0o755)
    # access(2) is how postgres and initdb look for each other.
    look = "import os, sys; print(os.access(sys.argv[1], os.X_OK), os.getuid() == 0)"
    argv = unprivileged([sys.executable, "-I", "-S", "-c", look, str(program)])
    assert subprocess.run(argv, capture_output=True, check=True).stdout == b"True False\n"


def test_launchers_make_a_cluster_for_whoever_runs_them(tmp_path: Path) -> None:
    _, initdb = write_launchers(tmp_path)
    cluster = tmp_path / "data"
    cluster.mkdir(mode=0o700)
    subprocess.run([initdb, "-D", cluster, "--no-sync"], check=True, capture_output=True)
    assert (cluster / "PG_VERSION").read_text() == "18\n"
