"""Alerts that somebody knows of, or does not want to hear of: from every api process the same, of two at once one."""

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import aiohttp
import orjson
import pytest
from prometheus_client import generate_latest

from api.alerts.evaluator import Evaluation
from api.alerts.routes import MUTED_AT_MOST
from api.live import metrics
from api.live.view import Live
from shared.runtime.process import Process as ApiProcess
from tests.api.conftest import Ask, Client
from tests.api.looking import OVERVIEW, ago, looked
from tests.api.seeds import Database, add_forwarder_session, add_metrics, add_process, add_stream
from tests.services import Process
from tests.waiting import wait_until

ALERTS = "/api/v1/alerts"
ANN = "a token of some length"


async def silent(database: Database, forwarder_id: str = "start", seconds: float = 60) -> UUID:
    """Add a stream of a connected forwarder that has been silent for so long."""
    stream_id = await add_stream(database, forwarder_id)
    await add_metrics(database, stream_id, dedup=7, received_at=await ago(database, seconds))
    gateway = await add_process(database, "gateway")
    await add_forwarder_session(database, forwarder_id, gateway)
    return stream_id


async def reads(database: Database, stream_id: UUID) -> None:
    """Let a read come, and whatever it ends have been ended for long enough."""
    await database.execute(
        "UPDATE stream_metrics SET last_received_at = now() WHERE stream_id = $1", stream_id
    )


async def past(database: Database, seconds: float) -> None:
    """Let what stands have stood for longer."""
    by = timedelta(seconds=seconds)
    await database.execute(
        "UPDATE troubles SET since = since - $1::interval, eased_at = eased_at - $1::interval, "
        "calm_at = calm_at - $1::interval WHERE ended_at IS NULL",
        by,
    )


def opened(overview: Any) -> list[Any]:
    """Return the open alerts."""
    return [each for each in overview["troubles"] if each["ended_at"] is None]


def counts(overview: Any) -> tuple[str, int, int, int, int, int]:
    """Return what the verdict says and counts: level, act, watch, acknowledged, muted, clearing."""
    said = overview["verdict"]
    return tuple(said[name] for name in ("level", "act", "watch", "acknowledged", "muted", "clearing"))


async def entries(database: Database, event: str, *, count: int = 1) -> list[Any]:
    """Return the fields of a kind of entry in the log, when there are so many."""

    async def found() -> list[Any]:
        rows = await database.fetch("SELECT fields FROM activity WHERE event = $1", event)
        return [orjson.loads(row["fields"]) for row in rows] if len(rows) >= count else []

    written: list[Any] = await wait_until(found, what=f"{event} in the log")
    return written


# --- acknowledged ------------------------------------------------------------------------------------------


async def test_an_acknowledged_alert_is_shown_and_does_not_count(
    ask: Ask, database: Database, evaluation: Evaluation
) -> None:
    await silent(database)
    (alert,) = opened(await looked(ask, evaluation))
    answer = await ask(
        "POST", f"{ALERTS}/{alert['trouble_id']}/acknowledge", json={"reason": "start is over"}
    )
    assert answer["acknowledged"]["by"] == "no token"
    assert answer["acknowledged"]["reason"] == "start is over"
    overview = await looked(ask, evaluation)
    (shown,) = opened(overview)
    assert shown["quiet"] == "acknowledged"
    assert shown["acknowledged"] == answer["acknowledged"]
    assert (counts(overview), overview["verdict"]["headline"]) == (("good", 0, 0, 1, 0, 0), None)
    (card,) = overview["streams"]
    # What is wrong is not hidden.
    assert (card["level"], card["quiet"]) == ("act", "acknowledged")
    assert (await ask("GET", ALERTS))["alerts"] == overview["troubles"]
    (entry,) = await entries(database, "alert_acknowledged")
    assert (entry["alert"], entry["because"], entry["by"]) == (alert["title"], "start is over", "no token")


async def test_an_acknowledgement_is_taken_back(ask: Ask, database: Database, evaluation: Evaluation) -> None:
    await silent(database)
    (alert,) = opened(await looked(ask, evaluation))
    path = f"{ALERTS}/{alert['trouble_id']}/acknowledge"
    await ask("POST", path)
    await ask("DELETE", path, status=204)
    assert counts(await looked(ask, evaluation)) == ("act", 1, 0, 0, 0, 0)
    await ask("DELETE", path, status=404)
    assert len(await entries(database, "acknowledgement_taken_back")) == 1


async def test_an_acknowledgement_goes_with_its_alert_and_the_next_one_is_new(
    ask: Ask, database: Database, evaluation: Evaluation
) -> None:
    stream_id = await silent(database)
    (first,) = opened(await looked(ask, evaluation))
    await ask("POST", f"{ALERTS}/{first['trouble_id']}/acknowledge")
    await reads(database, stream_id)
    await looked(ask, evaluation)
    await past(database, 600)
    overview = await looked(ask, evaluation)
    assert opened(overview) == []
    # What is over says who knew of it.
    assert overview["troubles"][0]["acknowledged"]["by"] == "no token"
    await database.execute("UPDATE stream_metrics SET last_received_at = now() - interval '1 minute'")
    overview = await looked(ask, evaluation)
    (second,) = opened(overview)
    assert second["trouble_id"] != first["trouble_id"]
    assert counts(overview) == ("act", 1, 0, 0, 0, 0)
    await ask("POST", f"{ALERTS}/{first['trouble_id']}/acknowledge", status=409)


async def test_an_alert_that_gets_worse_is_new_and_stays_so(
    ask: Ask, database: Database, evaluation: Evaluation
) -> None:
    await silent(database, seconds=30)
    (alert,) = opened(await looked(ask, evaluation))
    path = f"{ALERTS}/{alert['trouble_id']}/acknowledge"
    await ask("POST", path, json={"expected_level": "watch"})
    assert counts(await looked(ask, evaluation)) == ("good", 0, 0, 1, 0, 0)
    # At once, also where a process of the release before has looked, which tidies nothing.
    level = "UPDATE troubles SET level = $2 WHERE trouble_id = $1"
    await database.execute(level, alert["trouble_id"], "act")
    assert counts(await ask("GET", OVERVIEW)) == ("act", 1, 0, 0, 0, 0)
    await database.execute(level, alert["trouble_id"], "watch")
    await database.execute("UPDATE stream_metrics SET last_received_at = now() - interval '1 minute'")
    assert counts(await looked(ask, evaluation)) == ("act", 1, 0, 0, 0, 0)
    # Amber again, as when it was acknowledged: that was for another state of things.
    await database.execute("UPDATE stream_metrics SET last_received_at = now() - interval '30 seconds'")
    await looked(ask, evaluation)
    await past(database, 600)
    assert counts(await looked(ask, evaluation)) == ("watch", 0, 1, 0, 0, 0)


async def test_who_looked_at_an_amber_one_does_not_acknowledge_a_red_one(
    ask: Ask, database: Database, evaluation: Evaluation
) -> None:
    await silent(database)
    (alert,) = opened(await looked(ask, evaluation))
    path = f"{ALERTS}/{alert['trouble_id']}/acknowledge"
    error = await ask("POST", path, status=409, json={"expected_level": "watch"})
    assert "worse" in error["message"]
    assert error["details"] == {"level": "act", "expected_level": "watch"}
    await ask("POST", path, json={"expected_level": "act"})


async def test_of_many_who_acknowledge_at_once_one_has_done_it_and_the_others_are_told_who(
    serve: Callable[..., Awaitable[Client]], ask: Ask, database: Database, evaluation: Evaluation
) -> None:
    await silent(database)
    (alert,) = opened(await looked(ask, evaluation))
    client = await serve(api_token=ANN)
    path = f"{ALERTS}/{alert['trouble_id']}/acknowledge"

    async def acknowledge(name: str) -> tuple[int, Any]:
        shown = {"Authorization": "Basic " + b64encode(f"{name}:{ANN}".encode()).decode()}
        async with client.post(path, json={"reason": name}, headers=shown) as answer:
            return answer.status, await answer.json()

    answers = await asyncio.gather(*(acknowledge(name) for name in ("Ann", "Bob", "Cem", "Dora")))
    assert sorted(status for status, _ in answers) == [200, 409, 409, 409]
    (done,) = (body for status, body in answers if status == 200)
    for status, body in answers:
        if status == 409:
            assert body["details"]["by"] == done["acknowledged"]["by"]
            assert body["details"]["by"] in body["message"]
    assert len(await entries(database, "alert_acknowledged")) == 1


@pytest.mark.parametrize("verb", ["acknowledge", "mute"])
async def test_what_is_not_there_is_said(ask: Ask, verb: str) -> None:
    for method in ("POST", "DELETE"):
        await ask(method, f"{ALERTS}/12345/{verb}", status=404, json={"reason": "x"})
        await ask(method, f"{ALERTS}/0/{verb}", status=400, json={"reason": "x"})


# --- muted -------------------------------------------------------------------------------------------------


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
            {"reason": "x", "until": (datetime.now(UTC) + MUTED_AT_MOST + timedelta(minutes=5)).isoformat()},
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


# --- about to clear ----------------------------------------------------------------------------------------


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


# --- everywhere the same -----------------------------------------------------------------------------------


@pytest.fixture
async def apis(database_url: str) -> AsyncIterator[list[Process]]:
    """Two api processes that are ready, and one that is not started."""
    found = [Process("api", database_url, {}) for _ in range(3)]
    for process in found[:2]:
        await process.start()
    for process in found[:2]:
        await process.ready()
    yield found
    for process in found:
        if process.child is not None and process.child.returncode is None:
            await process.kill()


async def shown_by(process: Process) -> list[Any]:
    async with aiohttp.ClientSession() as http, http.get(process.url + OVERVIEW) as answer:
        return opened(await answer.json())


async def post(process: Process, path: str, body: Any = None) -> None:
    async with aiohttp.ClientSession() as http, http.post(process.url + path, json=body) as answer:
        assert answer.status == 200, await answer.text()


async def test_what_was_said_is_the_same_from_every_process_and_after_a_restart(
    apis: list[Process], database: Database
) -> None:
    for forwarder_id in ("start", "finish"):
        await silent(database, forwarder_id)
    one, other, later = apis

    async def both() -> list[Any]:
        found = await shown_by(one)
        return found if len(found) == 2 else []

    first, second = await wait_until(both, what="the alerts")
    await post(one, f"{ALERTS}/{first['trouble_id']}/acknowledge")
    await post(other, f"{ALERTS}/{second['trouble_id']}/mute", {"reason": "x"})
    for process in (one, other):
        assert {each["quiet"] for each in await shown_by(process)} == {"acknowledged", "muted"}
    for process in (one, other):
        await process.kill()
    await later.start()
    await later.ready()
    assert {each["quiet"] for each in await shown_by(later)} == {"acknowledged", "muted"}


async def test_prometheus_rings_for_nothing_that_somebody_knows_of(
    ask: Ask, database: Database, evaluation: Evaluation, process: ApiProcess
) -> None:
    await silent(database)
    (alert,) = opened(await looked(ask, evaluation))

    async def shown() -> list[str]:
        metrics.show((await Live(process).refresh())[0])
        lines = generate_latest().decode().splitlines()
        names = (
            'rtserver_alerts{level="act",signal="last_read"}',
            'rtserver_alerts_quiet{quiet="muted"}',
        )
        return [line.rpartition(" ")[2] for name in names for line in lines if line.startswith(name)]

    assert await shown() == ["1.0", "0.0"]
    await ask("POST", f"{ALERTS}/{alert['trouble_id']}/mute", json={"reason": "x"})
    assert await shown() == ["0.0", "1.0"]
