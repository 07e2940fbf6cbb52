"""The export of everything: each stream twice, byte for byte, of one moment, whole or visibly broken."""

import io
from uuid import UUID
from zipfile import ZipFile

import aiohttp
import pytest

from tests.api.conftest import Client
from tests.api.seeds import Database, add_events, add_stream
from tests.api.test_export import HEADER, ODD_LINES, backends, blocked, export, kill_exports, none_left
from tests.waiting import wait_until

ARCHIVE = "/api/v1/export.zip"
BIG_EVENTS = 60_000


async def archive(client: Client) -> dict[str, bytes]:
    """Return the files of the archive by name, each checked against its checksum."""
    async with client.get(ARCHIVE) as answer:
        assert (answer.status, answer.content_type) == (200, "application/zip")
        return unpacked(await answer.read())


def unpacked(packed: bytes) -> dict[str, bytes]:
    with ZipFile(io.BytesIO(packed)) as zipped:
        assert len(set(zipped.namelist())) == len(zipped.namelist())
        return {name: zipped.read(name) for name in zipped.namelist()}


@pytest.fixture
async def big(database: Database) -> UUID:
    """A stream that does not shrink, and so fits into no buffer on the way: 23 MB."""
    stream_id = await add_stream(database, "big")
    await database.execute(
        """
        INSERT INTO events (stream_id, stream_epoch, seq, position, received_at, raw_frame, reader_timestamp, read_type)
        SELECT $1, 1, n, n, now(), (SELECT string_agg(sha512(convert_to(n || '.' || m, 'UTF8')), '')
                                    FROM generate_series(1, 6) AS m), '', 'raw'
        FROM generate_series(1, $2::integer) AS n
        """,
        stream_id,
        BIG_EVENTS,
    )
    await database.execute("UPDATE streams SET last_position = $1", BIG_EVENTS)
    return stream_id


async def test_every_stream_is_there_in_both_forms_as_in_its_own_exports(
    client: Client, database: Database
) -> None:
    ids = [await add_stream(database, name) for name in ("start", "finish", "nothing")]
    for epoch, stream_id in enumerate(ids[:2], start=1):
        await add_events(database, stream_id, ODD_LINES * 200, epoch=epoch)
    files = await archive(client)
    assert len(files) == 6
    for stream_id in ids:
        for suffix in ("txt", "csv"):
            (name,) = (each for each in files if str(stream_id) in each and each.endswith(f".{suffix}"))
            assert files[name] == await export(client, stream_id, suffix), name
    assert list(files) == sorted(files, key=lambda name: [str(each) in name for each in reversed(ids)])


async def test_file_names_are_unambiguous_and_fit_everywhere(client: Client, database: Database) -> None:
    for name in ("a/b", "a-b", "A-b", "../b", "ü", "x" * 255):
        await add_stream(database, name)
    files = await archive(client)
    assert len({name.lower() for name in files}) == 12
    for name in files:
        assert len(name) < 200
        assert not set(name) - set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")


async def test_without_streams_the_archive_is_empty(client: Client) -> None:
    assert await archive(client) == {}


async def test_an_archive_is_a_download_with_a_name(client: Client) -> None:
    async with client.get(ARCHIVE) as answer:
        disposition = answer.headers["Content-Disposition"]
    assert disposition.startswith('attachment; filename="rt-server_20')
    assert disposition.endswith('Z.zip"')


async def test_all_files_are_of_one_moment(client: Client, database: Database, big: UUID) -> None:
    later = await add_stream(database, "later")
    await add_events(database, later, ["before"])
    async with client.get(ARCHIVE) as answer:
        await wait_until(lambda: blocked(database), what="the backend to be held up")
        await add_events(database, big, ["late"], epoch=2)
        await add_events(database, later, ["late"], first_seq=2)
        await add_stream(database, "late")
        files = unpacked(await answer.read())
    assert [name for name in files if name.startswith("late_")] == []
    assert [files[name] for name in files if name.startswith("later_")] == [
        b"before\n",
        HEADER + b"1,1,2026-05-03T10:00:00.000,before,raw\n",
    ]
    texts = [files[name] for name in files if name.startswith("big_")]
    assert all(len(text) > BIG_EVENTS * 384 and not text.endswith(b"late\n") for text in texts)
    await wait_until(lambda: none_left(database), what="the backend to be gone")


async def test_an_error_in_the_middle_breaks_the_connection(
    client: Client, database: Database, big: UUID
) -> None:
    async with client.get(ARCHIVE) as answer:
        await wait_until(lambda: blocked(database), what="the backend to be held up")
        await kill_exports(database)
        with pytest.raises(aiohttp.ClientError):
            await answer.read()


async def test_a_client_that_goes_away_leaves_nothing_behind(
    client: Client, database: Database, big: UUID
) -> None:
    async with client.get(ARCHIVE) as answer:
        await wait_until(lambda: blocked(database), what="the backend to be held up")
        answer.close()
        await wait_until(lambda: none_left(database), what="the backend to be gone")
    assert await backends(database) == []
