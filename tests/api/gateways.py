"""A gateway that is a few lines of SQL: it takes every command, and lets it come to any end that a test wants."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from tests.api.seeds import Database

CONFIG = "/api/v1/forwarders/start/config"

RESTART = "/api/v1/forwarders/start/restart"

DEEP: Any = json.loads("[" * 150 + "]" * 150)

# Takes a command's kind and request and returns its end and answer; None leaves it in hand.
Gateway = Callable[[str, Any], "tuple[str, object] | None"]


@asynccontextmanager
async def carrying_out(database_url: str, gateway: Gateway) -> AsyncIterator[list[tuple[str, Any]]]:
    """Carry out what is asked as `gateway` says; yields the kinds and requests that came."""
    came: list[tuple[str, Any]] = []
    connection = await asyncpg.connect(database_url)

    async def run() -> None:
        while True:
            for command_id, kind, request in await connection.fetch(
                "UPDATE commands SET state = 'taken' WHERE state = 'asked' RETURNING command_id, kind, request"
            ):
                came.append((kind, json.loads(request)))
                end = gateway(kind, json.loads(request))
                if end is not None:
                    state, answer = end
                    text = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                    await connection.execute(
                        "UPDATE commands SET state = $2, answer = $3 WHERE command_id = $1",
                        command_id,
                        state,
                        text,
                    )
                    await connection.execute("SELECT pg_notify('rt_answers', $1)", str(command_id))
            await asyncio.sleep(0.01)

    running = asyncio.create_task(run())
    try:
        yield came
    finally:
        running.cancel()
        await asyncio.wait({running})
        await connection.close()


@asynccontextmanager
async def ending(
    database_url: str, state: str, answer: object = None
) -> AsyncIterator[list[tuple[str, Any]]]:
    """Have every command end in one way."""
    async with carrying_out(database_url, lambda *_: (state, answer)) as came:
        yield came


async def left(database: Database) -> int:
    """Return how many commands there are."""
    count: int = await database.fetchval("SELECT count(*) FROM commands")
    return count
