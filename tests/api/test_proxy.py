"""What receivers ask of an api process through their sockets: the same as over HTTP, in the same words."""

import asyncio
import json
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from api.app import API, build_app
from api.commands import ask as commands
from api.http.context import Api
from api.http.errors import ApiError
from api.proxy import answers as proxy
from api.proxy import handlers, store
from api.proxy.answers import Answers
from api.settings import ApiSettings
from shared.db.errors import DatabaseUnavailable
from shared.protocol.requests import KINDS
from shared.runtime.activity import Activity
from shared.runtime.process import Process
from tests.api.gateways import carrying_out, ending
from tests.api.seeds import Database, add_stream
from tests.api.test_commands_told import noted
from tests.waiting import wait_until

READER = "10.0.0.1:10000"

_PUT = """
INSERT INTO receiver_requests (session_id, receiver_id, token_id, address, kind, body, expires_at)
VALUES ($1, $5, $1, '10.9.8.7', $2, $3, clock_timestamp() + make_interval(secs => $4)) RETURNING request_id
"""


@pytest.fixture
def api(process: Process, activity: Activity, database_url: str) -> Api:
    settings = ApiSettings.read({"database_url": database_url, "bind": "127.0.0.1:1"})
    return build_app(process, settings, activity)[API]


@pytest.fixture
async def running(api: Api) -> AsyncIterator[Answers]:
    """An api process that answers receivers."""
    answers = Answers(api)
    task = asyncio.create_task(answers.run())
    yield answers
    api.process.stop.ask()
    await task


async def put(
    database: Database,
    kind: str,
    within_s: float = 60.0,
    *,
    receiver_id: str = "tent",
    body: bytes | None = None,
    **fields: Any,
) -> UUID:
    message = {"kind": f"receiver_proxy_{kind}_request", "request_id": "q", **fields}
    row: UUID = await database.fetchval(
        _PUT, uuid4(), kind, body or json.dumps(message).encode(), within_s, receiver_id
    )
    return row


async def answered(database: Database, row: UUID) -> Any:
    """Wait for the answer to a request, and return its fields."""

    async def done() -> Any:
        return await database.fetchrow(
            "SELECT answer FROM receiver_requests WHERE request_id = $1 AND state = 'done'", row
        )

    found = await wait_until(done, what="the answer")
    return found["answer"] and json.loads(found["answer"])


@pytest.fixture
def ask(database: Database, running: Answers) -> Callable[..., Awaitable[Any]]:
    async def ask(kind: str, **fields: Any) -> Any:
        return await answered(database, await put(database, kind, **fields))

    return ask


Ask = Callable[..., Awaitable[Any]]


# --- what is done ----------------------------------------------------------------------------------------


async def test_a_configuration_is_shown_and_changed(ask: Ask, gateway_id: UUID, database_url: str) -> None:
    config = {"general": {"a": ["é\u0000", None, 1.5]}}
    said = {"ok": True, "config": config, "restart_needed": True}
    async with ending(database_url, "done", said) as came:
        shown = await ask("config_get", forwarder_id="start", more="of a later release")
        changed = await ask("config_set", forwarder_id="start", section="general", payload={"b": 2})
    assert shown == {"ok": True, "error": None, "config": config, "restart_needed": True}
    assert changed == {"ok": True, "error": None, "restart_needed": True}
    assert came == [("config_get", {}), ("config_set", {"section": "general", "payload": {"b": 2}})]


async def test_a_restart_is_in_the_log_with_the_receiver_who_asked(
    ask: Ask, gateway_id: UUID, database: Database, database_url: str
) -> None:
    async with ending(database_url, "done", {"ok": True}) as came:
        assert await ask("restart", forwarder_id="start") == {"ok": True, "error": None}
    assert came == [("restart", {})]
    who = {"forwarder_id": "start", "by": "receiver tent", "address": "10.9.8.7"}
    (first, _, fields), (last, _, ended) = await noted(database)
    assert (first, last) == ("restart_asked", "restart_ended")
    assert who.items() <= fields.items()
    assert who.items() <= ended.items()


async def test_streams_are_listed_as_devices_know_them(
    ask: Ask, gateway_id: UUID, database: Database
) -> None:
    ours = await add_stream(database, "start", epoch=3)
    other = await add_stream(database, "finish")
    answer = await ask("streams_list")
    assert answer == {
        "ok": True,
        "error": None,
        "streams": [
            {
                "stream_id": str(stream_id),
                "forwarder_id": name,
                "reader_ip": "10.0.0.1:10000",
                "display_alias": None,
                "stream_epoch": epoch,
                "online": online,
                "reader_connected": online,
            }
            for stream_id, name, epoch, online in ((ours, "start", 3, True), (other, "finish", 1, False))
        ],
    }


async def test_a_machine_is_restarted_or_switched_off(ask: Ask, gateway_id: UUID, database_url: str) -> None:
    async with ending(database_url, "done", {"ok": True}) as came:
        for action in ("restart_device", "shutdown_device"):
            answer = await ask("device_control", forwarder_id="start", action=action)
            assert answer == {"ok": True, "error": None}
    assert came == [
        ("config_set", {"section": "control", "payload": {"action": action}})
        for action in ("restart_device", "shutdown_device")
    ]
    refused = await ask("device_control", forwarder_id="start", action="restart-service")
    assert refused["error"].startswith("request: ")


async def test_a_reader_is_asked_and_what_is_known_of_it_comes_back(
    ask: Ask, gateway_id: UUID, database_url: str
) -> None:
    info = {"banner": "IPICO", "recording": True}
    action = {"type": "set_read_mode", "mode": "fsls", "timeout": 9}
    async with ending(database_url, "done", {"success": True, "reader_info": info}) as came:
        answer = await ask("reader_control", forwarder_id="start", reader_ip=READER, action=action)
    assert answer["ok"]
    assert info.items() <= answer["reader_info"].items()
    assert came == [("reader_control", {"reader_ip": READER, "action": action})]


async def test_what_a_reader_takes_long_for_is_answered_when_its_forwarder_knows(
    ask: Ask, gateway_id: UUID, database_url: str
) -> None:
    async with ending(database_url, "done", None):
        for kind in ("clear_records", "start_download"):
            answer = await ask(
                "reader_control", forwarder_id="start", reader_ip=READER, action={"type": kind}
            )
            assert answer == {"ok": True, "error": None, "reader_info": None}


async def test_a_reader_that_refuses_or_is_named_wrong(ask: Ask, gateway_id: UUID, database_url: str) -> None:
    async with ending(database_url, "done", {"success": False, "error": "reader not connected"}) as came:
        refused = await ask(
            "reader_control", forwarder_id="start", reader_ip=READER, action={"type": "get_info"}
        )
        assert (refused["ok"], refused["error"]) == (False, "reader not connected")
        for wrong in (
            {"reader_ip": "10.0.0.1", "action": {"type": "get_info"}},
            {"reader_ip": READER, "action": {"type": "fly"}},
            {"reader_ip": READER, "action": {"type": "set_tto"}},
            {"reader_ip": READER},
        ):
            answer = await ask("reader_control", forwarder_id="start", **wrong)
            assert (answer["ok"], answer["reader_info"]) == (False, None)
    assert len(came) == 1


# --- what is refused ------------------------------------------------------------------------------------------


async def test_a_forwarder_that_is_away(ask: Ask) -> None:
    for kind in ("config_get", "config_set", "restart"):
        answer = await ask(kind, forwarder_id="away", section="s", payload={})
        assert (answer["ok"], answer["error"]) == (False, "forwarder not connected")


async def test_a_device_that_says_no_says_it_in_its_own_words(
    ask: Ask, gateway_id: UUID, database_url: str
) -> None:
    async with ending(database_url, "done", {"ok": False, "error": "no section 'x'"}):
        answer = await ask("config_set", forwarder_id="start", section="x", payload={})
    assert answer == {"ok": False, "error": "no section 'x'", "restart_needed": False}


async def test_a_device_that_says_no_without_words_is_told_of_in_ours(
    ask: Ask, gateway_id: UUID, database_url: str
) -> None:
    async with ending(database_url, "done", {"ok": False}):
        answer = await ask("restart", forwarder_id="start")
    assert answer == {"ok": False, "error": "the forwarder refused; details hold its answer"}


async def test_a_device_that_says_nothing(
    ask: Ask, gateway_id: UUID, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "ANSWER_WITHIN_S", 0.3)
    async with carrying_out(database_url, lambda *_: None):
        answer = await ask("config_get", forwarder_id="start")
    assert answer == {
        "ok": False,
        "error": "no answer from the forwarder in time; it may have done it or not",
        "config": None,
        "restart_needed": False,
    }


MALFORMED: list[tuple[str, dict[str, Any]]] = [
    ("config_get", {}),
    ("config_get", {"forwarder_id": 7}),
    ("config_get", {"forwarder_id": "x" * 256}),
    ("config_get", {"forwarder_id": "nul\u0000"}),
    ("config_set", {"forwarder_id": "start", "section": "s"}),
    ("config_set", {"forwarder_id": "start", "section": "s", "payload": [1]}),
    ("config_set", {"forwarder_id": "start", "section": "x" * 201, "payload": {}}),
    ("restart", {"forwarder_id": None}),
]


async def test_a_malformed_request(ask: Ask) -> None:
    for kind, fields in MALFORMED:
        answer = await ask(kind, **fields)
        assert not answer["ok"]
        assert answer["error"].startswith("request: ")


async def test_what_is_nested_too_deep(ask: Ask, gateway_id: UUID) -> None:
    deep = json.loads("[" * 150 + "]" * 150)
    answer = await ask("config_set", forwarder_id="start", section="s", payload={"a": deep})
    assert answer["error"] == "body: it is nested deeper than 100 levels"


async def test_what_is_nested_deeper_than_can_be_read_at_all(database: Database, running: Answers) -> None:
    deep = b"[" * 3_000 + b"]" * 3_000
    body = b'{"kind":"receiver_proxy_config_set_request","request_id":"q","payload":%b}' % deep
    answer = await answered(database, await put(database, "config_set", body=body))
    assert (answer["ok"], answer["restart_needed"]) == (False, False)
    assert answer["error"].startswith("request: ")


async def test_a_kind_without_a_route_is_not_available_yet(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in {kind.name for kind in KINDS.values()}:
        monkeypatch.delitem(handlers.HANDLERS, kind, raising=False)
        answer = await ask(kind, forwarder_id="start")
        assert (answer["ok"], answer["error"]) == (False, "not available yet")


def test_every_handler_is_of_a_kind_that_receivers_know() -> None:
    assert handlers.HANDLERS.keys() <= {kind.name for kind in KINDS.values()}


async def test_a_kind_of_a_later_release_is_left_to_whoever_knows_it(
    running: Answers, database: Database
) -> None:
    assert await answered(database, await put(database, "firmware_set")) is None


async def test_an_answer_beyond_what_devices_take(
    ask: Ask, monkeypatch: pytest.MonkeyPatch, gateway_id: UUID, database_url: str
) -> None:
    monkeypatch.setattr(proxy, "FIELDS_BYTES", 1000)
    async with ending(database_url, "done", {"ok": True, "config": "x" * 1000}):
        answer = await ask("config_get", forwarder_id="start")
    assert answer == {"ok": False, "error": "too large", "config": None, "restart_needed": False}


async def test_whatever_goes_wrong_is_told_as_over_http(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    errors = {
        "the reader is clearing its memory": ApiError("CONFLICT", "the reader is clearing its memory"),
        "the database is away; try again in a few seconds": DatabaseUnavailable("secret"),
        "the server failed to answer; its log says why": RuntimeError("secret"),
    }
    to_raise = iter(errors.values())

    async def fails(_api: Api, _asked: handlers.Nothing) -> handlers.Fields:
        raise next(to_raise)

    monkeypatch.setitem(handlers.HANDLERS, "streams_list", fails)
    for words in errors:
        assert (await ask("streams_list"))["error"] == words


# --- one takes it, once, in time -------------------------------------------------------------------------------


async def test_a_request_is_taken_by_one_of_several(api: Api, database: Database) -> None:
    wanted = {await put(database, "streams_list", receiver_id=f"tent-{n % 4}") for n in range(20)}
    taken = await asyncio.gather(*(store.take(api.pool, 20) for _ in range(4)))
    assert sorted(each.request_id for some in taken for each in some) == sorted(wanted)


async def test_what_another_is_taking_is_passed_over(api: Api, database: Database, database_url: str) -> None:
    first, second = [await put(database, "streams_list") for _ in range(2)]
    other = await asyncpg.connect(database_url)
    async with other.transaction():
        await other.execute("SELECT FROM receiver_requests WHERE request_id = $1 FOR UPDATE", first)
        assert [each.request_id for each in await store.take(api.pool, 9)] == [second]
    await other.close()


async def test_what_a_process_died_with_in_hand_is_carried_out_by_nobody_else(
    running: Answers, database: Database
) -> None:
    row = await put(database, "streams_list")
    await answered(database, row)
    await database.execute("UPDATE receiver_requests SET state = 'taken' WHERE request_id = $1", row)
    assert await answered(database, await put(database, "streams_list"))
    assert (
        await database.fetchval("SELECT state FROM receiver_requests WHERE request_id = $1", row) == "taken"
    )


async def test_what_is_too_late_is_not_carried_out(running: Answers, database: Database) -> None:
    late = await put(database, "restart", within_s=-0.1, forwarder_id="start")
    assert await answered(database, await put(database, "streams_list"))
    assert (
        await database.fetchval("SELECT state FROM receiver_requests WHERE request_id = $1", late) == "asked"
    )


async def test_a_handler_that_takes_too_long_is_ended_and_others_go_on(
    running: Answers, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = asyncio.Event()

    async def hangs(_api: Api, _asked: handlers.Nothing) -> handlers.Fields:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return None

    monkeypatch.setitem(handlers.HANDLERS, "races_list", hangs)
    hanging = await put(database, "races_list", within_s=5.0)
    assert (await answered(database, await put(database, "streams_list")))["ok"]
    await wait_until(ended.is_set, what="the handler to be ended")
    assert (await answered(database, await put(database, "streams_list")))["ok"]
    found = await database.fetchrow(
        "SELECT state, answer FROM receiver_requests WHERE request_id = $1", hanging
    )
    assert found is not None
    assert tuple(found) == ("taken", None)


@pytest.fixture
def two_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """As few places as there are, before anybody looks: a look that is under way has the room that it began with."""
    monkeypatch.setattr(proxy, "AT_ONCE", 2)


@pytest.mark.usefixtures("two_at_once", "running")
async def test_so_many_at_once_and_the_rest_when_there_is_room(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns, under_way, begun, most = asyncio.Semaphore(0), 0, 0, 0

    async def waits(_api: Api, _asked: handlers.Nothing) -> handlers.Fields:
        nonlocal under_way, begun, most
        begun, under_way = begun + 1, under_way + 1
        most = max(most, under_way)
        await turns.acquire()
        under_way -= 1
        return None

    monkeypatch.setitem(handlers.HANDLERS, "races_list", waits)
    asked = [await put(database, "races_list") for _ in range(5)]
    for expected in (2, 3, 4, 5, 5):
        await wait_until(lambda n=expected: begun == n, what="the next")  # type: ignore[misc]
        turns.release()
    for row in asked:
        await answered(database, row)
    assert most == 2


async def test_fifteen_megabytes_of_a_file_are_taken(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []

    async def upload(_api: Api, asked: dict[str, Any]) -> handlers.Fields:
        sizes.append(len(asked["file_data"]))
        return {"imported": 3}

    monkeypatch.setitem(handlers.HANDLERS, "file_upload", upload)
    answer = await ask("file_upload", race_id="r", file_data="QUJD" * (15 * 2**18))
    assert answer == {"ok": True, "error": None, "imported": 3}
    assert sizes == [15 * 2**20]


# --- races -------------------------------------------------------------------------------------------------


async def upload(ask: Ask, race_id: str, upload_type: str, content: bytes) -> Any:
    data = b64encode(content).decode()
    return await ask("file_upload", race_id=race_id, upload_type=upload_type, file_data=data, file_name="x")


async def test_a_race_is_made_filled_shown_and_deleted_and_the_log_names_the_receiver(
    ask: Ask, database: Database
) -> None:
    race = (await ask("race_create", name=" 10 km "))["race"]
    assert (race["name"], race["participant_count"], race["chip_count"]) == ("10 km", 0, 0)
    race_id = race["race_id"]
    assert await upload(ask, race_id, "participants", b"1,Byron,Ada,,,F\n") == {
        "ok": True,
        "error": None,
        "imported": 1,
    }
    assert (await upload(ask, race_id, "chips", b"1,AA\n9,bb\n"))["imported"] == 2
    (listed,) = (await ask("races_list"))["races"]
    assert (listed["race_id"], listed["participant_count"], listed["chip_count"]) == (race_id, 1, 2)
    roster = await ask("participants_get", race_id=race_id)
    assert roster["ok"]
    assert [(each["bib"], each["chip_ids"]) for each in roster["participants"]] == [(1, ["aa"])]
    assert roster["chips_without_participant"] == [{"chip_id": "bb", "bib": 9}]
    assert await ask("race_delete", race_id=race_id) == {"ok": True, "error": None}
    assert await ask("races_list") == {"ok": True, "error": None, "races": []}
    who = "SELECT count(*) FROM activity WHERE fields ->> 'by' = 'receiver tent'"
    await wait_until(lambda: database.fetchval(f"{who} HAVING count(*) = 4"), what="four entries")


async def test_a_forwarder_is_given_a_race_and_has_it_taken(ask: Ask) -> None:
    race_id = (await ask("race_create", name="10 km"))["race"]["race_id"]
    given = {"ok": True, "error": None, "forwarder_id": "start", "race_id": race_id}
    none = {**given, "race_id": None}
    assert await ask("forwarder_race_get", forwarder_id="start") == none
    assert await ask("forwarder_race_set", forwarder_id="start", race_id=race_id) == given
    assert await ask("forwarder_race_get", forwarder_id="start") == given
    assert await ask("forwarder_race_set", forwarder_id="start", race_id=None) == none


async def test_what_is_wrong_with_a_race_is_said_in_the_words_of_http_with_the_fields_that_devices_need(
    ask: Ask,
) -> None:
    race_id = (await ask("race_create", name="10 km"))["race"]["race_id"]
    bad = await upload(ask, race_id, "participants", b"x,Bad,Row\n")
    assert (bad["ok"], bad["imported"]) == (False, 0)
    assert "line 1: bib 'x' is no whole number" in bad["error"]
    large = await upload(ask, race_id, "chips", b"1,aa\n" + b";" * (10 * 1024 * 1024))
    assert large["error"] == "the file is larger than 10 MiB"
    wrong: list[tuple[str, dict[str, object]]] = [
        ("race_create", {"name": "  "}),
        ("race_delete", {"race_id": str(uuid4())}),
        ("participants_get", {"race_id": "no uuid"}),
        ("file_upload", {"race_id": race_id, "upload_type": "laps", "file_data": ""}),
        ("file_upload", {"race_id": race_id, "upload_type": "chips", "file_data": "?"}),
        ("forwarder_race_set", {"forwarder_id": "no id", "race_id": race_id}),
        ("forwarder_race_set", {"forwarder_id": "start", "race_id": str(uuid4())}),
    ]
    for kind, fields in wrong:
        answer = await ask(kind, **fields)
        assert not answer["ok"], kind
        assert answer["error"], kind
    assert (await ask("participants_get", race_id=str(uuid4())))["participants"] == []


async def test_who_asks_much_leaves_places_for_the_others(process: Process, database: Database) -> None:
    """However many sessions it asks through, and whichever process takes them."""
    for _ in range(2 * store.OF_ONE):
        await put(database, "races_list", receiver_id="greedy")
    modest = [await put(database, "races_list", receiver_id="modest") for _ in range(2)]
    first = await store.take(process.pool, 4)
    assert [each.receiver_id for each in first] == ["greedy", "greedy", "modest", "modest"]
    assert [each.request_id for each in first[2:]] == modest
    rest = [each for _ in range(3) for each in await store.take(process.pool, 4 * store.OF_ONE)]
    assert [each.receiver_id for each in rest] == ["greedy"] * (store.OF_ONE - 2)
    await store.answer(process.pool, first[0].request_id, b"{}")
    assert len(await store.take(process.pool, 64)) == 1


# --- the announcer ---------------------------------------------------------------------------------------


async def test_the_announcer_is_set_shown_and_reset(ask: Ask, database: Database) -> None:
    stream_id = await add_stream(database, "finish")
    wanted = {"enabled": True, "max_list_size": 5000, "selected_stream_ids": [str(stream_id)]}
    done = await ask("announcer_config_set", payload=wanted)
    assert (done["ok"], done["config"]["max_list_size"]) == (True, 500)
    assert await ask("announcer_config_get") == done
    assert await ask("announcer_reset") == {"ok": True, "error": None}
    refused = await ask("announcer_config_set", payload={"enabled": True, "max_list_size": 5})
    assert (refused["ok"], refused["config"]) == (False, None)
    assert "at least one stream" in refused["error"]
    said = await database.fetchval("SELECT fields FROM activity WHERE event = 'announcer_reset'")
    assert json.loads(said)["by"] == "receiver tent"
