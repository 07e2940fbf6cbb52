"""What all messages share. Requests refuse fields that they do not know, by name; answers always carry all of their
fields, null where unset. Docstrings and bounds go into the OpenAPI document as they stand.
"""

from datetime import datetime
from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta

from shared.db.connections import LARGEST_BIGINT

__all__ = [
    "LARGEST",
    "Answer",
    "ConflictCursor",
    "CrossingCursor",
    "DeviceId",
    "EpochNumber",
    "EventsPerSecond",
    "Flag",
    "Limit",
    "LongName",
    "Name",
    "Number",
    "PositionCursor",
    "RaceName",
    "ReadCursor",
    "Request",
    "Secret",
    "Tag",
    "Time",
    "WallClock",
]

# What Postgres can hold as text. Half surrogates it cannot hold either, but those are in no JSON that is read here, and
# in no path or query (contract.py).
_TEXT = r"^[^\x00]*$"
Name = Annotated[str, Meta(max_length=200, pattern=_TEXT)]
# Of races and epochs.
LongName = Annotated[str, Meta(max_length=255, pattern=_TEXT)]
RaceName = Annotated[str, Meta(min_length=1, max_length=255, pattern=_TEXT)]
DeviceId = Annotated[str, Meta(max_length=255, pattern=_TEXT)]
Secret = Annotated[str, Meta(max_length=1000, pattern=_TEXT)]
Tag = Annotated[str, Meta(max_length=64, pattern=_TEXT)]
# Some hundreds of them.
Tags = Annotated[str, Meta(max_length=4096, pattern=_TEXT)]
# Some fifty of them.
Streams = Annotated[str, Meta(max_length=2048, pattern=_TEXT)]
# One and two numbers of 8 bytes in base64url (pagination.py), which goes into a URL as it is.
ConflictCursor = Annotated[str, Meta(max_length=11, pattern=r"^[A-Za-z0-9_\-]{11}$")]
PositionCursor = Annotated[str, Meta(max_length=11, pattern=r"^[A-Za-z0-9_\-]{11}$")]
ReadCursor = Annotated[str, Meta(max_length=22, pattern=r"^[A-Za-z0-9_\-]{22}$")]
# A time, a stream, an epoch and a number: 40 bytes.
CrossingCursor = Annotated[str, Meta(max_length=54, pattern=r"^[A-Za-z0-9_\-]{54}$")]
# In a query, where everything is text.
Flag = Literal["true", "false"]
EpochNumber = Annotated[int, Meta(ge=1, le=2**31 - 1)]
LARGEST = LARGEST_BIGINT
Number = Annotated[int, Meta(ge=1, le=LARGEST)]
EventsPerSecond = Annotated[int, Meta(ge=0, le=1_000_000)]
Limit = Annotated[int, Meta(ge=1, le=1000)]
Time = Annotated[datetime, Meta(tz=True)]
WallClock = Annotated[datetime, Meta(tz=False, description="the reader's own clock, without offset")]


class Request(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What is refused when it holds a field that we do not know; where `says_something`, when it holds none at all."""

    says_something: ClassVar[bool] = False

    def __post_init__(self) -> None:
        # An offset may move a time at either end of the calendar out of it.
        for name in self.__struct_fields__:
            at = getattr(self, name)
            if isinstance(at, datetime) and not 1 < at.year < 9999:
                raise ValueError(f"`{name}` must lie in the years 2 to 9998")


class Answer(msgspec.Struct, kw_only=True):
    """What is answered."""
