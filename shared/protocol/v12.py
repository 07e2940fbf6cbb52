"""What receivers of the second generation say and are told, beside what both say (deploy/docs/protocol.md, section 12).

No sockets, no database. A field that we ignore is not declared, so that it is skipped and never built.
"""

from collections.abc import Sequence
from typing import Annotated

import msgspec
import orjson

from shared.protocol.v1 import (
    HIGHEST_SEQ,
    LIST_LENGTH,
    AckEntry,
    CursorSeq,
    Message,
    ReceiverAck,
    ReceiverHello,
    StreamRef,
    Text,
)

__all__ = [
    "EarliestEpoch",
    "FromReceiverV12",
    "Live",
    "Mode",
    "Race",
    "ReceiverHelloV12",
    "ReplayTarget",
    "ResumeCursor",
    "TargetedReplay",
    "encode_mode_applied",
    "names_of",
]

# Receivers put in what they have: an epoch that cannot be is one without events, and refuses nobody.
AnyEpoch = Annotated[int, msgspec.Meta(ge=0, le=HIGHEST_SEQ)]
RealEpoch = Annotated[int, msgspec.Meta(ge=1, le=HIGHEST_SEQ)]


class EarliestEpoch(msgspec.Struct, frozen=True):
    """From which epoch of a stream on a receiver wants it that has nothing of it yet; 0: all."""

    forwarder_id: Text
    reader_ip: Text
    earliest_epoch: AnyEpoch


class ResumeCursor(msgspec.Struct, frozen=True):
    """Everything up to and including last_seq of this epoch is done. Receivers name all that they have ever had."""

    forwarder_id: Text
    reader_ip: Text
    stream_epoch: AnyEpoch
    last_seq: CursorSeq


class ReplayTarget(msgspec.Struct, frozen=True):
    """An epoch of a stream that is to be sent once more, from a sequence number on."""

    forwarder_id: Text
    reader_ip: Text
    stream_epoch: RealEpoch
    from_seq: Annotated[int, msgspec.Meta(ge=0, le=HIGHEST_SEQ)] | None = 1


class Live(msgspec.Struct, tag_field="mode", tag="live"):
    """Some streams, from their floors on."""

    streams: Annotated[list[StreamRef], msgspec.Meta(max_length=LIST_LENGTH)]
    earliest_epochs: Annotated[list[EarliestEpoch], msgspec.Meta(max_length=LIST_LENGTH)] | None = None


class Race(msgspec.Struct, tag_field="mode", tag="race"):
    """What is mapped to a race."""

    race_id: str


class TargetedReplay(msgspec.Struct, tag_field="mode", tag="targeted_replay"):
    """Some epochs once more, and nothing else."""

    targets: Annotated[list[ReplayTarget], msgspec.Meta(max_length=LIST_LENGTH)]


Mode = Live | Race | TargetedReplay


class ReceiverHelloV12(Message, tag="receiver_hello_v12"):
    """The first message of a receiver."""

    mode: Mode
    receiver_id: str = ""
    resume: Annotated[list[ResumeCursor], msgspec.Meta(max_length=LIST_LENGTH)] | None = None


Naming = AckEntry | StreamRef | EarliestEpoch | ReplayTarget | ResumeCursor

# The first generation's hello is known, so that it can be refused.
FromReceiverV12 = ReceiverHelloV12 | ReceiverHello | ReceiverAck


def names_of(message: FromReceiverV12) -> Sequence[Naming]:
    """Return whatever in a message names a stream."""
    if isinstance(message, ReceiverAck):
        return message.entries
    named: list[Naming] = list(message.resume or ())
    mode = message.mode if isinstance(message, ReceiverHelloV12) else None
    if isinstance(mode, Live):
        named += [*mode.streams, *(mode.earliest_epochs or ())]
    elif isinstance(mode, TargetedReplay):
        named += mode.targets
    return named


def encode_mode_applied(summary: str, streams: int, warnings: Sequence[str]) -> bytes:
    """Return what says how a receiver's mode was understood. streams: those of it that exist now."""
    return orjson.dumps(
        {
            "kind": "receiver_mode_applied",
            "mode_summary": summary,
            "resolved_stream_count": streams,
            "warnings": warnings,
        }
    )
