"""Commands as an api process asks them, and as a device answers."""

import json
from typing import Any
from uuid import UUID

from tests.commands import SAMPLES
from tests.failure.facts import Database
from tests.waiting import wait_until

__all__ = ["answer", "command", "ended"]


async def command(
    database: Database,
    kind: str,
    request: dict[str, Any] | None = None,
    *,
    forwarder_id: str = "f",
    session_id: UUID | None = None,
    within_s: float = 10.0,
) -> UUID:
    """Ask a command of the live session of a forwarder, as an api process does, and notify."""
    command_id: UUID = await database.fetchval(
        """
        INSERT INTO commands (forwarder_id, session_id, gateway_id, kind, request, expires_at)
        SELECT forwarder_id, coalesce($4, session_id), gateway_id, $2, $3, clock_timestamp() + make_interval(secs => $5)
        FROM live_forwarder_sessions WHERE forwarder_id = $1
        RETURNING command_id
        """,
        forwarder_id,
        kind,
        json.dumps(request or {}).encode(),
        session_id,
        within_s,
    )
    assert command_id is not None
    await database.execute("SELECT pg_notify('rt_commands', '')")
    return command_id


async def ended(database: Database, command_id: UUID) -> tuple[str, Any]:
    """Wait for a command's end and return how it ended, with its answer."""

    async def look() -> Any:
        return await database.fetchrow(
            "SELECT state, answer FROM commands WHERE command_id = $1 AND state NOT IN ('asked', 'taken')",
            command_id,
        )

    row = await wait_until(look, deadline_s=20, what="the command's end")
    return row["state"], None if row["answer"] is None else json.loads(row["answer"])


def answer(request: dict[str, Any], **fields: object) -> dict[str, object]:
    """Return the device's answer to a request."""
    kind = request["kind"].replace("_request", "_response")
    ok = SAMPLES[request["kind"].removesuffix("_request")].ok
    return {"kind": kind, "request_id": request["request_id"], ok: True, **fields}
