"""What the web page of the field asks of a server, and what it reads in the answers: names, nesting, types. Fields that
it does not read are none of its business; one that is missing, or of another type, breaks it. It has a table's rows by
their keys, so two rows of one key break it, too.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Literal, TypeVar

import aiohttp
import msgspec

from tests.api.conftest import Client

__all__ = [
    "Assignments",
    "Epoch",
    "EpochName",
    "EpochRace",
    "Logs",
    "Mappings",
    "Metrics",
    "MetricsTold",
    "Page",
    "Race",
    "RaceTold",
    "Races",
    "Reads",
    "Roster",
    "Stream",
    "StreamTold",
    "Streams",
    "Uploaded",
]

Answer = TypeVar("Answer")
Row = TypeVar("Row")


class Stream(msgspec.Struct):
    """A stream; the event that tells of a new one is the same at its top level."""

    stream_id: str
    forwarder_id: str
    reader_ip: str
    display_alias: str | None
    forwarder_display_name: str | None
    online: bool
    reader_connected: bool
    stream_epoch: int
    created_at: datetime


class Streams(msgspec.Struct):
    """GET /streams."""

    streams: list[Stream]


class Metrics(msgspec.Struct):
    """GET /streams/…/metrics; in the event the same at the top level, beside the stream's id."""

    raw_count: int
    dedup_count: int
    retransmit_count: int
    lag_ms: int | None
    epoch_raw_count: int
    epoch_dedup_count: int
    epoch_retransmit_count: int
    epoch_lag_ms: int | None
    epoch_last_received_at: datetime | None
    unique_chips: int
    last_tag_id: str | None
    last_reader_timestamp: str | None


class MetricsTold(Metrics, kw_only=True):
    """The event metrics_updated."""

    stream_id: str


class StreamTold(msgspec.Struct):
    """The event stream_updated: what has changed, where the page knows a field of this name."""

    stream_id: str
    stream_epoch: int | msgspec.UnsetType = msgspec.UNSET
    online: bool | msgspec.UnsetType = msgspec.UNSET
    reader_connected: bool | msgspec.UnsetType = msgspec.UNSET
    display_alias: str | msgspec.UnsetType | None = msgspec.UNSET
    forwarder_display_name: str | msgspec.UnsetType | None = msgspec.UNSET


class Epoch(msgspec.Struct):
    """One of GET /streams/…/epochs, which is an array."""

    epoch: int
    event_count: int
    first_event_at: datetime | None
    last_event_at: datetime | None
    name: str | None
    is_current: bool


class EpochRace(msgspec.Struct):
    """PUT …/epochs/…/race."""

    stream_id: str
    stream_epoch: int
    race_id: str | None


class EpochName(msgspec.Struct):
    """PUT …/epochs/…/name."""

    stream_id: str
    stream_epoch: int
    name: str | None


class Mapping(msgspec.Struct):
    """An epoch of a race."""

    stream_id: str
    forwarder_id: str
    reader_ip: str
    stream_epoch: int
    race_id: str | None


class Mappings(msgspec.Struct):
    """GET /races/…/stream-epochs."""

    mappings: list[Mapping]


class Read(msgspec.Struct):
    """A read."""

    stream_id: str
    seq: int
    reader_timestamp: str | None
    tag_id: str | None
    received_at: datetime
    bib: int | None
    first_name: str | None
    last_name: str | None


class Reads(msgspec.Struct):
    """GET …/reads."""

    reads: list[Read]
    total: int
    limit: int
    offset: int


class Race(msgspec.Struct):
    """A race."""

    race_id: str
    name: str
    created_at: datetime
    participant_count: int
    chip_count: int


class Races(msgspec.Struct):
    """GET /races."""

    races: list[Race]


class RaceTold(msgspec.Struct):
    """The race of a forwarder, and the event forwarder_race_assigned."""

    forwarder_id: str
    race_id: str | None


class Assignments(msgspec.Struct):
    """GET /forwarder-races."""

    assignments: list[RaceTold]


class Person(msgspec.Struct):
    """Who runs."""

    bib: int
    first_name: str
    last_name: str
    gender: Literal["M", "F", "X"]
    affiliation: str | None
    chip_ids: list[str]


class Unmatched(msgspec.Struct):
    """A chip of nobody."""

    chip_id: str
    bib: int


class Roster(msgspec.Struct):
    """GET /races/…/participants."""

    participants: list[Person]
    chips_without_participant: list[Unmatched]


class Uploaded(msgspec.Struct):
    """POST /races/…/participants/upload, …/chips/upload."""

    imported: int


class Logs(msgspec.Struct):
    """GET /logs, which every page asks for: that there is a list is enough for all pages but the log's own."""

    entries: list[Any]


class Page:
    """Asks as the page does: everything says that it is JSON, also where there is no body, but a file does not."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def get(self, path: str, answer: type[Answer]) -> Answer:
        """Ask for something and return what the page reads of it."""
        return await self.send("GET", path, answer)

    async def send(self, method: str, path: str, answer: type[Answer], body: object = None) -> Answer:
        """Send something, and return what the page reads of the answer: nothing of 204."""
        data = None if body is None else msgspec.json.encode(body)
        headers = {"Content-Type": "application/json"}
        async with self._client.request(method, f"/api/v1{path}", data=data, headers=headers) as said:
            content = await said.read()
            assert said.status < 300, content
            if said.status == 204:
                content = b"null"
            return msgspec.json.decode(content, type=answer)

    async def upload(self, path: str, name: str, content: bytes) -> Uploaded:
        """Send a file of a form."""
        form = aiohttp.FormData()
        form.add_field("file", content, filename=name, content_type="application/octet-stream")
        async with self._client.post(f"/api/v1{path}", data=form) as said:
            assert said.status == 200, await said.text()
            return msgspec.json.decode(await said.read(), type=Uploaded)

    async def download(self, path: str) -> str:
        """Follow a link to a file."""
        async with self._client.get(f"/api/v1{path}") as said:
            assert said.status == 200
            return await said.text()

    def rows(self, rows: Iterable[Row], *key: str) -> list[Row]:
        """Return a table's rows; no two may have one key."""
        found = list(rows)
        keys = [tuple(getattr(row, name) for name in key) for row in found]
        assert len(set(keys)) == len(keys)
        return found
