"""The loop that empties the inbox: drain until nothing is left, then wait for a bell, the poll or the end.

What holds:

- A drain is one transaction: locks, events, counts, outcomes, and the deletion of the parts. Killed at any moment,
  it has happened or it has not; the parts are still there, or their outcomes are.
- Bells ring after the commit. A bell that is lost is covered by the poll of whoever waits for it.
- Nothing is stranded: streams that another writer held are looked at again until the inbox is empty.
- One stream, or one part, that cannot be written stops no other: a failed drain is repeated stream by stream, and
  the stream at fault part by part. A part that fails alone is put aside (`poisoned`). A stream of which an
  administrator holds rows rests for a second.
"""

from collections.abc import Callable
from time import monotonic, perf_counter
from uuid import UUID

from shared.channels import INBOX, OUTCOMES, POSITIONS
from shared.database import STEADY_PLANS, Connection, Link, transaction
from shared.errors import DatabaseRefused, DatabaseUnavailable
from shared.log import get_logger
from shared.metrics import POLLS_FOUND_WORK
from shared.process import Process
from writer import metrics, store

__all__ = ["Drain"]

# How soon parts are found whose bell was lost.
POLL_S = 0.5
# Parts whose streams another writer holds: it will take them, or leave them to us within this.
SKIPPED_S = 0.005
# A drain's transaction stays well below a second, so that live reads never wait long behind a backlog.
MAX_EVENTS = 5_000
MAX_STREAMS = 500
MAX_PARTS = 100
REST_S = 1.0
RETRY_S = 0.2

log = get_logger(__name__)


class Drain:
    """One writer's work."""

    def __init__(self, process: Process, *, clock: Callable[[], float] = monotonic) -> None:
        self._process = process
        self._stop = process.stop
        self._clock = clock
        self._wake = process.stop.waker()
        self._resting: dict[UUID, float] = {}
        self._link = Link(
            process.settings.database_url,
            name="rt-server writer drain",
            lock_timeout=store.LOCK_TIMEOUT,
            **STEADY_PLANS,
        )
        process.listener.on(INBOX, lambda _: self._wake.set())

    async def run(self) -> None:
        """Drain until the process stops."""
        woken = True
        while not self._stop.asked:
            try:
                found = await self._drain_until_empty()
            except DatabaseUnavailable as error:
                log.warning("drain_interrupted", error=str(error))
                self._link.drop()
                await self._stop.sleep(RETRY_S)
                continue
            if found and not woken:
                POLLS_FOUND_WORK.labels(INBOX).inc()
            woken = await self._wake.wait(at_most_s=POLL_S)
        self._link.drop()

    async def _drain_until_empty(self) -> bool:
        """Drain until the inbox holds nothing that we could take; true when there was anything."""
        found = False
        while not self._stop.asked:
            connection = await self._link.get()
            if await self._drain_once(connection):
                found = True
                continue
            if not await store.has_parts(connection):
                return found
            self._tell(await store.reject_gone(connection))
            await self._stop.sleep(SKIPPED_S)
        return found

    async def _drain_once(self, connection: Connection) -> bool:
        """Drain whatever streams can be had; false when there were none."""
        began = perf_counter()
        streams: list[UUID] = []
        try:
            async with transaction(connection):
                streams = await store.lock_streams(connection, but=self._rested(), limit=MAX_STREAMS)
                if not streams:
                    return False
                drained = await store.drain(connection, streams, max_events=MAX_EVENTS)
        except (store.RowLocked, DatabaseRefused) as error:
            log.warning("drain_refused", streams=len(streams), error=str(error))
            await self._drain_singly(connection, streams)
            return True
        metrics.DRAIN_SECONDS.observe(perf_counter() - began)
        self._report(drained)
        return True

    async def _drain_singly(self, connection: Connection, streams: list[UUID]) -> None:
        for stream_id in streams:
            try:
                await self._drain_stream(connection, stream_id)
            except store.RowLocked as error:
                log.warning("stream_rests", stream_id=str(stream_id), error=str(error))
                self._resting[stream_id] = self._clock() + REST_S
            except DatabaseRefused:
                await self._drain_parts(connection, stream_id)

    async def _drain_parts(self, connection: Connection, stream_id: UUID) -> None:
        """Drain a stream part by part, and put aside what cannot be written."""
        for part in await store.queued_parts(connection, stream_id, MAX_PARTS):
            try:
                await self._drain_stream(connection, stream_id, part)
            except store.RowLocked:
                return
            except DatabaseRefused as error:
                log.exception("part_poisoned", stream_id=str(stream_id), part_id=part.part_id)
                await store.poison(connection, part, str(error))
                metrics.POISONED.inc()
                self._tell([part.gateway_id])

    async def _drain_stream(
        self, connection: Connection, stream_id: UUID, only: store.PartKey | None = None
    ) -> None:
        async with transaction(connection):
            if not await store.lock_stream(connection, stream_id):
                return
            drained = await store.drain(connection, [stream_id], max_events=MAX_EVENTS, only=only)
        self._report(drained)

    def _rested(self) -> list[UUID]:
        """Return the streams that still rest."""
        now = self._clock()
        self._resting = {each: until for each, until in self._resting.items() if until > now}
        return list(self._resting)

    def _report(self, drained: store.Drained) -> None:
        """Count, log and ring, after the commit."""
        metrics.STORED.inc(drained.stored)
        metrics.RETRANSMITTED.inc(drained.retransmitted)
        metrics.CONFLICTING.inc(drained.conflicting)
        for conflict in drained.conflicts:
            log.error("INTEGRITY_CONFLICT", **conflict._asdict())
        self._tell(drained.gateway_ids)
        if drained.stored:
            self._process.bell.ring(POSITIONS)

    def _tell(self, gateway_ids: list[UUID]) -> None:
        for gateway_id in gateway_ids:
            self._process.bell.ring(OUTCOMES, str(gateway_id))
