"""What is filled looks at what is new and at what it touches, whatever the tables were when they were last analyzed."""

from typing import Any
from uuid import UUID

from api.passings.store import FILL, WITHOUT_A_PAUSE
from api.storage.plans import ALONG_THE_KEY
from shared.db.connections import connect
from tests.ages import Ways, complaints, grow, laborious, planned
from tests.api.seeds import Database, add_stream

STREAMS_THERE = 5_000
# Of each stream that reads come in from: 20 chips, each ten times, a second and more apart.
_READ = """
WITH moved AS (
    UPDATE streams SET last_position = last_position + 200 WHERE stream_id = ANY($1::uuid[]) RETURNING *
)
INSERT INTO events (stream_id, stream_epoch, seq, position, received_at, read_at, raw_frame, reader_timestamp,
                    read_type, tag_id)
SELECT stream_id, 1, 100000 * $2::bigint + n, last_position - 200 + n, now(),
       '2026-05-03 10:00'::timestamp + n * interval '0.1 s' + $2 * interval '5 s', 'x', '', 'raw', 'chip ' || n % 20
FROM moved, generate_series(1, 200) AS n
"""
KEY = "passings_pkey: stream_id stream_epoch"
AGELESS: Ways = {
    "WITH page AS": {
        "events": {"events_stream_id_position_key: stream_id position"},
        "passings": {KEY, "Tid Scan"},
        "passings_progress": {"passings_progress_pkey: stream_id", "Tid Scan"},
        "streams": {"streams_pkey: stream_id"},
    }
}


async def test_filling_keeps_its_plans_at_every_age(database: Database, database_url: str) -> None:
    connection: Any = await connect(database_url, name="passings", **ALONG_THE_KEY)
    wrong: list[str] = []
    own = [await add_stream(database, f"own{n}") for n in range(3)]
    aged = 0
    async for age in grow(database, streams=STREAMS_THERE):
        # Reads beside those of before, which they join, and beside passings of many other streams.
        await keep_streams(database, own)
        while (await connection.fetchrow(FILL, 5_000, *WITHOUT_A_PAUSE))["waiting"]:
            pass
        await database.execute(_READ, own, aged)
        async with planned(connection) as plans:
            assert await connection.fetchval(FILL, 2_000, *WITHOUT_A_PAUSE) == 600
        wrong += [f"{age}: {each}" for each in complaints(plans, AGELESS)]
        # All streams are gone through for those that have something new; what is new is in several hands.
        wrong += [f"{age}: {each}" for each in laborious(plans, rows=2 * STREAMS_THERE)]
        aged += 1
    await connection.close()
    assert not wrong, "\n".join(wrong)


async def keep_streams(database: Database, own: list[UUID]) -> None:
    """Have streams that an age has taken away, with passings and events that nobody has deleted."""
    await database.execute(
        "INSERT INTO streams (stream_id, forwarder_id, reader_ip, last_position)"
        " SELECT given, 'own ' || n, 'r', coalesce((SELECT max(position) FROM events WHERE stream_id = given), 0)"
        " FROM unnest($1::uuid[]) WITH ORDINALITY AS given(given, n) ON CONFLICT DO NOTHING",
        own,
    )
