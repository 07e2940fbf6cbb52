"""What each signal is found of: one file a signal, named as its rule's, with facts that are wrong in each of its ways.

A sample is found because its file is here. Tests that go through all signals go through these, so a new signal adds its
rule and its sample, and no test has to know of it.

A file has SAMPLES, facts by what is wrong, and where its advice tells of it, ELSEWHERE: words for what is done at the
mat, at a machine or in a setting, and not on the page.
"""

from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from api.alerts.conditions import Finding
from api.alerts.findings import Facts, find
from api.alerts.rule import Rule
from api.alerts.rules import RULES
from tests.api.watching import NOW

__all__ = ["ELSEWHERE", "SAMPLES", "every"]

RULE_OF = {rule.signal: rule for rule in RULES}
_MODULES = {each.name: import_module(f"{__name__}.{each.name}") for each in iter_modules(__path__)}
SAMPLES: Mapping[str, Mapping[str, Facts]] = {name: each.SAMPLES for name, each in _MODULES.items()}
ELSEWHERE: Sequence[str] = sorted(
    {words for each in _MODULES.values() for words in getattr(each, "ELSEWHERE", ())}
)


def every() -> Iterator[tuple[str, Finding]]:
    """Yield what is found of each sample, with the signal and what is wrong; of other signals nothing. Then what the
    page finds of it by itself, hours after whatever the sample says was looked at.
    """
    for signal, samples in SAMPLES.items():
        for wrong, facts in samples.items():
            for finding in find(facts, []):
                if finding.key.signal == signal and finding.conditions:
                    yield f"{signal} {wrong}".strip(), finding
            yield from (
                (f"{signal} {wrong} (unkept)", finding) for finding in _unkept(RULE_OF[signal], facts)
            )


def _unkept(rule: Rule[Any], facts: Facts) -> Iterator[Finding]:
    if rule.unkept is not None:
        yield from filter(None, (rule.unkept(fact, NOW) for fact in facts.get(rule.source, ())))
