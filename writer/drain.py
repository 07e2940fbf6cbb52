"""The loop that empties the inbox: drain until nothing is left, then wait for a notification, the poll or the end.

What holds:

- A drain is one call and one transaction (migrations/routines/drain.sql): locks, events, counts, outcomes, and the
  deletion of the parts. Killed at any moment, it has happened or it has not; the parts are still there, or their
  outcomes are. A writer that stands still in mid-drain holds up nobody: the database ends what it was asked.
- Notifications are sent after the commit. One that is lost is covered by the poll of whoever waits for it.
- Nothing is stranded: streams that another writer held are looked at again until the inbox is empty.
- One stream, or one part, that cannot be written stops no other: a failed drain is repeated stream by stream, and
  the stream at fault part by part. A part whose data are refused is put aside, a dead letter. A stream of which an
  administrator holds rows rests for a second.
- An error of the system puts nothing aside (shared/db/errors.py): the streams that it meets wait (writer/blocked.py),
  and where nothing at all can be stored so does everything; the process is not ready then, and says why.
"""

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from time import monotonic
from uuid import UUID

from shared.db.channels import INBOX, OUTCOMES, POSITIONS
from shared.db.connections import STEADY_PLANS, Connection, Link
from shared.db.errors import DatabaseFault, DatabaseRefused, DatabaseUnavailable, RowLocked
from shared.db.titles import stream_title
from shared.log import get_logger
from shared.metrics import NOTIFICATIONS_SENT
from shared.runtime.activity import Level
from shared.runtime.process import Process
from shared.trace import batch_name
from writer import metrics, store
from writer.blocked import BlockedStreams
from writer.commits import Commits

__all__ = ["Drain"]

# How soon parts are found whose notification was lost, and where none ever arrives.
POLL_S = 0.5
POLL_WITHOUT_LISTEN_S = 0.05
# Parts whose streams another writer holds: it will take them, or leave them to us within this. Whoever holds them
# longer is no writer.
SKIPPED_S = 0.005
SKIPPED_AT_MOST_S = 0.1
# How soon parts are found whose stream was deleted, however much else there is to do.
LOOK_EVERY_S = 1.0
# A drain's transaction stays well below a second, so that live reads never wait long behind a backlog.
MAX_EVENTS = 5_000
MAX_STREAMS = 500
MAX_PARTS = 100
REST_S = 1.0

log = get_logger(__name__)


class Drain:
    """One writer's work."""

    def __init__(self, process: Process, *, clock: Callable[[], float] = monotonic) -> None:
        self._process = process
        self._stop = process.stop
        self._clock = clock
        self._wake = process.stop.waker()
        self._resting: dict[UUID, float] = {}
        self._blocked = BlockedStreams(clock)
        self.commits = Commits(clock)
        self._interrupted: str | None = None  # what keeps us from draining at all
        self._look_at = 0.0
        self._tracing = log.is_enabled_for(logging.DEBUG)
        self._link = Link(
            process.settings.database_url,
            name="rt-server writer drain",
            lock_timeout=store.LOCK_TIMEOUT,
            **STEADY_PLANS,
        )
        poll_s = POLL_S if process.settings.listen else POLL_WITHOUT_LISTEN_S
        self._loop = process.loop(
            "drain",
            self._drain_until_empty,
            poll_s=poll_s,
            wake=self._wake,
            channel=INBOX,
            on_failure=self._interrupt,
        )
        process.listener.on(INBOX, lambda _: self._wake.set())
        process.checks["drain"] = lambda: (
            self._interrupted or (self._blocked.problem if self._blocked.total else None)
        )
        process.concerns["drain"] = lambda: self._blocked.problem

    async def run(self) -> None:
        """Drain until the process stops."""
        await self._loop.run()
        self._link.drop()

    def _interrupt(self, error: DatabaseUnavailable) -> None:
        # Once for all tries: the entry waits in memory, and is written when the database is back.
        if self._interrupted is None:
            self._note("storing_interrupted", level="error", error=str(error))
        self._interrupted = str(error)
        self._link.drop()

    def _resume(self) -> None:
        if self._interrupted is not None:
            self._note("storing_resumed", level="warn", after=self._interrupted)
        self._interrupted = None

    def _note(self, event: str, *, level: Level, **fields: str) -> None:
        """Tell operators. It is written when something can be written again, so it says itself when it was."""
        self._process.activity.note(
            event,
            level=level,
            of="drain",
            own=True,
            happened_at=datetime.now(UTC).isoformat(timespec="seconds"),
            **fields,
        )

    async def _drain_until_empty(self) -> bool:
        """Drain until the inbox holds nothing that we could take; true when there was anything.

        What comes after the last drain's snapshot has its own notification.
        """
        found, left, pause_s = False, True, SKIPPED_S
        while left and not self._stop.asked:
            connection = await self._link.get()
            # Streams at fault before the others: a drain of all leaves them out, and would never find that they are
            # well again.
            await self._try_blocked_again(connection)
            more = await self._drain_once(connection)
            # Whatever came of it, the database has answered.
            self._resume()
            if more is None or self._clock() >= self._look_at:
                # Parts whose stream is gone are in nobody's drain: no lock finds a row for them. So they are looked
                # for where nothing else is left, and now and then where much is.
                self._look_at = self._clock() + LOOK_EVERY_S
                self._tell(await store.reject_stream_deleted(connection))
            if more is not None:
                found, left, pause_s = True, more, SKIPPED_S
            elif left := await store.has_parts(connection):
                # Nothing could be had though something is there: another writer has the streams. It is not waited for
                # by a lock, which would hold ours; and longer each time, for who holds them long is no writer.
                await self._wake.wait(at_most_s=pause_s)
                pause_s = min(2 * pause_s, SKIPPED_AT_MOST_S)
        return found

    async def _drain_once(self, connection: Connection) -> bool | None:
        """Drain whatever streams can be had and tell whether anything is left; None when there were none."""
        but = [*self._rested(), *self._blocked.streams]
        try:
            return self._report(
                await store.drain(
                    connection,
                    but=but,
                    max_streams=MAX_STREAMS,
                    max_events=MAX_EVENTS,
                    name_batches=self._tracing,
                )
            )
        except (RowLocked, DatabaseRefused, DatabaseFault) as error:
            # All of it was rolled back, whoever of them was to blame: one by one, so that the others are not.
            # Whose streams cannot even be locked is not helped by looking at them one by one: that raises.
            found = await store.lock_streams(connection, but=but, limit=MAX_STREAMS)
            log.debug("drain_repeated", streams=len(found.locked), error=str(error))
            for stream_id in found.locked:
                await self._drain_alone(connection, stream_id)
            return True

    async def _drain_alone(self, connection: Connection, stream_id: UUID) -> bool:
        """Drain one stream as far as it goes, and tell whether there was anything; what it meets keeps up no other."""
        try:
            try:
                return await self._drain_stream(connection, stream_id) is not None
            except DatabaseRefused:
                # The first refusal has rolled all of the stream back: which part it was is not known yet.
                await self._drain_parts(connection, stream_id)
        except RowLocked:
            self._let_rest(stream_id)
        except (DatabaseFault, DatabaseRefused) as error:
            # Refused: not even putting it aside went well, and that is not the part's fault.
            self._blocked.add(stream_id, error)
        return True

    async def _try_blocked_again(self, connection: Connection) -> None:
        """Try streams that were at fault, up to the first that still is."""
        while (stream_id := self._blocked.next_due()) is not None:
            # First: whatever comes out of the try, a lost connection too, the next look begins with another stream.
            self._blocked.postpone(stream_id)
            tried = self._blocked.failures
            drained = await self._drain_alone(connection, stream_id)
            # One that fails is enough to see that the cause is still there: the work of all others must not wait for a
            # thousand.
            if self._blocked.failures > tried:
                return
            # Nothing to be had where parts lie: another writer tries the same at this moment.
            if drained or not await store.queued_parts(connection, stream_id, 1):
                self._blocked.over(stream_id)

    async def _drain_parts(self, connection: Connection, stream_id: UUID) -> bool:
        """Drain a stream part by part, and put aside what is refused. An error of the system ends it: order stays."""
        # In the order of arrival, and no further than the first that the system refuses: positions are handed out here.
        for part in await store.queued_parts(connection, stream_id, MAX_PARTS):
            try:
                await self._drain_stream(connection, stream_id, part)
            except DatabaseRefused as error:
                if await store.put_aside(connection, part, str(error)):
                    log.error(
                        "part_dead_lettered", stream_id=str(stream_id), part_id=part.part_id, error=str(error)
                    )
                    # On the Log page, too: an alert about it sends operators there.
                    self._process.activity.note(
                        "part_put_aside",
                        level="error",
                        of=str(stream_id),
                        stream=await stream_title(connection, stream_id),
                        error=str(error),
                    )
                    metrics.DEAD_LETTERED.inc()
                    # Behind the commit that has put it aside and written its outcome.
                    self._tell([part.gateway_id])
        return True

    async def _drain_stream(
        self, connection: Connection, stream_id: UUID, part: store.PartKey | None = None
    ) -> bool | None:
        return self._report(
            await store.drain(
                connection, max_streams=1, max_events=MAX_EVENTS, only_stream=stream_id, only_part=part
            )
        )

    def _let_rest(self, stream_id: UUID) -> None:
        if stream_id not in self._resting:
            log.info("stream_rests", stream_id=str(stream_id))
        self._resting[stream_id] = self._clock() + REST_S

    def _rested(self) -> list[UUID]:
        """Return the streams that still rest; those that have just rested are known a little longer."""
        now = self._clock()
        # A second longer than they rest, so that one which must rest again and again is logged once.
        self._resting = {each: until for each, until in self._resting.items() if until + REST_S > now}
        return [each for each, until in self._resting.items() if until > now]

    def _report(self, done: tuple[store.Drained | None, list[UUID]]) -> bool | None:
        """Count and log, and tell whether anything is left; None where no stream could be had."""
        drained, resting = done
        # Even where nothing else was drained: they were skipped for somebody's locks, and would be met again at once.
        for stream_id in resting:
            self._let_rest(stream_id)
        if drained is None:
            return None
        self._blocked.stored()
        metrics.DRAIN_SECONDS.observe(drained.seconds)
        metrics.COMMIT_SECONDS.observe(drained.commit_seconds)
        self.commits.add(drained.commit_seconds)
        metrics.STORED.inc(drained.stored)
        metrics.RETRANSMITTED.inc(drained.retransmitted)
        metrics.CONFLICTING.inc(drained.conflicting)
        for conflict in drained.conflicts:
            log.error("INTEGRITY_CONFLICT", **conflict._asdict())
        for batch in drained.batches:
            log.debug("batch_stored", batch=batch_name(*batch))
        NOTIFICATIONS_SENT.labels(OUTCOMES).inc(len(drained.gateway_ids))
        if drained.stored:
            NOTIFICATIONS_SENT.labels(POSITIONS).inc()
        return drained.left

    def _tell(self, gateway_ids: list[UUID]) -> None:
        for gateway_id in gateway_ids:
            self._process.notifier.notify(OUTCOMES, str(gateway_id))
