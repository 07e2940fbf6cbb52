"""A forwarder that is gone for a minute, from a mat that was in use."""

from tests.api.watching import forwarder

SAMPLES = {"": forwarder(60)}
ELSEWHERE = (
    "check (its|the) [a-z']+",
    "send somebody to the mat",
)
