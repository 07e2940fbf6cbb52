"""`rt-server up` shows what runs, stops in order at a signal, at once at the second, and errs in one line."""

import asyncio
import io
import os
import signal
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
from rich.console import Console

from deploy.local import up
from deploy.local.supervisor import Stack
from deploy.local.up import UpOptions, run_up
from tests.deploy.test_supervisor import is_running, role_program
from tests.waiting import stretched, wait_until


class Foreground:
    """A run of `up` with what it shows and what it keeps running."""

    def __init__(self, options: UpOptions) -> None:
        self.shown = io.StringIO()
        self.stacks: list[Stack] = []
        self.cancelled = False
        console = Console(file=self.shown, width=200)
        self.ended = asyncio.create_task(run_up(options, while_running=self._show, console=console))

    async def _show(self, stack: Stack) -> None:
        self.stacks.append(stack)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise

    async def until_running(self) -> Stack:
        await wait_until(lambda: self.stacks or self.ended.done(), what="the stack")
        assert self.stacks, self.shown.getvalue()
        return self.stacks[0]


@pytest.fixture
async def foreground(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Foreground]:
    command = role_program(tmp_path)
    monkeypatch.setattr(up, "Stack", partial(Stack, command=lambda role: [*command, role]))
    run = Foreground(UpOptions(data_dir=tmp_path / "stack", bind="127.0.0.1:0", gateway=2, fanout=0))
    yield run
    if not run.ended.done():
        run.ended.cancel()
        await asyncio.wait({run.ended})


async def test_shows_what_runs_and_stops_in_order_at_a_signal(foreground: Foreground, tmp_path: Path) -> None:
    stack = await foreground.until_running()
    shown = foreground.shown.getvalue()
    for member in stack.members:
        assert f" {member.pid} " in shown
        assert f" {member.address} " in shown
    assert " gateway 1 " in shown
    assert " writer " in shown
    assert stack.url in shown
    assert str(stack.logs) in shown
    os.kill(os.getpid(), signal.SIGTERM)
    assert await foreground.ended == 0
    assert foreground.cancelled
    assert (tmp_path / "ended").read_text().split()[-1] == "writer"
    assert foreground.shown.getvalue().endswith("stopped\n")


async def test_ends_everything_at_once_at_the_second_signal(foreground: Foreground, tmp_path: Path) -> None:
    (tmp_path / "stubborn").touch()
    stack = await foreground.until_running()
    pids = [member.pid for member in stack.members if member.pid]
    os.kill(os.getpid(), signal.SIGINT)
    await wait_until(lambda: "stopping" in foreground.shown.getvalue())
    os.kill(os.getpid(), signal.SIGINT)
    async with asyncio.timeout(stretched(5)):
        await foreground.ended
    assert not [pid for pid in pids if is_running(pid)]
    assert not (tmp_path / "ended").exists()


async def test_ends_with_one_line_when_it_cannot_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await run_up(UpOptions(data_dir=tmp_path, bind="nowhere")) == 1
    assert capsys.readouterr().err == ("rt-server up: the address to bind must be HOST:PORT, not 'nowhere'\n")


async def test_stops_while_it_is_still_starting(tmp_path: Path, foreground: Foreground) -> None:
    await wait_until((tmp_path / "stack" / "postgres.new").exists, what="the making of a cluster")
    os.kill(os.getpid(), signal.SIGTERM)
    assert await foreground.ended == 0
    assert not foreground.stacks
    assert not (tmp_path / "stack" / "stack.json").exists()
