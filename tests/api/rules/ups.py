"""A battery that is in use, and nearly empty."""

from api.alerts.rules.ups import UpsFacts, batteries

SAMPLES = {"": {batteries: [UpsFacts("f", "Finish", available=True, plugged=False, percent=10)]}}
ELSEWHERE = (
    "check (its|the) [a-z']+",
    "send somebody to the mat",
)
