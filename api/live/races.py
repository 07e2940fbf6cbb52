"""What of races has changed since it was last told, as events: derived from rows, as all else here is, so that every
api process tells the same and a lost notification loses nothing.

Programs in the field know no event about races: they fetch them anew after a `resync`, and the chips of a race after
any `forwarder_race_assigned`. Each of these costs every receiver several requests, so it is looked once a second at the
most, and what changed meanwhile is told once.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from time import monotonic
from typing import Any, NamedTuple
from uuid import UUID

from api.live.messages import ForwarderRaceAssigned, Message, Resync, StreamUpdated
from shared.db.channels import RACES
from shared.db.connections import Pool
from shared.db.errors import translated
from shared.runtime.process import Process

__all__ = ["MARKS", "Mark", "Marks", "RaceNews", "changes"]

EVERY_S = 1.0
POLL_S = 2.0

# One row for each race: its name, when its people or chips last changed, and a forwarder of it, or of an epoch of it,
# by which to tell of that.
_RACES = """
SELECT race_id, name, roster_changed_at, coalesce(
    (SELECT min(forwarder_id) FROM forwarder_races WHERE forwarder_races.race_id = races.race_id),
    (SELECT min(forwarder_id) FROM epoch_races JOIN streams USING (stream_id)
     WHERE epoch_races.race_id = races.race_id)) AS forwarder_id, gun_at, course_changed_at,
    segments_changed_at,
    (SELECT max(change_id) FROM segment_changes WHERE segment_changes.race_id = races.race_id) AS segments_change
FROM races
"""
_ASSIGNED = "SELECT forwarder_id, race_id FROM forwarder_races"
# One row for each stream with epochs that have names or races: by how many there are and when the last was changed one
# sees that any was. current_race: that of the current epoch, which somebody may wait for who has just commanded it.
MARKS = """
SELECT streams.stream_id, streams.stream_epoch, count(*) AS marks, max(mark.at) AS changed_at,
       (array_agg(mark.race_id) FILTER (WHERE mark.race_id IS NOT NULL
                                          AND mark.stream_epoch = streams.stream_epoch))[1] AS current_race
FROM (SELECT stream_id, stream_epoch, race_id, mapped_at AS at FROM epoch_races
      UNION ALL
      SELECT stream_id, stream_epoch, NULL, named_at FROM epoch_names) AS mark
JOIN streams USING (stream_id)
GROUP BY streams.stream_id
"""


class Race(NamedTuple):
    """A race as it was seen. Of its clock, its course and its segments programs of the field know nothing: only our
    page is told.
    """

    name: str
    roster_changed_at: datetime | None
    forwarder_id: str | None
    gun_at: datetime | None = None
    course_changed_at: datetime | None = None
    segments_changed_at: datetime | None = None
    # A gateway that ends a segment leaves a change, and may not wait for the race's row.
    segments_change: int | None = None


class Mark(NamedTuple):
    """The names and races of a stream's epochs as they were seen."""

    stream_epoch: int
    marks: int
    changed_at: datetime
    current_race: UUID | None


class Marks(NamedTuple):
    """All of it, of one moment."""

    races: Mapping[UUID, Race]
    assigned: Mapping[str, UUID]
    streams: Mapping[UUID, Mark]


def changes(told: Marks, now: Marks) -> Iterator[Message]:
    """Yield what tells the difference."""
    known = {race_id: race[:2] for race_id, race in told.races.items()}
    if known != {race_id: race[:2] for race_id, race in now.races.items()}:
        yield Resync()
    forwarders = {
        forwarder_id
        for forwarder_id in told.assigned.keys() | now.assigned.keys()
        if told.assigned.get(forwarder_id) != now.assigned.get(forwarder_id)
    }
    for race_id, race in now.races.items():
        before = told.races.get(race_id)
        if before and race.roster_changed_at != before.roster_changed_at and race.forwarder_id is not None:
            forwarders.add(race.forwarder_id)
    for forwarder_id in sorted(forwarders):
        yield ForwarderRaceAssigned(forwarder_id=forwarder_id, race_id=now.assigned.get(forwarder_id))
    yield from _of_streams(told.streams, now.streams)


def _of_streams(told: Mapping[UUID, Mark], now: Mapping[UUID, Mark]) -> Iterator[StreamUpdated]:
    for stream_id in sorted(told.keys() | now.keys()):
        before, mark = told.get(stream_id), now.get(stream_id)
        if (
            before is None
            or mark is None
            or (before.marks, before.changed_at) != (mark.marks, mark.changed_at)
        ):
            yield _marked(stream_id, before, mark)


def _marked(stream_id: UUID, before: Mark | None, mark: Mark | None) -> StreamUpdated:
    """Return the event of a stream: with its epoch, where that has just become a race's. Somebody may wait for it."""
    if mark is None or mark.current_race is None:
        return StreamUpdated(stream_id=stream_id)
    if before is not None and (before.stream_epoch, before.current_race) == (
        mark.stream_epoch,
        mark.current_race,
    ):
        return StreamUpdated(stream_id=stream_id)
    return StreamUpdated(stream_id=stream_id, stream_epoch=mark.stream_epoch)


class RaceNews:
    """Looks when something may have changed, and says what."""

    def __init__(self, process: Process, *, clock: Callable[[], float] = monotonic) -> None:
        self._pool: Callable[[], Pool] = lambda: process.pool
        self._clock = clock
        self._due = True
        self._looked_at = -POLL_S
        self._told: Marks | None = None
        self.any = False
        process.listener.on(RACES, self._on_notification)

    async def next(self, *, telling: bool) -> list[Message]:
        """Return what has changed since it was asked last; nothing, when nobody is told: all is fetched anew. `any`
        says whether anything has, also where no message tells of it.
        """
        self.any = False
        if not telling:
            self._told = None
        since = self._clock() - self._looked_at
        if self._told is not None and since < (EVERY_S if self._due else POLL_S):
            return []
        self._due, self._looked_at = False, self._clock()
        try:
            now = await _look(self._pool())
        except BaseException:
            self._due = True
            raise
        told, self._told = self._told, now
        self.any = told not in (None, now)
        return [] if told is None else list(changes(told, now))

    def _on_notification(self, _payload: str) -> None:
        self._due = True


async def _look(pool: Pool) -> Marks:
    with translated():
        races: Any = await pool.fetch(_RACES)
        assigned: Any = await pool.fetch(_ASSIGNED)
        streams: Any = await pool.fetch(MARKS)
    return Marks(
        {race_id: Race(*fields) for race_id, *fields in map(tuple, races)},
        dict(map(tuple, assigned)),
        {stream_id: Mark(*fields) for stream_id, *fields in map(tuple, streams)},
    )
