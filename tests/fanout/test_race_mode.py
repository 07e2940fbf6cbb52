"""What a race's receiver is told of it, and where it goes on after a cut."""

from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID, uuid4

import orjson
import pytest

from fanout import turns as of_turns
from fanout.delivery import Cursor
from fanout.generation import SECOND
from fanout.in_flight import InFlight
from fanout.modes.race import SHOWN_REFUSED, RaceMode
from fanout.node import Node
from fanout.plans.race import Mapped
from fanout.store import cursors as store
from fanout.store import sessions
from fanout.store.races import RaceMapping
from fanout.turns import Turns
from shared.db.connections import Connection, Pool
from shared.db.errors import RowLocked
from shared.errors import ProtocolError
from shared.protocol.v1 import StreamRef
from tests.delivery import stored
from tests.waiting import wait_until

REF = StreamRef("start", "10.0.0.1:10000")


class Full:
    """Turns that take no stream as long as they are full."""

    def __init__(self) -> None:
        self.full = True
        self.changed = self.backlog_done = cast("Any", SimpleNamespace(set=lambda: None))

    def subscribe(self, *_: Any) -> None:
        if self.full:
            raise ProtocolError("more than 1000 streams")

    def replan(self, _: StreamRef) -> None:
        """Nothing is under way."""


def mapping(count: int, epoch: int = 1) -> RaceMapping:
    return RaceMapping(True, {StreamRef("start", str(n)): frozenset({epoch}) for n in range(count)})


def race_mode(full: Full) -> RaceMode:
    return RaceMode(cast("Node", None), cast("Turns", full), str(uuid4()), {})


def test_that_streams_are_refused_does_not_say_that_there_is_no_race() -> None:
    mode = race_mode(Full())
    assert not mode.applied().has_race
    mode.remap(mapping(3))
    assert mode.applied().has_race
    assert len(mode.applied().warnings) == 3


def test_of_many_refused_streams_some_are_named() -> None:
    mode = race_mode(Full())
    mode.remap(mapping(SHOWN_REFUSED + 312))
    warnings = mode.applied().warnings
    assert (len(warnings), warnings[-1]) == (SHOWN_REFUSED + 1, "and 312 more")


@pytest.mark.parametrize("unmapped", [True, False])
def test_a_refusal_ends_with_the_mapping_or_when_there_is_room(unmapped: bool) -> None:
    full = Full()
    mode = race_mode(full)
    mode.remap(mapping(1))
    assert mode.applied().warnings
    full.full = unmapped
    mode.remap(mapping(0) if unmapped else mapping(1, epoch=2))
    assert not mode.applied().warnings


# --- with a database ---


async def begun(node: Node, *names: str) -> Turns:
    turns = Turns(node, SECOND, receiver_id="tent", session_id=uuid4(), in_flight=InFlight())
    refs = [StreamRef("start", name) for name in names]
    for ref in refs:
        turns.subscribe(ref, Mapped([1]), {})
    await node.tails.resolve(refs)
    await turns.begin()
    return turns


async def seqs(turns: Turns) -> list[int]:
    return [
        event["seq"]
        for _, taken in await turns.gather(3)
        for event in orjson.loads(b"[" + taken.slice.json + b"]")
    ]


async def implied(database: Connection, stream_id: UUID, epoch: int = 1) -> None:
    """A session of the first generation has resumed a newer epoch."""
    await database.execute(
        """
        INSERT INTO receiver_cursors
            (receiver_id, stream_id, stream_epoch, last_seq, position, event_count, implied)
        VALUES ('tent', $1, $2, 9, 9, 9, true)
        """,
        stream_id,
        epoch,
    )


async def test_a_replay_of_what_was_implied_goes_on_where_it_was_cut(
    node: Node, database: Connection
) -> None:
    stream_id = await stored.make_stream(database, "start", REF.reader_ip)
    await stored.store_many(database, stream_id, 9)
    await implied(database, stream_id)
    turns = await begun(node, REF.reader_ip)
    assert await seqs(turns) == [1, 2, 3]
    turns.advance(REF, 1, Cursor(3, 9, 3))
    await node.cursors.flush()
    turns.leave()
    turns = await begun(node, REF.reader_ip)
    assert await seqs(turns) == [4, 5, 6]
    turns.leave()


async def test_what_is_mapped_while_rows_begin_again_is_disbelieved_too(
    node: Node, database: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream_id = await stored.make_stream(database, "start", REF.reader_ip)
    await stored.store(database, stream_id, [(epoch, seq, b"aa") for epoch in (1, 2) for seq in range(1, 10)])
    for epoch in (1, 2):
        await implied(database, stream_id, epoch)
    turns = Turns(node, SECOND, receiver_id="tent", session_id=uuid4(), in_flight=InFlight())
    plan = Mapped([1])
    begin_again = store.begin_again

    async def mapped_meanwhile(pool: Pool, cursor_ids: Iterable[int]) -> None:
        await begin_again(pool, cursor_ids)
        plan.map([1, 2])
        turns.replan(REF)

    monkeypatch.setattr(store, "begin_again", mapped_meanwhile)
    turns.subscribe(REF, plan, {})
    await node.tails.resolve([REF])
    await turns.begin()
    assert [await seqs(turns) for _ in range(6)] == [[1, 2, 3], [4, 5, 6], [7, 8, 9]] * 2
    turns.advance(REF, 2, Cursor(3, 18, 3))
    await node.cursors.flush()
    rows = await database.fetch("SELECT stream_epoch, last_seq, implied FROM receiver_cursors ORDER BY 1")
    assert [tuple(row) for row in rows] == [(1, 0, False), (2, 3, False)]
    turns.leave()


async def test_flags_that_a_lock_held_up_are_written_though_the_stream_is_quiet(
    node: Node, database: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(of_turns, "REST_S", 0.01)
    stream_id = await stored.make_stream(database, "start", REF.reader_ip)
    await stored.store_many(database, stream_id, 1)
    turns = await begun(node, REF.reader_ip)
    cast("Mapped", turns.subscriptions[REF].plan).map([])
    turns.replan(REF)

    async def locked(*_: Any) -> None:
        raise RowLocked("as told")

    with monkeypatch.context() as patched:
        patched.setattr(store, "flag_cursors", locked)
        # Before, not after: it may come while we are held up.
        turns.news.clear()
        await turns.begin()
    await wait_until(turns.news.is_set, what="a further look")
    await turns.begin()
    wanted = await database.fetchval("SELECT wanted FROM receiver_cursors WHERE stream_id = $1", stream_id)
    assert wanted is False
    turns.leave()


async def test_a_plan_that_changes_while_flags_and_row_are_written_is_written_next(
    node: Node, database: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [REF.reader_ip, "10.0.0.2:10000"]
    for name in names:
        await stored.store_many(database, await stored.make_stream(database, "start", name), 1)
    turns = await begun(node, *names)
    flag, list_truly, listed = store.flag_cursors, sessions.subscribe_session, []

    def unmap(name: str) -> None:
        ref = StreamRef("start", name)
        cast("Mapped", turns.subscriptions[ref].plan).map([])
        turns.replan(ref)

    async def other_meanwhile(*arguments: Any) -> None:
        await flag(*arguments)
        unmap(names[1])

    async def mine_meanwhile(pool: Any, session_id: UUID, streams: Any) -> None:
        listed.append(list(streams))
        await list_truly(pool, session_id, listed[-1])
        if len(listed) == 1:
            turns.replan(StreamRef("start", names[0]))

    with monkeypatch.context() as patched:
        patched.setattr(store, "flag_cursors", other_meanwhile)
        patched.setattr(of_turns, "subscribe_session", mine_meanwhile)
        unmap(names[0])
        await turns.begin()
    monkeypatch.setattr(of_turns, "subscribe_session", mine_meanwhile)
    await turns.begin()
    wanted = await database.fetch("SELECT wanted FROM receiver_cursors WHERE receiver_id = 'tent'")
    assert [each["wanted"] for each in wanted] == [False, False]
    assert listed == [[], []]
    turns.leave()
