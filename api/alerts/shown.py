"""Alerts as they are shown: what was found, what operators have said of it, and what can be done. Pure."""

from collections.abc import Mapping
from typing import Any

from api.alerts.actions import actions
from api.alerts.rules import RULES
from api.alerts.types import Acknowledgement, Alert, Mute, Muted

__all__ = ["ANSWERS", "alert", "mute"]

# What is made of several columns, or of none.
ANSWERS = frozenset({"actions", "acknowledged", "muted"})
_PLAIN = tuple(name for name in Alert.__struct_fields__ if name not in ANSWERS)
_CONDITIONS = {rule.signal: rule.condition for rule in RULES}
_OF_MUTE = ("alert_id", "signal", "subject_kind", "subject_id", "stream_id", "title", "reason")


def alert(row: Mapping[str, Any]) -> Alert:
    """Make an alert of a row of `answered_alerts`."""
    return Alert(
        **{name: row[name] for name in _PLAIN},
        actions=actions(row["signal"], row["subject_kind"]),
        acknowledged=_acknowledgement(row),
        muted=_muted(row),
    )


def mute(row: Mapping[str, Any]) -> Mute:
    """Make a mute of a row of `alert_mutes`."""
    fields = {name: row[name] for name in _OF_MUTE}
    # One that only a later release has is called by its name.
    condition = _CONDITIONS.get(row["signal"], row["signal"])
    return Mute(
        **fields, condition=condition, by=row["muted_by"], at=row["muted_at"], until=row["muted_until"]
    )


def _acknowledgement(row: Mapping[str, Any]) -> Acknowledgement | None:
    if row["acknowledged_by"] is None:
        return None
    return Acknowledgement(
        by=row["acknowledged_by"], at=row["acknowledged_at"], reason=row["acknowledged_because"]
    )


def _muted(row: Mapping[str, Any]) -> Muted | None:
    if row["muted_by"] is None:
        return None
    return Muted(
        by=row["muted_by"], at=row["muted_at"], until=row["muted_until"], reason=row["muted_because"]
    )
