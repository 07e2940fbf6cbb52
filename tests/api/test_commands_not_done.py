"""Commands that were not carried out, or of which nobody knows: every end that is not done, said as it is."""

import asyncio
import json
from uuid import UUID, uuid4

import pytest

from api.commands import ask as commands
from tests.api.conftest import Ask
from tests.api.gateways import CONFIG, DEEP, RESTART, carrying_out, ending, left
from tests.api.seeds import Database, add_forwarder_session, add_process, add_stream
from tests.waiting import wait_until


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


async def test_a_device_that_says_nothing_is_a_timeout(
    ask: Ask, database: Database, gateway_id: UUID, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Long enough for the command to be taken first.
    monkeypatch.setattr(commands, "ANSWER_WITHIN_S", 3.0)
    async with carrying_out(database_url, lambda *_: None):
        error = await ask("GET", CONFIG, status=504)
    assert "may have done it" in error["message"]
    assert await left(database) == 0


async def test_a_database_that_went_away_is_no_fault_of_the_forwarder(
    ask: Ask, database: Database, gateway_id: UUID, database_url: str
) -> None:
    await database.execute(
        """
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql
            AS $$ BEGIN RAISE EXCEPTION 'away' USING ERRCODE = '57P01'; END $$;
        CREATE TRIGGER refuse BEFORE DELETE ON commands FOR EACH ROW EXECUTE FUNCTION refuse();
        """
    )
    async with ending(database_url, "done", {"ok": True}):
        error = await ask("POST", RESTART, status=504)
    assert error["message"].startswith("the database went away before there was an answer")


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
