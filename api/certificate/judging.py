"""Why a certificate is not complete, in words. Pure: no database, no clock.

Complete is what has all its numbers, no open conflict, no dead letter, nothing deleted or changed, counts that agree
with the events, and receivers that are owed nothing. What cannot be said here is said as such.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from api.certificate.ledger import Entry
from api.certificate.ranges import Range, in_words, joined, without
from api.certificate.store.facts import Change, Facts, StreamSum
from api.certificate.store.parts import Others, Part, Point
from api.certificate.types import Reason, ReasonCode

__all__ = ["Judged", "cannot_know", "reasons"]


class Judged(NamedTuple):
    """A part with all that is known of it. stored: how many events of the whole epoch are there; waiting: how many
    of its reads wait to be stored.
    """

    part: Part
    facts: Facts
    entry: Entry
    stored: int
    waiting: int = 0

    @property
    def name(self) -> str:
        """How people call it."""
        named = f" ({self.facts.epoch_name})" if self.facts.epoch_name else ""
        return f"{self.facts.title}, epoch {self.part.stream_epoch}{named}"

    @property
    def lost(self) -> int:
        """How many events of the epoch were counted when they were stored, and are not there; below 0: too many
        are.
        """
        return 0 if self.facts.dedup_count is None else self.facts.dedup_count - self.stored

    @property
    def gone(self) -> list[Range]:
        """Numbers that were there once, as far as they are known."""
        if self.facts.dedup_count is None:
            return self.entry.absent
        if self.facts.never_came is None or self.lost <= 0:
            return []
        return list(without(self.entry.absent, self.facts.never_came))

    def noted(self, kind: str) -> Change | None:
        """Return what is noted of a kind of change."""
        return next((each for each in self.facts.changes if each.kind == kind), None)

    @property
    def deleted(self) -> tuple[Change, list[Range]] | None:
        """Return what is noted as deleted, and of that which numbers of the part, as far as they are known; None: none
        of the part was, as far as a note reaches beyond it and its own numbers are known.
        """
        change = self.noted("deleted")
        if change is None:
            return None
        met = any(first <= change.last_seq and change.first_seq <= last for first, last in self.gone)
        known = self.facts.never_came is not None and self.lost > 0 and not self.entry.ranges_left_out
        return (change, self.gone) if change.within or met or not known else None

    @property
    def unnoted(self) -> int:
        """How many events of the epoch are gone beyond what is noted as deleted."""
        return max(0, self.lost - self.facts.deleted_count)


def reasons(
    judged: Sequence[Judged],
    sums: Mapping[UUID, StreamSum],
    silent: Sequence[Point],
    expected: Mapping[UUID, str],
) -> list[Reason]:
    """Return all that keeps a certificate from being complete, what weighs most first. silent: points without a read;
    expected: streams that should have one, and how people call them.
    """
    due = [each for each in silent if each.stream_ids and each.closed_by is None]
    said = {stream_id for each in due for stream_id in each.stream_ids}
    found = [
        *(each for one in judged for each in _of_part(one)),
        *_of_streams(judged, sums, expected),
        *_of_points(due),
        *_of_silent(judged, {of: title for of, title in expected.items() if of not in said}),
        *_of_receivers(judged),
    ]
    if not judged:
        text = "There is no read, and no epoch that is expected to have any."
        found.append(Reason(code="nothing", text=text))
    return sorted(found, key=lambda each: _WEIGHT.index(each.code))


_WEIGHT: list[ReasonCode] = [
    "vanished",
    "deleted",
    "changed",
    "counts",
    "missing",
    "conflicts",
    "dead_letters",
    "no_read",
    "waiting",
    "owed",
    "nothing",
]


def _of_part(one: Judged) -> Iterator[Reason]:
    for code, text in (*_tampered(one), *_missing(one), *_put_aside(one), *_waiting(one)):
        yield Reason(
            code=code,
            text=f"{one.name}: {text}",
            stream_id=one.part.stream_id,
            stream_epoch=one.part.stream_epoch,
        )


def _tampered(one: Judged) -> Iterator[tuple[ReasonCode, str]]:
    """Yield what somebody else did to what was stored."""
    if one.deleted:
        deleted, gone = one.deleted
        which = in_words(gone or [(deleted.first_seq, deleted.last_seq)])
        yield (
            "deleted",
            f"{_reads(deleted.events, 'was', 'were')} deleted ({_at(deleted.noted_at)}): {which}.",
        )
    if changed := one.noted("changed"):
        which, many = in_words([(changed.first_seq, changed.last_seq)]), _reads(changed.events, "was", "were")
        yield "changed", f"{many} changed after being stored ({_at(changed.noted_at)}): {which}."
    if one.unnoted:
        which = f": {in_words(one.gone)}" if one.gone else ""
        yield "vanished", f"{_reads(one.unnoted, 'is', 'are')} gone, and nobody told of it{which}."
    if one.lost < 0:
        yield "counts", f"{_reads(-one.lost, 'is', 'are')} there that no drain has counted."


def _missing(one: Judged) -> Iterator[tuple[ReasonCode, str]]:
    never = list(without(one.entry.absent, one.gone))
    if never:
        count = sum(last - first + 1 for first, last in never)
        yield "missing", f"{_many(count, 'number', 'never came')}: {in_words(never)}."
    if one.entry.expected_count == 0 and one.part.rule != "forwarder":
        yield "no_read", "no read has come."


def _put_aside(one: Judged) -> Iterator[tuple[ReasonCode, str]]:
    if one.facts.open_conflict_count:
        yield "conflicts", f"{_many(one.facts.open_conflict_count, 'conflict')} that nobody has acknowledged."
    if one.facts.dead_letter_count:
        yield "dead_letters", f"{_many(one.facts.dead_letter_count, 'dead letter')} put aside and not stored."


def _waiting(one: Judged) -> Iterator[tuple[ReasonCode, str]]:
    if one.waiting:
        yield "waiting", f"{_reads(one.waiting, 'waits', 'wait')} to be stored."


def _of_streams(
    judged: Sequence[Judged], sums: Mapping[UUID, StreamSum], expected: Mapping[UUID, str]
) -> Iterator[Reason]:
    """Yield what is wrong with whole streams, beyond what was said of their epochs."""
    titles = {**expected, **{each.part.stream_id: each.facts.title for each in judged}}
    # An epoch may be there in several parts.
    epochs = {(each.part.stream_id, each.part.stream_epoch): each.unnoted for each in judged}
    for stream_id, title in titles.items():
        vanished = sums[stream_id].vanished
        told = sum(unnoted for (of, _), unnoted in epochs.items() if of == stream_id)
        if vanished > told:
            text = (
                f"{_reads(vanished, 'is', 'are')} gone, and nobody told of it; so nothing of it is complete."
            )
            yield Reason(code="vanished", text=f"{title}: {text}", stream_id=stream_id)
        elif vanished < 0:
            text = f"{_reads(-vanished, 'is', 'are')} there or noted as deleted beyond what was stored."
            yield Reason(code="counts", text=f"{title}: {text}", stream_id=stream_id)


def _of_points(due: Iterable[Point]) -> Iterator[Reason]:
    for each in due:
        yield Reason(code="no_read", text=f"Nothing was read at {each.name}.", point=each.name)


def _of_silent(judged: Sequence[Judged], expected: Mapping[UUID, str]) -> Iterator[Reason]:
    """Yield streams that should have a read, and neither have nor had one; but for what is said of their epochs."""
    told = {
        one.part.stream_id
        for one in judged
        if one.entry.expected_count or any(code == "no_read" for code, _ in _missing(one))
    }
    for stream_id, title in expected.items():
        if stream_id not in told:
            yield Reason(code="no_read", text=f"{title}: no read has come.", stream_id=stream_id)


def _of_receivers(judged: Sequence[Judged]) -> Iterator[Reason]:
    for receiver_id, count in sorted(_owed(judged, expected=True).items()):
        text = f"The receiver {receiver_id} has not acked {_reads(count)}."
        yield Reason(code="owed", text=text, receiver_id=receiver_id)


def _owed(judged: Sequence[Judged], *, expected: bool) -> dict[str, int]:
    """Return what receivers are owed that somebody waits for, or that nobody does."""
    owed: dict[str, int] = defaultdict(int)
    for one in judged:
        for each in one.facts.receivers:
            if each.expected is expected and each.wanted and each.owed > 0:
                owed[each.receiver_id] += each.owed
    return owed


def cannot_know(
    judged: Sequence[Judged],
    silent: Sequence[Point] = (),
    others: Sequence[Others] = (),
    *,
    of_race: bool = False,
) -> list[str]:
    """Return what nobody here can say: whether what is of no race should be, or a point without a read is one; whether
    anybody needs what a receiver lacks that nobody waits for; and behind that, a line each, what forwarders still hold,
    and when each was heard of last.
    """
    # With a stream's row goes all that says so: its place at a point, its epochs and segments, and all notes of it.
    rows = (
        ["Whether a stream of this race was deleted as a whole: nothing is left of one."] if of_race else []
    )
    return [*_of_no_race(judged, others), *_unwatched(silent), *_gone(judged), *rows, *_held(judged)]


def _of_no_race(judged: Sequence[Judged], others: Collection[Others]) -> Iterator[str]:
    titles = {each.part.stream_id: each.facts.title for each in judged}
    for each in others:
        epochs = in_words(joined((epoch, epoch) for epoch in each.stream_epochs))
        many = "epoch" if len(each.stream_epochs) == 1 else "epochs"
        yield (
            f"Whether {_reads(each.read_count)} of {titles[each.stream_id]}, {many} {epochs}, should be of this"
            f" race: they were given to none. The last came at {_at(each.last_received_at)}."
        )


def _unwatched(silent: Iterable[Point]) -> Iterator[str]:
    for each in silent:
        if not each.stream_ids:
            yield f"Whether anybody came by {each.name}: no stream stands there."
        elif each.closed_by is not None:
            yield f"Whether anybody came by {each.name}: nothing was read there, and {each.closed_by} has closed it."


def _gone(judged: Sequence[Judged]) -> Iterator[str]:
    for receiver_id, count in sorted(_owed(judged, expected=False).items()):
        yield (
            f"Whether the receiver {receiver_id} still needs {_reads(count)} that it has not acked: it is not"
            " waited for any more."
        )


def _held(judged: Sequence[Judged]) -> list[str]:
    heard = {each.facts.forwarder_id: each.facts.forwarder.last_heard_at for each in judged}
    return [
        f"Whether the forwarder {forwarder_id} holds reads behind its last number: "
        + (f"it was heard of last at {_at(at)}." if at else "nothing was ever heard of it.")
        for forwarder_id, at in sorted(heard.items())
    ]


def _many(count: int, what: str, does: str = "") -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}{' ' if does else ''}{does}"


def _reads(count: int, one: str = "", more: str = "") -> str:
    return _many(count, "read", one if count == 1 else more)


def _at(when: datetime) -> str:
    return when.isoformat(timespec="seconds")
