"""The flows of races as they were counted last. Counting goes through all who have come by, and the page asks all day,
from every screen: it is counted for all of them once, not while nothing is another, and not again before a rest that
grows with what it costs.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from time import monotonic
from typing import NamedTuple
from uuid import UUID

from msgspec.structs import replace

from api.flow import store
from api.flow.store import Bin, Stand
from api.flow.types import PointFlow, RaceFlow
from api.mats.expected import expected_counts
from api.mats.store.kept import Travel, travels
from api.passings.waiting import waiting_events
from shared.runtime.process import Process

__all__ = ["BINS", "LENGTHS_S", "UNPLACED", "Flows", "flow_of", "with_expected"]

BINS = 200
LENGTHS_S = (10, 30, 60, 120, 300, 600)
# Streams that nobody has placed are hardly a course.
UNPLACED = 12
# What was counted last is true for so long, and for so many times as long as the counting took.
REST_S, REST_TIMES = 5.0, 4
RACES_KEPT = 16


class _Counted(NamedTuple):
    """What was counted: of which people, points and boundaries, up to where, and until when that will do."""

    frame: object
    positions: Sequence[int]
    flow: RaceFlow
    until: float

    def holds(self, frame: object, positions: Sequence[int]) -> bool:
        """Whether it will do: what the race is counts at once, whoever has come by since has a moment."""
        return self.frame == frame and (self.positions == positions or monotonic() < self.until)


class Flows:
    """What was counted of each race last, of the newest few."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._kept: OrderedDict[UUID, _Counted] = OrderedDict()
        self._turn = asyncio.Lock()
        self.counts = 0

    async def of(self, race_id: UUID) -> RaceFlow | None:
        """Return the flow of a race, which may be some seconds old; None: there is no such race."""
        found = await store.points(self._process.pool, race_id)
        if found is None:
            self._kept.pop(race_id, None)
            return None
        changed_at, stands = found
        frame = changed_at, [each._replace(position=0) for each in stands]
        positions = [each.position for each in stands]
        # One after the other: of twenty who ask at once the first counts.
        async with self._turn:
            kept = self._kept.get(race_id)
            if kept is None or not kept.holds(frame, positions):
                counted, until = await self._count(race_id, stands)
                kept = self._kept[race_id] = _Counted(frame, positions, counted, until)
            self._kept.move_to_end(race_id)
            while len(self._kept) > RACES_KEPT:
                self._kept.popitem(last=False)
        # What is expected is cheap, and may be another before anybody else has come by.
        return with_expected(kept.flow, stands, await travels(self._process.pool, race_id))

    async def _count(self, race_id: UUID, stands: Sequence[Stand]) -> tuple[RaceFlow, float]:
        began = monotonic()
        self.counts += 1
        waiting = await waiting_events(self._process.pool, race_id)
        bins = await store.crossed(self._process.pool, race_id, most=BINS, lengths=LENGTHS_S)
        now = monotonic()
        rest_s = max(REST_S, REST_TIMES * (now - began))
        return flow_of(race_id, stands, bins, waiting=waiting), now + rest_s


def flow_of(race_id: UUID, stands: Sequence[Stand], bins: Sequence[Bin], *, waiting: int = 0) -> RaceFlow:
    """Put the bins of points beside each other; those of streams without a place come last, as far as there is room."""
    of_point: dict[str, list[Stand]] = {}
    for stand in stands:
        of_point.setdefault(stand.at, []).append(stand)
    at = [key for key, those in of_point.items() if those[0].place is not None]
    unplaced = [key for key in of_point if key not in at]
    width = 1 + max((each.number for each in bins if each.number is not None), default=-1)
    return RaceFlow(
        race_id=race_id,
        begins_at=bins[0].begins_at if bins else None,
        bin_s=bins[0].bin_s if bins else LENGTHS_S[0],
        points=[
            _point(of_point[key], [each for each in bins if each.at == key], width)
            for key in at + unplaced[:UNPLACED]
        ],
        left_out=len(unplaced[UNPLACED:]),
        waiting_events=waiting,
    )


def with_expected(flow: RaceFlow, stands: Sequence[Stand], ways: Mapping[int, Travel]) -> RaceFlow:
    """Return a flow with what is expected beside what came, at the places to which it is known how long it takes."""
    places = {stand.stream_id: stand.place for stand in stands}
    counts = {places.get(each.stream_ids[0]): each.counts for each in flow.points if each.placed}

    def expected(point: PointFlow) -> list[float]:
        way = ways.get(places.get(point.stream_ids[0]) or 0) if point.placed else None
        before = None if way is None else counts.get(way.from_place)
        if way is None or before is None:
            return []
        return expected_counts(before, flow.bin_s, way.travel_s, way.arrive)

    return replace(flow, points=[replace(each, expected=expected(each)) for each in flow.points])


def _point(stands: Sequence[Stand], bins: Sequence[Bin], width: int) -> PointFlow:
    counts = [0] * width
    for each in bins:
        if each.number is not None:
            counts[each.number] += each.crossed
    return PointFlow(
        name=stands[0].name,
        placed=stands[0].place is not None,
        stream_ids=[each.stream_id for each in stands],
        crossed=sum(each.crossed for each in bins),
        outside=sum(each.crossed for each in bins if each.number is None),
        counts=counts,
        expected=[],
    )
