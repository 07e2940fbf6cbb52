"""A point of a race is silent while runners are due there, as others who left the point before have come by now.

What is due is made now and then (api/mats/); here it is held against how long the point has been silent. Where too few
are through to tell who is due it is amber only, by the length of the silence, while many are on the way. A point where
nobody was ever read is red once many have come by one behind it. Of the first, where nobody can tell who is to start,
nothing is said.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from api.alerts.conditions import Bound, Condition, Finding, Key, lasting
from api.alerts.rule import Rule, each, plural
from api.mats.course import READS_NOTHING_S
from api.mats.forecast import THROUGH
from api.mats.silence import ARRIVES_S, Silence, due_within, is_long, judged
from api.mats.store.kept import LOOKED_LATELY
from shared.db.connections import Connection

__all__ = ["POINTS", "RULE", "PointFacts", "points"]

# Fewer are never improbable enough.
FEWEST = 4
SENDS_S = 30.0
# What is said of a silence changes seldom.
LASTS_S = (20, 30, 45, 60, 90, 120, 180, 300, 600, 1200, 1800, 3600)

# Since when it is silent is asked of what the writer counts, not of the look that was some seconds ago; and of all
# epochs of its streams: one that has just begun has no read, and those before the race are older. passed: of a point
# where nobody came from the point before, how many went by it to one behind it. Those where nothing can be wrong are
# left out, but for those that have an alert.
POINTS = f"""
SELECT watch.race_id, watch.place, watch.title, last.received_at AS last_read_at, live.online, watch.closed,
       extract(epoch FROM now() - last.received_at)::float AS lasts_s,
       extract(epoch FROM last.received_at - newest_at)::float AS begins_s,
       usual_gap_s, due_in_all, passed.by AS passed, coalesce(due, '{{}}')::text[] AS due,
       coalesce(surely_due, '{{}}')::text[] AS surely_due
FROM point_watches AS watch
CROSS JOIN LATERAL (
    SELECT max(epoch.last_received_at) AS received_at
    FROM stream_metrics AS epoch
    WHERE epoch.stream_id = ANY(watch.stream_ids) AND dedup_count > 0
) AS last
CROSS JOIN LATERAL (
    SELECT EXISTS (SELECT FROM streams JOIN live_forwarder_sessions USING (forwarder_id)
                   WHERE streams.stream_id = ANY(watch.stream_ids)) AS online
) AS live
CROSS JOIN LATERAL (
    SELECT coalesce(max(later.through), 0) AS by
    FROM point_watches AS later
    WHERE watch.through = 0 AND later.race_id = watch.race_id AND later.from_place < watch.place
      AND later.place > watch.place
) AS passed
WHERE {LOOKED_LATELY}
  AND (NOT closed AND due_in_all >= {FEWEST} AND last.received_at < now() - interval '{ARRIVES_S} s'
       OR NOT closed AND passed.by >= {THROUGH}
       OR race_id || '/' || place IN (SELECT subject_id FROM troubles
                                      WHERE subject_kind = 'point' AND ended_at IS NULL))
"""  # noqa: S608 - of constants only


class PointFacts(NamedTuple):
    """A point where somebody is expected. lasts_s: since its last read; begins_s: when that was, since the bins begin;
    None: there is none. due, surely_due: empty where too little is known. due_in_all: who may come at all. passed: how
    many went by it to another point, where nobody was read.
    """

    race_id: UUID
    place: int
    title: str
    last_read_at: datetime | None
    online: bool
    closed: bool
    lasts_s: float | None
    begins_s: float | None
    usual_gap_s: float
    due_in_all: float
    passed: int
    due: Sequence[float]
    surely_due: Sequence[float]


async def points(connection: Connection, _wanted: Sequence[str]) -> Sequence[PointFacts]:
    """Return the points of which something may be said, and those that have an alert."""
    # As text: of arrays of numbers the driver would ask what they are, with each new connection.
    return [
        PointFacts(**{**row, **{name: [float(each) for each in row[name]] for name in ("due", "surely_due")}})
        for row in await connection.fetch(POINTS)
    ]


def _finding(facts: PointFacts) -> Finding:
    return Finding(
        Key("silent_mat", "point", f"{facts.race_id}/{facts.place}"),
        facts.title,
        _conditions(facts),
        "Check its reader, its antennas and its cable. If nobody comes here any more, close the point.",
        _cleared(facts),
    )


def _conditions(facts: PointFacts) -> list[Condition]:
    # Without a forwarder nothing can come: that is what is wrong with it.
    if facts.closed or not facts.online:
        return []
    if facts.passed >= THROUGH:
        return _never_read(facts)
    if facts.lasts_s is None or facts.begins_s is None:
        return []
    if not facts.due:
        return _long(facts, facts.lasts_s)
    ends_s = facts.begins_s + facts.lasts_s - ARRIVES_S
    due, surely = (due_within(bins, facts.begins_s, ends_s) for bins in (facts.due, facts.surely_due))
    level = judged(Silence(facts.lasts_s, facts.usual_gap_s, due, surely))
    if level == "good":
        return []
    return [Condition(level, 0, _words(facts, facts.lasts_s, due), facts.last_read_at)]


def _never_read(facts: PointFacts) -> list[Condition]:
    # Somebody tries it with a chip: whether runners come the next look says.
    if facts.lasts_s is not None and facts.lasts_s < READS_NOTHING_S:
        return []
    count = _at_least(facts.passed)
    # A box that comes back first sends what it has kept.
    return [Condition("act", SENDS_S, f"nobody was read here, {count} or more runners were at a later point")]


def _long(facts: PointFacts, lasts_s: float) -> list[Condition]:
    if facts.due_in_all < FEWEST or not is_long(lasts_s, facts.usual_gap_s):
        return []
    count = _at_least(facts.due_in_all)
    words = f"{_silent_for(lasts_s)}, {count} or more {plural('runner', count)} on the way"
    return [Condition("watch", 0, words + _usually(facts), facts.last_read_at)]


def _words(facts: PointFacts, lasts_s: float, due: float) -> str:
    count = _at_least(due)
    return f"{_silent_for(lasts_s)}, {count} or more {plural('runner', count)} due{_usually(facts)}"


def _silent_for(lasts_s: float) -> str:
    return f"silent for more than {lasting(max(each for each in LASTS_S if each <= lasts_s))}"


def _usually(facts: PointFacts) -> str:
    if facts.usual_gap_s < 1:
        return ""
    return f"; usually nobody comes for {lasting(facts.usual_gap_s)} at the most"


def _at_least(due: float) -> int:
    """Return a count that changes seldom: 4, 7, 10, 20, 50, 100, 200."""
    return max(
        each for each in (1, 4, 7, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000) if each <= max(1.0, due)
    )


def _cleared(facts: PointFacts) -> str:
    if facts.closed:
        return "closed"
    return "runners come again" if facts.online else "its forwarder is gone"


RULE = Rule(
    signal="silent_mat",
    condition="silent while runners are due",
    order=28,
    bound=Bound(0, 0, 20, 40),
    source=points,
    findings=each(_finding),
    actions=("close_point",),
)
