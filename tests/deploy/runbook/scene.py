"""Who is there while the runbook is followed: a forwarder that sends all the time, a receiver, and the person."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias

import asyncpg

from deploy.simulation.devices.forwarder import Forwarder
from deploy.simulation.devices.journal import Journal
from deploy.simulation.devices.receiver import AT_ONCE, Receiver
from shared.protocol.ipico import compose
from tests.deploy.runbook.document import BLOCKS
from tests.deploy.runbook.terminal import Foreground, Terminal
from tests.waiting import stretched, wait_until

__all__ = ["CHECKS", "CURSORS", "OTHER", "STREAM", "Race", "Scene", "block", "documents"]

OTHER = "10.0.1.2:9999"
Identified: TypeAlias = tuple[int, int, str]

_LINES = """
SELECT events.stream_epoch, seq, raw_frame FROM events JOIN streams USING (stream_id)
WHERE forwarder_id = $1 AND reader_ip = $2 ORDER BY events.stream_epoch, seq
"""
STREAM = "SELECT stream_id FROM streams WHERE forwarder_id = $1 AND reader_ip = $2"
CURSORS = "SELECT count(*) FROM receiver_cursors WHERE receiver_id = $1"


class Race:
    """One forwarder with two readers, which sends all the time while `going`, and one receiver that follows both."""

    def __init__(self, url: str, forwarder_id: str, reader: str) -> None:
        self.url, self.forwarder_id, self.reader = url, forwarder_id, reader
        self.journal = Journal()
        self.going = asyncio.Event()
        self.recorded = 0
        self._running: dict[str, asyncio.Task[None]] = {}

    async def send_as(self, token: str) -> None:
        """Have the forwarder connect with a token; it goes on with its journal."""
        await self._end("forwarder")
        self.forwarder = Forwarder(
            url=self.url,
            token=token,
            device_id=self.forwarder_id,
            readers=[self.reader, OTHER],
            journal=self.journal,
            backoff_s=(0.1, 0.5),
        )
        self._running["forwarder"] = asyncio.create_task(self.forwarder.run(), name="forwarder")
        self._running["race"] = asyncio.create_task(self._go_on(), name="race")
        await self.forwarder.wait_connected()

    async def listen_as(self, token: str, resume: dict[tuple[str, str, int], int] | None = None) -> None:
        """Have the receiver connect, with nothing but what it resumes from."""
        await self._end("receiver")
        self.receiver = Receiver(
            url=self.url,
            token=token,
            streams=[(self.forwarder_id, reader) for reader in (self.reader, OTHER)],
            resume=resume,
            manners=AT_ONCE,
        )
        self._running["receiver"] = asyncio.create_task(self.receiver.run(), name="receiver")
        await self.receiver.wait_connected()

    async def goes_on(self, reads: int = 10) -> None:
        """Wait until so many more have been acked."""
        self.going.set()
        goal = self.forwarder.acked + reads
        await wait_until(lambda: self.forwarder.acked >= goal, deadline_s=40, what="acks")

    async def pause(self) -> None:
        """Send no more, and wait until everything is acked."""
        self.going.clear()
        async with asyncio.timeout(stretched(30)):
            await self.forwarder.drained()

    def sent(self, reader: str) -> list[Identified]:
        """Return everything that a reader said."""
        return [(each.stream_epoch, each.seq, each.raw_read_line) for each in self.journal.events(reader)]

    async def next_received(self) -> None:
        """Wait until what is recorded from now on, at either reader, reaches the receiver."""
        await self.goes_on()
        for reader in (self.reader, OTHER):
            await self._newest_received(reader)

    async def _newest_received(self, reader: str) -> None:
        epoch, seq, _ = self.sent(reader)[-1]
        events = self.receiver.events[self.forwarder_id, reader, epoch]
        await wait_until(
            lambda: any(each >= seq for each, _ in events),
            deadline_s=30,
            what=f"the newest reads of {reader} at the receiver",
        )

    async def close(self) -> None:
        """End both."""
        for name in list(self._running):
            await self._end(name)

    async def _end(self, name: str) -> None:
        task = self._running.pop(name, None)
        if name == "forwarder":
            await self._end("race")
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _go_on(self) -> None:
        """Say a line at each reader whenever what was said before is acked."""
        while True:
            await self.going.wait()
            self.recorded += 1
            tag = f"{self.recorded:012x}"
            line = compose(reader_id="00", tag_id=tag, read_at=datetime.now())  # noqa: DTZ005 - has no zone
            for reader in (self.reader, OTHER):
                self.forwarder.record(reader, line if self.recorded % 7 else f'odd, "{tag}" 🏁')
            await self.forwarder.drained()


@dataclass
class Scene:
    """Where the person sits, and what the checks remember from one block to the next."""

    environment: Mapping[str, str]
    terminal: Terminal
    stack: Foreground | None = None
    race: Race = field(init=False)
    tokens: dict[str, str] = field(default_factory=dict)
    backed_up: dict[str, int] = field(default_factory=dict)
    swapped_at: int = 0

    async def value(self, name: str) -> str:
        """Return a variable of the terminal."""
        return (await self.terminal.run(f'printf "%s" "${name}"')).strip()

    async def again(self, title: str) -> str:
        """Run a block once more, as its text tells the reader to."""
        return await self.terminal.run(BLOCKS[title].text)

    @property
    def described(self) -> dict[str, Any]:
        """What the stack says of itself."""
        found: dict[str, Any] = json.loads((Path(self.environment["DATA_DIR"]) / "stack.json").read_text())
        return found

    async def fetch(
        self, statement: str, *parameters: object, database: str = "rtserver"
    ) -> list[tuple[Any, ...]]:
        """Ask a database of the stack's Postgres."""
        url = self.described["database_url"].rpartition("/")[0] + f"/{database}"
        connection = await asyncpg.connect(url)
        try:
            return [tuple(row) for row in await connection.fetch(statement, *parameters)]
        finally:
            await connection.close()

    async def stored(self, reader: str, *, database: str = "rtserver") -> list[Identified]:
        """Return what is stored of a reader."""
        rows = await self.fetch(_LINES, self.race.forwarder_id, reader, database=database)
        return [(row[0], row[1], row[2].decode()) for row in rows]

    def saved(self, name: str) -> bytes:
        """Return a file that the runbook has saved."""
        return (Path(self.environment["SAVE_DIR"]) / name).read_bytes()


Check: TypeAlias = Callable[[Scene], AsyncGenerator[None, str]]
CHECKS: dict[str, Check] = {}


def block(title: str) -> Callable[[Check], Check]:
    """Register what comes before a block and, after its `yield`, what must be true of what it printed and did."""

    def register(check: Check) -> Check:
        assert CHECKS.setdefault(title, check) is check, f"two checks of {title!r}"
        return check

    return register


def documents(printed: str) -> list[Any]:
    """Return the JSON documents that were printed one after the other."""
    found, decoder, rest = [], json.JSONDecoder(), printed.strip()
    while rest:
        document, end = decoder.raw_decode(rest)
        found.append(document)
        rest = rest[end:].strip()
    return found
