"""The newest events of each stream that anybody on this node follows, read once and shared by all.

The promise: a receiver that has everything up to position p and asks `after(p)` gets what follows p without a gap,
or None when p lies before the window, and then reads the database until it is inside again. Positions of a stream
are handed out in commit order without gaps (ARCHITECTURE.md, promise 3), so the window is all there is between its
two ends, whatever epochs and sequence numbers its events have. Late events of old epochs need no care of their own.

A tail never waits for one receiver: who follows it is told, and looks. It waits for the foremost of all. What nobody
has come near is not read yet, because it would push out of the window what all still need; each event would then be
read and encoded a second time, as a page, by a node that is short of time already.
"""

from collections import Counter
from collections.abc import Callable, Container, Iterable
from functools import partial
from time import monotonic
from typing import Protocol
from uuid import UUID

from fanout import metrics
from fanout.generation import Generation
from fanout.store import events as store
from fanout.store.events import EventRow
from fanout.store.streams import resolve_streams
from fanout.window import Window
from shared.db.channels import POSITIONS, STREAMS
from shared.db.connections import STEADY_PLANS, Link
from shared.db.errors import DatabaseUnavailable
from shared.errors import ProtocolError
from shared.protocol.v1 import StreamRef
from shared.runtime.process import Process

__all__ = ["Follower", "Tail", "Tails"]

# The windows of all tails of a node together, as JSON: whose streams moved longest ago have theirs emptied first, and
# who follows those reads a page where the window would have had it.
ALL_WINDOWS_BYTES = 64 * 1024 * 1024
# Streams that a node follows at the most, those included that do not exist yet. A race has hundreds.
MOST_TAILS = 20_000
# After a read that found something the next one waits about as long as it takes to write that to all who follow: what
# comes meanwhile goes out in one message instead of several, and writing to sockets is what fan-out costs. A few
# receivers are not made to wait; for thousands the wait is bounded.
WRITE_S = 25e-6
COALESCING_AT_LEAST_S, COALESCING_AT_MOST_S = 0.001, 0.01
# How soon events are found whose notification was lost, however many others arrive.
POLL_S = 0.5
# How soon a stream is found that was made or deleted and whose notification was lost.
RESOLVE_S = 2.0


class Follower(Protocol):
    """Who wants to know that a stream has moved, or has come to be."""

    generation: Generation

    def wake(self, ref: StreamRef) -> None:
        """Note that there may be something new; must return at once."""


class Tail:
    """The newest events of one stream, in a window for each generation that follows it; all end at `head`."""

    def __init__(self, ref: StreamRef) -> None:
        self.ref = ref
        self.stream_id: UUID | None = None  # None until the stream exists; another one after it was made anew
        self.named_as = ""  # what its notification says
        self.head = 0
        self.followers: set[Follower] = set()
        self.on_taken: Callable[[], None] = lambda: None  # called once, when `is_ahead` has ended
        self.foremost = 0  # the position that some follower has reached
        self._passed_over = False
        self._windows: dict[Generation, Window] = {}
        self._following: Counter[Generation] = Counter()

    def window(self, generation: Generation) -> Window:
        """Return the window of a generation, which begins where the stream is now when none has been asked for yet."""
        window = self._windows.get(generation)
        if window is None:
            window = self._windows[generation] = Window(self.head)
        return window

    def join(self, follower: Follower) -> None:
        """Wake `follower` whenever the stream moves."""
        if follower not in self.followers:
            self.followers.add(follower)
            self._following[follower.generation] += 1
            self.window(follower.generation)

    def leave(self, follower: Follower) -> None:
        """Wake `follower` no more, and encode nothing for a generation that nobody is left of."""
        if follower in self.followers:
            self.followers.remove(follower)
            self._following[follower.generation] -= 1
            if not self._following[follower.generation]:
                # A receiver of it that comes later gets one that begins at the head: what lies before that it reads as
                # pages.
                self._windows.pop(follower.generation, None)

    def begin(self, stream_id: UUID, head: int) -> None:
        """Follow the stream from `head` on, with empty windows."""
        self.stream_id, self.named_as = stream_id, str(stream_id)
        # What is stored up to here is the receivers' replay, and what follows is ours: each finds its own horizon in a
        # later snapshot, which is here or beyond.
        self.head = self.foremost = head
        self.empty()
        self._wake_followers()

    @property
    def is_ahead(self) -> bool:
        """Whether a window is half full and nobody has taken half of it: reading more would lose what is needed."""
        windows = self._windows.values()
        if not any(window.is_half_full for window in windows):
            return False
        return self.head - self.foremost > max(map(len, windows)) // 2

    def pass_over(self) -> None:
        """Note that this is not read now, however many notifications come: `on_taken` will say when it is to be."""
        # The notification that named it is used up by now: `reached` must bring it back, or the poll would.
        self._passed_over = True

    def reached(self, position: int) -> None:
        """Note that a follower has everything up to `position`. One that knows of more than the tail is the foremost
        too: a tail that was passed over must not wait for somebody who is past it.
        """
        if position <= self.foremost:
            return
        self.foremost = position
        if self._passed_over and not self.is_ahead:
            # Once: the read that this asks for passes it over anew, if it must.
            self._passed_over = False
            self.on_taken()

    @property
    def window_bytes(self) -> int:
        """How long its events are together, as JSON."""
        return sum([window.bytes for window in self._windows.values()])

    def empty(self) -> None:
        """Let go of the windows: who is behind the head reads pages."""
        for window in self._windows.values():
            window.empty(self.head)

    def extend(self, rows: list[EventRow]) -> None:
        """Add what follows the head, encoded for each generation that follows, and let go of what is too old."""
        self.head = rows[-1].position
        for generation, window in self._windows.items():
            window.extend(generation.encode(self.ref, rows))
        self._wake_followers()

    def _wake_followers(self) -> None:
        for follower in self.followers:
            follower.wake(self.ref)


class Tails:
    """All tails of the node, and the two loops that feed them."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._stop = process.stop
        self.tails: dict[StreamRef, Tail] = {}  # whose stream moved last stands last
        self.window_bytes = 0
        self._unknown: set[StreamRef] = set()  # that no stream was found for yet
        self._tailing = process.loop(
            "tailing",
            self._read_news,
            poll_s=POLL_S,
            channel=POSITIONS,
            on_failure=self._tailing_failed,
        )
        self.named: set[str] = set()  # ids of streams that notifications have named since the last read
        self.read_all_at = 0.0
        self._resolve_all_at = 0.0
        self._resolving = process.loop("resolving", self._resolve_due, poll_s=RESOLVE_S)
        self.link = Link(process.settings.database_url, name="rt-server fanout tail", **STEADY_PLANS)
        process.listener.on(POSITIONS, self.on_notification)
        process.listener.on(STREAMS, self.on_announcement)

    def follow(self, ref: StreamRef, follower: Follower) -> Tail:
        """Return the stream's tail, and wake `follower` whenever it moves. The stream need not exist yet.

        Raises ProtocolError when the node follows as many streams as it can.
        """
        tail = self.tails.get(ref)
        if tail is None:
            if len(self.tails) >= MOST_TAILS:
                raise ProtocolError("this server follows as many streams as it can", code="INTERNAL_ERROR")
            tail = self.tails[ref] = Tail(ref)
            tail.on_taken = partial(self._look_again, tail)
            # Its name is looked up by the other loop; until then no notification is known to be its.
            self._unknown.add(ref)
            metrics.TAILS.set(len(self.tails))
            self._resolving.wake()
        tail.join(follower)
        return tail

    async def existing(self, refs: Iterable[StreamRef]) -> list[StreamRef]:
        """Return those of the named streams that exist; DatabaseUnavailable."""
        named = list(refs)
        known = {ref for ref in named if (tail := self.tails.get(ref)) is not None and tail.stream_id}
        asked = [ref for ref in named if ref not in known]
        found = await resolve_streams(self._process.pool, asked) if asked else {}
        return [ref for ref in named if ref in known or ref in found]

    async def resolve(self, refs: Iterable[StreamRef]) -> None:
        """Find out now which of these exist, of those that are followed; DatabaseUnavailable."""
        await self.look_up([ref for ref in refs if (tail := self.tails.get(ref)) and tail.stream_id is None])

    def leave(self, refs: Iterable[StreamRef], follower: Follower) -> None:
        """Wake `follower` no more; a tail that nobody follows is given up."""
        for ref in refs:
            tail = self.tails.get(ref)
            if tail is not None:
                self.window_bytes -= tail.window_bytes
                tail.leave(follower)
                self.window_bytes += tail.window_bytes
                if not tail.followers:
                    del self.tails[ref]
                    self._unknown.discard(ref)
        metrics.TAILS.set(len(self.tails))

    def on_notification(self, payload: str) -> None:
        """Note which streams to look at; all of them, where the notification does not say."""
        if payload:
            self.named.update(payload.split(","))
        else:
            # Nothing is named where there are too many for a payload, and by a listener that is back and may have
            # missed some.
            self.read_all_at = 0.0
        self._tailing.wake()

    def on_announcement(self, _payload: str) -> None:
        """Look up the names that stand for no stream yet: one has come to be."""
        self._resolving.wake()

    def _look_again(self, tail: Tail) -> None:
        self.on_notification(tail.named_as)

    async def run_tailing(self) -> None:
        """Read what is new of the streams that notifications name, and of all now and then, until the process stops."""
        await self._tailing.run()
        self.link.drop()

    async def _read_news(self) -> bool:
        # Taken before the read: what is named from here on may be stored after its snapshot, and is read the next
        # time.
        named, self.named = self.named, set()
        if named and monotonic() < self.read_all_at:
            found = await self.read(named)
        else:
            # Before the read, for the same reason: who asks for all while it is under way is not forgotten.
            self.read_all_at = monotonic() + POLL_S
            found = await self.read()
        if len(found) * WRITE_S >= COALESCING_AT_LEAST_S:
            # Followers were woken before: they send meanwhile, and what the writers store gathers for the next read.
            await self._stop.sleep(min(len(found) * WRITE_S, COALESCING_AT_MOST_S))
        return bool(found)

    def _tailing_failed(self, _error: DatabaseUnavailable) -> None:
        self.link.drop()
        self.read_all_at = 0.0  # which streams were notified is forgotten

    async def read(self, named: Container[str] | None = None) -> set[Follower]:
        """Read until nothing is new of the streams that `named` holds, or of all; return who follows what was."""
        found: set[Follower] = set()
        more = True
        while more and not self._stop.asked:
            tails = self._readable(named)
            if not tails:
                return found
            # While this is read streams are made anew, and the last follower of one leaves: `_extend` looks again.
            news, more = await store.read_tails(
                await self.link.get(), {id_: tail.head for id_, tail in tails.items()}
            )
            for stream_id, rows in news.items():
                self._extend(tails[stream_id], stream_id, rows)
                found |= tails[stream_id].followers
            metrics.TAILED.inc(sum(len(rows) for rows in news.values()))
        return found

    def _readable(self, named: Container[str] | None) -> dict[UUID, Tail]:
        """Return the tails of the streams that `named` holds, or of all, but for those that are far enough ahead."""
        found: dict[UUID, Tail] = {}
        for tail in self.tails.values():
            if tail.stream_id is not None and (named is None or tail.named_as in named):
                if tail.is_ahead:
                    tail.pass_over()
                else:
                    found[tail.stream_id] = tail
        return found

    def _extend(self, tail: Tail, stream_id: UUID, rows: list[EventRow]) -> None:
        """Pass on what was read, unless the stream was made anew meanwhile, and let others come first next time."""
        # Given up since, and perhaps followed anew: then another tail has its place in the table.
        if self.tails.get(tail.ref) is not tail:
            return
        if tail.stream_id == stream_id and tail.head < rows[0].position:
            self.window_bytes -= tail.window_bytes
            tail.extend(rows)
            self.window_bytes += tail.window_bytes
        self.tails[tail.ref] = self.tails.pop(tail.ref)
        if self.window_bytes > ALL_WINDOWS_BYTES:
            self._empty_oldest()

    def _empty_oldest(self) -> None:
        """Empty windows, of those first whose streams moved longest ago, until a quarter of the bound is free."""
        for tail in self.tails.values():
            if self.window_bytes <= ALL_WINDOWS_BYTES * 3 // 4:
                return
            self.window_bytes -= tail.window_bytes
            tail.empty()

    async def run_resolving(self) -> None:
        """Find out which stream each name stands for, again and again: streams come, and administrators delete.

        What was announced can only be a stream that was not known; that a known one was deleted, or made anew, shows
        at the next look at all of them.
        """
        await self._resolving.run()

    async def _resolve_due(self) -> None:
        if monotonic() >= self._resolve_all_at:
            # Where the question fails only the names that are not known yet are asked for again at once.
            self._resolve_all_at = monotonic() + RESOLVE_S
            await self.look_up(list(self.tails))
        else:
            await self.look_up(list(self._unknown))

    async def look_up(self, refs: list[StreamRef]) -> None:
        """Find out which streams these names stand for now, and begin with those that are others than before."""
        if not refs:
            return
        # Where each was before the question: while it is under way the other loop reads on, and is ahead of the answer.
        heads = {ref: tail.head for ref in refs if (tail := self.tails.get(ref)) is not None}
        known = await resolve_streams(self._process.pool, refs)
        for ref, resolved in known.items():
            tail = self.tails.get(ref)
            # A position that is behind what our own was: a backup was restored under us.
            if tail is not None and (
                tail.stream_id != resolved.stream_id or resolved.last_position < heads.get(ref, 0)
            ):
                self._unknown.discard(ref)
                self.window_bytes -= tail.window_bytes
                tail.begin(resolved.stream_id, resolved.last_position)
                # What was stored since that snapshot was notified under an id that meant nothing to us then.
                self.on_notification(str(resolved.stream_id))
