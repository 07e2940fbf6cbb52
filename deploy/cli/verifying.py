"""Whether a certificate is what a server has signed, and whether exports are what it certifies. Needs no server and
no network: the file says all of it, and what a digest is and what is signed is in api/certificate/.
"""

import csv
import struct
from base64 import b64decode
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from api.certificate.digests import BLOCK_EVENTS, block_of, digests, root
from api.certificate.signing import ALGORITHM, is_signed_by, key_name
from shared.errors import RtServerError

__all__ = ["Check", "Export", "certificate_in", "check_exports", "check_itself", "keys_in", "words"]

_LINES = ("raw_read_line", "raw_frame")
# A line has 64 KiB at the most; within a cell quotes are doubled.
_LONGEST_CELL = 1 << 20
_KEY_BYTES = 32


class Check(NamedTuple):
    """Something that holds, or does not, or was not looked at (None); and in words."""

    holds: bool | None
    says: str


class Part(NamedTuple):
    """What of a certificate is compared with exports."""

    stream_id: str
    title: str
    epoch: int
    from_seq: int
    to_seq: int | None
    read_count: int
    digest: str
    blocks: dict[int, str]

    @property
    def name(self) -> str:
        """How people call it."""
        return f"{self.title}, epoch {self.epoch}"


def certificate_in(path: Path) -> dict[str, Any]:
    """Return the certificate of a file; RtServerError where there is none in it."""
    try:
        said = orjson.loads(path.read_bytes())
        if said["kind"] != "rt-server certificate" or said["version"] != 1:
            raise RtServerError(f"{path} is a certificate of another version than this rt-server knows")
        _check_shape(said)
        return dict(said)
    except OSError as error:
        raise RtServerError(f"cannot read {path}: {error.strerror}") from error
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, struct.error) as error:
        raise RtServerError(
            f"{path} is no certificate: give what `GET /api/v1/certificate` has answered, unchanged"
        ) from error


def _check_shape(said: Mapping[str, Any]) -> None:
    """KeyError, TypeError or ValueError where something is not there that is looked at later."""
    words(said)
    signature = said["signature"]
    b64decode(signature["value"], validate=True)
    if len(b64decode(signature["public_key"], validate=True)) != _KEY_BYTES or not signature["algorithm"]:
        raise ValueError("no key")
    for part in _parts(said):
        for block, digest in part.blocks.items():
            root([(block, bytes.fromhex(digest))])


def keys_in(given: str) -> dict[str, str | None]:
    """Return the names of keys that are trusted, each with when it was retired: of a file as `GET
    /api/v1/certificate/key` answers it, or the one name that was given.
    """
    path = Path(given)
    if not path.exists():
        return {given.lower(): None}
    try:
        return {each["key"]: each["retired_at"] for each in orjson.loads(path.read_bytes())["keys"]}
    except (OSError, orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise RtServerError(
            f"{path} holds no keys: give what `GET /api/v1/certificate/key` has answered"
        ) from error


def words(said: Mapping[str, Any]) -> str:
    """Return what a certificate says, for people."""
    of = said["race"]["name"] if said["race"] else "epochs of streams"
    counts = f"{said['read_count']:,} of {said['expected_count']:,} reads"
    lines = [f"{said['verdict']}: {of}, {counts}, as of {said['issued_at']}"]
    lines += [f"  {reason['text']}" for reason in said["reasons"]]
    lines += [f"  {part.name}: {part.read_count:,} reads, digest {part.digest}" for part in _parts(said)]
    return "\n".join(lines)


def check_itself(said: Mapping[str, Any], trusted: Mapping[str, str | None] | None) -> Iterator[Check]:
    """Yield whether a certificate is signed, by a key that is trusted, and whether its digests are of its blocks."""
    signature = said["signature"]
    public_key = b64decode(signature["public_key"])
    name = key_name(public_key)
    holds = signature["algorithm"] == ALGORITHM and is_signed_by(said, signature["value"], public_key)
    yield Check(holds, f"signed by the key {name}" if holds else "the signature is not of this certificate")
    if trusted is None:
        # With a key of his own anybody signs what he likes.
        yield Check(None, "whose key that is was not looked at: give --key")
    else:
        yield _trusted(name, said["issued_at"], trusted)
    for part in _parts(said):
        made = root((block, bytes.fromhex(digest)) for block, digest in sorted(part.blocks.items()))
        if made.hex() != part.digest:
            yield Check(False, f"{part.name}: its digest is not that of its blocks")


def _trusted(name: str, issued_at: str, trusted: Mapping[str, str | None]) -> Check:
    if name not in trusted:
        return Check(False, f"{name} is not a key that is trusted")
    retired_at = trusted[name]
    if retired_at is None:
        return Check(True, f"{name} is trusted")
    # Both as the server writes times, in UTC.
    if issued_at > retired_at:
        return Check(False, f"{name} was retired at {retired_at}, before this was issued")
    return Check(True, f"{name} is trusted; it was retired at {retired_at}, after this was issued")


def check_exports(said: Mapping[str, Any], exports: Sequence["Export"]) -> Iterator[Check]:
    """Yield of each epoch of each export whether it is what is certified, and what of it all is in no export."""
    of_epoch: dict[int, list[Part]] = defaultdict(list)
    for part in _parts(said):
        of_epoch[part.epoch].append(part)
    found: list[Part] = []
    for export in exports:
        for epoch, blocks in export.epochs(of_epoch):
            same, differing = _compared(blocks, of_epoch[epoch])
            found += same + differing
            for part in same:
                yield Check(True, f"{export.path}: {part.read_count:,} reads of {part.name}")
            for part in differing:
                yield Check(False, f"{export.path}: {part.name} differs{_where(blocks[_range(part)], part)}")
    for part in _parts(said):
        if part.read_count and part not in found:
            yield Check(False, f"{part.name}: it is in no export that was given")


def _parts(said: Mapping[str, Any]) -> list[Part]:
    return [
        Part(
            each["stream_id"],
            each["title"],
            each["stream_epoch"],
            each["from_seq"],
            each["to_seq"],
            each["read_count"],
            each["digest"],
            dict(each["blocks"]),
        )
        for each in said["parts"]
    ]


# Numbers from one up to and without another.
Bounds = tuple[int, int | None]


def _range(part: Part) -> Bounds:
    return part.from_seq, part.to_seq


def _compared(
    blocks: Mapping[Bounds, dict[int, str]], parts: Sequence[Part]
) -> tuple[list[Part], list[Part]]:
    """Return which parts an export's epoch is the same as, and from which it differs. It names no stream: it is of
    that which has most of its blocks, and must then be the same as all parts of that.
    """
    alike: dict[str, int] = defaultdict(int)
    for part in parts:
        alike[part.stream_id] += len(part.blocks.items() & blocks[_range(part)].items())
    of = max(alike, key=lambda stream_id: alike[stream_id])
    ours = [part for part in parts if part.stream_id == of]
    same = [part for part in ours if part.blocks == blocks[_range(part)]]
    return same, [part for part in ours if part not in same]


def _where(blocks: Mapping[int, str], part: Part) -> str:
    """Return between which numbers an export differs from what is certified."""
    others = sorted({block for block, _ in blocks.items() ^ part.blocks.items()})
    said = ", ".join(f"{b * BLOCK_EVENTS + 1:,} to {(b + 1) * BLOCK_EVENTS:,}" for b in others[:5])
    return f" in the numbers {said}" + (f" and {len(others) - 5:,} more blocks" if len(others) > 5 else "")


class Export:
    """An export of a stream or of one of its epochs, as CSV; read once, a line at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def epochs(
        self, parts: Mapping[int, Sequence[Part]]
    ) -> Iterator[tuple[int, dict[Bounds, dict[int, str]]]]:
        """Yield each epoch that is certified, with the digests of its blocks within the bounds of each part."""
        csv.field_size_limit(_LONGEST_CELL)
        try:
            # Bytes as they are: a line may hold any.
            with self.path.open(encoding="latin-1", newline="") as file:
                for epoch, events in groupby(self._events(csv.reader(file)), lambda event: event[0]):
                    if of_epoch := parts.get(epoch):
                        yield epoch, _blocks({_range(part) for part in of_epoch}, events)
        except OSError as error:
            raise RtServerError(f"cannot read {self.path}: {error.strerror}") from error
        except (csv.Error, ValueError, IndexError) as error:
            raise RtServerError(f"{self.path} is no export as CSV, from some line on: {error}") from error

    def _events(self, rows: Iterator[list[str]]) -> Iterator[tuple[int, int, bytes]]:
        header = next(rows, [])
        line = next((header.index(name) for name in _LINES if name in header), None)
        if line is None or header[:2] != ["stream_epoch", "seq"]:
            raise RtServerError(
                f"{self.path} is no export of a stream or an epoch as CSV: it begins with no such columns"
            )
        for row in rows:
            yield int(row[0]), int(row[1]), row[line].encode("latin-1")


def _blocks(bounds: set[Bounds], events: Iterator[tuple[int, int, bytes]]) -> dict[Bounds, dict[int, str]]:
    """Return the digests of the blocks of an epoch, whose events come by their numbers, within each of some
    bounds.
    """
    found: dict[Bounds, dict[int, str]] = {each: {} for each in bounds}
    for _block, of_block in groupby(events, lambda event: block_of(event[1])):
        lines = [(seq, line) for _, seq, line in of_block]
        for first, end in bounds:
            within = [event for event in lines if first <= event[0] and (end is None or event[0] < end)]
            found[first, end] |= {each: digest.hex() for each, digest in digests(within)}
    return found
