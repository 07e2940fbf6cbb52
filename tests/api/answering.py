"""Something that is wrong, and what is said of it."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import orjson

from tests.api.looking import ago
from tests.api.seeds import Database, add_forwarder_session, add_metrics, add_process, add_stream
from tests.waiting import wait_until

ALERTS = "/api/v1/alerts"

ANN = "a token of some length"


async def silent(database: Database, forwarder_id: str = "start", seconds: float = 60) -> UUID:
    """Add a stream of a connected forwarder that has been silent for so long."""
    stream_id = await add_stream(database, forwarder_id)
    await add_metrics(database, stream_id, dedup=7, received_at=await ago(database, seconds))
    gateway = await add_process(database, "gateway")
    await add_forwarder_session(database, forwarder_id, gateway)
    return stream_id


async def reads(database: Database, stream_id: UUID) -> None:
    """Let a read come, and whatever it ends have been ended for long enough."""
    await database.execute(
        "UPDATE stream_metrics SET last_received_at = now() WHERE stream_id = $1", stream_id
    )


async def past(database: Database, seconds: float) -> None:
    """Let what stands have stood for longer."""
    by = timedelta(seconds=seconds)
    await database.execute(
        "UPDATE troubles SET since = since - $1::interval, eased_at = eased_at - $1::interval, "
        "calm_at = calm_at - $1::interval WHERE ended_at IS NULL",
        by,
    )


def opened(overview: Any) -> list[Any]:
    """Return the open alerts."""
    return [each for each in overview["troubles"] if each["ended_at"] is None]


def counts(overview: Any) -> tuple[str, int, int, int, int, int]:
    """Return what the verdict says and counts: level, act, watch, acknowledged, muted, clearing."""
    said = overview["verdict"]
    return tuple(said[name] for name in ("level", "act", "watch", "acknowledged", "muted", "clearing"))


async def entries(database: Database, event: str, *, count: int = 1) -> list[Any]:
    """Return the fields of a kind of entry in the log, when there are so many."""

    async def found() -> list[Any]:
        rows = await database.fetch("SELECT fields FROM activity WHERE event = $1", event)
        return [orjson.loads(row["fields"]) for row in rows] if len(rows) >= count else []

    written: list[Any] = await wait_until(found, what=f"{event} in the log")
    return written
