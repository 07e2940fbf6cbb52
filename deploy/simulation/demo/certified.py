"""What the server certifies of a race that is over, held to what was sent: the digests of the journals must be its own.

It is asked again for a few seconds while reads wait, or receivers are owed some: an ack takes a moment until it is
written.
"""

import asyncio
import time
from base64 import b64decode
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from api.certificate.digests import digests, root
from api.certificate.signing import is_signed_by
from deploy.simulation.demo.server import Server
from deploy.simulation.devices.journal import Event

__all__ = ["Certified", "Sent", "certified"]

# What was sent of each stream_id, in the order of (epoch, seq).
Sent: TypeAlias = Mapping[str, Callable[[], Iterable[Event]]]

_STREAMS = 50
_WITHIN_S = 5.0
_ASK_EVERY_S = 0.25


@dataclass(frozen=True, slots=True)
class Certified:
    """What was certified; `key` is the name of the key that has signed it."""

    reads: int = 0
    key: str = ""
    problems: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"certificate: complete, {self.reads} reads with the digests of what was sent, signed by {self.key}"


async def certified(server: Server, sent: Sent) -> Certified:
    """Return what the server certifies of streams, held to what was sent of each; ServerError without an answer."""
    keys = await server.certificate_keys()
    asked = [await _certificate(server, ids) for ids in _parted(list(sent))]
    problems = [words for said in asked for words in _problems(said, keys, sent)]
    key = asked[0]["signature"]["key"] if asked else ""
    return Certified(sum(said["read_count"] for said in asked), key, tuple(problems))


def _parted(ids: list[str]) -> list[list[str]]:
    return [ids[begin : begin + _STREAMS] for begin in range(0, len(ids), _STREAMS)]


async def _certificate(server: Server, ids: Sequence[str]) -> dict[str, Any]:
    ends_at = time.monotonic() + _WITHIN_S
    while True:
        said = await server.certificate(ids)
        under_way = any(reason["code"] in ("owed", "waiting") for reason in said["reasons"])
        if not under_way or time.monotonic() > ends_at:
            return said
        await asyncio.sleep(_ASK_EVERY_S)


def _problems(said: Mapping[str, Any], keys: Mapping[str, str], sent: Sent) -> list[str]:
    found = [f"the certificate is incomplete: {reason['text']}" for reason in said["reasons"]]
    signature = said["signature"]
    if not is_signed_by(said, signature["value"], b64decode(keys.get(signature["key"], ""))):
        found.append("the certificate is not signed by a key of the server's")
    for part in said["parts"]:
        of_epoch = (
            (event.seq, event.raw_read_line.encode())
            for event in sent[part["stream_id"]]()
            if event.stream_epoch == part["stream_epoch"]
        )
        if root(digests(of_epoch)).hex() != part["digest"]:
            found.append(f"the certificate of {part['title']} has another digest than what was sent")
    return found
