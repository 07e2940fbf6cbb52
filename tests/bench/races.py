"""Races at their largest: files that are imported, whose reads are on a page, and what a chip says within a window.

Over HTTP, against an api process of its own. How usable the page is meanwhile is how long the verdict takes at most.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from io import BytesIO
from itertools import count
from typing import Any
from uuid import UUID

import aiohttp

from tests.bench.ground import Ground, Site, running
from tests.bench.report import Row, Target, resident_bytes, row, say
from tests.delivery.stored import make_stream, store_many
from tests.services import Process

__all__ = ["measure"]

PEOPLE, CHIPS, POINTS = 50_000, 100_000, 5
EVENTS, EPOCH = 10_000_000, 200_000
# Of the newest ones of a large stream: who looks, looks at those.
NAMED = 1_000
MIB = 2**20

_PEOPLE = "".join(f"{n},Last {n},First {n},Club,,F\n" for n in range(PEOPLE)).encode()
_CHIPS = "".join(f"{n % PEOPLE},0580{n:08x}\n" for n in range(CHIPS)).encode()
# Runners of a mat: each is read some ten times within three seconds, and comes again after a lap.
_STORE_EPOCH = """
WITH reads AS (
    SELECT n, '0580' || lpad(to_hex(n / 10 % 5000), 8, '0') AS tag,
           timestamp '2026-05-03 10:00' + n / 50000 * interval '20 min' + n % 50000 * interval '20 ms' AS at
    FROM generate_series(1, $2::integer) AS n
),
stored AS (
    INSERT INTO events (stream_id, stream_epoch, seq, position, received_at, read_at, raw_frame, reader_timestamp,
                        read_type, tag_id)
    SELECT $1, 1, n, n, at AT TIME ZONE 'UTC', at, convert_to(lpad(n::text, 36, 'a'), 'UTF8'), at::text, 'raw', tag
    FROM reads
)
UPDATE streams SET last_position = $2 WHERE stream_id = $1
"""

_PROGRESS = "INSERT INTO passings_progress VALUES ($1, 0) ON CONFLICT DO NOTHING"
# $2: which point, half an hour from the one before. Passings are written as they stand, and made of no event.
_PASS = """
INSERT INTO passings
SELECT $1, 1, '0580' || lpad(to_hex(n - 1), 8, '0'), at, n, at, n, n, n, 1, n
FROM generate_series(1, $3::integer) AS n,
     LATERAL (SELECT timestamp '2026-05-03 10:00' + ($2::integer * 1800 + n % 3600) * interval '1 s' AS at) AS came
"""


async def measure(ground: Ground, rounds: int) -> list[Row]:
    """Import, look at reads and at views, round after round."""
    async with ground.site() as site, running("api", site) as api:
        large = await make_stream(site.database, "large", "10.0.0.1:10000")
        await store_many(site.database, large, EVENTS)
        epoch = await make_stream(site.database, "mat", "10.0.0.1:10000")
        await site.database.execute(_STORE_EPOCH, epoch, EPOCH)
        await site.database.execute("VACUUM ANALYZE events")
        async with aiohttp.ClientSession(api.url, timeout=aiohttp.ClientTimeout(60)) as http:
            race = (await asked(http, "POST", "/api/v1/races", json={"name": "largest"}))["race_id"]
            for forwarder in ("large", "mat"):
                await asked(http, "PUT", f"/api/v1/forwarders/{forwarder}/race", json={"race_id": race})
            imports = await of_imports(http, race, rounds)
            await wear(site, large)
            reads = await of_reads(http, api, large, epoch, rounds)
            return [*imports, *reads, *await of_flow(http, site, race, rounds)]


async def wear(site: Site, stream_id: UUID) -> None:
    """Give the newest events of a stream chips of the race."""
    await site.database.execute(
        """
        UPDATE events SET tag_id = '0580' || lpad(to_hex(seq % $3), 8, '0')
        WHERE stream_id = $1 AND position > $2
        """,
        stream_id,
        EVENTS - NAMED,
        PEOPLE,
    )


async def of_imports(http: aiohttp.ClientSession, race: str, rounds: int) -> list[Row]:
    seconds, verdicts = [], []
    roster = f"/api/v1/races/{race}/participants"
    for number in range(rounds):
        watching = asyncio.create_task(slowest_verdict(http))
        began = time.perf_counter()
        for kind, content in (("participants", _PEOPLE), ("chips", _CHIPS)):
            form = aiohttp.FormData()
            form.add_field("file", BytesIO(content), filename="x")
            path = f"/api/v1/races/{race}/{kind}/upload"
            await asked(http, "POST", path, data=form)
        seconds.append(time.perf_counter() - began)
        watching.cancel()
        verdicts.append(await watching)
        say(f"races, round {number + 1}: import {seconds[-1]:.2f} s, verdict {verdicts[-1]:.0f} ms")
    return [
        row("race: import of 50,000 people and 100,000 chips", seconds, "s", target=Target("at most", 5)),
        row("race: slowest verdict meanwhile", verdicts, "ms"),
        row("race: its roster as an answer", await timed(rounds, lambda: asked(http, "GET", roster)), "ms"),
    ]


async def slowest_verdict(http: aiohttp.ClientSession) -> float:
    """Ask again and again until cancelled, and return how long the slowest answer took, in ms."""
    slowest = 0.0
    try:
        while True:
            began = time.perf_counter()
            await asked(http, "GET", "/api/v1/verdict")
            slowest = max(slowest, 1000 * (time.perf_counter() - began))
            await asyncio.sleep(0.02)
    except asyncio.CancelledError:
        return slowest


async def of_reads(
    http: aiohttp.ClientSession, api: Process, large: UUID, epoch: UUID, rounds: int
) -> list[Row]:
    page = f"/api/v1/streams/{large}/reads?limit=100"
    rows = [
        row(
            "race: page of reads with names, 10 million events",
            await timed(rounds, lambda: named(http, page)),
            "ms",
            target=Target("at most", 100),
        ),
        row(
            "race: the same by offset",
            await timed(rounds, lambda: named(http, page + "&dedup=none&offset=100")),
            "ms",
            target=Target("at most", 100),
        ),
    ]
    before = resident_bytes(api.pid)
    oldest = f"/api/v1/streams/{epoch}/reads?dedup=none&limit=100&offset=0&order=asc"
    found = await timed(rounds, lambda: asked(http, "GET", oldest))
    rows.append(row("race: the oldest of 200,000 reads", found, "ms", target=Target("at most", 1000)))
    for dedup in ("first", "last"):
        view = f"/api/v1/streams/{epoch}/reads?dedup={dedup}&window_secs=5&limit=100&offset=0&order=desc"
        found = await timed(rounds, lambda: asked(http, "GET", view))  # noqa: B023
        rows.append(row(f"race: `{dedup}` of 200,000 reads", found, "ms", target=Target("at most", 1000)))
    grown = (resident_bytes(api.pid) - before) / MIB
    rows.append(
        row("race: memory of the api grew by", [max(grown, 0.0)], "MiB", target=Target("at most", 20))
    )
    return rows


async def of_flow(http: aiohttp.ClientSession, site: Site, race: str, rounds: int) -> list[Row]:
    """Have everybody pass five points, each with a wait of its own, and ask who came by when."""
    streams = [await make_stream(site.database, f"point-{n}", "10.0.0.1:10000") for n in range(POINTS)]
    for n, stream_id in enumerate(streams):
        await site.database.execute(_PROGRESS, stream_id)
        await site.database.execute(_PASS, stream_id, n, PEOPLE)
        await asked(http, "PUT", f"/api/v1/forwarders/point-{n}/race", json={"race_id": race})
    await site.database.execute("VACUUM ANALYZE passings")
    path, numbers = f"/api/v1/races/{race}/flow", count()

    counted = []
    for _ in range(rounds):
        # A point that is called otherwise is counted at once.
        points = [{"name": f"{next(numbers)}", "stream_ids": [str(each)]} for each in streams]
        await asked(http, "PUT", f"/api/v1/races/{race}/course", json={"points": points})
        began = time.perf_counter()
        flow = await asked(http, "GET", path)
        counted.append(1000 * (time.perf_counter() - began))
        crossed = [each["crossed"] for each in flow["points"][:POINTS]]
        assert crossed == [PEOPLE] * POINTS, crossed
    kept = await timed(rounds, lambda: asked(http, "GET", path))
    what = f"race: who came by when, {PEOPLE:,} people at {POINTS} points"
    return [row(f"{what}, counted anew", counted, "ms"), row(f"{what}, asked again", kept, "ms")]


async def named(http: aiohttp.ClientSession, path: str) -> None:
    page = await asked(http, "GET", path)
    if not all(each["last_name"] for each in page["reads"]) or len(page["reads"]) != 100:
        raise AssertionError("reads without names")


async def timed(rounds: int, act: Callable[[], Awaitable[Any]]) -> Sequence[float]:
    """Return how long it took each time, in ms; the first is not counted."""
    await act()
    found = []
    for _ in range(rounds):
        began = time.perf_counter()
        await act()
        found.append(1000 * (time.perf_counter() - began))
    return found


async def asked(http: aiohttp.ClientSession, method: str, path: str, **more: Any) -> Any:
    async with http.request(method, path, **more) as answer:
        if answer.status >= 300:
            raise AssertionError(await answer.text())
        return await answer.json(content_type=None)
