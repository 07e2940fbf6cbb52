"""The IPICO read line: what one line of a reader says, and lines that say something.

`parse` annotates and never gates: whatever text comes, it returns what the line holds or the one reason why
it is no read, and never raises. `compose` is its inverse, for those who play a reader. Nothing here knows of
streams, devices or storage: a line that does not parse is as good as any other to everything else.
"""

from binascii import unhexlify
from collections.abc import Sequence
from datetime import date, datetime
from functools import lru_cache
from typing import Literal, get_args

import msgspec

__all__ = ["ParseError", "Parsed", "Sighting", "annotate", "annotate_frame", "compose", "parse"]

Sighting = Literal["first", "last"]
ParseError = Literal["empty", "length", "prefix", "hex", "lrc", "suffix", "date", "time", "hundredths"]

# Where the LRC stands by the length of the line: bare, with a suffix, with index, page, status, with both.
_LRC_AT = {36: 34, 38: 34, 42: 40, 44: 40}
_SUFFIXED = (38, 44)
_WITH_STATUS = (42, 44)
_SUFFIXES: dict[bytes, Sighting] = {b"FS": "first", b"LS": "last"}
_FIRST_BIT, _LAST_BIT, _NO_STATUS = 0x80, 0x40, 0xFF

# Two decimal digits by the octet they make as hex: 0x59 is 59, and 0x5a is a number too large for any year,
# month, day or clock. A list is the fastest look-up.
_NO_DECIMAL = 10_000
_DECIMAL = [int(pair) if (pair := f"{n:02x}").isdigit() else _NO_DECIMAL for n in range(256)]
# Live reads share a day, a season's backlogs a few dozen; the bound is for clocks that lie.
_DAYS_CACHED = 512


class Parsed(msgspec.Struct, frozen=True, gc=False):
    """What a line says. With a `parse_error` everything else is None, without one only `sighting` may be.

    `reader_id` and `tag_id` are 2 and 12 lower-case hex digits, `i` and `q` the channel counters 0..255,
    `read_at` the reader's local wall clock to the hundredth, without zone. A last sighting carries the time
    of the first one.
    """

    reader_id: str | None = None
    tag_id: str | None = None
    i: int | None = None
    q: int | None = None
    read_at: datetime | None = None
    sighting: Sighting | None = None
    parse_error: ParseError | None = None


class _NoReadError(Exception):
    """Carries the ParseError from the check that failed."""

    def __init__(self, reason: ParseError) -> None:
        super().__init__(reason)
        self.reason: ParseError = reason


_FAILED: dict[str, Parsed] = {reason: Parsed(parse_error=reason) for reason in get_args(ParseError)}


def parse(raw: str) -> Parsed:
    """Return what the first word of `raw` says as a read line, or the first reason why it is none."""
    try:
        line, octets = _frame(raw.encode("ascii", "replace"))
        return Parsed(
            octets[:1].hex(),
            octets[1:7].hex(),
            octets[7],
            octets[8],
            _wall_clock(octets),
            _sighting(line, octets) if len(line) > 36 else None,
        )
    except _NoReadError as failed:
        return _FAILED[failed.reason]


def annotate(raw: str) -> tuple[str | None, datetime | None, ParseError | None]:
    """Return (tag_id, read_at, parse_error) of `raw`: what is stored beside a line."""
    try:
        _, octets = _frame(raw.encode("ascii", "replace"))
        return octets[1:7].hex(), _wall_clock(octets), None
    except _NoReadError as failed:
        return None, None, failed.reason


def annotate_frame(raw: bytes) -> tuple[str | None, datetime | None, ParseError | None]:
    """Return the same of a line that came as bytes, whatever they are."""
    try:
        _, octets = _frame(raw if raw.isascii() else raw.decode(errors="replace").encode("ascii", "replace"))
        return octets[1:7].hex(), _wall_clock(octets), None
    except _NoReadError as failed:
        return None, None, failed.reason


def compose(
    *,
    reader_id: str,
    tag_id: str,
    read_at: datetime,
    i: int = 0,
    q: int = 1,
    trailer: Sequence[int] = (),
    suffix: Literal["", "FS", "LS"] = "",
) -> str:
    """Return the line of one read: 36 characters, 6 more with a `trailer` of (index, page, status).

    `read_at` is cut to the hundredth. ValueError when the values make no valid line that says the same, such
    as a year outside 2000..2099.
    """
    body = f"{reader_id}{tag_id}{i:02x}{q:02x}{read_at:%y%m%d%H%M%S}{read_at.microsecond // 10_000:02x}"
    body += bytes(trailer).hex()
    line = f"aa{body}{sum(body.encode()) & 0xFF:02x}{suffix}"
    read = parse(line)
    if read.read_at is None or read.read_at.year != read_at.year:
        raise ValueError(f"no read line: {line!r} ({read.parse_error or 'year'})")
    return line


def _frame(raw: bytes) -> tuple[bytes, bytes]:
    """The line as characters, and the octets that its hex digits from the reader id to the LRC stand for.

    raw: ASCII. Characters outside of it became "?", one for one: a digit of another script never passes for one of
    ours, and the words are split at ASCII blanks only.
    """
    words = raw.split(None, 1)
    if not words:
        raise _NoReadError("empty")
    line = words[0]
    lrc_at = _LRC_AT.get(len(line))
    if lrc_at is None:
        raise _NoReadError("length")
    if line[:2] != b"aa":
        raise _NoReadError("prefix")
    try:
        octets = unhexlify(line[2 : lrc_at + 2])
    except ValueError:
        raise _NoReadError("hex") from None
    if sum(line[2:lrc_at]) & 0xFF != octets[-1]:
        raise _NoReadError("lrc")
    if len(line) in _SUFFIXED and line[-2:] not in _SUFFIXES:
        raise _NoReadError("suffix")
    return line, octets


def _wall_clock(octets: bytes) -> datetime:
    year, month, day = _day(octets[9:12])
    hour, minute, second = _DECIMAL[octets[12]], _DECIMAL[octets[13]], _DECIMAL[octets[14]]
    if hour > 23 or minute > 59 or second > 59:
        raise _NoReadError("time")
    if octets[15] > 99:
        raise _NoReadError("hundredths")
    return datetime(year, month, day, hour, minute, second, octets[15] * 10_000)  # noqa: DTZ001 - has no zone


@lru_cache(maxsize=_DAYS_CACHED)
def _day(octets: bytes) -> tuple[int, int, int]:
    """The year, month and day that YYMMDD names: a real day of the calendar."""
    try:
        day = date(2000 + _DECIMAL[octets[0]], _DECIMAL[octets[1]], _DECIMAL[octets[2]])
    except ValueError:
        raise _NoReadError("date") from None
    return day.year, day.month, day.day


def _sighting(line: bytes, octets: bytes) -> Sighting | None:
    """What the suffix says, else the status byte; "first" should a status claim both."""
    if len(line) in _SUFFIXED:
        return _SUFFIXES[line[-2:]]
    status = octets[-2]
    if status == _NO_STATUS:
        return None
    return "first" if status & _FIRST_BIT else "last" if status & _LAST_BIT else None
