"""The clock of a machine that takes reads in is not the database's, or nobody keeps it.

What its gateways note of when reads came is corrected (shared/runtime/database_clock.py), so no reader's clock looks
wrong for it. But a clock that is off, or that nobody keeps, drifts on, and everything else on that machine goes by it.
"""

from typing import NamedTuple

from api.alerts.conditions import Bound, Condition, Finding, Key
from api.alerts.rule import Rule, each, rows
from api.clocks.spans import span

__all__ = ["RULE", "MachineFacts", "machines"]

WATCH_MS = 50
# A clock that is set right is known for right with the next sign of life; one that is wrong for a moment is no news.
LASTS_S = 5.0

_MACHINES = """
SELECT host, (array_agg(clock_ahead_ms ORDER BY abs(clock_ahead_ms) DESC NULLS LAST))[1]::float AS ahead_ms,
       coalesce(bool_and(clock_kept), true) AS kept
FROM processes
WHERE role = 'gateway' AND process_id IN (SELECT process_id FROM live_processes)
GROUP BY host
"""


class MachineFacts(NamedTuple):
    """A machine with gateways. ahead_ms: how far its clock is ahead of the database's, as the one that is furthest off
    has measured; None: not yet. kept: not one of them knows that nobody keeps it.
    """

    host: str
    ahead_ms: float | None
    kept: bool


machines = rows(_MACHINES, MachineFacts)


def _finding(facts: MachineFacts) -> Finding:
    return Finding(
        Key("machine_clock", "process", facts.host),
        f"machine {facts.host}",
        _conditions(facts),
        "Have a time service keep the clock of that machine and of the database's. "
        "If one does that it does not know of, set CLOCK_KEPT=yes. Times of receipt are corrected meanwhile.",
        "its clock is the database's, and kept",
    )


def _conditions(facts: MachineFacts) -> list[Condition]:
    conditions = []
    if not facts.kept:
        conditions.append(Condition("watch", LASTS_S, "nobody keeps its clock"))
    if facts.ahead_ms is not None and abs(facts.ahead_ms) > WATCH_MS:
        size = abs(round(facts.ahead_ms))
        off = f"{size} ms" if size < 1000 else span(size)
        side = "ahead of" if facts.ahead_ms > 0 else "behind"
        conditions.append(Condition("watch", LASTS_S, f"its clock is {off} {side} the database's"))
    return conditions


RULE = Rule(
    signal="machine_clock",
    condition="its clock",
    order=65,
    bound=Bound.holding(LASTS_S, LASTS_S),
    source=machines,
    findings=each(_finding),
)
