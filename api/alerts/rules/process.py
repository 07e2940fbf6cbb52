"""A process of ours is silent, is not ready, or says itself what is wrong with it."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from api.alerts.conditions import Bound, Condition, Finding, Key, lasting
from api.alerts.rule import Rule, each, levels, rows

__all__ = ["RULE", "ProcessFacts", "processes"]

BOUND = Bound.holding(5, 15)
# A process that starts or stops is not ready for a moment.
NOT_READY_S = 5.0

_PROCESSES = """
SELECT process_id, role || ' on ' || host AS title, last_seen_at, lives, ready, problem FROM expected_processes
"""


class ProcessFacts(NamedTuple):
    """A process that nobody has replaced. lives: it holds its lease and its lock. problem: what is wrong, by its own
    word; a process that is ready may have one, too.
    """

    process_id: UUID
    title: str
    last_seen_at: datetime
    lives: bool
    ready: bool
    problem: str | None = None


processes = rows(_PROCESSES, ProcessFacts)


def _finding(facts: ProcessFacts) -> Finding:
    return Finding(
        Key("process", "process", str(facts.process_id)),
        facts.title,
        _conditions(facts),
        "Mend what it says; its log says more. What waits is stored then, nothing is lost."
        if facts.lives and facts.problem
        else "The others have taken over. If it is not started again by itself, start it; its /readyz and its log say "
        "why.",
        "runs",
    )


def _conditions(facts: ProcessFacts) -> list[Condition]:
    conditions = levels(BOUND, lambda after: f"no heartbeat for {lasting(after)}", facts.last_seen_at)
    # While it starts or stops it is not ready for a moment, and says so.
    if facts.lives and facts.ready and facts.problem is not None:
        conditions.append(Condition("watch", 0, facts.problem))
    if facts.lives and not facts.ready:
        why = f": {facts.problem}" if facts.problem else ""
        conditions.append(Condition("act", NOT_READY_S, f"runs but is not ready{why}"))
    return conditions


RULE = Rule(
    signal="process",
    condition="its state",
    order=100,
    bound=BOUND,
    source=processes,
    findings=each(_finding),
    actions=("open_log",),
)
