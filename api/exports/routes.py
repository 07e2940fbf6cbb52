"""Exports of whole streams."""

from aiohttp import web

from api.events.types import (
    EventFilter,
)
from api.exports import archive, stream
from api.http.context import Api
from api.streams.types import StreamPath

__all__ = ["export_all", "export_csv", "export_text"]


async def export_text(
    api: Api, *, path: StreamPath, query: EventFilter, request: web.Request
) -> web.StreamResponse:
    """Export the lines of a stream, byte for byte, a newline after each; one that holds a newline spans several. What
    came as bytes comes without its line end.
    """
    return await stream.send(api, request, path.stream_id, query, form=stream.TEXT)


async def export_csv(
    api: Api, *, path: StreamPath, query: EventFilter, request: web.Request
) -> web.StreamResponse:
    """Export the events of a stream as CSV."""
    return await stream.send(api, request, path.stream_id, query, form=stream.CSV)


async def export_all(api: Api, *, request: web.Request) -> web.StreamResponse:
    """Export all streams as they stand at one moment, each as text and as CSV, in a ZIP archive."""
    return await archive.send(api, request)
