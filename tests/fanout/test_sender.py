"""What one receiver gets of all its streams, how much at a time, and what that costs in memory."""

import asyncio
from collections import Counter
from typing import Any
from uuid import UUID

import pytest

from fanout import turns
from fanout.events import MESSAGE_BYTES
from fanout.node import Node
from fanout.sender import Saying
from fanout.store import events as event_store
from fanout.store import starting_points as begins
from fanout.store.events import Rows
from fanout.store.starting_points import StartingPoint
from shared.db.connections import Connection
from shared.db.errors import DatabaseUnavailable
from shared.errors import ProtocolError
from shared.protocol.v1 import AckEntry, StreamRef
from tests.delivery import stored
from tests.fanout.receiving import Receiver, all_begun, quiet, running
from tests.waiting import wait_until


async def test_streams_take_turns(receiver: Receiver) -> None:
    refs = [await receiver.stream(str(number)) for number in range(3)]
    await all_begun(receiver)
    receiver.socket.takes.clear()
    await receiver.commit(refs[0], 1)
    await wait_until(lambda: receiver.socket.messages)  # the sender waits for the socket from here on
    await receiver.commit(refs[0], *range(2, 302))
    for ref in refs[1:]:
        await receiver.commit(ref, *range(1, 41))
    receiver.socket.takes.set()
    await wait_until(lambda: len(receiver.socket.events) == 100)
    receiver.ack(refs[0], 100)
    await wait_until(lambda: len(receiver.socket.events) == 200)
    by_stream = [Counter(event["reader_ip"] for event in message) for message in receiver.socket.messages]
    assert by_stream == [{"0": 1}, {"0": 99}, {"1": 40, "2": 40, "0": 20}]


async def test_a_long_replay_of_one_stream_does_not_hold_up_what_is_new_of_another(
    receiver: Receiver,
) -> None:
    live = await receiver.stream("live")
    await all_begun(receiver)
    old = await receiver.stream("old", 3_000)
    await receiver.got_until(old, 500)
    await receiver.commit(live, 1)

    def arrived() -> bool:
        receiver.ack(old, receiver.got(old)[-1])
        return bool(receiver.got(live))

    await wait_until(arrived, what="what is new")
    assert receiver.got(old)[-1] < 1_000


async def test_a_receiver_holds_one_page_at_a_time_whatever_it_replays(receiver: Receiver) -> None:
    refs = [await receiver.stream(str(number), 2_500) for number in range(4)]
    most = 0

    def all_came() -> bool:
        """Look while the sender waits for acks, with the rest of a page; then ack all that came."""
        nonlocal most
        pages = [each.page for each in receiver.following.turns.subscriptions.values() if each.page]
        most = max(most, len(pages))
        assert sum(len(page) for page in pages) <= event_store.READ_EVENTS
        for ref in refs:
            if seqs := receiver.got(ref):
                receiver.ack(ref, seqs[-1])
        return len(receiver.socket.events) == 4 * 2_500

    await wait_until(all_came, what="all events")
    for ref in refs:
        assert receiver.got(ref) == list(range(1, 2_501))
    assert most == 1


async def test_nothing_is_read_ahead_for_a_receiver_that_takes_nothing(receiver: Receiver) -> None:
    ref = await receiver.stream("1")
    await receiver.commit(ref, 1)
    await receiver.got_until(ref, 1)
    receiver.socket.takes.clear()
    for first in range(2, 3_002, 500):
        await receiver.commit(ref, *range(first, first + 500))
    await wait_until(lambda: len(receiver.socket.messages) == 2)
    await quiet(lambda: len(receiver.socket.messages))
    assert not any(each.page for each in receiver.following.turns.subscriptions.values())


async def test_long_lines_make_a_message_shorter_whatever_stream_they_are_of(receiver: Receiver) -> None:
    refs = [await receiver.stream(str(number)) for number in range(5)]
    await all_begun(receiver)
    receiver.socket.takes.clear()
    await receiver.commit(refs[0], 1)
    await wait_until(lambda: receiver.socket.messages)
    for ref in refs:
        await receiver.commit(ref, *range(2, 12), line=b"x" * 60_000)
    receiver.socket.takes.set()
    for ref in refs:
        await receiver.got_until(ref, 11)
    assert max(receiver.socket.bytes) < 2 * MESSAGE_BYTES
    assert sum(len(receiver.got(ref)) for ref in refs) == 51


async def test_what_one_stream_gave_is_sent_though_the_database_fails_for_the_next(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = await receiver.stream("live")
    await receiver.commit(live, 1)
    await receiver.got_until(live, 1)

    async def away(*_: object, **__: object) -> Rows:
        raise DatabaseUnavailable("away")

    monkeypatch.setattr("shared.db.patience.RETRY_S", 0.01)
    with monkeypatch.context() as broken:
        broken.setattr(event_store, "read_epoch_page", away)
        old = await receiver.stream("old", 500)
        await receiver.commit(live, 2)
        await wait_until(lambda: receiver.got(live) == [1, 2])
        assert receiver.got(old) == []
    await receiver.got_until(old, 500)


async def test_streams_that_began_while_the_row_could_not_be_written_are_listed_later(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed: list[UUID] = []
    attempts = 0

    async def subscribe(_pool: object, _session_id: UUID, stream_ids: list[UUID]) -> None:
        nonlocal attempts
        attempts += 1
        if attempts == 1:
            raise DatabaseUnavailable("away")
        listed.extend(stream_ids)

    monkeypatch.setattr("shared.db.patience.RETRY_S", 0.01)
    monkeypatch.setattr(turns, "subscribe_session", subscribe)
    ref = await receiver.stream("1", 5)
    await receiver.got_until(ref, 5)
    assert (listed, attempts) == ([receiver.streams[ref]], 2)


async def test_naming_a_stream_again_changes_nothing(receiver: Receiver) -> None:
    ref = await receiver.stream("1", 5)
    await receiver.got_until(ref, 5)
    receiver.following.subscribe(ref)
    await receiver.following.resume([AckEntry(ref.forwarder_id, ref.reader_ip, 1, 2)])
    await receiver.commit(ref, 6)
    await receiver.got_until(ref, 6)
    assert receiver.got(ref) == [1, 2, 3, 4, 5, 6]


async def test_an_ack_of_what_the_receiver_cannot_have_had_is_not_kept(receiver: Receiver) -> None:
    ref = await receiver.stream("1", 5)
    await receiver.got_until(ref, 5)
    known = len(receiver.node.cursors.unwritten)
    receiver.sender.ack([AckEntry("start", "1", epoch, 1) for epoch in range(2, 5_000)])
    receiver.sender.ack([AckEntry("start", str(number), 1, 1) for number in range(2, 5_000)])
    assert len(receiver.node.cursors.unwritten) == known == 1


async def test_more_subscriptions_than_a_receiver_may_have_are_refused(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "MAX_SUBSCRIPTIONS", 3)
    for number in range(3):
        receiver.following.subscribe(StreamRef("start", str(number)))
    receiver.following.subscribe(StreamRef("start", "0"))
    with pytest.raises(ProtocolError):
        receiver.following.subscribe(StreamRef("start", "3"))


async def test_a_stream_that_is_deleted_before_it_starts_is_asked_for_once(
    receiver: Receiver, database: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0
    ask = begins.starting_points

    async def points(*arguments: Any, **options: Any) -> dict[UUID, StartingPoint]:
        nonlocal asked
        if asked == 0:
            await stored.delete_stream(database, next(iter(receiver.streams.values())))
        asked += 1
        return await ask(*arguments, **options)

    monkeypatch.setattr(begins, "starting_points", points)
    gone = await receiver.stream("gone", 5)
    await wait_until(lambda: asked)
    live = await receiver.stream("live")
    for seq in range(1, 6):
        await receiver.commit(live, seq)
        await receiver.got_until(live, seq)
    assert (asked, receiver.got(gone)) == (2, [])


async def test_who_leaves_follows_nothing_any_more(node: Node, database: Connection) -> None:
    async with running(node, database) as receiver:
        await receiver.stream("1")
        assert len(node.tails.tails) == 1
    assert not node.tails.tails


def said_in(receiver: Receiver) -> list[Any]:
    """Return what each message holds, whether events or what a test has told."""
    return list(receiver.socket.messages)


async def test_what_is_told_goes_out_behind_the_reads_that_it_counts_and_the_newest_alone(
    receiver: Receiver,
) -> None:
    ref = await receiver.stream("1")
    await receiver.commit(ref, 1)
    await receiver.got_until(ref, 1)
    for said in (b'{"events": ["old"]}', b'{"events": ["new"]}'):
        receiver.sender.tell(Saying("it", said, ref, 2))
    await quiet(lambda: len(receiver.socket.messages))
    await receiver.commit(ref, 2)
    await wait_until(lambda: len(receiver.socket.messages) == 3)
    assert [each["seq"] for each in receiver.socket.messages[1]] == [2]
    assert said_in(receiver)[2] == ["new"]


async def test_what_is_told_while_something_is_told_is_told_after_it(receiver: Receiver) -> None:
    receiver.socket.takes.clear()
    for about in ("a", "b"):
        receiver.sender.tell(Saying(about, f'{{"events": ["{about}1"]}}'.encode()))
    await wait_until(lambda: receiver.socket.messages)
    receiver.sender.tell(Saying("b", b'{"events": ["b2"]}'))
    receiver.socket.takes.set()
    await wait_until(lambda: len(receiver.socket.messages) == 3)
    assert said_in(receiver) == [["a1"], ["b1"], ["b2"]]


async def test_a_past_that_takes_its_time_keeps_nothing_from_being_told(receiver: Receiver) -> None:
    ref = await receiver.stream("1", 400)
    await wait_until(lambda: receiver.socket.messages)
    receiver.sender.tell(Saying("it", b'{"events": ["told"]}', ref, 400))
    receiver.ack(ref, 100)
    await wait_until(lambda: len(receiver.socket.messages) == 3)
    assert said_in(receiver)[2] == ["told"]
    assert receiver.socket.messages[1][-1]["seq"] == 200


def thing(about: str, number: int) -> Saying:
    return Saying(about, f'{{"events": ["{about}{number}"]}}'.encode())


async def test_of_a_stream_that_went_nothing_is_told_any_more_not_even_what_waits(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fanout.sender.EVERY_S", 3600)
    went, stays = StreamRef("start", "1"), StreamRef("start", "2")
    for name, stream in (("a", went), ("b", stays), ("c", None)):
        receiver.sender.tell(thing(name, 1)._replace(stream=stream))
    await wait_until(lambda: len(receiver.socket.messages) == 3)
    for name, stream in (("a", went), ("b", stays), ("c", None)):
        receiver.sender.tell(thing(name, 2)._replace(stream=stream))
    receiver.sender.forget({went})
    monkeypatch.setattr("fanout.sender.EVERY_S", 0)
    receiver.sender.tell(thing("d", 1))
    await wait_until(lambda: ["d1"] in said_in(receiver))
    assert said_in(receiver)[3:] == [["b2"], ["c2"], ["d1"]]


async def test_the_same_thing_is_told_once_a_second_and_others_meanwhile(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fanout.sender.EVERY_S", 3600)
    receiver.sender.tell(thing("a", 1))
    await wait_until(lambda: receiver.socket.messages)
    for number in (2, 3):
        receiver.sender.tell(thing("a", number))
    await quiet(lambda: len(receiver.socket.messages))
    receiver.sender.tell(thing("b", 1))
    await wait_until(lambda: len(receiver.socket.messages) == 2)
    monkeypatch.setattr("fanout.sender.EVERY_S", 0)
    receiver.sender.tell(thing("c", 1))
    await wait_until(lambda: len(receiver.socket.messages) == 4)
    assert said_in(receiver) == [["a1"], ["b1"], ["a3"], ["c1"]]
    # Of things that are told no more nothing is kept.
    for number in range(10):
        receiver.sender.tell(thing(f"{number}", 1))
        await wait_until(lambda: len(receiver.socket.messages) == 5 + number)  # noqa: B023
    assert len(receiver.sender.told_at) == 1


async def test_what_waits_for_its_second_is_told_though_nothing_else_happens(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fanout.sender.EVERY_S", 0.2)
    for number in (1, 2):
        receiver.sender.tell(thing("a", number))
        await wait_until(lambda: len(receiver.socket.messages) == number)  # noqa: B023
    assert said_in(receiver) == [["a1"], ["a2"]]


async def test_what_two_tell_goes_out_in_the_order_in_which_it_was_so(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fanout.sender.EVERY_S", 0)
    receiver.socket.takes.clear()
    receiver.sender.tell(thing("a", 1))
    await wait_until(lambda: receiver.socket.messages)
    receiver.sender.tell(thing("a", 2))
    other = asyncio.ensure_future(receiver.sender.tell_due())
    await quiet(lambda: len(receiver.socket.messages))
    receiver.socket.takes.set()
    await other
    assert said_in(receiver) == [["a1"], ["a2"]]


async def test_of_one_moment_the_lower_rank_goes_first(receiver: Receiver) -> None:
    for rank in (2, 0, 1):
        receiver.sender.tell(thing(str(rank), 1)._replace(rank=rank))
    await wait_until(lambda: len(receiver.socket.messages) == 3)
    assert said_in(receiver) == [["01"], ["11"], ["21"]]
