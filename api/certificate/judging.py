"""Why a certificate is not complete, in words. Pure: no database, no clock.

Complete is what has all its numbers, no open conflict, no dead letter, nothing deleted or changed, counts that agree
with the events, and receivers that are owed nothing. What cannot be said here is said as such.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from api.certificate.ledger import Entry
from api.certificate.ranges import Range, in_words, without
from api.certificate.store.facts import Change, Facts, StreamSum
from api.certificate.store.parts import Part
from api.certificate.types import CertifiedPoint, Reason, ReasonCode

__all__ = ["Judged", "cannot_know", "reasons"]


class Judged(NamedTuple):
    """A part with all that is known of it. stored: how many events of the whole epoch are there."""

    part: Part
    facts: Facts
    entry: Entry
    stored: int

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
    def unnoted(self) -> int:
        """How many events of the epoch are gone beyond what is noted as deleted."""
        deleted = self.noted("deleted")
        return max(0, self.lost - (deleted.events if deleted else 0))


def reasons(
    judged: Sequence[Judged], sums: Mapping[UUID, StreamSum], points: Iterable[CertifiedPoint]
) -> list[Reason]:
    """Return all that keeps a certificate from being complete, what weighs most first."""
    if not judged:
        return [Reason(code="nothing", text="There is no read, and no epoch that is expected to have any.")]
    found = [
        *(each for one in judged for each in _of_part(one)),
        *_of_streams(judged, sums),
        *_of_points(points),
        *_of_receivers(judged),
    ]
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
    "owed",
    "nothing",
]


def _of_part(one: Judged) -> Iterator[Reason]:
    for code, text in (*_tampered(one), *_missing(one), *_put_aside(one)):
        yield Reason(
            code=code,
            text=f"{one.name}: {text}",
            stream_id=one.part.stream_id,
            stream_epoch=one.part.stream_epoch,
        )


def _tampered(one: Judged) -> Iterator[tuple[ReasonCode, str]]:
    """Yield what somebody else did to what was stored."""
    if deleted := one.noted("deleted"):
        which = in_words(one.gone or [(deleted.first_seq, deleted.last_seq)])
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


def _of_streams(judged: Sequence[Judged], sums: Mapping[UUID, StreamSum]) -> Iterator[Reason]:
    """Yield what is wrong with whole streams, beyond what was said of their epochs."""
    titles = {each.part.stream_id: each.facts.title for each in judged}
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


def _of_points(points: Iterable[CertifiedPoint]) -> Iterator[Reason]:
    for each in points:
        if each.read_count == 0:
            yield Reason(code="no_read", text=f"Nothing was read at {each.name}.", point=each.name)


def _of_receivers(judged: Sequence[Judged]) -> Iterator[Reason]:
    owed: dict[str, dict[tuple[UUID, int], int]] = defaultdict(dict)
    for one in judged:
        for each in one.facts.receivers:
            if each.expected and each.wanted and each.owed > 0:
                owed[each.receiver_id][one.part.stream_id, one.part.stream_epoch] = each.owed
    for receiver_id, epochs in sorted(owed.items()):
        text = f"The receiver {receiver_id} has not acked {_reads(sum(epochs.values()))}."
        yield Reason(code="owed", text=text, receiver_id=receiver_id)


def cannot_know(judged: Sequence[Judged]) -> list[str]:
    """Return what nobody here can say: what forwarders still hold, and when each was heard of last."""
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
