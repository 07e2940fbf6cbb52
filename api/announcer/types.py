"""How the announcer is set, and what it shows: to operators with chips and streams, to everybody without."""

from typing import Annotated
from uuid import UUID

from msgspec import UNSET, Meta, UnsetType, field

from api.http.types import Answer, Request, Time

__all__ = [
    "SMALLEST_LIST",
    "STREAMS",
    "AnnouncerConfig",
    "AnnouncerState",
    "Finisher",
    "NewAnnouncerConfig",
    "PublicAnnouncerState",
    "PublicFinisher",
]

# What a look at all of them reads is bounded by how many there are (store/announcements.py).
STREAMS = 256
SMALLEST_LIST, LARGEST_LIST = 1, 500


class NewAnnouncerConfig(Request):
    """How the announcer is to be. A stream that is named twice is selected once; a list size beyond 1 or 500 is 1 or
    500. expected_updated_at: when it was set last, as far as whoever asks knows.
    """

    enabled: bool
    max_list_size: int
    selected_stream_ids: Annotated[list[UUID], Meta(max_length=STREAMS)] = field(default_factory=list)
    expected_updated_at: Time | UnsetType = UNSET

    @property
    def list_size(self) -> int:
        """The size that it gets."""
        return min(max(self.max_list_size, SMALLEST_LIST), LARGEST_LIST)


class AnnouncerConfig(Answer):
    """How the announcer is set. public_enabled: it is enabled, has a stream, and its time is not over: it announces."""

    enabled: bool
    enabled_until: Time | None
    selected_stream_ids: list[UUID]
    max_list_size: int
    updated_at: Time
    public_enabled: bool


class Finisher(Answer):
    """Who has come in, as operators see it: the read that said so, and whose it is as far as is known."""

    stream_id: UUID
    seq: int
    chip_id: str
    bib: int | None
    display_name: str
    reader_timestamp: str | None
    received_at: Time


class AnnouncerState(AnnouncerConfig):
    """How the announcer is set, how many have come in since its run began, and the newest of them first."""

    finisher_count: int
    rows: list[Finisher]


class PublicFinisher(Answer):
    """Who has come in, as everybody sees it. announcement_id: 1, 2, 3 and so on within a run."""

    announcement_id: int
    bib: int | None
    display_name: str
    reader_timestamp: str | None


class PublicAnnouncerState(Answer):
    """How many have come in, and the newest of them first. Names are personal data: there is nothing else of them."""

    public_enabled: bool
    finisher_count: int
    max_list_size: int
    rows: list[PublicFinisher]
