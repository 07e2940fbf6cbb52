"""A reader's memory against what we have: lines as multisets, counted by the minute of the reader's clock.

Byte-identical lines are legal (15 % of real ones), so a line is there as often as it is there, on both sides. What is
compared is the word that a read line is (protocol.md, section 3): `aa...`, as long as a read is at least, whatever it
says or fails to say, without what stands around it: what ends the line, or what a log wrote before it. Lines that have
no time, because they do not parse, are one group. Banner text, control frames and what was cut off short are passed
over, of ours as of the file.

Memory: the file, its different lines, each once with a number, and numbers of the minutes; nothing of ours is kept. A
line of ours takes one of the same in the file away, or is only ours. Pure: no database, no clock. A large file takes a
second, so whoever has an event loop calls from a thread.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple, TypeAlias

from shared.protocol.ipico import annotate_frame

__all__ = ["MOST_LINES", "Comparison", "Counts", "FileRefused", "Minute", "Surplus", "read_line"]

# As many whole reads as a file of 20 MiB can hold, and less than 150 MB of memory.
MOST_LINES = 600_000
# No read line is shorter, or has 50 characters; what is longer is none that a reader was damaged in.
SHORTEST_LINE = 36
LONGEST_LINE = 255
# Numbers are kept for so many minutes: 34 days without a pause.
MOST_MINUTES = 50_000

_LINES = re.compile(rb"[^\r\n]+")
# A word of that many bytes; NUL, with which a reader may fill what it saves, is no part of one.
_READ = re.compile(rb"(?<![^\s\0])aa[^\s\0]{%d,%d}(?![^\s\0])" % (SHORTEST_LINE - 2, LONGEST_LINE - 2))

Minute: TypeAlias = datetime | None  # of the reader's wall clock; None: of lines that do not say it


class FileRefused(Exception):
    """The file is no reader's memory; the text says why."""


@dataclass(slots=True)
class Counts:
    """How many lines the file has, we have, both have: only_in_file = file - both, only_with_us = ours - both."""

    file: int = 0
    ours: int = 0
    both: int = 0


class Surplus(NamedTuple):
    """A line that the file has so many times more often than we."""

    line: bytes
    copies: int
    read_at: datetime | None


def read_line(raw: bytes) -> bytes | None:
    """Return the read line that stands in a line; None where there is none, as in banner text."""
    found = _READ.search(raw)
    return found and found[0]


class Comparison:
    """A file, and of what we have so far: what is missing of it, and how many there are of each minute."""

    def __init__(self, content: bytes) -> None:
        """FileRefused when it holds no read, or more than a memory can."""
        self.total = Counts()
        self.passed_over = 0  # lines of the file that are none of a read
        self.without_time = 0  # lines of the file
        self._minutes: dict[Minute, Counts] = {}
        self.first: datetime | None = None
        self.last: datetime | None = None
        self._left: dict[bytes, int] = {}  # in the order of the file; what we have not
        self._content = content.removeprefix(b"\xef\xbb\xbf")
        self._take_file()

    def _take_file(self) -> None:
        for found in _LINES.finditer(self._content):
            line = read_line(found[0])
            if line is None:
                self.passed_over += bool(found[0].strip(b"\0 \t\f\v"))
                continue
            self._left[line] = self._left.get(line, 0) + 1
            if len(self._left) > MOST_LINES:
                raise FileRefused(
                    f"the file has more than {MOST_LINES:,} different lines: it is no reader's memory"
                )
        if not self._left:
            raise FileRefused(
                "the file has no read in it: lines of a reader begin with aa, and have 36 characters or more"
            )
        for line, copies in self._left.items():
            read_at = annotate_frame(line)[1]
            self._note_file(read_at, copies)

    def _note_file(self, read_at: datetime | None, copies: int) -> None:
        self.total.file += copies
        if read_at is None:
            self.without_time += copies
        else:
            self.first = read_at if self.first is None else min(self.first, read_at)
            self.last = read_at if self.last is None else max(self.last, read_at)
        if (counts := self._of_minute(read_at)) is not None:
            counts.file += copies

    def _of_minute(self, read_at: datetime | None) -> Counts | None:
        """Return the counts of a minute; None where there are too many minutes to keep."""
        minute = None if read_at is None else read_at.replace(second=0, microsecond=0)
        if minute not in self._minutes and len(self._minutes) >= MOST_MINUTES:
            return None
        return self._minutes.setdefault(minute, Counts())

    @property
    def span(self) -> tuple[datetime, datetime] | None:
        """The minutes of which the file says anything, from their beginning up to and without their end."""
        if self.first is None or self.last is None:
            return None
        since = self.first.replace(second=0, microsecond=0)
        # The last year that a line can name is 2099: no calendar ends here.
        return since, self.last.replace(second=0, microsecond=0) + timedelta(minutes=1)

    def take_ours(self, stored: Iterable[tuple[bytes, datetime | None]]) -> None:
        """Count lines that we have, as they are stored, with the time that each says: each line once, in any order."""
        for raw, read_at in stored:
            line = read_line(raw)
            if line is None:
                continue
            left = self._left.get(line, 0)
            if left:
                self._left[line] = left - 1
            for counts in (self.total, self._of_minute(read_at)):
                if counts is not None:
                    counts.ours += 1
                    counts.both += left > 0

    def take_waiting(self, lines: Iterable[bytes]) -> None:
        """Count lines that we have and that nobody has looked into yet, as far as they are of the file's time."""
        said = ((line, annotate_frame(line)[1]) for line in lines)
        self.take_ours(each for each in said if self._is_within(each[1]))

    def _is_within(self, read_at: datetime | None) -> bool:
        span = self.span
        return read_at is None or (span is not None and span[0] <= read_at < span[1])

    def missing(self) -> list[bytes]:
        """Return what only the file has, in its order, each copy where it stands: of several that are there more often
        than with us the first.
        """
        left = {line: copies for line, copies in self._left.items() if copies}
        missing = []
        for found in _LINES.finditer(self._content):
            line = read_line(found[0])
            if line is not None and left.get(line):
                left[line] -= 1
                missing.append(line)
        return missing

    def surplus(self) -> Iterator[Surplus]:
        """Yield what only the file has, each line once, in the order in which it comes first."""
        for line, copies in self._left.items():
            if copies:
                yield Surplus(line, copies, annotate_frame(line)[1])

    @property
    def minute_count(self) -> int:
        """Return of how many minutes there are counts."""
        return len(self._minutes)

    def minutes(self) -> list[tuple[Minute, Counts]]:
        """Return the minutes in their order, with what each has; lines without a time come last."""
        said = sorted((minute, counts) for minute, counts in self._minutes.items() if minute is not None)
        without = self._minutes.get(None)
        return [*said, *([(None, without)] if without is not None else [])]
