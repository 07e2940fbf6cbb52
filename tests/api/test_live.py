"""The event stream: what is told, the same from every api process."""

import asyncio
from typing import Any
from uuid import UUID

import aiohttp
import orjson
import pytest

from api.app import API
from api.live import store as overview
from api.live.digest import Digest
from api.live.view import Live
from shared.db.errors import DatabaseUnavailable
from tests.api.conftest import Ask, Client
from tests.api.following import CHANGED, OVERVIEW, following, get, notify, store, told
from tests.api.seeds import (
    Database,
    add_forwarder_session,
    add_process,
    add_stream,
)
from tests.api.sse import follow
from tests.services import Process
from tests.waiting import wait_until


async def test_both_processes_tell_the_same(
    apis: list[Process], http: aiohttp.ClientSession, database: Database
) -> None:
    async with follow(http, apis[0].url) as one, follow(http, apis[1].url) as other:
        stream_id = await add_stream(database)
        await notify(database, "rt_streams")
        created = [await each.named("stream_created") for each in (one, other)]
        assert created[0] == created[1]
        assert created[0]["stream"]["stream_id"] == str(stream_id)
        await store(database, stream_id)
        for each in (one, other):
            moved = await each.until(
                lambda event: event["type"] == "metrics_updated" and event["card"]["epoch_reads"] == 1
            )
            assert moved["metrics"]["dedup_count"] == 1
        # It was received an hour ago: red, from both, under the same number and since the same moment.
        await database.execute("UPDATE stream_metrics SET last_received_at = now() - interval '1 hour'")
        await add_forwarder_session(database, "start", await add_process(database, "gateway"))
        verdicts = [
            await each.until(lambda event: event["type"] == "verdict_updated" and event["verdict"]["act"])
            for each in (one, other)
        ]
        assert [each["signal"] for each in verdicts[0]["troubles"]] == ["last_read"]
        assert verdicts[0] == verdicts[1]
    overviews = [await get(http, each) for each in apis]
    assert overviews[0]["troubles"] == overviews[1]["troubles"]
    assert overviews[0]["verdict"] == overviews[1]["verdict"]


async def test_a_state_outlives_the_process_that_saw_it(
    apis: list[Process], http: aiohttp.ClientSession, database: Database
) -> None:
    stream_id = await add_stream(database)
    await add_conflict(database, stream_id)

    async def alerts_of(process: Process) -> Any:
        return [each for each in (await get(http, process))["troubles"] if each["signal"] == "conflict"]

    before = await wait_until(lambda: alerts_of(apis[0]), what="the conflict to be seen")
    for process in apis:
        await process.kill()
    await apis[0].start()
    await apis[0].ready()
    assert await alerts_of(apis[0]) == before


async def add_conflict(database: Database, stream_id: UUID) -> int:
    conflict_id: int = await database.fetchval(
        """
        INSERT INTO integrity_conflicts (stream_id, stream_epoch, seq, kept_frame, rejected_frame, reader_timestamp,
                                         read_type, received_at, session_id)
        VALUES ($1, 1, 1, 'a', 'b', '', 'raw', now(), gen_random_uuid()) RETURNING conflict_id
        """,
        stream_id,
    )
    return conflict_id


async def test_one_event_a_second_tells_all_that_has_changed_and_no_more(
    live: Live, client: Client, ask: Ask, database: Database
) -> None:
    clock = [100.0]
    live.clock = lambda: clock[0]
    ids = [await add_stream(database, f"box-{n}") for n in range(3)]
    for stream_id in ids:
        await store(database, stream_id)
    before = await ask("GET", OVERVIEW)
    begun = live.ring.end
    async with following(client, query=f"{CHANGED}&last_event_id={before['last_event_id']}") as events:
        await store(database, ids[1], first_seq=2, count=14)
        for _ in range(5):
            await live.refresh()
            clock[0] += 0.1
        assert told(live, begun) == []
        clock[0] += 1
        said = await events.next()
        assert said["type"] == "changed"
        (row,) = [each for each in said["streams"] if "epoch_reads" in each]
        # Of the stream that has moved: its key, and what is other.
        assert row["stream_id"] == str(ids[1])
        assert row["epoch_reads"] == 15
        assert "reader_ip" not in row
        # Of its reads the newest ten.
        assert [each["seq"] for each in said["reads"]] == list(range(15, 5, -1))
        assert said["reads_skipped"] == 4
        assert "troubles" not in said
    after = await ask("GET", OVERVIEW)
    assert {each["stream_id"]: each["epoch_reads"] for each in after["streams"]} == {
        str(each): 15 if each == ids[1] else 1 for each in ids
    }


async def test_who_follows_single_events_is_not_told_twice(
    live: Live, client: Client, database: Database
) -> None:
    async with following(client) as single, following(client, query=CHANGED) as changed:
        stream_id = await add_stream(database)
        await notify(database, "rt_streams")
        assert (await single.named("stream_created"))["stream"]["stream_id"] == str(stream_id)
        (row,) = (await changed.named("changed"))["streams"]
        assert (row["stream_id"], row["epoch_reads"], row["rate"]) == (str(stream_id), 0, [])
        await database.execute("DELETE FROM streams")
        await notify(database, "rt_streams")
        # What single events cannot tell, this one can.
        await single.named("resync")
        assert (await changed.named("changed"))["streams_gone"] == [str(stream_id)]
    for each in told(live, 1, "single"):
        assert b"event: changed" not in each
    for each in told(live, 1):
        assert b"event: changed" in each


async def test_an_overview_is_of_a_page_that_was_told_to_the_last(
    live: Live, ask: Ask, database: Database
) -> None:
    """Or what goes back to what it was would stay on the screen as the overview had it."""
    clock = [100.0]
    live.clock = lambda: clock[0]
    stream_id = await add_stream(database)
    first = await ask("GET", OVERVIEW)
    rename = "UPDATE streams SET display_alias = $1"
    await database.execute(rename, "for a moment")
    between = await ask("GET", OVERVIEW)
    await database.execute(rename, None)
    clock[0] += 1
    await live.refresh()
    assert [each["display_alias"] for each in between["streams"]] == ["for a moment"]
    position = live.ring.position_after(between["last_event_id"])
    assert position is not None
    (event,) = told(live, position)
    assert orjson.loads(event.partition(b"data: ")[2])["streams"] == [
        {"stream_id": str(stream_id), "display_alias": None}
    ]
    assert live.ring.position_after(first["last_event_id"]) is not None


async def test_the_newest_bins_of_the_rates_are_told(
    live: Live, ask: Ask, client: Client, database: Database
) -> None:
    clock = [100.0]
    live.clock = lambda: clock[0]
    ids = [await add_stream(database, f"box-{n}") for n in range(2)]
    sample = """
        INSERT INTO stream_samples (stream_id, bin, bin_position, counts)
        SELECT stream_id, $1, 0, array_fill(0, ARRAY[179]) || CASE WHEN stream_id = $2 THEN 7 ELSE 0 END FROM streams
        ON CONFLICT (stream_id) DO UPDATE SET bin = excluded.bin, counts = excluded.counts
    """
    await database.execute(sample, 1000, ids[0])
    before = await ask("GET", OVERVIEW)
    assert before["rates_bin"] == 1000
    await database.execute(sample, 1001, ids[1])
    async with following(client, query=f"{CHANGED}&last_event_id={before['last_event_id']}") as events:
        clock[0] += 5
        said = await events.until(lambda event: "rates" in event)
        assert said["rates"] == {"bin": 1001, "counts": {str(ids[1]): [7]}}


async def test_a_card_that_comes_back_brings_the_rates_of_its_past(
    live: Live, ask: Ask, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [100.0]
    live.clock = lambda: clock[0]
    first, second = [await add_stream(database, f"box-{n}") for n in range(2)]
    await database.execute("UPDATE streams SET created_at = now() - interval '2 days'")
    newer = "UPDATE streams SET created_at = created_at + interval '1 hour' WHERE stream_id = $1"
    sample = """
        INSERT INTO stream_samples (stream_id, bin, bin_position, counts)
        SELECT stream_id, $1, 0, array_fill(0, ARRAY[178]) || $2::integer[] FROM streams
        ON CONFLICT (stream_id) DO UPDATE SET bin = excluded.bin, counts = excluded.counts
    """
    await database.execute(sample, 1000, [0, 7])
    monkeypatch.setattr(overview, "CARDS", 1)
    await database.execute(newer, first)
    before = await ask("GET", OVERVIEW)
    assert [each["stream_id"] for each in before["streams"]] == [str(first)]
    position = live.ring.position_after(before["last_event_id"])
    assert position is not None
    # Meanwhile a bin was closed: it is told of all with the next rates, of this stream as well.
    await database.execute(sample, 1001, [7, 3])
    await database.execute(newer, second)
    await database.execute(newer, second)
    clock[0] += 1
    await live.refresh()
    (event,) = told(live, position)
    said = orjson.loads(event.partition(b"data: ")[2])
    assert said["streams_gone"] == [str(first)]
    (row,) = said["streams"]
    assert row["stream_id"] == str(second)
    assert "rates" not in said
    assert (len(row["rate"]), row["rate"][-3:]) == (180, [0, 0, 7])


async def test_a_look_that_ends_early_leaves_it_to_the_next_to_tell_all(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It took the wish of whoever waits behind it along; what an overview was made of then was old."""
    live = client.app[API].part(Live)
    before = await live.overview()
    rows, begun, may_end = overview.rows, asyncio.Semaphore(0), asyncio.Semaphore(0)

    async def when_it_may(*arguments: Any, **more: Any) -> Any:
        begun.release()
        await may_end.acquire()
        return await rows(*arguments, **more)

    monkeypatch.setattr(overview, "rows", when_it_may)
    looks = [asyncio.ensure_future(live.refresh()) for _ in range(2)]
    await begun.acquire()
    showing = asyncio.ensure_future(live.overview())
    await asyncio.sleep(0)
    may_end.release()
    await begun.acquire()  # the second look, with the wish for an overview
    looks[1].cancel()
    await begun.acquire()
    may_end.release()
    assert (await showing).at > before.at
    await asyncio.wait(looks)


async def test_an_entry_of_the_log_is_told_once_though_the_digest_fails(
    client: Client, ask: Ask, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = client.app[API].part(Live)
    await ask("GET", OVERVIEW)
    begun = live.ring.end

    async def fail(*_: Any, **__: Any) -> Any:
        raise DatabaseUnavailable("gone for a moment")

    monkeypatch.setattr(Digest, "next", fail)
    await database.execute(
        "INSERT INTO activity (level, process_id, event) VALUES ('info', gen_random_uuid(), 'something')"
    )
    for _ in range(2):
        with pytest.raises(DatabaseUnavailable):
            await live.refresh()
    assert len([each for each in told(live, begun) if b"event: log_entry" in each]) == 1


async def test_the_verdict_alone_is_what_the_overview_says(ask: Ask, database: Database) -> None:
    await add_stream(database)
    said = await ask("GET", "/api/v1/verdict")
    assert said["verdict"] == (await ask("GET", OVERVIEW))["verdict"]
    assert said["verdict"]["streams"] == 1
