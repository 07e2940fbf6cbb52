"""Crossings of a race: who came by where and when, and why that is so."""

from time import monotonic
from uuid import UUID

from aiohttp import web

from api.crossings import pages
from api.crossings.feed import Feed
from api.crossings.store import passings
from api.crossings.store.passings import Course
from api.crossings.types import CrossingFilter, CrossingPage, CrossingQuery, CrossingsFollowed
from api.crossings.view import View
from api.http.context import Api
from api.http.errors import ApiError
from api.http.event_streams import CHUNK_BYTES, HEADERS, send
from api.races.rosters import no_race
from api.races.types import RacePath
from shared.db.connections import Statements
from shared.log import get_logger

__all__ = ["course_with", "follow_crossings", "list_crossings"]

COMMENT_EVERY_S = 15.0

log = get_logger(__name__)


async def list_crossings(api: Api, *, path: RacePath, query: CrossingQuery) -> CrossingPage:
    """Show a page of the crossings of a race, the newest first: which read counts, and which reads are behind it."""
    course = await course_with(api.pool, path.race_id, query)
    return await pages.page(api.pool, path.race_id, course, query)


async def course_with(database: Statements, race_id: UUID, wanted: CrossingFilter) -> Course:
    """Return the points of a race; NOT_FOUND where there is no such race, or where it has no such point."""
    try:
        course = await passings.course(database, race_id)
    except passings.NoSuchRace:
        raise no_race() from None
    if wanted.at is not None and wanted.at not in course.points:
        places = sum(each.place is not None for each in course.points.values())
        numbered = f"1 to {places}" if places else "none is arranged yet"
        raise ApiError(
            "NOT_FOUND",
            f"the race has no point {wanted.point!r}; give the place of a point in the course ({numbered}), or the "
            "id of a stream of the race that stands at none",
        )
    return course


async def follow_crossings(
    api: Api, *, path: RacePath, query: CrossingsFollowed, request: web.Request
) -> web.StreamResponse:
    """Follow who comes by, as Server-Sent Events: crossings with all crossings of a person at a point, in place of what
    was known of them there; resync when all crossings are to be loaded anew. What is there already is not told: load it
    once the stream is open.
    """
    if request.method == "HEAD":
        await course_with(api.pool, path.race_id, CrossingFilter())
        return web.Response(headers=HEADERS)
    try:
        async with api.part(View).following(path.race_id, query.gap) as feed:
            response = web.StreamResponse(headers=HEADERS)
            await response.prepare(request)
            try:
                await _send_news(feed, response)
            except TimeoutError:
                # What waits in the socket's buffer would hold the connection for as long as the client likes.
                if request.transport is not None:
                    request.transport.abort()
            except ConnectionError:
                log.debug("crossings_left")
    except passings.NoSuchRace:
        raise no_race() from None
    return response


async def _send_news(feed: Feed, response: web.StreamResponse) -> None:
    """Send what comes until nothing does any more; TimeoutError when the client takes nothing for long."""
    # Before anything is awaited: what comes while the first bytes are sent is behind this.
    seen = feed.last
    # First bytes at once, or a browser's EventSource would not count as open.
    await send(response, b"retry: 2000\n\n")
    sent_at = monotonic()
    while True:
        # What is there is sent before anybody waits: `news` returns at once where something has come since.
        chunk, seen = feed.take(seen, at_most=CHUNK_BYTES)
        left_s = sent_at + COMMENT_EVERY_S - monotonic()
        if not chunk and feed.closed:
            return
        if not chunk and left_s > 0:
            await feed.news(seen, within_s=left_s)
            continue
        await send(response, chunk or b":\n\n")
        sent_at = monotonic()
