"""The subscriptions of a receiver, and whose turn it is: who gave something comes last the next time, who is behind the
tail waits until the page of another one is through.
"""

import asyncio
from functools import partial
from uuid import UUID

from fanout.delivery import Cursor
from fanout.events import MESSAGE_BYTES
from fanout.flags import Flags
from fanout.generation import Generation
from fanout.in_flight import InFlight
from fanout.node import Node
from fanout.plans.plan import Plan
from fanout.store import cursors as store
from fanout.store import starting_points as begins
from fanout.store.cursors import CursorKey
from fanout.store.sessions import subscribe_session
from fanout.store.starting_points import StartingPoint
from fanout.subscription import NOTHING_TAKEN, Subscription, Taken
from shared.db.errors import DatabaseUnavailable, RowLocked
from shared.errors import ProtocolError
from shared.log import get_logger
from shared.protocol.v1 import StreamRef

__all__ = ["MAX_SUBSCRIPTIONS", "Turns"]

# A whole marathon has a few hundred streams.
MAX_SUBSCRIPTIONS = 1_000
# How many streams one statement begins with, so that the first of a thousand do not wait for the last.
BEGIN_AT_ONCE = 100
# A stream that an administrator holds rows of lets the others go on. Each look at it waits for the lock, half a second.
REST_S = 5.0

# What of it counts in the account, a sixth of what it takes, as of a message: a subscription, and an epoch of it.
SUBSCRIPTION_BYTES, EPOCH_BYTES = 256, 128

log = get_logger(__name__)
_NOTHING_STORED = StartingPoint(0, 0, {}, {}, {})


class Turns:
    """What one session follows. `news` is set when there may be something to take.

    backlog_only: nothing is taken but what was stored when a stream began; `backlog_done` is set when nothing of it is
    left.
    """

    def __init__(
        self,
        node: Node,
        generation: Generation,
        *,
        receiver_id: str,
        session_id: UUID,
        in_flight: InFlight,
        backlog_only: bool = False,
    ) -> None:
        self.generation = generation
        self.news = asyncio.Event()
        self.subscriptions: dict[StreamRef, Subscription] = {}
        self.backlog_done = asyncio.Event()
        self.changed = asyncio.Event()  # set when `streams` may have changed
        self._backlog_only = backlog_only
        self._node = node
        self._receiver_id = receiver_id
        self._session_id = session_id
        self._in_flight = in_flight
        self.woken: dict[StreamRef, None] = {}  # in turn: subscriptions that may have something to send
        self.resting: set[StreamRef] = set()
        self._paging: StreamRef | None = None  # the one that holds the rest of a page
        self._kept = 0  # bytes, as the account counts them
        self._unlisted = False  # whether streams have begun that the session's row does not list yet
        self.flags = Flags(node, self.subscriptions, self.news, receiver_id)

    def subscribe(self, ref: StreamRef, plan: Plan, resume: dict[int, int]) -> None:
        """Follow a stream, which need not exist yet; naming it again changes nothing."""
        if ref in self.subscriptions:
            return
        if len(self.subscriptions) >= MAX_SUBSCRIPTIONS:
            raise ProtocolError(f"more than {MAX_SUBSCRIPTIONS} streams")
        if self._node.account.crowded:
            raise ProtocolError("this server's receivers follow as much as they can", code="INTERNAL_ERROR")
        # Before anything of it is read: what moves from here on wakes us, though there is nothing yet to look at.
        tail = self._node.tails.follow(ref, self)
        self.subscriptions[ref] = Subscription(tail, plan, self.generation, resume)
        self._keep(SUBSCRIPTION_BYTES)
        self.wake(ref)

    def _keep(self, size: int) -> None:
        self._kept += size
        self._node.account.keep(size)

    def streams(self) -> dict[StreamRef, UUID]:
        """Return those that exist and of which something is wanted."""
        return {
            ref: each.stream_id
            for ref, each in self.subscriptions.items()
            if each.stream_id is not None and not each.plan.is_empty
        }

    def replan(self, ref: StreamRef) -> None:
        """The plan of a stream wants other epochs: stop what it does not want, and look."""
        # What is not sent yet of what it wants no more never is; what it wants now begins with the next look
        # (`missing`).
        self.subscriptions[ref].drop()
        self._let_page_go(ref)
        self.flags.due.add(ref)
        self._unlisted = True
        self.wake(ref)

    def go_live(self) -> None:
        """Take what is new as well, from now on."""
        self._backlog_only = False
        self.news.set()

    def wake(self, ref: StreamRef) -> None:
        """Look at a subscription: its stream has moved."""
        # A wake of one that rests is not kept: `rested` looks, and sees whatever has come.
        if ref not in self.resting:
            self.woken[ref] = None
            self.news.set()

    def _rest(self, ref: StreamRef) -> None:
        """Leave a subscription alone for a while."""
        if self._paging == ref:
            self._page_is_free()
        # Its legs and its rest of a page stay as they are; only the session's place for a page goes to another.
        self.woken.pop(ref, None)
        self.resting.add(ref)
        asyncio.get_running_loop().call_later(REST_S, self.rested, ref)

    def _let_page_go(self, ref: StreamRef) -> None:
        """Let another one have a page where this one, which had the only one, has none any more."""
        if self._paging == ref and not self.subscriptions[ref].holds_page:
            self._page_is_free()

    def _page_is_free(self) -> None:
        self._paging = None
        self.news.set()  # those that were passed over for it, maybe just now, are due

    def rested(self, ref: StreamRef) -> None:
        """Look at a subscription again that was left alone."""
        self.resting.discard(ref)
        self.wake(ref)

    def advance(self, ref: StreamRef, epoch: int, cursor: Cursor) -> None:
        """Record what the receiver has of an epoch."""
        self._advance(self.subscriptions[ref], epoch, cursor)

    def is_behind(self, ref: StreamRef, position: int) -> bool:
        """Whether a stream has reads up to a position that the tail brings."""
        subscription = self.subscriptions.get(ref)
        return subscription is not None and subscription.awaits_tail(position)

    def _advance(self, subscription: Subscription, epoch: int, cursor: Cursor) -> None:
        cursor_id = subscription.cursor_ids.get(epoch)
        if cursor_id is not None and subscription.stream_id is not None:
            self._node.cursors.advance(CursorKey(subscription.stream_id, cursor_id), cursor)

    def _record_proven(self, subscription: Subscription) -> None:
        while subscription.proven:
            self._advance(subscription, *subscription.proven.popitem())

    def restart(self, ref: StreamRef) -> None:
        """Begin anew with a stream whose cursors were deleted, from its very first event."""
        subscription = self.subscriptions.get(ref)
        if subscription is not None:
            if subscription.stream_id is not None:  # its past may have been deleted with them
                self._node.pages.forget(subscription.stream_id)
            subscription.restart()
            self._let_page_go(ref)
            self.wake(ref)

    def leave(self) -> None:
        """Follow nothing any more."""
        self._node.tails.leave(self.subscriptions, self)
        for subscription in self.subscriptions.values():
            self._node.cursors.release(subscription.cursor_ids.values(), self)
        self._keep(-self._kept)

    # --- beginning ---

    async def begin(self) -> None:
        """Start with the streams that have come to exist, or of which more is wanted, and list them in the session's
        row.
        """
        woken = [self.subscriptions[ref] for ref in self.woken]
        due = [each for each in woken if each.awaits_start]
        for first in range(0, len(due), BEGIN_AT_ONCE):
            await self._begin(due[first : first + BEGIN_AT_ONCE])
        if self.flags.due:
            await self.flags.write()
        if self._unlisted:
            # Before the row is written: a plan that changes meanwhile is listed the next time.
            self._unlisted = False
            try:
                await subscribe_session(self._node.process.pool, self._session_id, self.streams().values())
            except DatabaseUnavailable:
                self._unlisted = True
                raise

    async def _begin(self, due: list[Subscription]) -> None:
        """Begin with streams; where an administrator holds rows of one, with all others."""
        try:
            await self._begin_together(due)
        except RowLocked as error:
            if len(due) == 1:
                log.debug(
                    "stream_waits", receiver_id=self._receiver_id, stream=due[0].tail.ref, error=str(error)
                )
                self._rest(due[0].tail.ref)
                return
            # One by one: each waits for the lock for half a second, and only those whose rows are held rest.
            for subscription in due:
                await self._begin([subscription])

    async def _begin_together(self, due: list[Subscription]) -> None:
        by_id = {each.tail.stream_id: each for each in due if each.tail.stream_id is not None}
        resumes = {stream_id: each.resume_of(stream_id) for stream_id, each in by_id.items()}
        # Rows of receivers that want some epochs only say that theirs are wanted when these are known (flags.py): that
        # a row says so is taken for a session that has begun with the epoch (plans/live.py).
        begin = partial(
            begins.starting_points,
            self._node.process.pool,
            self._receiver_id,
            resumes,
            earliest={
                stream_id: each.plan.earliest
                for stream_id, each in by_id.items()
                if each.plan.earliest is not None
            },
            wanted=all(each.plan.wants_all for each in due),
        )
        points = await begin()
        # Before they are held: their rows get other ids. Again and again: while the rows are written a plan may come to
        # want more.
        while disbelieved := [
            point.cursor_ids[epoch]
            for stream_id, point in points.items()
            for epoch in by_id[stream_id].plan.disbelieves(point)
        ]:
            await store.begin_again(self._node.process.pool, disbelieved)
            points = await begin()
        for stream_id, subscription in by_id.items():
            # Others have their turn: each may have as many epochs as a device may begin.
            await asyncio.sleep(0)
            ref = subscription.tail.ref
            # Released and held around `begin`, which changes the rows that it stands on. Nothing is awaited in
            # between, so no deletion is told to nobody.
            self._node.cursors.release(subscription.cursor_ids.values(), self)
            epochs_before = len(subscription.cursor_ids)
            # One that is not there has been deleted meanwhile.
            if subscription.begin(stream_id, points.get(stream_id, _NOTHING_STORED)):
                # Acks of what was sent before still come: they must not count for the new rows, because all of it is
                # sent again.
                self._in_flight.void(ref)
            self._node.cursors.hold(subscription.cursor_ids.values(), self, ref)
            self._keep(EPOCH_BYTES * (len(subscription.cursor_ids) - epochs_before))
            self._record_proven(subscription)
            self.flags.due.add(ref)
        self._unlisted = True
        self.changed.set()

    # --- taking ---

    async def gather(self, room: int) -> list[tuple[StreamRef, Taken]]:
        """Take up to `room` events from the streams that have any, in turns.

        A database that fails for one stream keeps no other from being sent what the tail has of it.
        """
        taken: list[tuple[StreamRef, Taken]] = []
        size = 0
        failed: DatabaseUnavailable | None = None
        # A copy: while a page is read others are woken, and whoever has given something goes to the end.
        for ref in list(self.woken):
            subscription = self.subscriptions[ref]
            if self._waits(ref, subscription, failed):
                continue
            try:
                found = await self._take_turn(ref, subscription, room)
            except DatabaseUnavailable as error:
                # Noted, and raised if nobody has anything: those behind the tail wait, the others are sent what it
                # has.
                failed = error
                continue
            if found.steps:
                taken.append((ref, found))
                room -= found.slice.event_count
                size += len(found.slice.json)
            if room <= 0 or size >= MESSAGE_BYTES:
                break
        if not taken:
            if failed:
                raise failed
            self._look_for_backlog()
        return taken

    def _waits(self, ref: StreamRef, subscription: Subscription, failed: DatabaseUnavailable | None) -> bool:
        """Whether it is not the turn of a subscription: for what is new, for the database, or for the only page."""
        if self._backlog_only and not subscription.is_replaying:
            return True
        return subscription.needs_page and (failed is not None or self._paging not in (None, ref))

    def _look_for_backlog(self) -> None:
        """Note when nothing is left of it. What rests is not waited for, nor what has come to exist since."""
        active = (each for ref, each in self.subscriptions.items() if ref not in self.resting)
        if self._backlog_only and not any(each.is_replaying for each in active):
            self.backlog_done.set()

    async def _take_turn(self, ref: StreamRef, subscription: Subscription, room: int) -> Taken:
        """Take from a stream, and let the others come first next time, or until something new comes."""
        try:
            found = await self._take(subscription, room)
        except RowLocked:
            self._rest(ref)
            return NOTHING_TAKEN
        if subscription.holds_page:
            self._paging = ref
        else:
            self._let_page_go(ref)
        # A wake that came while a page was read goes with it: what that told of shows in `due`.
        del self.woken[ref]
        if subscription.due:
            self.woken[ref] = None
        return found

    async def _take(self, subscription: Subscription, room: int) -> Taken:
        """Take the next events of a stream; where an epoch begins with them, its row is made first."""
        taken = await subscription.take(self._node.pages, room)
        if not taken.steps and subscription.new_epochs and subscription.stream_id is not None:
            wanted = {epoch: subscription.plan.wants(epoch) for epoch in subscription.new_epochs}
            # Committed before the events are taken: an ack must find its row.
            cursor_ids = await store.begin_epochs(
                self._node.process.pool, self._receiver_id, subscription.stream_id, wanted
            )
            if not cursor_ids:  # the stream has been deleted: what it holds of it is not sent any more
                subscription.restart()
            subscription.begin_epochs(cursor_ids)
            self._keep(EPOCH_BYTES * len(cursor_ids))
            subscription.note_flags(wanted)
            # A deletion between the row's making and this is found by the next look at all of them.
            self._node.cursors.hold(cursor_ids.values(), self, subscription.tail.ref)
            taken = await subscription.take(self._node.pages, room)
        self._record_proven(subscription)
        return taken
