"""Exports of whole streams."""

from aiohttp import web

from api.crossings.types import CrossingFilter
from api.events.types import EpochFilter, EventFilter
from api.exports import archive, crossings, stream
from api.exports.types import CsvQuery, EpochCsvQuery
from api.http.context import Api
from api.races.types import RacePath
from api.streams.types import EpochPath, StreamPath

__all__ = [
    "export_all",
    "export_crossings",
    "export_csv",
    "export_epoch_csv",
    "export_epoch_text",
    "export_text",
]


async def export_text(
    api: Api, *, path: StreamPath, query: EventFilter, request: web.Request
) -> web.StreamResponse:
    """Export the lines of a stream, byte for byte, a newline after each; one that holds a newline spans several. What
    came as bytes comes without its line end.
    """
    return await stream.send(api, request, path.stream_id, query, form=stream.TEXT)


async def export_csv(
    api: Api, *, path: StreamPath, query: CsvQuery, request: web.Request
) -> web.StreamResponse:
    """Export the events of a stream as CSV, if asked with the names of those whose chips they are, and with the times
    at which they were really made.
    """
    return await stream.send(api, request, path.stream_id, query, form=stream.csv_of(query))


async def export_epoch_text(
    api: Api, *, path: EpochPath, query: EpochFilter, request: web.Request
) -> web.StreamResponse:
    """Export the lines of one epoch, as those of a stream."""
    return await stream.send(api, request, path.stream_id, _of_epoch(path, query), form=stream.TEXT)


async def export_epoch_csv(
    api: Api, *, path: EpochPath, query: EpochCsvQuery, request: web.Request
) -> web.StreamResponse:
    """Export the events of one epoch as CSV, with their chips, and with people and corrected times, if asked. One
    without events is empty, whether it has begun or not.
    """
    wanted = _of_epoch(path, query)
    return await stream.send(api, request, path.stream_id, wanted, form=stream.csv_of(query))


def _of_epoch(path: EpochPath, query: EpochFilter) -> EventFilter:
    return EventFilter(epoch=path.epoch, tag_id=query.tag_id, since=query.since, until=query.until)


async def export_all(api: Api, *, request: web.Request) -> web.StreamResponse:
    """Export all streams as they stand at one moment, each as text and as CSV, in a ZIP archive."""
    return await archive.send(api, request)


async def export_crossings(
    api: Api, *, path: RacePath, query: CrossingFilter, request: web.Request
) -> web.StreamResponse:
    """Export the crossings of a race as CSV: by point in course order, of each those of bibs first, by bib and time."""
    return await crossings.send(api, request, path.race_id, query)
