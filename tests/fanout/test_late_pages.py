"""What was stored below a cursor after it: sought in two ways that find the same."""

from uuid import UUID

import pytest

from fanout.store import events as store
from shared.db.connections import Connection
from shared.runtime.process import Process
from tests.delivery import stored


async def late(
    process: Process, stream_id: UUID, *, seqs: tuple[int, int], positions: tuple[int, int], epoch: int = 1
) -> tuple[list[int], bool]:
    rows = await store.read_late_page(process.pool, stream_id, epoch=epoch, seqs=seqs, positions=positions)
    return [row.seq for row in rows.events], rows.more


WAYS = ["by_seq", "by_position"]


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Seek late events this way alone, whatever is asked for."""
    found: str = request.param
    monkeypatch.setattr(store, "LATE", dict.fromkeys(WAYS, store.LATE[found]))
    return found


@pytest.mark.usefixtures("way")
async def test_late_events_are_those_of_the_epoch_below_the_cursor_and_above_its_position_by_seq(
    process: Process, database: Connection, stream_id: UUID
) -> None:
    # At positions 1 to 9, then at 10 to 14: late ones out of order, one of another epoch, one above the cursor.
    await stored.store(database, stream_id, [(1, seq, b"a") for seq in (1, 2, 4, 5, 6, 8, 9, 10, 11)])
    await stored.store(database, stream_id, [(1, 7, b"a"), (2, 2, b"b"), (1, 3, b"a"), (1, 12, b"a")])
    await stored.store(database, stream_id, [(1, 20, b"a")])
    for seqs, positions, expected in (
        ((0, 9), (9, 13), [3, 7]),
        ((3, 9), (9, 13), [7]),
        ((0, 6), (9, 13), [3]),
        ((0, 9), (10, 13), [3]),
        ((0, 9), (9, 11), [7]),
        ((0, 9), (13, 14), []),
        ((0, 12), (9, 13), [3, 7, 12]),
    ):
        assert await late(process, stream_id, seqs=seqs, positions=positions) == (expected, False)
    assert await late(process, stream_id, seqs=(0, 9), positions=(9, 13), epoch=2) == ([2], False)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize(
    ("count", "pages"), [(2, [[1, 2]]), (3, [[1, 2, 3]]), (4, [[1, 2, 3], [4]]), (6, [[1, 2, 3], [4, 5, 6]])]
)
async def test_the_last_late_page_is_known_as_the_last(
    process: Process,
    database: Connection,
    stream_id: UUID,
    monkeypatch: pytest.MonkeyPatch,
    *,
    count: int,
    pages: list[list[int]],
) -> None:
    monkeypatch.setattr(store, "READ_EVENTS", 3)
    await stored.store(database, stream_id, [(1, seq, b"a") for seq in range(count + 5, 0, -1)])
    got: list[list[int]] = []
    more = True
    while more:
        after = got[-1][-1] if got else 0
        seqs, more = await late(process, stream_id, seqs=(after, count), positions=(0, count + 5))
        got.append(seqs)
    assert got == pages


SIZES = [60, 60, 101, 60, 40]


@pytest.mark.usefixtures("way")
async def test_long_lines_make_late_pages_shorter_and_none_is_left_out(
    process: Process, database: Connection, stream_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "READ_BYTES", 100)
    await stored.store(database, stream_id, [(1, seq, b"x" * size) for seq, size in enumerate(SIZES, 1)])
    got: list[list[int]] = []
    more = True
    while more:
        after = got[-1][-1] if got else 0
        seqs, more = await late(process, stream_id, seqs=(after, 9), positions=(0, 9))
        got.append(seqs)
    assert got == [[1, 2], [3], [4, 5]]


@pytest.mark.parametrize(
    ("seqs", "positions", "taken"),
    [((0, 9), (9, 1_000), "by_seq"), ((0, 1_000), (9, 13), "by_position")],
)
async def test_late_events_are_sought_where_less_has_to_be_passed_over(
    process: Process,
    stream_id: UUID,
    monkeypatch: pytest.MonkeyPatch,
    *,
    seqs: tuple[int, int],
    positions: tuple[int, int],
    taken: str,
) -> None:
    monkeypatch.setattr(store, "LATE", {taken: store.LATE[taken]})
    assert await late(process, stream_id, seqs=seqs, positions=positions) == ([], False)
