"""The real application over a test's database, without a port of its own."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, TypeAlias
from uuid import UUID

import aiohttp
import msgspec
import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from api.alerts import evaluator
from api.alerts.evaluator import Evaluation
from api.app import API, POOL_SETTINGS, build_app
from api.commands import ask as commands
from api.http.errors import Error
from api.live.view import Live
from api.routes import ROUTES
from api.settings import ApiSettings
from shared.runtime.activity import Activity
from shared.runtime.health import health_routes
from shared.runtime.process import Process
from shared.wake import Stop
from tests.api.seeds import Database, add_forwarder_session, add_process
from tests.services import Process as Started
from tests.waiting import wait_until

Client: TypeAlias = "TestClient[web.Request, web.Application]"
Ask: TypeAlias = Callable[..., Awaitable[Any]]
Noted: TypeAlias = Callable[..., Awaitable[dict[str, Any]]]

RACES = "/api/v1/races"


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
    """A process with all that it has of the database, as `Process.run` makes it.

    Nobody says in between that it is there and ready: it is seen once, for as long as a test takes.
    """
    settings = ApiSettings.read({"database_url": database_url, "bind": "127.0.0.1:1"})
    process = Process("api", settings, pool_settings=POOL_SETTINGS)
    async with process.connected():
        await process.pool.execute(
            "UPDATE processes SET ready = true, last_seen_at = now() + interval '1 hour',"
            " lease_expires_at = now() + interval '1 hour'"
        )
        notifying = asyncio.create_task(process.notifier.run())
        yield process
        process.last_stop.ask()
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
async def evaluation(
    process: Process, activity: Activity, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Evaluation]:
    """The evaluation, to be made to look, however long that takes here; what it notes is written."""
    patient = dict.fromkeys(("statement_timeout", "idle_in_transaction_session_timeout"), "1min")
    monkeypatch.setattr(evaluator, "CONNECTION", {**evaluator.CONNECTION, **patient})
    process.activity = activity
    evaluation = Evaluation(process)
    yield evaluation
    evaluation.close()


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


@pytest.fixture
def noted(database: Database) -> Noted:
    """Wait for an entry of the operators' log with these fields, and return all of the newest of them."""

    async def noted(event: str, **expected: object) -> dict[str, Any]:
        async def written() -> str | None:
            found: str | None = await database.fetchval(
                """
                SELECT fields FROM activity WHERE event = $1 AND fields @> $2::jsonb ORDER BY activity_id DESC LIMIT 1
                """,
                event,
                orjson.dumps(expected).decode(),
            )
            return found

        fields: dict[str, Any] = orjson.loads(str(await wait_until(written, what=f"{event} {expected}")))
        return fields

    return noted


@pytest.fixture
async def race(ask: Ask) -> str:
    """The id of a race, 10 km."""
    made = await ask("POST", RACES, status=201, json={"name": "10 km"})
    return str(made["race_id"])


@pytest.fixture
async def gateway(database: Database) -> UUID:
    """A gateway that lives."""
    return await add_process(database, "gateway")


@pytest.fixture
async def gateway_id(database: Database, gateway: UUID) -> UUID:
    """A gateway that lives and holds the session of forwarder `start`."""
    await add_forwarder_session(database, "start", gateway)
    return gateway


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands wait for an answer for half a second."""
    monkeypatch.setattr(commands, "ANSWER_WITHIN_S", 0.5)


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """A client of other processes, with as many connections as it needs."""
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(60), connector=connector) as session:
        yield session


@pytest.fixture
async def apis(database_url: str) -> AsyncIterator[list[Started]]:
    """Two api processes that are ready."""
    async with AsyncExitStack() as stack:
        found = [Started("api", database_url, {}) for _ in range(2)]
        for each in found:
            await each.start()
            stack.push_async_callback(_end, each)
        await asyncio.gather(*(each.ready() for each in found))
        yield found


async def _end(process: Started) -> None:
    if process.child is not None and process.child.returncode is None:
        await process.kill()


@pytest.fixture
async def live(client: Client, process: Process) -> AsyncIterator[Live]:
    """The event stream of the application, kept running."""
    live = client.app[API].part(Live)
    running = asyncio.create_task(live.run())
    yield live
    process.stop.ask()
    await running
