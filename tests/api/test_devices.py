"""Forwarders, receivers and their cursors, conflicts, processes."""

from datetime import timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID, uuid4

from tests.api.conftest import Ask
from tests.api.seeds import (
    START,
    Database,
    add_cursor,
    add_events,
    add_forwarder_session,
    add_metrics,
    add_process,
    add_receiver_session,
    add_stream,
)


async def test_a_forwarder_shows_its_session_and_its_streams(ask: Ask, database: Database) -> None:
    first = await add_stream(database, "start", "a")
    second = await add_stream(database, "start", "b")
    await database.execute("UPDATE streams SET forwarder_display_name = 'Start'")
    gateway = await add_process(database, "gateway")
    # Its hello in mid-session renamed it; the session's row still has the old name.
    await add_forwarder_session(database, "start", gateway, display_name="old")
    await add_forwarder_session(database, "fresh", gateway, display_name="Fresh")
    fresh, start = (await ask("GET", "/api/v1/forwarders"))["forwarders"]
    assert (fresh["forwarder_id"], fresh["display_name"], fresh["stream_ids"]) == ("fresh", "Fresh", [])
    assert start.pop("connected_at") <= start.pop("last_seen_at")
    assert start == {
        "forwarder_id": "start",
        "display_name": "Start",
        "online": True,
        "gateway": str(gateway),
        "stream_ids": [str(first), str(second)],
        "readers": [{"reader_ip": "a", "connected": True}, {"reader_ip": "b", "connected": True}],
        "unique_chips": 0,
        "total_reads": 0,
        "last_read_at": None,
    }


async def test_a_forwarder_that_is_gone_shows_when_it_was_last_seen(ask: Ask, database: Database) -> None:
    stream_id = await add_stream(database, "start")
    gateway = await add_process(database, "gateway", lives=False)
    await add_forwarder_session(database, "start", gateway)
    seen = START + timedelta(hours=1)
    await database.execute("UPDATE forwarder_sessions SET connected_at = $1", START)
    await database.execute("UPDATE processes SET last_seen_at = $1", seen)
    (start,) = (await ask("GET", "/api/v1/forwarders"))["forwarders"]
    assert (start["online"], start["gateway"], start["connected_at"]) == (False, None, None)
    assert start["last_seen_at"] == "2026-05-03T09:00:00+00:00"
    await database.execute("UPDATE forwarder_sessions SET ended_at = $1", START + timedelta(minutes=10))
    (start,) = (await ask("GET", "/api/v1/forwarders"))["forwarders"]
    assert start["last_seen_at"] == "2026-05-03T08:10:00+00:00"
    await add_metrics(database, stream_id, dedup=1, received_at=START + timedelta(minutes=30))
    (start,) = (await ask("GET", "/api/v1/forwarders"))["forwarders"]
    assert start["last_seen_at"] == "2026-05-03T08:30:00+00:00"


async def test_a_forwarder_that_never_connected_here_is_known_by_its_streams(
    ask: Ask, database: Database
) -> None:
    await add_stream(database, "restored")
    (restored,) = (await ask("GET", "/api/v1/forwarders"))["forwarders"]
    assert (restored["forwarder_id"], restored["online"], restored["last_seen_at"]) == (
        "restored",
        False,
        None,
    )


async def test_a_receiver_shows_its_sessions_and_how_far_it_is_behind(ask: Ask, database: Database) -> None:
    acked, fresh = await add_stream(database, "a", epoch=2), await add_stream(database, "b")
    for epoch, dedup in ((1, 10), (2, 7)):
        await add_metrics(database, acked, epoch=epoch, dedup=dedup)
    await add_metrics(database, fresh, dedup=3)
    fanout = await add_process(database, "fanout")
    sessions = [await add_receiver_session(database, "tent", fanout, [acked, fresh]) for _ in range(2)]
    await add_cursor(database, "tent", acked, epoch=1, last_seq=8)
    await add_cursor(database, "tent", acked, epoch=2, last_seq=3)
    (tent,) = (await ask("GET", "/api/v1/receivers"))["receivers"]
    assert tent["receiver_id"] == "tent"
    assert {(each["session_id"], each["fanout"]) for each in tent["sessions"]} == {
        (str(each), str(fanout)) for each in sessions
    }
    assert tent["streams"][0].pop("updated_at") is not None
    assert tent["streams"] == [
        {"stream_id": str(acked), "stream_epoch": 2, "last_seq": 3, "behind": 6},
        {"stream_id": str(fresh), "stream_epoch": None, "last_seq": None, "behind": 3, "updated_at": None},
    ]


async def test_a_receiver_that_is_away_is_known_by_its_cursors(ask: Ask, database: Database) -> None:
    stream_id = await add_stream(database)
    await add_metrics(database, stream_id, dedup=10)
    await add_cursor(database, "away", stream_id, last_seq=4)
    gone = await add_process(database, "fanout", lives=False)
    await add_receiver_session(database, "away", gone, [stream_id])
    (away,) = (await ask("GET", "/api/v1/receivers"))["receivers"]
    assert (away["sessions"], away["streams"][0]["behind"]) == ([], 6)


async def cursors(ask: Ask, receiver_id: str) -> list[tuple[str, int, int]]:
    answer: Any = await ask("GET", f"/api/v1/receivers/{receiver_id}/cursors")
    assert answer["receiver_id"] == receiver_id
    return [(each["stream_id"], each["stream_epoch"], each["last_seq"]) for each in answer["cursors"]]


async def test_cursors_are_shown_and_deleted_by_stream_or_all(ask: Ask, database: Database) -> None:
    first, second = await add_stream(database, "a"), await add_stream(database, "b")
    for stream_id, epoch in ((first, 1), (first, 2), (second, 1)):
        for receiver in ("tent", "other"):
            await add_cursor(database, receiver, stream_id, epoch=epoch, last_seq=epoch * 10)
    whole = [(str(first), 1, 10), (str(first), 2, 20), (str(second), 1, 10)]
    assert await cursors(ask, "tent") == whole
    await ask("DELETE", f"/api/v1/receivers/tent/cursors/{first}", status=204)
    assert await cursors(ask, "tent") == whole[2:]
    await ask("DELETE", f"/api/v1/receivers/tent/cursors/{first}", status=404)
    await ask("DELETE", "/api/v1/receivers/tent/cursors", status=204)
    assert await cursors(ask, "tent") == []
    await ask("DELETE", "/api/v1/receivers/tent/cursors", status=404)
    assert await cursors(ask, "other") == whole


async def test_a_receivers_id_may_hold_what_a_url_escapes(ask: Ask, database: Database) -> None:
    await add_cursor(database, "tent/1 ä", await add_stream(database), last_seq=1)
    answer = await ask("GET", "/api/v1/receivers/tent%2F1%20%C3%A4/cursors")
    assert (answer["receiver_id"], len(answer["cursors"])) == ("tent/1 ä", 1)


async def add_conflict(database: Database, stream_id: UUID, seq: int) -> UUID:
    session_id = uuid4()
    await database.execute(
        """
        INSERT INTO integrity_conflicts (stream_id, stream_epoch, seq, kept_frame, rejected_frame,
                                         reader_timestamp, read_type, received_at, session_id)
        VALUES ($1, 1, $2, $3, $4, '', 'raw', $5, $6)
        """,
        stream_id,
        seq,
        f"kept {seq}".encode(),
        f"other \x00 {seq}".encode(),
        START,
        session_id,
    )
    return session_id


async def test_conflicts_are_paged_newest_first(ask: Ask, database: Database) -> None:
    first, second = await add_stream(database, "a"), await add_stream(database, "b")
    sessions = [await add_conflict(database, (first, second)[seq % 2], seq) for seq in range(5)]
    page = await ask("GET", "/api/v1/conflicts?limit=2")
    assert page["conflicts"][0] == {
        "conflict_id": page["conflicts"][0]["conflict_id"],
        "stream_id": str(first),
        "stream_epoch": 1,
        "seq": 4,
        "kept_line": "kept 4",
        "rejected_line": "other \x00 4",
        "received_at": "2026-05-03T08:00:00+00:00",
        "session_id": str(sessions[4]),
        "acknowledged_at": None,
    }
    seen = [each["seq"] for each in page["conflicts"]]
    while page["next_cursor"]:
        page = await ask("GET", f"/api/v1/conflicts?limit=2&cursor={page['next_cursor']}")
        seen += [each["seq"] for each in page["conflicts"]]
    assert seen == [4, 3, 2, 1, 0]
    page = await ask("GET", f"/api/v1/conflicts?stream_id={second}")
    assert [each["seq"] for each in page["conflicts"]] == [3, 1]


async def test_the_line_that_a_conflict_is_with_is_the_events(ask: Ask, database: Database) -> None:
    stream_id = await add_stream(database)
    await add_events(database, stream_id, ["one", "two"])
    for seq, line in (
        (1, "one"),
        (2, "of before"),
        (3, "three"),
    ):  # the others' events are not there any more
        await add_conflict(database, stream_id, seq)
        await database.execute(
            "UPDATE integrity_conflicts SET kept_frame = '', kept_hash = $2 WHERE seq = $1",
            seq,
            sha256(line.encode()).digest(),
        )
    page = await ask("GET", "/api/v1/conflicts")
    assert [each["kept_line"] for each in page["conflicts"]] == [None, None, "one"]


async def test_both_lines_of_a_conflict_are_shown_without_the_line_ends_of_frames(
    ask: Ask, database: Database
) -> None:
    stream_id = await add_stream(database)
    await add_events(database, stream_id, [b"kept\r\n"], framed=True)
    await add_events(database, stream_id, ["kept\r\n"], first_seq=2)
    for seq, framed in ((1, False), (2, True)):
        await add_conflict(database, stream_id, seq)
        await database.execute(
            "UPDATE integrity_conflicts SET kept_hash = $2, rejected_frame = $3, framed = $4 WHERE seq = $1",
            seq,
            sha256(b"kept\r\n").digest(),
            b"other\r\n",
            framed,
        )
    page = await ask("GET", "/api/v1/conflicts")
    assert [(each["kept_line"], each["rejected_line"]) for each in page["conflicts"]] == [
        ("kept\r\n", "other"),
        ("kept", "other\r\n"),
    ]


async def test_live_processes_are_listed(ask: Ask, database: Database, process: Any) -> None:
    writer = await add_process(database, "writer")
    await add_process(database, "gateway", lives=False)
    own, other = (await ask("GET", "/api/v1/processes"))["processes"]
    assert (own["process_id"], own["role"]) == (str(process.presence.process_id), "api")
    for time in (other.pop("started_at"), other.pop("last_seen_at")):
        assert time.endswith("+00:00")
    assert other == {
        "process_id": str(writer),
        "role": "writer",
        "host": "here",
        "pid": 1,
        "address": "127.0.0.1:1",
        "version": "0",
        "connections": 0,
        "events_per_second": 0.0,
        "ready": True,
    }
