"""`rt-server up`: the local stack in the foreground, for a person at a terminal.

It shows what runs where, stops everything in order at the first signal and at once at the second, and tells
in one line what keeps the stack from running. How the stack runs is the supervisor's.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGINT, SIGTERM
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from api.http.access import CLOSED
from deploy.local import StackError
from deploy.local.description import default_data_dir
from deploy.local.supervisor import REVERSE_PROXY, Stack

__all__ = ["UpOptions", "run_up"]

_SIGNALS = (SIGINT, SIGTERM)


@dataclass(frozen=True)
class UpOptions:
    """What to run; without `database_url`, over an embedded Postgres in `data_dir`."""

    data_dir: Path = field(default_factory=default_data_dir)
    bind: str = "127.0.0.1:8080"
    gateway: int = 1
    writer: int = 1
    fanout: int = 1
    api: int = 1
    database_url: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def counts(self) -> dict[str, int]:
        """How many processes of each role."""
        return {"gateway": self.gateway, "writer": self.writer, "fanout": self.fanout, "api": self.api}


Show = Callable[[Stack], Coroutine[Any, Any, None]]


async def run_up(
    options: UpOptions, *, while_running: Show | None = None, console: Console | None = None
) -> int:
    """Run the stack until SIGINT or SIGTERM; return the exit code: 0, or 1 with a line of error.

    `while_running` is awaited once everything answers and cancelled when the stack is to stop. What it shows
    live belongs on the same `console`, where the stack says what happens to its processes.
    """
    console = console or Console(soft_wrap=True)
    try:
        stack = Stack(
            data_dir=options.data_dir,
            bind=options.bind,
            counts=options.counts,
            database_url=options.database_url,
            environment=options.environment,
            say=_plain(console),
        )
        await _run_until_signal(stack, while_running, console)
    except (StackError, OSError) as error:
        _plain(Console(stderr=True, soft_wrap=True))(f"rt-server up: {error}")
        return 1
    return 0


async def _run_until_signal(stack: Stack, show: Show | None, console: Console) -> None:
    loop = asyncio.get_running_loop()
    running = asyncio.create_task(_run(stack, show, console), name="stack")

    def on_signal() -> None:
        if running.cancelling() or running.done():
            stack.kill()
        elif running.cancel():
            console.print("stopping; Ctrl-C again to stop at once", style="dim")

    for signal in _SIGNALS:
        loop.add_signal_handler(signal, on_signal)
    try:
        with suppress(asyncio.CancelledError):
            await running
    finally:
        await stack.stop()
        for signal in _SIGNALS:
            loop.remove_signal_handler(signal)
    console.print("stopped", style="dim")


async def _run(stack: Stack, show: Show | None, console: Console) -> None:
    with console.status("starting"):
        await stack.start()
    console.print(_table(stack))
    _greet(stack, console)
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(stack.until_failed(), name="watch the stack")
            if show is not None:
                tasks.create_task(show(stack), name="show")
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None


def _greet(stack: Stack, console: Console) -> None:
    """Say what a person can do now, and how it ends."""
    say = _plain(console)
    console.print(f"page for operators   [bold]{stack.url}[/]", highlight=False)
    say(f"devices connect to   {stack.url}   each with a token: rt-server token create --help")
    say(f"logs                 {stack.logs}")
    if stack.is_closed:
        say(f"operators are not admitted: {CLOSED}")
    console.print("Ctrl-C stops everything; the data stays", style="dim")


def _table(stack: Stack) -> Table:
    table = Table("role", "pid", "address", box=box.SIMPLE_HEAD)
    several = {member.role for member in stack.members if member.index > 0}
    for member in stack.members:
        name = "reverse proxy" if member.role == REVERSE_PROXY else member.role
        if member.role in several:
            name += f" {member.index}"
        table.add_row(name, str(member.pid), member.address)
    return table


def _plain(console: Console) -> Callable[[str], None]:
    """Return how to say a line on `console` as it is: no part of it is markup."""
    return lambda line: console.print(Text(line))
