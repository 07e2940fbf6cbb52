"""A forwarder sends what is not right: its faults (gateway/faults.py), how bad each is, and what to do."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Literal, NamedTuple

from api.alerts.conditions import RANK, Bound, Condition, Finding, Key
from api.alerts.rule import Rule, rows

__all__ = ["MEANINGS", "RULE", "FaultFacts", "faults"]

# Of the last five minutes: a device that is stuck comes again and again, and one that is gone is another signal.
_FAULTS = """
SELECT known.forwarder_id, known.fault, known.complaint, known.since,
       forwarder_title(known.forwarder_id, named.name, named.name IN (SELECT * FROM shared_names())) AS title
FROM forwarder_faults AS known
CROSS JOIN LATERAL (
    SELECT max(forwarder_display_name) FROM streams WHERE streams.forwarder_id = known.forwarder_id
) AS named(name)
WHERE known.ended_at IS NULL AND known.last_at > now() - interval '5 minutes'
  AND NOT retired('forwarder', known.forwarder_id)
ORDER BY known.since
"""


class FaultFacts(NamedTuple):
    """A fault of a forwarder that was seen lately, with what its gateway says of it."""

    forwarder_id: str
    title: str
    fault: str
    complaint: str
    since: datetime


faults = rows(_FAULTS, FaultFacts)


class _Meaning(NamedTuple):
    level: Literal["watch", "act"]
    reason: str
    advice: str


MEANINGS: Mapping[str, _Meaning] = {
    "malformed": _Meaning(
        "watch",
        "sends what is no message of its protocol, and is admitted only now and then",
        "Its reads stay in it. Update its software, and tell its maker what it says here.",
    ),
    "dead_letter": _Meaning(
        "watch",
        "sends a batch that cannot be stored, and is admitted only now and then",
        "Its batch is kept aside; the log says why it cannot be stored. Its other reads stay in it until then. "
        "Tell its maker.",
    ),
    "long_line": _Meaning(
        "act",
        "is stuck with a line that is no read",
        "Nothing of it is stored until that line is gone. Restart it; if it comes back with it, take that line out of "
        "its journal.",
    ),
    "too_many_readers": _Meaning(
        "act",
        "reads of some readers are not taken",
        "They stay in it. Unplug it, delete those of its streams without a read that are not used any more, and plug "
        "it in again; or raise MAX_READERS.",
    ),
    "too_many_epochs": _Meaning(
        "act",
        "reads of new epochs are not taken",
        "They stay in it. Raise MAX_EPOCHS, and tell its maker. Where its token may be in other hands, make another "
        "and revoke the old one.",
    ),
}
_UNKNOWN = _Meaning("watch", "sends what is not right", "Its gateway's log says more.")


def _findings(facts: Sequence[FaultFacts]) -> Iterator[Finding]:
    """Of several faults of a forwarder the worst is told; it ends when its gateway says so, or says no more of it."""
    found: dict[str, Finding] = {}
    for fault in facts:
        level, reason, advice = MEANINGS.get(fault.fault, _UNKNOWN)
        known = found.get(fault.forwarder_id)
        if known is None or RANK[level] > RANK[known.conditions[0].level]:
            key = Key("forwarder_fault", "forwarder", fault.forwarder_id)
            conditions = [Condition(level, 0, f"{reason}: {fault.complaint}", fault.since)]
            found[fault.forwarder_id] = Finding(key, fault.title, conditions, advice, "sends what is right")
    yield from found.values()


RULE = Rule(
    signal="forwarder_fault",
    condition="sends what is not right",
    order=20,
    bound=Bound(0, 0, 0, 0),
    source=faults,
    findings=_findings,
    actions=("restart_forwarder", "open_streams", "open_log"),
)
