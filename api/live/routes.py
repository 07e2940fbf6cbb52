"""The first page, and the stream of events that keeps it up to date."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from time import monotonic

from aiohttp import web

from api.alerts.types import Alerts
from api.http.asking import asker
from api.http.context import Api
from api.http.errors import ApiError, no_stream
from api.http.event_streams import CHUNK_BYTES, HEADERS, send
from api.live.followers import Followers
from api.live.messages import EventQuery, Form, OverviewTold, Resync, Stalled, Tick, encoded
from api.live.sparing import EVERY_S, spared
from api.live.types import Card, CurrentVerdict, Overview
from api.live.view import Live
from api.streams.types import StreamPath
from shared.db.errors import DatabaseRefused, DatabaseUnavailable
from shared.log import get_logger

__all__ = ["follow_events", "list_alerts", "show_overview", "show_verdict", "stream_card"]

LISTENERS_AT_ONCE = 1000
# A page that receives nothing for twice as long says that its link is lost.
TICK_EVERY_S = 5.0

log = get_logger(__name__)


async def show_overview(api: Api) -> Overview:
    """Show the dashboard's first page, with all states."""
    return await api.part(Live).overview()


async def show_verdict(api: Api) -> CurrentVerdict:
    """Show how things stand as a whole, and nothing else."""
    return await api.part(Live).current_verdict()


async def list_alerts(api: Api) -> Alerts:
    """List the alerts as the first page has them, and what is muted."""
    page, _ = await api.part(Live).refresh()
    return Alerts(alerts=list(page.alerts), mutes=list(page.mutes))


async def stream_card(api: Api, *, path: StreamPath) -> Card:
    """Show a stream as on the first page, also where that has no room for it."""
    card = await api.part(Live).card(path.stream_id)
    if card is None:
        raise no_stream()
    return card


async def follow_events(api: Api, *, query: EventQuery, request: web.Request) -> web.StreamResponse:
    """Follow what happens, as Server-Sent Events; the data of each is one line of JSON that repeats the event's name
    as type. After a resync the overview is to be fetched anew, unless it follows. With form=changed there is one
    event changed a second at most instead of those of single streams, receivers, processes and of the verdict: of the
    overview's rows it holds those that differ, by their keys, with the fields that differ; besides, the newest reads,
    and what is new in the rates. Who has not seen what is told here, but elsewhere or long ago, is sent the whole
    overview first: what differs does so from what this very process has told. A tick says that nothing has happened,
    stalled that nobody knows: the database does not answer.
    """
    if request.method == "HEAD":
        return web.Response(headers=HEADERS)
    live = api.part(Live)
    if live.listeners >= LISTENERS_AT_ONCE:
        raise ApiError("UNAVAILABLE", f"{LISTENERS_AT_ONCE} event streams are open; try again later")
    with api.part(Followers).following(asker().device) as may_go_on, live.listening():
        await live.listen()
        response = web.StreamResponse(headers=HEADERS)
        await response.prepare(request)
        seen = request.headers.get("Last-Event-ID", query.last_event_id)
        try:
            await _follow(api, response, seen, query.form, may_go_on)
        except TimeoutError:
            # What waits in the socket's buffer would hold the connection for as long as the client likes.
            if request.transport is not None:
                request.transport.abort()
        except ConnectionError:
            log.debug("listener_left")
    return response


async def _follow(
    api: Api, response: web.StreamResponse, seen: str | None, form: Form, may_go_on: Callable[[], bool]
) -> None:
    """Send what comes until the process stops, or it may not go on; TimeoutError when the client takes nothing for
    long.
    """
    ring = api.part(Live).ring
    position = ring.end if seen is None else ring.position_after(seen)
    # First bytes at once, or a browser's EventSource would not count as open; an id without an event is kept in mind.
    await send(response, b"retry: 2000\nid: %b\n\n" % (ring.last_id if seen is None else seen).encode())
    if form == "single":
        await send(response, b"".join(encoded(each, None) for each in api.part(Live).batteries()))
    sent_at = monotonic()
    while may_go_on() and not ring.closed:
        # What is there is sent before anybody waits: `news` returns at once where something has come since.
        taken = None if position is None else ring.take(position, at_most=CHUNK_BYTES, form=form)
        if taken is None:
            position = await _start_anew(api, response, form)
            sent_at = monotonic()
            continue
        chunk, position = taken
        if chunk:
            await _send_on(response, chunk)
            sent_at = monotonic()
            continue
        # What is told in another form wakes us, and is no sign of life for who follows this one.
        left_s = sent_at + TICK_EVERY_S - monotonic()
        if left_s > 0:
            await ring.news(position, within_s=left_s)
        else:
            await send(response, b":\n" + _sign(api))
            sent_at = monotonic()


async def _send_on(response: web.StreamResponse, chunk: bytes) -> None:
    """Send what has happened; to a device without what would only have it ask the same again, and then not at once."""
    if asker().device is None:
        await send(response, chunk)
        return
    left, asks = spared(chunk)
    await send(response, left)
    if asks:
        await asyncio.sleep(EVERY_S)


async def _start_anew(api: Api, response: web.StreamResponse, form: Form) -> int | None:
    """Tell who has missed something to start anew, and return where it goes on; None when that must be tried again.

    Two processes do not tell the same differences, so an overview that another has given is no ground for ours: what
    went back meanwhile to what it was is no difference here, and stands there as it was in between.
    """
    live = api.part(Live)
    if form == "single":
        await send(response, encoded(Resync(), live.ring.last_id))
        return live.ring.end
    try:
        page = await live.overview() if live.knows else None
    except (DatabaseUnavailable, DatabaseRefused):
        page = None
    if page is None:
        await send(response, b":\n" + encoded(Stalled(at=datetime.now(UTC)), None))
        await live.ring.news(live.ring.end, within_s=TICK_EVERY_S)
        return None
    seen = page.last_event_id
    await send(
        response, encoded(Resync(overview_follows=True), seen) + encoded(OverviewTold(overview=page), seen)
    )
    return live.ring.position_after(seen)


def _sign(api: Api) -> bytes:
    """Return a sign of life. Without its database a process knows of nothing that happens, and neither does one whose
    looks hang or are refused while the database answers others: the connection is kept, and the page is not deceived.
    """
    live = api.part(Live)
    knows = live.knows and api.process.presence.problem is None
    at = datetime.now(UTC)
    return encoded(Tick(at=at) if knows else Stalled(at=at), live.ring.last_id)
