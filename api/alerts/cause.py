"""What alerts have in common: what went wrong there. The one notion of it, for the page as for notices to people. Pure.

A cause is a kind of fault at one device, process or the database: readers of a forwarder that say nothing are one,
however many of its streams complain, and a receiver that was away and is behind now is one, too. What kind a signal is
of stands with its rule; a rule that says nothing of it has a kind of its own.
"""

from collections.abc import Mapping

from api.alerts.conditions import Finding
from api.alerts.rules import RULES

__all__ = ["cause_of"]

_KINDS: Mapping[str, str] = {rule.signal: rule.cause or rule.signal for rule in RULES}


def cause_of(finding: Finding) -> str:
    """Return the cause of what was found: "reader:forwarder:box-7" for all silent readers of the forwarder box-7."""
    key, owner = finding.key, finding.owner
    # Of many streams that have become one finding of their device the key names it, so the cause stays what it was.
    kind, device = (key.subject_kind, key.subject_id) if owner is None else (owner.kind, owner.device_id)
    return f"{_KINDS[key.signal]}:{kind}:{device}"
