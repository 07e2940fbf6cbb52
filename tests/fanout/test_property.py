"""Delivery without a hole, whatever comes in which order: in the end a receiver has had every stored event that its own
resume does not claim.
"""

import asyncio
from collections.abc import Iterable
from typing import Any

import asyncpg
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fanout import store, window
from fanout.store import events as event_store
from shared.db.connections import Connection, Pool, create_pool
from shared.protocol.v1 import StreamRef
from tests.delivery import stored
from tests.fanout.failing import FAILURES
from tests.fanout.world import EPOCHS, World

Step = tuple[Any, ...]  # a method of World, and what it is given

HIGHEST = 8
WHICH = st.integers(0, 1)
FEW = st.integers(1, 4)
SEQS = st.lists(st.integers(1, HIGHEST), min_size=1, max_size=4)
STORE = st.tuples(st.just("store"), st.sampled_from(EPOCHS), SEQS)
# What usually goes together is one step: chance alone would hardly ever bring it about.
FLOW = st.one_of(
    STORE,
    st.tuples(st.just("flow"), st.sampled_from(EPOCHS), SEQS, WHICH),
    st.tuples(st.just("take"), WHICH, FEW, st.integers(0, 4)),
    st.tuples(st.just("deliver"), WHICH, FEW),
)
END = st.one_of(
    st.tuples(st.just("leave"), WHICH, st.booleans()),
    st.tuples(st.just("die"), WHICH),
)
TROUBLE = st.one_of(
    st.tuples(st.just("delete")),
    st.tuples(st.just("tell"), WHICH),
    st.tuples(st.just("forget"), st.sampled_from(EPOCHS), st.integers(0, HIGHEST)),
    st.tuples(st.just("save")),
    st.tuples(st.just("restore"), st.booleans()),
    st.tuples(st.just("fail"), WHICH, FEW, st.sampled_from(sorted(FAILURES)), st.integers(0, 2)),
)
CONNECT = st.tuples(st.just("connect"), WHICH)
STEPS = st.lists(st.one_of(FLOW, FLOW, FLOW, CONNECT, END, TROUBLE), max_size=40)


# What each rule of delivery is there for (ARCHITECTURE.md, promise 9): these come every time.
LATE_WHILE_AWAY: list[Step] = [
    ("flow", 1, [6, 7, 8], 0),
    ("take", 0, 1, 1),
    ("leave", 0, True),
    ("store", 1, [1, 2, 3]),
]
LATE_WHILE_THERE: list[Step] = [
    ("flow", 1, [6, 7, 8], 0),
    ("flow", 1, [1, 2], 0),
    ("take", 0, 1, 1),
    ("leave", 0, True),
]
# More than the window holds: the tail waits until its receiver has come near, and is then read on.
AHEAD: list[Step] = [
    ("flow", 1, [1], 0),
    ("store", 1, [2, 3, 4]),
    ("store", 1, [5, 6, 7, 8]),
    ("store", 2, [1, 2, 3, 4]),
    ("store", 2, [5, 6, 7, 8]),
]
# The cursors come back with the backup: what was acked before it is not sent again.
DELETED_AND_RESTORED: list[Step] = [
    ("store", 1, [1]),
    ("deliver", 0, 1),
    ("save",),
    ("delete",),
    ("restore", True),
]
# One has (8, 3) acked, the other, which began later, (3, 6) of it: that does not make (8, 6).
TWO_AT_ONCE: list[Step] = [
    ("connect", 0),
    ("store", 1, [6, 7, 8]),
    ("store", 1, [4, 5]),
    ("connect", 1),
    ("look", 0),
    ("send", 0, 3),
    ("take", 0, 1, 1),
    ("send", 1, 1),
    ("take", 1, 1, 1),
    ("die", 0),
    ("die", 1),
]
DELETED_WITH_ACKS_UNDER_WAY: list[Step] = [
    ("flow", 1, [1, 2, 3], 0),
    ("receive", 0, 1),
    ("delete",),
    ("connect", 1),
    ("take", 0, 0, 1),
    ("die", 0),
    ("die", 1),
]
# The position that was acked is handed out again, to another event.
RESTORED_WITHOUT_CURSORS: list[Step] = [
    ("store", 1, [4]),
    ("save",),
    ("store", 1, [1]),
    ("deliver", 0, 4),
    ("restore", False),
    ("leave", 0, False),
    ("store", 1, [2]),
]


async def play(world: World, steps: Iterable[Step]) -> None:
    for name, *arguments in steps:
        await getattr(world, name)(*arguments)
        if name in ("take", "leave", "store"):
            await world.check_behind()
    await world.settle()


async def open_both(url: str) -> tuple[Pool, Connection]:
    return await create_pool(url, name="test", size=2, **store.POOL_SETTINGS), await asyncpg.connect(url)


async def _world(pool: Pool, database: Connection, *, resumes: bool) -> World:
    await stored.empty(database)
    ref = StreamRef("start", "10.0.0.1:10000")
    return World(
        pool,
        database,
        await stored.make_stream(database, ref.forwarder_id, ref.reader_ip),
        ref,
        resumes=resumes,
    )


def test_in_the_end_a_receiver_has_had_all_that_its_resume_does_not_claim(
    parts_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Few events make several pages, and windows that many are behind.
    monkeypatch.setattr(event_store, "READ_EVENTS", 2)
    monkeypatch.setattr(window, "WINDOW_EVENTS", 2)
    with asyncio.Runner() as runner:
        pool, database = runner.run(open_both(parts_url))

        @settings(max_examples=150)
        @given(st.booleans(), STEPS)
        @example(False, LATE_WHILE_AWAY)
        @example(True, LATE_WHILE_AWAY)
        @example(False, LATE_WHILE_THERE)
        @example(False, TWO_AT_ONCE)
        @example(False, DELETED_WITH_ACKS_UNDER_WAY)
        @example(False, RESTORED_WITHOUT_CURSORS)
        @example(False, AHEAD)
        @example(False, DELETED_AND_RESTORED)
        def happen(resumes: bool, steps: list[Step]) -> None:
            world = runner.run(_world(pool, database, resumes=resumes))
            runner.run(play(world, steps))

        happen()
        runner.run(database.close())
        pool.terminate()
