"""How the announcer is set, who has come in, and the streams that tell it: to operators, and to everybody."""

from time import monotonic

from aiohttp import web
from msgspec import UNSET

from api.announcer import run
from api.announcer.run import Setting
from api.announcer.store import announcements, runs
from api.announcer.store.announcements import Announcement
from api.announcer.store.runs import Config
from api.announcer.types import (
    AnnouncerConfig,
    AnnouncerState,
    NewAnnouncerConfig,
    PublicAnnouncerState,
)
from api.announcer.view import Follower, Shape, View
from api.http.context import Api
from api.http.errors import ApiError
from api.http.event_streams import HEADERS, send
from shared.db.channels import ANNOUNCER
from shared.db.connections import Transaction
from shared.log import get_logger

__all__ = [
    "follow_announcer",
    "follow_public_announcer",
    "reset_announcer",
    "set_announcer_config",
    "show_announcer_config",
    "show_announcer_state",
    "show_public_announcer_state",
]

# Each shape has its own: however many people look on, operators have their place.
LISTENERS_AT_ONCE = 1000
COMMENT_EVERY_S = 15.0

log = get_logger(__name__)


async def show_announcer_config(api: Api) -> AnnouncerConfig:
    """Show how the announcer is set."""
    return (await runs.config(api.pool)).shown


async def set_announcer_config(api: Api, *, body: NewAnnouncerConfig) -> AnnouncerConfig:
    """Set the announcer. Enabled, it announces for 24 hours. A run begins when it is enabled, and when the set of its
    streams is another. While it is disabled streams that are gone are left out; enabled, they are refused. With an
    expected time only if nobody has set it since: of two who do at once, the second is told.
    """
    async with api.changing() as (connection, note):
        # First: whoever announces ends his look before anything is read here, and begins the next behind us.
        await runs.hold(connection)
        before = await runs.config(connection)
        if body.expected_updated_at not in (UNSET, before.shown.updated_at):
            raise ApiError(
                "CONFLICT", "somebody else has set the announcer meanwhile; look at it again, then set it"
            )
        wanted = await _wanted(connection, before, body)
        if wanted != before.setting:
            await runs.keep(connection, wanted)
            if run.begins(before.setting, enabled=wanted.enabled, stream_ids=wanted.stream_ids):
                await runs.begin_run(connection)
            await note(
                "announcer_set",
                enabled=wanted.enabled,
                streams=len(wanted.stream_ids),
                max_list_size=wanted.max_list_size,
            )
        shown = (await runs.config(connection)).shown
    api.process.notifier.notify(ANNOUNCER)
    return shown


async def _wanted(connection: Transaction, before: Config, body: NewAnnouncerConfig) -> Setting:
    """Return how it is to be set; BAD_REQUEST where it cannot be."""
    given = list(dict.fromkeys(body.selected_stream_ids))
    known = await runs.known_streams(connection, given)
    unknown = [str(each) for each in given if each not in known]
    if body.enabled and not given:
        raise ApiError("BAD_REQUEST", "body: select at least one stream; without one nobody can be announced")
    if body.enabled and unknown:
        raise ApiError(
            "BAD_REQUEST",
            f"body: there is no stream {unknown[0]}; select streams of `GET /api/v1/streams`",
            details={"unknown": unknown},
        )
    return Setting(
        body.enabled,
        run.until(before.setting, enabled=body.enabled, now=before.now),
        over=False,
        max_list_size=body.list_size,
        stream_ids=[each for each in given if each in known],
    )


async def reset_announcer(api: Api) -> None:
    """Begin a run: nobody has come in, and only who does from now on is announced."""
    async with api.changing() as (connection, note):
        await runs.hold(connection)
        run_id = await runs.begin_run(connection)
        await note("announcer_reset", run_id=run_id)
    api.process.notifier.notify(ANNOUNCER)


async def show_announcer_state(api: Api) -> AnnouncerState:
    """Show how the announcer is set and who has come in, the newest first; nobody while it does not announce."""
    standing, rows = await _state(api)
    return AnnouncerState(
        **{name: getattr(standing.shown, name) for name in AnnouncerConfig.__struct_fields__},
        finisher_count=_count(rows),
        rows=[each.finisher for each in rows],
    )


async def show_public_announcer_state(api: Api) -> PublicAnnouncerState:
    """Show who has come in, the newest first; nobody while the announcer does not announce."""
    standing, rows = await _state(api)
    return PublicAnnouncerState(
        public_enabled=standing.shown.public_enabled,
        finisher_count=_count(rows),
        max_list_size=standing.shown.max_list_size,
        rows=[each.public for each in rows],
    )


async def _state(api: Api) -> tuple[Config, list[Announcement]]:
    standing = await runs.config(api.pool)
    if not standing.shown.public_enabled:
        return standing, []
    # Two statements and yet of one run: its rows stay when another begins in between.
    at_most = standing.shown.max_list_size
    return standing, await announcements.rows(api.pool, standing.run_id, at_most=at_most)


def _count(rows: list[Announcement]) -> int:
    """Return how many have come in: ids are counted from 1 on, without gaps."""
    return rows[0].announcement_id if rows else 0


async def follow_announcer(api: Api, *, request: web.Request) -> web.StreamResponse:
    """Follow who comes in, as Server-Sent Events: announcer_update with the row as in the state, and how many have come
    in by then; resync when the state is to be loaded anew.
    """
    return await _follow(api, request, "own")


async def follow_public_announcer(api: Api, *, request: web.Request) -> web.StreamResponse:
    """Follow who comes in, as Server-Sent Events: announcer_update with the row as in the public state, and how many
    have come in by then; resync when the state is to be loaded anew.
    """
    return await _follow(api, request, "public")


async def _follow(api: Api, request: web.Request, shape: Shape) -> web.StreamResponse:
    if request.method == "HEAD":
        return web.Response(headers=HEADERS)
    view = api.part(View)
    if view.followers[shape] >= LISTENERS_AT_ONCE:
        raise ApiError("UNAVAILABLE", f"{LISTENERS_AT_ONCE} event streams are open; try again later")
    with view.following(shape):
        follower = await view.join(shape)
        response = web.StreamResponse(headers=HEADERS)
        await response.prepare(request)
        try:
            await _send_news(view, follower, response)
        except TimeoutError:
            # What waits in the socket's buffer would hold the connection for as long as the client likes.
            if request.transport is not None:
                request.transport.abort()
        except ConnectionError:
            log.debug("announcer_left")
    return response


async def _send_news(view: View, follower: Follower, response: web.StreamResponse) -> None:
    """Send what comes until the process stops; TimeoutError when the client takes nothing for long."""
    # First bytes at once, or a browser's EventSource would not count as open.
    await send(response, b"retry: 2000\n\n")
    sent_at = monotonic()
    while not view.closed:
        # What is there is sent before anybody waits: `news` returns at once where something has come since.
        chunk = view.take(follower)
        left_s = sent_at + COMMENT_EVERY_S - monotonic()
        if not chunk and left_s > 0:
            await view.news(follower, within_s=left_s)
            continue
        await send(response, chunk or b":\n\n")
        sent_at = monotonic()
