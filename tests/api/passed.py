"""Passings as the table has them, made of reads in plain Python: what the pure parts are held to."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from api.crossings.crossing import Passing, ReadAt

__all__ = ["SECOND", "Seen", "passings", "runs"]

SECOND = timedelta(seconds=1)


class Seen(NamedTuple):
    """A read of a chip."""

    tag_id: str
    read: ReadAt

    @classmethod
    def at(cls, tag_id: str, stream_id: UUID, epoch: int, seq: int, read_at: datetime) -> "Seen":
        return cls(tag_id, ReadAt(read_at, stream_id, epoch, seq))


def runs(reads: Iterable[ReadAt], gap: timedelta) -> list[list[ReadAt]]:
    """Return reads in their order, apart where two that follow each other are the gap apart, or more."""
    found: list[list[ReadAt]] = []
    for each in sorted(reads):
        if not found or each.read_at - found[-1][-1].read_at >= gap:
            found.append([])
        found[-1].append(each)
    return found


def passings(seen: Iterable[Seen], positions: Mapping[ReadAt, int] | None = None) -> list[Passing]:
    """Return what the table has of these reads; without positions each has that of its number."""
    apart: dict[tuple[UUID, int, str], list[ReadAt]] = {}
    for each in seen:
        apart.setdefault((each.read.stream_id, each.read.stream_epoch, each.tag_id), []).append(each.read)
    return [
        _passing(tag_id, run, positions)
        for (_, _, tag_id), reads in apart.items()
        for run in runs(reads, SECOND)
    ]


def _passing(tag_id: str, run: list[ReadAt], positions: Mapping[ReadAt, int] | None) -> Passing:
    first, last = run[0], run[-1]
    seqs = [each.seq for each in run]
    return Passing(
        first.stream_id,
        first.stream_epoch,
        tag_id,
        first.read_at,
        first.seq,
        last.read_at,
        last.seq,
        min(seqs),
        max(seqs),
        len(run),
        max(seqs) if positions is None else max(positions[each] for each in run),
    )
