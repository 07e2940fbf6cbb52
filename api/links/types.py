"""A link to be made, one that was made, and what it shows."""

from typing import Annotated

from msgspec import Meta

from api.http.types import Answer, Request, Time
from api.search.types import Timeline

__all__ = ["LinkedTimeline", "NewLink", "ShownLink", "TimelineLink"]

LONGEST_HOURS, DEFAULT_HOURS = 168, 24


class NewLink(Request):
    """For how many hours a link is to be valid."""

    hours: Annotated[int, Meta(ge=1, le=LONGEST_HOURS)] = DEFAULT_HOURS


class TimelineLink(Answer):
    """A link. path: beside the address of the server; all that is secret stands behind the #, which a browser sends to
    nobody.
    """

    path: str
    expires_at: Time


class ShownLink(Request):
    """What stands behind the # of a link. In a body, so that no proxy keeps it."""

    link: str


class LinkedTimeline(Timeline):
    """What was read of the one person that a link is of, and until when it shows that."""

    expires_at: Time
