"""Alerts, and what operators say of them: that they know, or that they do not want to hear of it for a while."""

from typing import Annotated, Literal, TypeAlias
from uuid import UUID

from msgspec import Meta

from api.alerts.actions import Action
from api.alerts.conditions import Level, SubjectKind
from api.alerts.rules import Signal
from api.http.types import Answer, Name, Number, Request, Time

__all__ = [
    "AcknowledgeRequest",
    "Acknowledgement",
    "Alert",
    "AlertPath",
    "Alerts",
    "Mute",
    "MuteRequest",
    "Muted",
    "Quiet",
]

Quiet: TypeAlias = Literal["acknowledged", "clearing", "muted"]
Reason = Annotated[Name, Meta(min_length=1, description="why, in the operator's words")]


class AlertPath(Request):
    """An alert, by its trouble_id."""

    alert_id: Number


class AcknowledgeRequest(Request):
    """Why it may wait. expected_level: the level that was looked at; an alert that is worse by now is refused."""

    reason: Name | None = None
    expected_level: Literal["watch", "act"] | None = None


class MuteRequest(Request):
    """Why nobody wants to hear of it, and until when: an hour without it, 24 hours at the most."""

    reason: Reason
    until: Time | None = None


class Acknowledgement(Answer):
    """Who knows of an alert, since when, and why it may wait."""

    by: str
    at: Time
    reason: str | None


class Muted(Answer):
    """Who does not want to hear of an alert, since when, until when, and why."""

    by: str
    at: Time
    until: Time
    reason: str


class Alert(Answer):
    """Something amber or red: who, what, since when, and what to do about it; with an end once it is resolved.

    quiet: why an open one does not count in the verdict; clearing: nothing is wrong any more, and it is shown for its
    time. actions: what of its advice can be done where it is read. cause: the same of all alerts that are one fault at
    one device.
    """

    trouble_id: int
    signal: Signal
    subject_kind: SubjectKind
    subject_id: str
    stream_id: UUID | None
    title: str
    level: Level
    reason: str
    advice: str
    actions: list[Action]
    since: Time
    ended_at: Time | None
    duration_s: float | None
    quiet: Quiet | None
    acknowledged: Acknowledgement | None
    muted: Muted | None
    cause: str


class Mute(Muted):
    """What is muted, whether it is wrong at the moment or not: one condition of one subject, and of what it stands for.
    alert_id: of which it was said. condition: what is muted, in words.
    """

    alert_id: int
    signal: Signal
    condition: str
    subject_kind: SubjectKind
    subject_id: str
    stream_id: UUID | None
    title: str


class Alerts(Answer):
    """The alerts, open ones first, and some that are over; as in the overview. mutes: all that is muted."""

    alerts: list[Alert]
    mutes: list[Mute]
