"""Crossings as they are shown. Pure: whose they are and the reads behind them are looked up elsewhere."""

from collections.abc import Sequence

from api.crossings import types
from api.crossings.crossing import ReadAt, Rule
from api.crossings.people import Found
from api.crossings.types import MOST_CHIPS, READS_SHOWN, CrossingRead
from api.races.names import NOBODY, Whose

__all__ = ["COLUMNS", "csv_row", "row", "why"]


def why(rule: Rule, reads: int) -> str:
    """Return in words which read counts."""
    if reads == 1:
        return "the only read"
    return (
        f"the first of {reads} reads"
        if rule == "first"
        else f"the start: the last of {reads} reads before leaving"
    )


def row(found: Found, whose: Whose = NOBODY, reads: Sequence[ReadAt] = ()) -> types.Crossing:
    """Return a crossing with those of its reads that were looked up, in the order in which they would count."""
    point, subject, crossing = found
    shown = [_read(each) for each in reads[:READS_SHOWN]]
    return types.Crossing(
        point=point.at,
        place=point.place,
        point_name=point.name,
        bib=subject.bib,
        first_name=whose.first_name,
        last_name=whose.last_name,
        chips=sorted(crossing.tags)[:MOST_CHIPS],
        crossed_at=crossing.counting.read_at,
        rule=crossing.rule,
        why=why(crossing.rule, crossing.reads),
        read_count=crossing.reads,
        counted=_read(crossing.counting),
        first_read=_read(crossing.first),
        last_read=_read(crossing.last),
        runner_up=shown[1] if len(shown) > 1 else None,
        reads=shown,
        more_reads=max(crossing.reads - len(shown), 0),
    )


def _read(read: ReadAt) -> CrossingRead:
    return CrossingRead(
        stream_id=read.stream_id, stream_epoch=read.stream_epoch, seq=read.seq, read_at=read.read_at
    )


COLUMNS = (
    *("place", "point", "bib", "last_name", "first_name", "chips", "crossed_at", "rule", "why", "reads"),
    *("stream_id", "stream_epoch", "seq", "first_read_at", "last_read_at"),
)


def csv_row(found: Found, last_name: str | None, first_name: str | None) -> Sequence[object]:
    """Return a crossing as a line of a table, empty where nothing is known; its read that counts by its key."""
    point, subject, crossing = found
    counting = crossing.counting
    return (
        *(point.place, point.name, subject.bib, last_name, first_name, " ".join(sorted(crossing.tags))),
        *(_time(counting), crossing.rule, why(crossing.rule, crossing.reads), crossing.reads),
        *(
            counting.stream_id,
            counting.stream_epoch,
            counting.seq,
            _time(crossing.first),
            _time(crossing.last),
        ),
    )


def _time(read: ReadAt) -> str:
    return read.read_at.isoformat(timespec="milliseconds")
