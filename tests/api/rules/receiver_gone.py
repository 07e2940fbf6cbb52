"""A receiver that is gone for a minute."""

from tests.api.watching import receiver

SAMPLES = {"": receiver(60)}
ELSEWHERE = (r"\bstart it",)
