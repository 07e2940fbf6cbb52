"""One connected receiver of the first generation, from its hello to its end (protocol.md, sections 2 and 5).

Three tasks: one receives subscriptions and acks, one sends (fanout/sender.py), one keeps the connection alive.
"""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from uuid import UUID

from fanout.allowance import Allowance
from fanout.generation import FIRST
from fanout.modes.mode import by_stream
from fanout.node import Node
from fanout.pace import Pace
from fanout.plans.plan import Everything
from fanout.sender import Sender
from fanout.store import sessions as store
from fanout.turns import Turns
from shared.db.errors import DatabaseUnavailable
from shared.db.patience import left_undone, patiently
from shared.log import get_logger
from shared.protocol.decoding import decode_receiver
from shared.protocol.v1 import (
    AckEntry,
    ReceiverAck,
    ReceiverHello,
    ReceiverSubscribe,
    StreamRef,
    encode_heartbeat,
)
from shared.transport.connection import DeviceConnection
from shared.transport.hello import check_id, count_unknown, greet
from shared.transport.tokens import Identity

__all__ = ["Following", "Session"]


log = get_logger(__name__)


class Session:
    """What the fanout knows of one receiver while it is connected."""

    def __init__(self, connection: DeviceConnection, node: Node) -> None:
        self._connection = connection
        self._node = node

    async def run(self, identity: Identity) -> None:
        """Live until the socket ends. Raises what `attend` tells the device: ProtocolError and others."""
        hello = await greet(self._connection, decode_receiver, ReceiverHello)
        check_id(hello.receiver_id, identity)
        session_id, receiver_id = self._connection.session_id, identity.device_id
        # The row before the heartbeat: operators see whoever has been told that it is connected.
        await store.begin_session(
            self._node.process.pool,
            session_id=session_id,
            receiver_id=receiver_id,
            fanout_id=self._node.process.presence.process_id,
            token_id=identity.token_id,
        )
        # Only behind the row: whoever has none may send nothing that is larger than a hello.
        self._connection.admit()
        self._note("receiver_connected", receiver_id)
        following = Following(self._connection, identity, self._node)
        try:
            await self._connection.send(encode_heartbeat(session_id, identity.name))
            await self._live(following, identity, hello)
        finally:
            self._note("receiver_gone", receiver_id)
            # Before the row goes, which waits for the database: nothing is told to a session that has ended.
            following.turns.leave()
            await self._end(session_id)

    def _note(self, event: str, receiver_id: str) -> None:
        """Tell of the session, in the log and to operators."""
        log.info(event, receiver_id=receiver_id, session_id=str(self._connection.session_id))
        self._node.process.activity.note(event, of=receiver_id, receiver_id=receiver_id)

    async def _live(self, following: "Following", identity: Identity, hello: ReceiverHello) -> None:
        async with asyncio.TaskGroup() as tasks:
            side = [
                tasks.create_task(following.sender.run(), name="send"),
                tasks.create_task(self._connection.stay_alive(identity.name), name="alive"),
            ]
            # Behind the other two: while this waits for the database the device is kept alive, and pinged.
            await self._resume(following, hello.resume or [])
            await self._receive(following, identity)
            # The socket has been read to its end. What was sent and not acked is owed, and comes again.
            for task in side:
                task.cancel()

    async def _resume(self, following: "Following", cursors: Iterable[AckEntry]) -> None:
        """Go on where the receiver says it stands, waiting for the database as long as it takes."""
        # Of one that is gone meanwhile nothing is left to do: `_receive` finds its end.
        with suppress(DatabaseUnavailable):
            await patiently(
                lambda: following.resume(cursors),
                waits="resume_waits",
                in_vain=lambda: self._connection.gone,
                session_id=str(self._connection.session_id),
            )

    async def _receive(self, following: "Following", identity: Identity) -> None:
        while (message := await self._connection.receive()) is not None:
            decoded = decode_receiver(message)
            if isinstance(decoded, ReceiverAck):
                following.sender.ack(decoded.entries)
            elif isinstance(decoded, ReceiverSubscribe):
                for ref in decoded.streams:
                    following.subscribe(ref)
            elif isinstance(decoded, ReceiverHello):
                check_id(decoded.receiver_id, identity)
                await self._resume(following, decoded.resume or [])
                await self._connection.send(encode_heartbeat(self._connection.session_id, identity.name))
            else:
                count_unknown(decoded)

    async def _end(self, session_id: UUID) -> None:
        try:
            await store.end_session(self._node.process.pool, session_id)
        except DatabaseUnavailable as error:
            left_undone("session_row_left", error, session_id=str(session_id))


class Following:
    """What a receiver follows, each stream with all that there is of it, and how that comes to it."""

    def __init__(self, connection: DeviceConnection, identity: Identity, node: Node) -> None:
        self._node = node
        allowance = Allowance(connection, node.settings, Pace(node.settings, identity.events_per_second))
        self.turns = Turns(
            node,
            FIRST,
            receiver_id=identity.device_id,
            session_id=connection.session_id,
            in_flight=allowance.in_flight,
        )
        self.sender = Sender(connection, self.turns, allowance, receiver_id=identity.device_id)

    def subscribe(self, ref: StreamRef, resume: dict[int, int] | None = None) -> None:
        """Follow a stream, which need not exist yet; naming it again changes nothing."""
        self.turns.subscribe(ref, Everything(), resume or {})

    async def resume(self, cursors: Iterable[AckEntry]) -> None:
        """Subscribe to what the receiver resumes and what exists; of a cursor that is listed twice the higher counts.

        A name that stands for no stream is no subscription: there is nothing to go on with. DatabaseUnavailable.
        """
        resumes = by_stream(cursors)
        for ref in await self._node.tails.existing(resumes):
            self.subscribe(ref, resumes[ref])
