"""The one name that follows a batch through the logs of all services: who sent it, and when its gateway received it.

Both are stored with each of its events, so that every service knows the name and nothing more has to be carried along.
Lines about single batches are of level debug, with the name as `batch`.
"""

from datetime import UTC, datetime

__all__ = ["batch_name"]


def batch_name(forwarder_id: str, received_at: datetime) -> str:
    """Return the name of a batch: `finish/20261123T101112.345678Z`."""
    return f"{forwarder_id}/{received_at.astimezone(UTC):%Y%m%dT%H%M%S.%fZ}"
