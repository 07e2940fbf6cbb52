"""A whole stream as CSV over HTTP, beside psql's `\\copy` of the same query, in turns."""

import asyncio
import os
import time
from uuid import UUID

from api.exports.store import COPIES
from api.http.types import LARGEST
from api.storage.plans import ALONG_THE_KEY
from deploy.local.postgres_programs import binaries
from tests.bench.ground import Ground, Site, running
from tests.bench.report import Row, Target, resident_bytes, row, say
from tests.delivery.stored import make_stream, store_many
from tests.services import Process

__all__ = ["measure"]

EVENTS = 1_000_000
CHUNK = 256 * 1024
MIB = 2**20


async def measure(ground: Ground, rounds: int) -> list[Row]:
    """Export the same million events both ways, round after round."""
    async with ground.site() as site, running("api", site) as api:
        stream_id = await make_stream(site.database, "bench", "10.0.0.1:10000")
        await store_many(site.database, stream_id, EVENTS)
        await site.database.execute("VACUUM ANALYZE events")
        before = resident_bytes(api.pid)
        ours, theirs, first_ms = [], [], []
        for number in range(rounds):
            theirs.append(await copy_with_psql(site, stream_id))
            speed, first_s = await export(api, stream_id)
            ours.append(speed)
            first_ms.append(1000 * first_s)
            say(f"export, round {number + 1}: {ours[-1]:,.0f} events/s, psql {theirs[-1]:,.0f}")
        grown = (resident_bytes(api.pid, "VmHWM") - before) / MIB
    return [
        row("psql \\copy as CSV", theirs, "events/s"),
        row("export as CSV", ours, "events/s", against=theirs, target=Target("at least", 0.7, of="ratio")),
        row("export: first byte after", first_ms, "ms", target=Target("at most", 100)),
        row("export: memory of the api grew by", [grown], "MiB", target=Target("at most", 50)),
    ]


async def export(api: Process, stream_id: UUID) -> tuple[float, float]:
    """Return events per second, and after how many seconds the first byte of the body came."""
    began = time.perf_counter()
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port, limit=4 * CHUNK)
    path = f"/api/v1/streams/{stream_id}/export.csv"
    writer.write(f"GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n".encode())
    await reader.readuntil(b"\r\n\r\n")
    block = await reader.read(CHUNK)
    first_s = time.perf_counter() - began
    rows = -1  # the header
    while block:
        # Lines end with \n, the chunks of HTTP with \r\n.
        rows += block.count(b"\n") - block.count(b"\r\n")
        block = await reader.read(CHUNK)
    writer.close()
    # A \r\n that lies across two blocks is counted as a line.
    if not EVENTS <= rows <= EVENTS * 1.001:
        raise AssertionError(f"{rows} of {EVENTS} rows")
    return EVENTS / (time.perf_counter() - began), first_s


async def copy_with_psql(site: Site, stream_id: UUID) -> float:
    """Return events per second."""
    query = COPIES["csv"]
    everything = {1: f"'{stream_id}'", 2: "0", 3: "0", 4: f"{LARGEST}", 5: f"{LARGEST}"}
    for number in range(1, 9):
        query = query.replace(f"${number}", everything.get(number, "NULL"))
    command = f"\\copy ({' '.join(query.split())}) TO '{os.devnull}' CSV HEADER"
    began = time.perf_counter()
    psql = await asyncio.create_subprocess_exec(
        str(binaries() / "psql"),
        *("--no-psqlrc", "--quiet", "--command", command, site.url),
        env={
            **os.environ,
            "PGOPTIONS": " ".join(f"-c {name}={value}" for name, value in ALONG_THE_KEY.items()),
        },
    )
    if await psql.wait() != 0:
        raise AssertionError("psql failed")
    return EVENTS / (time.perf_counter() - began)
