"""Keeps the inbox small: looks at it every few seconds, shows its numbers, and rids it of dead rows, less often where
that is refused. Beside that it takes dead letters off their list that have been stored since, and tells operators of a
snapshot that is old and of a disk that lets nothing into the inbox.

Two ways, because either alone fails: a vacuum makes the room of dead rows free again without holding up anyone, but
takes nothing away while a snapshot lasts that is older than they; a truncate takes everything, but needs the tables
for itself for a moment and has to carry over what lives.
"""

from collections.abc import Callable
from time import monotonic

from shared.db.connections import STEADY_PLANS, Connection, Link
from shared.log import get_logger
from shared.runtime.process import Process
from writer import metrics
from writer.store import upkeep as store

__all__ = ["Upkeep"]

LOOK_EVERY_S = 2.0
# A drain scans the inbox: at this size that takes a few milliseconds.
DEAD_BYTES = 32 * 1024 * 1024
# What may have to be carried over by a truncate: 2,000 parts take some 50 ms. At many times DEAD_BYTES, with a
# backlog and a long snapshot both, everything is better than to go on growing.
LIVE_PARTS = 2_000
FAR_TOO_MUCH = 16
LOCK_TIMEOUT = "200ms"
# From then on what changes all the time has left so many dead versions that reads of everybody become slower.
OLD_SNAPSHOT_S = 60.0
# An attempt lets everyone wait for the lock timeout, and under full load every other one fails: it is repeated soon,
# and less and less often where somebody (a backup) holds the tables for long.
REFUSED_AT_MOST_S = 30.0

log = get_logger(__name__)


class Upkeep:
    """The inbox's housekeeping; any number of writers may do it."""

    def __init__(
        self,
        process: Process,
        *,
        dead_bytes: int = DEAD_BYTES,
        look_every_s: float = LOOK_EVERY_S,
        old_snapshot_s: float = OLD_SNAPSHOT_S,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._old_snapshot_s = old_snapshot_s
        self._snapshot: store.Snapshot | None = None
        self._dead_bytes = dead_bytes
        self._look_every_s = look_every_s
        self._pause_s = look_every_s
        self._clock = clock
        self._make_room_at = clock()
        self._process = process
        self._link = Link(
            process.settings.database_url,
            name="rt-server writer upkeep",
            lock_timeout=LOCK_TIMEOUT,
            **STEADY_PLANS,
        )
        self._loop = process.loop(
            "upkeep", self._look, poll_s=look_every_s, on_failure=lambda _: self._link.drop()
        )
        process.concerns["snapshot"] = self._held_by
        self._staging_problem: str | None = None
        process.checks["inbox"] = lambda: self._staging_problem

    async def run(self) -> None:
        """Look after the inbox until the process stops."""
        await self._loop.run()
        self._link.drop()

    async def _look(self) -> None:
        connection = await self._link.get()
        # First, by reading alone: what comes next writes, and would fail on the very disk that is full.
        self._staging_problem = await store.staging_problem(connection)
        await store.forget_outcomes(connection)
        for letter in await store.resolve_dead_letters(connection):
            log.info(
                "dead_letter_resolved", stream_id=str(letter.stream_id), stream_epoch=letter.stream_epoch
            )
            self._process.activity.note(
                "dead_letter_resolved", of=letter.forwarder_id, forwarder_id=letter.forwarder_id
            )
        self._snapshot = await store.old_snapshot(
            connection, self._process.presence.process_id, older_than_s=self._old_snapshot_s
        )
        state = await store.inbox_state(connection)
        metrics.INBOX_PARTS.set(state.parts)
        metrics.INBOX_AGE.set(state.age_s)
        metrics.INBOX_BYTES.set(state.bytes)
        # Only this may be put off: what is said above, of a full disk too, is told to everyone within seconds.
        if self._clock() >= self._make_room_at:
            await self._make_room(connection, state)
            # Counted from the end: an attempt waits for its lock, and everybody else behind it.
            self._make_room_at = self._clock() + self._pause_s

    async def _make_room(self, connection: Connection, state: store.InboxState) -> None:
        """Truncating comes first, because it alone gives room back while somebody's old snapshot lasts; where its lock
        is refused a vacuum does what it can, which holds up nobody.
        """
        if state.bytes < self._dead_bytes:
            self._pause_s = self._look_every_s
        # False where its lock was not to be had in 200 ms: whoever drains or stages has waited behind it for as long.
        elif self._worth_it(state) and await store.empty_inbox(connection):
            self._pause_s = self._look_every_s
            metrics.INBOX_EMPTIED.inc()
            log.debug("inbox_emptied", bytes=state.bytes)
        else:
            self._pause_s = min(2 * self._pause_s, REFUSED_AT_MOST_S)
            await store.vacuum_inbox(connection)
            log.debug("inbox_vacuumed", bytes=state.bytes, again_in_s=self._pause_s)

    def _held_by(self) -> str | None:
        if self._snapshot is None:
            return None
        holder, since = self._snapshot
        return f"dead rows cannot be removed: held by {holder} since {since.isoformat(timespec='seconds')}"

    def _worth_it(self, state: store.InboxState) -> bool:
        return state.parts <= LIVE_PARTS or state.bytes > FAR_TOO_MUCH * self._dead_bytes
