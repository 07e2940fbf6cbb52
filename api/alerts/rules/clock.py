"""A reader's clock is wrong: off by so much, has jumped, or is what no zone explains.

A reader's time has no zone. With one (the setting TIME_ZONE, or what most readers agree on; api/alerts/samples.py) the
offset is known whole: sign, hours and dates. Without one a clock is never called right. What can still be said of it is
what no zone explains: zones are whole quarters of an hour, and none is further than 12 h behind or 14 h ahead of UTC.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Literal, TypeAlias

from api.alerts.conditions import Bound, Condition, Finding
from api.alerts.rule import Rule, each
from api.alerts.stream_facts import ClockFacts, StreamFacts, of_stream, streams

__all__ = ["ACT_MS", "RULE", "STEP_MS", "WATCH_MS", "cleared", "judged", "span"]

WATCH_MS, ACT_MS, STEP_MS = 100, 500, 200
QUARTER_MS = 15 * 60 * 1000
HOUR_MS = 60 * 60 * 1000
ZONES_MS = (-12 * HOUR_MS, 14 * HOUR_MS)
# From here on it is the date that is wrong, whatever the hands show.
DATE_MS = 12 * HOUR_MS

Judgement: TypeAlias = tuple[Literal["watch", "act"], str]


def _finding(facts: StreamFacts) -> Finding:
    # Without its forwarder nothing is known of it: what was so stays on the card, and nobody can mend it from here.
    conditions = (
        [Condition(level, 0, reason) for level, reason in judged(facts.clock)] if facts.online else []
    )
    return of_stream(
        "clock",
        facts,
        conditions,
        "Set the reader's clock, and note when: times read until then are off by as much. Where the zone is not known, "
        "set TIME_ZONE.",
        cleared(facts.clock) if facts.online else "its forwarder is gone",
        outlives_epoch=True,
    )


def judged(clock: ClockFacts) -> Iterator[Judgement]:
    """Yield what is wrong with it, and how bad that is."""
    wrong: Judgement | None = None
    if clock.offset_ms is not None:
        wrong = _off_by(clock.offset_ms, clock.shows)
    elif clock.ahead_ms is not None:
        wrong = _without_zone(clock.ahead_ms, clock.shows)
    if abs(clock.step_ms) > STEP_MS:
        jumped = f"the reader's clock has just jumped {'forward' if clock.step_ms > 0 else 'back'} by"
        yield "act", f"{jumped} {span(clock.step_ms)}{'' if wrong is None else f'; {wrong[1]}'}"
    if wrong is not None:
        yield wrong


def cleared(clock: ClockFacts) -> str:
    """Return what is so when nothing is wrong: right is said only of what is known."""
    if clock.offset_ms is not None:
        return "the reader's clock is right"
    return "no live read has told the time" if clock.ahead_ms is None else "zone unknown"


def _off_by(offset_ms: int, shows: datetime | None) -> Judgement | None:
    date = _date(shows) if abs(offset_ms) >= DATE_MS else ""
    return _levelled(
        offset_ms, f"the reader's clock is {span(offset_ms)} {'ahead' if offset_ms > 0 else 'behind'}{date}"
    )


def _without_zone(ahead_ms: int, shows: datetime | None) -> Judgement | None:
    if not ZONES_MS[0] - QUARTER_MS / 2 <= ahead_ms <= ZONES_MS[1] + QUARTER_MS / 2:
        return "act", f"the reader's date is wrong{_date(shows)}"
    least = ahead_ms - round(ahead_ms / QUARTER_MS) * QUARTER_MS
    return _levelled(
        least,
        f"the reader's clock is off by {span(least)} at least; zone unknown, so which way is not known",
    )


def _levelled(off_ms: int, reason: str) -> Judgement | None:
    if abs(off_ms) < WATCH_MS:
        return None
    return ("act" if abs(off_ms) >= ACT_MS else "watch"), reason


def _date(shows: datetime | None) -> str:
    return "" if shows is None else f": it says {shows.day} {shows:%B %Y}"


def span(ms: int) -> str:
    """Return a length of time in the unit that people would use: 0.4 s, 8 min, 1 h 15 min, 30 days."""
    size = abs(ms)
    if size < 100_000:
        return f"{size / 1000:.1f} s"
    minutes = round(size / 60_000)
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 24 * 60:
        return f"{minutes // 60} h" + (f" {minutes % 60} min" if minutes % 60 else "")
    days = round(minutes / (24 * 60))
    return f"{days} day{'' if days == 1 else 's'}"


RULE = Rule(
    signal="clock",
    condition="its clock",
    order=60,
    bound=Bound.holding(0, 0),
    source=streams,
    # Of a clock whose zone is not known the rule itself decides: it may be what no zone explains.
    wanted=f"now.online AND coalesce(abs(sample.clock_offset_ms) >= {WATCH_MS} OR sample.clock_step_ms <> 0, "
    "sample.clock_ahead_ms IS NOT NULL)",
    findings=each(_finding),
    actions=("open_stream",),
    coalesces=True,
)
