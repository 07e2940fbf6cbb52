"""Pages of stored events: each read once for all who are at the same place."""

import asyncio
from uuid import UUID

import pytest
from structlog.testing import capture_logs

from fanout import pages as module
from fanout.events import Event
from fanout.generation import FIRST
from fanout.pages import Pages
from fanout.store import events as store
from shared.db.connections import Connection
from shared.db.errors import DatabaseUnavailable
from shared.protocol.v1 import StreamRef
from shared.runtime.process import Process
from tests.delivery import stored
from tests.delivery.stored import store_many
from tests.fanout.conftest import READER
from tests.waiting import wait_until

REF = StreamRef("start", READER)


class Counted:
    """The reads of the database, which can be held up or made to fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reads = self.answered = 0
        self.fails: Exception | None = None
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.answers = asyncio.Event()
        self.answers.set()
        self._read = store.read_epoch_page
        monkeypatch.setattr(store, "read_epoch_page", self.read)

    async def read(self, *arguments: object, **named: object) -> store.Rows:
        self.reads += 1
        await self.go_on.wait()
        if self.fails is not None:
            raise self.fails
        found = await self._read(*arguments, **named)  # type: ignore[arg-type]
        self.answered += 1
        await self.answers.wait()
        return found


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    return Counted(monkeypatch)


@pytest.fixture
def pages(process: Process) -> Pages:
    return Pages(process)


async def of_epoch(pages: Pages, stream_id: UUID, after_seq: int, up_to: int, *, epoch: int = 1) -> list[int]:
    found = await pages.of_epoch(REF, stream_id, FIRST, epoch=epoch, after_seq=after_seq, stored_up_to=up_to)
    return seqs(found)


def seqs(events: list[Event]) -> list[int]:
    return [event.seq for event in events]


def lines(count: int, *, first: int = 1, line: bytes = b"aa") -> list[stored.Stored]:
    return [(1, seq, line) for seq in range(first, first + count)]


async def test_a_page_begins_at_a_round_number_and_gives_what_follows_the_cursor(
    pages: Pages, database: Connection, stream_id: UUID, counted: Counted
) -> None:
    await store_many(database, stream_id, 2_500)
    assert await of_epoch(pages, stream_id, 1_234, 2_500) == list(range(1_235, 2_001))
    assert await of_epoch(pages, stream_id, 1_999, 2_500) == [2_000]
    assert counted.reads == 1
    assert await of_epoch(pages, stream_id, 2_000, 2_500) == list(range(2_001, 2_501))
    assert await of_epoch(pages, stream_id, 2_500, 2_500) == []


async def test_receivers_that_come_at_once_with_any_cursors_cost_one_read_a_page(
    pages: Pages, database: Connection, stream_id: UUID, counted: Counted
) -> None:
    await store_many(database, stream_id, 1_500)
    found = await asyncio.gather(*(of_epoch(pages, stream_id, after, 1_500) for after in range(0, 1_500, 10)))
    assert [each[0] for each in found] == list(range(1, 1_501, 10))
    assert counted.reads == 2


async def test_a_page_without_gaps_serves_those_who_came_later_too(
    pages: Pages, database: Connection, stream_id: UUID, counted: Counted
) -> None:
    await store_many(database, stream_id, 1_000)
    await of_epoch(pages, stream_id, 0, 1_000)
    await stored.store(database, stream_id, lines(5, first=1_001))
    assert len(await of_epoch(pages, stream_id, 0, 1_005)) == 1_000
    assert counted.reads == 1


async def test_a_page_with_a_gap_is_read_again_for_who_needs_what_came_into_it(
    pages: Pages, database: Connection, stream_id: UUID, counted: Counted
) -> None:
    await stored.store(database, stream_id, [*lines(3), *lines(3, first=6)])
    assert await of_epoch(pages, stream_id, 0, 6) == [1, 2, 3, 6, 7, 8]
    await stored.store(database, stream_id, lines(2, first=4))
    assert await of_epoch(pages, stream_id, 0, 6) == [1, 2, 3, 6, 7, 8]
    assert counted.reads == 1
    assert await of_epoch(pages, stream_id, 0, 8) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert counted.reads == 2


async def test_who_needs_more_than_the_read_under_way_promises_reads_again(
    pages: Pages, database: Connection, stream_id: UUID, counted: Counted
) -> None:
    await stored.store(database, stream_id, lines(3))
    counted.go_on.clear()
    early = asyncio.ensure_future(of_epoch(pages, stream_id, 0, 3))
    late = asyncio.ensure_future(of_epoch(pages, stream_id, 0, 4))
    await asyncio.sleep(0)
    await stored.store(database, stream_id, lines(1, first=4))
    counted.go_on.set()
    assert (await early)[:3] == [1, 2, 3]
    assert await late == [1, 2, 3, 4]
    assert counted.reads == 2


async def test_a_page_that_is_forgotten_while_it_is_read_serves_nobody_who_comes_later(
    pages: Pages, database: Connection, stream_id: UUID, counted: Counted
) -> None:
    await stored.store(database, stream_id, lines(store.READ_EVENTS))
    counted.answers.clear()
    early = asyncio.ensure_future(of_epoch(pages, stream_id, 0, store.READ_EVENTS))
    await wait_until(lambda: counted.answered, what="the page as it was")
    await database.execute("DELETE FROM events WHERE stream_id = $1 AND seq <= 3", stream_id)
    pages.forget(stream_id)
    behind = asyncio.ensure_future(of_epoch(pages, stream_id, 0, store.READ_EVENTS))
    await wait_until(lambda: counted.answered == 2, what="the page as it is")
    counted.answers.set()
    assert (await early)[0] == 1
    assert (await behind)[0] == 4
    assert (await of_epoch(pages, stream_id, 0, store.READ_EVENTS))[0] == 4
    assert counted.reads == 2
    assert pages.kept_bytes == sum(page.size for page in pages.kept.values())


async def test_a_page_that_is_forgotten_while_it_is_read_is_not_kept(
    pages: Pages, database: Connection, stream_id: UUID, counted: Counted
) -> None:
    await stored.store(database, stream_id, lines(3))
    counted.answers.clear()
    early = asyncio.ensure_future(of_epoch(pages, stream_id, 0, 3))
    await wait_until(lambda: counted.answered, what="the page as it was")
    pages.forget(stream_id)
    counted.answers.set()
    assert await early == [1, 2, 3]
    assert (len(pages.kept), pages.kept_bytes) == (0, 0)


@pytest.mark.parametrize(("size", "count"), [(65_536, 40), (store.READ_BYTES + 1, 4)])
async def test_long_lines_make_pages_shorter_and_none_is_left_out(
    pages: Pages, database: Connection, stream_id: UUID, size: int, count: int
) -> None:
    await stored.store(database, stream_id, lines(count, line=b"x" * size))
    got: list[int] = []
    by_position: list[int] = []
    while found := await of_epoch(pages, stream_id, got[-1] if got else 0, count):
        assert len(found) == 1 or len(found) * size < 2 * store.READ_BYTES
        got += found
    while events := await pages.after_position(
        REF, stream_id, FIRST, position=by_position[-1] if by_position else 0, stored_up_to=count
    ):
        by_position += [event.position for event in events]
    assert got == by_position == list(range(1, count + 1))


async def test_sparse_numbers_are_all_found(pages: Pages, database: Connection, stream_id: UUID) -> None:
    sparse = [n * 777 for n in range(1, 1_301)]
    await stored.store(database, stream_id, [(1, seq, b"aa") for seq in sparse])
    got: list[int] = []
    while found := await of_epoch(pages, stream_id, got[-1] if got else 0, 1_300):
        got += found
    assert got == sparse


async def test_epochs_and_streams_do_not_mix(
    pages: Pages, database: Connection, stream_id: UUID, counted: Counted
) -> None:
    other = await stored.make_stream(database, "finish", READER)
    await stored.store(database, stream_id, [(1, 1, b"a"), (2, 1, b"b"), (2, 2, b"c")])
    await stored.store(database, other, lines(5))
    assert await of_epoch(pages, stream_id, 0, 3) == [1]
    assert await of_epoch(pages, stream_id, 0, 3, epoch=2) == [1, 2]
    assert await of_epoch(pages, other, 0, 5) == [1, 2, 3, 4, 5]
    assert counted.reads == 3


async def test_what_is_kept_is_bounded(
    pages: Pages, database: Connection, stream_id: UUID, monkeypatch: pytest.MonkeyPatch, counted: Counted
) -> None:
    await store_many(database, stream_id, 5_000)
    await of_epoch(pages, stream_id, 0, 5_000)
    monkeypatch.setattr(module, "KEPT_BYTES", 7 * pages.kept_bytes // 2)
    for after in (1_000, 2_000, 0, 3_000, 4_000):
        await of_epoch(pages, stream_id, after, 5_000)
    assert pages.kept_bytes == sum(page.size for page in pages.kept.values()) <= module.KEPT_BYTES
    assert counted.reads == 5
    await of_epoch(pages, stream_id, 0, 5_000)  # used not long ago, so it stayed
    assert counted.reads == 5


async def test_one_receivers_end_does_not_take_the_page_from_the_others(
    pages: Pages, database: Connection, stream_id: UUID, counted: Counted
) -> None:
    await stored.store(database, stream_id, lines(3))
    counted.go_on.clear()
    leaving = asyncio.ensure_future(of_epoch(pages, stream_id, 0, 3))
    staying = asyncio.ensure_future(of_epoch(pages, stream_id, 0, 3))
    await asyncio.sleep(0)
    leaving.cancel()
    counted.go_on.set()
    assert await staying == [1, 2, 3]
    assert counted.reads == 1


async def test_a_failed_read_fails_all_who_waited_and_is_tried_again_by_the_next(
    pages: Pages, database: Connection, stream_id: UUID, counted: Counted
) -> None:
    await stored.store(database, stream_id, lines(3))
    counted.fails = DatabaseUnavailable("away")
    failed = await asyncio.gather(
        *(of_epoch(pages, stream_id, 0, 3) for _ in range(3)), return_exceptions=True
    )
    assert [type(each) for each in failed] == [DatabaseUnavailable] * 3
    assert counted.reads == 1
    counted.fails = None
    assert await of_epoch(pages, stream_id, 0, 3) == [1, 2, 3]


@pytest.mark.parametrize(("error", "told"), [(ZeroDivisionError(), 1), (DatabaseUnavailable("away"), 0)])
async def test_a_read_that_fails_unforeseen_is_loud_though_nobody_waits_any_more(
    pages: Pages, stream_id: UUID, counted: Counted, error: Exception, told: int
) -> None:
    counted.fails = error
    counted.go_on.clear()
    only = asyncio.create_task(of_epoch(pages, stream_id, 0, 1))
    await wait_until(lambda: counted.reads)
    only.cancel()
    await asyncio.wait({only})
    with capture_logs() as lines:
        counted.go_on.set()
        await of_epoch_when_it_goes(pages, stream_id, counted)
    assert [line["event"] for line in lines if line["log_level"] == "error"] == ["task_failed"] * told


async def of_epoch_when_it_goes(pages: Pages, stream_id: UUID, counted: Counted) -> None:
    """Read the same page anew, once the read under way has ended."""
    for _ in range(5):
        await asyncio.sleep(0)
    counted.fails = None
    await of_epoch(pages, stream_id, 0, 1)


@pytest.mark.parametrize("forgotten", [False, True])
async def test_what_is_being_read_ends_with_the_node(
    pages: Pages, stream_id: UUID, counted: Counted, forgotten: bool
) -> None:
    counted.go_on.clear()
    waiting = asyncio.ensure_future(of_epoch(pages, stream_id, 0, 1))
    await wait_until(lambda: counted.reads, what="a page that is being read")
    (reading,) = [task for task in asyncio.all_tasks() if task.get_name() == "page"]
    if forgotten:
        pages.forget(stream_id)
    await pages.close()
    assert reading.cancelled()
    with pytest.raises(asyncio.CancelledError):
        await waiting
