"""What is believed of a reader's clock, from one look to the next. Pure: no database, and time comes in as an argument.

Of a read we know that its reader's clock minus ours is read_at - received_at, and more by as long as the read was on
its way. So a delay makes a clock look behind, and hardly anything makes it look ahead (a line that lies; a read that
was held back over the hour in which summer time ends):

- A look tells the best of the reads since the look before, by a quantile: a delay of the lowest tenth. What came late
  is not among these while anything comes at once, and a line that lies is not, either.
- What is a little ahead of what was believed is nearer to the truth, at once. What is a little behind it lets belief
  sink by 5 ms a look, for clocks that drift. What is further off, on either side, or the first that is told at all, is
  believed when the reads of a later look say the same. A backlog never does: each of its looks is less late than the
  one before, and after its last none comes.
- A link that is slow for a while says the same for as long, and looks like a clock that was set back. Only what reads
  show tells them apart: behind a slow link the reader's own times go on, a clock that was set back shows some of them
  twice. Without that, what is far behind is believed when minutes have said so, and nobody is said to have set it.

All milliseconds of a clock are its wall clock minus that of its zone at the moment when a read came, or minus UTC's
where no zone is given (`utc_ms` is how far that wall clock is from UTC then). So with a zone a clock that is set with
summer time has not moved, and one that is not set has.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import NamedTuple

__all__ = ["STEP_MS", "Clock", "Mark", "Told", "Window", "agreed_quarter", "look", "shows_twice", "tell"]

NEAR_MS = 200  # reads that say the same; beyond it a clock has been set
SINK_MS = 5
STEP_MS = 200
# Longer than a link that carries anything at all is slow by just as much.
AGREED = timedelta(minutes=5)
# So many reads in a row have a time that was there before; fewer are follow-ups, which readers tell late.
SHOWN_TWICE = 5
# Reads that came together are one witness, though a look parts them.
APART = timedelta(seconds=5)

# What is kept of a clock is the best of two minutes, where it is another one by as much as a reader can tell, and in
# any case now and then: what drifts is followed within a hundredth, and what does not needs few rows.
WINDOW = timedelta(minutes=2)
AT_LEAST_EVERY = timedelta(minutes=10)
CHANGED_MS = 10

# Zones are whole quarters of an hour, none further from UTC than 12 h behind or 14 h ahead.
QUARTERS = range(-48, 57)


class Told(NamedTuple):
    """What a look tells: the clock by its reads, when the first and the last of them came. shown_ms: the newest time
    that its reads show. back: they show that the clock was set back. Of looks that say the same, which nobody believes
    yet, the clock is that of the first, and since then they say so.
    """

    ms: int
    since: datetime
    at: datetime
    utc_ms: int = 0
    shown_ms: int | None = None
    back: bool = False


class Window(NamedTuple):
    """The best that was told since `began_at`. opens: nothing is known of just before, so that it counts from the first
    look on: the clock was set then, or had told nothing.
    """

    began_at: datetime
    ms: int
    opens: bool = False


class Mark(NamedTuple):
    """What is kept of a clock: from `at` on its wall clock was so far from UTC. stepped: somebody set it then; it was
    `before_ms` until then, and reads that came `between` two moments say when exactly.
    """

    at: datetime
    utc_ahead_ms: int
    stepped: bool = False
    before_ms: int | None = None
    between: tuple[datetime, datetime] | None = None


@dataclass(frozen=True)
class Clock:
    """What is believed of one clock. ahead_ms: None until a second look has said so. utc_ms: how far its zone was from
    UTC when that was told last. told: by the look before. was_ms, stepped_at: before it was set last, and when that was
    seen; without the latter: what it was before looks had it far behind, which a slow link may have done. marked: the
    last that was kept.
    """

    ahead_ms: int | None = None
    utc_ms: int = 0
    told: Told | None = None
    was_ms: int | None = None
    stepped_at: datetime | None = None
    window: Window | None = None
    marked: Mark | None = None


def tell(
    ahead_ms: Sequence[int],
    since: datetime,
    at: datetime,
    *,
    utc_ms_since: int,
    utc_ms_at: int,
    shown_ms: Sequence[int] = (),
    shown_before_ms: int | None = None,
) -> Told | None:
    """Return what the reads of a look say together: the clock by the tenth of them that was fastest on its way, at its
    slower end, so that a line of ten that lies, with a time that is yet to come, says nothing. None: nothing; where the
    zone's own clock was set meanwhile nobody knows by which a reader's goes. shown_ms: their own times, as they came;
    shown_before_ms: the newest of the look before.
    """
    if not ahead_ms or utc_ms_since != utc_ms_at:
        return None
    ms = sorted(ahead_ms)[max(0, -(-9 * len(ahead_ms) // 10) - 1)]
    back = shows_twice(shown_before_ms, shown_ms)
    return Told(ms, since, at, utc_ms_at, max(shown_ms, default=None), back)


def shows_twice(before_ms: int | None, shown_ms: Sequence[int]) -> bool:
    """Return whether reads, in the order in which they came, show times that were there before: several in a row do, or
    most of a few. before_ms: the newest time of the look before.
    """
    enough = min(SHOWN_TWICE, -(-3 * len(shown_ms) // 4))
    newest, in_a_row = before_ms, 0
    for each in shown_ms:
        if newest is not None and each < newest - NEAR_MS:
            in_a_row += 1
            if in_a_row >= enough:
                return True
        else:
            newest, in_a_row = each, 0
    return False


def look(clock: Clock, told: Told) -> tuple[Clock, list[Mark]]:
    """Return what is believed after a look, and the marks that are to be kept of it."""
    before, far = clock.ahead_ms, _is_far(clock, told)
    if far:
        told = _and_before(clock.told, told)
    believed = _believed(clock, told)
    if believed is None or abs(told.ms - believed) > NEAR_MS:
        return replace(clock, told=told), []  # nobody has said it twice, or all that came is late
    after = replace(clock, ahead_ms=believed, utc_ms=told.utc_ms, told=told)
    stepped = before is not None and far and _was_set(clock, told)
    if stepped:
        after = replace(after, was_ms=before, stepped_at=told.at)
    elif before is not None and far and _is_behind(clock, told):
        after = replace(after, was_ms=before, stepped_at=None)
    if before is None or far or told.utc_ms != clock.utc_ms:
        return _begun(clock, after, told, stepped=stepped)
    return _gone_on(clock, after, told)


def _is_far(clock: Clock, told: Told) -> bool:
    return clock.ahead_ms is None or abs(told.ms - clock.ahead_ms) > NEAR_MS


def _and_before(last: Told | None, told: Told) -> Told:
    """Return what looks say together that are far off what is believed."""
    if last is None:
        return told
    # That times came twice is seen once, perhaps while the look still told the clock of before.
    told = told._replace(back=told.back or last.back)
    if abs(told.ms - last.ms) > NEAR_MS:
        return told
    return told._replace(ms=last.ms, since=last.since)


def _moved_ms(clock: Clock, told: Told) -> tuple[int, int]:
    """Return by how much a clock has moved, by its zone's and by UTC. With summer time one that nobody has touched
    moves against its zone's, and one that was set with it does not.
    """
    moved_ms = told.ms - (clock.ahead_ms or 0)
    return moved_ms, moved_ms + told.utc_ms - clock.utc_ms


def _is_behind(clock: Clock, told: Told) -> bool:
    return max(_moved_ms(clock, told)) < -NEAR_MS


def _was_set(clock: Clock, told: Told) -> bool:
    if min(map(abs, _moved_ms(clock, told))) <= STEP_MS:
        return False
    if _is_behind(clock, told):
        return told.back
    # The link that had it behind is quick again.
    quick_again = clock.was_ms is not None and clock.stepped_at is None
    return not (quick_again and abs(told.ms - (clock.was_ms or 0)) <= NEAR_MS)


def _believed(clock: Clock, told: Told) -> int | None:
    before, last = clock.ahead_ms, clock.told
    if before is not None and not _is_far(clock, told):
        return max(told.ms, before - SINK_MS)
    said_again = last is not None and abs(told.ms - last.ms) <= NEAR_MS and told.at >= last.at + APART
    if before is not None and _is_behind(clock, told) and not told.back:
        said_again = said_again and told.at - told.since >= AGREED
    return told.ms if said_again else before


def _gone_on(before: Clock, after: Clock, told: Told) -> tuple[Clock, list[Mark]]:
    """Have the window take in what was told, or keep it when its time is over, and begin the next."""
    window = before.window
    if window is not None and told.at - window.began_at < WINDOW:
        return replace(after, window=window._replace(ms=max(window.ms, told.ms))), []
    marks = _closed(before)
    marked = marks[-1] if marks else before.marked
    return replace(after, window=Window(told.since, told.ms), marked=marked), marks


def _begun(before: Clock, after: Clock, told: Told, *, stepped: bool) -> tuple[Clock, list[Mark]]:
    """Keep what there was, and from now on something else, which the window makes better when it ends."""
    began_at = told.since
    if before.ahead_ms is not None and told.utc_ms != before.utc_ms:
        # Summer time begins and ends at whole quarters of an hour; a look that had reads of both sides said nothing, so
        # that this one comes a little later.
        quarter = told.at.replace(minute=told.at.minute // 15 * 15, second=0, microsecond=0)
        if before.window is not None and quarter > before.window.began_at:
            began_at = quarter
    mark = Mark(began_at, told.ms + told.utc_ms)
    if stepped and before.ahead_ms is not None:
        since = before.window.began_at if before.window else began_at
        mark = Mark(
            *mark[:2], stepped=True, before_ms=before.ahead_ms + before.utc_ms, between=(since, told.at)
        )
    window = Window(began_at, told.ms, opens=True)
    return replace(after, window=window, marked=mark), [*_closed(before), mark]


def _closed(clock: Clock) -> list[Mark]:
    if clock.window is None:
        return []
    mark = Mark(clock.window.began_at, clock.window.ms + clock.utc_ms)
    return [mark] if _is_news(mark, clock.marked, opens=clock.window.opens) else []


def _is_news(mark: Mark, last: Mark | None, *, opens: bool) -> bool:
    return (
        last is None
        or opens
        or abs(mark.utc_ahead_ms - last.utc_ahead_ms) >= CHANGED_MS
        or mark.at - last.at >= AT_LEAST_EVERY
    )


def agreed_quarter(streams: Mapping[int, int]) -> int | None:
    """Return the quarter of an hour that most streams are within 2 min of, and two at least; None: nobody knows.
    streams: how many there are of each, of those that a zone can explain.
    """
    within = {quarter: count for quarter, count in streams.items() if quarter in QUARTERS}
    quarter = max(within, key=within.__getitem__, default=None)
    if quarter is None or within[quarter] < 2 or within[quarter] * 2 <= sum(within.values()):
        return None
    return quarter
