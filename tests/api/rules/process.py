"""A process without a heartbeat, and one that says itself what is wrong."""

from tests.api.watching import process

SAMPLES = {"": process(60), "of which it says so": process(-100, problem="it says so")}
ELSEWHERE = (
    r"\bstart it",
    "mend what it says",
)
