"""Looks now and then who is due at the points of races, in whichever api process comes first.

What is expected changes with whoever leaves the point before, minutes ahead; whether she has come is asked each second
by a rule (api/alerts/rules/silent_mat.py), of what is kept here. So a look may be rare, takes the points that need it
most, and is followed by a rest many times as long.
"""

import asyncio
from time import monotonic
from uuid import UUID

from api.mats.course import Course, courses, feeder_of, watch_of
from api.mats.store import kept
from api.mats.store.kept import Point, Watch
from api.mats.store.ways import Way, shares, ways
from api.storage.plans import ALONG_THE_KEY, FORGET
from shared.db.channels import RACES
from shared.db.connections import Connection, Link, transaction
from shared.db.errors import DatabaseRefused
from shared.log import get_logger
from shared.runtime.process import Process

__all__ = ["Watching"]

EVERY_S = 5.0
# A look that takes long is followed by a rest so many times as long: of one core less than 3 % in all.
REST = 40
# What it made is gone by for three minutes.
LONGEST_REST_S = 90.0

CONNECTION = {
    **ALONG_THE_KEY,
    "lock_timeout": "1s",
    "statement_timeout": "10s",
    "idle_in_transaction_session_timeout": "10s",
    # What is lost with a crash is made again.
    "synchronous_commit": "off",
}


log = get_logger(__name__)


class Watching:
    """One api process's share in it."""

    def __init__(self, process: Process) -> None:
        self._took_s = 0.0
        self.problem: str | None = None
        process.concerns["mats"] = lambda: self.problem
        self._loop = process.loop(
            "mats",
            self.look,
            poll_s=lambda: max(EVERY_S, min(LONGEST_REST_S, REST * self._took_s)),
            on_failure=lambda _: self.close(),
        )
        # A point that is closed is left alone at once.
        process.listener.on(RACES, lambda _: self._loop.wake())
        self._link = Link(process.settings.database_url, name="rt-server api mats", **CONNECTION)

    async def run(self) -> None:
        """Look, or see that another does, until the process stops."""
        await self._loop.run()
        self.close()

    def close(self) -> None:
        """Give the connection up; the next look opens another."""
        self._link.drop()

    async def look(self) -> bool:
        """Look once, if nobody else is at it; return whether anything was made anew."""
        began = monotonic()
        try:
            made = await self._look()
            self.problem = None
        except DatabaseRefused as error:
            # As a number that no column takes. Nobody's reads wait for it; alerts take the simple rule.
            if self.problem is None:
                log.warning("mats_refused", error=str(error))
            self.problem = f"points of races cannot be looked at: {error}"
            made = None
        if made is not None:
            self._took_s = monotonic() - began
        return bool(made)

    async def _look(self) -> list[tuple[Point, Watch]] | None:
        connection = await self._link.get()
        async with transaction(connection):
            if not await kept.take_turn(connection):
                return None
            # Plans that were made when a table was empty go through all of it for each row of another.
            await connection.execute(FORGET)
            points = await kept.points(connection)
            made: list[tuple[Point, Watch]] = []
            for race_id, course in courses(points).items():
                made += await _look_at(connection, race_id, course)
            await kept.keep(connection, made, points)
        return made


async def _look_at(connection: Connection, race_id: UUID, course: Course) -> list[tuple[Point, Watch]]:
    """Return what is made of the points of a race that are to be looked at."""
    feeders = {
        each.place: before.place for each in course.chosen if (before := feeder_of(each, course.points))
    }
    wanted = [
        (each.place, feeders[each.place], each.one_in) for each in course.chosen if each.place in feeders
    ]
    found: dict[int, Way] = {}
    if wanted:
        first = course.points[0].place
        found = {each.place: each for each in await ways(connection, race_id, wanted, first=first)}
    twins = [each.place for each in course.chosen if len(each.stream_ids) > 1 and not each.closed]
    if twins:
        await kept.keep_shares(connection, race_id, await shares(connection, race_id, twins))
    made = []
    for each in course.chosen:
        feeder = feeders.get(each.place)
        made.append(
            (each, watch_of(found.get(each.place), made_of=course.frame, one_in=each.one_in, before=feeder))
        )
        # Some ten milliseconds each: what else the process has to do comes in between.
        await asyncio.sleep(0)
    return made
