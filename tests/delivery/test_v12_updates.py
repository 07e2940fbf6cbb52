"""What receivers of the second generation are told beside their reads: numbers, readers, batteries."""

from typing import Any
from uuid import UUID, uuid4

import pytest

from shared.db.channels import DEVICES
from shared.db.connections import Connection
from tests.api.seeds import add_race
from tests.delivery.conftest import Standing
from tests.delivery.stored import make_stream, store
from tests.delivery.test_subscribing import events
from tests.delivery.test_v12_race import map_epoch, race, unmap
from tests.delivery.wire import READER, START, Message
from tests.delivery.wire_v12 import WireV12, live, receiver_v12, replay, target
from tests.fanout.conftest import running_inside
from tests.waiting import wait_until

OTHER = ("finish", READER)
NUMBERS = "receiver_stream_metrics"
INFO = "receiver_reader_info_update"
DOWNLOAD = '{"state": "downloading", "reads_received": 5, "progress": 1, "total": 9}'


async def online(database: Connection, forwarder_id: str) -> UUID:
    """Have a forwarder be there, at the process that lives."""
    session_id = uuid4()
    await database.execute(
        "INSERT INTO forwarder_sessions (forwarder_id, session_id, fence, gateway_id, token_id)"
        " SELECT $1, $2, 1, process_id, gen_random_uuid() FROM live_processes LIMIT 1"
        " ON CONFLICT (forwarder_id) DO UPDATE SET session_id = excluded.session_id, ended_at = NULL",
        forwarder_id,
        session_id,
    )
    return session_id


async def report(database: Connection, session_id: UUID, state: str, info: str, **also: Any) -> None:
    """Have a session tell of a reader, as a gateway writes it down. also: download, reader_ip."""
    await database.execute(
        "INSERT INTO reader_states (forwarder_id, reader_ip, session_id, connected, state, reader_info, download,"
        " version) VALUES ('start', $1, $2, $3, $4, $5, $6, 1) ON CONFLICT (forwarder_id, reader_ip) DO UPDATE"
        " SET session_id = excluded.session_id, connected = excluded.connected, state = excluded.state,"
        " reader_info = excluded.reader_info, download = excluded.download",
        *(also.get("reader_ip", READER), session_id, state == "connected", state, info, also.get("download")),
    )
    await database.execute("SELECT pg_notify($1, 'start')", DEVICES)


async def gone(database: Connection) -> None:
    """Leave nothing of the forwarder behind."""
    for table in ("forwarder_sessions", "reader_states", "forwarder_ups"):
        await database.execute(f"DELETE FROM {table}")


def of_kind(wire: WireV12, kind: str) -> list[Message]:
    return [message for message in wire.told if message["kind"] == kind]


async def test_the_numbers_of_each_stream_come_behind_the_answer_and_when_they_change(
    standing: Standing,
) -> None:
    start, finish = [await make_stream(standing.database, *name) for name in (START, OTHER)]
    await store(standing.database, start, events(1, 1, 2) + events(2, 1, 3))
    await standing.database.execute(
        "UPDATE stream_metrics SET raw_count = 7, retransmit_count = 4, chip_count = 2,"
        " last_received_at = now() + interval '1 hour' WHERE stream_epoch = 2"
    )
    async with receiver_v12(standing.url, standing.token, live(START, OTHER)) as wire:
        await wire.applied()
        first = {
            (each["forwarder_id"]): each for each in [await wire.until(NUMBERS), await wire.until(NUMBERS)]
        }
        last_at = first["start"].pop("epoch_last_received_at")
        assert last_at.endswith("+00:00")
        assert first["start"] == {
            "kind": NUMBERS,
            "forwarder_id": "start",
            "reader_ip": READER,
            "raw_count": 9,
            "dedup_count": 5,
            "retransmit_count": 4,
            "lag_ms": 0,  # clocks of machines differ: never negative
            "epoch_raw_count": 7,
            "epoch_dedup_count": 3,
            "epoch_retransmit_count": 4,
            "epoch_lag_ms": 0,
            "unique_chips": 2,
        }
        assert first["finish"]["lag_ms"] is first["finish"]["epoch_last_received_at"] is None
        assert first["finish"]["raw_count"] == first["finish"]["unique_chips"] == 0
        await store(standing.database, finish, events(1, 1, 2))
        changed = await wire.until(NUMBERS)
        assert (changed["forwarder_id"], changed["raw_count"]) == ("finish", 2)
        assert sum(map(len, wire.batches)) == 5
    assert wire.frames.index("receiver_mode_applied") < wire.frames.index(NUMBERS)
    # Behind the reads that it counts.
    assert wire.frames[-2:] == ["receiver_event_batch", NUMBERS]


async def test_a_stream_that_joins_brings_its_numbers_and_one_that_leaves_takes_them_away(
    standing: Standing,
) -> None:
    start, finish = [await make_stream(standing.database, *name) for name in (START, OTHER)]
    for stream in (start, finish):
        await store(standing.database, stream, events(1, 1, 2))
    race_id = await add_race(standing.database)
    await map_epoch(standing.database, race_id, start, 1)
    async with receiver_v12(standing.url, standing.token, race(race_id)) as wire:
        await wire.applied()
        assert (await wire.until(NUMBERS))["forwarder_id"] == "start"
        await map_epoch(standing.database, race_id, finish, 1)
        await wire.applied()
        assert (await wire.until(NUMBERS))["forwarder_id"] == "finish"
        await unmap(standing.database, race_id, start, 1)
        await wire.applied()

        async def listed() -> bool:
            rows = await standing.database.fetchval("SELECT stream_ids FROM receiver_sessions")
            return bool(rows == [finish])

        await wait_until(listed, what="the row to list what is left")
        await store(standing.database, start, events(1, 3, 3))
        await store(standing.database, finish, events(1, 3, 3))
        assert (await wire.until(NUMBERS))["forwarder_id"] == "finish"


async def test_readers_and_batteries_are_told_where_they_are_known_and_when_they_change(
    standing: Standing,
) -> None:
    stream = await make_stream(standing.database, *START)
    await make_stream(standing.database, *OTHER)
    session_id = await online(standing.database, "start")
    await report(standing.database, session_id, "connected", '{"banner": "b"}')
    await standing.database.execute(
        "INSERT INTO forwarder_ups (forwarder_id, session_id, available, status, version)"
        " VALUES ('start', $1, true, '{\"battery_percent\": 90}', 1)",
        session_id,
    )
    about = {"stream_id": str(stream), "reader_ip": READER}
    async with receiver_v12(standing.url, standing.token, live(START, OTHER)) as wire:
        await wire.applied()
        assert await wire.until(INFO) == {
            "kind": INFO,
            **about,
            "state": "connected",
            "reader_info": {"banner": "b"},
        }
        assert await wire.until("forwarder_ups_status") == {
            "kind": "forwarder_ups_status",
            "forwarder_id": "start",
            "available": True,
            "status": {"battery_percent": 90},
        }
        await report(standing.database, session_id, "connected", '{"banner": "c"}', download=DOWNLOAD)
        progress = await wire.until("receiver_reader_download_progress")
        assert progress == {
            "kind": "receiver_reader_download_progress",
            **about,
            "state": "downloading",
            "reads_received": 5,
            "progress": 1,
            "total": 9,
        }
        # Of the reader something was told less than a second ago, so this may come behind.
        (info,) = of_kind(wire, INFO) or [await wire.until(INFO)]
        assert info["reader_info"] == {"banner": "c"}
        assert not of_kind(wire, "reader_status_changed")
        await standing.database.execute("UPDATE forwarder_sessions SET ended_at = now()")
        await standing.database.execute("SELECT pg_notify('rt_sessions', 'start')")
        changed = await wire.until("reader_status_changed")
        assert changed == {"kind": "reader_status_changed", **about, "connected": False}
        lost = await wire.until(INFO)
        assert (lost["state"], lost["reader_info"]) == ("disconnected", {"banner": "c"})
    await gone(standing.database)


async def test_how_all_is_comes_behind_the_answer_in_one_order_and_before_what_is_new(
    standing: Standing,
) -> None:
    """Of a long past: the answer waits for it, and what is stored meanwhile for the answer."""
    second = ("start", "10.0.0.2:10000")
    streams = [await make_stream(standing.database, *name) for name in (START, second)]
    session_id = await online(standing.database, "start")
    for reader_ip in (READER, second[1]):
        await report(standing.database, session_id, "connected", "{}", reader_ip=reader_ip)
    await standing.database.execute(
        "INSERT INTO forwarder_ups (forwarder_id, session_id, available, version) VALUES ('start', $1, true, 1)",
        session_id,
    )
    await store(standing.database, streams[0], events(1, 1, 250))
    async with receiver_v12(standing.url, standing.token, live(START, second)) as wire:
        await wire.take(100)
        await store(standing.database, streams[0], events(1, 251, 253))
        await wire.take(153)
    answer = wire.frames.index("receiver_mode_applied")
    told = [NUMBERS, NUMBERS, INFO, INFO, "forwarder_ups_status"]
    assert wire.frames[answer + 1 :][: len(told) + 1] == [*told, "receiver_event_batch"]
    await gone(standing.database)


async def test_what_changes_right_after_the_answer_is_told_a_second_later(
    database_url: str, database: Connection, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fanout.sender.EVERY_S", 3600)
    stream = await make_stream(database, *START)
    async with running_inside(database_url) as url, receiver_v12(url, token, live(START)) as wire:
        await wire.applied()
        assert (await wire.until(NUMBERS))["raw_count"] == 0
        await store(database, stream, events(1, 1, 2))
        await wire.take(2)
        assert await wire.silent(for_s=0.3)
        assert not of_kind(wire, NUMBERS)


async def test_a_replay_brings_reads_and_nothing_else(standing: Standing) -> None:
    stream = await make_stream(standing.database, *START)
    await store(standing.database, stream, events(1, 1, 2))
    session_id = await online(standing.database, "start")
    await report(standing.database, session_id, "connected", "{}")
    async with receiver_v12(standing.url, standing.token, replay(target(START, 1))) as wire:
        await wire.applied()
        await report(standing.database, session_id, "disconnected", "{}")
        assert await wire.silent(for_s=0.3)
        assert wire.told == []
    await gone(standing.database)
