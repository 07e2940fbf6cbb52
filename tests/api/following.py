"""Who follows the event stream, and what makes something happen there."""

from typing import Any
from uuid import UUID

import aiohttp

from api.live.messages import Form
from api.live.view import Live
from tests.api.conftest import Client
from tests.api.seeds import (
    Database,
    add_events,
    add_metrics,
)
from tests.api.sse import follow
from tests.services import Process

OVERVIEW = "/api/v1/overview"


async def get(http: aiohttp.ClientSession, process: Process, path: str = OVERVIEW) -> Any:
    async with http.get(process.url + path) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.json()


async def notify(database: Database, channel: str) -> None:
    await database.execute("SELECT pg_notify($1, '')", channel)


async def store(database: Database, stream_id: UUID, *, first_seq: int = 1, count: int = 1) -> None:
    """Store events as a writer does, and notify."""
    await add_events(database, stream_id, ["x"] * count, first_seq=first_seq)
    await database.execute("DELETE FROM stream_metrics WHERE stream_id = $1", stream_id)
    await add_metrics(database, stream_id, dedup=first_seq + count - 1)
    await notify(database, "rt_positions")


CHANGED = "?form=changed"


def told(live: Live, begun: int, form: Form = "changed") -> list[bytes]:
    """Return the events of a form that stand in the ring from a position on."""
    taken = live.ring.take(begun, at_most=10**9, form=form)
    assert taken is not None
    return [each for each in taken[0].split(b"\n\n") if each]


def following(client: Client, **more: Any) -> Any:
    return follow(client.session, str(client.make_url("")).rstrip("/"), **more)


async def unready(http: aiohttp.ClientSession, process: Process) -> bool:
    async with http.get(process.url + "/readyz") as answer:
        return answer.status == 503
