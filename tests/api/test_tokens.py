"""Tokens of devices: made, shown once, listed, revoked."""

import asyncio
import hashlib
import re
from typing import Any
from uuid import uuid4

import pytest

from deploy.simulation.devices.forwarder import Forwarder
from deploy.simulation.devices.journal import Journal
from deploy.simulation.devices.receiver import AT_ONCE, Receiver
from shared.db.channels import TOKENS
from shared.transport.tokens import authenticate
from tests.api.conftest import Ask
from tests.api.seeds import Database
from tests.services import Services, services
from tests.waiting import stretched, wait_until

TOKENS_PATH = "/api/v1/admin/tokens"


async def mint(ask: Ask, device_type: str = "forwarder", device_id: str = "start", **more: Any) -> Any:
    return await ask(
        "POST", TOKENS_PATH, status=201, json={"device_type": device_type, "device_id": device_id, **more}
    )


async def test_a_generated_token_is_shown_once_and_only_its_hash_is_kept(
    ask: Ask, database: Database, process: Any
) -> None:
    minted = await mint(ask)
    assert set(minted) == {"token_id", "device_type", "device_id", "token", "warnings"}
    assert re.fullmatch(r"[A-Za-z0-9_\-]{43}", minted["token"])
    rows = await database.fetch("SELECT * FROM device_tokens")
    assert rows[0]["token_hash"] == hashlib.sha256(minted["token"].encode()).digest()
    assert minted["token"] not in str(rows)
    identity = await authenticate(process.pool, f"Bearer {minted['token']}", "forwarder")
    assert identity is not None
    assert (str(identity.token_id), identity.device_id) == (minted["token_id"], "start")


async def test_a_token_of_ones_own_is_taken_once(ask: Ask) -> None:
    body = {"device_type": "receiver", "device_id": "tent 1", "token": "s3cret"}
    minted = await mint(ask, "receiver", "tent 1", token="s3cret")
    assert minted["token"] == "s3cret"
    assert (await ask("POST", TOKENS_PATH, status=409, json=body))["code"] == "CONFLICT"
    await ask("POST", f"{TOKENS_PATH}/{minted['token_id']}/revoke", status=204)
    assert (await ask("POST", TOKENS_PATH, status=409, json=body))["code"] == "CONFLICT"


async def test_a_device_may_have_several_tokens(ask: Ask) -> None:
    first, second = await mint(ask), await mint(ask)
    assert first["token"] != second["token"]
    listed = (await ask("GET", TOKENS_PATH))["tokens"]
    assert [each["token_id"] for each in listed] == [first["token_id"], second["token_id"]]


@pytest.mark.parametrize("events_per_second", [None, 0, 20_000])
async def test_a_receivers_token_may_say_how_fast_it_is_sent_events(
    ask: Ask, process: Any, events_per_second: int | None
) -> None:
    more = {} if events_per_second is None else {"events_per_second": events_per_second}
    minted = await mint(ask, "receiver", "tent", **more)
    identity = await authenticate(process.pool, f"Bearer {minted['token']}", "receiver")
    assert identity is not None
    assert identity.events_per_second == events_per_second


async def test_each_token_of_the_first_generations_id_is_a_receiver_of_its_own_and_says_so(
    ask: Ask, process: Any
) -> None:
    first, second = [await mint(ask, "receiver", "receiver-main") for _ in range(2)]
    assert first["warnings"] == []
    (warning,) = second["warnings"]
    assert "receiver-main" in warning
    for minted in (first, second):
        identity = await authenticate(process.pool, f"Bearer {minted['token']}", "receiver")
        assert identity is not None
        assert identity.device_id == f"receiver-main.{minted['token_id'][:8]}"
        assert identity.name == "receiver-main"
        assert identity.aliases == {"", "receiver-main", identity.device_id}
    assert first["token_id"][:8] != second["token_id"][:8]


async def test_only_a_further_receiver_of_that_id_is_worth_a_warning(ask: Ask) -> None:
    first = await mint(ask, "receiver", "receiver-main")
    assert (await mint(ask, "forwarder", "receiver-main"))["warnings"] == []
    for _ in range(2):
        assert (await mint(ask, "receiver", "tent"))["warnings"] == []
    await ask("POST", f"{TOKENS_PATH}/{first['token_id']}/revoke", status=204)
    assert (await mint(ask, "receiver", "receiver-main"))["warnings"] == []


async def test_the_list_never_shows_a_token(ask: Ask) -> None:
    minted = await mint(ask)
    (listed,) = (await ask("GET", TOKENS_PATH))["tokens"]
    assert listed.pop("created_at").endswith("+00:00")
    assert listed == {
        "token_id": minted["token_id"],
        "device_type": "forwarder",
        "device_id": "start",
        "last_used_at": None,
        "revoked_at": None,
    }


UNUSABLE: list[tuple[dict[str, object], str]] = [
    ({"device_type": "reader", "device_id": "x"}, "device_type"),
    ({"device_type": "forwarder"}, "device_id"),
    ({"device_type": "forwarder", "device_id": 7}, "device_id"),
    ({"device_type": "forwarder", "device_id": ""}, "device_id"),
    ({"device_type": "forwarder", "device_id": "start line"}, "device_id"),
    ({"device_type": "forwarder", "device_id": "a/b"}, "device_id"),
    ({"device_type": "forwarder", "device_id": "ü"}, "device_id"),
    ({"device_type": "forwarder", "device_id": "x" * 256}, "device_id"),
    ({"device_type": "receiver", "device_id": " "}, "device_id"),
    ({"device_type": "receiver", "device_id": "a\x00"}, "device_id"),
    ({"device_type": "receiver", "device_id": "a\n"}, "device_id"),
    ({"device_type": "receiver", "device_id": "x", "token": ""}, "token"),
    ({"device_type": "receiver", "device_id": "x", "token": "  "}, "token"),
    ({"device_type": "receiver", "device_id": "x", "token": " t"}, "token"),
    ({"device_type": "receiver", "device_id": "x", "token": "a\r\nX: y"}, "token"),
    ({"device_type": "receiver", "device_id": "x", "colour": "red"}, "colour"),
    ({"device_type": "receiver", "device_id": "x", "events_per_second": -1}, "events_per_second"),
    ({"device_type": "receiver", "device_id": "x", "events_per_second": 1_000_001}, "events_per_second"),
    ({"device_type": "receiver", "device_id": "x", "events_per_second": 0.5}, "events_per_second"),
    ({"device_type": "forwarder", "device_id": "x", "events_per_second": 5}, "events_per_second"),
]


async def test_an_unusable_token_is_refused_with_the_reason(ask: Ask, database: Database) -> None:
    for body, reason in UNUSABLE:
        error = await ask("POST", TOKENS_PATH, status=400, json=body)
        assert error["code"] == "BAD_REQUEST"
        assert reason in error["message"], body
    assert await database.fetchval("SELECT count(*) FROM device_tokens") == 0


async def test_a_revoked_token_opens_nothing_and_a_notification_is_sent(
    ask: Ask, database: Database, process: Any
) -> None:
    minted, kept = await mint(ask), await mint(ask)
    notified: list[str] = []
    await database.add_listener(TOKENS, lambda *notification: notified.append(notification[2]))
    path = f"{TOKENS_PATH}/{minted['token_id']}/revoke"
    # Clients call it a JSON request although it has no body.
    await ask("POST", path, status=204, headers={"Content-Type": "application/json"})
    await wait_until(lambda: notified, what="the notification")
    assert await authenticate(process.pool, f"Bearer {minted['token']}", "forwarder") is None
    assert await authenticate(process.pool, f"Bearer {kept['token']}", "forwarder") is not None
    revoked = {each["token_id"]: each["revoked_at"] for each in (await ask("GET", TOKENS_PATH))["tokens"]}
    assert revoked[minted["token_id"]] is not None
    assert revoked[kept["token_id"]] is None
    assert (await ask("POST", path, status=404))["code"] == "NOT_FOUND"


async def test_an_unknown_token_is_not_revoked(ask: Ask) -> None:
    assert (await ask("POST", f"{TOKENS_PATH}/{uuid4()}/revoke", status=404))["code"] == "NOT_FOUND"


async def test_a_new_token_keeps_the_streams_and_the_cursors_of_its_device(
    ask: Ask, database: Database, database_url: str
) -> None:
    journal = Journal()
    tokens = [(await mint(ask), await mint(ask, "receiver", "tent")) for _ in range(2)]
    async with services(database_url) as running:
        for lap, (start, tent) in enumerate(tokens):
            seqs = await ten_reads(running, start["token"], tent["token"], journal)
            # Nothing comes again: the receiver goes on where its other token left it.
            assert seqs == list(range(10 * lap + 1, 10 * lap + 11))
            await wait_until(
                lambda lap=lap: database.fetchval(  # type: ignore[misc]
                    "SELECT bool_and(last_seq = $1) FROM receiver_cursors", 10 * lap + 10
                ),
                what="the one cursor to move on",
            )
            for token in (start, tent):
                await ask("POST", f"{TOKENS_PATH}/{token['token_id']}/revoke", status=204)
    assert await database.fetchval("SELECT count(*) FROM streams") == 1
    assert await database.fetchval("SELECT count(*) FROM receiver_cursors") == 1


async def ten_reads(running: Services, start: str, tent: str, journal: Journal) -> list[int]:
    """Connect both devices, send ten reads and return the numbers of those that arrived."""
    reader = "10.0.0.1:10000"
    forwarder = Forwarder(
        url=running.gateways[0].url, token=start, device_id="start", readers=[reader], journal=journal
    )
    receiver = Receiver(url=running.fanouts[0].url, token=tent, streams=[("start", reader)], manners=AT_ONCE)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(forwarder.run())
        tasks.create_task(receiver.run())
        for number in range(10):
            forwarder.record(reader, f"line {number}")
        async with asyncio.timeout(stretched(30)):
            await forwarder.drained()
            await receiver.wait_for(10)
        await forwarder.stop()
        await receiver.stop()
    return [seq for seq, _ in receiver.events["start", reader, 1]]
