"""What operators say of alerts: that they do not want to hear of it; and what is about to clear."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from api.alerts.evaluator import Evaluation
from api.alerts.routes import MUTED_AT_MOST
from tests.api.answering import ALERTS, counts, entries, opened, past, reads, silent
from tests.api.conftest import Ask
from tests.api.looking import OVERVIEW, looked
from tests.api.seeds import Database


async def test_what_is_muted_does_not_count_over_its_endings_until_its_time_is_over(
    ask: Ask, database: Database, evaluation: Evaluation
) -> None:
    stream_id = await silent(database)
    (alert,) = opened(await looked(ask, evaluation))
    until = datetime.now(UTC) + timedelta(hours=2)
    answer = await ask(
        "POST",
        f"{ALERTS}/{alert['trouble_id']}/mute",
        json={"reason": "loose cable", "until": until.isoformat()},
    )
    assert (answer["muted"]["by"], answer["muted"]["reason"]) == ("no token", "loose cable")
    assert datetime.fromisoformat(answer["muted"]["until"]) == until
    overview = await looked(ask, evaluation)
    assert (counts(overview), opened(overview)[0]["quiet"]) == (("good", 0, 0, 0, 1, 0), "muted")
    await reads(database, stream_id)
    await looked(ask, evaluation)
    await past(database, 600)
    overview = await looked(ask, evaluation)
    assert opened(overview) == []
    # Nothing that is muted is out of sight, also when nothing is wrong.
    (mute,) = overview["mutes"]
    assert (mute["signal"], mute["condition"]) == ("last_read", "no reads")
    assert (mute["alert_id"], mute["signal"], mute["title"]) == (
        alert["trouble_id"],
        "last_read",
        alert["title"],
    )
    await database.execute("UPDATE stream_metrics SET last_received_at = now() - interval '1 minute'")
    assert counts(await looked(ask, evaluation)) == ("good", 0, 0, 0, 1, 0)
    await database.execute("UPDATE alert_mutes SET muted_until = now()")
    assert counts(await ask("GET", OVERVIEW)) == ("act", 1, 0, 0, 0, 0)
    overview = await looked(ask, evaluation)
    assert (counts(overview), overview["mutes"]) == (("act", 1, 0, 0, 0, 0), [])
    assert await database.fetchval("SELECT count(*) FROM alert_mutes") == 0


async def test_a_mute_is_taken_back_by_its_alert_or_by_the_one_that_stands_now(
    ask: Ask, database: Database, evaluation: Evaluation
) -> None:
    await silent(database)
    (alert,) = opened(await looked(ask, evaluation))
    path = f"{ALERTS}/{alert['trouble_id']}/mute"
    await ask("POST", path, json={"reason": "loose cable"})
    await ask("DELETE", path, status=204)
    assert counts(await looked(ask, evaluation)) == ("act", 1, 0, 0, 0, 0)
    await ask("DELETE", path, status=404)
    await ask("POST", path, json={"reason": "loose cable"})
    await database.execute("DELETE FROM troubles")
    (later,) = opened(await looked(ask, evaluation))
    await ask("DELETE", f"{ALERTS}/{later['trouble_id']}/mute", status=204)
    await ask("POST", f"{ALERTS}/{later['trouble_id']}/mute", json={"reason": "loose cable"})
    await database.execute("DELETE FROM troubles")
    await ask("DELETE", f"{ALERTS}/{later['trouble_id']}/mute", status=204)
    assert len(await entries(database, "mute_taken_back", count=3)) == 3


async def test_who_comes_second_with_a_mute_is_told_by_whom_and_until_when(
    ask: Ask, database: Database, evaluation: Evaluation
) -> None:
    await silent(database)
    (alert,) = opened(await looked(ask, evaluation))
    path = f"{ALERTS}/{alert['trouble_id']}/mute"
    first = await ask("POST", path, json={"reason": "loose cable"})
    error = await ask("POST", path, status=409, json={"reason": "another"})
    assert "somebody has muted it already" in error["message"]
    assert error["details"]["until"] == first["muted"]["until"]
    assert error["details"]["reason"] == "loose cable"


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ({}, "reason"),
        ({"reason": " "}, "reason"),
        ({"reason": "x", "until": "2020-01-01T00:00:00Z"}, "24 hours"),
        (
            {"reason": "x", "until": (datetime.now(UTC) + MUTED_AT_MOST + timedelta(hours=12)).isoformat()},
            "24 hours",
        ),
    ],
)
async def test_a_mute_has_a_reason_and_an_end_within_a_day(ask: Ask, body: Any, what: str) -> None:
    error = await ask("POST", f"{ALERTS}/1/mute", status=400, json=body)
    assert what in error["message"]


async def test_a_whole_day_by_a_clock_that_is_a_little_ahead_is_a_day(
    ask: Ask, database: Database, evaluation: Evaluation
) -> None:
    await silent(database)
    (alert,) = opened(await looked(ask, evaluation))
    until = await database.fetchval("SELECT now()") + MUTED_AT_MOST + timedelta(seconds=40)
    body = {"reason": "loose cable", "until": until.isoformat()}
    answer = (await ask("POST", f"{ALERTS}/{alert['trouble_id']}/mute", json=body))["muted"]
    assert datetime.fromisoformat(answer["until"]) - datetime.fromisoformat(answer["at"]) == MUTED_AT_MOST
    (entry,) = await entries(database, "alert_muted")
    assert entry["until"] == answer["until"]


async def test_no_more_is_muted_than_anybody_means(
    ask: Ask, database: Database, evaluation: Evaluation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.alerts.store.MUTES", 1)
    for forwarder_id in ("start", "finish"):
        await silent(database, forwarder_id)
    first, second = opened(await looked(ask, evaluation))
    await ask("POST", f"{ALERTS}/{first['trouble_id']}/mute", json={"reason": "x"})
    error = await ask("POST", f"{ALERTS}/{second['trouble_id']}/mute", status=409, json={"reason": "x"})
    assert "take one of them back" in error["message"]


async def test_what_is_muted_for_many_streams_is_muted_for_each_of_them(
    ask: Ask, database: Database, evaluation: Evaluation
) -> None:
    stream_id = await silent(database)
    await database.execute(
        "INSERT INTO alert_mutes (alert_id, signal, subject_kind, subject_id, title, reason, muted_by, muted_until) "
        "VALUES (99, 'last_read', 'forwarder', 'start', 'start', 'over', 'Ann', now() + interval '1 hour')"
    )
    overview = await looked(ask, evaluation)
    assert counts(overview) == ("good", 0, 0, 0, 1, 0)
    (alert,) = opened(overview)
    assert alert["stream_id"] == str(stream_id)
    await ask("DELETE", f"{ALERTS}/{alert['trouble_id']}/mute", status=204)
    assert counts(await looked(ask, evaluation)) == ("act", 1, 0, 0, 0, 0)


async def test_what_is_about_to_clear_is_shown_and_does_not_count(
    ask: Ask, database: Database, evaluation: Evaluation
) -> None:
    stream_id = await silent(database)
    await looked(ask, evaluation)
    await reads(database, stream_id)
    overview = await looked(ask, evaluation)
    (alert,) = opened(overview)
    assert alert["reason"].startswith("reads come again; shown until")
    assert (alert["quiet"], counts(overview)) == ("clearing", ("good", 0, 0, 0, 0, 1))
