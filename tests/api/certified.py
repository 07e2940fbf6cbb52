"""What tests of certificates store and ask for."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from tests.api.seeds import Database
from tests.writer.inbox import drain, event, put

__all__ = ["LINES", "codes", "digest_of", "one_part", "path_of", "said", "store"]

# Three blocks, and a part of a fourth.
LINES = {seq: f"line {seq}" for seq in range(1, 3_211)}


async def store(
    database: Database,
    stream_id: UUID,
    lines: Mapping[int, str | bytes] | Iterable[int],
    *,
    forwarder_id: str = "f",
    epoch: int = 1,
) -> None:
    """Store reads as a writer does, in the order in which they are given; they say their number where nothing else is
    given.
    """
    given = lines if isinstance(lines, Mapping) else {seq: f"line {seq}" for seq in lines}
    events = [event(seq, line, epoch=epoch) for seq, line in given.items()]
    await put(database, stream_id, events, forwarder_id=forwarder_id)
    while True:
        drained = await drain(database)
        if drained is None or not drained.left:
            return


def path_of(stream_id: UUID, *epochs: int) -> str:
    """Return where a certificate of epochs of a stream is, of all that it has where none is given."""
    of = f"&epoch={','.join(map(str, epochs))}" if epochs else ""
    return f"/api/v1/certificate?stream_id={stream_id}{of}"


def one_part(certificate: Mapping[str, Any]) -> dict[str, Any]:
    """Return the only part of a certificate."""
    (part,) = certificate["parts"]
    return dict(part)


def codes(certificate: Mapping[str, Any]) -> list[str]:
    """Return why a certificate is incomplete, in short."""
    return [each["code"] for each in certificate["reasons"]]


def said(certificate: Mapping[str, Any], code: str) -> str:
    """Return what is said of the only reason of a kind."""
    (text,) = [each["text"] for each in certificate["reasons"] if each["code"] == code]
    return str(text)


def digest_of(lines: Mapping[int, bytes]) -> str:
    """Return the digest of lines by their numbers, as it is written down, step by step."""
    blocks: dict[int, bytes] = {}
    for seq in sorted(lines):
        said = seq.to_bytes(8, "big") + len(lines[seq]).to_bytes(4, "big") + lines[seq]
        blocks[(seq - 1) // 1000] = blocks.get((seq - 1) // 1000, b"") + said
    whole = b"".join(
        block.to_bytes(8, "big") + hashlib.sha256(said).digest() for block, said in sorted(blocks.items())
    )
    return hashlib.sha256(whole).hexdigest()
