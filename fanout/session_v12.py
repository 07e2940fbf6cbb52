"""One connected receiver of the second generation, from its hello to its end (deploy/docs/protocol.md, section 12).

An error before its heartbeat would end its attempts for good: so it gets that for a wrong hello alone, and its
heartbeat within a second whatever the database does. All else is found and told afterwards, in the order that it
expects: what was stored, how its mode was understood, then what is new.
"""

import asyncio
import re
from collections.abc import Collection
from typing import Any
from uuid import UUID

from fanout.allowance import Allowance
from fanout.generation import SECOND
from fanout.modes.live import LiveMode
from fanout.modes.mode import Applied, Mode, by_stream
from fanout.modes.race import RaceMode
from fanout.modes.replay import ReplayMode, Targets
from fanout.node import Node
from fanout.pace import Pace
from fanout.proxy.requests import Requests
from fanout.sender import Sender
from fanout.store import sessions as store
from fanout.turns import MAX_SUBSCRIPTIONS, Turns
from fanout.updates.watch import Watch
from shared.db.errors import DatabaseUnavailable
from shared.db.patience import left_undone, patiently, promptly
from shared.errors import ProtocolError
from shared.log import get_logger
from shared.protocol.decoding import RECEIVER_BYTES, decode_receiver_v12
from shared.protocol.requests import Asked
from shared.protocol.v1 import ReceiverAck, StreamRef, UnknownMessage, encode_heartbeat
from shared.protocol.v12 import Race, ReceiverHelloV12, TargetedReplay, encode_mode_applied
from shared.transport.connection import DeviceConnection
from shared.transport.hello import check_id, count_unknown, greet
from shared.transport.tokens import Identity

__all__ = ["SessionV12"]

# The row comes first, as of every session, but the receiver waits for its heartbeat with all else.
ROW_WITHIN_S = 0.7
# A row that is left is forgotten by its node within a minute or two.
END_WITHIN_S = 5.0
# A person waits to hear how the mode was understood, however long the past is.
APPLIED_WITHIN_S = 10.0
# What a receiver calls itself that nobody has given a name.
GENERATED_ID = re.compile(r"recv-[0-9a-fA-F]{8}")

log = get_logger(__name__)


class SessionV12:
    """What the fanout knows of one receiver while it is connected."""

    def __init__(self, connection: DeviceConnection, node: Node, identity: Identity) -> None:
        self._connection = connection
        self._node = node
        self._identity = identity
        self._receiver_id = identity.device_id
        self._requests = Requests(connection, identity, node.replies, node.account)
        self._told: Applied | None = None
        self._has_race = False  # whether the row names a race
        self._streams: dict[UUID, StreamRef] = {}  # that the receiver is told of
        pace = Pace.of_second_generation(node.settings, identity.events_per_second)
        self._allowance = Allowance(connection, node.settings, pace, asks_first=True)

    async def run(self) -> None:
        """Live until the socket ends. Raises what `attend` tells the device: ProtocolError and others."""
        self._connection.withholds_passing_errors = True
        hello = await greet(self._connection, decode_receiver_v12, ReceiverHelloV12)
        if not GENERATED_ID.fullmatch(hello.receiver_id):
            check_id(hello.receiver_id, self._identity)
        mode = self._mode(hello)
        sender = Sender(self._connection, mode.source, self._allowance, receiver_id=self._receiver_id)
        # A try with a bound, because the heartbeat is behind it. Where it fails `_deliver` makes the row, before
        # anything is sent.
        has_row = await self._make_row(mode)
        self._connection.admit()
        self._note("receiver_connected")
        try:
            heartbeat = encode_heartbeat(self._connection.session_id, self._identity.name)
            await self._connection.send(heartbeat)
            # Only now: an error that overtook the heartbeat would end the receiver's attempts.
            self._connection.withholds_passing_errors = False
            await self._live(mode, sender, has_row=has_row)
        finally:
            self._note("receiver_gone")
            # Whoever could still wake or tell it is told to stop before the row goes, which waits for the database.
            mode.leave()
            for watch in (self._node.stream_metrics, self._node.devices):
                watch.leave(sender, self._streams)
            await self._end()

    def _mode(self, hello: ReceiverHelloV12) -> Mode:
        if isinstance(hello.mode, TargetedReplay):
            return ReplayMode(self._node, Targets(self._node, SECOND), hello.mode.targets)
        turns = Turns(
            self._node,
            SECOND,
            receiver_id=self._receiver_id,
            session_id=self._connection.session_id,
            in_flight=self._allowance.in_flight,
            backlog_only=True,
        )
        resume = by_stream(hello.resume or ())
        if isinstance(hello.mode, Race):
            return RaceMode(self._node, turns, hello.mode.race_id, resume)
        if len(set(hello.mode.streams)) > MAX_SUBSCRIPTIONS:
            raise ProtocolError(f"more than {MAX_SUBSCRIPTIONS} streams")
        return LiveMode(self._node, turns, hello.mode, resume)

    def _note(self, event: str) -> None:
        """Tell of the session, in the log and to operators."""
        log.info(event, receiver_id=self._receiver_id, session_id=str(self._connection.session_id))
        self._node.process.activity.note(event, of=self._receiver_id, receiver_id=self._receiver_id)

    async def _make_row(self, mode: Mode) -> bool:
        """Make the session known, and the race that it follows, which cannot be deleted then; whether that was done in
        time. What may have been done can be done again.
        """
        try:
            await promptly(self._begin(mode), within_s=ROW_WITHIN_S)
        except (DatabaseUnavailable, TimeoutError) as error:
            log.debug("session_row_waits", session_id=str(self._connection.session_id), error=str(error))
            return False
        return True

    async def _row(self, mode: Mode) -> None:
        """The same, waiting for the database as long as it takes.

        Each try has all its time: only the heartbeat could not wait, and a database that is slow, and no more, would
        never be done with one that is cut short.
        """
        session_id = str(self._connection.session_id)
        await patiently(lambda: self._begin(mode), waits="session_row_waits", session_id=session_id)

    async def _begin(self, mode: Mode) -> None:
        self._has_race = await store.begin_session(
            self._node.process.pool,
            session_id=self._connection.session_id,
            receiver_id=self._receiver_id,
            fanout_id=self._node.process.presence.process_id,
            token_id=self._identity.token_id,
            race_id=mode.race_id,
        )

    async def _live(self, mode: Mode, sender: Sender, *, has_row: bool) -> None:
        async with asyncio.TaskGroup() as tasks:
            side = [
                # Where the database hangs, neither a close nor an error waits for what was asked of it.
                tasks.create_task(promptly(self._deliver(mode, sender, has_row=has_row)), name="deliver"),
                tasks.create_task(self._connection.stay_alive(self._identity.name), name="alive"),
                tasks.create_task(self._requests.run(), name="requests"),
            ]
            await self._receive(sender)
            for task in side:
                task.cancel()

    async def _deliver(self, mode: Mode, sender: Sender, *, has_row: bool) -> None:
        """Begin, waiting for the database as long as it takes, then send and tell."""
        if not has_row:
            await self._row(mode)
        # Behind the row: a race that a session follows cannot be deleted from then on.
        await patiently(mode.start, waits="mode_waits", session_id=str(self._connection.session_id))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(sender.run(), name="send")
            tasks.create_task(self._tell(mode, sender), name="tell")

    async def _tell(self, mode: Mode, sender: Sender) -> None:
        """Say how the mode is understood, after what was stored and before what is new; then whenever it changes."""
        try:
            async with asyncio.timeout(APPLIED_WITHIN_S):
                await mode.backlog_done.wait()
        except TimeoutError:
            # The rest of the past comes behind it, and what is new with it.
            pass
        await self._tell_applied(mode, sender)
        mode.go_live()
        while True:
            await mode.changed.wait()
            # Before it is looked at: a mapping that changes while we tell of it is told next.
            mode.changed.clear()
            await self._tell_applied(mode, sender)

    async def _tell_applied(self, mode: Mode, sender: Sender) -> None:
        applied = mode.applied()
        if mode.race_id is not None and self._has_race != applied.has_race:
            await self._row(mode)  # the race has come to be, or was deleted
        if applied != self._told:
            self._told = applied
            message = encode_mode_applied(applied.summary, applied.streams, applied.warnings)
            await self._connection.send(message)
        await self._tell_of(mode.streams(), sender)

    async def _tell_of(self, streams: dict[StreamRef, UUID], sender: Sender) -> None:
        """Tell of streams that have come from now on, beginning with how they are, and of those that went no more."""
        now = {stream_id: ref for ref, stream_id in streams.items()}
        came, gone = now.keys() - self._streams.keys(), self._streams.keys() - now.keys()
        went = {self._streams[stream_id] for stream_id in gone}
        # Noted before anything is awaited: a session that ends in between leaves these as well.
        self._streams = now
        watches = (self._node.stream_metrics, self._node.devices)
        # Off all lists, before what waits is dropped, and without a wait in between: nothing can come to wait again.
        for watch in watches:
            watch.leave(sender, gone)
        sender.forget(went)
        for watch in watches if came else ():
            await self._join(watch, sender, came)
        # Now, and not when the sender comes to it: it waits for acks and for its pace, and what is new of the reads
        # comes behind this.
        await sender.tell_due()

    async def _join(self, watch: Watch[Any], sender: Sender, came: Collection[UUID]) -> None:
        try:
            await watch.join(sender, came)
        except DatabaseUnavailable as error:  # it is told as soon as it can be
            log.debug("updates_wait", session_id=str(self._connection.session_id), error=str(error))

    async def _receive(self, sender: Sender) -> None:
        while (message := await self._connection.receive()) is not None:
            decoded = decode_receiver_v12(message)
            if isinstance(decoded, ReceiverAck):
                sender.ack(decoded.entries)
            elif isinstance(decoded, Asked):
                self._requests.ask(message, decoded)
            elif not isinstance(decoded, UnknownMessage):
                raise ProtocolError("a session has one hello: connect again to change the mode")
            # A large one has been read whole: a second walk would double the time that all others wait.
            elif decoded.kind != "heartbeat" and (
                len(message) > RECEIVER_BYTES or not self._requests.take(message)
            ):
                count_unknown(decoded)

    async def _end(self) -> None:
        try:
            ending = store.end_session(self._node.process.pool, self._connection.session_id)
            await promptly(ending, within_s=END_WITHIN_S)
        except (DatabaseUnavailable, TimeoutError) as error:
            left_undone("session_row_left", error, session_id=str(self._connection.session_id))
