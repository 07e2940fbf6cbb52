"""Commands as an api process asks them, with a gateway that is a few lines of SQL: every end that one can come to."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from api.commands import ask as commands
from tests.api.conftest import Ask
from tests.api.seeds import Database, add_forwarder_session, add_process, add_stream
from tests.waiting import wait_until

CONFIG = "/api/v1/forwarders/start/config"
RESTART = "/api/v1/forwarders/start/restart"
DEEP: Any = json.loads("[" * 150 + "]" * 150)

# Takes a command's kind and request and returns its end and answer; None leaves it in hand.
Gateway = Callable[[str, Any], "tuple[str, object] | None"]


@pytest.fixture
async def gateway_id(database: Database) -> UUID:
    """A gateway that lives and holds the session of forwarder `start`."""
    process_id = await add_process(database, "gateway")
    await add_forwarder_session(database, "start", process_id)
    return process_id


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


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for an answer for half a second."""
    monkeypatch.setattr(commands, "ANSWER_WITHIN_S", 0.5)


async def left(database: Database) -> int:
    """Return how many commands there are."""
    count: int = await database.fetchval("SELECT count(*) FROM commands")
    return count


# --- what is done ----------------------------------------------------------------------------------------


async def test_a_reset_answers_the_epoch_that_was_commanded(
    ask: Ask, database: Database, gateway_id: UUID, database_url: str
) -> None:
    stream_id = await add_stream(database)
    async with ending(database_url, "done", {"new_stream_epoch": 7}) as came:
        answer = await ask("POST", f"/api/v1/streams/{stream_id}/reset-epoch")
    assert answer == {"new_stream_epoch": 7}
    assert came == [("epoch_reset", {"stream_id": str(stream_id), "reader_ip": "10.0.0.1:10000"})]
    assert await left(database) == 0


async def test_questions_answer_what_the_device_says(
    ask: Ask, database: Database, gateway_id: UUID, database_url: str
) -> None:
    config = {"a": ["é\u0000", None, 1.5]}
    payload = {"large": 2**70, "text": "é\u0000\u2028"}
    said = {
        "kind": "x",
        "request_id": "y",
        "ok": True,
        "config": config,
        "restart_needed": True,
        "status_code": 200,
    }
    async with ending(database_url, "done", said) as came:
        read = await ask("GET", CONFIG)
        written = await ask("POST", CONFIG + "/general", json=payload)
        restarted = await ask("POST", RESTART, headers={"Content-Type": "application/json"})
    assert len(read.pop("fingerprints")["a"]) == 64
    assert read == {"ok": True, "error": None, "config": config, "restart_needed": True}
    assert written == {"ok": True, "error": None, "restart_needed": True, "status_code": 200}
    assert restarted == {"ok": True, "error": None}
    assert came == [
        ("config_get", {}),
        ("config_set", {"section": "general", "payload": payload}),
        ("restart", {}),
    ]


# --- what operators are told ------------------------------------------------------------------------------

WHO = {"by": "no token", "address": "127.0.0.1"}


async def noted(database: Database, count: int = 2) -> list[tuple[str, str, dict[str, Any]]]:
    """Wait for so many entries and return what they say."""

    async def look() -> list[Any]:
        rows = await database.fetch("SELECT event, level, fields FROM activity ORDER BY activity_id")
        return rows if len(rows) >= count else []

    rows = await wait_until(look, what=f"{count} entries")
    return [(row["event"], row["level"], json.loads(row["fields"])) for row in rows]


async def test_a_change_is_in_the_log_without_what_was_written(
    ask: Ask, database: Database, gateway_id: UUID, database_url: str
) -> None:
    async with ending(database_url, "done", {"ok": True}):
        await ask("POST", CONFIG + "/wifi", json={"password": "s3cret"})
    about = {"forwarder_id": "start", "section": "wifi", **WHO}
    assert await noted(database) == [
        ("config_set_asked", "info", about),
        ("config_set_ended", "info", {**about, "ending": "done"}),
    ]


async def test_what_is_asked_is_in_the_log_before_there_is_an_answer(
    ask: Ask, database: Database, gateway_id: UUID, database_url: str
) -> None:
    asking = asyncio.ensure_future(ask("POST", RESTART))
    assert await noted(database, 1) == [("restart_asked", "info", {"forwarder_id": "start", **WHO})]
    async with ending(database_url, "done", {"ok": True}):
        await asking


@pytest.mark.parametrize(
    ("state", "answer", "status", "came_of_it"),
    [
        ("lost", None, 504, "nobody knows"),
        ("done", b"{", 502, "nobody knows"),
        ("done", {"ok": False, "error": "no"}, 502, "refused"),
        ("absent", None, 404, "not carried out"),
        ("busy", None, 503, "not carried out"),
        ("refused", None, 503, "not carried out"),
    ],
)
async def test_a_command_s_ending_is_in_the_log_whatever_it_is(
    ask: Ask,
    database: Database,
    gateway_id: UUID,
    database_url: str,
    *,
    state: str,
    answer: object,
    status: int,
    came_of_it: str,
) -> None:
    async with ending(database_url, state, answer):
        await ask("POST", RESTART, status=status)
    about = {"forwarder_id": "start", **WHO}
    assert await noted(database) == [
        ("restart_asked", "info", about),
        ("restart_ended", "warn", {**about, "ending": came_of_it}),
    ]


@pytest.mark.usefixtures("impatient")
async def test_a_box_that_restarts_before_it_answers_was_asked_by_somebody(
    ask: Ask, database: Database, gateway_id: UUID, database_url: str
) -> None:
    async with carrying_out(database_url, lambda *_: None):
        await ask("POST", RESTART, status=504)
    about = {"forwarder_id": "start", **WHO}
    assert (await noted(database))[1] == ("restart_ended", "warn", {**about, "ending": "nobody knows"})


async def test_a_reset_without_an_answer_is_in_the_log(
    ask: Ask, database: Database, gateway_id: UUID, database_url: str
) -> None:
    stream_id = await add_stream(database)
    async with ending(database_url, "lost"):
        await ask("POST", f"/api/v1/streams/{stream_id}/reset-epoch", status=504)
    asked, ended = await noted(database)
    assert (asked[0], ended[0], ended[2]["ending"]) == (
        "epoch_reset_asked",
        "epoch_reset_ended",
        "nobody knows",
    )
    assert ended[2]["stream_id"] == str(stream_id)


async def test_what_changes_nothing_is_not_in_the_log(
    ask: Ask, database: Database, gateway_id: UUID, database_url: str
) -> None:
    async with ending(database_url, "done", {"ok": True}):
        await ask("GET", CONFIG)
        await ask("POST", RESTART)
    assert [event for event, *_ in await noted(database)] == ["restart_asked", "restart_ended"]


# --- what is not -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("expected", [1, 3])
async def test_a_reset_out_of_another_epoch_is_refused_with_the_one_that_is(
    ask: Ask, database: Database, gateway_id: UUID, expected: int
) -> None:
    stream_id = await add_stream(database, epoch=2)
    path = f"/api/v1/streams/{stream_id}/reset-epoch"
    error = await ask("POST", path, json={"expected_epoch": expected}, status=409)
    assert error["details"] == {"stream_epoch": 2}
    assert await left(database) == 0


async def test_a_reset_that_another_was_faster_than_is_refused_with_the_epoch_that_is_now(
    ask: Ask, database: Database, gateway_id: UUID, database_url: str
) -> None:
    stream_id = await add_stream(database)

    # Between the api's look and the gateway's.
    await database.execute(
        """
        CREATE FUNCTION another() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN UPDATE streams SET stream_epoch = 2; RETURN NULL; END $$;
        CREATE TRIGGER another AFTER INSERT ON commands EXECUTE FUNCTION another();
        """
    )
    async with ending(database_url, "absent") as came:
        error = await ask(
            "POST", f"/api/v1/streams/{stream_id}/reset-epoch", json={"expected_epoch": 1}, status=409
        )
    assert came[0][1]["expected_epoch"] == 1
    assert error["details"] == {"stream_epoch": 2}


async def test_nobody_is_asked_who_is_not_connected(ask: Ask, database: Database) -> None:
    stream_id = await add_stream(database)
    await add_forwarder_session(database, "start", await add_process(database, "gateway", lives=False))
    await ask("POST", f"/api/v1/streams/{stream_id}/reset-epoch", status=409)
    await ask("POST", f"/api/v1/streams/{uuid4()}/reset-epoch", status=404)
    await ask("GET", CONFIG, status=404)
    await ask("POST", CONFIG + "/general", status=404, json={})
    await ask("POST", RESTART, status=404)
    assert await left(database) == 0


async def test_there_is_no_epoch_above_the_highest(ask: Ask, database: Database, gateway_id: UUID) -> None:
    stream_id = await add_stream(database, epoch=2**31 - 1)
    error = await ask("POST", f"/api/v1/streams/{stream_id}/reset-epoch", status=409)
    assert "highest" in error["message"]


@pytest.mark.usefixtures("gateway_id")
@pytest.mark.parametrize(
    ("state", "statuses"),
    [("absent", (409, 404)), ("busy", (503, 503)), ("lost", (504, 504)), ("refused", (503, 503))],
)
async def test_what_was_not_done_is_said_as_it_is(
    ask: Ask, database: Database, database_url: str, state: str, statuses: tuple[int, int]
) -> None:
    stream_id = await add_stream(database)
    reset, others = statuses
    async with ending(database_url, state):
        await ask("POST", f"/api/v1/streams/{stream_id}/reset-epoch", status=reset)
        await ask("GET", CONFIG, status=others)
        await ask("POST", CONFIG + "/general", status=others, json={})
        await ask("POST", RESTART, status=others)
    assert await left(database) == 0


async def test_a_device_that_says_no_is_quoted(ask: Ask, gateway_id: UUID, database_url: str) -> None:
    async with ending(database_url, "done", {"ok": False, "error": "no section", "status_code": 404}):
        error = await ask("POST", CONFIG + "/nothing", status=502, json={})
    assert error["code"] == "FORWARDER_ERROR"
    assert error["details"] == {
        "ok": False,
        "error": "no section",
        "restart_needed": False,
        "status_code": 404,
    }


@pytest.mark.parametrize(
    "answer",
    [
        b"{",
        b'{"ok": true, "config": "\xff"}',
        b'{"ok": true, "config": "\\ud800"}',
        {"ok": True, "config": DEEP},
    ],
)
async def test_an_answer_that_cannot_be_read_is_the_forwarder_s_error(
    ask: Ask, gateway_id: UUID, database_url: str, answer: object
) -> None:
    async with ending(database_url, "done", answer):
        assert (await ask("GET", CONFIG, status=502))["code"] == "FORWARDER_ERROR"


async def test_a_payload_is_an_object_of_bounded_depth(ask: Ask, gateway_id: UUID) -> None:
    for body in (json.dumps({"a": DEEP}), '{"a":' + "[" * 100_000 + "]" * 100_000 + "}", "[]", "", '"x"'):
        await ask("POST", CONFIG + "/general", status=400, data=body)


@pytest.mark.usefixtures("impatient")
async def test_a_gateway_that_takes_nothing_in_time_does_nothing_later(
    ask: Ask, database: Database, gateway_id: UUID
) -> None:
    error = await ask("GET", CONFIG, status=504)
    assert "will not be carried out" in error["message"]
    assert await left(database) == 0


@pytest.mark.usefixtures("impatient")
async def test_a_device_that_says_nothing_is_a_timeout(
    ask: Ask, database: Database, gateway_id: UUID, database_url: str
) -> None:
    async with carrying_out(database_url, lambda *_: None):
        error = await ask("GET", CONFIG, status=504)
    assert "may have done it" in error["message"]
    assert await left(database) == 0


@pytest.mark.parametrize(("taken", "status"), [(False, 404), (True, 504)])
async def test_a_gateway_that_dies_gives_no_answer(
    ask: Ask,
    database: Database,
    gateway_id: UUID,
    monkeypatch: pytest.MonkeyPatch,
    *,
    taken: bool,
    status: int,
) -> None:
    monkeypatch.setattr(commands, "ANSWER_WITHIN_S", 2.0)
    asking = asyncio.ensure_future(ask("GET", CONFIG, status=status))
    await wait_until(lambda: left(database), what="the command")
    if taken:
        await database.execute("UPDATE commands SET state = 'taken'")
    await database.execute("UPDATE processes SET lease_expires_at = now() WHERE process_id = $1", gateway_id)
    await asking
    assert await left(database) == 0


async def test_a_crash_that_takes_the_command_away_is_no_answer(
    ask: Ask, database: Database, gateway_id: UUID
) -> None:
    asking = asyncio.ensure_future(ask("GET", CONFIG, status=504))
    await wait_until(lambda: left(database), what="the command")
    await database.execute("TRUNCATE commands")
    await asking


# --- bounds ----------------------------------------------------------------------------------------------


async def test_those_who_wait_hold_no_connection(
    ask: Ask, database: Database, gateway_id: UUID, database_url: str
) -> None:
    asking = [asyncio.ensure_future(ask("POST", RESTART)) for _ in range(20)]

    async def all_asked() -> bool:
        return await left(database) == 20

    await wait_until(all_asked, what="all commands")
    await ask("GET", "/api/v1/streams")
    async with ending(database_url, "done", {"ok": True}):
        await asyncio.gather(*asking)


async def test_what_waits_is_bounded(
    ask: Ask, database: Database, gateway_id: UUID, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "WAITING_AT_MOST", 1)
    first = asyncio.ensure_future(ask("POST", RESTART))
    await wait_until(lambda: left(database), what="the command")
    await ask("POST", RESTART, status=503)
    async with ending(database_url, "done", {"ok": True}):
        await first
        await ask("POST", RESTART)


async def test_what_a_dead_asker_left_goes_with_the_next_command(
    ask: Ask, database: Database, gateway_id: UUID, database_url: str
) -> None:
    await database.execute(
        """
        INSERT INTO commands (forwarder_id, session_id, gateway_id, kind, request, state, expires_at)
        SELECT 'start', gen_random_uuid(), $1, 'config_set', 's3cret', 'done', now() - age * interval '1 s'
        FROM unnest(ARRAY[25, 35]) AS age
        """,
        gateway_id,
    )
    async with ending(database_url, "done", {"ok": True}):
        await ask("POST", RESTART)
    assert await left(database) == 1
