"""The stack starts whole, mends what dies, says what runs where, and leaves nothing behind."""

import asyncio
import json
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest

from deploy.local import StackError, child
from deploy.local.addresses import LOOPBACK
from deploy.local.supervisor import Stack
from tests.ports import free_port
from tests.waiting import wait_until

# A role in three sentences: answers everything, writes down its end, fails where it is told to.
ROLE = """
import http.server, os, pathlib, signal, sys
here, role = pathlib.Path(sys.argv[1]), sys.argv[2]
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"{role} {os.getpid()}".encode())
    def log_message(self, *_):
        pass
def end(*_):
    with open(here / "ended", "a") as ended:
        ended.write(f"{role}\\n")
    os._exit(0)
if (here / "stubborn").exists():
    end = signal.SIG_IGN
signal.signal(signal.SIGTERM, end)
if (here / "broken").exists() and (here / "broken").read_text() == role:
    print("beginning")
    sys.exit("DATABASE_URL: not a URL")
host, port = os.environ["BIND_ADDR"].split(":")
listen, mode = os.environ.get("LISTEN_DATABASE_URL"), os.environ.get("PGSSLMODE")
print(os.environ["DATABASE_URL"], os.environ.get("LOG_LEVEL"), "|", mode, listen)
http.server.HTTPServer((host, int(port)), Handler).serve_forever()
"""

STARTED_BY_ANOTHER = """
import asyncio, json, sys
from pathlib import Path
from deploy.local.supervisor import Stack

async def start(arguments) -> None:
    command = arguments.pop("command")
    stack = Stack(data_dir=Path(arguments.pop("data_dir")), command=lambda role: [*command, role], **arguments)
    await stack.start()
    print("started", flush=True)
    await asyncio.Event().wait()

asyncio.run(start(json.loads(sys.argv[1])))
"""

Make = Callable[..., Stack]


def role_program(directory: Path) -> list[str]:
    return [sys.executable, "-S", "-c", ROLE, str(directory)]


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
async def make(tmp_path: Path, database_url: str, said: list[str]) -> AsyncIterator[Make]:
    async with AsyncExitStack() as running:

        def make_stack(**changes: Any) -> Stack:
            settings: dict[str, Any] = {
                "data_dir": tmp_path / "stack",
                "bind": "127.0.0.1:0",
                "counts": {"gateway": 1, "api": 1},
                "database_url": database_url,
                "say": said.append,
                "command": lambda role: [*role_program(tmp_path), role],
            }
            stack = Stack(**(settings | changes))
            running.push_async_callback(stack.stop)
            return stack

        yield make_stack


def description(directory: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((directory / "stack" / "stack.json").read_text())
    return found


def state(pid: int) -> str:
    """Return the letter of a process' state: T when stopped, Z when ended and not yet asked about or gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "Z"


def is_running(pid: int) -> bool:
    return state(pid) != "Z"


async def test_tells_in_stack_json_what_runs_where(make: Make, tmp_path: Path, database_url: str) -> None:
    stack = make(counts={"gateway": 2, "writer": 1, "fanout": 1, "api": 1})
    await stack.start()
    written = description(tmp_path)
    assert written["database_url"] == database_url
    assert written["reverse_proxy"] == stack.url
    roles = [(process["role"], process["index"]) for process in written["processes"]]
    assert sorted(roles) == sorted(
        [("gateway", 0), ("gateway", 1), ("writer", 0), ("fanout", 0), ("api", 0), ("reverse_proxy", 0)]
    )
    assert stat.S_IMODE((tmp_path / "stack" / "stack.json").stat().st_mode) == 0o600
    async with aiohttp.ClientSession() as http:
        for process in written["processes"]:
            if process["role"] != "reverse_proxy":
                async with http.get(f"http://{process['address']}/") as answer:
                    assert await answer.text() == f"{process['role']} {process['pid']}"
        async with http.get(f"{stack.url}/api/v1/streams") as answer:
            assert await answer.text() == f"api {stack.member('api').pid}"


async def test_gives_a_role_its_settings_and_its_own_log(make: Make, database_url: str) -> None:
    stack = make(environment={"LOG_LEVEL": "trace"})
    await stack.start()
    assert (stack.logs / "gateway-0.log").read_text() == f"{database_url} trace | None None\n"


async def test_roles_over_our_own_postgres_hear_nothing_of_other_servers(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGSSLMODE", "allow")
    monkeypatch.setenv("LISTEN_DATABASE_URL", "postgresql://db.example/rt")
    stack = make(database_url=None)
    await stack.start()
    said = (stack.logs / "gateway-0.log").read_text()
    assert said == f"{stack.database_url} None | None None\n"
    given = make(data_dir=stack.logs.parent.with_name("given"))
    await given.start()
    assert (given.logs / "gateway-0.log").read_text().endswith("| allow postgresql://db.example/rt\n")


async def test_starts_a_killed_process_again_at_its_address(
    make: Make, tmp_path: Path, said: list[str]
) -> None:
    stack = make()
    await stack.start()
    before = stack.member("gateway")
    assert before.pid
    os.kill(before.pid, signal.SIGKILL)
    await wait_until(lambda: stack.member("gateway").restarts and stack.member("gateway").ready)
    after = stack.member("gateway")
    assert after.pid != before.pid
    assert after.address == before.address
    assert said[0] == "gateway 0 ended: killed by signal 9; starting it again in 0.1 s"
    assert {"role": "gateway", "index": 0, "pid": after.pid, "address": after.address} in description(
        tmp_path
    )["processes"]


async def test_starts_a_killed_reverse_proxy_again(make: Make) -> None:
    stack = make()
    await stack.start()
    pid = stack.member("reverse_proxy").pid
    assert pid
    os.kill(pid, signal.SIGKILL)
    await wait_until(lambda: stack.member("reverse_proxy").restarts and stack.member("reverse_proxy").ready)
    async with aiohttp.ClientSession() as http, http.get(f"{stack.url}/") as answer:
        assert answer.status == 200


async def test_leaves_a_killed_process_dead_until_told_when_it_may_not_restart(
    make: Make, tmp_path: Path, said: list[str]
) -> None:
    stack = make(restart=False)
    await stack.start()
    pid = stack.member("gateway").pid
    assert pid
    os.kill(pid, signal.SIGKILL)
    await wait_until(lambda: said)
    assert said == ["gateway 0 ended: killed by signal 9"]
    assert stack.member("gateway").pid is None
    assert "gateway" not in [process["role"] for process in description(tmp_path)["processes"]]
    await stack.start_member("gateway", 0)
    assert stack.member("gateway").ready
    assert stack.member("gateway").pid != pid


async def test_stops_in_the_order_of_who_needs_whom_and_leaves_nothing(make: Make, tmp_path: Path) -> None:
    stack = make(counts={"writer": 1, "gateway": 1, "fanout": 1, "api": 1}, database_url=None)
    await stack.start()
    pids = [member.pid for member in stack.members]
    await stack.stop()
    ended = (tmp_path / "ended").read_text().split()
    assert sorted(ended[:3]) == ["api", "fanout", "gateway"]
    assert ended[3:] == ["writer"]
    assert len(pids) == 6
    assert not [pid for pid in pids if pid and is_running(pid)]
    assert not (tmp_path / "stack" / "stack.json").exists()
    log = (stack.logs / "postgres.log").read_text()
    assert "received fast shutdown request" in log
    assert log.rstrip().endswith("database system is shut down")
    await stack.stop()  # nothing left to do


async def test_goes_on_with_the_same_data_after_postgres_crashed(make: Make) -> None:
    stack = make(counts={"gateway": 1}, database_url=None, restart=False)
    await stack.start()
    connection = await asyncpg.connect(stack.database_url)
    await connection.execute("CREATE TABLE kept AS SELECT 7 AS n")
    before = stack.member("postgres").pid
    await stack.restart_postgres("immediate")
    connection.terminate()
    assert stack.member("postgres").pid != before
    connection = await asyncpg.connect(stack.database_url)
    assert await connection.fetchval("SELECT n FROM kept") == 7
    assert "received immediate shutdown request" in (stack.logs / "postgres.log").read_text()
    await connection.close()


async def test_leaves_no_process_when_it_is_killed(make: Make, tmp_path: Path) -> None:
    arguments = {
        "data_dir": str(tmp_path / "stack"),
        "bind": "127.0.0.1:0",
        "counts": {"gateway": 1, "writer": 1},
        "command": role_program(tmp_path),
    }
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", STARTED_BY_ANOTHER, json.dumps(arguments), stdout=subprocess.PIPE
    )
    assert parent.stdout
    assert await parent.stdout.readline() == b"started\n"
    pids = [process["pid"] for process in description(tmp_path)["processes"]]
    assert len(pids) == 4
    parent.kill()
    await parent.communicate()
    await wait_until(lambda: not [pid for pid in pids if is_running(pid)], what="the end of all processes")


async def test_says_why_a_role_does_not_start_and_leaves_nothing(make: Make, tmp_path: Path) -> None:
    (tmp_path / "broken").write_text("gateway")
    stack = make()
    with pytest.raises(
        StackError, match=r"^gateway 0 does not start: exit code 1: DATABASE_URL: not a URL\n  beginning$"
    ):
        await stack.start()
    assert not [member.pid for member in stack.members if member.pid]
    assert not (tmp_path / "stack" / "stack.json").exists()


async def test_refuses_a_data_directory_that_another_stack_uses(make: Make) -> None:
    stack = make(counts={"gateway": 1})
    await stack.start()
    second = make(counts={"gateway": 1})
    with pytest.raises(StackError, match=f"^already running, pid {os.getpid()} "):
        await second.start()
    await second.stop()
    assert stack.member("gateway").ready
    assert description(stack.logs.parent.parent)["reverse_proxy"] == stack.url


async def test_refuses_a_port_that_is_in_use_before_it_starts_anything(make: Make) -> None:
    with socket.create_server((LOOPBACK, 0)) as taken:
        address = f"{LOOPBACK}:{taken.getsockname()[1]}"
        stack = make(bind=address)
        with pytest.raises(StackError, match=f"^{address} is in use by another program"):
            await stack.start()
        assert not stack.logs.exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"database_url": f"postgresql://rt:secret@{LOOPBACK}:{free_port()}/rt"},
            f"cannot connect to {LOOPBACK}:",
        ),
        (
            {"database_url": "mysql://rt:secret@localhost/rt"},
            "cannot connect to the database: must look like postgresql://",
        ),
        ({"data_dir": Path("/proc/1/nowhere")}, "cannot write to /proc/1/nowhere: "),
    ],
)
async def test_says_in_one_line_what_keeps_it_from_starting(
    make: Make, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(StackError) as refusal:
        await make(**changes).start()
    assert str(refusal.value).startswith(message)
    assert "\n" not in str(refusal.value)
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize("bind", ["8080", "localhost", "localhost:http", "localhost:65536", ""])
def test_refuses_to_bind_to_what_is_no_address(make: Make, bind: str) -> None:
    with pytest.raises(StackError, match=r"^the address to bind must be HOST:PORT"):
        make(bind=bind)


async def test_bounds_a_log_while_its_process_writes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "LOG_LIMIT_BYTES", 1000)
    log, older = tmp_path / "log", tmp_path / "log.1"
    endless = ["sh", "-c", "while :; do echo y; done"]
    writer = await child.start_child(endless, log=log, environment=os.environ)
    try:
        await wait_until(lambda: log.exists() and log.stat().st_size > 1000)
        writer.send(signal.SIGSTOP)
        await wait_until(lambda: state(writer.pid) == "T")
        child.bound_log(log)
        assert log.stat().st_size < 1000 < older.stat().st_size
        writer.send(signal.SIGCONT)
        await wait_until(lambda: log.stat().st_size)
        with log.open("rb") as written:
            assert written.read(2) == b"y\n"  # and no gap before it
    finally:
        await writer.stop([signal.SIGKILL], within_s=5)


def test_operators_are_admitted_by_others_than_this_machine_with_a_token_only(tmp_path: Path) -> None:
    def closed(bind: str, **environment: str) -> bool:
        told = {"API_TOKEN": "", "API_OPEN": "", **environment}
        return Stack(data_dir=tmp_path, bind=bind, counts={"api": 1}, environment=told).is_closed

    assert not closed("127.0.0.1:0")
    assert closed("0.0.0.0:0")
    assert closed("[::]:0")
    assert not closed("0.0.0.0:0", API_TOKEN="sixteen letters.")
    assert not closed("0.0.0.0:0", API_OPEN="yes")
