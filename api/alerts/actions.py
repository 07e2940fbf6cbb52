"""What can be done about an alert where it is read. Pure.

An alert's advice either names something here, for which the page has a button or a link beside it, or something that is
done outside of the page: at the mat, at the reader, at the machine. tests/api/test_actions.py goes through all advice.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

from api.alerts.engine import Signal, SubjectKind

__all__ = ["Action", "actions"]

Action: TypeAlias = Literal[
    "close_stream",
    "close_streams",
    "delete_cursors",
    "open_conflicts",
    "open_log",
    "open_stream",
    "open_streams",
    "restart_forwarder",
    "revoke_tokens",
]

_ACTIONS: Mapping[Signal, Sequence[Action]] = {
    "forwarder_gone": ("close_streams", "revoke_tokens"),
    "forwarder_fault": ("restart_forwarder", "open_streams", "open_log"),
    "last_read": ("close_stream",),
    "missing": ("restart_forwarder", "open_stream"),
    "conflict": ("open_conflicts",),
    "clock": ("open_stream",),
    "unparsed": ("open_stream",),
    "receiver_behind": (),
    "receiver_gone": ("delete_cursors",),
    "process": ("open_log",),
    "database": ("open_log",),
}
# One alert for many streams of a forwarder.
_OF_MANY: Mapping[Action, Action] = {"close_stream": "close_streams", "open_stream": "open_streams"}


def actions(signal: Signal, subject_kind: SubjectKind) -> list[Action]:
    """Return what the page offers beside an alert, the first of them first."""
    offered = _ACTIONS[signal]
    return list(offered) if subject_kind == "stream" else [_OF_MANY.get(each, each) for each in offered]
