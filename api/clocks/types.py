"""Zones of readers' clocks, and what is known of the clocks."""

from typing import Annotated
from uuid import UUID

from msgspec import UNSET, Meta, UnsetType

from api.http.types import Answer, Name, Request, Time

__all__ = ["ClockLine", "ClockQuery", "ClockStep", "Clocks", "ForwarderZone", "WantedZone"]


class ForwarderZone(Answer):
    """The zone that the clocks of a forwarder's readers are set to, a name of the tz database; null: it has none of its
    own, and TIME_ZONE counts, or what most readers agree on.
    """

    forwarder_id: str
    time_zone: str | None


class WantedZone(Request):
    """Which zone, in any case; null, or left out: none of its own. expected_time_zone: the one before, as far as
    whoever asks knows.
    """

    time_zone: Name | None = None
    expected_time_zone: Name | UnsetType | None = UNSET


class ClockQuery(Request):
    """Of which stream, or of all, and of how many hours up to now."""

    stream_id: UUID | None = None
    hours: Annotated[int, Meta(ge=1, le=48)] = 12


class ClockStep(Answer):
    """That somebody set a clock: its offset before, and from then on; null where no zone is known."""

    at: Time
    was_ms: int | None
    is_ms: int | None


class ClockLine(Answer):
    """A reader's clock. time_zone: what it is compared with, where that is given. offset: reader's minus ours, when
    the last read told (`told_at`); null where nobody knows the zone (zone_unknown). was_ms: before it was set last,
    which was seen at `stepped_at`. drift_ppm: what it gains, in microseconds a second, within twice drift_error_ppm;
    null where that is not known yet. offsets_ms: at the end of each bin, null where nothing was told. steps: when it
    was set since the axis begins, the newest first.
    """

    stream_id: UUID
    title: str
    time_zone: str | None
    offset_ms: int | None
    zone_unknown: bool
    told_at: Time
    was_ms: int | None
    stepped_at: Time | None
    drift_ppm: float | None
    drift_error_ppm: float | None
    offsets_ms: list[int | None]
    steps: list[ClockStep]


class Clocks(Answer):
    """Readers' clocks over time, in bins of `bin_s` seconds from `begins_at` on, of which the last one is under way;
    the clocks that are furthest off first. left_out: so many have no room here.
    """

    begins_at: Time
    bin_s: int
    clocks: list[ClockLine]
    left_out: int
