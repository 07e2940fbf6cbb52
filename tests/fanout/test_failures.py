"""A database that fails in the middle of a delivery: nothing is lost, nothing is sent again and again, nobody waits for
what another one has let go.
"""

from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import orjson
import pytest

from fanout import window
from fanout.events import Event
from fanout.generation import FIRST, SECOND
from fanout.in_flight import InFlight
from fanout.modes.replay import Target, Targets
from fanout.node import Node
from fanout.pages import Pages
from fanout.plans.race import Mapped
from fanout.store.starting_points import StartingPoint
from fanout.subscription import Subscription
from fanout.turns import Turns
from shared.db.connections import Connection
from shared.db.errors import DatabaseUnavailable
from shared.protocol.v1 import StreamRef
from tests.delivery import stored
from tests.fanout.test_subscription import PAGE, RECEIVED_AT, REF, Stream, rest, take

# --- targeted replay ---

SEQS = list(range(1, 3 * PAGE + 1))


class Failing:
    """Pages of epochs that each have SEQS; the reading of one of them fails, once."""

    def __init__(self, fails: int) -> None:
        self._fails = fails
        self._read = 0

    async def of_epoch(self, *_: Any, epoch: int, after_seq: int, **__: Any) -> list[Event]:
        self._read += 1
        if self._read == self._fails:
            raise DatabaseUnavailable("as told")
        found = [seq for seq in SEQS if seq > after_seq][:PAGE]
        return [
            Event(seq, epoch, seq, RECEIVED_AT, orjson.dumps({"epoch": epoch, "seq": seq})) for seq in found
        ]


@pytest.mark.parametrize("room", [1, PAGE, PAGE + 1, 100])
@pytest.mark.parametrize("fails", range(1, 10))
async def test_a_replay_loses_nothing_wherever_the_database_fails(fails: int, room: int) -> None:
    targets = Targets(cast("Node", SimpleNamespace(pages=Failing(fails))), SECOND)
    targets.replay(Target(REF, uuid4(), epoch, 0, 100) for epoch in (1, 2))
    got: list[tuple[int, int]] = []
    failed = 0
    while not targets.done.is_set():
        try:
            taken = await targets.gather(room)
        except DatabaseUnavailable:
            failed += 1
        else:
            for _, each in taken:
                got += [(of["epoch"], of["seq"]) for of in orjson.loads(b"[" + each.slice.json + b"]")]
    assert got == [(epoch, seq) for epoch in (1, 2) for seq in SEQS]
    assert failed <= 1


# --- rows of new epochs ---


async def test_what_asked_for_a_row_that_another_beginning_made_is_sent_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The row of a new epoch failed; by then the epoch is mapped, and has its row from that."""
    monkeypatch.setattr(window, "WINDOW_EVENTS", 1)
    stream = Stream()
    stream.commit_next(1, 1)
    stream.follow()
    plan = Mapped([1])
    subscription = Subscription(stream.tail, plan, FIRST, {})
    subscription.begin(stream.stream_id, stream.point())
    assert await rest(subscription, stream) == [(1, 1)]
    stream.commit_next(2, 2)
    stream.follow()
    assert not (await subscription.take(cast("Pages", stream), 9)).steps
    assert subscription.new_epochs == {2}
    assert subscription.holds_page
    plan.map([1, 2])
    subscription.begin(stream.stream_id, stream.point())
    assert not subscription.new_epochs
    assert await rest(subscription, stream) == [(2, 1), (2, 2)]


async def test_a_page_moves_on_whatever_was_asked_for_before() -> None:
    stream = Stream()
    stream.commit_next(1, 9)
    stream.follow()
    subscription = Subscription(stream.tail, Mapped([1]), FIRST, {})
    subscription.begin(stream.stream_id, stream.point())
    subscription.new_epochs = {2}
    assert [await take(subscription, stream, 2) for _ in range(2)] == [[(1, 1), (1, 2)], [(1, 3), (1, 4)]]


# --- what a resume says of an epoch that begins later ---


def resumed(stream: Stream, subscription: Subscription) -> StartingPoint:
    return stream.point(resume=subscription.resume_of(stream.stream_id))


async def test_a_resume_counts_for_an_epoch_that_is_mapped_later_and_for_that_once() -> None:
    stream = Stream()
    stream.commit_next(1, 2)
    stream.commit_next(2, 5)
    stream.follow()
    plan = Mapped([1])
    subscription = Subscription(stream.tail, plan, FIRST, {2: 3})
    subscription.begin(stream.stream_id, resumed(stream, subscription))
    assert await rest(subscription, stream) == [(1, 1), (1, 2)]
    plan.map([1, 2])
    subscription.begin(stream.stream_id, resumed(stream, subscription))
    assert await rest(subscription, stream) == [(2, 4), (2, 5)]
    for epochs in ([1], [1, 2]):
        plan.map(epochs)
        subscription.drop()
    subscription.begin(stream.stream_id, resumed(stream, subscription))
    assert await rest(subscription, stream) == [(2, seq) for seq in range(1, 6)]


@pytest.mark.parametrize("restarts", [True, False])
async def test_a_resume_counts_no_more_after_a_deletion_or_for_another_stream(restarts: bool) -> None:
    stream, other = Stream(), Stream()
    for each in (stream, other):
        each.commit_next(1, 1)
        each.commit_next(2, 2)
        each.follow()
    plan = Mapped([1])
    subscription = Subscription(stream.tail, plan, FIRST, {2: 1})
    subscription.begin(stream.stream_id, resumed(stream, subscription))
    if restarts:
        subscription.restart()
        other = stream
    else:
        subscription.tail = other.tail
        subscription.window = other.tail.window(FIRST)
    subscription.begin(other.stream_id, other.point(resume=subscription.resume_of(other.stream_id)))
    plan.map([1, 2])
    subscription.begin(other.stream_id, other.point(resume=subscription.resume_of(other.stream_id)))
    assert await rest(subscription, other) == [(1, 1), (2, 1), (2, 2)]


# --- the only page ---


async def test_who_let_its_page_go_holds_up_nobody(node: Node, database: Connection) -> None:
    turns, plans = await _two_streams(node, database)
    holder, other = turns.subscriptions
    assert [ref for ref, _ in await turns.gather(3)] == [holder]
    plans[holder].map([])
    turns.replan(holder)
    assert [ref for ref, _ in await turns.gather(3)] == [other]
    turns.leave()


async def test_who_begins_anew_holds_up_nobody(node: Node, database: Connection) -> None:
    turns, _ = await _two_streams(node, database)
    holder, other = turns.subscriptions
    assert [ref for ref, _ in await turns.gather(3)] == [holder]
    turns.restart(holder)
    assert [ref for ref, _ in await turns.gather(3)] == [other]
    turns.leave()


async def test_who_finds_its_page_gone_lets_the_others_know(node: Node, database: Connection) -> None:
    """They were passed over just before."""
    turns, _ = await _two_streams(node, database)
    holder, other = turns.subscriptions
    assert [ref for ref, _ in await turns.gather(3)] == [holder]
    turns.go_live()
    turns.news.clear()
    turns.subscriptions[holder].page.clear()
    turns.subscriptions[holder].legs.clear()
    turns.woken = dict.fromkeys((other, holder))
    assert [ref for ref, _ in await turns.gather(3)] == []
    assert turns.news.is_set()
    assert [ref for ref, _ in await turns.gather(3)] == [other]
    turns.leave()


async def _two_streams(node: Node, database: Connection) -> tuple[Turns, dict[StreamRef, Mapped]]:
    turns = Turns(
        node, SECOND, receiver_id="tent", session_id=uuid4(), in_flight=InFlight(), backlog_only=True
    )
    plans = {StreamRef("start", name): Mapped([1]) for name in ("a", "b")}
    for ref, plan in plans.items():
        await stored.store_many(database, await stored.make_stream(database, "start", ref.reader_ip), 9)
        turns.subscribe(ref, plan, {})
    await node.tails.resolve(plans)
    await turns.begin()
    return turns, plans
