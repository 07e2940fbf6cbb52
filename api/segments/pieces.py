"""What a change of boundaries does, piece by piece: which reads change sides, and from whom to whom. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple, TypeAlias
from uuid import UUID

__all__ = ["ENDLESS", "Key", "Moved", "Piece", "Span", "concerned", "moved", "overlapping"]

# Where a read stands in its stream: (epoch, seq).
Key: TypeAlias = tuple[int, int]
# Behind every read.
ENDLESS = 2**63 - 1


class Span(NamedTuple):
    """Reads of a stream from one on, up to and without another; without an end: all that comes."""

    begins: Key
    ends: Key | None

    @property
    def end(self) -> Key:
        """Where it ends, at the latest."""
        return self.ends or (ENDLESS, ENDLESS)


class Piece(NamedTuple):
    """Reads of one epoch, from_seq up to and without to_seq (None: all that come), and their race, if they have one."""

    stream_epoch: int
    from_seq: int
    to_seq: int | None
    race_id: UUID | None


class Moved(NamedTuple):
    """Reads of one epoch that change sides."""

    stream_epoch: int
    from_seq: int
    to_seq: int | None
    was: UUID | None
    becomes: UUID | None


def overlapping(spans: Iterable[Span]) -> tuple[Span, Span] | None:
    """Return two spans that have a read in common, if there are any."""
    for one, next_one in pairwise(sorted(spans, key=lambda each: each.begins)):
        if one.end > next_one.begins:
            return one, next_one
    return None


def concerned(before: Iterable[Span], after: Iterable[Span]) -> tuple[int, int] | None:
    """Return the first and the last epoch of which anything may change; None where nothing does."""
    spans = set(before) ^ set(after)
    if not spans:
        return None
    return min(each.begins[0] for each in spans), max(each.end[0] for each in spans)


def moved(before: Sequence[Piece], after: Sequence[Piece]) -> list[Moved]:
    """Return what changes sides, in the order of reads. Both are all of the same epochs, without a gap."""
    found: list[Moved] = []
    for each in _differing(before, after):
        last = found[-1] if found else None
        if last and (last.stream_epoch, last.to_seq, *last[3:]) == (
            each.stream_epoch,
            each.from_seq,
            *each[3:],
        ):
            found[-1] = last._replace(to_seq=each.to_seq)
        else:
            found.append(each)
    return found


def _differing(before: Sequence[Piece], after: Sequence[Piece]) -> Iterator[Moved]:
    """Yield what lies between two neighbouring boundaries, of either, and is of another race afterwards."""
    epochs = sorted({each.stream_epoch for each in (*before, *after)})
    for epoch in epochs:
        was = [each for each in before if each.stream_epoch == epoch]
        becomes = [each for each in after if each.stream_epoch == epoch]
        cuts = sorted({each.from_seq for each in (*was, *becomes)})
        for start, stop in pairwise([*cuts, None]):
            if start is None:
                continue
            one, other = _race_at(was, start), _race_at(becomes, start)
            if one != other:
                yield Moved(epoch, start, stop, one, other)


def _race_at(pieces: Sequence[Piece], seq: int) -> UUID | None:
    for each in pieces:
        if each.from_seq <= seq and (each.to_seq is None or seq < each.to_seq):
            return each.race_id
    return None
