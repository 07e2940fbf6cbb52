"""Everything that changes anything is in the log, with who asked: over all routes that there are, not over a list.

A route that is new is gone through by itself, and fails here until it leaves an entry, and until it changes nothing
where it can leave none: a process may die between any two commits. What it needs in order to have something to change
is said below. So is each field of a body, which is a change of its own.
"""

from base64 import b64encode
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias
from uuid import UUID

import pytest

from api.alerts.evaluator import Evaluation
from api.http.contract import Route
from api.routes import ROUTES
from api.segments.store.rows import fingerprint
from tests.api.answering import opened, silent
from tests.api.conftest import Ask, Client
from tests.api.gateways import carrying_out
from tests.api.looking import looked
from tests.api.overviews import add_conflict
from tests.api.seeds import Database, add_cursor, add_stream
from tests.api.test_races import form

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
RACE = "/api/v1/races/{race_id}"

CHANGING = [route for route in ROUTES if route.method not in ("GET", "HEAD")]
# Asks a device to look; asks for what had better stand in no address. None of them changes anything.
CHANGE_NOTHING: set[Key] = {
    ("POST", READER + "/refresh"),
    ("POST", "/api/v1/search"),
    ("POST", "/api/v1/public/timeline"),
}
# What makes it a change, where that stands in the query.
ASKED = {("POST", STREAM + "/reconcile"): "?store=true"}
# Gives what is kept nowhere: there is the entry, and nothing else.
GIVE: set[Key] = {("POST", RACE + "/bibs/{bib}/link"), ("POST", "/api/v1/chips/{chip_id}/link")}
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
    ("POST", "/api/v1/races"): ({"name": "5 km"},),
    ("POST", "/api/v1/search"): ({"q": "7"},),
    ("PATCH", RACE): (
        {"name": "Half"},
        {"participants_until": "2030-01-01T00:00:00Z"},
        {"gun_at": "2026-05-03T09:00:00Z"},
    ),
    ("PATCH", RACE + "/points/{place}"): ({"closed": True}, {"closes_at": "2026-05-03T19:00:00Z"}),
    ("PUT", RACE + "/course"): ({"points": [{"name": "Start", "stream_ids": ["{stream_id}"]}]},),
    ("PUT", RACE + "/segments/{stream_id}"): (
        {
            "segments": [{"begins": {"epoch": 7, "seq": 1}, "ends": None}],
            "expected_fingerprint": "{fingerprint}",
        },
    ),
    ("POST", RACE + "/segment-changes/{change_id}/undo"): ({},),
    ("PUT", FORWARDER + "/time-zone"): ({"time_zone": "Europe/Berlin"},),
    ("PUT", FORWARDER + "/race"): ({"race_id": "{race_id}"},),
    ("PUT", STREAM + "/epochs/{epoch}/race"): ({"race_id": "{race_id}"},),
    ("POST", RACE + "/begin"): ({"stream_ids": ["{stream_id}"], "epoch_name": "Heat"},),
    ("PUT", "/api/v1/announcer/config"): (
        {"enabled": True, "max_list_size": 25, "selected_stream_ids": ["{stream_id}"]},
        {"enabled": False, "max_list_size": 10},
    ),
    ("POST", "/api/v1/public/timeline"): ({"link": "{link}"},),
    ("POST", RACE + "/bibs/{bib}/link"): ({"hours": 2},),
    ("POST", "/api/v1/chips/{chip_id}/link"): ({"hours": 2},),
    ("POST", TOKENS): (
        {"device_type": "receiver", "device_id": "tent", "token": "another", "events_per_second": 5},
    ),
}
FILES: dict[Key, str] = {
    ("POST", RACE + "/participants/upload"): "2,Turing,Alan,,,M\n",
    ("POST", RACE + "/chips/upload"): "2,058000000002\n",
    ("POST", STREAM + "/reconcile"): "aa0005800370000100012506151032000032\n",
}
# What has to be done before it can be taken back.
FIRST: dict[Key, Key] = {
    ("DELETE", ALERT + "/acknowledge"): ("POST", ALERT + "/acknowledge"),
    ("DELETE", ALERT + "/mute"): ("POST", ALERT + "/mute"),
}
# As if the process died between a change and its entry.
NO_ENTRIES = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql
AS $$ BEGIN RAISE EXCEPTION 'no entry' USING ERRCODE = '57014'; END $$;
CREATE TRIGGER no_entries BEFORE INSERT ON activity EXECUTE FUNCTION refuse();
"""
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
    race = await ask("POST", "/api/v1/races", status=201, json={"name": "10 km"})
    await database.execute(
        "INSERT INTO participants VALUES ($1, 1, 'Ada', 'Byron', NULL, 'F')", race["race_id"]
    )
    await database.execute("INSERT INTO race_points VALUES ($1, 1, 'Start')", race["race_id"])
    # An epoch of it, so that the stream can be commanded to another.
    await database.execute("INSERT INTO epoch_races VALUES ($1, 7, $2)", connected, race["race_id"])
    moved = await ask(
        "PUT",
        f"/api/v1/races/{race['race_id']}/segments/{connected}",
        json={
            "segments": [{"begins": {"epoch": 7, "seq": 1}, "ends": {"epoch": 8, "seq": 1}}],
            "expected_fingerprint": await fingerprint(database, connected),
        },
    )
    link = await ask("POST", f"/api/v1/races/{race['race_id']}/bibs/1/link", json={})
    await database.execute("DELETE FROM activity")
    return {
        "link": link["path"].partition("#")[2],
        "chip_id": "0580000000a1",
        "stream_id": connected,
        "change_id": moved["change_id"],
        "fingerprint": moved["stream"]["fingerprint"],
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
        "race_id": race["race_id"],
        "bib": 1,
        "place": 1,
    }


@pytest.fixture
async def operator(serve: Callable[..., Awaitable[Client]]) -> Client:
    return await serve(api_token=TOKEN)


async def change(client: Client, key: Key, names: dict[str, Any], body: Any) -> int:
    """Do what a route does, and return the status of the answer."""
    if key == ("DELETE", STREAM):
        names = {**names, "stream_id": names["unconnected"]}
    sent: dict[str, Any] = {"json": filled(body, names)}
    if key in FILES:
        sent = {"data": form(FILES[key])}
    path = key[1].format(**names) + ASKED.get(key, "")
    async with client.request(key[0], path, headers=HEADERS, **sent) as answer:
        await answer.read()
        return answer.status


def filled(body: Any, names: dict[str, Any]) -> Any:
    """Return a body with the ids that its texts stand for."""
    if isinstance(body, dict):
        return {name: filled(value, names) for name, value in body.items()}
    if isinstance(body, list):
        return [filled(value, names) for value in body]
    return body.format(**names) if isinstance(body, str) else body


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
    async with carrying_out(database_url, does) as asked:
        if key in FIRST:
            (before,) = BODIES[FIRST[key]]
            assert await change(operator, FIRST[key], names, before) < 300
            await database.execute("DELETE FROM activity")
        if key in CHANGE_NOTHING:
            assert await change(operator, key, names, body) < 300
            assert not await noted(database)
            return
        was = await all_rows(database)
        await database.execute(NO_ENTRIES)
        refused = await change(operator, key, names, body)
        assert (await all_rows(database), asked) == (was, []), "it is changed, and nothing says so"
        assert refused == 503
        await database.execute("DROP TRIGGER no_entries ON activity")
        assert await change(operator, key, names, body) < 300
    assert await noted(database)
    assert asked or (await all_rows(database) != was) is (key not in GIVE)


async def all_rows(database: Database) -> dict[str, str]:
    """Return what tells the rows of all tables from others, but for those that say of processes that they live."""
    tables = await database.fetch(
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
    )
    ours = {str(row["relname"]) for row in tables} - {"activity", "processes"}
    return {
        table: await database.fetchval(
            f"SELECT md5(string_agg(t::text, ' ' ORDER BY t::text)) FROM {table} AS t"
        )
        for table in sorted(ours)
    }


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
        # Nor is what only looks at one.
        fields -= {"preview"}
        assert fields <= {each for body in BODIES.get(key, ()) for each in body}, key
