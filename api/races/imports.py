"""The two files of a race, `.ppl` (people) and `.bibchip` (chips): bytes in, rows or what is wrong with them out.

Neither knows quotes or escapes: every comma separates, so nothing in a file can make the rest of it mean something
else. A file is taken whole or not at all; what is wrong is said by line, and what is only odd is a warning. Pure: no
database, no clock. A large file takes tenths of a second, so whoever has an event loop calls from a thread.
"""

import codecs
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeAlias, TypeVar

__all__ = [
    "MOST_CHIPS",
    "MOST_PARTICIPANTS",
    "BadRow",
    "Chip",
    "FileRefused",
    "Parsed",
    "Participant",
    "Reason",
    "TooManyRows",
    "Warned",
    "parse_chips",
    "parse_participants",
]

MOST_PARTICIPANTS = 50_000
MOST_CHIPS = 100_000
HIGHEST_BIB = 2**31 - 1
LONGEST_TEXT = 255
# Of what is wrong or odd the first so many are named; all are counted.
BAD_ROWS = 20
WARNINGS = 100
LONGEST_QUOTE = 80

# White space as Unicode has it. str.strip() without it would take four control characters more.
_WHITE = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
# Zeros before it do not make a number longer; more digits than ten are beyond HIGHEST_BIB in any case.
_BIB = re.compile(r"\+?0*([0-9]{1,10})", re.ASCII)
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
# Windows-1252 as browsers have it: five bytes that it leaves open are the control characters of the same number.
_WINDOWS_1252 = "".join(bytes([each]).decode("cp1252", "ignore") or chr(each) for each in range(256))

Reason: TypeAlias = str
Row = TypeVar("Row")


class FileRefused(Exception):
    """The file is no such file; the text says why."""


class TooManyRows(FileRefused):
    """The file holds more than one race may have."""


class Participant(NamedTuple):
    """A person of a race, in the order of the table's columns."""

    bib: int
    first_name: str
    last_name: str
    affiliation: str | None
    gender: str


class Chip(NamedTuple):
    """A chip that somebody wears; of several bibs of one chip the first in the file owns it."""

    chip_id: str
    bib: int
    line: int
    is_owner: bool


class BadRow(NamedTuple):
    """A line that cannot be taken. reason: a word for programs; message: for people; text: the line, cut."""

    line: int
    reason: Reason
    message: str
    text: str


class Warned(NamedTuple):
    """A line that was taken, or left out, otherwise than whoever wrote it may think."""

    line: int
    message: str


@dataclass(slots=True)
class Parsed(Generic[Row]):
    """What a file holds. skipped: lines that are no rows; duplicates: rows that say again what one before has said.
    bad and warnings are the first of those that there are; none of it is stored where bad_count is not 0.
    """

    rows: list[Row] = field(default_factory=list)
    skipped: int = 0
    duplicates: int = 0
    warnings: list[Warned] = field(default_factory=list)
    bad: list[BadRow] = field(default_factory=list)
    bad_count: int = 0

    def warn(self, line: int, message: str) -> None:
        """Keep a warning, if there is room for one more."""
        if len(self.warnings) < WARNINGS:
            self.warnings.append(Warned(line, message))

    def refuse(self, line: int, text: str, wrong: "_Wrong") -> None:
        """Count a bad row, and keep it, if there is room for one more."""
        self.bad_count += 1
        if len(self.bad) < BAD_ROWS:
            self.bad.append(BadRow(line, wrong.reason, str(wrong), text[:LONGEST_QUOTE]))


class _Wrong(Exception):
    """A line cannot be taken."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def parse_participants(content: bytes) -> Parsed[Participant]:
    """Return the people of a `.ppl` file. FileRefused when it is none, or empty."""
    parsed: Parsed[Participant] = Parsed()
    first_line: dict[int, int] = {}

    def take(number: int, line: str) -> None:
        if not line or line.startswith(";"):
            parsed.skipped += 1
            return
        row = _participant(line.split(","))
        if row.bib in first_line:
            parsed.duplicates += 1
            parsed.warn(number, f"bib {row.bib} is that of line {first_line[row.bib]} already: left out")
            return
        first_line[row.bib] = number
        parsed.rows.append(row)

    return _parse(content, parsed, take, most=MOST_PARTICIPANTS, called="participants")


def parse_chips(content: bytes) -> Parsed[Chip]:
    """Return the chips of a `.bibchip` file. FileRefused when it is none, or empty."""
    parsed: Parsed[Chip] = Parsed()
    owners: dict[str, int] = {}
    seen: set[tuple[str, int]] = set()

    def take(number: int, line: str) -> None:
        # A header, a comment, a quoted or a negative number.
        if not ("0" <= line[:1] <= "9"):
            parsed.skipped += 1
            return
        bib, chip_id = _chip(line.split(","))
        if (chip_id, bib) in seen:
            parsed.duplicates += 1
            return
        seen.add((chip_id, bib))
        owner = owners.setdefault(chip_id, bib)
        if owner != bib:
            parsed.warn(number, f"chip {chip_id} is bib {owner}'s already: its reads stay {owner}'s")
        parsed.rows.append(Chip(chip_id, bib, number, owner == bib))

    return _parse(content, parsed, take, most=MOST_CHIPS, called="chips")


def _parse(
    content: bytes, parsed: Parsed[Row], take: Callable[[int, str], None], *, most: int, called: str
) -> Parsed[Row]:
    for number, line in enumerate(_lines(_decoded(content)), 1):
        try:
            take(number, line)
        except _Wrong as wrong:
            parsed.refuse(number, line, wrong)
        # What is bad counts too, so that no file keeps a thread busy for long.
        if len(parsed.rows) + parsed.bad_count > most:
            raise TooManyRows(f"the file has more than {most:,} {called}, which is the most of a race")
    if not parsed.rows and not parsed.bad_count:
        raise FileRefused(f"the file has no {called}: nothing was changed (an import cannot empty a race)")
    return parsed


def _decoded(content: bytes) -> str:
    if content.startswith(_UTF_16):
        raise FileRefused("the file is in UTF-16; save it as UTF-8, and import it again")
    # Before either is tried: a file may begin as UTF-8 and have one name in it that is none.
    content = content.removeprefix(codecs.BOM_UTF8)
    try:
        return content.decode()
    except UnicodeDecodeError:
        return codecs.charmap_decode(content, "strict", _WINDOWS_1252)[0]


def _lines(text: str) -> Iterator[str]:
    """Yield the lines, trimmed, one after the other: of ten million empty ones no list is made."""
    start = 0
    while start <= len(text):
        end = text.find("\n", start)
        end = len(text) if end < 0 else end
        if end > start or end < len(text):
            yield text[start:end].strip(_WHITE)
        start = end + 1


def _participant(columns: list[str]) -> Participant:
    if len(columns) < 3:
        raise _Wrong("columns", "fewer than 3 columns (bib, last name, first name)")
    bib = _bib(columns[0])
    last, first = _text(columns[1], "last name"), _text(columns[2], "first name")
    affiliation = _text(columns[3], "affiliation") if len(columns) > 3 else ""
    gender = columns[5].strip(_WHITE).upper() if len(columns) > 5 else ""
    return Participant(bib, first, last, affiliation or None, gender if gender in ("M", "F") else "X")


def _chip(columns: list[str]) -> tuple[int, str]:
    if len(columns) < 2:
        raise _Wrong("columns", "fewer than 2 columns (bib, chip)")
    bib = _bib(columns[0])
    chip_id = _text(columns[1], "chip").lower()
    if not chip_id:
        raise _Wrong("chip", "the chip is empty")
    return bib, chip_id


def _bib(column: str) -> int:
    digits = _BIB.fullmatch(column.strip(_WHITE))
    if digits is None or int(digits[1]) > HIGHEST_BIB:
        quoted = column.strip(_WHITE)[:LONGEST_QUOTE]
        raise _Wrong("bib", f"bib '{quoted}' is no whole number from 0 to {HIGHEST_BIB}")
    return int(digits[1])


def _text(column: str, called: str) -> str:
    text = column.strip(_WHITE)
    if len(text) > LONGEST_TEXT:
        raise _Wrong("length", f"the {called} is longer than {LONGEST_TEXT} characters")
    if "\0" in text:
        raise _Wrong("nul", f"the {called} holds a NUL character")
    return text
