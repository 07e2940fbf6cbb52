"""One receiver's sender at work, seen from its socket, without a session or a process."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast
from uuid import UUID, uuid4

import orjson

from fanout.node import Node
from fanout.session import Following
from shared.db.connections import Connection
from shared.protocol.v1 import AckEntry, StreamRef
from shared.transport.connection import DeviceConnection
from shared.transport.tokens import Identity
from tests.delivery import stored
from tests.waiting import wait_until

__all__ = ["Receiver", "Socket", "all_begun", "quiet", "running"]


class Socket:
    """A receiver's end: what it was sent, and whether it takes any more at the moment."""

    def __init__(self) -> None:
        self.session_id = uuid4()
        self.messages: list[list[dict[str, Any]]] = []
        self.bytes: list[int] = []
        self.takes = asyncio.Event()
        self.takes.set()
        self.on_pong: Callable[[bytes], object] = lambda _: None
        self.pings: list[bytes] = []
        self.answers_pings = True

    async def send(self, message: bytes) -> None:
        self.messages.append(orjson.loads(message)["events"])
        self.bytes.append(len(message))
        await self.takes.wait()

    async def ping(self, payload: bytes) -> None:
        self.pings.append(payload)
        if self.answers_pings:
            self.on_pong(payload)

    @property
    def events(self) -> list[dict[str, Any]]:
        return [event for message in self.messages for event in message]


class Receiver:
    """A sender under way, its socket and its node."""

    def __init__(self, node: Node, database: Connection, events_per_second: int | None = None) -> None:
        self.node = node
        self.socket = Socket()
        identity = Identity(uuid4(), "tent", frozenset({"tent"}), "tent", events_per_second)
        self.following = Following(cast("DeviceConnection", self.socket), identity, node)
        self.sender = self.following.sender
        self.streams: dict[StreamRef, UUID] = {}
        self._database = database

    async def stream(self, name: str, events: int = 0) -> StreamRef:
        """Make a stream with so many events and subscribe to it."""
        ref = StreamRef("start", name)
        self.streams[ref] = await stored.make_stream(self._database, "start", name)
        if events:
            await stored.store_many(self._database, self.streams[ref], events)
        self.following.subscribe(ref)
        await self.node.tails.look_up(list(self.streams))
        return ref

    async def commit(self, ref: StreamRef, *seqs: int, line: bytes = b"aa") -> None:
        """Store events, and let the tail read them."""
        await stored.store(self._database, self.streams[ref], [(1, seq, line) for seq in seqs])
        await self.node.tails.read()

    def ack(self, ref: StreamRef, last_seq: int) -> None:
        self.sender.ack([AckEntry(ref.forwarder_id, ref.reader_ip, 1, last_seq)])

    def got(self, ref: StreamRef) -> list[int]:
        return [event["seq"] for event in self.socket.events if event["reader_ip"] == ref.reader_ip]

    async def got_until(self, ref: StreamRef, last_seq: int) -> None:
        """Ack all that comes until `last_seq` of a stream has come."""

        def arrived() -> bool:
            for each in self.streams:
                if seqs := self.got(each):
                    self.ack(each, seqs[-1])
            return self.got(ref)[-1:] >= [last_seq]

        await wait_until(arrived, what=f"{last_seq} of {ref.reader_ip}")


@asynccontextmanager
async def running(
    node: Node, database: Connection, *, events_per_second: int | None = None
) -> AsyncIterator[Receiver]:
    receiver = Receiver(node, database, events_per_second)
    task = asyncio.ensure_future(receiver.sender.run())
    try:
        yield receiver
    finally:
        task.cancel()
        await asyncio.wait({task})
        receiver.following.turns.leave()
        node.tails.link.drop()


async def quiet(check: Callable[[], object]) -> None:
    """Give the sender every opportunity to do what it must not; a value that changes is a failure."""
    before = check()
    for _ in range(20):
        await asyncio.sleep(0.005)
    assert check() == before


async def all_begun(receiver: Receiver) -> None:
    await wait_until(lambda: all(each.stream_id for each in receiver.following.turns.subscriptions.values()))
