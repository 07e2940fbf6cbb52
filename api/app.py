"""Puts an api process together: the table of routes behind the checks that every request passes.

request ─▶ errors in one shape ─▶ no other sites ─▶ who is admitted ─▶ Route ─▶ handler ─▶ store
"""

from functools import cache
from importlib.metadata import version

from aiohttp import web

from api.alerts.evaluator import Evaluation
from api.announcer.announcing import Announcing
from api.announcer.view import View
from api.certificate.routes import Certifying
from api.clocks.looking import ClockLooks
from api.clocks.zones import require_zone
from api.commands.ask import Commands
from api.crossings.view import View as Crossings
from api.dashboard.routes import page_routes
from api.exports.places import Places
from api.flow.flows import Flows
from api.http.access import CLOSED, admit
from api.http.asking import remember_asker
from api.http.context import Api
from api.http.contract import serve
from api.http.device_tokens import by_token
from api.http.errors import answer_errors
from api.http.large import LargeAnswers
from api.http.openapi import Document, describe
from api.http.sites import refuse_other_sites
from api.lags.sampling import Sampling
from api.links.routes import Onlookers
from api.live.followers import Followers
from api.live.metrics import PageMetrics
from api.live.view import Live
from api.mats.watching import Watching
from api.notices.courier import require_targets
from api.notices.routes import Recipients
from api.notices.telling import Telling, page_at
from api.passings.filling import Filling
from api.proxy.answers import Answers
from api.races.forgetting import Forgetting
from api.races.rosters import Imports
from api.reconcile.routes import Comparing
from api.routes import ROUTES
from api.settings import ApiSettings
from api.storage.plans import ALONG_THE_KEY, AT_ONCE
from shared.log import get_logger
from shared.runtime.activity import Activity
from shared.runtime.http import secure
from shared.runtime.process import Process

__all__ = ["API", "POOL_SETTINGS", "build_app", "main", "warn_if_open"]

EXPORTS_AT_ONCE = 8
MAX_BODY_BYTES = 1024 * 1024
POOL_SIZE = 8
POOL_SETTINGS = {**ALONG_THE_KEY, **AT_ONCE}

API = web.AppKey("api", Api)

log = get_logger(__name__)


def build_app(process: Process, settings: ApiSettings, activity: Activity) -> web.Application:
    """Return the application with all routes but those of health, which the process adds."""
    app = web.Application(
        middlewares=[
            answer_errors,
            refuse_other_sites(settings.trusted_origins),
            admit(settings.admission, by_token(process)),
            remember_asker,
        ],
        client_max_size=MAX_BODY_BYTES,
    )
    app.on_response_prepare.append(secure)
    live = Live(process, time_zone=settings.time_zone)
    api = app[API] = Api(
        process,
        activity=activity,
        description=_description(),
        parts=(
            live,
            Followers(process, ended=live.ring.wake),
            Commands(process),
            Places(EXPORTS_AT_ONCE),
            LargeAnswers(),
            Imports(settings.participants_kept_days),
            Comparing(),
            View(process),
            Flows(process),
            Crossings(process),
            Onlookers(),
            Recipients([each.name for each in settings.alert_urls]),
            Certifying(),
        ),
    )
    for route in ROUTES:
        handler = serve(route, api)
        app.router.add_route(route.method, route.path, handler)
        if route.method == "GET":
            app.router.add_route("HEAD", route.path, handler)
    app.add_routes(page_routes())
    return app


@cache
def _description() -> Document:
    """Describe the routes: the same in each application of a process, and 20 ms of work."""
    return describe(ROUTES, version("rt-server"))


def warn_if_open(settings: ApiSettings) -> None:
    """Say that anyone can do anything, or nobody, where more than this machine can reach us."""
    if settings.is_closed:
        log.warning("api_is_closed", reason=CLOSED)
    elif not settings.api_token and settings.is_reached_from_beyond:
        log.warning(
            "api_is_open", reason="API_OPEN=yes, no API_TOKEN, and we are reached from beyond loopback"
        )


async def main(settings: ApiSettings) -> None:
    """Run an api process until a signal comes."""
    warn_if_open(settings)
    process = Process(
        "api",
        settings,
        pool_size=POOL_SIZE,
        pool_settings=POOL_SETTINGS,
        on_return=lambda: app[API].part(Live).lose(),
    )
    app = build_app(process, settings, process.activity)
    live = app[API].part(Live)
    answers = Answers(app[API])

    async def require() -> None:
        await require_zone(process.pool, settings.time_zone)
        await require_targets(settings.alert_urls)

    telling = Telling(
        process, settings.alert_urls, time_zone=settings.time_zone, page=page_at(settings.site_address)
    )
    await process.run(
        app=app,
        before=require,
        tasks={
            "announcer": Announcing(process).run,
            "announced": app[API].part(View).run,
            "crossings": app[API].part(Crossings).run,
            "clocks": ClockLooks(process, time_zone=settings.time_zone).run,
            "evaluation": Evaluation(process).run,
            "forgetting": Forgetting(process).run,
            "lags": Sampling(process).run,
            "live": live.run,
            "mats": Watching(process).run,
            "notices": telling.run,
            "passings": Filling(process).run,
            "followers": app[API].part(Followers).run,
            "receiver requests": answers.run,
            "metrics": PageMetrics(process, live).run,
        },
    )
