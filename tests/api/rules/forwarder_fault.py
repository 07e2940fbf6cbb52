"""Every fault that a forwarder can have, and one of a later release."""

from api.alerts.rules.forwarder_fault import MEANINGS, FaultFacts, faults
from tests.api.watching import NOW

SAMPLES = {
    fault: {faults: [FaultFacts("f", "Finish", fault, "it is no JSON", NOW)]}
    for fault in (*MEANINGS, "of a later release")
}
ELSEWHERE = (
    "update its software",
    "tell its maker",
    "take that line out of its journal",
    "raise MAX_READERS",
    "raise MAX_EPOCHS",
    "make another and revoke the old one",
    "unplug it",
    "plug it in again",
)
