"""What is rehearsed: a race that a server has stored, or a file of lines.

Of a race all reads that are its own, by its segments, epoch after epoch, as exports have them: nothing is changed by
asking. What a reader's memory had is left out: no reader said it.
"""

import asyncio
import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deploy.simulation.demo.server import Server, ServerError
from deploy.simulation.rehearsal.score import Mat
from shared.protocol.memory import is_memory

__all__ = ["mats_of"]

READER = "10.0.0.1:10000"


async def mats_of(server: Server, source: str) -> Sequence[Mat]:
    """Return the mats of a file, or of the race of that name or id; ServerError when there is none, or it is empty."""
    mats = await asyncio.to_thread(_of_file, Path(source)) or await _of_race(server, source)
    mats = [each for each in mats if each.lines]
    if not mats:
        raise ServerError(f"{source} has no reads to rehearse with")
    return mats


def _of_file(path: Path) -> list[Mat]:
    """Return the one mat of a file; none where there is no such file."""
    if not path.is_file():
        return []
    lines = [line.strip() for line in path.read_text(encoding="ascii", errors="replace").splitlines()]
    return [Mat(path.stem, READER, [line for line in lines if line.startswith("aa")])]


async def _of_race(server: Server, source: str) -> list[Mat]:
    race_id = await _race(server, source)
    readers = {stream_id: stream for stream, stream_id in (await server.streams()).items()}
    found = await server.get(f"/api/v1/races/{race_id}/segments")
    return [
        Mat(*readers[stream["stream_id"]], await _lines(server, race_id, stream))
        for stream in found["streams"]
        if stream["stream_id"] in readers and not is_memory(readers[stream["stream_id"]][1])
    ]


async def _race(server: Server, source: str) -> str:
    races = (await server.get("/api/v1/races"))["races"]
    found = [each["race_id"] for each in races if source in (each["race_id"], each["name"])]
    if len(found) != 1:
        raise ServerError(
            f"there is no file {source!r}, and {len(found) or 'no'} race of that name or id; the races are: "
            + (", ".join(repr(each["name"]) for each in races) or "none")
        )
    return str(found[0])


async def _lines(server: Server, race_id: str, stream: dict[str, Any]) -> list[str]:
    """Return the lines of a stream that are of the race, in the order of their numbers."""
    lines: list[str] = []
    for part in stream["ranges"]:
        if part["race_id"] != race_id or not part["reads"]:
            continue
        exported = server.export_lines(stream["stream_id"], epoch=part["epoch"])
        rows = csv.DictReader([line.decode(errors="replace") async for line in exported])
        lines += [row["raw_read_line"] for row in rows if _within(int(row["seq"]), part)]
    return lines


def _within(seq: int, part: dict[str, Any]) -> bool:
    return bool(seq >= part["from_seq"] and (part["to_seq"] is None or seq < part["to_seq"]))
