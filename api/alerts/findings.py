"""What the rules say of facts: these are read once for all rules, those are gone through one by one.

It knows no signal by name: all that there are stand in api/alerts/rules/.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from api.alerts.coalesce import coalesced
from api.alerts.conditions import Finding
from api.alerts.engine import AlertState
from api.alerts.rule import Source
from api.alerts.rules import RULES
from api.storage.plans import FORGET
from shared.db.connections import Connection
from shared.db.errors import translated

__all__ = ["Facts", "find", "gather"]

# All that is looked at, of one moment, by where it comes from.
Facts: TypeAlias = Mapping[Source[Any], Sequence[Any]]


async def gather(connection: Connection) -> Facts:
    """Return all that the rules are about; each source is asked once, whatever number of rules share it."""
    wanted: dict[Source[Any], list[str]] = defaultdict(list)
    for rule in RULES:
        wanted[rule.source] += [] if rule.wanted is None else [rule.wanted]
    with translated():
        await connection.execute(FORGET)
        return {source: await source(connection, parts) for source, parts in wanted.items()}


def find(facts: Facts, states: Sequence[AlertState]) -> Iterator[Finding]:
    """Yield what the facts say, one finding for each key that there is; of many streams of one forwarder one, where
    they say the same, and of many that one receiver follows. states: the alerts that are open at the moment. Pure.
    """
    known: dict[str, list[AlertState]] = defaultdict(list)
    for state in states:
        known[state.key.signal].append(state)
    for rule in RULES:
        findings = rule.findings(facts.get(rule.source, ()))
        yield from coalesced(findings, known[rule.signal]) if rule.coalesces else findings
