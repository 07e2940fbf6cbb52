"""Whose a read is, is looked up by keys: at the same cost for a page, whatever is stored of races and reads."""

from datetime import timedelta
from typing import Literal
from uuid import UUID

import pytest

from api.events import filter as events_filter
from api.events import store, views
from api.events.types import EventFilter
from api.exports import store as exports
from api.live import races as live
from api.races import names
from shared.runtime.process import Process
from tests.api.seeds import Database
from tests.api.test_plans import EVENTS, of_events, plan_of, stream_id

__all__ = ["stream_id"]  # a fixture


@pytest.fixture
async def race_id(database: Database, stream_id: UUID) -> UUID:
    """A race that the stream's forwarder is in, with a hundred chips of its own among many others."""
    ids = [
        await database.fetchval("INSERT INTO races (name) VALUES ($1) RETURNING race_id", f"race {n}")
        for n in range(3)
    ]
    await database.execute(
        """
        INSERT INTO participants
        SELECT id, n, 'first', 'last', NULL, 'X' FROM generate_series(0, 1999) AS n, unnest($1::uuid[]) AS id
        """,
        ids,
    )
    await database.execute(
        """
        INSERT INTO chips SELECT id, n::text, n, n, true FROM generate_series(0, 1999) AS n, unnest($1::uuid[]) AS id
        """,
        ids,
    )
    await database.execute("INSERT INTO forwarder_races VALUES ('f1', $1)", ids[1])
    await database.execute("ANALYZE")
    race: UUID = ids[1]
    return race


async def test_whose_reads_are_is_looked_up_by_keys(process: Process, stream_id: UUID, race_id: UUID) -> None:
    sightings = [names.Sighting(stream_id, 2, n, str(n)) for n in range(100)]
    columns = [[each[at] for each in sightings] for at in range(4)]
    plan = await plan_of(process, names.WHOSE, *columns)
    for table in ("chips", "participants", "race_segments", "epoch_races", "forwarder_races", "streams"):
        scans = [node for node in plan if node.get("Relation Name") == table]
        assert scans, table
        for scan in scans:
            assert "Index" in scan["Node Type"], (table, scan)
            assert scan["Actual Rows"] <= 1, str(scan)


async def test_a_page_by_keys_reads_what_it_shows(process: Process, stream_id: UUID) -> None:
    keys = [[stream_id] * 50, [1] * 50, list(range(2, 102, 2))]
    (scan,) = of_events(await plan_of(process, store.BY_KEY, *keys, store.PAGE_BYTES))
    assert (scan["Index Name"], scan["Actual Rows"], scan["Actual Loops"]) == ("events_pkey", 1, 50)


async def test_the_newest_of_current_epochs_are_found_from_the_end(process: Process, stream_id: UUID) -> None:
    (scan,) = of_events(await plan_of(process, views.NEWEST, [stream_id], [2], 20, 100))
    assert (scan["Index Name"], scan["Actual Rows"]) == ("events_stream_id_position_key", 120)
    assert scan["Rows Removed by Filter"] <= 121


@pytest.mark.parametrize("dedup", ["none", "first", "last"])
async def test_a_view_reads_its_epoch_once(process: Process, stream_id: UUID, dedup: str) -> None:
    arguments = [stream_id], [2], None, None, None, timedelta(seconds=5), 0, 100
    (scan,) = of_events(await plan_of(process, views.VIEWS[dedup, "desc"], *arguments))
    assert scan["Index Name"] == "events_pkey"
    assert (scan["Actual Rows"], scan["Actual Loops"]) == (EVENTS // 6, 1)


@pytest.mark.parametrize("order", ["asc", "desc"])
async def test_all_reads_of_an_epoch_are_passed_by_once_and_only_those_of_the_page_are_kept(
    process: Process, stream_id: UUID, order: Literal["asc", "desc"]
) -> None:
    plan = await plan_of(process, views.PASSED[order], [stream_id], [2], 20, 100)
    (scan,) = of_events(plan)
    assert (scan["Index Name"], scan["Actual Loops"]) == ("events_pkey", 1)
    (sort,) = (node for node in plan if node["Node Type"] == "Sort")
    assert sort["Sort Method"] == "top-N heapsort"
    assert not {node["Node Type"] for node in plan} & {"CTE Scan", "Aggregate", "Materialize"}


async def test_an_export_with_people_gathers_and_sorts_nothing(
    process: Process, stream_id: UUID, race_id: UUID
) -> None:
    for form in ("csv with people", "epoch csv with people"):
        arguments = events_filter.arguments(stream_id, EventFilter(epoch=2), order="asc", after=None)
        plan = await plan_of(process, exports.COPIES[form], *arguments)
        kinds = {node["Node Type"] for node in plan}
        assert not kinds & {"Sort", "Incremental Sort", "Hash", "Materialize", "Seq Scan"}, kinds
        (scan,) = of_events(plan)
        assert scan["Index Name"] == "events_pkey"


async def test_what_is_looked_at_for_followers_is_no_event(process: Process, stream_id: UUID) -> None:
    assert of_events(await plan_of(process, live.MARKS)) == []
