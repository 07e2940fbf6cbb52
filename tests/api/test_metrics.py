"""The numbers of a stream: sums of what the writer counted, and what receivers have yet to ack."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from tests.api.conftest import Ask
from tests.api.seeds import (
    START,
    Database,
    add_cursor,
    add_metrics,
    add_process,
    add_receiver_session,
    add_stream,
)


async def metrics(ask: Ask, stream_id: UUID) -> Any:
    return await ask("GET", f"/api/v1/streams/{stream_id}/metrics")


async def subscribed(database: Database, *streams: UUID, receiver: str = "tent") -> None:
    await add_receiver_session(database, receiver, await add_process(database, "fanout"), streams)


async def test_a_stream_without_events_has_zeros_and_nulls(ask: Ask, database: Database) -> None:
    assert await metrics(ask, await add_stream(database)) == {
        "raw_count": 0,
        "dedup_count": 0,
        "retransmit_count": 0,
        "conflict_count": 0,
        "unparsed_count": 0,
        "lag_ms": None,
        "backlog": 0,
        "epoch_raw_count": 0,
        "epoch_dedup_count": 0,
        "epoch_retransmit_count": 0,
        "epoch_lag_ms": None,
        "epoch_last_received_at": None,
        "unique_chips": 0,
        "missing_count": 0,
        "missing_ranges": [],
        "last_tag_id": None,
        "last_reader_timestamp": None,
        "clock_offset_ms": None,
        "zone_unknown": False,
    }


async def test_lifetime_numbers_are_sums_and_epoch_numbers_are_of_the_current_epoch(
    ask: Ask, database: Database
) -> None:
    stream_id = await add_stream(database, epoch=2)
    await add_metrics(
        database,
        stream_id,
        epoch=1,
        dedup=100,
        retransmit=20,
        conflict=3,
        unparsed=4,
        chips=50,
        last_tag_id="old",
    )
    await add_metrics(
        database,
        stream_id,
        epoch=2,
        dedup=10,
        retransmit=5,
        conflict=1,
        unparsed=2,
        chips=7,
        last_seq=15,
        missing=[(3, 3), (6, 9)],
        received_at=START + timedelta(minutes=1),
        last_tag_id="new",
    )
    found = await metrics(ask, stream_id)
    lags = found.pop("lag_ms"), found.pop("epoch_lag_ms")
    age_ms = await database.fetchval(
        "SELECT (extract(epoch FROM now() - $1::timestamptz) * 1000)::bigint", START + timedelta(minutes=1)
    )
    assert lags == (pytest.approx(age_ms, abs=5_000), pytest.approx(age_ms, abs=5_000))
    assert found == {
        "raw_count": 139,
        "dedup_count": 110,
        "retransmit_count": 25,
        "conflict_count": 4,
        "unparsed_count": 6,
        "backlog": 0,
        "epoch_raw_count": 16,
        "epoch_dedup_count": 10,
        "epoch_retransmit_count": 5,
        "epoch_last_received_at": "2026-05-03T08:01:00+00:00",
        "unique_chips": 7,
        "missing_count": 5,
        "missing_ranges": [{"first": 3, "last": 3}, {"first": 6, "last": 9}],
        "last_tag_id": "new",
        "last_reader_timestamp": "2026-05-03T10:00:00.000",
        "clock_offset_ms": None,
        "zone_unknown": False,
    }


async def test_a_commanded_epoch_has_no_numbers_yet(ask: Ask, database: Database) -> None:
    stream_id = await add_stream(database, epoch=2)
    await add_metrics(database, stream_id, epoch=1, dedup=100, last_seq=101, missing=[(7, 7)])
    found = await metrics(ask, stream_id)
    assert found["dedup_count"] == 100
    assert found["lag_ms"] is not None
    assert (found["epoch_dedup_count"], found["epoch_lag_ms"], found["epoch_last_received_at"]) == (
        0,
        None,
        None,
    )
    assert (found["missing_count"], found["missing_ranges"]) == (0, [])


async def test_a_hundred_missing_ranges_are_shown_at_the_most(ask: Ask, database: Database) -> None:
    stream_id = await add_stream(database)
    gaps = [(n, n) for n in range(2, 600, 2)]
    await add_metrics(database, stream_id, dedup=300, last_seq=599, missing=gaps)
    found = await metrics(ask, stream_id)
    assert found["missing_count"] == 299
    assert [(each["first"], each["last"]) for each in found["missing_ranges"]] == gaps[:100]


async def test_backlog_is_that_of_the_slowest_connected_subscriber(ask: Ask, database: Database) -> None:
    stream_id = await add_stream(database)
    await add_metrics(database, stream_id, dedup=100)
    await add_cursor(database, "fast", stream_id, last_seq=90)
    await add_cursor(database, "slow", stream_id, last_seq=30)
    await add_cursor(database, "away", stream_id, last_seq=1)
    assert (await metrics(ask, stream_id))["backlog"] == 0
    await subscribed(database, stream_id, receiver="fast")
    assert (await metrics(ask, stream_id))["backlog"] == 10
    await subscribed(database, stream_id, receiver="slow")
    assert (await metrics(ask, stream_id))["backlog"] == 70
    gone = await add_process(database, "fanout", lives=False)
    await add_receiver_session(database, "away", gone, [stream_id])
    assert (await metrics(ask, stream_id))["backlog"] == 70


async def test_backlog_counts_only_subscriptions_to_this_stream(ask: Ask, database: Database) -> None:
    stream_id, other = await add_stream(database, "a"), await add_stream(database, "b")
    await add_metrics(database, stream_id, dedup=100)
    await subscribed(database, other)
    await add_cursor(database, "tent", stream_id, last_seq=1)
    assert (await metrics(ask, stream_id))["backlog"] == 0


async def test_an_epoch_without_a_cursor_is_wholly_behind(ask: Ask, database: Database) -> None:
    stream_id = await add_stream(database, epoch=3)
    for epoch, dedup in ((1, 100), (2, 20), (3, 5)):
        await add_metrics(database, stream_id, epoch=epoch, dedup=dedup)
    await subscribed(database, stream_id)
    assert (await metrics(ask, stream_id))["backlog"] == 125
    await add_cursor(database, "tent", stream_id, epoch=1, last_seq=100)
    await add_cursor(database, "tent", stream_id, epoch=3, last_seq=1)
    assert (await metrics(ask, stream_id))["backlog"] == 24


async def test_missing_numbers_above_the_cursor_are_not_behind(ask: Ask, database: Database) -> None:
    stream_id = await add_stream(database)
    # 1, 3, 4, 11 to 19 are there
    await add_metrics(database, stream_id, dedup=12, last_seq=19, missing=[(2, 2), (5, 10)])
    await subscribed(database, stream_id)
    await add_cursor(database, "tent", stream_id, last_seq=0)
    behind = {}
    for acked in (0, 1, 3, 4, 5, 8, 10, 11, 19, 20):
        await database.execute("UPDATE receiver_cursors SET last_seq = $1", acked)
        behind[acked] = (await metrics(ask, stream_id))["backlog"]
    assert behind == {0: 12, 1: 11, 3: 10, 4: 9, 5: 9, 8: 9, 10: 9, 11: 8, 19: 0, 20: 0}


async def test_the_largest_numbers_do_not_overflow(ask: Ask, database: Database) -> None:
    stream_id, largest = await add_stream(database, epoch=2**63 - 1), 2**63 - 1
    await add_metrics(
        database, stream_id, epoch=largest, dedup=2, last_seq=largest, missing=[(2, largest - 1)]
    )
    await subscribed(database, stream_id)
    for acked, behind in ((1, 1), (largest - 1, 1), (largest, 0)):
        await database.execute("DELETE FROM receiver_cursors")
        await add_cursor(database, "tent", stream_id, epoch=largest, last_seq=acked)
        found = await metrics(ask, stream_id)
        assert (found["backlog"], found["missing_count"]) == (behind, largest - 2)
