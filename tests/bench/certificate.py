"""A certificate of a million reads: the first one, which makes digests, and those after it, which count and look. Over
HTTP, against an api process of its own; and what a backend of Postgres needed for it.
"""

import asyncio
import time
from contextlib import suppress
from uuid import UUID

import aiohttp

from api.certificate.digests import digests, root
from shared.db.connections import connect
from tests.bench.ground import Ground, Site, running
from tests.bench.report import Row, Target, resident_bytes, row, say
from tests.delivery.stored import make_stream, store_many

__all__ = ["measure"]

EVENTS = 1_000_000
MIB = 2**20
_BACKENDS = "SELECT pid FROM pg_stat_activity WHERE application_name ^@ 'rt-server api'"


async def measure(ground: Ground, rounds: int) -> list[Row]:
    """Certify the same million reads, with nothing kept and with all of it."""
    async with ground.site() as site, running("api", site) as api, aiohttp.ClientSession(api.url) as http:
        stream_id = await make_stream(site.database, "bench", "10.0.0.1:10000")
        await store_many(site.database, stream_id, EVENTS)
        first: list[float] = []
        after: list[float] = []
        before, peaks = resident_bytes(api.pid), [0]
        watching = asyncio.create_task(watch(site, peaks))
        for number in range(rounds):
            await site.database.execute("DELETE FROM event_blocks")
            first.append(await certified(http, stream_id))
            after.append(await certified(http, stream_id))
            say(f"certificate, round {number + 1}: {first[-1]:.2f} s, then {after[-1]:.2f} s")
        watching.cancel()
        await asyncio.wait([watching])
        assert watching.cancelled()
        grown = (resident_bytes(api.pid, "VmHWM") - before) / MIB
        await check(site, http, stream_id)
    return [
        row("certificate of a million reads: the first", first, "s", target=Target("at most", 10)),
        row("certificate of a million reads: again", after, "s", target=Target("at most", 1)),
        row("certificate: memory of the api grew by", [grown], "MiB", target=Target("at most", 50)),
        row("certificate: a backend's own memory", [max(peaks) / MIB], "MiB", target=Target("at most", 100)),
    ]


async def watch(site: Site, peaks: list[int]) -> None:
    """Note what the backends of the api have for themselves, again and again."""
    connection = await connect(site.url, name="bench")
    while True:
        for (pid,) in await connection.fetch(_BACKENDS):
            with suppress(FileNotFoundError, ProcessLookupError):
                peaks.append(resident_bytes(pid, "RssAnon"))
        await asyncio.sleep(0.02)


async def certified(http: aiohttp.ClientSession, stream_id: UUID) -> float:
    """Return how long a certificate took, in seconds."""
    began = time.perf_counter()
    async with http.get(f"/api/v1/certificate?stream_id={stream_id}") as answer:
        said = await answer.json()
    assert said["verdict"] == "complete", said.get("reasons", said)
    return time.perf_counter() - began


async def check(site: Site, http: aiohttp.ClientSession, stream_id: UUID) -> None:
    """What was measured is the digest that it should be."""
    async with http.get(f"/api/v1/certificate?stream_id={stream_id}") as answer:
        (part,) = (await answer.json())["parts"]
    rows = await site.database.fetch(
        "SELECT seq, raw_frame FROM events WHERE stream_id = $1 ORDER BY seq", stream_id
    )
    assert root(digests(map(tuple, rows))).hex() == part["digest"]
