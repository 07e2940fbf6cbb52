"""Alerts: acknowledged, muted, and both taken back."""

from datetime import timedelta
from typing import Final

from api.alerts import store
from api.alerts.types import AcknowledgeRequest, Alert, AlertPath, MuteRequest
from api.http.asking import NAMELESS, asker
from api.http.context import Api
from api.http.errors import ApiError
from shared.db.channels import STATES
from shared.db.connections import Transaction

__all__ = [
    "acknowledge_alert",
    "mute_alert",
    "take_back_acknowledgement",
    "take_back_mute",
]

MUTED_AT_MOST: Final = timedelta(hours=24)
# A minute for the clock of a page that asks for 24 hours from what it takes for now.
_BOUNDS: Final = store.MuteBounds(usual=timedelta(hours=1), at_most=MUTED_AT_MOST, slack=timedelta(minutes=1))


async def acknowledge_alert(api: Api, *, path: AlertPath, body: AcknowledgeRequest) -> Alert:
    """Say that you know of an alert: it is shown, and does not count in the verdict until it ends or gets worse."""
    because = _text(body.reason)
    async with api.changing() as (connection, note):
        said = await store.acknowledge(
            connection, path.alert_id, reason=because, by=asker().by, level=body.expected_level
        )
        alert = await _found(connection, path)
        if not said.done:
            raise _not_acknowledged(alert, body)
        await note("alert_acknowledged", **_about(alert), **({} if because is None else {"because": because}))
    api.process.notifier.notify(STATES)
    return alert


async def take_back_acknowledgement(api: Api, *, path: AlertPath) -> None:
    """Have an acknowledged alert count again."""
    async with api.changing() as (connection, note):
        alert = await store.find(connection, path.alert_id)
        if not await store.take_back_acknowledgement(connection, path.alert_id):
            raise ApiError("NOT_FOUND", "nobody has acknowledged this alert, or it is taken back already")
        await note(
            "acknowledgement_taken_back", **({"alert_id": path.alert_id} if alert is None else _about(alert))
        )
    api.process.notifier.notify(STATES)


async def mute_alert(api: Api, *, path: AlertPath, body: MuteRequest) -> Alert:
    """Say that you do not want to hear of an alert for a while: what is wrong is shown as muted and does not count in
    the verdict until then, however often it ends and begins anew.
    """
    reason = _text(body.reason)
    if reason is None:
        raise ApiError("BAD_REQUEST", "reason: it is blank; say why, for whoever sees that it is muted")
    async with api.changing() as (connection, note):
        said = await store.mute_alert(
            connection, path.alert_id, reason=reason, by=asker().by, until=body.until, bounds=_BOUNDS
        )
        if said.until is None:
            raise ApiError("BAD_REQUEST", "until: it must be within the next 24 hours; mute it again then")
        alert = await _found(connection, path)
        if not said.done:
            raise _not_muted(alert)
        await note("alert_muted", **_about(alert), because=reason, until=said.until.isoformat())
    api.process.notifier.notify(STATES)
    return alert


async def take_back_mute(api: Api, *, path: AlertPath) -> None:
    """Have what is muted count again: by the alert itself, or by the one that it was said of."""
    async with api.changing() as (connection, note):
        title = await store.take_back_mute(connection, path.alert_id)
        if title is None:
            raise ApiError("NOT_FOUND", "this is not muted, or not any more")
        await note("mute_taken_back", alert=title, alert_id=path.alert_id)
    api.process.notifier.notify(STATES)


async def _found(connection: Transaction, path: AlertPath) -> Alert:
    alert = await store.find(connection, path.alert_id)
    if alert is None:
        raise ApiError("NOT_FOUND", "there is no such alert, or not any more")
    return alert


def _not_acknowledged(alert: Alert, body: AcknowledgeRequest) -> ApiError:
    if alert.ended_at is not None:
        return ApiError("CONFLICT", "it is over already: there is nothing to acknowledge")
    if alert.acknowledged is not None:
        known = alert.acknowledged
        return ApiError(
            "CONFLICT",
            f"{_whom(known.by)} has acknowledged it already",
            details={"by": known.by, "at": known.at.isoformat(), "reason": known.reason},
        )
    return ApiError(
        "CONFLICT",
        f"it has become worse: {alert.reason}. Look at it again",
        details={"level": alert.level, "expected_level": body.expected_level},
    )


def _not_muted(alert: Alert) -> ApiError:
    if alert.muted is None:
        return ApiError(
            "CONFLICT", f"{store.MUTES} conditions are muted already; take one of them back first"
        )
    known = alert.muted
    return ApiError(
        "CONFLICT",
        f"{_whom(known.by)} has muted it already; take that back first",
        details={"by": known.by, "until": known.until.isoformat(), "reason": known.reason},
    )


def _about(alert: Alert) -> dict[str, object]:
    """What the log says of an alert, in words: an id says nothing to whoever reads it a day later."""
    return {"alert": alert.title, "was": alert.level, "reason": alert.reason}


def _whom(by: str) -> str:
    """How to call somebody who has asked without a name."""
    return "somebody" if by in NAMELESS else by


def _text(text: str | None) -> str | None:
    """A blank reason is none."""
    return text.strip() if text is not None and text.strip() else None
