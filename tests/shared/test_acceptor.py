"""The acceptor: a token that is revoked ends its device's sessions, on whichever process they are, and no others."""

import aiohttp
import asyncpg
import pytest

from shared.transport.tokens import token_hash
from tests.services import Process, make_token, services
from tests.waiting import stretched, wait_until

REVOKE = """
WITH revoked AS (UPDATE device_tokens SET revoked_at = now() WHERE token_hash = $1 RETURNING 1)
SELECT pg_notify('rt_tokens', '') FROM revoked
"""
KINDS = {"forwarder": "/ws/v1/forwarders", "receiver": "/ws/v1/receivers"}


async def connect(
    http: aiohttp.ClientSession, process: Process, kind: str, token: str
) -> aiohttp.ClientWebSocketResponse:
    """Open a session and receive its first heartbeat, or what came instead."""
    socket = await http.ws_connect(process.url + KINDS[kind], headers={"Authorization": f"Bearer {token}"})
    await socket.send_json({"kind": f"{kind}_hello", "reader_ips": []})
    return socket


@pytest.mark.parametrize("listen", ["on", "off"])
async def test_a_revoked_token_ends_its_sessions_everywhere_and_opens_none(
    database_url: str, database: "asyncpg.Connection[asyncpg.Record]", listen: str
) -> None:
    async with (
        services(database_url, gateway=1, writer=0, fanout=2, LISTEN=listen) as running,
        aiohttp.ClientSession() as http,
    ):
        revoked = await make_token(database, "receiver", "tent")
        other = await make_token(database, "receiver", "tent")
        forwarder = await make_token(database, "forwarder", "start")
        ended = [await connect(http, fanout, "receiver", revoked) for fanout in running.fanouts]
        stays = await connect(http, running.fanouts[0], "receiver", other)
        mat = await connect(http, running.gateways[0], "forwarder", forwarder)
        for socket in (*ended, stays, mat):
            assert (await socket.receive_json())["kind"] == "heartbeat"

        await database.execute(REVOKE, token_hash(revoked))
        await database.execute(REVOKE, token_hash(forwarder))
        for socket in (*ended, mat):
            said = await socket.receive_json(timeout=stretched(5))
            assert (said["code"], said["retryable"]) == ("INVALID_TOKEN", False)
            assert (await socket.receive()).data == aiohttp.WSCloseCode.POLICY_VIOLATION
        again = await connect(http, running.fanouts[1], "receiver", revoked)
        assert (await again.receive_json())["code"] == "INVALID_TOKEN"
        await wait_until(
            lambda: _sessions(database, 1),
            what="the sessions' rows to go, but for the one of the other token",
        )
        assert not stays.closed


async def _sessions(database: "asyncpg.Connection[asyncpg.Record]", count: int) -> bool:
    found: int = await database.fetchval("SELECT count(*) FROM receiver_sessions")
    return found == count
