"""What a certificate is asked for, and what it says."""

from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta

from api.http.types import Answer, Request, Streams, Time

__all__ = [
    "Certificate",
    "CertificateKey",
    "CertificateKeys",
    "CertificateQuery",
    "CertifiedForwarder",
    "CertifiedPart",
    "CertifiedPoint",
    "CertifiedRace",
    "CertifiedReceiver",
    "EventChange",
    "Reason",
    "ReasonCode",
    "Rule",
    "Signature",
]

Rule = Literal["asked", "segment", "epoch", "forwarder"]
ReasonCode = Literal[
    "missing",
    "vanished",
    "deleted",
    "changed",
    "counts",
    "conflicts",
    "dead_letters",
    "owed",
    "no_read",
    "waiting",
    "nothing",
]
# Some hundreds of them.
Epochs = Annotated[str, Meta(max_length=4096, pattern=r"^[0-9]{1,10}(,[0-9]{1,10})*$")]
# First and last number, both included.
Numbers = tuple[int, int]
# Block and its digest, in hex.
Block = tuple[int, str]


class CertificateQuery(Request):
    """Of which reads: of a race, or of one stream or several (`stream_id`, with commas between them), of these epochs
    (`epoch`, with commas between them), each of each of the streams, or of all that hold or held reads.
    """

    race_id: UUID | None = None
    stream_id: Streams | None = None
    epoch: Epochs | None = None


class CertifiedRace(Answer):
    """The race that a certificate is of."""

    race_id: UUID
    name: str


class CertifiedPoint(Answer):
    """A point of the race's course, and how many reads of the certificate are of its streams."""

    name: str
    read_count: int


class CertifiedReceiver(Answer):
    """What a receiver has of an epoch. expected: it is connected and follows the stream, or is missed; others had it
    once. wanted: it is sent the epoch at all. acked_seq: the number up to which it has acked; owed: events of the part
    that it was not sent, or has not acked, late ones included.
    """

    receiver_id: str
    connected: bool
    expected: bool
    wanted: bool
    acked_seq: int | None
    owed: int


class CertifiedForwarder(Answer):
    """The last session of the forwarder, and when anything was heard of it last."""

    connected: bool
    connected_at: Time | None
    ended_at: Time | None
    last_heard_at: Time | None


class EventChange(Answer):
    """What somebody deleted or changed of stored events, other than this server, which does neither: all such
    statements of a kind as one. events: how many; first_seq and last_seq: between which numbers.
    """

    kind: Literal["deleted", "changed"]
    events: int
    first_seq: int
    last_seq: int
    noted_at: Time


class CertifiedPart(Answer):
    """Reads of one epoch of a stream: from_seq up to and without to_seq (null: to its end); rule: what says that they
    are of the race. expected_count: numbers from the first to the last that is known of; missing_ranges: all that are
    not there, [first, last] each; missing_ranges_left_out: how many ranges were too many. late_count: events that
    were stored behind a higher number; retransmit_count: events that came again, of the whole epoch. conflict_count:
    lines that came under a number that another has, open_conflict_count of them acknowledged by nobody. digest and
    blocks: section 13.2 of the documentation of this API.
    """

    stream_id: UUID
    forwarder_id: str
    reader_ip: str
    title: str
    point: str | None
    stream_epoch: int
    epoch_name: str | None
    rule: Rule
    from_seq: int
    to_seq: int | None
    first_seq: int | None
    last_seq: int | None
    read_count: int
    expected_count: int
    missing_count: int
    missing_ranges: list[Numbers]
    missing_ranges_left_out: int
    late_count: int
    retransmit_count: int
    conflict_count: int
    open_conflict_count: int
    unparsed_count: int
    dead_letter_count: int
    changes: list[EventChange]
    receivers: list[CertifiedReceiver]
    forwarder: CertifiedForwarder
    digest: str
    blocks: list[Block]


class Reason(Answer):
    """Why a certificate is incomplete, in words; and of what, where it is of something."""

    code: ReasonCode
    text: str
    stream_id: UUID | None = None
    stream_epoch: int | None = None
    receiver_id: str | None = None
    point: str | None = None


class Signature(Answer):
    """What shows that a certificate is ours, and unchanged. key: which of `GET /api/v1/certificate/key` it is of;
    value: the signature, public_key: the key, both in base64. What is signed: section 13.3 of the documentation of
    this API.
    """

    algorithm: Literal["Ed25519"]
    key: str
    public_key: str
    value: str


class CertificateKey(Answer):
    """A key that signs certificates, or did until it was retired. public_key: in base64."""

    key: str
    public_key: str
    made_at: Time
    retired_at: Time | None


class CertificateKeys(Answer):
    """All keys, the newest first: that one signs."""

    algorithm: Literal["Ed25519"]
    keys: list[CertificateKey]


class Certificate(Answer):
    """What is stored, of one moment, and whether nothing is missing. cannot_know: what nobody here can say."""

    kind: Literal["rt-server certificate"]
    version: int
    issued_at: Time
    server_version: str
    verdict: Literal["complete", "incomplete"]
    race: CertifiedRace | None
    read_count: int
    expected_count: int
    reasons: list[Reason]
    cannot_know: list[str]
    points: list[CertifiedPoint]
    parts: list[CertifiedPart]
    signature: Signature
