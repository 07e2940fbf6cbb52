"""Commands as an api process asks them, and what bounds them."""

import asyncio
from uuid import UUID

import pytest

from api.commands import ask as commands
from tests.api.conftest import Ask
from tests.api.gateways import CONFIG, RESTART, ending, left
from tests.api.seeds import Database, add_stream
from tests.waiting import wait_until


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
