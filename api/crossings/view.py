"""One process's view of the crossings of races that are followed: one look for all who follow, while somebody does.

A look reads which passings have changed since the last, by position, then all passings of those people at those points,
and tells their crossings there anew. So nothing is remembered of what was told, a message holds whether it comes once
or twice, and every api process tells the same, whichever fills the passings. What may be otherwise all at once (people
and chips, the course, which reads are the race's, a stream that is filled anew) is not told but to be loaded anew.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from uuid import UUID

import msgspec
import orjson

from api.crossings import shown
from api.crossings.feed import RESYNC, Feed
from api.crossings.people import At, Found, Subject, found
from api.crossings.store import passings
from api.crossings.store.changed import Known, changed
from api.crossings.store.passings import Course
from api.crossings.types import MOST_SHOWN, CrossingsTold
from api.http.errors import ApiError
from api.races.names import NOBODY, Whose, people
from shared.db.channels import PASSINGS, RACES
from shared.db.errors import DatabaseUnavailable
from shared.runtime.process import Process

__all__ = ["View"]

# What nobody notifies of, and what is lost.
POLL_S = 1.0
# People come by all the time, and nobody reads faster.
PACE_S = 0.25
FOLLOWERS_AT_ONCE = 200
RACES_AT_ONCE = 8
GAPS_AT_ONCE = 3
# Passings of all streams in one look: what is beyond comes with the next, a moment later.
PAGE = 1_000
# People at points whose crossings are made in one go, whatever the number of streams.
TOLD_AT_ONCE = 200


class _Race:
    """A race that somebody follows, with a feed for each gap that is asked for."""

    def __init__(self, race_id: UUID) -> None:
        self.race_id = race_id
        self.turn = asyncio.Lock()
        self.course: Course | None = None
        self.known: Mapping[UUID, Known] = {}
        self.feeds: dict[int, Feed] = {}
        self.followers: dict[int, int] = {}

    def tell(self, messages: Sequence[bytes]) -> None:
        """Tell all the same, whatever their gap."""
        for feed in self.feeds.values():
            feed.tell(messages)

    def close(self) -> None:
        """Have all go."""
        for feed in self.feeds.values():
            feed.close()


class View:
    """The races that are followed."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._loop = process.loop("crossings", self._look_and_rest, poll_s=POLL_S)
        for channel in (PASSINGS, RACES):
            process.listener.on(channel, lambda _: self._loop.wake())
        self._races: dict[UUID, _Race] = {}
        self._closed = False
        self.looks = 0  # that have begun

    @property
    def followers(self) -> int:
        """How many follow."""
        return sum(sum(each.followers.values()) for each in self._races.values())

    async def run(self) -> None:
        """Look again and again while somebody follows, until the process stops."""
        try:
            await self._loop.run()
        finally:
            # However it ends: whoever follows waits for news that nobody makes any more.
            self._closed = True
            for race in self._races.values():
                race.close()

    @asynccontextmanager
    async def following(self, race_id: UUID, gap: int) -> AsyncIterator[Feed]:
        """Have news of a race for as long as this is open: of all that changes behind what is there when it opens.
        NoSuchRace; ApiError when too many follow.
        """
        race = self._place(race_id, gap)
        feed = race.feeds.setdefault(gap, Feed())
        race.followers[gap] = race.followers.get(gap, 0) + 1
        try:
            async with race.turn:
                # From here on positions are known: whoever loads behind this misses nothing.
                if race.course is None:
                    await self._look(race)
            feed.closed = feed.closed or self._closed
            yield feed
        finally:
            race.followers[gap] -= 1
            if not race.followers[gap]:
                del race.followers[gap], race.feeds[gap]
            if not race.followers:
                self._races.pop(race_id, None)

    def _place(self, race_id: UUID, gap: int) -> _Race:
        race = self._races.get(race_id)
        if self.followers >= FOLLOWERS_AT_ONCE:
            raise ApiError("UNAVAILABLE", f"{FOLLOWERS_AT_ONCE} event streams are open; try again later")
        if race is None and len(self._races) >= RACES_AT_ONCE:
            raise ApiError("UNAVAILABLE", f"{RACES_AT_ONCE} races are followed; try again later")
        if race is not None and gap not in race.feeds and len(race.feeds) >= GAPS_AT_ONCE:
            gaps = ", ".join(map(str, sorted(race.feeds)))
            raise ApiError(
                "UNAVAILABLE",
                f"the race is followed with {GAPS_AT_ONCE} gaps; take one of {gaps}, or try again",
            )
        return self._races.setdefault(race_id, _Race(race_id))

    async def _look_and_rest(self) -> None:
        if not self._races:
            return
        failed: DatabaseUnavailable | None = None
        for race in list(self._races.values()):
            # One whose look takes too long, or fails, is no reason for the others to wait.
            try:
                async with race.turn:
                    await self._look(race)
            except DatabaseUnavailable as error:
                failed = error
        if failed is not None:
            raise failed
        # A notification does not end this: while people come by they come without a pause.
        await self._process.stop.sleep(PACE_S)

    async def _look(self, race: _Race) -> None:
        """See whether all is to be loaded anew, and otherwise who came by."""
        self.looks += 1
        pool = self._process.pool
        try:
            course = await passings.course(pool, race.race_id)
        except passings.NoSuchRace:
            if race.course is None:
                raise
            # Who loads it anew is told that it is gone; it goes with its last follower.
            race.tell([RESYNC])
            race.close()
            return
        news = await changed(pool, race.race_id, race.known, at_most=PAGE)
        if race.course is not None and (race.course.mark != course.mark or news.anew):
            race.tell([RESYNC])
        elif race.course is not None and news.found:
            for first in range(0, len(news.found), TOLD_AT_ONCE):
                await self._tell(race, course, news.found[first : first + TOLD_AT_ONCE])
                # Making messages takes the process's time, and others have their turn.
                await asyncio.sleep(0)
        # Only now: what could not be looked up is told with the next.
        race.course, race.known = course, news.known
        if news.more:
            self._loop.wake()

    async def _tell(self, race: _Race, course: Course, pairs: Sequence[tuple[str, str]]) -> None:
        pool = self._process.pool
        # Who comes while this is looked up has nothing of it, and loads it.
        feeds = dict(race.feeds)
        least = timedelta(seconds=min(feeds, default=0))
        passed = await passings.of_people(pool, race.race_id, pairs, gap=least)
        bibs = {(race.race_id, each.subject.bib) for each in passed if each.subject.bib is not None}
        known = await people(pool, bibs)
        for gap, feed in feeds.items():
            apart = _apart(found(passed, course.points, gap=timedelta(seconds=gap)))
            feed.tell(
                [
                    _message(those, known.get((race.race_id, those[0].subject.bib or 0), NOBODY))
                    for those in apart
                ]
            )


def _apart(all_found: Sequence[Found]) -> list[list[Found]]:
    """Return crossings of each person at each point, the newest first."""
    apart: dict[tuple[At, Subject], list[Found]] = {}
    for each in all_found:
        apart.setdefault((each.point, each.subject), []).insert(0, each)
    return list(apart.values())


def _message(those: Sequence[Found], whose: Whose) -> bytes:
    point, subject, _ = those[0]
    said = CrossingsTold(
        type="crossings",
        point=point.at,
        bib=subject.bib,
        chip=subject.tag_id,
        crossings=[shown.row(each, whose) for each in those[:MOST_SHOWN]],
        more=max(len(those) - MOST_SHOWN, 0),
    )
    data = msgspec.to_builtins(said, builtin_types=(datetime,))
    return b"event: crossings\ndata: %b\n\n" % orjson.dumps(data)
