"""The real application over a test's database, without a port of its own."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeAlias

import msgspec
import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from api.alerts.evaluator import Evaluation
from api.app import build_app
from api.http.errors import Error
from api.routes import ROUTES
from api.settings import ApiSettings
from api.storage.plans import ALONG_THE_KEY
from shared.db.connections import create_pool
from shared.runtime.activity import Activity
from shared.runtime.health import health_routes
from shared.runtime.process import Process
from shared.wake import Stop

Client: TypeAlias = "TestClient[web.Request, web.Application]"
Ask: TypeAlias = Callable[..., Awaitable[Any]]


def declared(method: str, path: str) -> Any:
    """Return the type that the route of a path answers."""
    bare = path.partition("?")[0]
    (route,) = (
        route
        for route in ROUTES
        if route.method == method and re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", route.path), bare)
    )
    return route.answer


@pytest.fixture
async def process(database_url: str) -> AsyncIterator[Process]:
    """A process with pool, presence and notifier, as `Process.run` would have made it."""
    process = Process("api", ApiSettings.read({"database_url": database_url, "bind": "127.0.0.1:1"}))
    process._pool = await create_pool(database_url, name="test", size=4, **ALONG_THE_KEY)
    async with process._pool, process.presence, process.notifier:
        notifying = asyncio.create_task(process.notifier.run())
        yield process
        process._last_stop.ask()
        await notifying


@pytest.fixture
async def activity(process: Process) -> AsyncIterator[Activity]:
    """What the process notes, written as it goes."""
    stop = Stop()
    activity = Activity(process.presence.process_id, stop=stop)
    writing = asyncio.create_task(activity.run(process.pool))
    yield activity
    stop.ask()
    await writing


@pytest.fixture
async def evaluation(process: Process, activity: Activity) -> AsyncIterator[Evaluation]:
    """The evaluation, to be made to look; what it notes is written."""
    process.activity = activity
    evaluation = Evaluation(process)
    yield evaluation
    evaluation._link.drop()


@pytest.fixture
def serve(
    process: Process, activity: Activity, database_url: str, aiohttp_client: Callable[..., Awaitable[Client]]
) -> Callable[..., Awaitable[Client]]:
    """Serve the application with settings of one's own and return a client of it."""

    async def serve(**given: str) -> Client:
        settings = ApiSettings.read({"database_url": database_url, "bind": "127.0.0.1:1", **given})
        app = build_app(process, settings, activity)
        app.add_routes(health_routes(process.checks))
        return await aiohttp_client(app)

    return serve


@pytest.fixture
async def client(serve: Callable[..., Awaitable[Client]]) -> Client:
    """A client of the application with default settings."""
    return await serve()


@pytest.fixture
def ask(client: Client) -> Ask:
    """Ask and return the JSON of an answer: its status must be the expected one, its type what the route declares."""

    async def ask(method: str, path: str, *, status: int = 200, **more: Any) -> Any:
        async with client.request(method, path, **more) as answer:
            body = await answer.read()
            assert answer.status == status, body
            if status == 204:
                return None
            msgspec.json.decode(body, type=declared(method, path) if status < 400 else Error)
            return orjson.loads(body)

    return ask
