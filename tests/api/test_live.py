"""The event stream: the cluster's, from every api process the same; resumable, bounded, and no burden to a stop."""

import asyncio
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import orjson
import pytest

from api.app import API
from api.live import routes as handlers
from api.live import store as overview
from api.live.types import Form, Resync
from api.live.view import Live
from deploy.local.child import until_answering
from deploy.local.reverse_proxy import ReverseProxy
from shared.db.errors import DatabaseUnavailable
from shared.runtime.liveness import Presence
from shared.runtime.process import Process as ApiProcess
from tests.api.conftest import Ask, Client
from tests.api.seeds import (
    Database,
    add_events,
    add_forwarder_session,
    add_metrics,
    add_process,
    add_stream,
)
from tests.api.sse import PATH, follow
from tests.postgres import Postgresql
from tests.services import Process
from tests.waiting import stretched, wait_until

OVERVIEW = "/api/v1/overview"


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(60), connector=connector) as session:
        yield session


@pytest.fixture
async def apis(database_url: str) -> AsyncIterator[list[Process]]:
    """Two api processes that are ready."""
    async with AsyncExitStack() as stack:
        found = [Process("api", database_url, {}) for _ in range(2)]
        for process in found:
            await process.start()
            stack.push_async_callback(end, process)
        await asyncio.gather(*(process.ready() for process in found))
        yield found


async def end(process: Process) -> None:
    if process.child is not None and process.child.returncode is None:
        await process.kill()


async def get(http: aiohttp.ClientSession, process: Process, path: str = OVERVIEW) -> Any:
    async with http.get(process.url + path) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.json()


async def notify(database: Database, channel: str) -> None:
    await database.execute("SELECT pg_notify($1, '')", channel)


async def store(database: Database, stream_id: UUID, *, first_seq: int = 1, count: int = 1) -> None:
    """Store events as a writer does, and notify."""
    await add_events(database, stream_id, ["x"] * count, first_seq=first_seq)
    await database.execute("DELETE FROM stream_metrics WHERE stream_id = $1", stream_id)
    await add_metrics(database, stream_id, dedup=first_seq + count - 1)
    await notify(database, "rt_positions")


# --- what is told ------------------------------------------------------------------------------------------


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
        # It was received half a year ago: red, from both, under the same number and since the same moment.
        await add_forwarder_session(database, "start", await add_process(database, "gateway"))
        troubled = [
            await each.until(lambda event: event["type"] == "verdict_updated" and event["verdict"]["act"])
            for each in (one, other)
        ]
        assert troubled[0] == troubled[1]
    overviews = [await get(http, each) for each in apis]
    assert overviews[0]["troubles"] == overviews[1]["troubles"]
    assert overviews[0]["verdict"] == overviews[1]["verdict"]


async def test_a_state_outlives_the_process_that_saw_it(
    apis: list[Process], http: aiohttp.ClientSession, database: Database
) -> None:
    stream_id = await add_stream(database)
    await add_conflict(database, stream_id)

    async def troubles(process: Process) -> Any:
        return (await get(http, process))["troubles"]

    before = await wait_until(lambda: troubles(apis[0]), what="the conflict to be seen")
    for process in apis:
        await process.kill()
    await apis[0].start()
    await apis[0].ready()
    after = await troubles(apis[0])
    assert [each for each in after if each["signal"] == "conflict"] == before


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


CHANGED = "?form=changed"


async def test_one_event_a_second_tells_all_that_has_changed_and_no_more(
    live: Live, client: Client, ask: Ask, database: Database
) -> None:
    clock = [100.0]
    live._clock = lambda: clock[0]
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


def told(live: Live, begun: int, form: Form = "changed") -> list[bytes]:
    """Return the events of a form that stand in the ring from a position on."""
    taken = live.ring.take(begun, at_most=10**9, form=form)
    assert taken is not None
    return [each for each in taken[0].split(b"\n\n") if each]


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
    live._clock = lambda: clock[0]
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
    live._clock = lambda: clock[0]
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
    live._clock = lambda: clock[0]
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


async def test_a_look_that_fails_leaves_it_to_the_next_to_tell_all(client: Client, ask: Ask) -> None:
    """Somebody else's look took the wish with it; what an overview was made of then was old."""
    live = client.app[API].part(Live)
    before = await ask("GET", OVERVIEW)
    rows, failed = overview.rows, asyncio.Event()

    async def fail_once(*arguments: Any, **more: Any) -> Any:
        if failed.is_set():
            return await rows(*arguments, **more)
        failed.set()
        raise DatabaseUnavailable("gone for a moment")

    live._whole = True
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(overview, "rows", fail_once)
        with pytest.raises(DatabaseUnavailable):
            await live.refresh()
        await live.refresh()
    assert live._shown is not None
    assert live._shown[0].at > datetime.fromisoformat(before["at"])


async def test_an_entry_of_the_log_is_told_once_though_the_digest_fails(
    client: Client, ask: Ask, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = client.app[API].part(Live)
    await ask("GET", OVERVIEW)
    begun = live.ring.end

    async def fail(*_: Any, **__: Any) -> Any:
        raise DatabaseUnavailable("gone for a moment")

    monkeypatch.setattr(live._digest, "next", fail)
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


async def test_a_process_that_does_not_know_what_happens_says_so(
    live: Live, client: Client, process: ApiProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handlers, "TICK_EVERY_S", 0.05)
    async with following(client, query=CHANGED) as events, asyncio.timeout(stretched(30)):
        await events.named("tick")
        monkeypatch.setattr(Presence, "problem", "not connected")
        await events.named("stalled")
        async with client.get("/api/v1/verdict") as answer:
            assert answer.status == 503
            assert (await answer.json())["details"] == {"cause": "database"}


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Signs of life come often, and a look is missed soon."""
    monkeypatch.setattr(handlers, "TICK_EVERY_S", 0.05)
    monkeypatch.setattr("api.live.view.POLL_S", 0.05)
    monkeypatch.setattr("api.live.view.KNOWS_S", 0.5)


@pytest.mark.parametrize("query", ["", CHANGED])
async def test_a_page_whose_looks_hang_is_not_told_that_nothing_has_happened(
    impatient: None, live: Live, client: Client, database: Database, query: str
) -> None:
    """The database answers presence and all others; the lock is on a table that only a look reads."""
    async with following(client, query=query) as events, asyncio.timeout(stretched(60)):
        await events.named("tick")
        async with database.transaction():
            await database.execute("LOCK TABLE epoch_names IN ACCESS EXCLUSIVE MODE")
            await events.named("stalled")
        await events.named("tick")


async def test_a_page_whose_looks_are_refused_is_not_told_that_nothing_has_happened(
    impatient: None, live: Live, client: Client, database: Database
) -> None:
    async with following(client, query=CHANGED) as events, asyncio.timeout(stretched(60)):
        await events.named("tick")
        await database.execute("ALTER TABLE epoch_names RENAME TO elsewhere")
        await events.named("stalled")
        await database.execute("ALTER TABLE elsewhere RENAME TO epoch_names")
        # What was missed is not known.
        await events.named("resync")
        await events.named("tick")


async def test_who_must_start_anew_waits_where_it_is_while_nobody_knows(
    impatient: None, live: Live, client: Client, ask: Ask, database: Database
) -> None:
    await ask("GET", OVERVIEW)
    await database.execute("ALTER TABLE epoch_names RENAME TO elsewhere")
    await wait_until(lambda: not live.knows, what="the looks to be missed")
    async with (
        following(client, query=f"{CHANGED}&last_event_id=another-1") as events,
        asyncio.timeout(stretched(60)),
    ):
        await events.named("stalled")
        assert events.last_id == "another-1"
        await database.execute("ALTER TABLE elsewhere RENAME TO epoch_names")
        await events.named("overview")
        assert events.last_id.startswith(live.ring.last_id.split("-")[0])


# --- coming back -------------------------------------------------------------------------------------------


@pytest.fixture
async def live(client: Client) -> AsyncIterator[Live]:
    """The event stream of the application, kept running."""
    live = client.app[API].part(Live)
    running = asyncio.create_task(live.run())
    yield live
    live._process.stop.ask()
    await running


async def test_who_comes_back_is_told_what_came_meanwhile(live: Live, client: Client) -> None:
    async with following(client) as events:
        live._tell(Resync())
        await events.next()
    live._tell(Resync())
    missed = live.ring.last_id
    live._tell(Resync())
    async with following(client, last_id=events.last_id) as again:
        await again.next()
        assert again.last_id == missed
        await again.next()
        assert again.last_id == live.ring.last_id


async def test_an_overview_says_where_the_stream_goes_on(live: Live, ask: Ask, client: Client) -> None:
    last_id = (await ask("GET", OVERVIEW))["last_event_id"]
    live._tell(Resync())
    async with following(client, query=f"?last_event_id={last_id}") as events:
        await events.next()
        assert events.last_id == live.ring.last_id != last_id


async def test_nothing_is_missed_between_the_overview_and_the_stream(
    live: Live, ask: Ask, client: Client, database: Database
) -> None:
    last_id = (await ask("GET", OVERVIEW))["last_event_id"]
    stream_id = await add_stream(database)
    async with following(client, query=f"?last_event_id={last_id}") as events:
        assert (await events.named("stream_created"))["stream"]["stream_id"] == str(stream_id)


@pytest.mark.parametrize(
    "stranger", ["deadbeef-1", "nonsense", "", "-", "deadbeef-99999999999999999999", "ü-1"]
)
async def test_who_comes_from_elsewhere_is_told_to_start_anew(
    live: Live, client: Client, stranger: str
) -> None:
    async with following(client, query=f"?last_event_id={stranger}") as events:
        assert (await events.next())["type"] == "resync"


async def test_who_follows_differences_starts_from_an_overview_of_the_very_process(
    apis: list[Process], http: aiohttp.ClientSession, database: Database
) -> None:
    """What another process gave may hold what was so between two of the differences that this one tells."""
    stream_id = await add_stream(database)
    rename = "UPDATE streams SET display_alias = $1"
    async with follow(http, apis[0].url, query=CHANGED), asyncio.timeout(stretched(60)):
        elsewhere = (await get(http, apis[1]))["last_event_id"]
        query = f"{CHANGED}&last_event_id={elsewhere}"
        async with follow(http, apis[0].url, query=query) as events:
            assert await events.next() == {"type": "resync", "overview_follows": True}
            said = await events.next()
            assert said["type"] == "overview"
            assert [each["stream_id"] for each in said["overview"]["streams"]] == [str(stream_id)]
            assert events.last_id == said["overview"]["last_event_id"]
            await database.execute(rename, "another")
            await notify(database, "rt_streams")
            await events.until(
                lambda event: (
                    {"stream_id": str(stream_id), "display_alias": "another"} in event.get("streams", [])
                )
            )
            seen = events.last_id
        # Who comes back to the same process needs none.
        async with follow(http, apis[0].url, query=f"{CHANGED}&last_event_id={seen}") as events:
            await database.execute(rename, "a third")
            await notify(database, "rt_streams")
            assert (await events.next())["type"] == "changed"


async def test_an_id_from_before_a_rest_is_not_known_any_more(
    live: Live, client: Client, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    last_id = (await ask("GET", OVERVIEW))["last_event_id"]
    monkeypatch.setattr("api.live.view.ASKED_LATELY_S", 0.0)
    await wait_until(
        lambda: not live.ring.last_id.startswith(last_id.split("-")[0]), what="the rest to begin"
    )
    async with following(client, last_id=last_id) as events:
        assert (await events.next())["type"] == "resync"


async def test_an_idle_stream_shows_that_it_lives(
    live: Live, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handlers, "TICK_EVERY_S", 0.05)
    async with following(client) as events:
        await events.named("tick")
        await events.named("tick")
        assert events.comments > 1
        assert events.last_id == live.ring.last_id


async def test_the_answer_begins_at_once_and_is_kept_by_no_proxy(live: Live, client: Client) -> None:
    async with client.get(PATH) as answer:
        assert (await answer.content.readline()).startswith(b"retry:")
        assert await answer.content.readline() == f"id: {live.ring.last_id}\n".encode()
        assert answer.headers["X-Accel-Buffering"] == "no"
        assert answer.headers["Cache-Control"] == "no-store"
        assert "Content-Encoding" not in answer.headers


# --- bounds ------------------------------------------------------------------------------------------------


def following(client: Client, **more: Any) -> Any:
    return follow(client.session, str(client.make_url("")).rstrip("/"), **more)


async def test_a_slow_client_is_told_to_start_anew_and_goes_on(live: Live, client: Client) -> None:
    live.ring._most_messages = 10
    async with following(client) as events:
        for _ in range(100):
            live._tell(Resync())
        # It is one of the loop's turns for us, and the ring has gone on without it.
        lost_at = live.ring.last_id
        assert (await events.next())["type"] == "resync"
        assert events.last_id == lost_at
        live._tell(Resync())
        await events.next()
        assert events.last_id == live.ring.last_id


async def test_a_client_that_does_not_read_is_dropped(
    live: Live, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handlers, "CLIENT_WAITS_S", 0.2)
    with socket.socket() as silent:
        silent.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        silent.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(silent, (client.host, client.port))
        await loop.sock_sendall(silent, f"GET {PATH} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        await wait_until(lambda: live.listeners == 1, what="the silent client to be served")

        def dropped() -> bool:
            live.ring.add(b":" + b"x" * 500_000 + b"\n\n")
            return live.listeners == 0

        await wait_until(dropped, deadline_s=30, what="the silent client to be dropped")


async def test_no_more_listeners_than_there_are_places(
    live: Live, client: Client, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handlers, "LISTENERS_AT_ONCE", 1)
    async with following(client), client.get(PATH) as answer:
        assert answer.status == 503
    await wait_until(lambda: live.listeners == 0, what="the first to be gone")


async def test_a_crowd_costs_one_refresh(live: Live, ask: Ask) -> None:
    await asyncio.gather(*(ask("GET", OVERVIEW) for _ in range(20)))
    assert live._begun <= 4


async def test_nobody_listens_and_nothing_is_looked_at(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    looked = 0

    async def look() -> None:
        nonlocal looked
        looked += 1

    monkeypatch.setattr(live, "_look", look)
    rested = asyncio.Event()
    monkeypatch.setattr(live, "_rest", rested.set)
    live._loop.wake()
    await rested.wait()
    assert looked == 0
    with live.listening():
        live._loop.wake()
        await wait_until(lambda: looked, what="a look")


async def test_the_numbers_of_a_stream_come_at_most_four_times_a_second(
    live: Live, client: Client, database: Database
) -> None:
    clock = [100.0]
    live._clock = lambda: clock[0]
    stream_id = await add_stream(database)
    async with following(client) as events:
        told: list[str] = []
        for n in range(1, 10):
            await store(database, stream_id, first_seq=n)
            before = live.ring.end
            await live.refresh()
            taken = live.ring.take(before, at_most=10**6)
            assert taken is not None
            told += ["metrics"] * taken[0].count(b"event: metrics_updated")
            clock[0] += 0.1
        # 0.0, 0.3, 0.6; the loop may have been the one who told.
        assert len(told) <= 3
        clock[0] += 1
        last = await events.until(
            lambda event: event["type"] == "metrics_updated" and event["card"]["epoch_reads"] == 9
        )
        assert last["metrics"]["dedup_count"] == 9


# --- behind the reverse proxy -----------------------------------------------------------------------------------


async def test_events_pass_the_reverse_proxy_as_they_come_and_over_a_lost_process(
    apis: list[Process], http: aiohttp.ClientSession, database: Database, tmp_path: Path
) -> None:
    addresses = [process.url.removeprefix("http://") for process in apis]
    proxy = ReverseProxy("127.0.0.1:0", data_dir=tmp_path, upstreams=lambda: {"api": addresses})
    child = await proxy.launch()
    try:
        assert await until_answering(child, proxy.answers), child.last_lines(5)
        async with follow(http, proxy.url) as events, asyncio.timeout(stretched(30)):
            await add_stream(database)
            await notify(database, "rt_streams")
            await events.named("stream_created")
            (held,) = [each for each in apis if await each.metric("rtserver_event_streams") == 1]
            await held.kill()
            with pytest.raises((aiohttp.ClientError, asyncio.IncompleteReadError)):
                await events.named("nothing that there is")
        async with follow(http, proxy.url, last_id=events.last_id) as events, asyncio.timeout(stretched(30)):
            assert (await events.next())["type"] == "resync"
    finally:
        await child.stop(proxy.stop_signals, within_s=5)


# --- faults ------------------------------------------------------------------------------------------------


async def test_a_database_that_was_away_is_a_reason_to_start_anew(
    apis: list[Process], http: aiohttp.ClientSession, cluster: Postgresql
) -> None:
    async with follow(http, apis[0].url) as events:
        cluster.terminate()
        try:
            async with http.get(apis[0].url + "/healthz") as answer:
                assert answer.status == 200
            await wait_until(lambda: unready(http, apis[0]), what="the loss to be noticed")
        finally:
            cluster.start()
        async with asyncio.timeout(stretched(30)):
            await events.named("resync")
        await apis[0].ready()
        await get(http, apis[0])


async def unready(http: aiohttp.ClientSession, process: Process) -> bool:
    async with http.get(process.url + "/readyz") as answer:
        return answer.status == 503


async def test_three_hundred_open_streams_do_not_hold_up_a_stop(
    apis: list[Process], http: aiohttp.ClientSession
) -> None:
    async with AsyncExitStack() as stack:
        streams = [await stack.enter_async_context(follow(http, apis[0].url)) for _ in range(300)]
        apis[0].signal(signal.SIGTERM)
        async with asyncio.timeout(stretched(8)):
            assert await apis[0].ended() == 0
        assert len(streams) == 300
