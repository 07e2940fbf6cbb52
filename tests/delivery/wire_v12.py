"""The socket of a receiver of the second generation, message by message: what a test sends goes out as it is."""

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from tests.delivery.wire import Cursor, Message, Wire, connect, cursors
from tests.waiting import PATIENCE_S

__all__ = ["PATH", "WireV12", "connect_v12", "live", "receiver_v12", "replay", "target"]

PATH = "/ws/v1.2/receivers"


def live(*streams: tuple[str, str], earliest: Mapping[tuple[str, str], int] = {}) -> Message:
    """Return the mode that follows these streams."""
    named = [{"forwarder_id": forwarder_id, "reader_ip": reader_ip} for forwarder_id, reader_ip in streams]
    epochs = [
        {"forwarder_id": forwarder_id, "reader_ip": reader_ip, "earliest_epoch": epoch}
        for (forwarder_id, reader_ip), epoch in earliest.items()
    ]
    return {"mode": "live", "streams": named, **({"earliest_epochs": epochs} if epochs else {})}


def target(stream: tuple[str, str], epoch: int, **from_seq: int | None) -> Message:
    """Return a target of a replay."""
    return {"forwarder_id": stream[0], "reader_ip": stream[1], "stream_epoch": epoch, **from_seq}


def replay(*targets: Message) -> Message:
    """Return the mode that has these sent once more."""
    return {"mode": "targeted_replay", "targets": list(targets)}


class WireV12(Wire):
    """An open socket. What comes beside batches and heartbeats is kept in `told`."""

    def __init__(self, wire: Wire) -> None:
        self.__dict__.update(wire.__dict__)
        self.told: list[Message] = []

    async def greet_v12(self, mode: Any, resume: Iterable[Cursor] = (), receiver_id: str = "") -> Message:
        """Say hello and return the heartbeat."""
        hello = {"kind": "receiver_hello_v12", "receiver_id": receiver_id, "mode": mode}
        await self.send({**hello, "resume": cursors(*resume)})
        heartbeat = await self.next()
        assert heartbeat is not None, self._socket.close_code
        assert heartbeat["kind"] == "heartbeat", heartbeat
        self.session_id = heartbeat["session_id"]
        return heartbeat

    async def until(self, kind: str, *, within_s: float | None = None) -> Message:
        """Return the next message of a kind; batches on the way are acked and kept."""
        while (message := await self.next(within_s=within_s)) is not None:
            if message["kind"] == kind:
                return message
            await self._keep(message)
        raise AssertionError(f"the socket ended with {self._socket.close_code} before a {kind}")

    async def _keep(self, message: Message) -> None:
        if message["kind"] == "receiver_event_batch":
            self.batches.append(message["events"])
            await self.ack_all(message["events"])
        elif message["kind"] != "heartbeat":
            self.told.append(message)

    async def applied(self, *, within_s: float | None = None) -> tuple[str, int, list[str]]:
        """Return how the mode was understood, as it comes next."""
        message = await self.until("receiver_mode_applied", within_s=within_s)
        return message["mode_summary"], message["resolved_stream_count"], message["warnings"]

    async def batch(self, *, within_s: float | None = None) -> list[Message]:
        """Return the events of the next batch."""
        while (message := await self.next(within_s=within_s)) is not None:
            if message["kind"] == "receiver_event_batch":
                assert message["session_id"] == self.session_id
                self.batches.append(message["events"])
                return self.batches[-1]
            await self._keep(message)
        raise AssertionError(f"the socket ended with {self._socket.close_code} before a batch")


@asynccontextmanager
async def connect_v12(
    url: str, token: str | None, *, patience_s: float = PATIENCE_S
) -> AsyncIterator[WireV12]:
    """Open a socket at the base `url`."""
    async with connect(url, token, patience_s=patience_s, path=PATH) as wire:
        yield WireV12(wire)


@asynccontextmanager
async def receiver_v12(
    url: str, token: str, mode: Any, *, resume: Iterable[Cursor] = ()
) -> AsyncIterator[WireV12]:
    """Open a socket and say hello."""
    async with connect_v12(url, token) as wire:
        await wire.greet_v12(mode, resume)
        yield wire
