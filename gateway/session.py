"""One connected forwarder, from its hello to its end (protocol.md, sections 2 and 4).

Three tasks: the first hears messages and hands batches to staging, the second acks them in their order, the
third keeps the connection alive. What is owed is bounded: a device that sends on without waiting for acks is
not read any further, and its own TCP connection holds it back.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from time import perf_counter
from typing import NamedTuple, TypeVar
from uuid import UUID

from gateway import metrics, store
from gateway.batch import Batch, split
from gateway.ownership import Ownership
from gateway.staging import Staging
from shared.channels import STREAMS
from shared.errors import DatabaseUnavailable, ProtocolError
from shared.log import get_logger
from shared.messages import (
    ForwarderEventBatch,
    ForwarderHello,
    decode_forwarder,
    encode_epoch_reset,
    encode_forwarder_ack,
    encode_heartbeat,
)
from shared.peer import Peer, check_id, count_unknown, greet
from shared.process import Process
from shared.tokens import Identity

__all__ = ["Session"]

# Field forwarders wait for each ack; newer ones may have a few batches under way.
MAX_OWED = 8
RETRY_S = 0.5
# 10,000 events take some 60 ms: others are heard in between.
SPLIT_AT_ONCE = 500
# How long a device waits to hear that we cannot store its batch: it comes back with the same one at once.
REFUSE_AFTER_S = 3.0

T = TypeVar("T")

log = get_logger(__name__)


class _Owed(NamedTuple):
    batch: Batch
    since: float


class Session:
    """What the gateway knows of one forwarder while it is connected."""

    def __init__(self, peer: Peer, *, process: Process, ownership: Ownership, staging: Staging) -> None:
        self._peer = peer
        self._process = process
        self._ownership = ownership
        self._staging = staging
        self._forwarder_id = ""
        self._fence = 0
        self._display_name: str | None = None
        self._streams: dict[str, UUID] = {}
        self._owed: asyncio.Queue[_Owed] = asyncio.Queue(MAX_OWED)
        self._reset: set[str] = set()  # readers that this session has commanded to a new epoch

    async def run(self, identity: Identity | None) -> None:
        """Live until the socket ends. Raises what `attend` tells the device: ProtocolError and others."""
        identity, hello = await greet(self._peer, identity, decode_forwarder, ForwarderHello)
        check_id(hello.forwarder_id, identity)
        self._fence = await self._ownership.claim(self._peer, identity, hello.display_name)
        self._forwarder_id = identity.device_id
        log.info(
            "forwarder_connected", forwarder_id=self._forwarder_id, session_id=str(self._peer.session_id)
        )
        try:
            await self._welcome(hello)
            async with asyncio.TaskGroup() as tasks:
                side = [
                    tasks.create_task(self._acknowledge(), name="acks"),
                    tasks.create_task(self._peer.stay_alive(self._forwarder_id), name="alive"),
                ]
                await self._hear(identity)
                for task in side:
                    task.cancel()
        finally:
            log.info("forwarder_gone", forwarder_id=self._forwarder_id, session_id=str(self._peer.session_id))
            await self._ownership.release(self._peer, self._forwarder_id)

    async def _hear(self, identity: Identity) -> None:
        while (message := await self._peer.receive()) is not None:
            decoded = decode_forwarder(message)
            if isinstance(decoded, ForwarderEventBatch):
                await self._take(decoded, len(message))
            elif isinstance(decoded, ForwarderHello):
                check_id(decoded.forwarder_id, identity)
                await self._patiently(lambda hello=decoded: self._welcome(hello))  # type: ignore[misc]
            elif not count_unknown(decoded):
                log.info("answer_without_a_question", forwarder_id=self._forwarder_id)

    async def _welcome(self, hello: ForwarderHello) -> None:
        """Take over the readers and the name of a hello, and answer it."""
        self._display_name = hello.display_name
        await self._register(hello.reader_ips)
        await store.rename_forwarder(self._process.pool, self._forwarder_id, hello.display_name)
        self._process.bell.ring(STREAMS)
        await self._peer.send(encode_heartbeat(self._peer.session_id, self._forwarder_id))

    async def _register(self, reader_ips: list[str]) -> None:
        self._streams.update(
            await store.register_streams(
                self._process.pool, self._forwarder_id, reader_ips, self._display_name
            )
        )

    async def _take(self, message: ForwarderEventBatch, size: int) -> None:
        """Hand a batch to staging and note that its ack is owed."""
        unknown = {event.reader_ip for event in message.events} - self._streams.keys()
        if unknown:
            await self._patiently(lambda: self._register(sorted(unknown)))
            self._process.bell.ring(STREAMS)
        batch = Batch(
            forwarder_id=self._forwarder_id,
            session_id=self._peer.session_id,
            fence=self._fence,
            display_name=self._display_name,
            streams=self._streams,
            batch_id=message.batch_id,
            received_at=datetime.now(UTC),
            size=size,
            outcome=asyncio.get_running_loop().create_future(),
        )
        since = perf_counter()
        for start in range(0, len(message.events), SPLIT_AT_ONCE):
            split(batch, message.events[start : start + SPLIT_AT_ONCE])
            await asyncio.sleep(0)
        metrics.EVENTS_IN.inc(len(message.events))
        self._staging.submit(batch)
        await self._owed.put(_Owed(batch, since))

    async def _acknowledge(self) -> None:
        """Ack batch after batch in the order in which they came, each once it is stored."""
        while True:
            batch, since = await self._owed.get()
            conflicts = await self._outcome(batch)
            await self._peer.send(encode_forwarder_ack(self._peer.session_id, batch.ack()))
            metrics.ACKED.inc(batch.event_count)
            metrics.ACK_SECONDS.observe(perf_counter() - since)
            if conflicts:
                metrics.CONFLICTS.inc()
            for reader_ip in conflicts - self._reset:
                await self._patiently(lambda reader_ip=reader_ip: self._reset_epoch(reader_ip))  # type: ignore[misc]

    async def _outcome(self, batch: Batch) -> set[str]:
        try:
            return await batch.outcome
        except ProtocolError as refusal:
            if refusal.code == "INTERNAL_ERROR":
                await asyncio.sleep(REFUSE_AFTER_S)
            raise

    async def _reset_epoch(self, reader_ip: str) -> None:
        """Command a reader that numbers from 1 again to a fresh epoch, once in a session."""
        self._reset.add(reader_ip)
        epoch = await store.next_epoch(self._process.pool, self._streams[reader_ip])
        if epoch is None:
            return
        log.warning("epoch_reset", forwarder_id=self._forwarder_id, reader_ip=reader_ip, stream_epoch=epoch)
        await self._peer.send(encode_epoch_reset(self._peer.session_id, self._forwarder_id, reader_ip, epoch))

    async def _patiently(self, act: Callable[[], Awaitable[T]]) -> T:
        """Do what needs the database, waiting for it as long as it takes: an open session stays open."""
        while True:
            try:
                return await act()
            except DatabaseUnavailable as error:
                log.debug("session_waits", forwarder_id=self._forwarder_id, error=str(error))
                await asyncio.sleep(RETRY_S)
