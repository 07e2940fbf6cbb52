"""Exports: every byte of every line, of one snapshot, whole or visibly broken, and nothing left behind."""

import asyncio
import csv
import io
import random
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode
from uuid import UUID, uuid4

import aiohttp
import pytest

from api.app import EXPORTS_AT_ONCE
from api.exports import places
from shared.runtime.process import Process
from tests.api.conftest import Ask, Client
from tests.api.seeds import START, Database, add_events, add_stream
from tests.waiting import wait_until

HEADER = b"stream_epoch,seq,reader_timestamp,raw_read_line,read_type\n"
ODD_LINES = [
    b"aa400000000123450a2a01260503100000005b",
    b"",
    b" spaces around ",
    b"comma, and, comma",
    b'quote " and ""',
    b'"',
    b"carriage\rreturn\r",
    b"line\nfeed\n",
    b"\r\n",
    b"tab\tand\x0bothers\x08\x0c\x07\x7f",
    b"back\\slash \\n \\\\ \\000 \\x41",
    b"\\",
    b"\\.",
    b"\\N",
    b"\x00",
    b'NUL \x00, quoted "\x00" and\n',
    "Zürich 🏁 日本".encode(),
    b"not UTF-8: \xff\xfe\x80",
    bytes(range(256)),
]
BIG_EVENTS = 60_000


def export_path(stream_id: UUID, suffix: str, **query: Any) -> str:
    return f"/api/v1/streams/{stream_id}/export.{suffix}?{urlencode(query)}"


async def export(client: Client, stream_id: UUID, suffix: str, **query: Any) -> bytes:
    async with client.get(export_path(stream_id, suffix, **query)) as answer:
        assert answer.status == 200
        return await answer.read()


def random_lines(count: int) -> list[bytes]:
    chance = random.Random(7)
    pieces = [
        b"\\",
        b'"',
        b",",
        b"\n",
        b"\r",
        b"\x00",
        b"0",
        b"1",
        b"n",
        b"N",
        b".",
        b"x",
        "ä".encode(),
        b"\xf0",
    ]
    return [b"".join(chance.choices(pieces, k=chance.randrange(12))) for _ in range(count)]


@pytest.mark.parametrize("lines", [ODD_LINES, random_lines(3_000)], ids=["odd", "random"])
async def test_text_is_every_line_byte_for_byte_and_a_newline_after_each(
    client: Client, database: Database, lines: list[bytes]
) -> None:
    stream_id = await add_stream(database)
    await add_events(database, stream_id, lines)
    assert await export(client, stream_id, "txt") == b"".join(line + b"\n" for line in lines)


@pytest.mark.parametrize("lines", [ODD_LINES, random_lines(3_000)], ids=["odd", "random"])
async def test_csv_gives_every_line_back_byte_for_byte(
    client: Client, database: Database, lines: list[bytes]
) -> None:
    stream_id = await add_stream(database)
    await add_events(database, stream_id, lines)
    exported = await export(client, stream_id, "csv")
    # Latin-1 gives each byte a character, so that what is no UTF-8 can be compared, too.
    rows = list(csv.reader(io.StringIO(exported.decode("latin-1"), newline=""), strict=True))
    assert rows[0] == HEADER.decode().strip().split(",")
    assert [row[3].encode("latin-1") for row in rows[1:]] == lines
    assert [(row[0], row[1], row[2], row[4]) for row in rows[1:]] == [
        ("1", str(seq), "2026-05-03T10:00:00.000", "raw") for seq in range(1, len(lines) + 1)
    ]


async def test_frames_are_exported_without_their_line_ends(client: Client, database: Database) -> None:
    stream_id = await add_stream(database)
    await add_events(database, stream_id, [b"a\r\n", b"b\n", b"\xff\\\0\r\n", b"d"], framed=True)
    await add_events(database, stream_id, [b"text\r\n"], first_seq=5)
    assert await export(client, stream_id, "txt") == b"a\nb\n\xff\\\0\nd\ntext\r\n\n"
    rows = (await export(client, stream_id, "csv")).splitlines()[1:]
    assert [row.split(b",")[3] for row in rows[:4]] == [b"a", b"b", b"\xff\\\0", b"d"]


async def test_csv_quotes_what_must_be_quoted_and_nothing_else(client: Client, database: Database) -> None:
    stream_id = await add_stream(database)
    await add_events(database, stream_id, ["plain", "", 'a "b", c', "d\ne", " f", "\\."])
    assert await export(client, stream_id, "csv") == (
        HEADER
        + b"1,1,2026-05-03T10:00:00.000,plain,raw\n"
        + b"1,2,2026-05-03T10:00:00.000,,raw\n"
        + b'1,3,2026-05-03T10:00:00.000,"a ""b"", c",raw\n'
        + b'1,4,2026-05-03T10:00:00.000,"d\ne",raw\n'
        + b"1,5,2026-05-03T10:00:00.000, f,raw\n"
        + b"1,6,2026-05-03T10:00:00.000,\\.,raw\n"
    )


async def test_csv_gives_timestamps_and_types_back_as_they_came(client: Client, database: Database) -> None:
    stream_id = await add_stream(database)
    odd = ["", "\\N", "\\", 'a,"b"', "\\000\n\\\\", "🏁 ä"]
    for seq, text in enumerate(odd, start=1):
        await add_events(database, stream_id, ["x"], first_seq=seq, reader_timestamp=text, read_type=text)
    exported = (await export(client, stream_id, "csv")).decode()
    rows = list(csv.reader(io.StringIO(exported, newline="")))
    assert [(row[2], row[4]) for row in rows[1:]] == [(text, text) for text in odd]


async def test_events_are_in_order_of_epoch_and_seq_however_they_came(
    client: Client, database: Database
) -> None:
    stream_id, other = await add_stream(database, "a", epoch=2), await add_stream(database, "b")
    await add_events(database, other, ["other"])
    for epoch, seq in ((2, 1), (1, 10), (1, 9), (10, 1), (1, 1)):
        await add_events(database, stream_id, [f"{epoch}.{seq}"], epoch=epoch, first_seq=seq)
    assert await export(client, stream_id, "txt") == b"1.1\n1.9\n1.10\n2.1\n10.1\n"


async def test_both_exports_take_the_filters_of_reads(client: Client, ask: Ask, database: Database) -> None:
    stream_id = await add_stream(database)
    for epoch in (1, 2):
        await add_events(database, stream_id, [f"{epoch}.{seq}" for seq in range(1, 6)], epoch=epoch)
    await database.execute("UPDATE events SET tag_id = '0000000abcde' WHERE seq IN (1, 4)")
    since, until = ((START + timedelta(seconds=n)).isoformat() for n in (1, 3))
    whole: dict[str, Any] = {"epoch": 1, "tag_id": "0000000ABCDE", "since": since, "until": until}
    queries: list[dict[str, Any]] = [*({name: whole[name]} for name in whole), whole, {"epoch": 7}]
    for query in queries:
        page = await ask("GET", f"/api/v1/streams/{stream_id}/reads?{urlencode({**query, 'order': 'asc'})}")
        wanted = [read["raw_read_line"] for read in page["reads"]]
        assert len(wanted) < 10
        assert (await export(client, stream_id, "txt", **query)).decode().split() == wanted
        exported = (await export(client, stream_id, "csv", **query)).decode().splitlines()
        assert [row.split(",")[3] for row in exported[1:]] == wanted


async def test_a_download_has_a_type_and_a_file_name(client: Client, database: Database) -> None:
    stream_id = await add_stream(database, 'sta"rt;/ä', "[fe80::1]:10000")
    for suffix, kind in (("txt", "text/plain"), ("csv", "text/csv")):
        async with client.get(export_path(stream_id, suffix)) as answer:
            assert answer.headers["Content-Type"] == f"{kind}; charset=utf-8"
            disposition = answer.headers["Content-Disposition"]
            assert disposition == f'attachment; filename="sta-rt-_-fe80-1-10000.{suffix}"'
            assert await answer.read() == (HEADER if suffix == "csv" else b"")
    async with client.get(export_path(stream_id, "csv", epoch=3)) as answer:
        assert answer.headers["Content-Disposition"].endswith('_epoch_3.csv"')


async def test_an_unknown_stream_or_a_wrong_filter_is_an_error_as_everywhere(ask: Ask) -> None:
    assert (await ask("GET", export_path(uuid4(), "csv"), status=404))["code"] == "NOT_FOUND"
    assert (await ask("GET", export_path(uuid4(), "txt", epoch=0), status=400))["code"] == "BAD_REQUEST"
    assert (await ask("GET", export_path(uuid4(), "txt", limit=5), status=400))["code"] == "BAD_REQUEST"


# --- long ones -------------------------------------------------------------------------------------------


@pytest.fixture
async def big(database: Database) -> UUID:
    """A stream that fits into no buffer on the way: 24 MB."""
    stream_id = await add_stream(database)
    await database.execute(
        """
        INSERT INTO events (stream_id, stream_epoch, seq, position, received_at, raw_frame, reader_timestamp, read_type)
        SELECT $1, 1, n, n, now(), convert_to(rpad(n::text || ':', 400, 'x'), 'UTF8'), '', 'raw'
        FROM generate_series(1, $2::integer) AS n
        """,
        stream_id,
        BIG_EVENTS,
    )
    await database.execute("UPDATE streams SET last_position = $1", BIG_EVENTS)
    return stream_id


async def backends(database: Database) -> list[Any]:
    """Return what the exports' backends do."""
    rows = await database.fetch(
        """
        SELECT wait_event FROM pg_stat_activity
        WHERE application_name = 'rt-server api export' AND datname = current_database()
        """
    )
    return [row["wait_event"] for row in rows]


async def blocked(database: Database) -> bool:
    """Whether the one export's backend waits for us to take what it sends."""
    return await backends(database) == ["ClientWrite"]


async def none_left(database: Database) -> bool:
    return await backends(database) == []


@asynccontextmanager
async def stuck(client: Client, database: Database, path: str) -> AsyncIterator[aiohttp.ClientResponse]:
    """An export whose client has read the first bytes and now reads nothing, until everything before it is full."""
    async with client.get(path) as answer:
        assert await answer.content.readexactly(2) == b"1:"
        await wait_until(lambda: blocked(database), what="the backend to be held up")
        yield answer


async def test_a_slow_client_gets_the_whole_of_one_snapshot(
    client: Client, database: Database, big: UUID
) -> None:
    async with stuck(client, database, export_path(big, "txt")) as answer:
        await add_events(database, big, ["late"], first_seq=BIG_EVENTS + 1)
        await add_events(database, big, ["late"], epoch=2)
        rest = await answer.read()
    numbers = [int(line) for line in re.findall(rb"(\d+):", b"1:" + rest)]
    assert numbers == list(range(1, BIG_EVENTS + 1))
    assert b"late" not in rest
    await wait_until(lambda: none_left(database), what="the backend to be gone")


async def test_a_client_that_goes_away_leaves_nothing_behind(
    client: Client, database: Database, big: UUID
) -> None:
    async with stuck(client, database, export_path(big, "txt")) as answer:
        answer.close()
        await wait_until(lambda: none_left(database), what="the backend to be gone")


async def test_a_client_that_takes_nothing_is_cut_off(
    client: Client, database: Database, big: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.exports.stream.CLIENT_WAITS_S", 0.5)
    async with stuck(client, database, export_path(big, "txt")) as answer:
        await wait_until(lambda: none_left(database), what="the backend to be gone")
        with pytest.raises(aiohttp.ClientError):
            await answer.read()


async def test_an_error_in_the_middle_breaks_the_connection(
    client: Client, database: Database, big: UUID
) -> None:
    for suffix in ("txt", "csv"):
        async with client.get(export_path(big, suffix)) as answer:
            await answer.content.readexactly(2)
            await wait_until(lambda: blocked(database), what="the backend to be held up")
            await kill_exports(database)
            with pytest.raises(aiohttp.ClientError):
                await answer.read()


async def test_an_error_in_the_middle_breaks_even_where_the_end_is_the_connections(
    client: Client, database: Database, big: UUID
) -> None:
    assert client.port is not None
    reader, writer = await asyncio.open_connection(client.host, client.port, limit=1024)
    writer.write(f"GET {export_path(big, 'txt')} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n".encode())
    try:
        assert (await reader.readline()).startswith(b"HTTP/1.0 200")
        await wait_until(lambda: blocked(database), what="the backend to be held up")
        await kill_exports(database)
        with pytest.raises(ConnectionResetError):
            await reader.read()
    finally:
        writer.close()


async def kill_exports(database: Database) -> None:
    killed = await database.fetchval(
        """
        SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
        WHERE application_name = 'rt-server api export' AND datname = current_database()
        """
    )
    assert killed == 1


async def test_exports_beyond_the_limit_are_told_to_come_back(
    client: Client, database: Database, big: UUID, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "WAITS_S", 0.1)
    answers = [await client.get(export_path(big, "txt")) for _ in range(EXPORTS_AT_ONCE)]
    assert (await ask("GET", export_path(big, "csv"), status=503))["code"] == "UNAVAILABLE"
    # Everything else goes on meanwhile.
    await ask("GET", "/api/v1/streams")
    answers.pop().close()

    async def has_room() -> bool:
        async with client.get(export_path(big, "csv", epoch=2)) as answer:
            return answer.status == 200

    await wait_until(has_room, what="a place to come free")
    for answer in answers:
        answer.close()
    await wait_until(lambda: none_left(database), what="the backends to be gone")


async def test_who_takes_nothing_holds_no_place(
    client: Client, database: Database, big: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [await client.get(export_path(big, "txt")) for _ in range(EXPORTS_AT_ONCE)]
    monkeypatch.setattr(places, "IDLE_S", 0.2)
    async with client.get(export_path(big, "csv", epoch=2)) as answer:
        assert answer.status == 200
        await answer.read()
    broken = 0
    for each in answers:
        try:
            await each.read()
        except aiohttp.ClientError:
            broken += 1
    # One had to go; the others, now that they are read, are whole.
    assert broken == 1
    await wait_until(lambda: none_left(database), what="the backends to be gone")


async def test_the_head_of_an_export_takes_no_place_and_has_its_file_name(
    client: Client, database: Database, big: UUID, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "WAITS_S", 0.1)
    monkeypatch.setattr(places.Places, "hold", None)
    for path in (export_path(big, "txt"), "/api/v1/export.zip"):
        async with client.head(path) as answer:
            assert (answer.status, await answer.read()) == (200, b"")
            assert answer.headers["Content-Disposition"].startswith("attachment; filename=")
    async with client.head(export_path(uuid4(), "txt")) as answer:
        assert answer.status == 404


async def test_an_export_without_a_database_is_unavailable(ask: Ask, process: Process) -> None:
    object.__setattr__(process.settings, "database_url", "postgresql://nobody@127.0.0.1:1/none")
    assert (await ask("GET", export_path(uuid4(), "csv"), status=503))["code"] == "UNAVAILABLE"
