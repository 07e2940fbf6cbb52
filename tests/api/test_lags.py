"""How far behind receivers were over time: the worst of every two minutes, of each receiver."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from api.lags.sampling import Sampling
from shared.runtime.process import Process
from tests.api.conftest import Ask
from tests.api.looking import ago
from tests.api.seeds import (
    Database,
    add_cursor,
    add_events,
    add_metrics,
    add_process,
    add_receiver_session,
    add_stream,
)

LAGS = "/api/v1/receiver-lags"


@pytest.fixture
async def stream_id(database: Database) -> UUID:
    """A stream with ten reads, which a receiver follows."""
    stream_id = await add_stream(database)
    received_at = await ago(database, 40)
    await add_events(database, stream_id, ["x"] * 10, received_at=received_at, step=timedelta())
    await add_metrics(database, stream_id, dedup=10)
    await add_receiver_session(database, "tent", await add_process(database, "fanout"), [stream_id])
    return stream_id


async def sampled(process: Process, ask: Ask) -> dict[str, Any]:
    assert await Sampling(process).sample(turn_s=0)
    return {each["receiver_id"]: each for each in (await ask("GET", LAGS))["receivers"]}


async def test_the_worst_of_every_two_minutes_is_kept(
    process: Process, ask: Ask, database: Database, stream_id: UUID
) -> None:
    await add_cursor(database, "tent", stream_id, last_seq=10)
    assert (await sampled(process, ask))["tent"]["seconds"][-1] == 0
    await database.execute("UPDATE receiver_cursors SET last_seq = 9")
    tent = (await sampled(process, ask))["tent"]
    assert (len(tent["seconds"]), tent["connected"]) == (360, True)
    assert tent["seconds"][:-1] == [None] * 359
    assert 40 <= tent["worst_seconds"] == tent["seconds"][-1] < 60
    # It has everything, but was behind in this bin.
    await database.execute("UPDATE receiver_cursors SET last_seq = 10")
    assert (await sampled(process, ask))["tent"]["seconds"][-1] >= tent["worst_seconds"]
    # Two bins later, of which nobody looked in the first.
    await database.execute("UPDATE receiver_lags SET bin = bin - 2")
    tent = (await sampled(process, ask))["tent"]
    assert tent["seconds"][-3] >= 40
    assert tent["seconds"][-2:] == [None, 0]


async def test_who_never_acked_and_is_gone_is_behind_by_all_that_came(
    process: Process, ask: Ask, database: Database, stream_id: UUID
) -> None:
    await database.execute("INSERT INTO subscriptions VALUES ('barn', $1, now())", stream_id)
    found = await sampled(process, ask)
    assert found["barn"]["connected"] is False
    assert found["barn"]["worst_seconds"] >= 40


async def test_what_is_older_than_is_kept_goes_and_what_is_not_sampled_any_more_ages(
    process: Process, ask: Ask, database: Database, stream_id: UUID
) -> None:
    await add_cursor(database, "tent", stream_id, last_seq=9)
    await sampled(process, ask)
    await database.execute("DELETE FROM receiver_sessions")
    await database.execute("DELETE FROM receiver_cursors")
    await database.execute("UPDATE receiver_lags SET bin = bin - 10")
    tent = (await sampled(process, ask))["tent"]
    assert tent["seconds"][-11] >= 40
    assert tent["seconds"][-10:] == [None] * 10
    await database.execute("UPDATE receiver_lags SET bin = bin - 400")
    assert await sampled(process, ask) == {}


async def test_one_process_samples_at_a_time(process: Process, ask: Ask) -> None:
    await sampled(process, ask)
    assert not await Sampling(process).sample()


async def test_fewer_hours_are_the_newest_bins(
    process: Process, ask: Ask, database: Database, stream_id: UUID
) -> None:
    await sampled(process, ask)
    found = await ask("GET", f"{LAGS}?hours=1")
    assert (found["bin_s"], len(found["receivers"][0]["seconds"])) == (120, 30)
    assert found["receivers"][0]["seconds"][-1] >= 40
