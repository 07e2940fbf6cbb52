"""What a notice says: short enough for a lock screen, whole enough to act upon. Pure."""

from collections.abc import Sequence
from datetime import datetime, tzinfo
from typing import NamedTuple

from api.notices.planning import Kind

__all__ = ["Line", "Text", "text"]

# Beyond that one looks at the page; services cut what is longer than a few thousand characters.
LINES_AT_MOST = 10
LONGEST_LINE = 200


class Line(NamedTuple):
    """One alert in a notice, in the words that the page has for it."""

    title: str
    reason: str
    advice: str
    since: datetime
    over_at: datetime | None = None


class Text(NamedTuple):
    """A notice as it is sent."""

    title: str
    body: str


def text(kind: Kind, notice_id: int, lines: Sequence[Line], *, zone: tzinfo, page: str = "") -> Text:
    """Write a notice. page: where the dashboard is, if that is known. Its id is in it, by which somebody who gets the
    same twice can tell.
    """
    lines = sorted(lines, key=lambda each: each.since)
    said = [_line(kind, each, zone) for each in lines[:LINES_AT_MOST]]
    if len(lines) > LINES_AT_MOST:
        said.append(f"and {len(lines) - LINES_AT_MOST} more")
    advice = {each.advice for each in lines}
    if kind == "red" and len(advice) == 1:
        said += advice
    said.append(f"{page} (notice {notice_id})" if page else f"rt-server, notice {notice_id}")
    return Text(_title(kind, lines), "\n".join(said))


def _title(kind: Kind, lines: Sequence[Line]) -> str:
    first, more = lines[0], len(lines) - 1
    what = _short(f"{first.title}: {first.reason}") + (f" and {more} more" if more else "")
    return f"{'ACT' if kind == 'red' else 'Over'}: {what}"


def _line(kind: Kind, each: Line, zone: tzinfo) -> str:
    what = _short(f"{each.title}: {each.reason}")
    if kind == "red" or each.over_at is None:
        return f"{what}, since {_time(each.since, zone)}"
    return f"{what}, from {_time(each.since, zone)} to {_time(each.over_at, zone)}"


def _short(words: str) -> str:
    # A line of its own, whatever a device is called: in mail a title is a header.
    words = " ".join("".join(each if each.isprintable() else " " for each in words).split())
    return words if len(words) <= LONGEST_LINE else words[: LONGEST_LINE - 1] + "…"


def _time(at: datetime, zone: tzinfo) -> str:
    return f"{at.astimezone(zone):%H:%M:%S %Z}"
