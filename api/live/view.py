"""The first page as it stands, and the events that say how it changes: the cluster's, from every api process the same.

A refresh reads the page's rows once, whoever asks and however many: requests that come meanwhile share the next one.
What differs from what was last told becomes messages, each encoded once, in a ring (ring.py): single ones as it comes,
and one a second of all that has changed (digest.py). A client is a position in the ring and nothing else: one that is
too slow for it is told to fetch the overview anew, and goes on from the end.

Everything is derived from rows, nothing from notifications: they only say that a look is due, and a poll covers a lost
one. So nothing is missed for as long as somebody listens, or has asked within a minute. After that nothing is looked
at; the ring comes back under another name, by which it is known that an older id is none of its own.
"""

import asyncio
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from time import monotonic
from uuid import UUID

import msgspec

from api.live import store as overview
from api.live.digest import Digest
from api.live.messages import Form, ForwarderUpsUpdated, LogWritten, Message, MetricsUpdated, Resync, encoded
from api.live.news import DeviceNews
from api.live.races import RaceNews
from api.live.ring import BOTH, CHANGED, SINGLE, Ring
from api.live.snapshot import Levels, Page, changes, made, moved
from api.live.types import Card, CurrentVerdict, Overview
from api.logs import store as logs
from api.logs.types import LogEntry
from api.storage.facts import StorageFacts
from api.streams import store as streams
from api.streams.types import StreamMetrics
from shared.db.channels import ACTIVITY, DEVICES, POSITIONS, RACES, SESSIONS, STATES, STREAMS
from shared.db.errors import DatabaseRefused, DatabaseUnavailable
from shared.log import get_logger
from shared.metrics import gauge
from shared.runtime.process import Process

__all__ = ["Live"]

# At most 4 metrics_updated a second for a stream. A refresh that takes long is followed by a rest three times as long.
PACE_S = 0.25
REST = 3
# What nobody sends a notification for: acks of receivers, heartbeats.
POLL_S = 1.0
ASKED_LATELY_S = 60.0
# How large the database is need not be asked with every read. A full disk is to be told within 5 s all the same.
STORAGE_EVERY_S = 0.5
# Looks come once a second; where each takes long, as often as they can. Twice the usual time without one that succeeded
# is too long, and so is this, whatever they take.
KNOWS_S, KNOWS_AT_MOST_S = 5.0, 30.0
# For those who come back, and for those who are slow.
RING_MESSAGES = 4096
RING_BYTES = 8 * 1024 * 1024
RESOLVED = 50
ENTRIES = 100

EVENT_STREAMS = gauge("event_streams", "event streams that are open")

log = get_logger(__name__)


class Live:
    """One api process's view of the cluster. `clock`: seconds, from anywhere. time_zone: the setting, or empty."""

    def __init__(
        self, process: Process, *, time_zone: str = "", clock: Callable[[], float] = monotonic
    ) -> None:
        self._process = process
        self._time_zone = time_zone or None
        self.clock = clock
        self._loop = process.loop("live", self._look_if_wanted, poll_s=lambda: POLL_S)
        self._races = RaceNews(process, clock=clock)
        for channel in (STREAMS, POSITIONS, SESSIONS, ACTIVITY, STATES, DEVICES, RACES):
            process.listener.on(channel, lambda _: self.wake())
        self.ring = Ring(messages=RING_MESSAGES, size=RING_BYTES)
        self.listeners = 0
        self._asked_at = -ASKED_LATELY_S
        self._turn = asyncio.Lock()
        self.looks = 0  # that have begun
        self._fresh: tuple[int, Page, str] | None = (
            None  # of which refresh, and the id of the last message before it
        )
        self._failed: tuple[int, DatabaseUnavailable] | None = None  # the last that did not succeed, and why
        self._digest = Digest(process)
        self.news = DeviceNews(process, clock=clock)
        self._whole = False
        self._shown: tuple[Page, str] | None = None  # what an overview is made of
        self._told: Page | None = None
        self._cards: dict[UUID, Card] = {}  # as their numbers were told,
        self._told_at: dict[UUID, float] = {}  # and when
        self._entries: set[int] = set()
        self._lost = False
        self._storage: StorageFacts | None = None
        self._storage_at = 0.0
        self._known_until = 0.0

    @property
    def wanted(self) -> bool:
        """Whether somebody listens, or has asked lately."""
        return self.listeners > 0 or self.clock() - self._asked_at < ASKED_LATELY_S

    @property
    def knows(self) -> bool:
        """Whether what was told is as it was a moment ago: the last look succeeded, and another was not due since."""
        return self.clock() < self._known_until

    async def run(self) -> None:
        """Look again and again while it is wanted, until the process stops."""
        try:
            await self._loop.run()
        finally:
            # However it ends: whoever follows waits for news that nobody makes any more.
            self.ring.close()

    async def _look_if_wanted(self) -> None:
        if not self.wanted:
            self._rest()
            return
        began = self.clock()
        await self._look()
        # A notification does not end this: while writers store they come without a pause, and the next look sees all
        # of them.
        await self._process.stop.sleep(max(PACE_S, REST * (self.clock() - began)))

    async def overview(self) -> Overview:
        """Return the page as it is now."""
        page, last_id = await self._show()
        newest, rates = await overview.rates(self._process.pool, page.cards.keys())
        nothing = [0] * overview.BINS
        cards = [
            msgspec.structs.replace(card, rate=rates.get(stream_id, nothing))
            for stream_id, card in page.cards.items()
        ]
        return Overview(
            at=page.at,
            time_zone=self._time_zone,
            last_event_id=last_id,
            verdict=page.verdict,
            streams=cards,
            flow=[row for rows in page.flow.values() for row in rows],
            troubles=list(page.alerts),
            mutes=list(page.mutes),
            processes=list(page.processes.values()),
            database=page.database,
            rates_bin=newest,
        )

    async def current_verdict(self) -> CurrentVerdict:
        """Return the first words of the overview."""
        self._asked_at = self.clock()
        page, _ = await self.refresh()
        return CurrentVerdict(at=page.at, time_zone=self._time_zone, verdict=page.verdict)

    async def card(self, stream_id: UUID) -> Card | None:
        """Return a stream's card, also where the page has no room for it; None when there is no such stream."""
        page, _ = await self.refresh()
        row = await overview.card(self._process.pool, stream_id)
        if row is None:
            return None
        _, rates = await overview.rates(self._process.pool, [stream_id])
        rate = rates.get(stream_id, [0] * overview.BINS)
        return msgspec.structs.replace(Levels(page.alerts).card(row), rate=rate)

    async def listen(self) -> None:
        """Have the ring carry whatever changes from now on, while `listening`."""
        self._asked_at = self.clock()
        if self._told is None:
            await self.refresh()

    def batteries(self) -> list[ForwarderUpsUpdated]:
        """Return what who begins to listen is told first: it comes again only when it is otherwise."""
        return self.news.batteries()

    def wake(self) -> None:
        """Look now, if anybody wants to know, or once more when a look is under way."""
        self._loop.wake()

    def lose(self) -> None:
        """Take it that something was missed: the database was away."""
        self._lost = True
        self.wake()

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Count somebody who follows the ring."""
        self.listeners += 1
        EVENT_STREAMS.set(self.listeners)
        try:
            yield
        finally:
            self.listeners -= 1
            EVENT_STREAMS.set(self.listeners)
            self._asked_at = self.clock()

    async def refresh(self) -> tuple[Page, str]:
        """Return the page, read after this call, and the id of the newest message that it holds already."""
        # Before the turn: a look that has begun by now may have read what is too old for us; the next one has not.
        asked = self.looks
        async with self._turn:
            if self._fresh is None or self._fresh[0] <= asked:
                # Whoever has waited for the turn of a look shares what came of it: where each may have to wait for a
                # lock, the last of a hundred would be told after minutes.
                if self._failed is not None and self._failed[0] > asked:
                    raise type(self._failed[1])(str(self._failed[1])) from self._failed[1]
                # Before it reads: whoever asks from here on is not served by this look, but by the next.
                self.looks += 1
                await self._read(self.looks)
            if self._fresh is None:
                raise DatabaseUnavailable("the page could not be read")
            return self._fresh[1:]

    async def _show(self) -> tuple[Page, str]:
        """Return a page that was read after this call and is told to the last, and the id of its last message."""
        self._asked_at = self.clock()
        # The refresh that comes next tells all of what it reads, and leaves it in _shown.
        self._whole = True
        await self.refresh()
        if self._shown is None:
            raise DatabaseUnavailable("the page could not be read")
        return self._shown

    def _rest(self) -> None:
        # Not while somebody's look is under way: it would number its messages in a ring that has lost its name.
        if self._told is not None and not self._turn.locked():
            self._told = None
            self.ring.rename()

    async def _look(self) -> None:
        try:
            await self.refresh()
        except DatabaseRefused as error:
            if not self._lost:
                log.warning("live_delayed", error=str(error))
            self._lost = True
        except DatabaseUnavailable:
            self._lost = True
            raise

    async def _read(self, number: int) -> None:
        # Taken before the first statement: who asks from here on is served by the next look.
        whole, self._whole = self._whole, False
        try:
            await self._tell_all(number, whole=whole)
        except BaseException as error:
            if isinstance(error, DatabaseUnavailable):
                self._failed = number, error
            # Who waits for a page that is told to the last is served by the next look.
            self._whole = self._whole or whole
            raise

    async def _tell_all(self, number: int, *, whole: bool) -> None:
        """Read the page and the log, and tell what has changed.

        Nothing is told twice where a statement fails on the way: what single events have said is noted before the
        digest looks anything up, and that keeps for itself what it has told.
        """
        began = self.clock()
        pool = self._process.pool
        known = self._storage if self.clock() - self._storage_at < STORAGE_EVERY_S else None
        rows = await overview.rows(pool, resolved=RESOLVED, known=known)
        if known is None:
            self._storage, self._storage_at = rows.storage, self.clock()
        page = made(rows)
        # Younger than the page: an entry that tells of something newer is followed by it at the next look.
        entries = await logs.latest(pool, ENTRIES)
        told, due = self._told, self._due(page)
        metrics = {} if told is None or self._lost else await streams.metrics_of(pool, due)
        telling = told is not None and not self._lost
        news = await self.news.read(page, telling=telling)
        races = await self._races.next(telling=telling)
        # Each part is noted as told right behind the telling, and before the next statement, which may fail.
        if told is None or self._lost:
            await self._digest.begin(page, self.clock())
            if told is not None:
                self.tell(Resync())
            self._cards = dict(page.cards)
            self._lost = False
            self._note(page, entries)
            self.news.begin(news)
        else:
            for message in (*changes(told, page), *races):
                self.tell(message, SINGLE)
            self._digest.races_changed = self._digest.races_changed or self._races.any
            self._tell_metrics(page, metrics)
            for message in self.news.take(news):
                self.tell(message, SINGLE)
            self._tell_entries(entries)
            self._note(page, entries)
            await self._tell_digest(page, whole=whole)
        if whole or told is None:
            self._shown = page, self.ring.last_id
        self._fresh = number, page, self.ring.last_id
        now = self.clock()
        usual_s = POLL_S + (1 + REST) * (now - began)
        self._known_until = now + min(max(KNOWS_S, 2 * usual_s), KNOWS_AT_MOST_S)

    def _tell_metrics(self, page: Page, metrics: Mapping[UUID, StreamMetrics]) -> None:
        for stream_id, numbers in metrics.items():
            card, top = page.cards[stream_id], msgspec.structs.asdict(numbers)
            said = MetricsUpdated(stream_id=stream_id, metrics=numbers, card=card, **top)
            self.tell(said, SINGLE)
            self._cards[stream_id] = card
            self._told_at[stream_id] = self.clock()

    def _note(self, page: Page, entries: list[LogEntry]) -> None:
        """Take page and log as told by single events."""
        self._told = page
        self._entries = {each.activity_id for each in entries}

    def _due(self, page: Page) -> list[UUID]:
        """Return the streams whose numbers have changed and may be told again; for the others a look will be due."""
        for known in (self._cards, self._told_at):
            for gone in known.keys() - page.cards.keys():
                del known[gone]
        ahead = moved(self._cards, page.cards)
        latest = self.clock() - PACE_S
        due = [stream_id for stream_id in ahead if self._told_at.get(stream_id, latest) <= latest]
        # Those that were told a moment ago: the look that this asks for finds them due.
        if len(due) < len(ahead):
            self.wake()
        return due

    def _tell_entries(self, entries: list[LogEntry]) -> None:
        # By what was told, not by the highest id: an id is drawn before its commit, and lower ones may become visible
        # later.
        new = [each for each in reversed(entries) if each.activity_id not in self._entries]
        # As many as we look at: there may have been more.
        if len(new) == ENTRIES:
            self.tell(Resync())
        for entry in new:
            self.tell(LogWritten(entry=entry))

    async def _tell_digest(self, page: Page, *, whole: bool) -> None:
        said, later = await self._digest.next(page, self.clock(), whole=whole)
        if said is not None:
            self.tell(said, CHANGED)
        if later:
            self.wake()

    def tell(self, message: Message, forms: Collection[Form] = BOTH) -> None:
        """Have the ring carry a message, to those who follow in these forms."""
        self.ring.add(encoded(message, self.ring.next_id), forms)
