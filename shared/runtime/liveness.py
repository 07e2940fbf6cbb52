"""A process' own row in `processes`: who is alive, for everyone to see.

A crash shows at once, because the advisory lock ends with this connection; a process that hangs shows within
LEASE_S, because its event loop no longer renews the lease. It never says what a process that was away may still
do: that is what fences are for (gateway/ownership.py).
"""

import os
import socket
from collections.abc import Callable
from importlib.metadata import version
from types import TracebackType
from typing import NamedTuple, Self
from uuid import UUID, uuid4

from shared.db.connections import Connection, Link
from shared.db.errors import DatabaseUnavailable, SchemaError, translated
from shared.db.poll_loop import Outage, PollLoop
from shared.log import get_logger
from shared.metrics import RECONNECTS, gauge
from shared.runtime.database_clock import DatabaseClock
from shared.wake import Stop

__all__ = ["LEASE_S", "Presence", "Vitals"]

# A hung process is taken for dead after this long: its devices must be back within 15 s, of which their own
# reconnect takes a part.
LEASE_S = 8.0
RENEW_EVERY_S = 1.5
PROCESS_LOCK_CLASS = 1381258067  # stands in the view live_processes too

# No service has a right to change `processes`; these do it for a service's own role (migrations/routines/liveness.sql).
_ENTER = "SELECT enter_process($1, $2, $3, $4, $5, $6, $7, $8)"
_RENEW = "SELECT report_vitals($1, $2, $3, $4, $5, $6, $7, $8, $9)"
_LEAVE = "SELECT leave_process($1)"
_REAP = "SELECT bury_processes()"
_LOCK = "SELECT pg_advisory_lock($1, $2)"

CLOCK_AHEAD = gauge("clock_ahead_seconds", "this machine's clock minus the database's")

log = get_logger(__name__)


class Vitals(NamedTuple):
    """What a process tells of itself with each renewal. problem: what is wrong with it, for operators. commit_ms: how
    long its commits take; clock_kept: whether somebody keeps its machine's clock; of whom that is asked and known.
    clock_ahead_ms: how far that is ahead of the database's.
    """

    connections: int = 0
    events_per_second: float = 0.0
    ready: bool = False
    problem: str | None = None
    commit_ms: float | None = None
    clock_ahead_ms: float | None = None
    clock_kept: bool | None = None


class Presence:
    """Keeps the process' row alive on a connection of its own; `on_return` is called after it was lost."""

    def __init__(
        self,
        url: str,
        *,
        role: str,
        address: str,
        holds_lock: bool,
        stop: Stop,
        outage: Outage | None = None,
        vitals: Callable[[], Vitals] = Vitals,
        on_return: Callable[[], None] = lambda: None,
    ) -> None:
        self.process_id: UUID = uuid4()
        self.clock = DatabaseClock()
        self._role = role
        self._address = address
        self._holds_lock = holds_lock
        # Who is alive is not worth a flush, and must be told while a synchronous standby is away.
        self._link = Link(url, self._enter, name=f"rt-server {role} presence", synchronous_commit="off")
        self._loop = PollLoop(
            "presence",
            self._renew,
            stop=stop,
            outage=outage,
            poll_s=RENEW_EVERY_S,
            on_failure=lambda _: self._link.drop(),
        )
        self._vitals = vitals
        self._on_return = on_return

    @property
    def problem(self) -> str | None:
        """What keeps the database from answering, or None."""
        return None if self._link.is_open else "not connected"

    async def __aenter__(self) -> Self:
        await self._link.get()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Only over a connection that is there: the lease ends soon enough, and a stop must not wait for a database
        # that is away.
        if self._link.is_open:
            try:
                connection = await self._link.get()
                with translated():
                    await connection.execute(_LEAVE, self.process_id, timeout=2)
            except DatabaseUnavailable as lost:
                log.warning("left_without_a_word", error=str(lost))
        self._link.drop()

    async def run(self) -> None:
        """Renew until the process stops."""
        await self._loop.run()

    async def _renew(self) -> None:
        was_open = self._link.is_open
        connection = await self._link.get()
        if not was_open:
            RECONNECTS.labels("presence").inc()
            log.info("presence_back")
            # Row and lock are there again, since `get`: whoever is sent to look what was lost meanwhile finds us
            # alive.
            self._on_return()
        vitals = self._vitals()._replace(clock_ahead_ms=self.clock.ahead_ms)
        asked_at = self.clock.counted()
        with translated():
            said_at = await connection.fetchval(_RENEW, self.process_id, LEASE_S, *vitals, timeout=3)
        # As a lost connection: the next try enters anew, and `on_return` tells all who must look.
        if said_at is None:  # reaped while we hung for a day
            raise DatabaseUnavailable("our row is gone")
        self.clock.learn(asked_at, said_at, self.clock.counted())
        CLOCK_AHEAD.set((self.clock.ahead_ms or 0) / 1000)

    async def _enter(self, connection: Connection) -> None:
        """Make our row, or find it again, and hold the lock that says that we live, whose key is in the row."""
        connection.add_termination_listener(lambda _: self._loop.wake())
        # By whoever comes next: a process that has died cannot, and nobody needs it before.
        await connection.execute(_REAP)
        # The row before the lock, whose key is in it. In between a new process counts as dead, which nobody minds: it
        # has no session yet. One that is back may count as alive all along, by its former connection's lock.
        lock_key = await connection.fetchval(
            _ENTER,
            self.process_id,
            self._role,
            socket.gethostname(),
            os.getpid(),
            self._address,
            version("rt-server"),
            self._holds_lock,
            LEASE_S,
        )
        if lock_key is None:
            raise SchemaError(f"this database user is another role's: a {self._role} is rt_{self._role}")
        # Before anything is received: what a machine whose clock is wrong dates is dated by the database's.
        asked_at = self.clock.counted()
        said_at = await connection.fetchval("SELECT clock_timestamp()", timeout=3)
        self.clock.learn(asked_at, said_at, self.clock.counted())
        if self._holds_lock:
            # Waited for where the server has not seen our former connection's end yet. Beyond the time we begin again
            # with the row, so that the lease goes on.
            await connection.execute(_LOCK, PROCESS_LOCK_CLASS, lock_key, timeout=3)
