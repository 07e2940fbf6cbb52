"""Finding anybody where 10 million events are stored: by bib, chip and name, and what was read of one person.

The races are of the field's size: 5,000 people, points of one mat, ten reads of each at each; and there are as many
as make the events. Over HTTP, against an api process of its own; passings are made by the very routine that makes them.
"""

import time
from typing import Any

import aiohttp

from tests.bench.ground import Ground, Site, running
from tests.bench.races import asked, timed
from tests.bench.report import Row, Target, row, say

__all__ = ["measure"]

RACES, POINTS, PEOPLE, READS = 40, 5, 5_000, 10
EVENTS = RACES * POINTS * PEOPLE * READS

_RACES = """
WITH made AS (
    INSERT INTO races (name) SELECT 'Race ' || n FROM generate_series(1, $1::integer) AS n RETURNING race_id
),
ran AS (
    INSERT INTO participants (race_id, bib, last_name, first_name, gender)
    SELECT race_id, n, 'Last ' || n, 'First ' || n, 'F' FROM made, generate_series(1, $3::integer) AS n
),
wore AS (
    INSERT INTO chips (race_id, chip_id, bib, line, is_owner)
    SELECT race_id, '0580' || lpad(to_hex(n), 8, '0'), n, n, true FROM made, generate_series(1, $3::integer) AS n
)
INSERT INTO race_points (race_id, place, name)
SELECT race_id, place, 'Point ' || place FROM made, generate_series(1, $2::integer) AS place
"""
# Everybody comes by a point within 25 minutes, an hour behind the one before, and not all at once.
_STREAMS = """
WITH made AS (
    INSERT INTO streams (forwarder_id, reader_ip, last_position)
    SELECT race_id || ' ' || place, 'mat', $1::integer FROM race_points RETURNING stream_id, forwarder_id
),
placed AS (
    INSERT INTO point_streams (race_id, stream_id, place)
    SELECT split_part(forwarder_id, ' ', 1)::uuid, stream_id, split_part(forwarder_id, ' ', 2)::integer FROM made
)
INSERT INTO epoch_races (stream_id, stream_epoch, race_id)
SELECT stream_id, 1, split_part(forwarder_id, ' ', 1)::uuid FROM made
"""
_EVENTS = """
INSERT INTO events (stream_id, stream_epoch, seq, position, received_at, read_at, raw_frame, reader_timestamp,
                    read_type, tag_id)
SELECT stream_id, 1, n, n, at AT TIME ZONE 'UTC', at, convert_to(lpad(n::text, 36, 'a'), 'UTF8'), '', 'raw', tag
FROM point_streams
CROSS JOIN LATERAL (
    SELECT n, '0580' || lpad(to_hex(1 + n / 100 * 10 % $2::integer + n % 10), 8, '0') AS tag,
           timestamp '2026-05-03 09:00' + place * interval '1 hour' + n * interval '30 ms' AS at
    FROM generate_series(1, $1::integer) AS n
) AS read
WHERE race_id = $3
"""


async def measure(ground: Ground, rounds: int) -> list[Row]:
    """Store, have all of it become passings, and ask."""
    async with ground.site() as site:
        await site.database.execute(_RACES, RACES, POINTS, PEOPLE)
        await site.database.execute(_STREAMS, PEOPLE * READS)
        for (race_id,) in await site.database.fetch("SELECT race_id FROM races"):
            await site.database.execute(_EVENTS, PEOPLE * READS, PEOPLE, race_id)
        filled = await fill(site)
        await site.database.execute("VACUUM ANALYZE")
        async with running("api", site) as api, aiohttp.ClientSession(api.url) as http:
            return [filled, *await of_people(http, site, rounds)]


async def fill(site: Site) -> Row:
    """Have all of it become passings, without a pause."""
    began = time.perf_counter()
    while await site.database.fetchval("SELECT waiting FROM fill_passings(20000)"):
        pass
    per_second = EVENTS / (time.perf_counter() - began)
    passings = await site.database.fetchval("SELECT count(*) FROM passings")
    say(f"search: {EVENTS:,} events became {passings:,} passings, {per_second:,.0f} events/s")
    return row("search: events that become passings, without a pause", [per_second], "events/s")


async def of_people(http: aiohttp.ClientSession, site: Site, rounds: int) -> list[Row]:
    race_id = await site.database.fetchval("SELECT race_id FROM races ORDER BY name LIMIT 1")
    asks: dict[str, tuple[str, str, dict[str, Any]]] = {
        "a bib": ("POST", "/api/v1/search", {"json": {"q": "4711"}}),
        "a chip": ("POST", "/api/v1/search", {"json": {"q": "058000001267"}}),
        "a part of a name": ("POST", "/api/v1/search", {"json": {"q": "last 471"}}),
        "a person's timeline": ("GET", f"/api/v1/races/{race_id}/bibs/4711/timeline", {}),
        "a chip's timeline": ("GET", "/api/v1/chips/058000001267/timeline", {}),
    }
    return [
        row(
            f"search: {what}, {EVENTS // 10**6} million events",
            await timed(rounds, lambda: asked(http, method, path, **more)),  # noqa: B023
            "ms",
            target=Target("at most", 100),
        )
        for what, (method, path, more) in asks.items()
    ]
