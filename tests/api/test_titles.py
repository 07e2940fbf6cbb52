"""What the server calls a stream or a forwarder is what people know it by, and never two things at once."""

from datetime import timedelta
from uuid import UUID

import orjson

from api.alerts.evaluator import Evaluation
from api.alerts.rules import forwarder_fault, forwarder_gone, receiver_behind
from api.alerts.stream_facts import statement
from shared.runtime.process import Process
from tests.api.answering import entries, opened, silent
from tests.api.conftest import Ask
from tests.api.looking import ago, looked
from tests.api.seeds import (
    SECOND,
    Database,
    add_events,
    add_forwarder_session,
    add_metrics,
    add_process,
    add_receiver_session,
    add_stream,
)

READER = "10.0.0.1:10000"


async def call(database: Database, forwarder_id: str, name: str | None) -> None:
    """Let a forwarder call itself so."""
    await database.execute("SELECT rename_forwarder($1, $2)", forwarder_id, name)
    await database.execute(
        "UPDATE forwarder_sessions SET display_name = $2 WHERE forwarder_id = $1", forwarder_id, name
    )


async def titles(ask: Ask, evaluation: Evaluation) -> set[str]:
    """Return what the open alerts are of."""
    return {each["title"] for each in opened(await looked(ask, evaluation))}


async def test_streams_of_two_forwarders_of_one_name_are_told_apart(
    ask: Ask, database: Database, evaluation: Evaluation
) -> None:
    for forwarder_id in ("mat-1", "mat-2", "mat-3"):
        await silent(database, forwarder_id)
    await call(database, "mat-1", "Box")
    await call(database, "mat-3", "")
    assert await titles(ask, evaluation) == {f"Box · {READER}", f"mat-2 · {READER}", f"mat-3 · {READER}"}
    await call(database, "mat-2", "Box")
    told = {f"Box (mat-1) · {READER}", f"Box (mat-2) · {READER}", f"mat-3 · {READER}"}
    assert await titles(ask, evaluation) == told
    overview = await ask("GET", "/api/v1/overview")
    assert any(each in overview["verdict"]["headline"] for each in told)
    # Whose name is its id needs no other, and an alias is the operator's own.
    await call(database, "mat-1", "mat-1")
    await database.execute("UPDATE streams SET display_alias = 'Finish' WHERE forwarder_id = 'mat-3'")
    assert await titles(ask, evaluation) == {f"mat-1 · {READER}", f"Box · {READER}", "Finish"}


async def test_a_forwarder_s_second_stream_is_no_second_forwarder(
    ask: Ask, database: Database, evaluation: Evaluation
) -> None:
    await silent(database, "mat-1")
    await add_stream(database, "mat-1", "10.0.0.2:10000")
    await call(database, "mat-1", "Box")
    assert await titles(ask, evaluation) == {f"Box · {READER}"}


async def gone(database: Database, forwarder_id: str) -> UUID:
    """Add a forwarder that has gone, with a stream of ten reads and something wrong with what it sent."""
    stream_id = await add_stream(database, forwarder_id)
    await add_events(database, stream_id, ["x"] * 10, received_at=await ago(database, 600), step=0 * SECOND)
    await add_metrics(database, stream_id, dedup=10, received_at=await ago(database, 600))
    await add_forwarder_session(database, forwarder_id, await add_process(database, "gateway", lives=False))
    await database.execute(
        "UPDATE forwarder_sessions SET ended_at = now() - $2::interval WHERE forwarder_id = $1",
        forwarder_id,
        timedelta(minutes=10),
    )
    await database.execute(
        "INSERT INTO forwarder_faults (forwarder_id, fault, complaint) VALUES ($1, 'malformed', 'it is no JSON')",
        forwarder_id,
    )
    return stream_id


async def test_forwarders_of_one_name_and_who_waits_for_their_reads_are_told_apart(
    ask: Ask, database: Database, evaluation: Evaluation
) -> None:
    streams = [await gone(database, forwarder_id) for forwarder_id in ("mat-1", "mat-2")]
    await add_receiver_session(database, "tent", await add_process(database, "fanout"), streams)
    for forwarder_id in ("mat-1", "mat-2"):
        await call(database, forwarder_id, "Box")
    known = await evaluated(database)
    assert known["forwarders"] == known["faults"] == {"Box (mat-1)", "Box (mat-2)"}
    assert known["flows"] == {f"receiver tent ← Box (mat-{n}) · {READER}" for n in (1, 2)}
    assert {"Box (mat-1)", "Box (mat-2)"} <= await titles(ask, evaluation)


async def evaluated(database: Database) -> dict[str, set[str]]:
    """Return the titles in what the states are made of."""
    return {
        "forwarders": {each.title for each in await forwarder_gone.forwarders(database, ())},
        "flows": {each.title for each in await receiver_behind.flows(database, ())},
        "faults": {each.title for each in await forwarder_fault.faults(database, ())},
    }


async def test_the_log_calls_a_stream_as_the_page_does(ask: Ask, database: Database) -> None:
    stream_id = await add_stream(database, "mat-1")
    await add_stream(database, "mat-2")
    for forwarder_id in ("mat-1", "mat-2"):
        await call(database, forwarder_id, "Box")
    path = f"/api/v1/streams/{stream_id}"
    await ask("PATCH", path, json={"closed": True})
    await ask("PATCH", path, json={"display_alias": "Finish"})
    await ask("PATCH", path, json={"display_alias": None})
    await ask("DELETE", path, status=204)
    (closed,) = await entries(database, "stream_closed")
    renamed = await entries(database, "stream_renamed", count=2)
    (deleted,) = await entries(database, "stream_deleted")
    assert closed["stream"] == deleted["stream"] == f"Box (mat-1) · {READER}"
    assert {each["stream"] for each in renamed} == {f"Box (mat-1) · {READER}", "Finish"}


async def test_the_names_are_looked_at_once_however_many_streams_are_called(
    process: Process, database: Database
) -> None:
    for number in range(5):
        await gone(database, f"mat-{number}")
        await call(database, f"mat-{number}", "Box")
    await database.execute("UPDATE stream_metrics SET last_seq = 20")
    for asked in (forwarder_gone.FORWARDERS, statement(["true"])):
        assert len(await database.fetch(asked)) == 5
        plan = await database.fetchval(f"EXPLAIN (ANALYZE, COSTS off, FORMAT json) {asked}")
        looks = [node for node in nodes(orjson.loads(plan)[0]["Plan"]) if named(node)]
        assert looks, plan
        assert [node["Actual Loops"] for node in looks] == [1] * len(looks)


def nodes(plan: dict[str, object]) -> list[dict[str, object]]:
    """Return the nodes of a plan."""
    below = plan.get("Plans", [])
    assert isinstance(below, list)
    return [plan, *(node for each in below for node in nodes(each))]


def named(node: dict[str, object]) -> bool:
    """Whether a node gathers the names that several have."""
    return "min(" in str(node.get("Filter", ""))
