"""The dashboard's first page: what it shows, and what the states on it are made of."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from prometheus_client import generate_latest

from api.alerts.evaluator import Evaluation
from api.alerts.samples import BIN_S
from api.alerts.states import take_turn
from api.live import metrics
from api.live.view import Live
from shared.runtime.process import Process
from tests.api.conftest import Ask, Client
from tests.api.looking import OVERVIEW, ago, looked
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
from tests.waiting import wait_until

LATEST = "/api/v1/reads/latest"
READ = "aa400000000123450a2a01123018455927a7"


@pytest.fixture
async def gateway(database: Database) -> UUID:
    return await add_process(database, "gateway")


def signals(overview: Any) -> dict[str, str]:
    """Return the levels of the open alerts, by signal."""
    return {each["signal"]: each["level"] for each in overview["troubles"] if each["ended_at"] is None}


async def test_an_empty_house_is_all_good(ask: Ask, evaluation: Evaluation) -> None:
    overview = await looked(ask, evaluation)
    assert overview["verdict"] == {
        "level": "good",
        "watch": 0,
        "act": 0,
        "since": None,
        "headline": None,
        "acknowledged": 0,
        "muted": 0,
        "clearing": 0,
        "streams": 0,
        "online": 0,
        "closed": 0,
        "missing": 0,
        "flows": 0,
        "races": [],
    }
    assert overview["streams"] == overview["flow"] == overview["troubles"] == []
    assert [(each["role"], each["level"]) for each in overview["processes"]] == [("api", "good")]


async def test_a_card_shows_the_current_epoch(
    ask: Ask, database: Database, evaluation: Evaluation, gateway: UUID
) -> None:
    stream_id = await add_stream(database, epoch=2)
    await add_forwarder_session(database, "start", gateway)
    now = await ago(database, 0)
    await add_metrics(database, stream_id, epoch=1, dedup=50, missing=[(3, 4)], last_seq=52, conflict=1)
    await add_metrics(
        database, stream_id, epoch=2, dedup=7, retransmit=2, chips=3, received_at=now, last_tag_id="0a"
    )
    await database.execute("INSERT INTO epoch_names VALUES ($1, 2, 'Heat 2')", stream_id)
    (card,) = (await looked(ask, evaluation))["streams"]
    assert card.pop("rate") == [0] * 180
    assert all(card.pop(name) for name in ("online_since", "created_at", "last_received_at"))
    assert card == {
        "stream_id": str(stream_id),
        "forwarder_id": "start",
        "reader_ip": "10.0.0.1:10000",
        "display_alias": None,
        "forwarder_display_name": None,
        "stream_epoch": 2,
        "epoch_name": "Heat 2",
        "online": True,
        "reader_connected": True,
        "race_id": None,
        "race_name": None,
        "closed_at": None,
        "closed_by": None,
        "reads_since_closed": 0,
        "level": "good",
        "quiet": None,
        "reasons": [],
        "epoch_reads": 7,
        "unique_chips": 3,
        "events_per_second": 0.0,
        "missing_count": 0,
        "retransmit_count": 2,
        "conflict_count": 0,
        "open_conflicts": 0,
        "unparsed_count": 0,
        "clock_offset_ms": None,
        "zone_unknown": False,
        "last_tag_id": "0a",
    }


async def test_an_alert_says_who_what_since_when_and_what_to_do(
    ask: Ask, database: Database, evaluation: Evaluation
) -> None:
    stream_id = await add_stream(database)
    await database.execute("UPDATE streams SET display_alias = 'Finish line'")
    since = await ago(database, 60)
    await add_metrics(database, stream_id, dedup=7, received_at=since)
    dead = await add_process(database, "gateway", lives=False)
    await add_process(database, "gateway")
    await add_forwarder_session(database, "start", dead, display_name="Start")
    await database.execute("UPDATE processes SET last_seen_at = $2 WHERE process_id = $1", dead, since)
    overview = await looked(ask, evaluation)
    (alert,) = overview["troubles"]
    assert (alert["signal"], alert["subject_kind"], alert["subject_id"]) == (
        "forwarder_gone",
        "forwarder",
        "start",
    )
    assert (alert["title"], alert["level"], alert["ended_at"]) == ("Start", "act", None)
    assert datetime.fromisoformat(alert["since"]) == since
    assert overview["verdict"]["headline"] == f"{alert['reason']} · Start"
    assert overview["verdict"]["since"] == alert["since"]
    (card,) = overview["streams"]
    assert (card["level"], card["reasons"]) == ("act", [alert["reason"]])


async def test_what_is_over_is_kept_with_its_duration(
    ask: Ask, database: Database, evaluation: Evaluation
) -> None:
    stream_id = await add_stream(database)
    conflict_id = await add_conflict(database, stream_id)
    overview = await looked(ask, evaluation)
    assert (signals(overview), overview["streams"][0]["open_conflicts"]) == ({"conflict": "act"}, 1)
    await ask("POST", f"/api/v1/conflicts/{conflict_id}/acknowledge", status=204)
    overview = await looked(ask, evaluation)
    assert (signals(overview), overview["verdict"]["level"]) == ({}, "good")
    (alert,) = overview["troubles"]
    assert alert["level"] == "act"
    assert alert["duration_s"] >= 0
    assert alert["ended_at"] > alert["since"]


async def add_conflict(database: Database, stream_id: UUID) -> int:
    conflict_id: int = await database.fetchval(
        """
        INSERT INTO integrity_conflicts (stream_id, stream_epoch, seq, kept_frame, rejected_frame, reader_timestamp,
                                         read_type, received_at, session_id)
        VALUES ($1, 1, 1, 'a', gen_random_uuid()::text::bytea, '', 'raw', now(), gen_random_uuid())
        RETURNING conflict_id
        """,
        stream_id,
    )
    return conflict_id


async def test_the_history_is_bounded(
    ask: Ask, database: Database, evaluation: Evaluation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.alerts.evaluator.KEPT", 2)
    monkeypatch.setattr("api.live.view.RESOLVED", 1)
    stream_id = await add_stream(database)
    for _ in range(5):
        await add_conflict(database, stream_id)
        await looked(ask, evaluation)
        await database.execute("UPDATE integrity_conflicts SET acknowledged_at = now()")
        overview = await looked(ask, evaluation)
    assert len(overview["troubles"]) == 1
    assert await database.fetchval("SELECT count(*) FROM troubles WHERE ended_at IS NOT NULL") == 2


async def test_conflicts_of_a_stream_are_acknowledged_together(
    ask: Ask, database: Database, evaluation: Evaluation
) -> None:
    stream_id, other = await add_stream(database), await add_stream(database, "other")
    for each in (stream_id, stream_id, other):
        await add_conflict(database, each)
    path = "/api/v1/streams/{}/conflicts/acknowledge"
    assert await ask("POST", path.format(stream_id)) == {"acknowledged": 2}
    assert await ask("POST", path.format(stream_id)) == {"acknowledged": 0}
    await ask("POST", path.format(UUID(int=0)), status=404)
    await ask("POST", "/api/v1/conflicts/999/acknowledge", status=404)
    overview = await looked(ask, evaluation)
    assert [each["open_conflicts"] for each in overview["streams"]] == [0, 1]


async def test_one_looks_and_the_others_see_that_it_is_done(process: Process, database: Database) -> None:
    one, other = Evaluation(process), Evaluation(process)
    assert await one.look()
    assert not await other.look()
    await database.execute("UPDATE evaluation SET evaluated_at = now() - interval '1 second'")
    async with database.transaction():
        await database.execute("SELECT FROM evaluation FOR UPDATE")
        assert not await other.look()
    assert await other.look()


async def test_a_look_that_hangs_gives_its_turn_back(process: Process) -> None:
    hanging, other = Evaluation(process), Evaluation(process)
    connection = await hanging._link.get()
    await connection.execute("BEGIN")
    assert await take_turn(connection, every_s=0)
    assert not await other.look(turn_s=0)
    # What the server ends after 5 s, and nobody before.
    await wait_until(lambda: other.look(turn_s=0), deadline_s=30, what="the other's turn")
    assert connection.is_closed()


# --- flow ----------------------------------------------------------------------------------------------------


async def test_flow_says_how_far_behind_in_events_and_in_time(
    ask: Ask, database: Database, evaluation: Evaluation
) -> None:
    stream_id = await add_stream(database)
    started = await ago(database, 29)
    await add_events(database, stream_id, ["x"] * 30, received_at=started)
    await add_metrics(database, stream_id, dedup=30, received_at=started + timedelta(seconds=29))
    await add_receiver_session(database, "tent", await add_process(database, "fanout"), [stream_id])
    await add_cursor(database, "tent", stream_id, last_seq=20)
    overview = await looked(ask, evaluation)
    (flow,) = overview["flow"]
    # The 21st came 9 s ago.
    assert 9 <= flow.pop("behind_seconds") < 20
    assert flow == {
        "receiver_id": "tent",
        "stream_id": str(stream_id),
        "connected": True,
        "subscribed": True,
        "behind": 10,
        "level": "watch",
        "quiet": None,
    }
    assert signals(overview)["receiver_behind"] == "watch"


async def test_a_receiver_that_is_gone_is_missed_until_its_cursors_are_deleted(
    ask: Ask, database: Database, evaluation: Evaluation
) -> None:
    stream_id = await add_stream(database)
    fanout = await add_process(database, "fanout")
    await add_receiver_session(database, "tent", fanout, [stream_id])
    assert signals(await looked(ask, evaluation)) == {}
    await database.execute("DELETE FROM receiver_sessions")
    overview = await looked(ask, evaluation)
    assert [(each["connected"], each["subscribed"]) for each in overview["flow"]] == [(False, False)]
    await database.execute("UPDATE subscriptions SET gone_since = gone_since - interval '30 seconds'")
    overview = await looked(ask, evaluation)
    assert (signals(overview), overview["flow"][0]["level"]) == ({"receiver_gone": "act"}, "act")
    # It has acked nothing yet; what is forgotten is that it is missed.
    await ask("DELETE", "/api/v1/receivers/tent/cursors", status=204)
    overview = await looked(ask, evaluation)
    assert (signals(overview), overview["flow"]) == ({}, [])


async def test_a_receiver_that_is_back_is_missed_no_more_and_what_it_left_is_forgotten(
    ask: Ask, database: Database, evaluation: Evaluation
) -> None:
    one, other = await add_stream(database), await add_stream(database, "other")
    fanout = await add_process(database, "fanout")
    await add_receiver_session(database, "tent", fanout, [one, other])
    await looked(ask, evaluation)
    await database.execute("DELETE FROM receiver_sessions")
    await looked(ask, evaluation)
    await add_receiver_session(database, "tent", fanout, [one])
    await looked(ask, evaluation)
    (left,) = await database.fetch("SELECT stream_id, gone_since FROM subscriptions")
    assert tuple(left) == (one, None)


@pytest.mark.parametrize("revoked", [False, True])
async def test_a_forwarder_whose_last_token_is_revoked_is_not_waited_for(
    ask: Ask, database: Database, evaluation: Evaluation, gateway: UUID, revoked: bool
) -> None:
    stream_id = await add_stream(database)
    await add_metrics(database, stream_id, dedup=1)
    await add_forwarder_session(database, "start", gateway)
    await database.execute("UPDATE forwarder_sessions SET ended_at = now() - interval '1 minute'")
    await database.execute(
        """
        INSERT INTO device_tokens (token_hash, device_type, device_id, revoked_at)
        VALUES (sha256('a'), 'forwarder', 'start', now()),
               (sha256('b'), 'forwarder', 'start', CASE WHEN $1::boolean THEN now() END)
        """,
        revoked,
    )
    assert signals(await looked(ask, evaluation)).get("forwarder_gone") == (None if revoked else "act")


# --- many --------------------------------------------------------------------------------------------------


async def add_crowd(database: Database, count: int, *, forwarder_id: str = "crowd") -> None:
    """So many readers of one forwarder, each read once, a minute ago."""
    await database.execute(
        """
        WITH made AS (
            INSERT INTO streams (forwarder_id, reader_ip, last_position)
            SELECT $2, 'reader ' || n, 1 FROM generate_series(1, $1) AS n
            RETURNING stream_id
        ),
        read AS (
            INSERT INTO events
            SELECT stream_id, 1, 1, 1, now() - interval '1 minute', NULL, 'x', '', 'raw' FROM made
        )
        INSERT INTO stream_metrics
        SELECT stream_id, 1, 1, 1, 0, 0, 0, 1, 1, 1, now() - interval '1 minute', now() - interval '1 minute', NULL, ''
        FROM made
        """,
        count,
        forwarder_id,
    )


async def test_of_many_streams_those_that_matter_are_shown_and_all_are_counted(
    ask: Ask, database: Database, evaluation: Evaluation, gateway: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.live.store.CARDS", 3)
    monkeypatch.setattr("api.live.store.FLOWS", 2)
    wrong = await add_stream(database, "wrong")
    await add_metrics(database, wrong, dedup=1, last_seq=3)
    await add_crowd(database, 9)
    await database.execute("UPDATE streams SET created_at = now() - interval '3 days'")
    await add_forwarder_session(database, "crowd", gateway)
    alive = await database.fetchval("SELECT stream_id FROM streams WHERE reader_ip = 'reader 7'")
    await database.execute(
        "UPDATE stream_metrics SET last_received_at = now() - interval '2 days' WHERE stream_id <> $1", alive
    )
    await add_receiver_session(
        database,
        "tent",
        await add_process(database, "fanout"),
        [each["stream_id"] for each in await database.fetch("SELECT stream_id FROM streams")],
    )
    newest = await add_stream(database, "newest")
    await database.execute("UPDATE forwarder_sessions SET ended_at = now()")
    overview = await looked(ask, evaluation)
    assert {each["stream_id"] for each in overview["streams"]} == {
        str(each) for each in (wrong, alive, newest)
    }
    assert len(overview["flow"]) == 2
    verdict = overview["verdict"]
    assert [verdict[name] for name in ("streams", "online", "missing", "flows")] == [11, 0, 2, 10]
    hidden = await database.fetchval("SELECT stream_id FROM streams WHERE reader_ip = 'reader 1'")
    card = await ask("GET", f"/api/v1/streams/{hidden}/card")
    assert (card["reader_ip"], card["epoch_reads"], card["rate"]) == ("reader 1", 1, [0] * 180)


async def test_five_thousand_streams_cost_an_overview_and_a_look_no_more_than_some_hundred(
    ask: Ask, database: Database, evaluation: Evaluation, gateway: UUID, client: Client
) -> None:
    await add_crowd(database, 5000)
    await add_forwarder_session(database, "crowd", gateway)
    overview = await looked(ask, evaluation)
    assert (overview["verdict"]["streams"], len(overview["streams"])) == (5000, 500)
    assert [(each["signal"], each["level"]) for each in overview["troubles"]] == [("last_read", "act")]
    async with client.get(OVERVIEW) as answer:
        assert len(await answer.read()) < 1024 * 1024
    assert await evaluation.look(turn_s=0)
    assert await database.fetchval("SELECT count(*) FROM troubles WHERE subject_kind <> 'process'") == 1


async def test_of_many_alerts_the_worst_are_listed_and_all_are_counted(
    ask: Ask, database: Database, evaluation: Evaluation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.live.store.ALERTS", 2)
    for n in range(4):
        stream_id = await add_stream(database, f"f{n}")
        await add_metrics(database, stream_id, dedup=1000, unparsed=1)
    await add_conflict(database, stream_id)
    overview = await looked(ask, evaluation)
    assert [each["level"] for each in overview["troubles"]] == ["act", "watch"]
    assert (overview["verdict"]["act"], overview["verdict"]["watch"]) == (1, 4)


# --- processes ---------------------------------------------------------------------------------------------


async def test_a_dead_process_is_missed_until_another_has_its_place(
    ask: Ask, database: Database, evaluation: Evaluation
) -> None:
    died = await ago(database, 60)
    for _ in range(2):
        dead = await add_process(database, "writer", lives=False)
        await database.execute(
            "UPDATE processes SET last_seen_at = $2, started_at = $2 WHERE process_id = $1", dead, died
        )
        died -= timedelta(seconds=1)
    overview = await looked(ask, evaluation)
    assert [each["level"] for each in overview["processes"]] == ["good", "act", "act"]
    for left in (1, 0):
        await add_process(database, "writer")
        overview = await looked(ask, evaluation)
        assert sum(each["level"] == "act" for each in overview["processes"]) == left


# --- rates, clock and gap -----------------------------------------------------------------------------------


async def bins_later(database: Database, bins: int = 1) -> None:
    """Let so many bins have passed since the last look; none ends by itself before the next."""

    async def is_early() -> bool:
        return bool(await database.fetchval("SELECT mod(extract(epoch FROM now()), 10) < 9"))

    await wait_until(is_early, what="the next bin")
    await database.execute("UPDATE stream_samples SET bin = floor(extract(epoch FROM now()) / 10) - $1", bins)


async def test_the_sparkline_counts_events_in_bins(
    ask: Ask, database: Database, evaluation: Evaluation
) -> None:
    stream_id = await add_stream(database)
    await looked(ask, evaluation)
    for count in (3, 0, 5):
        await add_events(database, stream_id, ["x"] * count, first_seq=count * 10 + 1)
        await bins_later(database)
        (card,) = (await looked(ask, evaluation))["streams"]
    assert card["rate"] == [0] * 177 + [3, 0, 5]


async def test_bins_that_nobody_saw_share_what_came_meanwhile(
    ask: Ask, database: Database, evaluation: Evaluation
) -> None:
    stream_id = await add_stream(database)
    await looked(ask, evaluation)
    await add_events(database, stream_id, ["x"] * 10)
    await bins_later(database, 3)
    (card,) = (await looked(ask, evaluation))["streams"]
    assert card["rate"][-4:] == [0, 3, 3, 4]
    await bins_later(database, 100_000)
    (card,) = (await looked(ask, evaluation))["streams"]
    assert card["rate"] == [0] * 180


async def test_events_per_second_are_those_of_the_last_ten_seconds(
    ask: Ask, database: Database, evaluation: Evaluation
) -> None:
    stream_id = await add_stream(database)
    await looked(ask, evaluation)
    await add_events(database, stream_id, ["x"] * 50)
    await bins_later(database, 0)
    (card,) = (await ask("GET", OVERVIEW))["streams"]
    assert card["events_per_second"] == 5.0
    for _ in range(2):
        await bins_later(database)
        (card,) = (await looked(ask, evaluation))["streams"]
    assert card["events_per_second"] == 0.0


async def test_what_has_lost_its_stream_is_removed(
    ask: Ask, database: Database, evaluation: Evaluation
) -> None:
    stream_id = await add_stream(database)
    await add_conflict(database, stream_id)
    await looked(ask, evaluation)
    await database.execute("DELETE FROM streams")
    overview = await looked(ask, evaluation)
    assert signals(overview) == {}
    assert await database.fetchval("SELECT count(*) FROM stream_samples") == 0


async def test_a_last_read_is_late_by_what_is_usual(
    ask: Ask, database: Database, evaluation: Evaluation, gateway: UUID
) -> None:
    for forwarder_id, gap_s in (("busy", 1), ("lonely", 600)):
        stream_id = await add_stream(database, forwarder_id)
        await add_forwarder_session(database, forwarder_id, gateway)
        last = await ago(database, 60)
        first = last - timedelta(seconds=9 * gap_s)
        await add_events(database, stream_id, ["x"] * 10, received_at=first, step=timedelta(seconds=gap_s))
        await add_metrics(database, stream_id, dedup=10, received_at=last)
    overview = await looked(ask, evaluation)
    assert [each["level"] for each in overview["streams"]] == ["act", "good"]


# --- the live tail, and the numbers for Prometheus ------------------------------------------------------------


async def test_the_latest_reads_come_from_all_streams(ask: Ask, database: Database) -> None:
    one, other = await add_stream(database), await add_stream(database, "other")
    start = datetime(2026, 5, 3, tzinfo=UTC)
    await add_events(database, one, ["a", "b", READ], received_at=start, step=timedelta(seconds=2))
    await add_events(database, other, ["c", "d"], received_at=start + timedelta(seconds=1))
    await add_metrics(database, one, dedup=3, received_at=start + timedelta(seconds=4))
    await add_metrics(database, other, dedup=2, received_at=start + timedelta(seconds=2))

    async def lines(query: str) -> list[str]:
        return [each["raw_read_line"] for each in (await ask("GET", f"{LATEST}{query}"))["reads"]]

    assert sorted((await lines(""))[1:3]) == ["b", "d"]
    assert (await lines(""))[0::3] == [READ, "c"]
    assert await lines("?limit=1") == [READ]
    assert await lines(f"?stream_id={other}") == ["d", "c"]
    (read,) = (await ask("GET", f"{LATEST}?tag_id={READ[4:16].upper()}"))["reads"]
    assert (read["stream_id"], read["seq"]) == (str(one), 3)
    await ask("GET", f"{LATEST}?limit=201", status=400)


async def test_of_a_stream_only_what_was_stored_since_an_answer_is_told_again(
    ask: Ask, database: Database
) -> None:
    stream_id, other = await add_stream(database), await add_stream(database, "other")

    async def lines(**query: str) -> tuple[list[str], str]:
        answer = await ask("GET", LATEST, params={"stream_id": str(stream_id), **query})
        return [each["raw_read_line"] for each in answer["reads"]], answer["cursor"]

    assert (await lines())[0] == []
    await add_events(database, stream_id, ["a", "b", "c"])
    await add_events(database, other, ["z"])
    found, cursor = await lines()
    assert found == ["c", "b", "a"]
    assert await lines(after=cursor) == ([], cursor)
    # Late ones, by number and by time: what counts is when they were stored.
    await add_events(database, stream_id, ["d", "e"], epoch=2, received_at=START - timedelta(days=1))
    assert (await lines(after=cursor))[0] == ["e", "d"]
    assert (await lines(after=cursor, limit="1"))[0] == ["e"]
    assert (await lines(after=cursor, tag_id="none"))[0] == []
    assert (await ask("GET", LATEST))["cursor"] is None
    await ask("GET", LATEST, params={"after": cursor}, status=400)


async def test_prometheus_is_shown_what_the_page_shows(
    ask: Ask, database: Database, evaluation: Evaluation, process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "LABELLED", 1)
    stream_id = await add_stream(database)
    await add_stream(database, "beyond")
    await add_metrics(database, stream_id, dedup=7, last_seq=9, missing=[(3, 4)], unparsed=1)
    await add_receiver_session(database, "tent", await add_process(database, "fanout"), [stream_id])
    await looked(ask, evaluation)
    live = Live(process)
    metrics.show((await live.refresh())[0])

    lines = shown()
    labels = '{forwarder="start",reader="10.0.0.1:10000"}'
    assert f"rtserver_stream_missing_reads{labels} 2.0" in lines
    assert f"rtserver_stream_unparsed_reads{labels} 1.0" in lines
    assert 'rtserver_receiver_behind_events{receiver="tent"} 7.0' in lines
    assert 'rtserver_alerts{level="watch",signal="missing"} 1.0' in lines
    assert 'rtserver_alerts{level="act",signal="clock"} 0.0' in lines
    assert "rtserver_streams 2.0" in lines
    assert sum(line.startswith("rtserver_stream_missing_reads") for line in lines) == 1
    await database.execute("DELETE FROM streams")
    metrics.show((await live.refresh())[0])
    assert not any(line.startswith("rtserver_stream_missing_reads") for line in shown())


def shown() -> set[str]:
    return {line for line in generate_latest().decode().splitlines() if line.startswith("rtserver_")}


def test_bins_are_what_the_schema_says() -> None:
    assert BIN_S * 180 == 30 * 60


@pytest.mark.parametrize(
    ("faults", "level"),
    [
        (["malformed"], "watch"),
        (["dead_letter"], "watch"),
        (["long_line"], "act"),
        (["malformed", "too_many_readers"], "act"),
        (["of_tomorrow"], "watch"),
    ],
)
async def test_a_forwarder_that_sends_what_is_not_right_is_told_with_the_complaint(
    ask: Ask, database: Database, evaluation: Evaluation, faults: list[str], level: str
) -> None:
    await database.execute("ALTER TABLE forwarder_faults DROP CONSTRAINT forwarder_faults_fault_check")
    for fault in faults:
        await database.execute(
            "INSERT INTO forwarder_faults (forwarder_id, fault, complaint) VALUES ('start', $1, $2)",
            fault,
            f"complaint of {fault}",
        )
    overview = await looked(ask, evaluation)
    (alert,) = overview["troubles"]
    assert (alert["signal"], alert["subject_id"], alert["level"]) == ("forwarder_fault", "start", level)
    assert alert["reason"].endswith(f"complaint of {faults[-1]}")
    await database.execute("UPDATE forwarder_faults SET last_at = now() - interval '6 minutes'")
    assert "forwarder_fault" not in signals(await looked(ask, evaluation))
