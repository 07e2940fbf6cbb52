"""A reader's clock is wrong: off by so much, was set, is what no zone explains, or drifts and will soon be far off.

A reader's time has no zone. With one (the setting TIME_ZONE, its forwarder's own, or what most readers agree on;
api/clocks/) the offset is known whole: sign, hours and dates. Without one a clock is never called right. What can still
be said of it is what no zone explains: zones are whole quarters of an hour, and none is further than 12 h behind or
14 h ahead of UTC.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Literal, TypeAlias

from api.alerts.conditions import Bound, Condition, Finding
from api.alerts.rule import Rule, each
from api.alerts.stream_facts import ClockFacts, StreamFacts, of_stream, streams
from api.clocks.drift import Drift, reaches
from api.clocks.spans import span

__all__ = ["ACT_MS", "RULE", "WATCH_MS", "cleared", "judged"]

WATCH_MS, ACT_MS = 100, 500
# What will be wrong within that time is said beforehand: a clock can be set between two waves of runners.
FORESEEN_S = 3 * 60 * 60
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
        "Set the reader's clock; its reads of before can be exported with corrected times. Where the zone is not "
        "known, set TIME_ZONE or a zone of the forwarder's own.",
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
    drifts = _drifts(clock)
    if set_from := _set(clock):
        yield "act", set_from
    if wrong is not None:
        # Of two of one level the first is told: so what is to come is told with what is.
        yield wrong if drifts is None else (wrong[0], f"{wrong[1]} and {drifts}")
    elif drifts is not None:
        yield "watch", f"the reader's clock {drifts}"


def _set(clock: ClockFacts) -> str | None:
    """Return from what to what somebody has set it, a few minutes ago."""
    if clock.stepped_at is None or clock.was_ms is None or clock.ahead_ms is None:
        return None
    is_ms = clock.ahead_ms if clock.offset_ms is None else clock.offset_ms
    by = f"the reader's clock was set {'forward' if is_ms > clock.was_ms else 'back'} by {span(is_ms - clock.was_ms)}"
    if clock.offset_ms is None:
        return f"{by}; zone unknown"
    return f"{by}: it was {_side(clock.was_ms)} and is {_side(is_ms)} now"


def _side(offset_ms: int) -> str:
    if abs(offset_ms) < WATCH_MS:
        return "right"
    return f"{span(offset_ms)} {'ahead' if offset_ms > 0 else 'behind'}"


def _drifts(clock: ClockFacts) -> str | None:
    """Return when it will be red, where that is soon; of what is red already nothing."""
    if None in (clock.offset_ms, clock.drift_ppm, clock.drift_error_ppm, clock.told_at):
        return None
    offset_ms, told_at = clock.offset_ms or 0, clock.told_at or datetime.max.replace(tzinfo=UTC)
    drift = Drift(clock.drift_ppm or 0, clock.drift_error_ppm or 0)
    at = reaches(offset_ms, drift.ppm, ACT_MS, told_at)
    if abs(offset_ms) >= ACT_MS or not drift.is_known or at is None:
        return None
    if (at - told_at).total_seconds() > FORESEEN_S:
        return None
    side, verb = ("ahead", "gains") if drift.ppm > 0 else ("behind", "loses")
    return f"{verb} {abs(drift.ppm):.0f} ppm: {span(ACT_MS)} {side} by {at:%Y-%m-%dT%H:%M:%SZ}"


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


RULE = Rule(
    signal="clock",
    condition="its clock",
    order=60,
    bound=Bound.holding(0, 0),
    source=streams,
    # Of a clock whose zone is not known the rule itself decides: it may be what no zone explains.
    # A drift of a millionth moves a clock by 10.8 ms in the time that is foreseen.
    wanted=f"now.online AND clock.ahead_ms IS NOT NULL AND (clock.zone_ms IS NULL OR abs(clock.offset_ms) >= {WATCH_MS}"
    f" OR clock.stepped_at > now() - interval '5 minutes'"
    f" OR abs(clock.offset_ms + coalesce(clock.drift_ppm, 0) * {FORESEEN_S / 1000}) >= {ACT_MS})",
    findings=each(_finding),
    actions=("open_stream",),
    coalesces=True,
)
