"""One live session for each forwarder over all gateways: the first connection wins while it is alive.

A forwarder's place is its row in forwarder_sessions; taking it is one statement, so of two gateways at the same
moment one wins. Whether the holder is alive is not guessed:

- its gateway is dead (its advisory lock is gone, or its lease is over): the session is acquired at once;
- its gateway lives: that gateway is asked to ping the device (`probe`). An answer refuses the newcomer; silence
  ends the old session. So a rebooted device is back within seconds though its old connection looks open.
- its gateway says nothing (it hangs): the newcomer waits until that gateway's lease is over.

Every session has a fence, higher than all before. A gateway that wakes up late may still stage for a session
that was taken over: the writers leave out what carries an older fence than the forwarder's row.
"""

import asyncio
from time import monotonic
from uuid import UUID

from gateway.store import sessions as store
from shared.db.channels import SESSIONS
from shared.db.errors import DatabaseUnavailable
from shared.db.patience import left_undone
from shared.errors import ProtocolError
from shared.log import get_logger
from shared.runtime.liveness import LEASE_S
from shared.runtime.process import Process
from shared.runtime.tasks import Tasks
from shared.transport.connection import DeviceConnection
from shared.transport.tokens import Identity
from shared.wake import Wake

__all__ = ["Ownership"]

# A device on the other side of the earth answers a ping within half a second.
PROBE_S = 2.0
# The notification of a session that ends may be lost: how soon a newcomer looks again all the same.
LOOK_AGAIN_S = 0.25
# How soon a probe is found whose notification was lost, and how soon a process sees that it was stopped.
POLL_S = 1.0

log = get_logger(__name__)


class Ownership:
    """The sessions that this gateway holds, and the way to hold another."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._gateway_id: UUID = process.presence.process_id
        # By session: those that are ours, and those that are to be.
        self.held: dict[UUID, DeviceConnection] = {}
        self.acquiring: dict[UUID, DeviceConnection] = {}
        self._probing: set[UUID] = set()
        self._tasks = Tasks()
        self._takeovers: dict[str, set[Wake]] = {}
        self._loop = process.loop("takeovers", self._look, poll_s=POLL_S)
        self._looked_at = monotonic()
        self._doubtful = False
        process.listener.on(SESSIONS, self._on_notification)

    async def acquire(
        self, connection: DeviceConnection, identity: Identity, display_name: str | None
    ) -> int:
        """Acquire the forwarder's session for `connection` and return the session's fence.

        Raises ProtocolError while another session is alive, DatabaseUnavailable.
        """
        forwarder_id = identity.device_id
        # Registered before the first try: a session that ends right after we were refused must find us here.
        takeover = Wake()
        self._takeovers.setdefault(forwarder_id, set()).add(takeover)
        # Known before the database may say that the place is ours: a probe of a third connection is answered for us,
        # not against us.
        self.acquiring[connection.session_id] = connection
        try:
            fence = await self._acquire_waiting(connection, identity, display_name, takeover)
            # Before it is taken out of `acquiring`: at no step of the loop is it in neither.
            self.held[connection.session_id] = connection
        finally:
            del self.acquiring[connection.session_id]
            self._takeovers[forwarder_id].discard(takeover)
            if not self._takeovers[forwarder_id]:
                del self._takeovers[forwarder_id]
        return fence

    async def _acquire_waiting(
        self, connection: DeviceConnection, identity: Identity, display_name: str | None, takeover: Wake
    ) -> int:
        loop = asyncio.get_running_loop()
        gives_up_at = loop.time() + LEASE_S + PROBE_S
        asked = False
        # Tried anew after every wake: the session may have ended without a notification, or its gateway have died
        # meanwhile. Asked once: whoever holds it answers one question, and an answer counts for all who wait.
        while True:
            # Where the answer is lost the session may be ours without our knowing: the next newcomer's probe finds no
            # connection of that session here, and ends it.
            fence = await store.acquire_session(
                self._process.pool,
                forwarder_id=identity.device_id,
                session_id=connection.session_id,
                gateway_id=self._gateway_id,
                token_id=identity.token_id,
                display_name=display_name,
            )
            if fence is not None:
                return fence
            if not asked:
                await store.ask_probe(self._process.pool, identity.device_id)
                # Row first: the gateway that is woken looks for the question there.
                self._process.notifier.notify(SESSIONS, identity.device_id)
                asked = True
            elif loop.time() > gives_up_at or await store.probe_answered(
                self._process.pool, identity.device_id
            ):
                raise ProtocolError("a session for this device is already active")
            await takeover.wait(at_most_s=LOOK_AGAIN_S)

    async def release(self, connection: DeviceConnection, forwarder_id: str) -> None:
        """Give the place free. Without a database the row stays: the next newcomer's probe ends it."""
        # First, and whatever the database does: a probe that comes now finds nobody, and ends the session itself.
        self.held.pop(connection.session_id, None)
        try:
            # By its own id: a row that another session has by now is left alone.
            awaited = await store.end_session(self._process.pool, forwarder_id, connection.session_id)
        except DatabaseUnavailable as error:
            left_undone("release_failed", error, session_id=str(connection.session_id))
            return
        if awaited:
            self._process.notifier.notify(SESSIONS, forwarder_id)

    def doubt(self) -> None:
        """Our own connection was lost: look which of our sessions were taken over meanwhile."""
        self._doubtful = True
        self._loop.wake()

    async def run(self) -> None:
        """Answer probes, and drop sessions that were taken over while we hung, until the process stops."""
        self._looked_at = monotonic()
        await self._tasks.during(self._loop.run())

    async def _look(self) -> None:
        hung = monotonic() - self._looked_at > LEASE_S / 2
        self._looked_at = monotonic()
        self._doubtful |= hung
        if self._doubtful:
            await self._drop_lost()
        await self._answer_probes()

    async def _drop_lost(self) -> None:
        """Abort the sessions that are not ours any more."""
        # What is held is noted before the question: a session that begins meanwhile is not in the answer, and is ours.
        held = dict(self.held)
        # Before the question, too: a doubt that comes while it is out is answered by another one.
        self._doubtful = False
        try:
            owned = await store.owned_sessions(self._process.pool, self._gateway_id)
        except DatabaseUnavailable:
            self._doubtful = True
            raise
        for session_id, connection in held.items():
            if session_id not in owned:
                log.warning("session_taken_over", session_id=str(session_id))
                connection.abort()

    async def _answer_probes(self) -> None:
        for probe in await store.probed_sessions(self._process.pool, self._gateway_id):
            if probe.session_id not in self._probing:
                # The question stands in its row until the device has answered: the next looks find it again.
                self._probing.add(probe.session_id)
                self._tasks.start("probe", self._answer(probe), session_id=str(probe.session_id))

    async def _answer(self, probe: store.Probe) -> None:
        try:
            # It may be asked about before we know ourselves that it has acquired the session.
            connection = self.held.get(probe.session_id) or self.acquiring.get(probe.session_id)
            if connection is not None and await connection.answers(PROBE_S):
                await store.answer_probe(self._process.pool, *probe)
            else:
                # The row before the socket: the newcomer need not wait for the end of a connection that is dead.
                await store.end_session(self._process.pool, *probe)
                if connection is not None:
                    log.info("session_half_open", session_id=str(probe.session_id))
                    connection.abort()
            self._process.notifier.notify(SESSIONS, probe.forwarder_id)
        except DatabaseUnavailable as error:
            left_undone("probe_unanswered", error, session_id=str(probe.session_id))
        finally:
            self._probing.discard(probe.session_id)

    def _on_notification(self, forwarder_id: str) -> None:
        self._loop.wake()
        takeovers = self._takeovers.get(forwarder_id, ()) if forwarder_id else ()
        for takeover in takeovers:
            takeover.set()
