"""What can be done about an alert where it is read. Pure.

An alert's advice either names something here, for which the page has a button or a link beside it, or something that is
done outside of the page: at the mat, at the reader, at the machine. tests/api/test_actions.py goes through all advice.
"""

from collections.abc import Mapping, Sequence

from api.alerts.conditions import SubjectKind
from api.alerts.rule import Action
from api.alerts.rules import RULES

__all__ = ["Action", "actions"]

_ACTIONS: Mapping[str, Sequence[Action]] = {rule.signal: rule.actions for rule in RULES}
# One alert for many streams of a forwarder.
_OF_MANY: Mapping[Action, Action] = {"close_stream": "close_streams", "open_stream": "open_streams"}


def actions(signal: str, subject_kind: SubjectKind) -> list[Action]:
    """Return what the page offers beside an alert, the first of them first."""
    # A process of the next release may know a signal that this one does not; its alerts are shown all the same.
    offered = _ACTIONS.get(signal, ())
    return list(offered) if subject_kind == "stream" else [_OF_MANY.get(each, each) for each in offered]
