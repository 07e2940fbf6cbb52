"""What is asked often is answered along the primary key, at a cost that does not grow with what is stored."""

import json
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any, Literal
from uuid import UUID

import pytest

from api.alerts import findings, samples, stream_facts
from api.alerts.rules import RULES
from api.announcer.store import announcements, runs
from api.clocks.store import lines, looks
from api.events import filter as events_filter
from api.events import store as events
from api.events.filter import Key
from api.events.types import EventFilter
from api.exports import store as exports
from api.lags import store as lags
from api.live import store as overview
from api.logs import store as logs
from api.reconcile.store import STORED
from api.storage.plans import ALONG_THE_KEY
from api.streams import store as streams
from shared.db.connections import connect
from shared.runtime.process import Process
from tests.ages import Ways, complaints, grow, laborious, planned
from tests.api.looking import asked
from tests.api.seeds import (
    Database,
    add_cursor,
    add_metrics,
    add_process,
    add_receiver_session,
    add_stream,
)

EVENTS = 20_000
# What of streams the states are made of, for all rules together.
STREAMS = stream_facts.statement([rule.wanted for rule in RULES if rule.wanted is not None])


@pytest.fixture
async def stream_id(database: Database) -> UUID:
    """A stream among others, rows mixed, with statistics that invite to scan and sort."""
    ids = [await add_stream(database, f"f{n}", epoch=2) for n in range(3)]
    await database.execute(
        """
        INSERT INTO events (stream_id, stream_epoch, seq, position, received_at, raw_frame, reader_timestamp,
                            read_type, tag_id)
        SELECT id, 1 + n % 2, n, n, now(), 'x', '', 'raw', (n % 100)::text
        FROM generate_series(1, $2::integer) AS n, unnest($1::uuid[]) AS id
        """,
        ids,
        EVENTS // 3,
    )
    await database.execute("UPDATE streams SET last_position = $1", EVENTS // 3)
    for each in ids:
        for epoch in (1, 2):
            await add_metrics(database, each, epoch=epoch, dedup=EVENTS // 6)
    await database.execute("ANALYZE")
    return ids[1]


def nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a plan's nodes, each before those below it."""
    return [plan, *(node for below in plan.get("Plans", []) for node in nodes(below))]


async def plan_of(process: Process, statement: str, *arguments: object) -> list[dict[str, Any]]:
    """Run a statement, on a connection like those of production, and return the nodes of its plan."""
    async with process.pool.acquire() as connection, connection.transaction():
        # What a prepared statement gets once it has been used often: a plan for any arguments.
        await connection.execute("SET LOCAL plan_cache_mode = force_generic_plan")
        found = await connection.fetchval(
            f"EXPLAIN (ANALYZE, COSTS off, TIMING off, BUFFERS off, FORMAT json) {statement}", *arguments
        )
    return nodes(json.loads(found)[0]["Plan"])


def of_events(plan: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [node for node in plan if node.get("Relation Name") == "events"]


async def test_a_page_of_reads_touches_what_it_shows(process: Process, stream_id: UUID) -> None:
    orders: tuple[Literal["asc", "desc"], ...] = ("asc", "desc")
    for order, deep, epoch in product(orders, (False, True), (None, 2)):
        await check_page(process, stream_id, order, deep=deep, epoch=epoch)


async def check_page(
    process: Process, stream_id: UUID, order: Literal["asc", "desc"], *, deep: bool, epoch: int | None
) -> None:
    after = Key(2, EVENTS // 6) if deep else None
    arguments = events_filter.arguments(stream_id, EventFilter(epoch=epoch), order=order, after=after)
    plan = await plan_of(process, events.READS[order], *arguments, 99, events.PAGE_BYTES)
    (scan,) = of_events(plan)
    assert "Sort" not in {node["Node Type"] for node in plan}
    assert scan["Index Name"] == "events_pkey"
    assert scan["Scan Direction"] == {"asc": "Forward", "desc": "Backward"}[order]
    assert "ROW(stream_epoch, seq)" in scan["Index Cond"]
    assert (scan["Actual Rows"], scan.get("Rows Removed by Filter", 0)) == (100, 0)


async def test_an_export_starts_with_its_first_row_and_sorts_nothing(
    process: Process, stream_id: UUID
) -> None:
    # Those with people have looks of their own (test_race_plans.py), and so have corrected times, below.
    forms = [
        text for name, text in exports.COPIES.items() if "people" not in name and "corrected" not in name
    ]
    for form, wanted in product(forms, (EventFilter(), EventFilter(epoch=2), EventFilter(tag_id="7"))):
        arguments = events_filter.arguments(stream_id, wanted, order="asc", after=None)
        (scan,) = await plan_of(process, form, *arguments)
        assert (scan["Node Type"], scan["Index Name"]) == ("Index Scan", "events_pkey")


async def test_metrics_look_at_no_event(process: Process, stream_id: UUID) -> None:
    assert of_events(await plan_of(process, streams.SELECT_METRICS, [stream_id])) == []


async def test_the_epochs_of_a_stream_look_at_no_event(process: Process, stream_id: UUID) -> None:
    assert of_events(await plan_of(process, streams.SELECT_EPOCHS, stream_id, 3, 1000)) == []


async def test_conflicts_are_paged_along_their_key(process: Process) -> None:
    plan = await plan_of(process, events.CONFLICTS, None, 1000, 100, events.PAGE_BYTES)
    assert "Sort" not in {node["Node Type"] for node in plan}
    indexes = [node["Index Name"] for node in plan if "Index Name" in node]
    assert indexes == ["integrity_conflicts_pkey", "events_pkey"]


async def test_the_activity_log_is_read_along_its_key(process: Process) -> None:
    plan = await plan_of(process, logs.LATEST, 500)
    scans = [node for node in plan if "Scan" in node["Node Type"] and "Subquery" not in node["Node Type"]]
    assert [node.get("Index Name") for node in scans] == ["activity_own", "activity_of_devices"]


@pytest.fixture
async def followed(database: Database, stream_id: UUID) -> UUID:
    """The stream with a receiver that has acked half of it."""
    await add_receiver_session(database, "tent", await add_process(database, "fanout"), [stream_id])
    await add_cursor(database, "tent", stream_id, epoch=2, last_seq=EVENTS // 12)
    return stream_id


async def test_the_overview_looks_at_no_event_but_the_oldest_that_is_not_acked(
    process: Process, followed: UUID
) -> None:
    for statement, *arguments in (
        (overview.SELECT_CARDS, overview.CARDS, None),
        (overview.SELECT_PROCESSES,),
        (overview.SELECT_ALERTS, 50, 500),
        (overview.SELECT_RATES, [followed], 0),
    ):
        assert of_events(await plan_of(process, statement, *arguments)) == []
    (scan,) = of_events(await plan_of(process, overview.SELECT_FLOW, overview.FLOWS))
    assert scan["Index Name"] == "events_stream_id_position_key"
    assert scan["Actual Rows"] * scan["Actual Loops"] <= 1


async def test_the_states_look_at_no_event_but_the_newest_few_once_in_a_bin(
    process: Process, followed: UUID
) -> None:
    scans = []
    async with process.pool.acquire() as connection:
        statements = await asked(connection)
    for statement, *arguments in statements:
        scans += of_events(await plan_of(process, statement, *arguments))
    (oldest,) = scans
    assert oldest["Actual Rows"] * oldest["Actual Loops"] <= 1
    (newest,) = of_events(await plan_of(process, samples.SAMPLE))
    assert newest["Actual Rows"] + newest.get("Rows Removed by Filter", 0) == 48
    assert newest["Index Name"] == "events_stream_id_position_key"


async def test_a_bin_without_events_looks_at_none(process: Process, stream_id: UUID) -> None:
    # A stream's first bin has all that there is.
    for _ in range(2):
        await process.pool.execute(samples.SAMPLE)
        await process.pool.execute("UPDATE stream_samples SET bin = bin - 1")
    assert all(scan["Actual Loops"] == 0 for scan in of_events(await plan_of(process, samples.SAMPLE)))


async def test_a_look_at_clocks_looks_at_the_newest_hundred_of_what_moved_and_at_the_newest_mark(
    process: Process, stream_id: UUID
) -> None:
    plan = await plan_of(process, looks.DUE, None, looks.READS)
    (newest,) = of_events(plan)
    assert newest["Index Name"] == "events_stream_id_position_key"
    looked_at = newest["Actual Rows"] + newest.get("Rows Removed by Filter", 0)
    assert (looked_at, newest["Actual Loops"]) == (looks.READS, 3)
    assert of_marks(plan) == {"reader_clock_marks_pkey"}
    await process.pool.execute(
        "INSERT INTO reader_clocks (stream_id, position) SELECT stream_id, last_position FROM streams"
    )
    (newest,) = of_events(await plan_of(process, looks.DUE, None, looks.READS))
    assert newest["Actual Loops"] == 0


async def test_a_plot_of_clocks_looks_at_a_mark_for_each_bin(process: Process, stream_id: UUID) -> None:
    await process.pool.execute(
        "INSERT INTO reader_clocks (stream_id, position, ahead_ms, zone, zone_ms, told_at)"
        " SELECT stream_id, 1, 0, 'UTC', 0, now() FROM streams"
    )
    await process.pool.execute(
        "INSERT INTO reader_clock_marks SELECT stream_id, now() - n * interval '2 minutes', n, n % 50 = 0"
        " FROM streams, generate_series(1, 2000) AS n"
    )
    plan = await plan_of(process, lines.LINES, None, 600, 72, 24)
    assert of_marks(plan) == {"reader_clock_marks_pkey"}
    assert of_events(plan) == []
    seen = [node for node in plan if node.get("Relation Name") == "reader_clock_marks"]
    assert all(node["Actual Rows"] <= 1 for node in seen)
    steps = await plan_of(process, lines.STEPS, [stream_id], datetime.now(UTC) - timedelta(hours=12))
    assert of_marks(steps) == {"reader_clock_marks_pkey"}
    drawn = await plan_of(process, looks.POINTS, [stream_id], 6)
    assert of_marks(drawn) == {"reader_clock_marks_pkey"}
    tidied = await plan_of(process, looks.TIDY, 1_990)
    found = [
        node for node in tidied if node.get("Relation Name") == "reader_clock_marks" and "Index Name" in node
    ]
    # Where each of three ends, and what goes: ten of each.
    assert sorted((node["Actual Rows"], node["Actual Loops"]) for node in found) == [(10, 3), (1991, 3)]


def of_marks(plan: list[dict[str, Any]]) -> set[str | None]:
    """Return by which indexes marks of clocks are found; None: by none."""
    return {node.get("Index Name") for node in plan if node.get("Relation Name") == "reader_clock_marks"}


async def test_how_far_receivers_are_behind_looks_at_no_event_but_the_oldest_that_is_not_acked(
    process: Process, followed: UUID
) -> None:
    (oldest,) = of_events(await plan_of(process, lags.SAMPLE, None))
    assert oldest["Index Name"] == "events_stream_id_position_key"
    assert oldest["Actual Rows"] * oldest["Actual Loops"] <= 1


async def test_the_latest_reads_look_at_as_many_of_each_stream_as_they_may_show(
    process: Process, stream_id: UUID
) -> None:
    (scan,) = of_events(
        await plan_of(process, events.LATEST, None, None, 50, events.LATEST_LOOKED_AT, events.PAGE_BYTES, 0)
    )
    assert scan["Index Name"] == "events_stream_id_position_key"
    assert (scan["Actual Rows"], scan["Actual Loops"]) == (50, 3)
    (scan,) = of_events(
        await plan_of(process, events.LATEST, None, ["none"], 50, 3_000, events.PAGE_BYTES, 0)
    )
    assert scan["Rows Removed by Filter"] == 1_000


async def test_what_a_stream_has_grown_by_is_looked_at_no_further_back_than_is_shown(
    process: Process, stream_id: UUID
) -> None:
    grown = ([stream_id], [3], [EVENTS // 3])
    (scan,) = of_events(await plan_of(process, events.SINCE, *grown, 10, 4096))
    assert scan["Index Name"] == "events_stream_id_position_key"
    assert scan["Actual Rows"] == 10


async def test_open_conflicts_are_found_by_their_index(process: Process) -> None:
    for statement, *arguments in (
        (overview.SELECT_CARDS, overview.CARDS, None),
        (STREAMS,),
    ):
        (scan,) = [
            node
            for node in await plan_of(process, statement, *arguments)
            if node.get("Relation Name") == "integrity_conflicts"
        ]
        assert scan["Index Name"] == "integrity_conflicts_open"


# At every age of a race, on a connection that has been there since the tables were empty.
PLACE = "events_stream_id_position_key: stream_id position"
STREAMS_THERE = 5_000
AGELESS: Ways = {
    "WITH connected AS": {"events": {PLACE}},
    "SELECT flow.receiver_id": {"events": {PLACE}},
    "WITH due AS": {"events": {PLACE}},
    "SELECT * FROM (": {"events": {PLACE, "events_pkey: stream_id stream_epoch seq"}},
}


async def test_what_is_asked_often_keeps_its_plans_at_every_age(
    database: Database, database_url: str
) -> None:
    connection: Any = await connect(database_url, name="plans", **ALONG_THE_KEY)
    wrong: list[str] = []
    await add_stream(database, "f1")
    # What is gone through once for each stream shows with any number of them; only the waiting grows with more.
    async for age in grow(database, streams=STREAMS_THERE):
        stream_id = await database.fetchval(
            "SELECT stream_id FROM streams ORDER BY last_position DESC LIMIT 1"
        )
        async with planned(connection, nested=False) as plans:
            await connection.fetch(overview.SELECT_FLOW, 100)
            await findings.gather(connection)
            await connection.execute(samples.SAMPLE)
            await connection.fetch(events.LATEST, [stream_id], None, 10, 100, events.PAGE_BYTES, 0)
            wanted = events_filter.arguments(stream_id, EventFilter(epoch=1), order="asc", after=None)
            await connection.fetch(events.READS["asc"], *wanted, 10, events.PAGE_BYTES)
            for shown, only in ((overview.CARDS, None), (1, stream_id)):
                await connection.fetch(overview.SELECT_CARDS, shown, only)
        # A look at a stream's newest reads passes over those without a time, of a hundred.
        wrong += [f"{age}: {each}" for each in complaints(plans, AGELESS, in_vain=100)]
        # One giant stream has 2,000 receivers more; a look may have each of them in its hands a few times.
        wrong += [f"{age}: {each}" for each in laborious(plans, rows=5 * STREAMS_THERE)]
    await connection.close()
    assert not wrong, "\n".join(wrong)


async def test_the_announcer_looks_at_what_is_new_of_its_streams_and_no_more(
    process: Process, database: Database, stream_id: UUID
) -> None:
    behind = EVENTS // 3 - 10
    await database.execute("INSERT INTO announcer_streams VALUES ($1, 1, 2, $2)", stream_id, behind)
    (scan,) = of_events(await plan_of(process, announcements.READS, announcements.PAGE))
    assert (scan["Node Type"], scan["Index Name"]) == ("Index Scan", "events_stream_id_position_key")
    assert (scan["Actual Rows"] * scan["Actual Loops"], scan.get("Rows Removed by Filter", 0)) == (10, 0)
    assert of_events(await plan_of(process, runs.DUE)) == []
    # A run that begins: the first read of each new epoch, and of other streams the first that was received with it.
    await database.execute("UPDATE announcer_streams SET stream_epoch = 1")
    for scan in of_events(await plan_of(process, runs.BEGIN_AT_EPOCHS)):
        assert scan["Index Name"] == "events_stream_id_position_key"
        assert scan["Actual Rows"] + scan.get("Rows Removed by Filter", 0) <= 10


async def test_announcing_looks_up_each_by_keys_however_many_were_announced(
    process: Process, database: Database, stream_id: UUID
) -> None:
    await database.execute(
        """
        INSERT INTO announcements
        SELECT run, n, 'chip:' || n, $1, 1, n, n::text, NULL, now()
        FROM generate_series(1, 20000) AS n, generate_series(1, 2) AS run
        """,
        stream_id,
    )
    await database.execute("ANALYZE")
    new = (["chip:x"], [None], [None], [stream_id], [1], [1], ["x"], [""], [datetime(2026, 5, 3, tzinfo=UTC)])
    for statement, arguments in (
        (announcements.INSERT, (2, *new)),
        (announcements.ROWS, (2, 0, 25)),
    ):
        plan = await plan_of(process, statement, *arguments)
        scans = [
            node
            for node in plan
            if node.get("Relation Name") == "announcements" and "Scan" in node["Node Type"]
        ]
        assert scans
        assert {node["Node Type"] for node in scans} <= {"Index Scan", "Index Only Scan"}
        assert all(node["Actual Rows"] * node["Actual Loops"] <= 25 for node in scans)


async def test_what_a_memory_is_compared_with_is_read_by_position(process: Process, stream_id: UUID) -> None:
    plan = await plan_of(process, STORED, stream_id, 1_000, 1_500, *[datetime(2026, 5, 3)] * 2)  # noqa: DTZ001
    (node,) = of_events(plan)
    assert node["Index Name"] == "events_stream_id_position_key"
    assert node["Actual Rows"] + node.get("Rows Removed by Filter", 0) == 500
