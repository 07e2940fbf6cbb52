"""Was everybody who came in announced, once and in order, whichever api process did it, and whichever of them died?

Pure, as the oracle is: two snapshots of the tables, and what is stored. In the fleet every read is another chip, but
for lines that a reader repeats, and nobody has a bib: who came in is the chip.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from tests.chaos.oracle import Stored, StreamName, some

__all__ = ["Announced", "Announcer", "Standing", "announced", "shown"]


class Announced(NamedTuple):
    """One row of `announcements`."""

    run_id: int
    number: int
    subject: str
    forwarder_id: str
    reader_ip: str
    stream_epoch: int
    seq: int
    tag_id: str


class Standing(NamedTuple):
    """Where the run stands in a selected stream, and where that ends."""

    stream_epoch: int
    position: int
    last_position: int


class Announcer(NamedTuple):
    """The announcer at one moment: its run, the rows of the last two in the order of their numbers, its streams."""

    run_id: int
    rows: Sequence[Announced]
    selected: Mapping[StreamName, Standing]

    @property
    def has_all(self) -> bool:
        """Whether it has looked at all that there is."""
        return all(each.position >= each.last_position for each in self.selected.values())

    def of(self, run_id: int) -> list[Announced]:
        """Return the rows of a run."""
        return [each for each in self.rows if each.run_id == run_id]


def announced(now: Announcer, stored: Iterable[Stored], before: Announcer | None) -> list[str]:
    """In each run the numbers are 1, 2, 3 …, each chip is there once and by a read of its own, and those of a stream in
    the order of their positions; what was announced before stays; and nobody is missing since.
    """
    reads = {(*each.event.identity, tag_of(each)): each.position for each in stored}
    problems = []
    for run_id in sorted({each.run_id for each in now.rows}):
        rows = now.of(run_id)
        problems += [f"run {run_id} of the announcer: {words}" for words in _of_run(rows, reads)]
        told = [] if before is None else before.of(run_id)
        problems += some("announced, and another one by now", set(told) - set(rows))
    return problems + some("came in and not announced", _missing(now, reads, before))


def _of_run(rows: Sequence[Announced], reads: Mapping[tuple[str, str, int, int, str], int]) -> list[str]:
    subjects = Counter(each.subject for each in rows)
    positions: defaultdict[StreamName, list[int]] = defaultdict(list)
    for each in rows:
        positions[each[3:5]].append(reads.get(each[3:], 0))
    numbers = [each.number for each in rows]
    return [
        *([] if numbers == list(range(1, len(rows) + 1)) else ["its numbers are not 1, 2, 3 …"]),
        *some("announced twice", {(each,) for each, times in subjects.items() if times > 1}),
        *some("announced and not stored", {each for each in rows if each[3:] not in reads}),
        *some("streams in another order", {name for name, each in positions.items() if each != sorted(each)}),
    ]


def _missing(
    now: Announcer, reads: Mapping[tuple[str, str, int, int, str], int], before: Announcer | None
) -> set[tuple[str, str, int, int, str]]:
    """Return the reads of chips that should have been announced: up to where the run stands, from where it stood before
    on, or from the first that it has of their stream.
    """
    rows = now.of(now.run_id)
    tags = {each.tag_id for each in rows}
    goes_on = before is not None and before.run_id == now.run_id
    since: dict[StreamName, int] = {}
    for each in rows:
        since.setdefault(each[3:5], reads.get(each[3:], 0) - 1)
    if before is not None and goes_on:
        since |= {name: each.position for name, each in before.selected.items()}
    missing = set()
    for read, position in reads.items():
        stands = now.selected.get(read[:2])
        if stands is None or read[2] < stands.stream_epoch or read[4] in tags:
            continue
        if since.get(read[:2], stands.position) < position <= stands.position:
            missing.add(read)
    return missing


def tag_of(stored: Stored) -> str:
    """Return the chip of a read."""
    return stored.event.line[4:16].lower()


def shown(now: Announcer, *, count: int, numbers: Sequence[int]) -> list[str]:
    """What a page shows is what was announced: so many, and the newest first."""
    rows = now.of(now.run_id)
    due = [each.number for each in rows][::-1][: len(numbers)]
    return [] if (count, list(numbers)) == (len(rows), due) else [f"{count} shown, {len(rows)} announced"]
