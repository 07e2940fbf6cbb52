"""Crossings of a race at its largest: 50,000 people at five points, the last of two mats. Over HTTP, against an api
process of its own.
"""

import time
from functools import partial
from typing import Any
from uuid import UUID

import aiohttp

from tests.bench.ground import Ground, Site, running
from tests.bench.races import asked, timed
from tests.bench.report import Row, Target, resident_bytes, row, say
from tests.delivery.stored import make_stream

__all__ = ["measure"]

PEOPLE, POINTS, READS = 50_000, 5, 3
MIB = 2**20

_RACE = "INSERT INTO races (name) VALUES ('largest') RETURNING race_id"
_PEOPLE = """
INSERT INTO participants SELECT $1, n, 'First ' || n, 'Last ' || n, NULL, 'F' FROM generate_series(1, $2::integer) AS n
"""
_CHIPS = """
INSERT INTO chips SELECT $1, '0580' || lpad(to_hex(n), 8, '0'), n, n, true FROM generate_series(1, $2::integer) AS n
"""
# Everybody comes by within an hour, with READS reads a tenth of a second apart, between those of others.
_READS = """
WITH reads AS (
    SELECT row_number() OVER (ORDER BY at, n) AS seq, n, at
    FROM generate_series(1, $2::integer) AS n, generate_series(0, $4::integer - 1) AS of
    CROSS JOIN LATERAL (SELECT timestamp '2026-05-03 10:00' + $3::integer * interval '30 min'
                               + n * interval '72 ms' + of * interval '100 ms' AS at) AS time
)
INSERT INTO events (stream_id, stream_epoch, seq, position, received_at, read_at, raw_frame, reader_timestamp,
                    read_type, tag_id)
SELECT $1, 1, seq, seq, at AT TIME ZONE 'UTC', at, 'x', at::text, 'raw', '0580' || lpad(to_hex(n), 8, '0') FROM reads
"""
_STORED = "UPDATE streams SET last_position = (SELECT count(*) FROM events WHERE events.stream_id = streams.stream_id)"
_FILLED = "INSERT INTO passings_progress SELECT stream_id, last_position FROM streams"
_PASSINGS = """
INSERT INTO passings
SELECT stream_id, stream_epoch, tag_id, min(read_at), min(seq), max(read_at), max(seq), min(seq), max(seq), count(*),
       max(position)
FROM events GROUP BY stream_id, stream_epoch, tag_id
"""


_PAGES = (
    ("first page, 50,000 people at 5 points", "", 50),
    ("first page of the point with two mats", "?point=5", 50),
    ("all of one person", "?bib=25000", POINTS),
)


async def measure(ground: Ground, rounds: int) -> list[Row]:
    """Ask for pages and for the file, round after round."""
    async with ground.site() as site:
        race = await store(site)
        async with (
            running("api", site) as api,
            aiohttp.ClientSession(api.url, timeout=aiohttp.ClientTimeout(120)) as http,
        ):
            crossings = f"/api/v1/races/{race}/crossings"
            rows = []
            for name, query, least in _PAGES:
                ask = partial(page, http, crossings + query, least)
                rows.append(row(f"crossings: {name}", await timed(rounds, ask), "ms"))
            before = resident_bytes(api.pid)
            seconds = [await whole(http, f"{crossings}.csv") for _ in range(rounds)]
            grown = (resident_bytes(api.pid) - before) / MIB
            say(f"crossings: the file in {seconds[-1]:.1f} s")
            return [
                *rows,
                row("crossings: the whole file of 250,000", seconds, "s"),
                row(
                    "crossings: memory of the api grew by",
                    [max(grown, 0)],
                    "MiB",
                    target=Target("at most", 50),
                ),
            ]


async def store(site: Site) -> UUID:
    """Store a race in which everybody came by everywhere."""
    database = site.database
    race: UUID = await database.fetchval(_RACE)
    for statement in (_PEOPLE, _CHIPS):
        await database.execute(statement, race, PEOPLE)
    for point in range(1, POINTS + 1):
        await database.execute("INSERT INTO race_points VALUES ($1, $2, $3)", race, point, f"{point}")
        for mat in range(2 if point == POINTS else 1):
            stream = await make_stream(database, f"point {point}", f"10.0.0.{mat + 1}:10000")
            await database.execute(_READS, stream, PEOPLE, point, READS)
            await database.execute("INSERT INTO point_streams VALUES ($1, $2, $3)", race, stream, point)
            await database.execute("INSERT INTO epoch_races VALUES ($1, 1, $2)", stream, race)
    for statement in (_STORED, _FILLED, _PASSINGS, "VACUUM ANALYZE"):
        await database.execute(statement)
    return race


async def page(http: aiohttp.ClientSession, path: str, least: int) -> None:
    found: list[dict[str, Any]] = (await asked(http, "GET", path))["crossings"]
    if len(found) < least or not all(each["runner_up"] for each in found):
        raise AssertionError("crossings without what explains them")


async def whole(http: aiohttp.ClientSession, path: str) -> float:
    began, lines = time.perf_counter(), 0
    async with http.get(path) as answer:
        async for chunk in answer.content.iter_any():
            lines += chunk.count(b"\n")
    if lines != PEOPLE * POINTS + 1:
        raise AssertionError(f"{lines} lines")
    return time.perf_counter() - began
