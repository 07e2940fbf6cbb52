"""Streams: list, alias, epochs and their names."""

import asyncio
from uuid import uuid4

import asyncpg
import pytest

from shared.db.channels import STREAMS
from shared.db.connections import connect
from shared.runtime.activity import Activity
from tests.api.conftest import Ask
from tests.api.seeds import (
    START,
    Database,
    add_cursor,
    add_forwarder_session,
    add_metrics,
    add_process,
    add_stream,
)
from tests.locks import SOMEBODY_WAITS
from tests.waiting import wait_until


async def test_streams_are_listed_in_order_of_creation_with_every_field(ask: Ask, database: Database) -> None:
    ids = [await add_stream(database, f"f{n}", epoch=n) for n in (3, 1, 2)]
    await database.execute("UPDATE streams SET created_at = $1", START)
    listed = (await ask("GET", "/api/v1/streams"))["streams"]
    assert [stream["stream_id"] for stream in listed] == sorted(str(each) for each in ids)
    await database.execute(
        "UPDATE streams SET created_at = $1::timestamptz - stream_epoch * interval '1 s'", START
    )
    listed = (await ask("GET", "/api/v1/streams"))["streams"]
    assert [stream["stream_epoch"] for stream in listed] == [3, 2, 1]
    assert listed[2] == {
        "stream_id": str(ids[1]),
        "forwarder_id": "f1",
        "reader_ip": "10.0.0.1:10000",
        "display_alias": None,
        "forwarder_display_name": None,
        "stream_epoch": 1,
        "current_epoch_name": None,
        "online": False,
        "reader_connected": False,
        "created_at": "2026-05-03T07:59:59+00:00",
        "closed": False,
    }


async def test_a_stream_is_online_while_its_forwarders_gateway_lives(ask: Ask, database: Database) -> None:
    for name in ("alive", "gone", "ended"):
        await add_stream(database, name)
    gateway = await add_process(database, "gateway")
    await add_forwarder_session(database, "alive", gateway)
    await add_forwarder_session(database, "ended", gateway)
    await database.execute("UPDATE forwarder_sessions SET ended_at = now() WHERE forwarder_id = 'ended'")
    await add_forwarder_session(database, "gone", await add_process(database, "gateway", lives=False))
    listed = (await ask("GET", "/api/v1/streams"))["streams"]
    assert {stream["forwarder_id"]: stream["online"] for stream in listed} == {
        "alive": True,
        "gone": False,
        "ended": False,
    }


async def test_an_alias_is_set_and_cleared(ask: Ask, database: Database, database_url: str) -> None:
    stream_id = await add_stream(database)
    await add_forwarder_session(database, "start", await add_process(database, "gateway"))
    notified: list[str] = []
    await database.add_listener(STREAMS, lambda *notification: notified.append(notification[2]))
    path = f"/api/v1/streams/{stream_id}"
    patched = await ask("PATCH", path, json={"display_alias": "Zieleinlauf 🏁"})
    assert (patched["display_alias"], patched["online"]) == ("Zieleinlauf 🏁", True)
    assert (await ask("GET", "/api/v1/streams"))["streams"] == [patched]
    await wait_until(lambda: notified, what="the notification")
    for nothing in (None, "", "  "):
        await ask("PATCH", path, json={"display_alias": "again"})
        assert (await ask("PATCH", path, json={"display_alias": nothing}))["display_alias"] is None


async def test_an_alias_for_an_unknown_stream_is_refused(ask: Ask) -> None:
    error = await ask("PATCH", f"/api/v1/streams/{uuid4()}", status=404, json={"display_alias": "x"})
    assert error["code"] == "NOT_FOUND"


async def test_epochs_ascend_and_the_current_one_is_there_before_its_first_event(
    ask: Ask, database: Database
) -> None:
    stream_id = await add_stream(database, epoch=3)
    await add_metrics(database, stream_id, epoch=2, dedup=5, last_seq=7)
    await add_metrics(database, stream_id, epoch=1, dedup=4)
    assert await ask("GET", f"/api/v1/streams/{stream_id}/epochs") == [
        {
            "epoch": 1,
            "name": None,
            "race_id": None,
            "event_count": 4,
            "first_event_at": "2026-05-03T08:00:00+00:00",
            "last_event_at": "2026-05-03T08:00:00+00:00",
            "is_current": False,
            "missing_count": 0,
        },
        {
            "epoch": 2,
            "name": None,
            "race_id": None,
            "event_count": 5,
            "first_event_at": "2026-05-03T08:00:00+00:00",
            "last_event_at": "2026-05-03T08:00:00+00:00",
            "is_current": False,
            "missing_count": 2,
        },
        {
            "epoch": 3,
            "name": None,
            "race_id": None,
            "event_count": 0,
            "first_event_at": None,
            "last_event_at": None,
            "is_current": True,
            "missing_count": 0,
        },
    ]


async def test_an_epoch_is_named_renamed_and_unnamed(ask: Ask, database: Database) -> None:
    stream_id = await add_stream(database, epoch=2)
    await add_metrics(database, stream_id, epoch=1, dedup=4)
    for name in ("Samstag", "Sonntag", None):
        named = await ask("PUT", f"/api/v1/streams/{stream_id}/epochs/1/name", json={"name": name})
        assert (named["epoch"], named["name"]) == (1, name)
        epochs = await ask("GET", f"/api/v1/streams/{stream_id}/epochs")
        assert named == {**epochs[0], "stream_id": str(stream_id), "stream_epoch": 1}
        assert epochs[1]["name"] is None


async def test_a_stream_that_is_not_there_has_no_epochs(ask: Ask) -> None:
    path = f"/api/v1/streams/{uuid4()}/epochs"
    for method, more in (("GET", ""), ("PUT", "/1/name")):
        assert (await ask(method, path + more, status=404, json={"name": "x"}))["code"] == "NOT_FOUND"


async def test_retention_by_the_runbook_leaves_what_is_listed_consistent(
    ask: Ask, database: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    stream_id = await add_stream(database, epoch=2)
    await add_metrics(database, stream_id, epoch=2, dedup=4)
    await database.execute("DELETE FROM stream_metrics WHERE stream_id = $1", stream_id)
    epochs = await ask("GET", f"/api/v1/streams/{stream_id}/epochs")
    assert [(each["epoch"], each["event_count"]) for each in epochs] == [(2, 0)]
    assert (await ask("GET", f"/api/v1/streams/{stream_id}/metrics"))["raw_count"] == 0


# --- a stream that nothing was read of ---------------------------------------------------------------------------


async def test_a_stream_that_holds_nothing_is_deleted_and_leaves_the_page(
    ask: Ask, database: Database, activity: Activity
) -> None:
    stream_id, other = await add_stream(database), await add_stream(database, "other")
    await add_cursor(database, "tent", stream_id, last_seq=0)
    await ask("PUT", f"/api/v1/streams/{stream_id}/epochs/1/name", json={"name": "Heat"})
    await ask("DELETE", f"/api/v1/streams/{stream_id}", status=204)
    assert [each["stream_id"] for each in (await ask("GET", "/api/v1/streams"))["streams"]] == [str(other)]
    await ask("DELETE", f"/api/v1/streams/{stream_id}", status=404)
    await ask("GET", f"/api/v1/streams/{stream_id}/card", status=404)

    async def logged() -> bool:
        return bool(await database.fetchval("SELECT count(*) FROM activity WHERE event = 'stream_deleted'"))

    await wait_until(logged, what="the entry of the log")


EVENT = "INSERT INTO events SELECT stream_id, 1, 1, 1, now(), NULL, 'x', '', 'raw' FROM streams"
STAGED = """
INSERT INTO inbox (gateway_id, part_id, forwarder_id, fence, session_id, stream_id, stream_epoch, received_at,
                   event_count, seqs, raw_frames, reader_timestamps, read_types, tag_ids, read_ats, parse_errors)
SELECT gen_random_uuid(), 1, forwarder_id, 1, gen_random_uuid(), stream_id, 1, now(), 1, '{1}', '{x}', '{x}', '{raw}',
       '{NULL}', '{NULL}', '{NULL}' FROM streams
"""
CONFLICT = """
INSERT INTO integrity_conflicts (stream_id, stream_epoch, seq, kept_frame, rejected_frame, reader_timestamp, read_type,
                                 received_at, session_id)
SELECT stream_id, 1, 1, 'x', 'y', '', 'raw', now(), gen_random_uuid() FROM streams
"""


@pytest.mark.parametrize("line", [EVENT, STAGED, CONFLICT], ids=["stored", "staged", "conflict"])
async def test_a_stream_that_holds_a_line_is_not_deleted(ask: Ask, database: Database, line: str) -> None:
    stream_id = await add_stream(database)
    await database.execute(line)
    refused = await ask("DELETE", f"/api/v1/streams/{stream_id}", status=409)
    assert "has reads" in refused["message"]
    assert await database.fetchval("SELECT count(*) FROM streams") == 1


async def test_a_stream_of_a_connected_forwarder_is_not_deleted(ask: Ask, database: Database) -> None:
    stream_id = await add_stream(database)
    await add_forwarder_session(database, "start", await add_process(database, "gateway"))
    refused = await ask("DELETE", f"/api/v1/streams/{stream_id}", status=409)
    assert "connected" in refused["message"]
    await database.execute("UPDATE forwarder_sessions SET ended_at = now()")
    await ask("DELETE", f"/api/v1/streams/{stream_id}", status=204)


async def test_an_event_that_a_drain_is_storing_keeps_its_stream(
    ask: Ask, database: Database, database_url: str
) -> None:
    stream_id = await add_stream(database)
    drain = await connect(database_url, name="drain")
    async with drain.transaction():
        await drain.execute("SELECT FROM streams FOR NO KEY UPDATE")
        deleting = asyncio.ensure_future(ask("DELETE", f"/api/v1/streams/{stream_id}", status=409))
        await wait_until(lambda: database.fetchval(SOMEBODY_WAITS), what="the lock")
        await drain.execute(EVENT)
    assert "has reads" in (await deleting)["message"]
    await drain.close()
