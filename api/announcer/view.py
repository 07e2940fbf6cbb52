"""One process's view of who was announced, for all who follow it: read once for them all, while somebody does.

A follower is two numbers, which of our resyncs it has been told of and the last announcement that it has, and nothing
is kept for it. One that is too slow for what is kept is told to load anew, as is everybody when the run, the way it is
set, or a name that is shown is another. Loading anew reads the tables, which are never behind what was told here; what
is told twice is known by its announcement_id.
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from time import monotonic
from typing import Literal, NamedTuple, TypeAlias

import msgspec
import orjson

from api.announcer.store import announcements, runs
from api.announcer.store.announcements import Announcement
from api.announcer.types import LARGEST_LIST
from shared.db.channels import ANNOUNCER, RACES
from shared.runtime.process import Process

__all__ = ["RESYNC", "Follower", "Shape", "View"]

Shape: TypeAlias = Literal["own", "public"]

# What nobody notifies of: that its time is over, that another process has announced and the notification is lost.
POLL_S = 1.0
# Names are read again so often, and when somebody says that races have changed.
NAMES_EVERY_S = 2.0
CHUNK_BYTES = 64 * 1024

RESYNC = b"event: resync\ndata: {}\n\n"


class _Mark(NamedTuple):
    """What is another when everybody is to load anew."""

    run_id: int
    public_enabled: bool
    updated_at: datetime


@dataclass
class Follower:
    """Where somebody stands who follows: how many resyncs were told, and the last announcement."""

    shape: Shape
    resyncs: int
    last: int


class View:
    """What was announced in the run that goes on, the newest of it as it is told in both shapes."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._loop = process.loop("announced", self._look_if_followed, poll_s=POLL_S)
        process.listener.on(ANNOUNCER, lambda _: self._loop.wake())
        process.listener.on(RACES, self._on_races)
        self._turn = asyncio.Lock()
        self._news = asyncio.Event()
        self._mark: _Mark | None = None
        self._kept: dict[int, tuple[Announcement, dict[Shape, bytes]]] = {}
        self._resyncs = 0
        self._last = 0
        self._looked_at = self._named_at = float("-inf")
        self.looks = 0  # that have begun
        self.followers: dict[Shape, int] = {"own": 0, "public": 0}
        self.closed = False

    async def run(self) -> None:
        """Look again and again while somebody follows, until the process stops."""
        try:
            await self._loop.run()
        finally:
            # However it ends: whoever follows waits for news that nobody makes any more.
            self.closed = True
            self._wake()

    @contextmanager
    def following(self, shape: Shape) -> Iterator[None]:
        """Have news for as long as this is open."""
        self.followers[shape] += 1
        try:
            yield
        finally:
            self.followers[shape] -= 1

    async def join(self, shape: Shape) -> Follower:
        """Return where somebody stands who comes now, and loads what there is next."""
        # Of a thousand who come at once the first looks.
        async with self._turn:
            if monotonic() - self._looked_at > 2 * POLL_S:
                await self._look()
        return Follower(shape, self._resyncs, self._last)

    def take(self, follower: Follower) -> bytes:
        """Return what is new for a follower, about CHUNK_BYTES of it at the most, and note that it has it."""
        if follower.resyncs != self._resyncs or not self._has(follower.last + 1):
            # Up to where we are: what it loads next holds at least that.
            follower.resyncs, follower.last = self._resyncs, self._last
            return RESYNC
        taken: list[bytes] = []
        size = 0
        # As far as there is no gap: behind one the next look here says that all is to be loaded anew.
        while (kept := self._kept.get(follower.last + 1)) is not None and size < CHUNK_BYTES:
            follower.last += 1
            taken.append(kept[1][follower.shape])
            size += len(taken[-1])
        return b"".join(taken)

    async def news(self, follower: Follower, *, within_s: float) -> None:
        """Wait until there is something new for a follower, or the time is over."""
        # From here to the wait nothing is awaited: what is found next sets the very event that we wait for.
        if self.closed or (follower.resyncs, follower.last) != (self._resyncs, self._last):
            return
        try:
            async with asyncio.timeout(within_s):
                await self._news.wait()
        except TimeoutError:
            return

    def _has(self, number: int) -> bool:
        return number == self._last + 1 or number in self._kept

    def _on_races(self, _payload: str) -> None:
        self._named_at = float("-inf")
        self._loop.wake()

    def _wake(self) -> None:
        # Another event for who comes from now on: clearing this one would let those sleep on who are to wake.
        self._news.set()
        self._news = asyncio.Event()

    async def _look_if_followed(self) -> None:
        if any(self.followers.values()):
            async with self._turn:
                await self._look()

    async def _look(self) -> None:
        """See whether all is to be loaded anew, and otherwise who is new."""
        self.looks += 1
        # Before the look: who says meanwhile that names have changed has the next look read them again.
        began, names_due = monotonic(), monotonic() - self._named_at >= NAMES_EVERY_S
        if names_due:
            self._named_at = began
        standing = await runs.config(self._process.pool)
        mark = _Mark(standing.run_id, standing.shown.public_enabled, standing.shown.updated_at)
        anew = mark != self._mark
        above = 0 if anew or names_due else self._last
        found: Sequence[Announcement] = ()
        if mark.public_enabled:
            at_most = LARGEST_LIST if above else standing.shown.max_list_size
            # Of the run that was just seen: where another has begun since, the next look finds that.
            found = await announcements.rows(self._process.pool, mark.run_id, above=above, at_most=at_most)
        self._looked_at = began
        if anew:
            self._mark, self._last = mark, 0
            self._kept.clear()
        self._note(found, anew=anew)

    def _note(self, found: Sequence[Announcement], *, anew: bool) -> None:
        """Keep what was found, the newest first, and wake who waits where it is anything new."""
        renamed = any(
            each.announcement_id in self._kept and self._kept[each.announcement_id][0] != each
            for each in found
        )
        for each in reversed(found):
            self._kept[each.announcement_id] = each, _told(each)
        last = max(self._last, found[0].announcement_id if found else 0)
        while len(self._kept) > LARGEST_LIST:
            # The oldest, whoever still wants it: a follower that is too slow finds it gone, and loads anew.
            del self._kept[min(self._kept)]
        if anew or renamed:
            self._resyncs += 1
        if anew or renamed or last != self._last:
            self._last = last
            self._wake()


def _told(each: Announcement) -> dict[Shape, bytes]:
    return {"own": _update(each.finisher, each), "public": _update(each.public, each)}


def _update(row: msgspec.Struct, each: Announcement) -> bytes:
    # Within a run ids are counted: how many have come in is the id of who has just done so.
    data = {
        "row": msgspec.to_builtins(row, builtin_types=(datetime,)),
        "finisher_count": each.announcement_id,
    }
    return b"event: announcer_update\ndata: %b\n\n" % orjson.dumps(data)
