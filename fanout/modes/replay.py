"""Some epochs once more, as they are stored when the receiver asks, each from a sequence number on. It changes nothing
in the record of what the receiver has.
"""

import asyncio
from collections import deque
from collections.abc import Iterable
from typing import NamedTuple
from uuid import UUID

from fanout.delivery import Cursor
from fanout.events import MESSAGE_BYTES, Event, fitting, slice_of
from fanout.generation import Generation
from fanout.modes.mode import Applied, not_there_yet
from fanout.node import Node
from fanout.sender import Source
from fanout.store.streams import resolve_streams
from fanout.subscription import Taken
from shared.db.errors import DatabaseUnavailable
from shared.protocol.v1 import StreamRef
from shared.protocol.v12 import ReplayTarget

__all__ = ["ReplayMode", "Target", "Targets"]


class Target(NamedTuple):
    """What is left of a target: events of an epoch numbered above after_seq, stored up to a position."""

    ref: StreamRef
    stream_id: UUID
    epoch: int
    after_seq: int
    up_to: int


class Targets:
    """Sends one target after the other, each in the order of its numbers. Acks pace it, and move no cursor."""

    def __init__(self, node: Node, generation: Generation) -> None:
        self.news = asyncio.Event()
        self.done = asyncio.Event()
        self._node = node
        self._generation = generation
        self._targets: deque[Target] = deque()
        self._page: list[Event] = []

    def replay(self, targets: Iterable[Target]) -> None:
        """Send these."""
        self._targets = deque(targets)
        self.news.set()

    async def begin(self) -> None:
        """There is nothing to begin with."""

    async def gather(self, room: int) -> list[tuple[StreamRef, Taken]]:
        """Take up to `room` events, of as many targets as give any; a database that fails keeps back none of them."""
        taken: list[tuple[StreamRef, Taken]] = []
        size = 0
        while self._targets and room > 0 and size < MESSAGE_BYTES:
            try:
                if not self._page and not await self._turn_page():
                    continue
            except DatabaseUnavailable:
                # What was taken is behind us: it must be sent. The next call meets the failure first.
                if not taken:
                    raise
                break
            count = fitting(self._page, room)
            found = slice_of(self._page[:count])
            del self._page[:count]
            if found.event_count:
                taken.append((self._targets[0].ref, Taken(found, (None,) * len(found.sent))))
                room -= found.event_count
                size += len(found.json)
        if not taken:
            self.done.set()
        return taken

    async def _turn_page(self) -> bool:
        """Read the next page of the first target; False when that is through."""
        target = self._targets[0]
        events = await self._node.pages.of_epoch(
            target.ref,
            target.stream_id,
            self._generation,
            epoch=target.epoch,
            after_seq=target.after_seq,
            stored_up_to=target.up_to,
        )
        if not events:
            self._targets.popleft()
            return False
        # Moved on before the page is sent: where a later read fails the page waits here, and nothing comes twice.
        self._targets[0] = target._replace(after_seq=events[-1].seq)
        # What was stored after the question is left out, though the page has it: a replay has an end.
        self._page = [event for event in events if event.position <= target.up_to]
        return bool(self._page)

    def advance(self, ref: StreamRef, epoch: int, cursor: Cursor) -> None:
        """Nothing that is sent here has a cursor."""

    def is_behind(self, _ref: StreamRef, _position: int) -> bool:
        """Nothing is told beside it."""
        return False


class ReplayMode:
    """The targets that were asked for; the same one twice counts once."""

    def __init__(self, node: Node, targets: Targets, asked: Iterable[ReplayTarget]) -> None:
        self.race_id: UUID | None = None
        self.source: Source = targets
        self.backlog_done = targets.done
        self.changed = asyncio.Event()
        self._node = node
        self._targets = targets
        self._asked = list(dict.fromkeys(_counted_from_one(each) for each in asked))
        self._streams = {StreamRef(each.forwarder_id, each.reader_ip): False for each in self._asked}

    async def start(self) -> None:
        """Find the streams, and up to where they are stored now: what comes later is not replayed."""
        found = await resolve_streams(self._node.process.pool, list(self._streams))
        self._streams = {ref: ref in found for ref in self._streams}
        self._targets.replay(
            Target(
                ref,
                found[ref].stream_id,
                each.stream_epoch,
                (each.from_seq or 1) - 1,
                found[ref].last_position,
            )
            for each in self._asked
            if (ref := StreamRef(each.forwarder_id, each.reader_ip)) in found
        )

    def applied(self) -> Applied:
        """Warn of streams that do not exist."""
        missing = [ref for ref, exists in self._streams.items() if not exists]
        summary = f"targeted_replay ({len(self._asked)} targets)"
        return Applied(summary, len(self._streams) - len(missing), tuple(map(not_there_yet, missing)))

    def streams(self) -> dict[StreamRef, UUID]:
        """Nothing but the reads is told."""
        return {}

    def go_live(self) -> None:
        """Nothing is live."""

    def leave(self) -> None:
        """Nothing is followed."""


def _counted_from_one(target: ReplayTarget) -> ReplayTarget:
    """Numbers begin with 1: who asks from 0 on, or does not say, asks for the same."""
    return ReplayTarget(target.forwarder_id, target.reader_ip, target.stream_epoch, target.from_seq or 1)
