"""What operators are told of a command: who asked, before it is asked, and how it ended."""

import asyncio
import json
from typing import Any
from uuid import UUID

import pytest

from tests.api.conftest import Ask
from tests.api.gateways import CONFIG, RESTART, carrying_out, ending
from tests.api.seeds import Database, add_stream
from tests.waiting import wait_until

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
