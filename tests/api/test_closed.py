"""Closed streams: nobody expects a read of them, and none that comes is lost or hidden."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

from api.alerts.evaluator import Evaluation
from tests.api.answering import counts, entries, opened, silent
from tests.api.conftest import Ask
from tests.api.looking import ago, looked
from tests.api.seeds import (
    Database,
    add_events,
    add_forwarder_session,
    add_metrics,
    add_process,
    add_stream,
)

STREAMS = "/api/v1/streams"


async def close(ask: Ask, stream_id: UUID, *, closed: bool = True, **more: Any) -> Any:
    return await ask("PATCH", f"{STREAMS}/{stream_id}", json={"closed": closed}, **more)


async def test_a_closed_stream_raises_no_alert_of_silence_until_it_is_open_again(
    ask: Ask, database: Database, evaluation: Evaluation
) -> None:
    stream_id = await silent(database)
    assert counts(await looked(ask, evaluation)) == ("act", 1, 0, 0, 0, 0)
    assert (await close(ask, stream_id))["closed"] is True
    overview = await looked(ask, evaluation)
    (alert,) = opened(overview)
    assert (alert["quiet"], alert["reason"]) == ("clearing", "closed; shown until that has lasted 90 s")
    assert overview["verdict"]["closed"] == 1
    (card,) = overview["streams"]
    assert card["closed_by"] == "no token"
    assert card["closed_at"] is not None
    await database.execute(
        "UPDATE troubles SET eased_at = eased_at - $1::interval, calm_at = calm_at - $1::interval",
        timedelta(hours=1),
    )
    assert opened(await looked(ask, evaluation)) == []
    assert (await ask("GET", STREAMS))["streams"][0]["closed"] is True
    assert (await close(ask, stream_id, closed=False))["closed"] is False
    assert counts(await looked(ask, evaluation)) == ("act", 1, 0, 0, 0, 0)
    (entry,) = await entries(database, "stream_closed")
    assert (entry["stream"], entry["by"]) == ("start · 10.0.0.1:10000", "no token")
    assert len(await entries(database, "stream_opened")) == 1


async def test_nothing_is_wrong_with_the_process_of_a_test_that_takes_long(
    ask: Ask, database: Database, evaluation: Evaluation
) -> None:
    for _ in range(2):
        assert counts(await looked(ask, evaluation)) == ("good", 0, 0, 0, 0, 0)
        await database.execute("UPDATE troubles SET noticed_at = noticed_at - interval '1 minute'")


async def test_a_read_on_a_closed_stream_is_counted_and_said_once(
    ask: Ask, database: Database, evaluation: Evaluation
) -> None:
    stream_id = await silent(database)
    await add_events(database, stream_id, ["x"])
    await close(ask, stream_id)
    (card,) = (await looked(ask, evaluation))["streams"]
    assert card["reads_since_closed"] == 0
    for seq in (2, 3):
        await add_events(database, stream_id, ["x"], first_seq=seq)
        overview = await looked(ask, evaluation)
    (card,) = overview["streams"]
    # It opens nothing, and is no alert.
    assert (card["reads_since_closed"], card["closed_by"]) == (2, "no token")
    assert overview["verdict"]["level"] == "good"
    (entry,) = await entries(database, "read_on_closed_stream")
    assert (entry["stream"], entry["closed_by"]) == ("start · 10.0.0.1:10000", "no token")
    await close(ask, stream_id, closed=False)
    await close(ask, stream_id)
    await add_events(database, stream_id, ["x"], first_seq=4)
    (card,) = (await looked(ask, evaluation))["streams"]
    assert card["reads_since_closed"] == 1


async def test_what_else_is_wrong_with_a_closed_stream_counts(
    ask: Ask, database: Database, evaluation: Evaluation
) -> None:
    stream_id = await add_stream(database)
    await add_metrics(database, stream_id, dedup=7, last_seq=9, received_at=await ago(database, 600))
    await close(ask, stream_id)
    overview = await looked(ask, evaluation)
    assert {each["signal"] for each in opened(overview)} == {"missing"}
    assert counts(overview) == ("watch", 0, 1, 0, 0, 0)


async def test_a_forwarder_whose_streams_are_all_closed_is_not_waited_for(
    ask: Ask, database: Database, evaluation: Evaluation
) -> None:
    first = await add_stream(database)
    second = await add_stream(database, reader_ip="10.0.0.2:10000")
    since = await ago(database, 60)
    await add_metrics(database, first, dedup=7, received_at=since)
    dead = await add_process(database, "gateway", lives=False)
    await add_process(database, "gateway")
    await add_forwarder_session(database, "start", dead)
    await database.execute("UPDATE processes SET last_seen_at = $2 WHERE process_id = $1", dead, since)
    assert counts(await looked(ask, evaluation)) == ("act", 1, 0, 0, 0, 0)
    # Its only mat in use is closed, another one may be used yet.
    await close(ask, first)
    await database.execute("UPDATE troubles SET eased_at = eased_at - interval '1 hour'")
    await looked(ask, evaluation)
    await database.execute("UPDATE troubles SET eased_at = eased_at - interval '1 hour'")
    assert counts(await looked(ask, evaluation)) == ("watch", 0, 1, 0, 0, 0)
    await close(ask, second)
    assert counts(await looked(ask, evaluation)) == ("good", 0, 0, 0, 0, 1)


async def test_all_streams_of_a_forwarder_are_closed_and_opened_at_once(ask: Ask, database: Database) -> None:
    for n in range(3):
        await add_stream(database, reader_ip=f"10.0.0.{n}:10000")
    other = await add_stream(database, "finish")
    path = "/api/v1/forwarders/start/streams"
    assert await ask("PATCH", path, json={"closed": True}) == {"changed": 3}
    assert await ask("PATCH", path, json={"closed": True}) == {"changed": 0}
    streams = (await ask("GET", STREAMS))["streams"]
    assert {each["stream_id"]: each["closed"] for each in streams}[str(other)] is False
    assert sum(each["closed"] for each in streams) == 3
    assert await ask("PATCH", path, json={"closed": False}) == {"changed": 3}
    (entry,) = await entries(database, "streams_closed")
    assert (entry["forwarder_id"], entry["count"]) == ("start", 3)
    assert len(await entries(database, "streams_opened")) == 1


async def test_of_many_who_close_at_once_one_has_done_it(ask: Ask, database: Database) -> None:
    stream_id = await add_stream(database)
    answers = await asyncio.gather(*(close(ask, stream_id) for _ in range(8)))
    assert all(answer["closed"] for answer in answers)
    assert len(await entries(database, "stream_closed")) == 1


async def test_who_expects_it_otherwise_is_told(ask: Ask, database: Database) -> None:
    stream_id = await add_stream(database)
    path = f"{STREAMS}/{stream_id}"
    body = {"closed": True, "expected_closed": False}
    await ask("PATCH", path, json=body)
    error = await ask("PATCH", path, status=409, json=body)
    assert "closed already" in error["message"]
    assert error["details"] == {"closed": True}
    await ask("PATCH", path, json={"display_alias": "Finish", "expected_display_alias": None})
    error = await ask(
        "PATCH", path, status=409, json={"display_alias": "Start", "expected_display_alias": None}
    )
    assert "it is Finish by now" in error["message"]
    assert error["details"] == {"display_alias": "Finish"}
    # Whoever wanted the same has it.
    await ask("PATCH", path, json={"display_alias": "Finish", "expected_display_alias": None})
    assert len(await entries(database, "stream_renamed")) == 1


async def test_both_are_changed_or_neither(ask: Ask, database: Database) -> None:
    stream_id = await add_stream(database)
    path = f"{STREAMS}/{stream_id}"
    stream = await ask("PATCH", path, json={"display_alias": "Finish", "closed": True})
    assert (stream["display_alias"], stream["closed"]) == ("Finish", True)
    body = {"display_alias": "Start", "closed": True, "expected_closed": False}
    await ask("PATCH", path, status=409, json=body)
    (stream,) = (await ask("GET", STREAMS))["streams"]
    assert stream["display_alias"] == "Finish"
    await ask("PATCH", path, status=400, json={})
    # What is expected may be asked alone.
    await ask("PATCH", path, json={"expected_closed": True, "expected_display_alias": "Finish"})
    await ask("PATCH", path, status=409, json={"expected_closed": False})
    await ask("PATCH", path, status=409, json={"expected_display_alias": "Start"})


async def test_a_stream_that_is_gone_is_forgotten(
    ask: Ask, database: Database, evaluation: Evaluation
) -> None:
    stream_id = await add_stream(database)
    await close(ask, stream_id)
    await database.execute("DELETE FROM streams")
    await looked(ask, evaluation)
    assert await database.fetchval("SELECT count(*) FROM closed_streams") == 0
    await close(ask, stream_id, status=404)
