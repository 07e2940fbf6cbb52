"""From a session's batch to its outcome: stages parts in the inbox and collects what the writers made of them.

What holds, whatever dies:

- A batch is settled only by rows of `outcomes`, which the writer's commit of those very parts wrote, or by the
  receipts of its parts, which nobody knows before that commit (migrations/routines/drain.sql); never from a part's
  absence in the inbox. So an ack always means durable.
- A part is kept here until its outcome is known. When a connection was lost (the insert may or may not have
  happened, collected rows may have been lost on the way) or the inbox's generation changed (a crash emptied
  it), every part that neither lies in the inbox nor has an outcome is staged again, oldest first.
- What is staged twice is a retransmit to the writer: nothing here needs to happen exactly once.
- Memory is bounded: a batch counts in the account until it is settled. Nobody's order suffers: parts are staged in
  the order of submission, by one task.

Two tasks: `run_staging` writes the inbox, `run_collecting` reads the outcomes, each on its own connection. Most parts
are settled by a notification; their outcomes are taken away by the next poll.
"""

import asyncio
from collections import deque
from collections.abc import Iterator
from itertools import count
from uuid import UUID

from gateway import metrics
from gateway.batch import Batch, Part
from gateway.store import inbox as store
from gateway.store.streams import register_streams
from shared.db.channels import INBOX, OUTCOMES
from shared.db.connections import STEADY_PLANS, Link
from shared.db.errors import DatabaseRefused
from shared.errors import ProtocolError, RtServerError
from shared.log import get_logger
from shared.metrics import NOTIFICATIONS_SENT
from shared.runtime.process import Process
from shared.transport.account import Account, Held

__all__ = ["Staging"]

# One insert takes what has gathered while the last was under way, up to this much.
STAGE_BYTES = 8 * 1024 * 1024
# How soon outcomes are found whose notification was lost, and a changed generation is noticed; and how soon they are
# found where none ever arrives.
POLL_S = 1.0
POLL_WITHOUT_LISTEN_S = 0.1

# What a session is told instead of an ack: code and text.
REFUSALS = {
    "fenced": ("SESSION_EXPIRED", "another session has this device now"),
    "poisoned": ("INTERNAL_ERROR", "the batch could not be stored"),
}

log = get_logger(__name__)


class Staging:
    """The gateway's batches between receipt and ack."""

    def __init__(self, process: Process, account: Account) -> None:
        self._process = process
        self._stop = process.stop
        self._gateway_id: UUID = process.presence.process_id
        self._named_as = str(self._gateway_id)
        self._account = account
        self.unacked_bytes = 0  # of batches that are not settled
        self._part_ids = count(1)
        self.waiting: dict[int, Part] = {}  # every part without an outcome, oldest first
        self._receipts: dict[str, Part] = {}  # the same, by what a notification says of them
        self.unstaged: deque[Part] = deque()  # those of them that are to be written to the inbox
        self._of_deleted: list[Part] = []
        self._uncertain = False  # whether parts may have been lost on the way
        self._recovery: dict[str, int] = {}  # what was found out, until parts are staged again
        self._problem: str | None = None  # what keeps parts from being staged
        process.concerns["staging"] = lambda: self._problem
        self._generation: UUID | None = None
        self.collecting = asyncio.Lock()  # whoever takes outcomes holds it: taken, they are nowhere else
        url = process.settings.database_url
        self._stage_link = Link(url, name="rt-server gateway staging", **STEADY_PLANS)
        self._collect_link = Link(url, name="rt-server gateway outcomes")
        self.one_large = (
            asyncio.Lock()
        )  # who takes a large batch apart: one at a time, whatever comes at once
        self._staging = process.loop(
            "staging",
            self._stage_all,
            poll_s=60,
            on_failure=self._stage_failed,
        )
        self._collecting_loop = process.loop(
            "collecting",
            lambda: self._collect(self._collect_link),
            poll_s=POLL_S if process.settings.listen else POLL_WITHOUT_LISTEN_S,
            channel=OUTCOMES,
            on_failure=self._collect_failed,
        )
        process.listener.on(OUTCOMES, self._on_notification)
        metrics.UNACKED_BYTES.set_function(lambda: self.unacked_bytes)

    def submit(self, batch: Batch) -> None:
        """Take a batch; it will be settled. Batches are staged in the order of the calls."""
        if not batch.parts:
            batch.settle()
            return
        batch.open_parts = len(batch.parts)
        for part in batch.parts:
            part.part_id = next(self._part_ids)
            # Known before it lies in the inbox: a writer may store and tell of it while the answer to our insert is on
            # its way.
            self.waiting[part.part_id] = self._receipts[str(part.receipt)] = part
            self.unstaged.append(part)
        self.hold(batch.size)
        self._staging.wake()

    async def prepare(self) -> None:
        """Learn the inbox's generation before the first part is staged."""
        await self._collect(self._collect_link)

    # --- into the inbox ---

    async def run_staging(self) -> None:
        """Stage what is submitted until the process stops."""
        await self._staging.run()
        self._stage_link.drop()

    async def _stage_all(self) -> None:
        # What is submitted while an insert is under way goes with the next round. At a stop the rest is dropped,
        # unacked: its devices have it.
        while (self.unstaged or self._of_deleted or self._uncertain) and not self._stop.asked:
            try:
                await self._stage_next()
                self._recovered()
            except store.AlreadyStaged as error:
                self._stage_failed(error)  # the answer was lost, the parts were not: to be found out at once

    def _stage_failed(self, error: RtServerError) -> None:
        self._stage_link.drop()
        self._problem = str(error)
        self.doubt("staging_interrupted", error=str(error))

    async def _stage_next(self) -> None:
        # Doubts first: what was lost is older than what waits, and a stream's parts are staged in their order.
        if self._uncertain:
            await self._recover()
        await self._stage_again()
        # Off the queue before they are written: where that fails they stand in `waiting` alone, and the doubt that the
        # failure raises finds them there.
        parts = list(self._take())
        if not parts:
            return
        connection = await self._stage_link.get()
        try:
            await store.stage(connection, self._gateway_id, parts)
        except DatabaseRefused as error:
            await self._stage_singly(parts, error)
        NOTIFICATIONS_SENT.labels(INBOX).inc()

    def _recovered(self) -> None:
        """An interruption is over when parts could be staged, not when the database could be asked about them."""
        self._problem = None
        if self._recovery:
            log.info("staging_recovered", **self._recovery)
            self._recovery = {}

    def _take(self) -> Iterator[Part]:
        """Yield the next parts of one insert; parts of batches that have failed since are left out."""
        size = 0
        while self.unstaged and size < STAGE_BYTES:
            part = self.unstaged.popleft()
            if part.part_id in self.waiting:
                size += part.batch.size // len(part.batch.parts)
                yield part

    async def _stage_singly(self, parts: list[Part], error: DatabaseRefused) -> None:
        """One of the parts is at fault: find it, so that its session alone pays for it."""
        for part in parts:
            if part.part_id not in self.waiting:
                continue  # its batch has just failed
            try:
                await store.stage(await self._stage_link.get(), self._gateway_id, [part])
            except DatabaseRefused:
                log.error("part_refused", session_id=str(part.batch.session_id), error=str(error))
                # Looked at again: an outcome of another part may have ended their batch while this one was refused.
                if part.part_id in self.waiting:
                    self._settle(part, "poisoned")

    async def _recover(self) -> None:
        """Find out which parts were lost on the way and stage them again.

        The inbox is looked at first, then the outcomes: a part that is in neither was never staged, or was
        lost with the inbox or with a collection that never arrived. When the inbox was emptied between the two
        looks, or a new doubt came, both must be taken again.
        """
        connection = await self._stage_link.get()
        # Held over both looks: what the other task has taken and not settled is in neither place, and would look lost.
        async with self.collecting:
            self._uncertain = False
            # A part goes from the inbox to the outcomes and never back: in this order it is met in one of them at
            # least, whatever a writer does in between.
            staged = await store.staged_parts(connection, self._gateway_id)
            collected = await store.collect_outcomes(connection, self._gateway_id)
            self._uncertain |= collected.generation != staged.generation
            self._generation = collected.generation
            self._settle_all(collected)
            # Those whose stream is gone lie in neither, and are not lost: they wait for their stream to be made anew.
            found = staged.part_ids | {part.part_id for part in self._of_deleted}
            lost = [part for part_id, part in self.waiting.items() if part_id not in found]
        # In place of the queue, not behind it: what was submitted meanwhile is in `waiting` too, behind all that is
        # older.
        self.unstaged = deque(lost)
        metrics.STAGED_AGAIN.inc(len(lost))
        self._recovery = {"staged": len(staged.part_ids), "again": len(lost)}

    async def _stage_again(self) -> None:
        """Make the streams anew that were deleted under their parts, and stage those again."""
        while self._of_deleted:
            part = self._of_deleted[0]
            batch = part.batch
            if part.part_id not in self.waiting:
                self._of_deleted.pop(0)
                continue
            # Without a bound on readers: these had a stream, and their batch has been taken.
            streams = await register_streams(
                self._process.pool, batch.forwarder_id, [part.reader_ip], batch.display_name
            )
            # Taken off the list only now: while the database is away it is still known as gone.
            batch.streams.update(streams)
            part.stream_id = streams[part.reader_ip]
            self.unstaged.append(self._of_deleted.pop(0))

    # --- out of the outcomes ---

    async def run_collecting(self) -> None:
        """Collect outcomes until the process stops."""
        await self._collecting_loop.run()
        self._collect_link.drop()

    def _collect_failed(self, error: RtServerError) -> None:
        self._collect_link.drop()
        self.doubt("collecting_interrupted", error=str(error))

    def _on_notification(self, payload: str) -> None:
        """Settle the parts whose receipts a notification names: they were stored, nothing else became of them.
        One that names none says that there is something to collect.
        """
        gateway_id, _, receipts = payload.partition(" ")
        if gateway_id not in ("", self._named_as):
            return
        if not receipts:
            self._collecting_loop.wake()
            return
        for receipt in receipts.split(","):
            # One that is not known was collected meanwhile, or is nobody's: whoever can reach the database can notify.
            if (part := self._receipts.get(receipt)) is not None:
                self._settle(part, "stored")

    async def _collect(self, link: Link) -> bool:
        """Take the outcomes, and tell whether a part waited for one of them."""
        # Taken by the statement's commit: until they are settled they are nowhere but in our hands. Where the
        # connection ends in between, `_collect_failed` has the other task look.
        async with self.collecting:
            collected = await store.collect_outcomes(await link.get(), self._gateway_id)
            if self._generation not in (None, collected.generation):
                self.doubt("inbox_emptied")
            self._generation = collected.generation
            return self._settle_all(collected)

    def doubt(self, reason: str, **fields: str) -> None:
        """Parts or outcomes may be lost: have the staging task find out. Logged once until parts are staged again."""
        if not (self._uncertain or self._recovery):
            log.info(reason, parts=len(self.waiting), **fields)
        self._uncertain = True
        self._staging.wake()

    def _settle_all(self, collected: store.Collected) -> bool:
        """Settle the parts that wait for an outcome, and tell whether there were any."""
        found = False
        for outcome, part_ids in collected.outcomes:
            for part_id in part_ids:
                part = self.waiting.get(part_id)
                if part is None:
                    continue  # staged twice, or of a batch that has failed
                found = True
                if outcome == "gone":
                    self._of_deleted.append(part)
                    self._staging.wake()
                else:
                    self._settle(part, outcome)
        return found

    def _settle(self, part: Part, outcome: store.Outcome) -> None:
        # Out of both first: a receipt and a row may both tell of it, and whichever comes second finds nothing.
        batch = part.batch
        del self.waiting[part.part_id], self._receipts[str(part.receipt)]
        if outcome in REFUSALS:
            self._fail(batch, outcome)
            return
        if outcome == "conflict":
            batch.conflicts[part.reader_ip] = part.stream_epoch
        batch.open_parts -= 1
        if batch.open_parts == 0:
            self.give_back(batch.size)
            batch.settle()

    def _fail(self, batch: Batch, outcome: str) -> None:
        if outcome == "poisoned":
            self._process.activity.note(
                "part_dead_lettered", level="error", of=batch.forwarder_id, forwarder_id=batch.forwarder_id
            )
        for part in batch.parts:
            # The others may be staged, even stored: that is no harm, but no ack will say so.
            self.waiting.pop(part.part_id, None)
            self._receipts.pop(str(part.receipt), None)
        self.give_back(batch.size)
        code, text = REFUSALS[outcome]
        batch.settle(ProtocolError(text, code=code))

    def hold(self, size: int) -> None:
        """Count a message among those that are held, until as much is given back."""
        self.unacked_bytes += size
        self._account.hold(Held(size))

    def give_back(self, size: int) -> None:
        """Count so many bytes no more."""
        self.unacked_bytes -= size
        self._account.give_back(Held(size))
