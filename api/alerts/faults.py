"""What a forwarder's faults (gateway/faults.py) mean to operators: how bad each is, and what to do. Pure."""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal, NamedTuple

__all__ = ["FaultFacts", "judged"]


class FaultFacts(NamedTuple):
    """A fault of a forwarder that was seen lately, with what its gateway says of it."""

    forwarder_id: str
    title: str
    fault: str
    complaint: str
    since: datetime


class _Meaning(NamedTuple):
    level: Literal["watch", "act"]
    reason: str
    advice: str


_MEANINGS: Mapping[str, _Meaning] = {
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
}
_UNKNOWN = _Meaning("watch", "sends what is not right", "Its gateway's log says more.")


def judged(facts: FaultFacts) -> tuple[Literal["watch", "act"], str, str]:
    """Return level, reason and advice."""
    level, reason, advice = _MEANINGS.get(facts.fault, _UNKNOWN)
    return level, f"{reason}: {facts.complaint}", advice
