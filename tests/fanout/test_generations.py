"""Both generations at one node: each event is encoded once for each that follows, and for nobody else."""

from collections import Counter
from datetime import UTC, datetime
from uuid import UUID

import orjson

from fanout.generation import FIRST, SECOND, Generation
from fanout.pages import Pages
from fanout.store.events import EventRow
from fanout.tail import Tail
from shared.db.connections import Connection
from shared.protocol.v1 import StreamRef
from shared.runtime.process import Process
from tests.delivery.stored import store_many
from tests.fanout.conftest import READER

REF = StreamRef("start", READER)
RECEIVED_AT = datetime(2026, 2, 22, 9, 11, 13, tzinfo=UTC)


class Counting:
    """A generation that counts what it encodes."""

    def __init__(self, name: str) -> None:
        self.encoded: Counter[int] = Counter()
        self.generation = Generation(name, self._json)

    def _json(self, _ref: StreamRef, row: EventRow) -> bytes:
        self.encoded[row.seq] += 1
        return b"{}"


class Follower:
    def __init__(self, generation: Generation) -> None:
        self.generation = generation

    def wake(self, ref: StreamRef) -> None:
        pass


def rows(first: int, last: int) -> list[EventRow]:
    return [EventRow(n, 1, n, "", b"aa", "raw", RECEIVED_AT, False) for n in range(first, last + 1)]


def following(*followers: Follower) -> Tail:
    tail = Tail(REF)
    tail.begin(UUID(int=1), 0)
    for each in followers:
        tail.join(each)
    return tail


def test_an_event_is_encoded_once_for_each_generation_however_many_follow() -> None:
    first, second = Counting("first"), Counting("second")
    tail = following(*[Follower(each.generation) for each in (first, first, second, second, second)])
    tail.extend(rows(1, 3))
    for each in (first, second):
        for position in (0, 1, 0):
            tail.window(each.generation).after(position, 10)
        assert each.encoded == {1: 1, 2: 1, 3: 1}


def test_nothing_is_encoded_for_a_generation_that_nobody_follows_any_more() -> None:
    first, second = Counting("first"), Counting("second")
    alone, others = Follower(second.generation), [Follower(first.generation), Follower(first.generation)]
    tail = following(alone, *others)
    tail.extend(rows(1, 1))
    both = tail.window_bytes
    tail.leave(others[0])
    tail.leave(alone)
    assert tail.window_bytes == both // 2
    tail.extend(rows(2, 3))
    assert (first.encoded, second.encoded) == ({1: 1, 2: 1, 3: 1}, {1: 1})


def test_who_joins_begins_at_the_head_and_reads_pages_for_what_is_older() -> None:
    first, second = Counting("first"), Counting("second")
    tail = following(Follower(first.generation))
    tail.extend(rows(1, 3))
    tail.join(Follower(second.generation))
    assert tail.window(second.generation).after(2, 10) is None
    tail.extend(rows(4, 4))
    found = tail.window(second.generation).after(3, 10)
    assert found is not None
    assert (found[0].event_count, found[1]) == (1, 4)
    assert second.encoded == {4: 1}


def test_a_tail_waits_for_its_foremost_receiver_whichever_generation_that_is() -> None:
    tail = following(Follower(FIRST), Follower(SECOND))
    tail.extend(rows(1, 1_500))
    assert tail.is_ahead
    tail.reached(1_000)
    assert not tail.is_ahead


async def test_pages_are_kept_for_each_generation(
    process: Process, database: Connection, stream_id: UUID
) -> None:
    await store_many(database, stream_id, 3)
    pages = Pages(process)
    found = {
        generation.name: [
            orjson.loads(event.json)
            for event in await pages.of_epoch(
                REF, stream_id, generation, epoch=1, after_seq=0, stored_up_to=3
            )
        ]
        for generation in (FIRST, SECOND, FIRST, SECOND)
    }
    texts = [f"{event['raw_read_line']}\r\n".encode() for event in found["v1"]]
    assert [bytes(event["raw_frame"]) for event in found["v1.2"]] == texts
    assert len(pages.kept) == 2
