"""How far behind receivers were over time: the worst of every two minutes, of each receiver."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from api.lags import store
from api.lags.sampling import Sampling
from api.lags.store import BINS, Lag
from shared.runtime.process import Process
from tests.api.conftest import Ask
from tests.api.seeds import (
    Database,
    add_cursor,
    add_events,
    add_metrics,
    add_process,
    add_receiver_session,
    add_stream,
)
from tests.waiting import wait_until

LAGS = "/api/v1/receiver-lags"
# A moment of the tests' own: bins that end while one is under way are what it says.
NOON = datetime(2026, 5, 3, 12, 1, tzinfo=UTC)


@pytest.fixture
async def stream_id(database: Database) -> UUID:
    """A stream with ten reads, which a receiver follows."""
    stream_id = await add_stream(database)
    received_at = NOON - timedelta(seconds=40)
    await add_events(database, stream_id, ["x"] * 10, received_at=received_at, step=timedelta())
    await add_metrics(database, stream_id, dedup=10)
    await add_receiver_session(database, "tent", await add_process(database, "fanout"), [stream_id])
    return stream_id


async def sampled(process: Process, at: datetime = NOON) -> dict[str, Lag]:
    assert await Sampling(process).sample(turn_s=0, at=at)
    _, _, found = await store.lags(process.pool, bins=BINS, at_most=24, at=at)
    return {each.receiver_id: each for each in found}


async def test_the_worst_of_every_two_minutes_is_kept(
    process: Process, database: Database, stream_id: UUID
) -> None:
    await add_cursor(database, "tent", stream_id, last_seq=10)
    assert (await sampled(process))["tent"].seconds[-1] == 0
    await database.execute("UPDATE receiver_cursors SET last_seq = 9")
    tent = (await sampled(process))["tent"]
    assert (tent.seconds, tent.connected, tent.worst_seconds) == ([None] * 359 + [40], True, 40)
    assert (await sampled(process, NOON + timedelta(seconds=30)))["tent"].seconds[-1] == 70
    # It has everything, but was behind in this bin.
    await database.execute("UPDATE receiver_cursors SET last_seq = 10")
    assert (await sampled(process, NOON + timedelta(seconds=40)))["tent"].seconds == [None] * 359 + [70]
    # Two bins later, of which nobody looked in the first.
    tent = (await sampled(process, NOON + timedelta(seconds=240)))["tent"]
    assert (tent.seconds, tent.worst_seconds) == ([None] * 357 + [70, None, 0], 70)


async def test_who_never_acked_and_is_gone_is_behind_by_all_that_came(
    process: Process, database: Database, stream_id: UUID
) -> None:
    await database.execute("INSERT INTO subscriptions VALUES ('barn', $1, now())", stream_id)
    barn = (await sampled(process))["barn"]
    assert (barn.connected, barn.worst_seconds) == (False, 40)


async def test_what_is_older_than_is_kept_goes_and_what_is_not_sampled_any_more_ages(
    process: Process, database: Database, stream_id: UUID
) -> None:
    await add_cursor(database, "tent", stream_id, last_seq=9)
    await sampled(process)
    await database.execute("DELETE FROM receiver_sessions")
    await database.execute("DELETE FROM receiver_cursors")
    tent = (await sampled(process, NOON + timedelta(minutes=20)))["tent"]
    assert tent.seconds[-11:] == [40] + [None] * 10
    assert (await sampled(process, NOON + timedelta(hours=11, minutes=58)))["tent"].seconds[0] == 40
    assert await sampled(process, NOON + timedelta(hours=12, minutes=2)) == {}


async def test_one_process_samples_at_a_time(process: Process, database: Database) -> None:
    await database.execute("UPDATE lags_turn SET looked_at = now() + interval '1 hour'")
    assert not await Sampling(process).sample()


async def test_over_http_fewer_hours_are_the_newest_bins_up_to_now(
    process: Process, ask: Ask, database: Database, stream_id: UUID
) -> None:
    assert await Sampling(process).sample(turn_s=0)
    (line,) = (await ask("GET", LAGS))["receivers"]
    assert (line["receiver_id"], line["connected"], len(line["seconds"])) == ("tent", True, 360)
    found = await ask("GET", f"{LAGS}?hours=1")
    assert (found["bin_s"], len(found["receivers"][0]["seconds"])) == (120, 30)
    assert found["receivers"][0]["worst_seconds"] > 0


async def test_a_database_that_refuses_ends_no_process_and_is_said(
    process: Process, database: Database, stream_id: UUID
) -> None:
    sampling = Sampling(process)
    await database.execute("ALTER TABLE receiver_lags ADD CONSTRAINT none CHECK (false)")
    running = asyncio.create_task(sampling.run())
    try:
        await wait_until(lambda: process.concerns["lags"]() is not None or running.done())
        assert not running.done()
        assert "cannot be sampled" in str(process.concerns["lags"]())
    finally:
        await database.execute("ALTER TABLE receiver_lags DROP CONSTRAINT none")
        running.cancel()
