"""What devices may ask over HTTP with tokens of their own: every route there is, by every kind of token."""

import asyncio
import json
import re
from base64 import b64encode
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias
from uuid import uuid4

import pytest

from api.app import API
from api.http.device_tokens import DEVICE_ROUTES
from api.live.followers import OF_ONE_TOKEN, Followers
from api.routes import ROUTES
from tests.api.conftest import Client
from tests.api.seeds import Database, add_stream
from tests.services import make_token
from tests.waiting import wait_until

Serve: TypeAlias = Callable[..., Awaitable[Client]]

API_TOKEN = "that of the operators"
STREAMS = "/api/v1/streams"
# What the contract gives to devices, by method and path, whatever the path's variables are called. Some of these come
# with races; until then they are no routes.
THEIRS: dict[str, set[tuple[str, str]]] = {
    "receiver": {
        ("GET", "/api/v1/streams"),
        ("GET", "/api/v1/events"),
        ("GET", "/api/v1/forwarders"),
        ("GET", "/api/v1/forwarder-races"),
        ("GET", "/api/v1/races"),
        ("GET", "/api/v1/races/{}/participants"),
        ("GET", "/api/v1/races/{}/stream-epochs"),
        ("GET", "/api/v1/streams/{}/epochs"),
    },
    "forwarder": {("GET", "/api/v1/streams"), ("PUT", "/api/v1/streams/{}/epochs/{}/name")},
}


# Whoever asks.
EVERYBODY_S = {
    ("GET", STREAMS),
    ("GET", "/api/v1/public/announcer/state"),
    ("GET", "/api/v1/public/announcer/events"),
    ("POST", "/api/v1/public/timeline"),
}


def plain(path: str) -> str:
    """Return a path without the names of its variables."""
    return re.sub(r"\{\w+\}", "{}", path)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture
async def client(serve: Serve) -> Client:
    """A client of a server that has an API token."""
    return await serve(api_token=API_TOKEN)


async def admitted(client: Client, token: str) -> set[tuple[str, str]]:
    """Return the routes that are not refused to who shows a token."""
    found = set()
    for route in ROUTES:
        path = re.sub(r"\{(stream|race)_id\}", str(uuid4()), route.path.replace("{epoch}", "1"))
        async with client.request(route.method, path, headers=bearer(token)) as answer:
            if answer.status != 401:
                found.add((route.method, plain(route.path)))
    return found


@pytest.mark.parametrize("device_type", ["receiver", "forwarder"])
async def test_of_all_routes_a_device_s_token_opens_its_own_and_no_other(
    client: Client, database: Database, device_type: str
) -> None:
    token = await make_token(database, device_type, "box")
    there_are = {(route.method, plain(route.path)) for route in ROUTES}
    assert await admitted(client, token) == (THEIRS[device_type] | EVERYBODY_S) & there_are
    await database.execute("UPDATE device_tokens SET revoked_at = now()")
    assert await admitted(client, token) == await admitted(client, "nobody's") == EVERYBODY_S


def test_what_is_listed_for_devices_is_a_route() -> None:
    assert DEVICE_ROUTES.keys() <= {(route.method, route.path) for route in ROUTES}


async def test_the_token_is_looked_up_only_where_a_device_may_ask(client: Client, database: Database) -> None:
    token = await make_token(database, "receiver", "tent")
    used = "SELECT last_used_at IS NOT NULL FROM device_tokens"
    for path in ("/api/v1/receivers", "/api/v1/admin/tokens", "/", "/api/v1/nothing"):
        async with client.get(path, headers=bearer(token)) as answer:
            assert answer.status == 401, path
    assert not await database.fetchval(used)
    async with client.head("/api/v1/forwarders", headers=bearer(token)) as answer:
        assert answer.status == 200
    assert await database.fetchval(used)


async def test_as_a_password_a_device_s_token_opens_nothing(client: Client, database: Database) -> None:
    token = await make_token(database, "receiver", "tent")
    basic = "Basic " + b64encode(f"tent:{token}".encode()).decode()
    async with client.get("/api/v1/forwarders", headers={"Authorization": basic}) as answer:
        assert answer.status == 401


async def test_where_nobody_is_admitted_no_device_is(serve: Serve, database: Database) -> None:
    client = await serve(bind="0.0.0.0:8080")
    token = await make_token(database, "receiver", "tent")
    async with client.get("/api/v1/forwarders", headers=bearer(token)) as answer:
        assert answer.status == 403


async def test_another_site_cannot_ask_with_a_device_s_token_either(
    client: Client, database: Database
) -> None:
    headers = {**bearer(await make_token(database, "receiver", "tent")), "Sec-Fetch-Site": "cross-site"}
    async with client.get("/api/v1/forwarders", headers=headers) as answer:
        assert answer.status == 403


# --- a forwarder names an epoch ---------------------------------------------------------------------------


async def name_epoch(client: Client, stream_id: object, token: str, name: str = "Wave 2") -> tuple[int, Any]:
    path = f"{STREAMS}/{stream_id}/epochs/1/name"
    async with client.put(path, json={"name": name}, headers=bearer(token)) as answer:
        return answer.status, await answer.json()


async def test_a_forwarder_names_epochs_of_its_own_streams(client: Client, database: Database) -> None:
    own, other = await add_stream(database, "start"), await add_stream(database, "finish")
    token = await make_token(database, "forwarder", "start")
    status, answer = await name_epoch(client, own, token)
    assert (status, answer["name"]) == (200, "Wave 2")
    status, answer = await name_epoch(client, other, token)
    assert (status, answer["code"]) == (403, "FORBIDDEN")
    assert (await name_epoch(client, uuid4(), token))[0] == 404
    assert (await name_epoch(client, other, API_TOKEN))[0] == 200
    named = "SELECT name FROM epoch_names WHERE stream_id = $1"
    assert [await database.fetchval(named, each) for each in (own, other)] == ["Wave 2", "Wave 2"]


async def test_the_log_says_which_forwarder_it_was_and_cannot_be_filled_by_it(
    client: Client, database: Database
) -> None:
    own = await add_stream(database, "start")
    token = await make_token(database, "forwarder", "start")
    for n in range(5):
        assert (await name_epoch(client, own, token, f"Wave {n}"))[0] == 200
    # What an operator does afterwards is written behind what was written at once of the device.
    assert (await name_epoch(client, own, API_TOKEN, "Start"))[0] == 200

    async def written() -> list[Any]:
        rows = await database.fetch("SELECT fields, of_device FROM activity ORDER BY activity_id")
        return rows if len(rows) >= 2 else []

    rows = await wait_until(written, what="both entries")
    told = [(json.loads(row["fields"])["by"], row["of_device"]) for row in rows]
    assert told == [("forwarder start", True), ("API token", False)]


# --- a receiver follows the events ------------------------------------------------------------------------


async def test_a_receiver_s_event_stream_ends_with_its_token(client: Client, database: Database) -> None:
    tokens = [await make_token(database, "receiver", each) for each in ("tent", "other")]
    followers = client.server.app[API].part(Followers)  # type: ignore[attr-defined]
    streams = [await client.get("/api/v1/events", headers=bearer(each)) for each in (*tokens, API_TOKEN)]
    assert [each.status for each in streams] == [200, 200, 200]
    assert not await followers.look()
    await database.execute("UPDATE device_tokens SET revoked_at = now() WHERE device_id = 'tent'")
    assert await followers.look()
    assert not await followers.look()
    await streams[0].content.read()  # to its end
    for each in streams[1:]:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(each.content.read(), 0.2)
        each.close()


async def test_one_device_cannot_take_all_places_of_the_event_stream(
    client: Client, database: Database
) -> None:
    token, other = [await make_token(database, "receiver", each) for each in ("tent", "other")]
    open_ = [await client.get("/api/v1/events", headers=bearer(token)) for _ in range(OF_ONE_TOKEN)]
    assert {each.status for each in open_} == {200}
    async with client.get("/api/v1/events", headers=bearer(token)) as answer:
        assert (answer.status, (await answer.json())["code"]) == (503, "UNAVAILABLE")
    async with client.get("/api/v1/events", headers=bearer(other)) as answer:
        assert answer.status == 200
    for each in open_:
        each.close()
