"""Notices of alerts as operators see them: what people were told, and what they were not."""

from typing import Literal

from api.http.types import Answer, Time

__all__ = ["Notice", "Notices"]


class Notice(Answer):
    """One notice. kind: red, or over. state: due (it is tried, and tried again), taken (it is under way), sent,
    given_up (an hour was not enough), dropped (there was nothing to tell any more before it went). reached: who has it,
    by the names of the addresses. problem: why the last try did not reach all. ended_at: since when nothing is tried.
    """

    notice_id: int
    kind: Literal["red", "over"]
    state: Literal["due", "taken", "sent", "given_up", "dropped"]
    title: str | None
    body: str | None
    made_at: Time
    told_at: Time | None
    ended_at: Time | None
    tries: int
    reached: list[str]
    problem: str | None


class Notices(Answer):
    """Who is told of alerts, by the names of the addresses, of which nothing else is shown; and the newest notices."""

    to: list[str]
    notices: list[Notice]
