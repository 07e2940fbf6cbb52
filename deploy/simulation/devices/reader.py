"""A reader at a mat: it says a line for each time it sees a chip, with the habits of real ones.

About 15 % of its lines are byte-identical to an earlier one and 12 % carry a time behind the latest it said
before; some first sightings come marked FS and some last ones LS. It is told what passes and when, so that the
same seed and the same chips give the same lines.
"""

from datetime import datetime, timedelta
from random import Random
from typing import Literal, NamedTuple

from shared.protocol.ipico import compose

__all__ = ["Line", "Reader"]

# Only sightings after a chip's first repeat or fall behind, or a chip could pass unread. They are about two of
# three; so these shares of them make 15 % and 12 % of all lines.
_REPEATS, _BEHIND = 0.225, 0.18
_LAST_SEEN_AMONG_BEHIND = 0.3
_FIRST_SEEN = 0.1
_FURTHEST_BEHIND_S = 1.5
# Reader times are told to the hundredth.
_TICK = timedelta(milliseconds=10)


class Line(NamedTuple):
    """What a reader hands to its forwarder."""

    raw_read_line: str
    reader_timestamp: str
    read_type: str


class Reader:
    """One reader; `reader_id` is two hex digits, `random` the source of its moods."""

    def __init__(self, reader_id: str, random: Random) -> None:
        self._reader_id = reader_id
        self._random = random
        self._latest: tuple[datetime, Line] | None = None
        self._first_seen: dict[str, datetime] = {}

    def see(self, tag_id: str, now: datetime) -> Line:
        """Return the line for the chip `tag_id` at the wall clock `now`, which never goes back."""
        now -= timedelta(microseconds=now.microsecond % 10_000)
        if self._latest is None or tag_id not in self._first_seen:
            self._first_seen[tag_id] = now
            return self._say(tag_id, now, "FS" if self._random.random() < _FIRST_SEEN else "")
        latest_at, latest_line = self._latest
        mood = self._random.random()
        if mood < _REPEATS:
            return latest_line
        if mood >= _REPEATS + _BEHIND:
            return self._say(tag_id, now)
        if self._random.random() < _LAST_SEEN_AMONG_BEHIND:
            return self._say(tag_id, self._first_seen[tag_id], "LS")
        return self._say(tag_id, latest_at - self._random.randint(1, int(_FURTHEST_BEHIND_S * 100)) * _TICK)

    def _say(self, tag_id: str, read_at: datetime, suffix: Literal["", "FS", "LS"] = "") -> Line:
        raw = compose(
            reader_id=self._reader_id,
            tag_id=tag_id,
            read_at=read_at,
            i=self._random.randint(0, 15),
            q=self._random.randint(0, 255),
            suffix=suffix,
        )
        line = Line(raw, read_at.isoformat(timespec="milliseconds"), "fsls" if suffix else "raw")
        if self._latest is None or read_at >= self._latest[0]:
            self._latest = (read_at, line)
        return line
