"""What an api process shows at /metrics of the notices that it sends."""

from shared.metrics import counter

__all__ = ["NOTICES"]

NOTICES = counter(
    "notices", "notices of alerts: sent, failed (a try), given_up, dropped before they went", "ending"
)
