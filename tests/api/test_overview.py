"""The first page: streams, what is wrong with them, and who looks."""

import asyncio
from datetime import datetime
from typing import Any
from uuid import UUID

import pytest
from prometheus_client import generate_latest

from api.alerts import samples
from api.alerts.evaluator import Evaluation
from api.live import metrics
from api.live.view import Live
from shared.db.errors import DatabaseUnavailable
from shared.runtime.process import Process
from tests.api.conftest import Ask
from tests.api.looking import ago, looked
from tests.api.overviews import add_conflict, signals
from tests.api.seeds import (
    Database,
    add_forwarder_session,
    add_metrics,
    add_process,
    add_receiver_session,
    add_stream,
)
from tests.waiting import wait_until


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


async def test_a_look_that_hangs_gives_its_turn_back(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    hanging, other = Evaluation(process), Evaluation(process)
    hangs, goes_on, sample = asyncio.Event(), asyncio.Event(), samples.sample

    async def hang_once(*arguments: Any, **more: Any) -> None:
        if not hangs.is_set():
            hangs.set()
            await goes_on.wait()
        await sample(*arguments, **more)

    monkeypatch.setattr(samples, "sample", hang_once)
    looking = asyncio.ensure_future(hanging.look(turn_s=0))
    await hangs.wait()
    assert not await other.look(turn_s=0)
    # What the server ends after 5 s, and nobody before.
    await wait_until(lambda: other.look(turn_s=0), deadline_s=30, what="the other's turn")
    goes_on.set()
    with pytest.raises(DatabaseUnavailable):
        await looking


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
