"""What a run is: a count of those who have come in since it began, each of them once. Pure: no database, no clock.

- A run begins when the announcer is enabled, also anew after its time was over, when the set of its streams is another,
  when it is reset, and when the epoch of one of them moves.
- A finisher is a person, by race and bib where they are known, else a chip: two chips of one person are one finisher.
- A read counts if it has a tag and is of the epoch that its stream had when the run began, or of a later one.
- Order: of each stream that of its commits; of several, of what is seen together, by the time of receipt.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from api.races.names import NOBODY, Sighting, Whose

__all__ = [
    "ENABLED_FOR",
    "UNKNOWN",
    "Finish",
    "Read",
    "Setting",
    "begins",
    "display_name",
    "finishes",
    "until",
]

ENABLED_FOR = timedelta(hours=24)
UNKNOWN = "Unknown"


class Setting(NamedTuple):
    """How the announcer is set. `over`: its time is; it stays enabled until somebody says otherwise."""

    enabled: bool
    until: datetime | None
    over: bool
    max_list_size: int
    stream_ids: Sequence[UUID]


def until(before: Setting, *, enabled: bool, now: datetime) -> datetime | None:
    """Return until when it is enabled: saving it again does not make that longer, enabling it after its end does."""
    if not enabled:
        return None
    return before.until if before.enabled and not before.over else now + ENABLED_FOR


def begins(before: Setting, *, enabled: bool, stream_ids: Collection[UUID]) -> bool:
    """Whether a run begins when it is set so: the order of streams and the size of the list are nothing to a run."""
    newly = not before.enabled or before.over
    return enabled and (newly or set(before.stream_ids) != set(stream_ids))


class Read(NamedTuple):
    """A read of a selected stream. run_epoch: that of its stream when the run began."""

    stream_id: UUID
    run_epoch: int
    stream_epoch: int
    seq: int
    position: int
    tag_id: str | None
    reader_timestamp: str
    received_at: datetime

    @property
    def sighting(self) -> Sighting:
        """By what it is looked up whose it is."""
        return Sighting(self.stream_id, self.stream_epoch, self.seq, self.tag_id)

    @property
    def counts(self) -> bool:
        """Whether it can be somebody's who comes in: a late read of an older epoch is of before the run."""
        return self.tag_id is not None and self.stream_epoch >= self.run_epoch


class Finish(NamedTuple):
    """A read that says that somebody has come in, and who, as far as is known."""

    read: Read
    whose: Whose

    @property
    def subject(self) -> str:
        """Who has come in: nobody does so twice in a run."""
        if self.whose.bib is None:
            return f"chip:{self.read.tag_id}"
        return f"bib:{self.whose.race_id}:{self.whose.bib}"


def finishes(reads: Iterable[Read], whose: Mapping[Sighting, Whose]) -> list[Finish]:
    """Return who comes in by reads that are seen together, in order, each once by the first of his."""
    found: dict[str, Finish] = {}
    for read in _merged(each for each in reads if each.counts):
        finish = Finish(read, whose.get(read.sighting, NOBODY))
        found.setdefault(finish.subject, finish)
    return list(found.values())


def _merged(reads: Iterable[Read]) -> list[Read]:
    """Return reads by their time of receipt, and those of one stream in the order in which they were committed.

    A read that was received before one that its stream committed earlier (two gateways, a retransmission) counts as
    received with that one: the order of a stream is its positions, whatever clocks say.
    """
    latest: dict[UUID, datetime] = {}
    keyed: list[tuple[datetime, UUID, int, int, Read]] = []
    for read in sorted(reads, key=lambda each: (each.stream_id, each.position)):
        at = max(read.received_at, latest.get(read.stream_id, read.received_at))
        latest[read.stream_id] = at
        keyed.append((at, read.stream_id, read.position, read.seq, read))
    return [read for *_, read in sorted(keyed, key=lambda each: each[:4])]


def display_name(whose: Whose) -> str:
    """Return what somebody is called out as."""
    return f"{whose.first_name or ''} {whose.last_name or ''}".strip() or UNKNOWN
