"""What an api process costs that nobody looks at, while races run: 200 streams, 500 reads a second, all sentinels on.

Ten races of ten points, each of two mats, in which people come by in a stream: what looks at alerts, clocks, mats and
whatever else watches has all of its work. Reads are stored as a writer stores them, by statements of our own, so that
the figure is the api's alone: its own share of a core, and that of its backends in Postgres, passings included.
"""

import asyncio
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import groupby
from random import Random
from typing import NamedTuple
from uuid import UUID

import asyncpg

from shared.db.channels import POSITIONS
from shared.db.connections import Connection
from shared.protocol.ipico import compose
from tests.bench.ground import Ground, Site, running
from tests.bench.report import Row, Target, cpu_seconds, row, say

__all__ = ["measure"]

RACES, POINTS, MATS = 10, 10, 2
READS = 4  # of a chip at a mat
PER_SECOND = 500
LEG_S = 120.0
HISTORY_S = 1_500
SETTLE_S, SECONDS = 60.0, 30.0

_STREAMS = """
WITH races AS (
    INSERT INTO races (name) SELECT 'Race ' || n FROM generate_series(1, $1) AS n RETURNING race_id, name
),
points AS (
    INSERT INTO race_points (race_id, place, name)
    SELECT race_id, place, 'Point ' || place FROM races, generate_series(1, $2) AS place RETURNING race_id, place
),
boxes AS (
    INSERT INTO forwarder_races (forwarder_id, race_id)
    SELECT concat_ws('-', 'box', name, place), race_id FROM points JOIN races USING (race_id)
    RETURNING forwarder_id, race_id
),
mats AS (
    INSERT INTO streams (forwarder_id, reader_ip)
    SELECT forwarder_id, format('10.0.0.%s:10000', mat) FROM boxes, generate_series(1, $3) AS mat
    RETURNING stream_id, forwarder_id
)
INSERT INTO point_streams (race_id, place, stream_id)
SELECT race_id, place, stream_id
FROM points JOIN races USING (race_id) JOIN mats ON forwarder_id = concat_ws('-', 'box', name, place)
RETURNING race_id, place, stream_id
"""
_SESSIONS = """
WITH gateway AS (SELECT process_id FROM processes WHERE role = 'api' LIMIT 1)
INSERT INTO forwarder_sessions (forwarder_id, session_id, fence, gateway_id, token_id)
SELECT forwarder_id, gen_random_uuid(), nextval('session_fence'), process_id, gen_random_uuid()
FROM forwarder_races, gateway
"""
_STORE = """
WITH read AS (
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::timestamptz[], $4::timestamp[], $5::text[])
        WITH ORDINALITY AS given(stream_id, tag_id, received_at, read_at, line, n)
),
numbered AS (
    SELECT read.*, last_position + row_number() OVER (PARTITION BY stream_id ORDER BY n) AS number
    FROM read JOIN streams USING (stream_id)
),
stored AS (
    INSERT INTO events (stream_id, stream_epoch, seq, position, received_at, read_at, raw_frame, reader_timestamp,
                        read_type, tag_id)
    SELECT stream_id, 1, number, number, received_at, read_at, convert_to(line, 'UTF8'), '', 'raw', tag_id FROM numbered
),
newest AS (
    SELECT stream_id, max(number) AS number, max(received_at) AS at FROM numbered GROUP BY stream_id
),
moved AS (
    UPDATE streams SET last_position = number, stream_epoch = 1 FROM newest WHERE newest.stream_id = streams.stream_id
)
INSERT INTO stream_metrics AS known (stream_id, stream_epoch, raw_count, dedup_count, retransmit_count, conflict_count,
                                     unparsed_count, chip_count, first_seq, last_seq, first_received_at,
                                     last_received_at, last_reader_timestamp)
SELECT stream_id, 1, number, number, 0, 0, 0, 0, 1, number, at, at, '' FROM newest
ON CONFLICT (stream_id, stream_epoch) DO UPDATE
SET raw_count = excluded.raw_count, dedup_count = excluded.dedup_count, last_seq = excluded.last_seq,
    last_received_at = excluded.last_received_at
"""


class Read(NamedTuple):
    """A read of a chip, so many seconds since the first."""

    at: float
    stream_id: UUID
    tag_id: str


def reads(mats: dict[tuple[UUID, int], list[UUID]], seconds: float) -> list[Read]:
    """Return all reads of the races, in order: in each somebody leaves all the time, and takes her time."""
    random = Random(7)
    pause = RACES * POINTS * MATS * READS / PER_SECOND
    races = list(dict.fromkeys(race_id for race_id, _ in mats))

    def made() -> Iterator[Read]:
        for number, race_id in enumerate(races):
            for chip in range(int(seconds / pause)):
                tag, pace, at = f"0580{number:02x}{chip:06x}", random.gauss(1, 0.15), chip * pause
                for place in range(1, POINTS + 1):
                    for mat in mats[race_id, place]:
                        yield from (Read(at + 0.1 * each, mat, tag) for each in range(READS))
                    at += LEG_S * max(0.3, pace * random.gauss(1, 0.05))

    return sorted(each for each in made() if each.at < seconds)


async def measure(ground: Ground, rounds: int) -> list[Row]:
    """Store what has been, then go on second by second, and look at the processor's clock."""
    async with ground.site() as site, running("api", site) as api:
        rows = await site.database.fetch(_STREAMS, RACES, POINTS, MATS)
        await site.database.execute(_SESSIONS)
        mats: dict[tuple[UUID, int], list[UUID]] = {}
        for each in rows:
            mats.setdefault((each["race_id"], each["place"]), []).append(each["stream_id"])
        all_reads = reads(mats, HISTORY_S + SETTLE_S + rounds * SECONDS + 5)
        began = datetime.now(UTC) - timedelta(seconds=HISTORY_S)
        past = [each for each in all_reads if each.at < HISTORY_S]
        for begins in range(0, len(past), 20_000):
            await store(site.database, began, past[begins : begins + 20_000])
        while await site.database.fetchval("SELECT waiting FROM fill_passings(20000)"):
            pass
        # From here on it is as late as it is: loading took its time.
        began = datetime.now(UTC) - timedelta(seconds=HISTORY_S)
        live = asyncio.create_task(go_on(site, began, all_reads[len(past) :]))
        own, theirs = await look(site, api.pid, rounds)
        watched = await site.database.fetchval("SELECT count(*) FROM point_watches WHERE due IS NOT NULL")
        red = await site.database.fetch("SELECT signal, title, reason FROM troubles WHERE level = 'act'")
        live.cancel()
        say(f"sentinels: {watched} points with a forecast, red: {[dict(each) for each in red[:3]]}")
    figure = f"{RACES * POINTS * MATS} streams, {PER_SECOND} reads/s, nobody looks"
    return [
        row(f"api, {figure}: processor", own, "% of a core", target=Target("at most", 5)),
        row(f"its backends, passings included, {figure}: processor", theirs, "% of a core"),
    ]


async def store(database: Connection, began: datetime, some: list[Read]) -> None:
    """Store reads, each received when it was read."""
    at = [began + timedelta(seconds=each.at) for each in some]
    wall = [each.replace(tzinfo=None) for each in at]
    await database.execute(
        _STORE,
        [each.stream_id for each in some],
        [each.tag_id for each in some],
        at,
        wall,
        [
            compose(reader_id="01", tag_id=each.tag_id, read_at=when)
            for each, when in zip(some, wall, strict=True)
        ],
    )


async def go_on(site: Site, began: datetime, rest: list[Read]) -> None:
    """Store what is read in each second when it is over."""
    database = await asyncpg.connect(site.url)
    for second, some in groupby(rest, key=lambda each: int(each.at)):
        due = began + timedelta(seconds=second + 1)
        await asyncio.sleep(max(0.0, (due - datetime.now(UTC)).total_seconds()))
        await store(database, began, list(some))
        await database.execute("SELECT pg_notify($1, '')", POSITIONS)


async def look(site: Site, pid: int, rounds: int) -> tuple[list[float], list[float]]:
    """Return the shares of a core that the process and its backends used, in percent, round after round."""
    await asyncio.sleep(SETTLE_S)
    own: list[float] = []
    theirs: list[float] = []
    for number in range(rounds):
        began, used = time.perf_counter(), (cpu_seconds(pid), await backends(site))
        await asyncio.sleep(SECONDS)
        passed = time.perf_counter() - began
        own.append(100 * (cpu_seconds(pid) - used[0]) / passed)
        theirs.append(100 * (await backends(site) - used[1]) / passed)
        say(f"sentinels, round {number + 1}: api {own[-1]:.1f} %, its backends {theirs[-1]:.1f} %")
    return own, theirs


async def backends(site: Site) -> float:
    """Return the processor time of the backends of the api process, in seconds."""
    async with asyncio.timeout(10):
        pids = await site.database.fetch(
            "SELECT pid FROM pg_stat_activity "
            "WHERE datname = current_database() AND application_name LIKE 'rt-server api%'"
        )
    return sum(cpu_seconds(each["pid"]) for each in pids)
