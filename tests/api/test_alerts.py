"""What operators say of alerts: that they know. It is the same from every process."""

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from prometheus_client import generate_latest

from api.alerts.evaluator import Evaluation
from api.live import metrics
from api.live.view import Live
from shared.runtime.process import Process as ApiProcess
from tests.api.answering import ALERTS, ANN, counts, entries, opened, past, reads, silent
from tests.api.conftest import Ask, Client
from tests.api.looking import OVERVIEW, looked
from tests.api.seeds import Database
from tests.services import Process
from tests.waiting import wait_until


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


async def test_prometheus_alarms_for_nothing_that_somebody_knows_of(
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
