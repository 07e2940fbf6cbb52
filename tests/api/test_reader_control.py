"""Readers as operators have their forwarders control them, with a gateway that is a few lines of SQL."""

import asyncio
import json
from typing import Any
from uuid import UUID

import pytest

from api.commands import ask as commands
from shared.protocol.commands import READER_CONTROL, ReaderControl, encode_why
from tests.api.conftest import Ask
from tests.api.gateways import carrying_out, ending, left
from tests.api.seeds import Database
from tests.waiting import wait_until

READER = "10.0.0.1:10000"
PATH = "/api/v1/forwarders/start/readers/10.0.0.1%3A10000"
CONTROL = "/api/v1/forwarders/start/control"
INFO = {"banner": "Elite", "clock": {"drift_ms": -1500}, "recording": True}
MODE = {"mode": "fsls", "timeout": 9}
ON = {"enabled": True}

# Method, path, body and status of each route, and the action that its forwarder gets.
ROUTES: dict[str, tuple[str, str, Any, int, dict[str, Any]]] = {
    "info": ("GET", "/info", None, 200, {"type": "get_info"}),
    "refresh": ("POST", "/refresh", None, 200, {"type": "refresh"}),
    "sync_clock": ("POST", "/sync-clock", None, 200, {"type": "sync_clock"}),
    "read_mode": ("PUT", "/read-mode", MODE, 200, {"type": "set_read_mode", **MODE}),
    "tto": ("PUT", "/tto", ON, 200, {"type": "set_tto", **ON}),
    "recording": ("PUT", "/recording", {"enabled": False}, 200, {"type": "set_recording", "enabled": False}),
    "clear_records": ("POST", "/clear-records", None, 202, {"type": "clear_records"}),
    "start_download": ("POST", "/start-download", None, 202, {"type": "start_download"}),
    "stop_download": ("POST", "/stop-download", None, 200, {"type": "stop_download"}),
    "reconnect": ("POST", "/reconnect", None, 200, {"type": "reconnect"}),
}
EVERY = pytest.mark.parametrize("name", ROUTES)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for half a second, and for no longer than that for what takes a reader long."""
    monkeypatch.setattr(commands, "ANSWER_WITHIN_S", 0.5)
    monkeypatch.setattr(ReaderControl, "answer_within_s", 0.0)


def says(*, success: bool = True, error: str | None = None, info: object = INFO) -> dict[str, Any]:
    """Return a forwarder's answer, as its gateway writes it."""
    about = {"kind": "reader_control_response", "request_id": "x", "reader_ip": READER}
    return {**about, "success": success, "error": error, "reader_info": info}


async def asked(ask: Ask, name: str, *, path: str = PATH, status: int | None = None) -> Any:
    method, route, body, usual, _ = ROUTES[name]
    # Programs of the field say what a body would be, where there is none.
    headers = {"Content-Type": "application/json"}
    more = {"headers": headers} if body is None else {"json": body}
    return await ask(method, path + route, status=status or usual, **more)


async def test_every_action_that_a_forwarder_knows_has_a_route() -> None:
    kinds = {each.__struct_config__.tag for each in ReaderControl.__annotations__["action"].__args__}
    assert {action["type"] for *_, action in ROUTES.values()} == kinds


@EVERY
async def test_a_reader_is_controlled_and_answers(
    ask: Ask, database: Database, gateway_id: UUID, database_url: str, name: str
) -> None:
    async with ending(database_url, "done", says()) as came:
        answer = await asked(ask, name)
    long = ROUTES[name][3] == 202
    assert answer == ({"ok": True} if long else {"ok": True, "error": None, "reader_info": INFO})
    assert came == [("reader_control", {"reader_ip": READER, "action": ROUTES[name][4]})]
    assert await left(database) == 0


async def test_a_mute_reader_is_no_failure(ask: Ask, gateway_id: UUID, database_url: str) -> None:
    async with ending(database_url, "done", says(info=None)):
        assert (await asked(ask, "info"))["reader_info"] is None


@pytest.mark.parametrize("name", ["clear_records", "start_download"])
async def test_what_takes_long_is_accepted_where_the_forwarder_says_nothing(
    ask: Ask, gateway_id: UUID, database_url: str, name: str
) -> None:
    async with ending(database_url, "done", b"null"):
        assert await asked(ask, name) == {"ok": True}


# --- what is not ------------------------------------------------------------------------------------------


@EVERY
async def test_a_device_that_says_no_is_quoted(
    ask: Ask, gateway_id: UUID, database_url: str, name: str
) -> None:
    async with ending(database_url, "done", says(success=False, error="reader not connected", info=None)):
        error = await asked(ask, name, status=502)
    assert error == {
        "code": "FORWARDER_ERROR",
        "message": "the forwarder refused: reader not connected",
        "details": {"ok": False, "error": "reader not connected", "reader_info": None},
    }


@pytest.mark.parametrize(
    ("state", "answer", "status", "code", "words"),
    [
        ("refused", encode_why("too_old"), 409, "CONFLICT", "too old for this"),
        ("refused", encode_why("clearing"), 409, "CONFLICT", "clearing its memory"),
        ("refused", b"", 503, "UNAVAILABLE", "another release"),
        ("refused", b'{"why": "of tomorrow"}', 503, "UNAVAILABLE", "another release"),
        ("lost", encode_why("disconnected"), 502, "FORWARDER_ERROR", "disconnected before it answered"),
        ("lost", b"", 504, "TIMEOUT", "may have done it or not"),
        ("busy", b"", 503, "UNAVAILABLE", "too many commands"),
        ("absent", b"", 404, "NOT_FOUND", "not connected"),
        ("done", b"{", 502, "FORWARDER_ERROR", "cannot be read"),
        ("done", b'{"ok": true}', 502, "FORWARDER_ERROR", "cannot be read"),
    ],
)
async def test_every_refusal_is_told_as_it_is(
    ask: Ask,
    database: Database,
    gateway_id: UUID,
    database_url: str,
    *,
    state: str,
    answer: bytes,
    status: int,
    code: str,
    words: str,
) -> None:
    async with ending(database_url, state, answer):
        for name in ("info", "tto", "clear_records"):
            error = await asked(ask, name, status=status)
            assert error["code"] == code
            assert words in error["message"]
    assert await left(database) == 0


async def test_an_answer_is_wanted_of_what_does_not_take_long(
    ask: Ask, gateway_id: UUID, database_url: str
) -> None:
    async with ending(database_url, "done", b"null"):
        await asked(ask, "sync_clock", status=502)


@EVERY
async def test_nobody_is_asked_who_is_not_connected(ask: Ask, database: Database, name: str) -> None:
    error = await asked(ask, name, status=404)
    assert error["message"] == "forwarder not connected"
    assert await left(database) == 0


@pytest.mark.usefixtures("impatient")
async def test_what_no_gateway_takes_is_not_carried_out(
    ask: Ask, database: Database, gateway_id: UUID
) -> None:
    error = await asked(ask, "reconnect", status=504)
    assert "will not be carried out" in error["message"]
    assert await left(database) == 0


@pytest.mark.parametrize("name", ["info", "clear_records"])
async def test_a_device_has_its_time_from_when_it_was_asked(
    ask: Ask,
    database: Database,
    gateway_id: UUID,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    *,
    name: str,
) -> None:
    """What waits behind others until its last moment, and is answered slowly, is waited for."""
    monkeypatch.setattr(commands, "ANSWER_WITHIN_S", 2.0)
    async with carrying_out(database_url, lambda *_: None):
        asking = asyncio.ensure_future(asked(ask, name))
        await wait_until(lambda: left(database), what="the command")
        # Beyond the time in which it may be written.
        await wait_until(
            lambda: database.fetchval("SELECT expires_at < clock_timestamp() FROM commands"),
            what="its deadline",
        )
        assert not asking.done()
        await database.execute("UPDATE commands SET state = 'done', answer = $1", json.dumps(says()).encode())
        await database.execute("SELECT pg_notify('rt_answers', '')")
        assert (await asking)["ok"] is True


# --- what operators are told ------------------------------------------------------------------------------


async def entries(database: Database, count: int) -> list[tuple[str, dict[str, Any]]]:
    async def look() -> list[Any]:
        rows = await database.fetch("SELECT event, fields FROM activity ORDER BY activity_id")
        return rows if len(rows) >= count else []

    rows = await wait_until(look, what=f"{count} entries")
    return [(row["event"], json.loads(row["fields"])) for row in rows]


async def test_what_changes_a_reader_is_in_the_log_with_who_asked_and_what_came_of_it(
    ask: Ask, database: Database, gateway_id: UUID, database_url: str
) -> None:
    async with ending(database_url, "done", says()):
        for name in ROUTES:
            await asked(ask, name)
    changing = [action for name, (*_, action) in ROUTES.items() if name not in ("info", "refresh")]
    found = await entries(database, 2 * len(changing))
    assert len(found) == 2 * len(changing)
    for action, (asked_event, asked_of), (ended_event, ended) in zip(
        changing, found[::2], found[1::2], strict=True
    ):
        assert (asked_event, ended_event) == ("reader_control_asked", "reader_control_ended")
        about = {"forwarder_id": "start", "reader_ip": READER, "by": "no token", "address": "127.0.0.1"}
        told = {("action" if name == "type" else name): value for name, value in action.items()}
        assert asked_of == {**about, **told}
        assert ended == {**about, **told, "ending": "done"}


async def test_a_refusal_is_in_the_log(
    ask: Ask, database: Database, gateway_id: UUID, database_url: str
) -> None:
    async with ending(database_url, "done", says(success=False, error="no")):
        await asked(ask, "clear_records", status=502)
    assert (await entries(database, 2))[1][1]["ending"] == "refused"


# --- the forwarder itself ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "kind", "request_"),
    [
        ("restart-service", "restart", {}),
        ("restart-device", "config_set", {"section": "control", "payload": {"action": "restart_device"}}),
        ("shutdown-device", "config_set", {"section": "control", "payload": {"action": "shutdown_device"}}),
    ],
)
async def test_a_forwarder_is_told_what_to_do_with_itself(
    ask: Ask,
    database: Database,
    gateway_id: UUID,
    database_url: str,
    *,
    action: str,
    kind: str,
    request_: dict[str, Any],
) -> None:
    async with ending(database_url, "done", {"ok": True}) as came:
        assert await ask("POST", f"{CONTROL}/{action}") == {"ok": True, "error": None}
    assert came == [(kind, request_)]
    asked_of, ended = await entries(database, 2)
    assert asked_of[0] == f"{kind}_asked"
    assert (ended[1]["action"], ended[1]["ending"], ended[1]["by"]) == (action, "done", "no token")
    async with ending(database_url, "done", {"ok": False, "error": "not here"}):
        error = await ask("POST", f"{CONTROL}/{action}", status=502)
    assert error["details"]["error"] == "not here"
    async with ending(database_url, "lost", encode_why("disconnected")):
        await ask("POST", f"{CONTROL}/{action}", status=502)


async def test_what_no_forwarder_does_is_refused(ask: Ask, database: Database, gateway_id: UUID) -> None:
    for action in ("explode", "restart_device", "restart"):
        assert (await ask("POST", f"{CONTROL}/{action}", status=400))["code"] == "BAD_REQUEST"
    assert await left(database) == 0


def test_reader_control_is_a_kind_that_changes_devices() -> None:
    assert READER_CONTROL.changes
