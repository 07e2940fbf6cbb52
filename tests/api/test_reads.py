"""Pages of reads: filters, orders, cursors."""

from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode
from uuid import UUID, uuid4

import pytest

from shared.protocol.ipico import compose
from tests.api.conftest import Ask
from tests.api.seeds import START, Database, add_events, add_stream

TAG = "0000000abcde"
LINE = compose(reader_id="40", tag_id=TAG, read_at=datetime(2026, 5, 3, 10, 0))  # noqa: DTZ001


@pytest.fixture
async def stream_id(database: Database) -> UUID:
    """A stream with seqs 1 to 5 in each of the epochs 1 and 2, and another one beside it."""
    found = await add_stream(database, "start", epoch=2)
    for epoch in (1, 2):
        lines = [f"{epoch}.{seq}" for seq in range(1, 6)]
        await add_events(
            database, found, lines, epoch=epoch, received_at=START + timedelta(minutes=epoch - 1)
        )
    other = await add_stream(database, "finish")
    await add_events(database, other, ["other"] * 3)
    return found


async def reads(ask: Ask, stream_id: UUID, **query: Any) -> Any:
    return await ask("GET", f"/api/v1/streams/{stream_id}/reads?{urlencode(query)}")


def lines(page: Any) -> list[str]:
    return [read["raw_read_line"] for read in page["reads"]]


async def test_a_read_shows_every_field(ask: Ask, database: Database) -> None:
    stream_id = await add_stream(database)
    await add_events(database, stream_id, [LINE, "no, \x00 read 🏁"])
    page = await reads(ask, stream_id, order="asc")
    assert page == {
        "reads": [
            {
                "stream_id": str(stream_id),
                "stream_epoch": 1,
                "seq": 1,
                "reader_timestamp": "2026-05-03T10:00:00.000",
                "raw_read_line": LINE,
                "read_type": "raw",
                "tag_id": TAG,
                "read_at": "2026-05-03T10:00:00",
                "received_at": "2026-05-03T08:00:00+00:00",
                "parse_error": None,
                "race_id": None,
                "bib": None,
                "bib_ambiguous": False,
                "first_name": None,
                "last_name": None,
                "visit": None,
                "point_before": None,
                "since_point_before_ms": None,
                "corrected_at": None,
            },
            {
                "stream_id": str(stream_id),
                "stream_epoch": 1,
                "seq": 2,
                "reader_timestamp": "2026-05-03T10:00:00.000",
                "raw_read_line": "no, \x00 read 🏁",
                "read_type": "raw",
                "tag_id": None,
                "read_at": None,
                "received_at": "2026-05-03T08:00:01+00:00",
                "parse_error": "length",
                "race_id": None,
                "bib": None,
                "bib_ambiguous": False,
                "first_name": None,
                "last_name": None,
                "visit": None,
                "point_before": None,
                "since_point_before_ms": None,
                "corrected_at": None,
            },
        ],
        "next_cursor": None,
        "total": 0,
        "limit": 100,
        "offset": 0,
    }


async def test_a_frame_is_shown_as_the_text_of_its_line(ask: Ask, database: Database) -> None:
    stream_id = await add_stream(database)
    await add_events(database, stream_id, [b"a\r\n", b"b\n", b"c\n\r\n", b"\xffd\0", b"\r\n"], framed=True)
    await add_events(database, stream_id, [b"text\r\n"], first_seq=6)
    shown = ["a", "b", "c\n", "\ufffdd\0", "", "text\r\n"]
    assert lines(await reads(ask, stream_id, order="asc")) == shown
    newest = await ask("GET", "/api/v1/reads/latest?limit=9")
    assert sorted(lines(newest)) == sorted(shown)


async def test_the_newest_reads_come_first_unless_asked_otherwise(ask: Ask, stream_id: UUID) -> None:
    newest_first = [f"{epoch}.{seq}" for epoch in (2, 1) for seq in (5, 4, 3, 2, 1)]
    assert lines(await reads(ask, stream_id)) == newest_first
    assert lines(await reads(ask, stream_id, order="desc")) == newest_first
    assert lines(await reads(ask, stream_id, order="asc")) == newest_first[::-1]


@pytest.mark.parametrize("order", ["asc", "desc"])
async def test_pages_join_without_gap_or_overlap(ask: Ask, stream_id: UUID, order: str) -> None:
    whole = lines(await reads(ask, stream_id, order=order))
    for limit in (1, 3, 5, 10):
        page = await reads(ask, stream_id, order=order, limit=limit)
        seen = lines(page)
        while page["next_cursor"] is not None:
            page = await reads(ask, stream_id, order=order, limit=limit, cursor=page["next_cursor"])
            assert len(page["reads"]) <= limit
            seen += lines(page)
        assert seen == whole, limit


async def test_a_page_is_not_moved_by_reads_that_come_meanwhile(
    ask: Ask, stream_id: UUID, database: Database
) -> None:
    first = await reads(ask, stream_id, limit=4)
    await add_events(database, stream_id, ["late"], epoch=2, first_seq=6)
    second = await reads(ask, stream_id, limit=4, cursor=first["next_cursor"])
    assert lines(first) + lines(second) == ["2.5", "2.4", "2.3", "2.2", "2.1", "1.5", "1.4", "1.3"]


@pytest.mark.parametrize("order", ["asc", "desc"])
async def test_an_epoch_is_all_that_is_shown_on_every_page(ask: Ask, stream_id: UUID, order: str) -> None:
    first = await reads(ask, stream_id, epoch=1, order=order, limit=3)
    second = await reads(ask, stream_id, epoch=1, order=order, limit=3, cursor=first["next_cursor"])
    assert sorted(lines(first) + lines(second)) == ["1.1", "1.2", "1.3", "1.4", "1.5"]
    assert second["next_cursor"] is None
    assert lines(await reads(ask, stream_id, epoch=3)) == []


async def test_times_are_bounds_that_belong_to_what_is_shown(ask: Ask, stream_id: UUID) -> None:
    since, until = START + timedelta(seconds=3), START + timedelta(seconds=60)
    assert lines(await reads(ask, stream_id, since=since.isoformat(), until=until.isoformat())) == [
        "2.1",
        "1.5",
        "1.4",
    ]
    assert len(lines(await reads(ask, stream_id, since=until.isoformat()))) == 5
    assert lines(await reads(ask, stream_id, until=START.isoformat())) == ["1.1"]


async def test_a_time_is_understood_as_it_stands_in_an_answer(ask: Ask, stream_id: UUID) -> None:
    # The plus of the offset, not escaped, arrives as a space; and other offsets are times, too.
    for text in ("2026-05-03T08:01:00+00:00", "2026-05-03T08:01:00Z", "2026-05-03T10:01:00.000+02:00"):
        page = await ask("GET", f"/api/v1/streams/{stream_id}/reads?since={text}")
        assert len(page["reads"]) == 5, text


async def test_a_chip_is_found_in_either_case(ask: Ask, database: Database) -> None:
    stream_id = await add_stream(database)
    another = compose(reader_id="40", tag_id="000000000001", read_at=datetime(2026, 5, 3, 10, 0))  # noqa: DTZ001
    await add_events(database, stream_id, [LINE, "no read", another])
    for tag in ("0000000abcde", "0000000ABCDE"):
        assert lines(await reads(ask, stream_id, tag_id=tag)) == [LINE]
    assert lines(await reads(ask, stream_id, tag_id="null")) == []


WRONG_QUERIES = [
    ("limit=0", "limit"),
    ("limit=1001", "limit"),
    ("limit=ten", "limit"),
    ("limit=1.0", "limit"),
    ("limit=", "limit"),
    ("epoch=0", "epoch"),
    ("epoch=null", "epoch"),
    ("epoch=9223372036854775808", "epoch"),
    ("epoch=99999999999999999999999", "epoch"),
    ("order=up", "order"),
    ("since=yesterday", "since"),
    ("since=1700000000", "since"),
    ("until=2026-05-03T08:00:00", "until"),
    ("since=0001-01-01T00:00:00%2B23:59", "since"),
    ("until=9999-12-31T23:59:59-23:59", "until"),
    ("tag_id=%00", "tag_id"),
    ("cursor=", "cursor"),
    ("cursor=AAAA", "cursor"),
    ("cursor=!", "cursor"),
    ("cursor=/////////////////////w", "cursor"),
    ("cursor=" + "A" * 11, "cursor"),
    ("order=asc&order=desc", "order"),
    ("epohc=1", "epohc"),
]


async def test_a_query_that_is_wrong_is_refused_by_name(ask: Ask) -> None:
    for query, names in WRONG_QUERIES:
        error = await ask("GET", f"/api/v1/streams/{uuid4()}/reads?{query}", status=400)
        assert error["code"] == "BAD_REQUEST"
        assert names in error["message"], query


async def test_an_unknown_stream_has_no_reads_and_one_without_events_has_none(
    ask: Ask, database: Database
) -> None:
    assert (await ask("GET", f"/api/v1/streams/{uuid4()}/reads", status=404))["code"] == "NOT_FOUND"
    nothing: dict[str, Any] = {"reads": [], "next_cursor": None, "total": 0, "limit": 100, "offset": 0}
    assert await reads(ask, await add_stream(database)) == nothing


# --- bytes bound a page, not counts ------------------------------------------------------------------------------

LONG = 300 * 1024


async def pages(ask: Ask, path: str, of: str) -> list[list[Any]]:
    """Return what each page holds, from the first to the one without a cursor."""
    page = await ask("GET", path)
    found = [page[of]]
    while page["next_cursor"] is not None:
        page = await ask("GET", f"{path}&cursor={page['next_cursor']}")
        found.append(page[of])
    return found


@pytest.mark.parametrize("order", ["asc", "desc"])
async def test_a_page_of_long_lines_ends_at_a_mebibyte_and_says_that_there_is_more(
    ask: Ask, database: Database, order: str
) -> None:
    stream_id = await add_stream(database)
    await add_events(database, stream_id, ["x" * LONG] * 9)
    found = await pages(ask, f"/api/v1/streams/{stream_id}/reads?limit=1000&order={order}", "reads")
    assert [len(page) for page in found] == [4, 4, 1]
    seqs = [read["seq"] for page in found for read in page]
    assert seqs == sorted(range(1, 10), reverse=order == "desc")


async def test_a_line_longer_than_a_page_is_a_page(ask: Ask, database: Database) -> None:
    stream_id = await add_stream(database)
    await add_events(database, stream_id, ["x" * 2_000_000, "y" * 2_000_000, "z"])
    found = await pages(ask, f"/api/v1/streams/{stream_id}/reads?order=asc", "reads")
    assert [[read["seq"] for read in page] for page in found] == [[1], [2], [3]]


async def test_pages_of_conflicts_and_the_newest_reads_end_at_a_mebibyte(
    ask: Ask, database: Database
) -> None:
    stream_id = await add_stream(database)
    await add_events(database, stream_id, ["x" * LONG] * 9)
    await database.execute(
        """
        INSERT INTO integrity_conflicts (stream_id, stream_epoch, seq, kept_frame, rejected_frame, reader_timestamp,
                                         read_type, received_at, session_id)
        SELECT $1, 1, n, convert_to(repeat('x', $2), 'UTF8'), convert_to(n || repeat('y', $2), 'UTF8'), '', 'raw',
               now(), gen_random_uuid()
        FROM generate_series(1, 5) AS n
        """,
        stream_id,
        LONG,
    )
    found = await pages(ask, "/api/v1/conflicts?limit=1000", "conflicts")
    assert [[each["seq"] for each in page] for page in found] == [[5, 4], [3, 2], [1]]
    # A limit is no cut, though there are more behind it.
    await add_events(
        database, await add_stream(database, "older"), ["x"], received_at=START - timedelta(days=1)
    )
    for query, count, cut in (("limit=200", 4, True), ("limit=5", 4, True), ("limit=4", 4, False)):
        newest = await ask("GET", f"/api/v1/reads/latest?{query}")
        assert (len(newest["reads"]), newest["cut"]) == (count, cut), query


async def test_epochs_and_cursors_that_devices_make_are_listed_up_to_a_bound(
    ask: Ask, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.devices.store.CURSORS", 5)
    stream_id = await add_stream(database, epoch=5000)
    await database.execute(
        """
        INSERT INTO stream_metrics
        SELECT $1, n, 1, 1, 0, 0, 0, 0, 1, 1, now(), now(), NULL, '' FROM generate_series(1, 1500) AS n
        """,
        stream_id,
    )
    path = f"/api/v1/streams/{stream_id}/epochs"
    newest = [each["epoch"] for each in await ask("GET", path)]
    older = [each["epoch"] for each in await ask("GET", f"{path}?below={newest[0]}")]
    assert older + newest == [*range(1, 1501), 5000]
    assert len(newest) == 1000
    assert await ask("GET", f"{path}?below=1") == []
    assert (await ask("PUT", f"{path}/7/name", json={"name": "Heat"}))["name"] == "Heat"
    await ask("PUT", f"{path}/1501/name", json={"name": "Heat"})
    assert [each["epoch"] for each in await ask("GET", path)][-2:] == [1501, 5000]
    await database.execute(
        "INSERT INTO receiver_cursors SELECT 'tent', $1, n, 1 FROM generate_series(1, 9) AS n", stream_id
    )
    assert len((await ask("GET", "/api/v1/receivers/tent/cursors"))["cursors"]) == 5
