"""What is amber or red, why, and what to do about it: one file a signal, and every file here is one.

A rule is found because its file is here; nothing else knows it by name. Engine and evaluator, the page, the metrics,
the API's document and its types follow from RULES. What several rules share of facts has its home beside this folder.

No rule's statement counts events, and none reads more of them than the oldest that a receiver has not acked.
"""

from collections.abc import Mapping
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from api.alerts.conditions import Bound
from api.alerts.rule import Rule

__all__ = ["BOUNDS", "RULES", "Signal"]


def _found() -> tuple[Rule[Any], ...]:
    rules = {each.name: import_module(f"{__name__}.{each.name}").RULE for each in iter_modules(__path__)}
    for name, rule in rules.items():
        if rule.signal != name:
            raise ValueError(f"api/alerts/rules/{name}.py has the rule of the signal {rule.signal}")
    return tuple(sorted(rules.values(), key=lambda rule: (rule.order, rule.signal)))


RULES = _found()
BOUNDS: Mapping[str, Bound] = {rule.signal: rule.bound for rule in RULES}

if TYPE_CHECKING:
    Signal: TypeAlias = str
else:
    # The signals that there are: what is served is checked and described by it.
    Signal = Literal[tuple(BOUNDS)]
