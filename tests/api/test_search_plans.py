"""Of all that is stored only that is looked at which is of the person, however much there is of others."""

from typing import Any

import pytest

from api.search import store
from shared.runtime.process import Process
from tests.api.seeds import Database, add_stream
from tests.api.test_plans import of_events, plan_of


@pytest.fixture
async def passed(process: Process, database: Database) -> Any:
    """A stream among others where 500 chips came by, ten reads each, twenty chips at a time."""
    streams = [await add_stream(database, f"f{n}") for n in range(3)]
    await database.execute(
        """
        INSERT INTO events (stream_id, stream_epoch, seq, position, received_at, read_at, raw_frame, reader_timestamp,
                            read_type, tag_id)
        SELECT id, 1, n, n, now(), timestamp '2026-05-03' + n * interval '20 ms', 'x', '', 'raw',
               lpad((n / 200 * 20 + n % 20)::text, 12, '0')
        FROM generate_series(1, 5000) AS n, unnest($1::uuid[]) AS id
        """,
        streams,
    )
    await database.execute("UPDATE streams SET last_position = 5000")
    while await database.fetchval("SELECT waiting FROM fill_passings(20000)"):
        pass
    await database.execute("ANALYZE")
    return streams[1]


async def test_reads_of_a_person_are_those_between_the_numbers_of_her_passings(
    process: Process, passed: Any
) -> None:
    (passing,) = await process.pool.fetch(
        "SELECT * FROM passings WHERE stream_id = $1 AND tag_id = '000000000107'", passed
    )
    given = [[passing[each]] for each in ("stream_id", "stream_epoch", "tag_id", "low_seq", "high_seq")]
    (scan,) = of_events(await plan_of(process, store.READS, *given))
    assert scan["Index Name"] == "events_pkey"
    assert scan["Actual Rows"] == passing["high_seq"] - passing["low_seq"] + 1
    assert scan.get("Rows Removed by Filter", 0) == 0


async def test_a_chip_is_found_by_its_index_and_no_event_is_looked_at_that_is_in_passings(
    process: Process, passed: Any
) -> None:
    plan = await plan_of(process, store.OF_CHIP, ["000000000107"], store.MOST_WAITING, 100)
    assert all(each["Actual Loops"] == 0 for each in of_events(plan))
    (scan,) = [each for each in plan if each.get("Relation Name") == "passings"]
    assert (scan["Index Name"], scan["Actual Rows"]) == ("passings_chip", 3)
