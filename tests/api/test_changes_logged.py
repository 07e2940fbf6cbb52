"""Everything that changes anything is in the log, with who asked: over all routes that there are, not over a list.

A route that is new is gone through by itself, and fails here until it leaves an entry; what it needs in order to have
something to change is said below. So is each field of a body, which is a change of its own.
"""

from base64 import b64encode
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias
from uuid import UUID

import pytest

from api.alerts.evaluator import Evaluation
from api.http.contract import Route
from api.routes import ROUTES
from tests.api.answering import opened, silent
from tests.api.conftest import Ask, Client
from tests.api.gateways import carrying_out
from tests.api.looking import looked
from tests.api.overviews import add_conflict
from tests.api.seeds import Database, add_cursor, add_stream
from tests.waiting import wait_until

Key: TypeAlias = tuple[str, str]

TOKEN = "a token of some length"
WHO = {"by": "Ann", "address": "192.0.2.7"}
HEADERS = {
    "Authorization": "Basic " + b64encode(f"Ann:{TOKEN}".encode()).decode(),
    "X-Forwarded-For": WHO["address"],
}

STREAM = "/api/v1/streams/{stream_id}"
FORWARDER = "/api/v1/forwarders/{forwarder_id}"
READER = FORWARDER + "/readers/{reader_ip}"
ALERT = "/api/v1/alerts/{alert_id}"
TOKENS = "/api/v1/admin/tokens"

CHANGING = [route for route in ROUTES if route.method not in ("GET", "HEAD")]
# Asks a device to look, and changes nothing.
CHANGE_NOTHING: set[Key] = {("POST", READER + "/refresh")}
BODIES: dict[Key, tuple[Any, ...]] = {
    ("PATCH", STREAM): ({"display_alias": "Finish"}, {"closed": True}),
    ("PATCH", FORWARDER + "/streams"): ({"closed": True},),
    ("PUT", STREAM + "/epochs/{epoch}/name"): ({"name": "Heat"},),
    ("POST", ALERT + "/acknowledge"): ({"reason": "seen"},),
    ("POST", ALERT + "/mute"): ({"reason": "loose cable", "until": None},),
    ("POST", FORWARDER + "/config/{section}"): ({"password": "secret"},),
    ("PUT", READER + "/read-mode"): ({"mode": "fsls", "timeout": 9},),
    ("PUT", READER + "/tto"): ({"enabled": True},),
    ("PUT", READER + "/recording"): ({"enabled": True},),
    ("POST", TOKENS): (
        {"device_type": "receiver", "device_id": "tent", "token": "another", "events_per_second": 5},
    ),
}
# What has to be done before it can be taken back.
FIRST: dict[Key, Key] = {
    ("DELETE", ALERT + "/acknowledge"): ("POST", ALERT + "/acknowledge"),
    ("DELETE", ALERT + "/mute"): ("POST", ALERT + "/mute"),
}
EVERY = [(route, body) for route in CHANGING for body in BODIES.get((route.method, route.path), (None,))]


def does(kind: str, _: object) -> tuple[str, object]:
    """Answer for a forwarder that does whatever it is asked."""
    if kind == "reader_control":
        return "done", {"success": True, "error": None, "reader_info": None}
    return "done", {"ok": True, "new_stream_epoch": 2}


@pytest.fixture
async def names(ask: Ask, database: Database, evaluation: Evaluation, gateway_id: UUID) -> dict[str, Any]:
    """Something of every kind that can be changed, by the names that paths have for them."""
    stream_id = await silent(database, "finish")
    (alert,) = opened(await looked(ask, evaluation))
    body = {"device_type": "forwarder", "device_id": "start"}
    token = await ask("POST", TOKENS, status=201, json=body)
    connected = await add_stream(database, "start")
    await add_cursor(database, "desk", connected, last_seq=1)
    await add_conflict(database, connected)
    return {
        "stream_id": connected,
        # Only of such a one is a stream deleted.
        "unconnected": await add_stream(database, "gone"),
        "epoch": 1,
        "conflict_id": await add_conflict(database, stream_id),
        "alert_id": alert["trouble_id"],
        "forwarder_id": "start",
        "reader_ip": "10.0.0.1%3A10000",
        "section": "wifi",
        "action": "restart-service",
        "receiver_id": "desk",
        "token_id": token["token_id"],
    }


@pytest.fixture
async def operator(serve: Callable[..., Awaitable[Client]]) -> Client:
    return await serve(api_token=TOKEN)


async def change(client: Client, key: Key, names: dict[str, Any], body: Any) -> None:
    """Do what a route does, which must not be refused."""
    if key == ("DELETE", STREAM):
        names = {**names, "stream_id": names["unconnected"]}
    path = key[1].format(**names)
    async with client.request(key[0], path, json=body, headers=HEADERS) as answer:
        assert answer.status < 300, await answer.text()


@pytest.mark.parametrize(
    ("route", "body"), EVERY, ids=[f"{route.method} {route.path} {body}" for route, body in EVERY]
)
async def test_whatever_changes_anything_is_in_the_log_with_who_asked(
    operator: Client,
    database: Database,
    database_url: str,
    names: dict[str, Any],
    *,
    route: Route,
    body: Any,
) -> None:
    key = (route.method, route.path)
    async with carrying_out(database_url, does):
        if key in FIRST:
            (before,) = BODIES[FIRST[key]]
            await change(operator, FIRST[key], names, before)
            await wait_until(lambda: noted(database), what="the entry of what is taken back")
            await database.execute("DELETE FROM activity")
        await change(operator, key, names, body)
    if key in CHANGE_NOTHING:
        # What is noted is written in order.
        await change(operator, ("PATCH", STREAM), names, {"display_alias": "Last"})
        assert await wait_until(lambda: noted(database), what="the last entry") == {"stream_renamed"}
        return
    assert await wait_until(lambda: noted(database), what="its entry")


async def noted(database: Database) -> set[str]:
    """Return the events that are in the log of Ann's doing."""
    rows = await database.fetch(
        "SELECT event FROM activity WHERE fields->>'by' = $1 AND fields->>'address' = $2", *WHO.values()
    )
    return {row["event"] for row in rows}


def test_every_field_of_a_body_is_a_change_that_is_gone_through() -> None:
    kinds = {(each.method, each.path): each.inputs.get("body") for each in CHANGING}
    for key, kind in kinds.items():
        # What is expected is no change, but what it was before.
        fields = {each for each in getattr(kind, "__struct_fields__", ()) if not each.startswith("expected_")}
        assert fields <= {each for body in BODIES.get(key, ()) for each in body}, key
