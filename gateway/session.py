"""One connected forwarder, from its hello to its end (protocol.md, sections 2, 4 and 6).

Three tasks: the first receives messages and hands batches to staging, the second acks them in their order, the
third keeps the connection alive. What is owed is bounded: a device that sends on without waiting for acks is
not read any further, and its own TCP connection holds it back. Operators' commands come in tasks of their own.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Collection
from time import perf_counter
from typing import NamedTuple, TypeVar
from uuid import UUID

from gateway import metrics
from gateway.admitted import AdmittedEpochs
from gateway.batch import SPLIT_AT_ONCE, Batch, split, split_in_turns
from gateway.brake import Brake
from gateway.commands import Carried, Command, Commands
from gateway.control import Control
from gateway.devices import DeviceStates, SessionDevices
from gateway.epochs import Epochs
from gateway.faults import Faults
from gateway.ownership import Ownership
from gateway.questions import Questions
from gateway.staging import Staging
from gateway.store import streams as store
from shared.db.channels import STREAMS
from shared.db.patience import patiently
from shared.log import get_logger
from shared.protocol.commands import EPOCH_RESET, KINDS, EpochReset, ReaderControlResponse, Response
from shared.protocol.decoding import LargeEventBatch, decode_forwarder
from shared.protocol.v1 import (
    ForwarderEventBatch,
    ForwarderHello,
    Malformed,
    UnknownMessage,
    encode_forwarder_ack,
    encode_heartbeat,
)
from shared.runtime.process import Process
from shared.trace import batch_name
from shared.transport.connection import ConnectionGone, DeviceConnection
from shared.transport.hello import check_id, count_unknown, greet
from shared.transport.tokens import Identity

__all__ = ["Session"]

# Field forwarders wait for each ack; newer ones may have a few batches under way.
MAX_OWED = 8
# How long a device waits to be told that we cannot store its batch: it comes back with the same one at once.
REFUSE_AFTER_S = 3.0
# How soon we look whether a forwarder may have more readers by now, whose reads come with every batch.
ASK_FOR_ROOM_AFTER_S = 5.0

# What no device answers is carried out here. A kind that nobody would carry out keeps the gateway from starting.
if by_nobody := {kind.name for kind in KINDS.values() if kind.response is None and kind != EPOCH_RESET}:
    raise NotImplementedError(f"no session carries out commands of the kinds {by_nobody}")

T = TypeVar("T")

log = get_logger(__name__)


class _Owed(NamedTuple):
    batch: Batch
    since: float


class Session:
    """What the gateway knows of one forwarder while it is connected."""

    def __init__(
        self,
        connection: DeviceConnection,
        identity: Identity,
        *,
        process: Process,
        ownership: Ownership,
        staging: Staging,
        commands: Commands,
        devices: DeviceStates,
        brake: Brake,
        max_readers: int,
        max_epochs: int,
    ) -> None:
        self._connection = connection
        self._identity = identity
        self._process = process
        self._ownership = ownership
        self._staging = staging
        self._commands = commands
        self._questions = Questions(connection)
        self._control = Control(
            connection, self._questions, process, identity.device_id, patiently=self._patiently
        )
        self._epochs = Epochs(connection, process)
        self._faults = Faults(process, brake, identity)
        self._forwarder_id = identity.device_id
        self._fence = 0
        self._display_name: str | None = None
        self._max_readers = max_readers
        self._max_epochs = max_epochs
        self._admitted = AdmittedEpochs(process, identity.device_id, at_most=max_epochs)
        self._no_room_until = 0.0  # for streams of more readers
        self._streams: dict[str, UUID] = {}
        self._devices = SessionDevices(devices, identity.device_id, connection.session_id, self._streams)
        self._owed: deque[_Owed] = deque()
        self._settled = asyncio.Event()  # some batch is
        self._room = asyncio.Event()  # for one more that is owed
        self._tracing = log.is_enabled_for(logging.DEBUG)

    async def run(self) -> None:
        """Live until the socket ends. Raises what `attend` tells the device: ProtocolError and others."""
        # Nothing that it says is stored before it owns the place: a second connection that is refused changes nothing.
        hello = await greet(self._connection, decode_forwarder, ForwarderHello)
        check_id(hello.forwarder_id, self._identity)
        self._fence = await self._ownership.acquire(self._connection, self._identity, hello.display_name)
        # Only whoever has the place may send what is larger than a hello: a second connection that is refused in a
        # moment must not hold the gateway's room until then.
        self._connection.admit()
        self._connection.on_too_large = self._faults.too_large
        self._note("forwarder_connected")
        try:
            await self._welcome(hello)
            await self._live()
        finally:
            self._note("forwarder_gone")
            await self._ownership.release(self._connection, self._forwarder_id)

    def _note(self, event: str) -> None:
        """Tell of the session, in the log and to operators."""
        log.info(event, forwarder_id=self._forwarder_id, session_id=str(self._connection.session_id))
        self._process.activity.note(event, of=self._forwarder_id, forwarder_id=self._forwarder_id)

    async def _live(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            side = [
                tasks.create_task(self._acknowledge(), name="acks"),
                tasks.create_task(self._stay_alive(), name="alive"),
            ]
            with (
                self._commands.reach(self._connection.session_id, self._carry_out),
                self._questions.receiving(),
            ):
                await self._receive()
            # The socket has been read to its end. What is staged of it is stored all the same, and comes again.
            for task in side:
                task.cancel()

    async def _stay_alive(self) -> None:
        try:
            await self._connection.stay_alive(self._forwarder_id)
        except ConnectionGone:
            if not self._questions.waiting:
                raise

    async def _receive(self) -> None:
        while await self._receive_next():
            # Cleared before it is waited for, and looked at again after: an ack may have made room in between.
            while len(self._owed) >= MAX_OWED:
                self._room.clear()
                await self._room.wait()

    async def _receive_next(self) -> bool:
        """Receive one message; false when there is none any more. Nothing of it is kept but what is owed for it."""
        message = await self._connection.receive()
        if message is None:
            return False
        # The inlet has just given its room back. No step of the loop lies between, so nobody else has got it. From
        # `submit` on staging counts it for itself.
        self._staging.hold(len(message))
        try:
            decoded = decode_forwarder(message)
            if isinstance(decoded, ForwarderEventBatch | LargeEventBatch):
                await self._take(decoded, len(message))
            elif isinstance(decoded, ForwarderHello):
                check_id(decoded.forwarder_id, self._identity)
                await self._patiently(lambda: self._welcome(decoded))
            elif isinstance(decoded, UnknownMessage):
                count_unknown(decoded)
            elif isinstance(decoded, Response):
                self._take_answer(decoded)
            else:
                self._devices.take(decoded)
        except Malformed as error:
            await self._faults.found(error.fault, str(error))
            raise
        finally:
            self._staging.give_back(len(message))
        return True

    def _take_answer(self, response: Response) -> None:
        if isinstance(response, ReaderControlResponse):
            response = self._devices.checked(response)
        if not self._questions.answered(response):
            log.info("answer_without_a_question", forwarder_id=self._forwarder_id)

    async def _welcome(self, hello: ForwarderHello) -> None:
        """Take over the readers and the name of a hello, and answer it."""
        self._display_name = hello.display_name
        # Streams first: who is told of the new name finds all of them, and a reader's first batch waits for nothing.
        await self._register(hello.reader_ips)
        await store.rename_forwarder(self._process.pool, self._forwarder_id, hello.display_name)
        self._process.notifier.notify(STREAMS)
        await self._connection.send(encode_heartbeat(self._connection.session_id, self._forwarder_id))

    async def _register(self, reader_ips: list[str]) -> None:
        """Make streams of readers, as far as there is room for more; what has none is left out, and told."""
        found = await store.register_streams(
            self._process.pool,
            self._forwarder_id,
            reader_ips,
            self._display_name,
            at_most=self._max_readers,
        )
        self._streams.update(found)
        if beyond := set(reader_ips) - found.keys():
            self._no_room_until = perf_counter() + ASK_FOR_ROOM_AFTER_S
            await self._faults.readers_left_out(beyond, at_most=self._max_readers)

    async def _take(self, message: ForwarderEventBatch | LargeEventBatch, size: int) -> None:
        """Hand a batch to staging and note that its ack is owed."""
        batch = Batch(
            forwarder_id=self._forwarder_id,
            session_id=self._connection.session_id,
            fence=self._fence,
            display_name=self._display_name,
            streams=self._streams,
            batch_id=message.batch_id,
            received_at=self._process.presence.clock.now(),  # one clock for all machines
            size=size,
            on_settled=self._settled.set,
        )
        since = perf_counter()
        # All that can be wrong with it is found before any of it is staged. Owed before it is handed over: staging may
        # settle it at once, and the order of these calls is that of the acks.
        await self._split(batch, message)
        # Known from the first text on, and for as long as the session lasts.
        self._control.older = self._control.older or not all(part.framed for part in batch.parts)
        await self._place(batch)
        metrics.EVENTS_IN.inc(batch.event_count)
        self._trace("batch_received", batch)
        self._owed.append(_Owed(batch, since))
        self._staging.submit(batch)

    async def _split(self, batch: Batch, message: ForwarderEventBatch | LargeEventBatch) -> None:
        """Sort a message's events into parts; the whole of it is right before any of it is stored."""
        if isinstance(message, ForwarderEventBatch) and len(message.events) <= SPLIT_AT_ONCE:
            split(batch, message.events)
            return
        # What is made of one takes several times its bytes, so one at a time in the process; the others wait here with
        # their bytes alone.
        async with self._staging.one_large:
            pieces = [message.events] if isinstance(message, ForwarderEventBatch) else message.pieces()
            for _ in split_in_turns(batch, pieces):
                await asyncio.sleep(0)

    async def _place(self, batch: Batch) -> None:
        """Give the parts their streams, and make those of readers that no hello has named."""
        # Nearly always all of it is known: an epoch that was taken is of a reader that has a stream.
        if not all((part.reader_ip, part.stream_epoch) in self._admitted.taken for part in batch.parts):
            await self._make_known(batch)
        # Whatever waited, the mapping is read now: staging may have made a stream anew meanwhile.
        batch.place()
        for part in batch.parts:
            self._epochs.saw(part.reader_ip, part.stream_epoch)

    async def _make_known(self, batch: Batch) -> None:
        """Make streams and take epochs that come for the first time, as far as there is room."""
        readers = {part.reader_ip for part in batch.parts}
        unknown = readers - self._streams.keys()
        if unknown and perf_counter() > self._no_room_until:
            await self._patiently(lambda: self._register(sorted(unknown)))
            self._process.notifier.notify(STREAMS)
        if new := self._admitted.unknown(batch.parts, self._streams):
            await self._patiently(lambda: self._admit(new))
            batch.leave_out(new.keys() - self._admitted.taken)

    async def _admit(self, epochs: Collection[tuple[str, int]]) -> None:
        """Take epochs that come for the first time, as far as there is room; what has none is left out, and told."""
        if beyond := await self._admitted.ask(epochs, self._streams):
            await self._faults.epochs_left_out(beyond, at_most=self._max_epochs)

    async def _acknowledge(self) -> None:
        """Ack batch after batch in the order in which they came, each once it is stored."""
        try:
            while True:
                await self._settled.wait()
                self._settled.clear()  # before we look: whatever is settled from here on wakes us again
                while self._owed and self._owed[0].batch.settled:
                    await self._ack(*self._owed.popleft())
                    # Each time, not at the end: the receiving task may read on while the next ack waits in its send.
                    self._room.set()
        except ConnectionGone:
            if not self._questions.waiting:
                raise
            # An answer may lie in the dying socket: that is read to its end, and must not wait for room here.
            self._owed = deque(maxlen=0)
            self._room.set()

    async def _ack(self, batch: Batch, since: float) -> None:
        if batch.refusal is not None:
            if batch.refusal.code == "INTERNAL_ERROR":
                await self._faults.found("dead_letter", str(batch.refusal))
                await asyncio.sleep(REFUSE_AFTER_S)
            raise batch.refusal
        if batch.left_out and not batch.parts:
            await asyncio.sleep(REFUSE_AFTER_S)  # it would come again at once
        # The ack before all else: until the device has it the whole batch may come again.
        await self._connection.send(encode_forwarder_ack(self._connection.session_id, batch.ack()))
        await self._faults.acked()
        self._trace("batch_acked", batch)
        metrics.ACKED.inc(batch.event_count)
        metrics.ACK_SECONDS.observe(perf_counter() - since)
        if batch.conflicts:
            metrics.CONFLICTS.inc()
        for reader_ip, epoch in batch.conflicts.items():
            # In this task, and before the next ack: what the session knows of commanded epochs is looked at by one
            # conflict at a time.
            await self._after_conflict(reader_ip, epoch)

    def _trace(self, event: str, batch: Batch) -> None:
        if self._tracing:
            name = batch_name(batch.forwarder_id, batch.received_at)
            log.debug(event, batch=name, batch_id=batch.batch_id, events=batch.event_count)

    async def _after_conflict(self, reader_ip: str, epoch: int) -> None:
        """Tell operators, and command a reader that numbers from 1 again to a fresh epoch."""
        self._process.activity.note(
            "integrity_conflict",
            level="warn",
            of=self._forwarder_id,
            forwarder_id=self._forwarder_id,
            reader_ip=reader_ip,
        )
        stream_id = self._streams[reader_ip]
        await self._epochs.after_conflict(self._forwarder_id, reader_ip, stream_id, epoch=epoch)

    async def _carry_out(self, command: Command, until: float) -> Carried:
        """Do what an operator asks of the device; see Commands."""
        if isinstance(command.request, EpochReset):
            return await self._epochs.carry_out(self._forwarder_id, command.request, until)
        return await self._control.carry_out(command, until)

    async def _patiently(self, act: Callable[[], Awaitable[T]]) -> T:
        """Do what needs the database, waiting for it as long as it takes: an open session stays open."""
        return await patiently(act, waits="session_waits", forwarder_id=self._forwarder_id)
