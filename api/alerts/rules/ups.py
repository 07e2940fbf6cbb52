"""A forwarder lives on its battery, or that runs low; or it was on battery when it was last heard of."""

from typing import NamedTuple

from api.alerts.conditions import Bound, Condition, Finding, Key
from api.alerts.rule import Rule, each, rows

__all__ = ["RULE", "UpsFacts", "batteries"]

BOUND = Bound.holding(0, 0)
LOW_PERCENT, EMPTY_PERCENT = 40, 15

# A box whose streams are all closed is taken down: that it has no power is no news.
_UPS = """
SELECT ups.forwarder_id,
       forwarder_title(ups.forwarder_id, owned.name, owned.name IN (SELECT * FROM shared_names())) AS title,
       ups.available, (ups.status ->> 'power_plugged')::boolean AS plugged,
       (ups.status ->> 'battery_percent')::integer AS percent, coalesce(owned.closed, false) AS closed
FROM reported_ups AS ups
CROSS JOIN LATERAL (
    SELECT max(forwarder_display_name), bool_and(closed.stream_id IS NOT NULL)
    FROM streams LEFT JOIN closed_streams AS closed USING (stream_id)
    WHERE streams.forwarder_id = ups.forwarder_id AND NOT is_memory(reader_ip)
) AS owned(name, closed)
WHERE NOT retired('forwarder', ups.forwarder_id)
"""


class UpsFacts(NamedTuple):
    """A forwarder's battery. plugged, percent: as they were told last, whether it is available now or not; None: never.
    closed: all of the forwarder's streams are.
    """

    forwarder_id: str
    title: str
    available: bool
    plugged: bool | None
    percent: int | None
    closed: bool = False


batteries = rows(_UPS, UpsFacts)


def _finding(facts: UpsFacts) -> Finding:
    return Finding(
        Key("ups", "forwarder", facts.forwarder_id),
        facts.title,
        [] if facts.closed else _conditions(facts),
        "Check its plug and its power cable. If there is no power, send somebody to the mat with a charged battery "
        "before this one is empty.",
        "its streams are closed" if facts.closed else "has power, and its battery is charged",
    )


def _conditions(facts: UpsFacts) -> list[Condition]:
    """The reason says which bound was passed, and not the number, which is another every minute."""
    on_battery, percent = facts.plugged is False, facts.percent
    if not facts.available:
        reason = "was on battery, and its battery cannot be asked any more"
        return [Condition("act", 0, reason)] if on_battery else []
    if on_battery and percent is not None and percent < EMPTY_PERCENT:
        return [Condition("act", 0, f"on battery, {_less_than(EMPTY_PERCENT)} left")]
    if percent is not None and percent < LOW_PERCENT:
        reason = (
            f"on battery, {_less_than(LOW_PERCENT)} left"
            if on_battery
            else f"has power, and {_less_than(LOW_PERCENT)} in its battery"
        )
        return [Condition("watch", 0, reason)]
    return [Condition("watch", 0, "on battery")] if on_battery else []


def _less_than(percent: int) -> str:
    # Not to be torn apart at the end of a line.
    return f"less than {percent}\u00a0%"


RULE = Rule(
    signal="ups",
    condition="its battery",
    order=15,
    cause="forwarder",
    bound=BOUND,
    source=batteries,
    findings=each(_finding),
)
