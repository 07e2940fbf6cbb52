"""The way through one stream, whatever is committed meanwhile: the seam between replay and live."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import cast
from uuid import UUID, uuid4

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanout import window
from fanout.delivery import NOTHING, Cursor, EpochState, Leg
from fanout.events import Event
from fanout.generation import FIRST, Generation
from fanout.pages import Pages
from fanout.plans.plan import Everything
from fanout.store.events import EventRow
from fanout.store.starting_points import StartingPoint
from fanout.subscription import Subscription, Taken
from fanout.tail import Tail
from shared.protocol.v1 import StreamRef

REF = StreamRef("start", "10.0.0.1:10000")
PAGE = 4
RECEIVED_AT = datetime(2026, 2, 22, 9, 11, 13, tzinfo=UTC)

Identity = tuple[int, int]


class Stream:
    """A stream as the tables hold it, its tail, and pages of it: what is committed while a page is read too."""

    def __init__(self) -> None:
        self.stream_id = uuid4()
        self.rows: list[EventRow] = []
        self.stored: list[Event] = []
        self.last_position = 0
        self.tail = Tail(REF)
        self.tail.begin(self.stream_id, 0)
        self.while_reading: Callable[[], None] = lambda: None
        self.pages_read = 0

    def commit(self, epoch: int, *seqs: int) -> None:
        at = self.last_position + 1
        rows = [
            EventRow(at + n, epoch, seq, "", b"aa", "raw", RECEIVED_AT, False) for n, seq in enumerate(seqs)
        ]
        self.rows += rows
        self.stored += FIRST.encode(REF, rows)
        self.last_position = self.stored[-1].position

    def commit_next(self, epoch: int, count: int) -> None:
        last = max((each.seq for each in self.stored if each.stream_epoch == epoch), default=0)
        self.commit(epoch, *range(last + 1, last + count + 1))

    def follow(self) -> None:
        """Let the tail read what is new."""
        news = [each for each in self.rows if each.position > self.tail.head]
        if news:
            self.tail.extend(news)

    def point(
        self, cursors: dict[int, Cursor] | None = None, resume: dict[int, int] | None = None
    ) -> StartingPoint:
        """Say what the database would; of a cursor that says no number it does not know one either."""
        epochs: dict[int, EpochState] = {}
        for epoch in {each.stream_epoch for each in self.stored}:
            seqs = [each.seq for each in self.stored if each.stream_epoch == epoch]
            cursor, resumed = (cursors or {}).get(epoch, NOTHING), (resume or {}).get(epoch)
            epochs[epoch] = EpochState(
                max(seqs),
                len(seqs),
                cursor,
                sum(seq > cursor.last_seq for seq in seqs),
                resumed,
                sum(seq > (resumed or 0) for seq in seqs),
            )
        ids = {epoch: epoch for epoch in epochs}
        return StartingPoint(
            self.last_position, max(epochs, default=1), epochs, ids, dict.fromkeys(epochs, True)
        )

    async def of_epoch(
        self,
        ref: StreamRef,
        stream_id: UUID,
        _generation: Generation,
        *,
        epoch: int,
        after_seq: int,
        stored_up_to: int,
    ) -> list[Event]:
        mine = [each for each in self.stored if each.stream_epoch == epoch and each.seq > after_seq]
        return self._page(ref, stream_id, stored_up_to, sorted(mine, key=lambda event: event.seq))

    async def late(
        self, ref: StreamRef, stream_id: UUID, _generation: Generation, leg: Leg
    ) -> tuple[list[Event], bool]:
        mine = [
            each
            for each in self.stored
            if each.stream_epoch == leg.epoch
            and leg.after_seq < each.seq <= leg.up_to_seq
            and leg.above_position < each.position <= leg.horizon
        ]
        mine.sort(key=lambda event: event.seq)
        return self._page(ref, stream_id, leg.horizon, mine), len(mine) > PAGE

    async def after_position(
        self, ref: StreamRef, stream_id: UUID, _generation: Generation, *, position: int, stored_up_to: int
    ) -> list[Event]:
        return self._page(
            ref, stream_id, stored_up_to, [each for each in self.stored if each.position > position]
        )

    def _page(self, ref: StreamRef, stream_id: UUID, stored_up_to: int, events: list[Event]) -> list[Event]:
        self.pages_read += 1
        self.while_reading()
        if stream_id != self.stream_id:
            return []
        assert ref == REF
        assert stored_up_to <= self.last_position
        return events[:PAGE]


@pytest.fixture(autouse=True)
def _short_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window, "WINDOW_EVENTS", 5)


def identities(taken: Taken) -> list[Identity]:
    return [(each["stream_epoch"], each["seq"]) for each in orjson.loads(b"[" + taken.slice.json + b"]")]


def begun(
    stream: Stream, *, cursors: dict[int, Cursor] | None = None, resume: dict[int, int] | None = None
) -> Subscription:
    subscription = Subscription(stream.tail, Everything(), FIRST, resume or {})
    subscription.begin(stream.stream_id, stream.point(cursors, resume))
    return subscription


async def take_next(subscription: Subscription, stream: Stream, limit: int = 100) -> Taken:
    """Take, as the sender does: the row of an epoch that begins is made first."""
    taken = await subscription.take(cast("Pages", stream), limit)
    if subscription.new_epochs:
        assert not taken.steps
        subscription.begin_epochs({epoch: epoch for epoch in subscription.new_epochs})
        taken = await subscription.take(cast("Pages", stream), limit)
    return taken


async def take(subscription: Subscription, stream: Stream, limit: int = 100) -> list[Identity]:
    return identities(await take_next(subscription, stream, limit))


async def rest(subscription: Subscription, stream: Stream, limit: int = 3) -> list[Identity]:
    """Take until there is nothing more."""
    got: list[Identity] = []
    while subscription.due and not subscription.awaits_start:
        got += await take(subscription, stream, limit)
    return got


async def test_history_comes_by_epoch_and_seq_and_then_what_is_new() -> None:
    stream = Stream()
    stream.commit_next(1, 3)
    stream.commit_next(2, 3)
    stream.commit_next(1, 2)
    stream.follow()
    subscription = begun(stream)
    assert await rest(subscription, stream) == [
        (1, 1),
        (1, 2),
        (1, 3),
        (1, 4),
        (1, 5),
        (2, 1),
        (2, 2),
        (2, 3),
    ]
    stream.commit_next(1, 1)
    stream.follow()
    assert await rest(subscription, stream) == [(1, 6)]


async def test_what_is_committed_during_the_replay_comes_after_it_and_once() -> None:
    stream = Stream()
    stream.commit_next(1, 6)
    subscription = begun(stream)
    stream.while_reading = lambda: stream.commit_next(1, 1) if len(stream.stored) < 12 else None
    got = await rest(subscription, stream)
    stream.follow()
    got += await rest(subscription, stream)
    assert got == [(1, seq) for seq in range(1, len(stream.stored) + 1)]


async def test_late_events_of_an_older_epoch_are_live_events() -> None:
    stream = Stream()
    stream.commit_next(1, 2)
    stream.commit_next(2, 2)
    stream.follow()
    subscription = begun(stream, cursors={1: Cursor(2, 2, 2), 2: Cursor(2, 4, 2)})
    assert await rest(subscription, stream) == []
    stream.commit_next(1, 2)
    stream.follow()
    assert await rest(subscription, stream) == [(1, 3), (1, 4)]


async def test_who_falls_behind_the_window_reads_pages_and_comes_back_to_the_tail() -> None:
    stream = Stream()
    subscription = begun(stream)
    for _ in range(6):
        stream.commit_next(1, 5)
        stream.follow()
    assert await rest(subscription, stream) == [(1, seq) for seq in range(1, 31)]
    read = stream.pages_read
    assert read > 0
    stream.commit_next(1, 3)
    stream.follow()
    assert len(await rest(subscription, stream)) == 3
    assert stream.pages_read == read


async def test_what_an_administrator_deleted_is_stepped_over() -> None:
    stream = Stream()
    stream.commit_next(1, 3)
    subscription = begun(stream)
    await rest(subscription, stream)
    stream.commit_next(1, 20)
    stream.follow()
    del stream.stored[:]
    assert await rest(subscription, stream) == []
    assert not subscription.due


async def test_a_stream_that_is_made_anew_starts_from_its_first_event_without_the_resume() -> None:
    stream = Stream()
    stream.commit_next(1, 4)
    stream.follow()
    subscription = begun(stream, resume={1: 4})
    assert await rest(subscription, stream) == []
    stream.stream_id, stream.stored, stream.last_position = uuid4(), [], 0
    stream.commit_next(1, 6)
    stream.tail.begin(stream.stream_id, 0)
    stream.follow()
    assert subscription.awaits_start
    assert await take(subscription, stream) == []  # not the new stream's events at the old stream's place
    subscription.begin(stream.stream_id, stream.point())
    assert await rest(subscription, stream) == [(1, seq) for seq in range(1, 7)]


async def test_the_rest_of_a_page_of_a_stream_that_was_made_anew_is_not_sent() -> None:
    stream = Stream()
    stream.commit_next(7, 4)
    subscription = begun(stream)
    assert await take(subscription, stream, 1) == [(7, 1)]
    stream.stream_id, stream.stored, stream.last_position = uuid4(), [], 0
    stream.commit_next(1, 1)
    stream.tail.begin(stream.stream_id, 0)
    subscription.begin(stream.stream_id, stream.point())
    assert await rest(subscription, stream) == [(1, 1)]


async def test_an_epoch_that_begins_waits_for_the_row_that_its_acks_will_move() -> None:
    stream = Stream()
    stream.commit_next(1, 1)
    subscription = begun(stream)
    assert await take(subscription, stream) == [(1, 1)]
    stream.commit_next(3, 2)
    stream.follow()
    for _ in range(2):
        assert not (await subscription.take(cast("Pages", stream), 100)).steps
    assert subscription.new_epochs == {3}
    subscription.begin_epochs({3: 7})
    assert await take(subscription, stream) == [(3, 1), (3, 2)]


async def test_what_was_stored_below_the_cursor_comes_first_and_counts_when_all_of_it_is_acked() -> None:
    stream = Stream()
    stream.commit(1, *range(6, 11))
    stream.commit(1, *range(1, 6))
    stream.commit(1, 11, 12)
    stream.follow()
    subscription = begun(stream, cursors={1: Cursor(10, 5, 5)})
    steps: list[tuple[list[int], Cursor]] = []
    while subscription.due:
        taken = await take_next(subscription, stream, 3)
        steps += [([seq for _, seq in identities(taken)], each.after) for each in taken.steps if each]
    assert steps == [
        ([1, 2, 3], Cursor(10, 5, 5)),
        ([4], Cursor(10, 5, 5)),
        ([5], Cursor(10, 12, 10)),
        ([11, 12], Cursor(12, 12, 12)),
    ]


async def test_a_deletion_of_its_cursors_begins_the_stream_anew() -> None:
    stream = Stream()
    stream.commit_next(1, 6)
    subscription = begun(stream, resume={1: 5})
    assert await take(subscription, stream) == [(1, 6)]
    stream.follow()
    subscription.restart()
    assert subscription.awaits_start
    assert await take(subscription, stream) == []
    # Another session of the receiver has acked it all again by now: this one is owed it all the same.
    subscription.begin(stream.stream_id, stream.point({1: Cursor(6, 6, 6)}))
    assert await rest(subscription, stream) == [(1, seq) for seq in range(1, 7)]


# Everything at once: commits of any epoch at any time, also while a page is read; a tail that reads now and then;
# a receiver that connects somewhere in the middle, with a resume, and takes a little at a time.
COMMIT = st.tuples(st.just("commit"), st.integers(1, 3), st.integers(1, 6))
FOLLOW = st.tuples(st.just("follow"), st.just(0), st.just(0))
TAKE = st.tuples(st.just("take"), st.integers(1, 5), st.just(0))
RESUMES = st.dictionaries(st.integers(1, 3), st.integers(0, 8))
STEPS = st.lists(st.one_of(COMMIT, FOLLOW, TAKE), max_size=40)


@contextmanager
def committing(stream: Stream, between: Iterator[tuple[str, int, int]]) -> Iterator[None]:
    def commit() -> None:
        step = next(between, None)
        if step is not None:
            stream.commit_next(*step[1:])

    stream.while_reading = commit
    yield
    stream.while_reading = lambda: None


@given(st.lists(COMMIT, max_size=8), STEPS, st.lists(COMMIT, max_size=10), RESUMES)
def test_every_event_beyond_the_resume_comes_once_in_order_whatever_happens_when(
    before: list[tuple[str, int, int]],
    steps: list[tuple[str, int, int]],
    between: list[tuple[str, int, int]],
    resume: dict[int, int],
) -> None:
    asyncio.run(_walk(before, steps, iter(between), resume))


async def _walk(
    before: list[tuple[str, int, int]],
    steps: list[tuple[str, int, int]],
    between: Iterator[tuple[str, int, int]],
    resume: dict[int, int],
) -> None:
    stream = Stream()
    for _, epoch, count in before:
        stream.commit_next(epoch, count)
    point = stream.point(resume=resume)
    subscription = begun(stream, resume=resume)
    valid = {e: seq for e, seq in resume.items() if e in point.epochs and seq <= point.epochs[e].last_seq}
    claimed = {
        epoch: valid.get(epoch, state.last_seq if epoch < max(valid, default=0) else 0)
        for epoch, state in point.epochs.items()
    }
    got: list[Identity] = []
    with committing(stream, between):
        for kind, number, count in steps:
            if kind == "commit":
                stream.commit_next(number, count)
            elif kind == "follow":
                stream.follow()
            else:
                got += await take(subscription, stream, number)
        stream.follow()
        got += await rest(subscription, stream)
    stream.follow()
    got += await rest(subscription, stream)
    owed = [(e.stream_epoch, e.seq) for e in stream.stored if e.seq > claimed.get(e.stream_epoch, 0)]
    assert sorted(got) == sorted(owed)
    for epoch in (1, 2, 3):
        seqs = [seq for of, seq in got if of == epoch]
        assert seqs == sorted(seqs)
