"""What became of the numbers of an epoch, in bins: without a look at events."""

from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import pytest

from api.streams import store
from shared.runtime.process import Process
from tests.api.conftest import Ask
from tests.api.seeds import START, Database, add_metrics, add_stream
from tests.api.test_plans import plan_of

_ASIDE = """
INSERT INTO integrity_conflicts (stream_id, stream_epoch, seq, kept_frame, rejected_frame, reader_timestamp, read_type,
                                 received_at, session_id)
SELECT $1, $2, seq, 'a', convert_to(n::text, 'UTF8'), '', 'raw', $4, $1
FROM unnest($3::bigint[]) WITH ORDINALITY AS given(seq, n)
"""


async def put_aside(
    database: Database, stream: UUID, *seqs: int, epoch: int = 1, at: datetime = START
) -> None:
    """Put lines aside under numbers of an epoch."""
    await database.execute(_ASIDE, stream, epoch, list(seqs), at)


def filled(counts: list[int]) -> dict[int, int]:
    return {n: count for n, count in enumerate(counts) if count}


async def mapped(ask: Ask, stream: UUID, **query: Any) -> Any:
    return await ask("GET", f"/api/v1/streams/{stream}/sequence", params=query)


async def test_a_small_epoch_has_a_bin_for_each_number(ask: Ask, database: Database) -> None:
    stream = await add_stream(database)
    empty = await mapped(ask, stream)
    assert (empty["last"], empty["missing"], empty["conflicts"], empty["known_to"]) == (0, [], [], 0)
    await add_metrics(
        database, stream, dedup=7, retransmit=5, conflict=3, last_seq=10, missing=[(2, 3), (6, 6)]
    )
    await put_aside(database, stream, 5, 5, 10)
    await put_aside(database, stream, 1, epoch=2)
    found = await mapped(ask, stream)
    assert (found["epoch"], found["last"], found["known_to"], found["bin"]) == (1, 10, 10, 1)
    assert filled(found["missing"]) == {1: 1, 2: 1, 5: 1}
    assert filled(found["conflicts"]) == {4: 1, 9: 1}
    assert (found["missing_count"], found["conflict_count"], found["retransmit_count"]) == (3, 3, 5)
    other = await mapped(ask, stream, epoch=2)
    assert (other["epoch"], other["last"]) == (2, 0)
    await ask("GET", f"/api/v1/streams/{uuid4()}/sequence", status=404)


async def test_a_large_epoch_has_two_hundred_bins_and_a_gap_lies_in_all_that_it_goes_through(
    ask: Ask, database: Database
) -> None:
    stream = await add_stream(database)
    await add_metrics(database, stream, dedup=1_000_000, last_seq=1_001_500, missing=[(5_000, 6_499)])
    found = await mapped(ask, stream)
    assert (found["bin"], len(found["missing"])) == (5_008, 200)
    assert filled(found["missing"]) == {0: 9, 1: 1_491}


async def test_gaps_that_are_not_listed_are_not_taken_for_there(ask: Ask, database: Database) -> None:
    stream = await add_stream(database)
    await add_metrics(database, stream, dedup=90, last_seq=100, missing=[(10, 12)])
    found = await mapped(ask, stream)
    assert (found["missing_count"], sum(found["missing"]), found["known_to"]) == (10, 3, 12)


@pytest.mark.parametrize("epoch", [None, 1])
async def test_no_event_is_read(process: Process, database: Database, epoch: int | None) -> None:
    stream = await add_stream(database)
    await add_metrics(database, stream, dedup=90, last_seq=100, missing=[(10, 12)])
    await put_aside(database, stream, *range(1, 50))
    await database.execute("ANALYZE")
    plan = await plan_of(process, store.SEQUENCE, stream, epoch, store.SEQUENCE_BINS, 10)
    scans = {node["Relation Name"]: node for node in plan if "Relation Name" in node}
    assert scans.keys() == {"streams", "stream_metrics", "integrity_conflicts"}
    assert scans["integrity_conflicts"]["Index Name"] == "integrity_conflicts_line"
    assert scans["integrity_conflicts"]["Actual Rows"] == 10
