"""Delivery by plans, whatever comes in which order: nothing comes that is not wanted, and in the end a receiver has had
all that is; both generations, floors, and races whose epochs change, on one record.
"""

import asyncio

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fanout import window
from fanout.store import events as event_store
from shared.db.connections import Connection, Pool
from shared.protocol.v1 import StreamRef
from tests.delivery import stored
from tests.fanout.planned_world import KINDS, PlannedWorld
from tests.fanout.test_property import END, FLOW, LATE_WHILE_AWAY, TROUBLE, WHICH, Step, open_both, play
from tests.fanout.world import EPOCHS

EPOCH_SETS = st.lists(st.sampled_from(EPOCHS), unique=True, max_size=len(EPOCHS))
CONNECT = st.tuples(st.just("connect"), WHICH, st.sampled_from(KINDS))
MAP = st.tuples(st.just("map"), EPOCH_SETS)
COMMAND = st.tuples(st.just("command"))
STEPS = st.lists(st.one_of(FLOW, FLOW, FLOW, CONNECT, END, TROUBLE, MAP, MAP, COMMAND), max_size=40)
EARLIEST = st.sampled_from([None, 0, 1, 2, 9])

# What a session of the first generation implied of epoch 1 is no ack of it, nor is the ack of a late one on top of it.
IMPLIED: list[Step] = [
    ("flow", 2, [1, 2], 0),
    ("take", 0, 1, 1),
    ("leave", 0, True),
    ("store", 1, [1, 2, 3]),
    ("delete",),
    ("connect", 0, "first"),
    ("flow", 1, [7], 0),
    ("take", 0, 4, 4),
    ("leave", 0, True),
    ("map", [1, 2]),
    ("connect", 0, "race"),
]
# An epoch that is mapped while another one is live: its past comes once, and what is new behind it.
MAPPED_WHILE_LIVE: list[Step] = [
    ("map", [2]),
    ("store", 1, [1, 2, 3, 4]),
    ("flow", 2, [1], 0),
    ("deliver", 0, 2),
    ("map", [1, 2]),
    ("flow", 1, [5, 6], 0),
    ("store", 2, [2, 3]),
]
# A stream that had nothing of the race when the receiver came.
MAPPED_AFTER_CONNECTING: list[Step] = [("flow", 1, [1], 0), ("map", [1])]
# Taken out while its replay is under way, and put back: it begins again behind what is acked, and old acks come too.
UNMAPPED_AND_MAPPED: list[Step] = [
    ("map", [1]),
    ("store", 1, [1, 2, 3, 4, 5]),
    ("connect", 0, "race"),
    ("send", 0, 2),
    ("map", []),
    ("send", 0, 3),
    ("store", 1, [6]),
    ("look", 0),
    ("send", 0, 3),
    ("map", [1]),
    ("send", 0, 2),
    ("take", 0, 1, 1),
    ("leave", 0, True),
]
# A read of an epoch below the floor, live and while the receiver is away.
BELOW_THE_FLOOR: list[Step] = [
    ("flow", 2, [1, 2], 0),
    ("take", 0, 1, 1),
    ("flow", 1, [1], 0),
    ("leave", 0, True),
    ("store", 1, [2]),
    ("store", 2, [3]),
]
# The row of an epoch that is not mapped cannot be made; then it is mapped, and has a row without that.
MAPPED_WHILE_ITS_ROW_FAILS: list[Step] = [
    ("map", [1]),
    ("connect", 0, "race"),
    ("store", 1, [1]),
    ("send", 0, 3),
    ("store", 2, [1, 2]),
    ("fail", 0, 3, "away", 0),
    ("map", [1, 2]),
    ("send", 0, 3),
]
# It comes before the first read of its epoch, and back when another epoch is the current one; so does one that has been
# sent reads and has acked none.
BEGUN_WITHOUT_A_READ: list[Step] = [
    ("connect", 0),
    ("leave", 0, True),
    ("store", 1, [1, 2]),
    ("command",),
    ("store", 2, [1]),
]
BEGUN_WITHOUT_AN_ACK: list[Step] = [
    ("flow", 1, [1, 2], 0),
    ("leave", 0, True),
    ("store", 2, [1]),
    ("connect", 0),
]
# The epoch that is asked for has no read while the receiver is there, and a newer one has: the first comes late.
ASKED_FOR_WITHOUT_A_READ: list[Step] = [
    ("command",),
    ("flow", 2, [1], 0),
    ("take", 0, 1, 1),
    ("leave", 0, True),
    ("store", 1, [1]),
]


async def _world(
    pool: Pool, database: Connection, *, resumes: bool, kind: str, earliest: int | None
) -> PlannedWorld:
    await stored.empty(database)
    ref = StreamRef("start", "10.0.0.1:10000")
    stream_id = await stored.make_stream(database, ref.forwarder_id, ref.reader_ip)
    return PlannedWorld(pool, database, stream_id, ref, resumes=resumes, kind=kind, earliest=earliest)


def test_in_the_end_a_receiver_has_had_just_what_its_plans_want(
    parts_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_store, "READ_EVENTS", 2)
    monkeypatch.setattr(window, "WINDOW_EVENTS", 2)
    with asyncio.Runner() as runner:
        pool, database = runner.run(open_both(parts_url))

        @settings(max_examples=150)
        @given(st.booleans(), st.sampled_from(KINDS), EARLIEST, STEPS)
        @example(False, "live", None, BELOW_THE_FLOOR)
        @example(False, "live", 0, LATE_WHILE_AWAY)
        @example(False, "live", None, BEGUN_WITHOUT_A_READ)
        @example(False, "live", None, BEGUN_WITHOUT_AN_ACK)
        @example(False, "live", 1, ASKED_FOR_WITHOUT_A_READ)
        @example(False, "race", None, MAPPED_WHILE_LIVE)
        @example(False, "race", None, MAPPED_AFTER_CONNECTING)
        @example(False, "race", None, UNMAPPED_AND_MAPPED)
        @example(True, "first", None, IMPLIED)
        @example(False, "race", None, MAPPED_WHILE_ITS_ROW_FAILS)
        def happen(resumes: bool, kind: str, earliest: int | None, steps: list[Step]) -> None:
            world = runner.run(_world(pool, database, resumes=resumes, kind=kind, earliest=earliest))
            runner.run(play(world, steps))

        happen()
        runner.run(database.close())
        pool.terminate()
