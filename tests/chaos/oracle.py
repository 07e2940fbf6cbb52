"""Did every promise hold? What was sent and acked against what is stored, delivered, counted and exported.

Pure: it is given what others read and returns what is wrong, in words; an empty list is what we want. Its own
tests show that each kind of violation is found.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from tests.chaos.ledger import Event, Ledger

__all__ = [
    "Counts",
    "Stored",
    "StreamName",
    "counters",
    "delivered",
    "exports",
    "lost_acks",
    "positions",
    "some",
    "stored_once",
]

StreamName = tuple[str, str]
K = TypeVar("K", bound=tuple[Any, ...])
_SHOWN = 3


class Stored(NamedTuple):
    """One row of `events`."""

    event: Event
    position: int


class Counts(NamedTuple):
    """One row of `stream_metrics`, with whose it is and the stream's last position."""

    forwarder_id: str
    reader_ip: str
    stream_epoch: int
    raw: int
    dedup: int
    retransmit: int
    conflict: int
    first_seq: int
    last_seq: int
    chips: int
    last_position: int


def lost_acks(acked: Collection[Event], stored: Iterable[Stored], conflicts: Iterable[Event]) -> list[str]:
    """Acked ⊆ stored: everything acked lies in the events, or among the conflicts."""
    return some("acked and not stored", set(acked) - {each.event for each in stored} - set(conflicts))


def stored_once(ledger: Ledger, stored: Sequence[Stored], conflicts: Collection[Event]) -> list[str]:
    """Everything sent is stored, byte for byte, once; and nothing that was never sent is."""
    there = {each.event for each in stored}
    identities = Counter(each.event.identity for each in stored)
    kept_aside = set(conflicts)
    unasked = {event for event in kept_aside if event.forwarder_id not in ledger.without_journal}
    return [
        *some("sent and not stored", ledger.owed - there - kept_aside),
        *some("stored twice", {identity for identity, times in identities.items() if times > 1}),
        *some("stored and not what was sent", there - ledger.sent),
        *some("kept aside and not what was sent", kept_aside - ledger.sent),
        *some("a conflict, though the device kept its journal", unasked),
        *(f"{ack}" for ack in ledger.unfounded_acks),
    ]


def positions(ledger: Ledger, stored: Iterable[Stored]) -> list[str]:
    """Within each stream positions are 1, 2, 3 …, and so are the seqs of each epoch; they follow each other, but for
    those that their device sent late.
    """
    streams: defaultdict[StreamName, list[int]] = defaultdict(list)
    epochs: defaultdict[tuple[str, str, int], list[int]] = defaultdict(list)
    in_time: defaultdict[tuple[str, str, int], list[int]] = defaultdict(list)
    for event, position in sorted(stored, key=lambda row: row.position):
        epoch = event.identity[:3]
        streams[event[:2]].append(position)
        if epoch not in ledger.torn:
            epochs[epoch].append(event.seq)
            in_time[epoch] += [event.seq] if event.identity not in ledger.late else []
    return [
        *some("streams whose positions are not 1, 2, 3 …", _with_gaps(streams)),
        *some("epochs whose seqs are not 1, 2, 3 …", _with_gaps(epochs)),
        *some(
            "epochs whose seqs do not rise with their positions",
            [epoch for epoch, seqs in in_time.items() if seqs != sorted(seqs)],
        ),
    ]


def _with_gaps(numbers: Mapping[K, Sequence[int]]) -> list[K]:
    """Return which are not 1, 2, 3 … in any order."""
    return [name for name, each in numbers.items() if sorted(each) != list(range(1, len(each) + 1))]


def counters(stored: Iterable[Stored], conflicts: Iterable[Event], counted: Iterable[Counts]) -> list[str]:
    """Each epoch's counters agree with each other and with the rows that they count."""
    rows: defaultdict[tuple[str, str, int], list[Stored]] = defaultdict(list)
    last_position: Counter[StreamName] = Counter()
    for each in stored:
        rows[each.event[:3]].append(each)
        last_position[each.event[:2]] = max(each.position, last_position[each.event[:2]])
    quarantined = Counter(event[:3] for event in conflicts)
    found, seen = [], set()
    for counts in counted:
        epoch = counts[:3]
        seen.add(epoch)
        seqs = [row.event.seq for row in rows[epoch]]
        wrong = [
            (
                counts.raw != counts.dedup + counts.retransmit + counts.conflict,
                "raw is not dedup + retransmit + conflict",
            ),
            (counts.dedup != len(seqs), f"dedup_count is {counts.dedup} for {len(seqs)} events"),
            (
                counts.conflict < quarantined[epoch],
                f"conflict_count is {counts.conflict} for {quarantined[epoch]}",
            ),
            (
                (counts.first_seq, counts.last_seq) != (min(seqs, default=0), max(seqs, default=0)),
                "first or last seq",
            ),
            (counts.chips != len({row.event.line[4:16] for row in rows[epoch]}), f"{counts.chips} chips"),
            (counts.last_position != last_position[epoch[:2]], f"last_position is {counts.last_position}"),
        ]
        found += [f"{_name(epoch)}: wrong counters: {words}" for is_so, words in wrong if is_so]
    return found + [f"{_name(epoch)}: events, and no counters" for epoch in rows.keys() - seen if rows[epoch]]


def delivered(
    receiver_id: str,
    connections: Sequence[Sequence[Event]],
    stored: Iterable[Stored],
    *,
    as_frames: bool = False,
) -> list[str]:
    """A receiver got exactly what is stored, as its generation has it, lines or frames; on no connection anything
    twice, or behind a later seq of its epoch that was stored later, too.
    """
    positions = {_as_told(each.event, as_frames=as_frames): each.position for each in stored}
    came = {event for connection in connections for event in connection}
    found = [
        *some("stored and not delivered", positions.keys() - came),
        *some("delivered and not what is stored", came - positions.keys()),
        *(problem for connection in connections for problem in _disorder(connection, positions)),
    ]
    return [f"{receiver_id}: {words}" for words in found]


def _as_told(event: Event, *, as_frames: bool) -> Event:
    return event._replace(line=event.frame if as_frames else event.text, framed=False)


def _disorder(connection: Iterable[Event], positions: Mapping[Event, int]) -> list[str]:
    """What came late, with a lower seq, was stored later than all that came before it."""
    newest: dict[tuple[str, str, int], tuple[int, int]] = {}  # highest seq and position so far, of each epoch
    twice, backward = set(), set()
    seen: set[tuple[str, str, int, int]] = set()
    for event in connection:
        identity, position = event.identity, positions.get(event, 0)
        seq_before, position_before = newest.get(identity[:3], (0, 0))
        if identity in seen:
            twice.add(identity)
        elif event.seq < seq_before and position < position_before:
            backward.add(identity)
        seen.add(identity)
        newest[identity[:3]] = max(event.seq, seq_before), max(position, position_before)
    return [
        *some("delivered twice on one connection", twice),
        *some("delivered behind a later seq", backward),
    ]


def exports(
    exported: Mapping[StreamName, bytes],
    stored: Iterable[Stored],
    journals: Mapping[StreamName, Sequence[Event]],
) -> list[str]:
    """Each stream's export.txt holds its lines in the order of (epoch, seq), as `journals` (of the streams whose
    device never lost one) and the rows have them.
    """
    rows: defaultdict[StreamName, list[Event]] = defaultdict(list)
    for each in stored:
        rows[each.event[:2]].append(each.event)
    unlike_rows, unlike_journal = set(), set()
    for name in rows.keys() | exported.keys() | journals.keys():
        due = sorted(rows[name], key=lambda event: event.identity)
        text = exported.get(name, b"")
        if text != _text(due):
            unlike_rows.add(name)
        if name in journals and text != _text(journals[name]):
            unlike_journal.add(name)
    return [
        *some("exports that are not what is stored", unlike_rows),
        *some("exports that are not what the journal holds", unlike_journal),
    ]


def _text(events: Iterable[Event]) -> bytes:
    return "".join(f"{event.text}\n" for event in events).encode()


def _name(key: Iterable[object]) -> str:
    return " ".join(map(str, key))


def some(what: str, events: Collection[Sequence[object]]) -> list[str]:
    """One line for a kind of violation: how many, and the first few."""
    if not events:
        return []
    examples = ", ".join(_name(event) for event in sorted(events, key=str)[:_SHOWN])
    return [f"{len(events)} {what}: {examples}"]
