"""The first page of very many streams: what matters is shown, all is counted, and it costs no more."""

from uuid import UUID

import pytest

from api.alerts.evaluator import Evaluation
from tests.api.conftest import Ask, Client
from tests.api.looking import OVERVIEW, looked
from tests.api.overviews import add_conflict
from tests.api.seeds import (
    Database,
    add_forwarder_session,
    add_metrics,
    add_process,
    add_receiver_session,
    add_stream,
)


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
