"""A certificate as it is written and signed, of what is known and judged. Pure: no database, no clock."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib.metadata import version
from types import MappingProxyType
from typing import NamedTuple
from uuid import UUID

import msgspec

from api.certificate.digests import root
from api.certificate.judging import Judged, cannot_know, reasons
from api.certificate.signing import ALGORITHM, key_name, public_half, signature_of, text
from api.certificate.store.facts import Change, StreamSum
from api.certificate.store.parts import Others, Part, Point
from api.certificate.types import (
    Certificate,
    CertifiedForwarder,
    CertifiedPart,
    CertifiedPoint,
    CertifiedRace,
    CertifiedReceiver,
    EventChange,
    Signature,
)

__all__ = ["Asked", "signed", "written"]

VERSION = 1
_UNSIGNED = Signature(algorithm=ALGORITHM, key="", public_key="", value="")


class Asked(NamedTuple):
    """What a certificate is of. streams: those that are expected to have a read, and how people call them; others: what
    their streams hold beside, which is of no race.
    """

    race: CertifiedRace | None
    parts: list[Part]
    points: list[Point]
    streams: Mapping[UUID, str] = MappingProxyType({})
    others: Sequence[Others] = ()


def signed(certificate: Certificate, secret: bytes) -> Certificate:
    """Return a certificate with the signature of a key."""
    public_key = public_half(secret)
    said = msgspec.to_builtins(certificate, builtin_types=(datetime,))
    value = text(signature_of(said, secret))
    signature = Signature(
        algorithm=ALGORITHM, key=key_name(public_key), public_key=text(public_key), value=value
    )
    return msgspec.structs.replace(certificate, signature=signature)


def written(
    asked: Asked, judged: Sequence[Judged], sums: Mapping[UUID, StreamSum], *, issued_at: datetime
) -> Certificate:
    """Return the certificate of what was judged, for somebody to sign."""
    points = [_point(each, judged) for each in asked.points]
    silent = [place for place, said in zip(asked.points, points, strict=True) if said.read_count == 0]
    found = reasons(judged, sums, silent, asked.streams)
    return Certificate(
        kind="rt-server certificate",
        version=VERSION,
        issued_at=issued_at,
        server_version=version("rt-server"),
        verdict="incomplete" if found else "complete",
        race=asked.race,
        read_count=sum(each.entry.read_count for each in judged),
        expected_count=sum(each.entry.expected_count for each in judged),
        reasons=found,
        cannot_know=cannot_know(judged, silent, asked.others, of_race=asked.race is not None),
        points=points,
        parts=[_part(each, asked.points) for each in judged],
        signature=_UNSIGNED,
    )


def _point(point: Point, judged: Sequence[Judged]) -> CertifiedPoint:
    there = (each.entry.read_count for each in judged if each.part.stream_id in point.stream_ids)
    return CertifiedPoint(name=point.name, read_count=sum(there))


def _change(change: Change) -> EventChange:
    said = change._asdict()
    del said["within"]
    return EventChange(**said)


def _part(one: Judged, points: Sequence[Point]) -> CertifiedPart:
    part, facts, entry = one.part, one.facts, one.entry
    digests = [(each.block, each.digest or b"") for each in entry.blocks]
    return CertifiedPart(
        stream_id=part.stream_id,
        forwarder_id=facts.forwarder_id,
        reader_ip=facts.reader_ip,
        title=facts.title,
        point=next((each.name for each in points if part.stream_id in each.stream_ids), None),
        stream_epoch=part.stream_epoch,
        epoch_name=facts.epoch_name,
        rule=part.rule,
        from_seq=part.from_seq,
        to_seq=part.to_seq,
        first_seq=entry.blocks[0].first_seq if entry.blocks else None,
        last_seq=entry.blocks[-1].last_seq if entry.blocks else None,
        read_count=entry.read_count,
        expected_count=entry.expected_count,
        missing_count=entry.expected_count - entry.read_count,
        missing_ranges=entry.absent,
        missing_ranges_left_out=entry.ranges_left_out,
        late_count=sum(each.late_count or 0 for each in entry.blocks),
        retransmit_count=facts.retransmit_count,
        conflict_count=facts.conflict_count,
        open_conflict_count=facts.open_conflict_count,
        unparsed_count=sum(each.unparsed_count or 0 for each in entry.blocks),
        dead_letter_count=facts.dead_letter_count,
        changes=[_change(each) for each in facts.changes],
        receivers=[CertifiedReceiver(**each._asdict()) for each in facts.receivers],
        forwarder=CertifiedForwarder(**facts.forwarder._asdict()),
        digest=root(digests).hex(),
        blocks=[(block, digest.hex()) for block, digest in digests],
    )
