"""Who a receiver is, and how a session begins."""

import asyncio
from typing import Any

import aiohttp
import pytest

from shared.db.connections import Connection
from shared.transport.tokens import token_hash
from tests.delivery.conftest import Standing
from tests.delivery.stored import make_stream, store_many
from tests.delivery.wire import START, Message, Wire, connect
from tests.services import make_token
from tests.waiting import PATIENCE_S, stretched, wait_until

HELLO = {"kind": "receiver_hello", "receiver_id": "receiver-main"}


async def refused(wire: Wire, *, within_s: float = PATIENCE_S) -> tuple[str, bool, int | None]:
    """Return code and retryable of the error message, and the code of the close frame after it."""
    message = await wire.next(within_s=within_s)
    assert message is not None
    assert message["kind"] == "error"
    assert message["message"]
    return message["code"], message["retryable"], await wire.closed()


async def sessions(database: Connection) -> list[tuple[str, str]]:
    rows = await database.fetch("SELECT session_id::text, receiver_id FROM receiver_sessions")
    return [(row["session_id"], row["receiver_id"]) for row in rows]


@pytest.mark.parametrize("claimed", ["", "tent", "receiver-main"])
async def test_a_receiver_may_call_itself_what_receivers_do(standing: Standing, claimed: str) -> None:
    async with connect(standing.url, standing.token) as wire:
        await wire.send({**HELLO, "receiver_id": claimed})
        heartbeat = await wire.next(within_s=stretched(2))
        assert heartbeat is not None
        assert heartbeat == {"kind": "heartbeat", "session_id": heartbeat["session_id"], "device_id": "tent"}
        assert await sessions(standing.database) == [(heartbeat["session_id"], "tent")]


async def test_a_hello_needs_no_id_and_no_resume(standing: Standing) -> None:
    for hello in ({"kind": "receiver_hello"}, {"kind": "receiver_hello", "resume": None, "later": {"x": 1}}):
        async with connect(standing.url, standing.token) as wire:
            await wire.send(hello)
            assert (await wire.next() or {})["kind"] == "heartbeat"


@pytest.mark.parametrize("claimed", ["bar", "TENT", "receiver-main ", "fwd-0123456789abcdef"])
async def test_another_receivers_id_is_an_identity_mismatch(standing: Standing, claimed: str) -> None:
    async with connect(standing.url, standing.token) as wire:
        await wire.send({**HELLO, "receiver_id": claimed})
        assert await refused(wire) == ("IDENTITY_MISMATCH", False, 1008)
    assert await sessions(standing.database) == []


async def test_another_id_in_mid_session_is_an_identity_mismatch_too(standing: Standing) -> None:
    async with connect(standing.url, standing.token) as wire:
        await wire.greet()
        await wire.send({**HELLO, "receiver_id": "bar"})
        assert await refused(wire) == ("IDENTITY_MISMATCH", False, 1008)


async def test_a_hello_in_mid_session_adds_what_it_resumes_under_the_same_session(standing: Standing) -> None:
    await store_many(standing.database, await make_stream(standing.database, *START), 3)
    async with connect(standing.url, standing.token) as wire:
        await wire.greet()
        assert await wire.greet(resume=[(START, 1, 1)]) == wire.session_id
        assert await wire.identities(2) == [(1, 2), (1, 3)]
    assert wire.frames[:2] == ["heartbeat", "heartbeat"]


@pytest.mark.parametrize("kind", ["missing", "unknown", "empty", "revoked", "of a forwarder", "not bearer"])
async def test_a_token_that_is_not_right_is_told_so_after_the_hello(standing: Standing, kind: str) -> None:
    header: str | None = standing.token
    if kind == "missing":
        header = None
    elif kind == "unknown":
        header = "x" * 43
    elif kind == "empty":
        header = ""
    elif kind == "of a forwarder":
        header = await make_token(standing.database, "forwarder", "start")
    elif kind == "revoked":
        await standing.database.execute("UPDATE device_tokens SET revoked_at = now()")
    headers = {"Authorization": f"Basic {standing.token}"} if kind == "not bearer" else {}
    async with connect(standing.url, None if headers else header, headers) as wire:
        await wire.send(HELLO)
        assert await refused(wire) == ("INVALID_TOKEN", False, 1008)


async def test_a_wrong_token_without_a_hello_is_refused_within_seconds(standing: Standing) -> None:
    async with connect(standing.url, "x" * 43) as wire:
        assert await refused(wire, within_s=stretched(3)) == ("INVALID_TOKEN", False, 1008)


FIRST: list[Message | bytes] = [
    {"kind": "receiver_subscribe", "streams": []},
    {"kind": "receiver_ack", "entries": []},
    {"kind": "receiver_mood"},
    {"kind": "forwarder_hello", "forwarder_id": "x", "reader_ips": []},
    {"kind": "receiver_hello", "resume": [{"forwarder_id": "start"}]},
    b"hello",
    b"{",
    b'"\xff"',
    b"",
]


@pytest.mark.parametrize("first", FIRST, ids=str)
async def test_anything_but_a_hello_first_is_a_protocol_error(standing: Standing, first: Any) -> None:
    async with connect(standing.url, standing.token) as wire:
        await wire.send(first)
        assert await refused(wire) == ("PROTOCOL_ERROR", False, 1008)
    assert await sessions(standing.database) == []


async def test_binary_frames_are_ignored_at_any_time(standing: Standing) -> None:
    async with connect(standing.url, standing.token) as wire:
        await wire.send_binary(b"\x00\xff")
        await wire.greet()
        await wire.send_binary(b"\x00\xff")
        assert await wire.greet()


async def test_each_token_of_the_first_generations_id_is_a_receiver_with_cursors_of_its_own(
    standing: Standing,
) -> None:
    await store_many(standing.database, await make_stream(standing.database, *START), 50)
    tokens = [await make_token(standing.database, "receiver", "receiver-main") for _ in range(2)]
    names = {
        token: "receiver-main." + str(row["token_id"])[:8]
        for token in tokens
        for row in await standing.database.fetch(
            "SELECT token_id FROM device_tokens WHERE token_hash = $1", token_hash(token)
        )
    }
    for taken, token in zip((50, 30), tokens, strict=True):
        async with connect(standing.url, token) as wire:
            await wire.send(HELLO)
            heartbeat = await wire.next() or {}
            wire.session_id = heartbeat["session_id"]
            assert heartbeat["device_id"] == "receiver-main"
            assert await sessions(standing.database) == [(wire.session_id, names[token])]
            await wire.subscribe(START)
            assert len(await wire.take(50, acking=False)) == 50
            await wire.ack((START, 1, taken))
            await wait_until(
                lambda token=token, taken=taken: acked(standing.database, names[token], taken),  # type: ignore[misc]
                what="the cursor",
            )
        await wait_until(lambda: none_left(standing.database), what="the row to go")
    async with connect(standing.url, tokens[1]) as wire:
        await wire.greet()
        await wire.subscribe(START)
        assert await wire.identities(20) == [(1, seq) for seq in range(31, 51)]


async def acked(database: Connection, receiver_id: str, last_seq: int) -> bool:
    found = await database.fetchval(
        "SELECT last_seq FROM receiver_cursors WHERE receiver_id = $1", receiver_id
    )
    return bool(found == last_seq)


@pytest.mark.parametrize("claimed", ["", "receiver-main", "its own"])
async def test_a_receiver_of_the_first_generation_may_call_itself_what_it_is_called(
    standing: Standing, claimed: str
) -> None:
    token = await make_token(standing.database, "receiver", "receiver-main")
    token_id = await standing.database.fetchval(
        "SELECT token_id::text FROM device_tokens WHERE device_id = 'receiver-main'"
    )
    async with connect(standing.url, token) as wire:
        await wire.greet(f"receiver-main.{token_id[:8]}" if claimed == "its own" else claimed)
    async with connect(standing.url, token) as wire:
        await wire.send({**HELLO, "receiver_id": "receiver-main.00000000"})
        assert await refused(wire) == ("IDENTITY_MISMATCH", False, 1008)


async def test_compression_is_not_accepted_and_other_methods_are_no_sockets(standing: Standing) -> None:
    offer = {"Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits"}
    async with connect(standing.url, standing.token, offer) as wire:
        assert "Sec-WebSocket-Accept" in wire.headers
        assert "Sec-WebSocket-Extensions" not in wire.headers
    async with aiohttp.ClientSession() as http, http.get(f"{standing.url}/ws/v1/receivers") as answer:
        assert answer.status == 400


async def test_the_heartbeat_comes_before_anything_else_even_with_a_full_history(standing: Standing) -> None:
    await store_many(standing.database, await make_stream(standing.database, *START), 500)
    async with connect(standing.url, standing.token) as wire:
        await wire.greet(resume=[(START, 1, 0)])
        await wire.take(500)
    assert wire.frames[0] == "heartbeat"
    assert set(wire.frames[1:]) == {"receiver_event_batch"}


async def test_a_receiver_may_have_any_number_of_sessions_each_with_everything(standing: Standing) -> None:
    await store_many(standing.database, await make_stream(standing.database, *START), 5)
    async with connect(standing.url, standing.token) as one, connect(standing.url, standing.token) as two:
        for wire in (one, two):
            await wire.greet()
            await wire.subscribe(START)
        # They share one record: what either had acked before the other begins would not come to that one.
        got = await asyncio.gather(*(wire.identities(5, acking=False) for wire in (one, two)))
        assert got[0] == got[1] == [(1, seq) for seq in range(1, 6)]
        assert {session for session, _ in await sessions(standing.database)} == {
            one.session_id,
            two.session_id,
        }


async def test_a_session_that_ends_leaves_no_row(standing: Standing) -> None:
    async with connect(standing.url, standing.token) as wire:
        await wire.greet()
    async with connect(standing.url, standing.token) as wire:
        await wire.greet()
        await wire.drop()
    await wait_until(lambda: none_left(standing.database), what="the rows to go")


async def none_left(database: Connection) -> bool:
    return not await sessions(database)


async def test_the_streams_of_a_session_can_be_seen(standing: Standing) -> None:
    ids = [await make_stream(standing.database, "start", f"10.0.0.{n}:1") for n in range(2)]
    for each in ids:
        await store_many(standing.database, each, 1)
    async with connect(standing.url, standing.token) as wire:
        await wire.greet()
        await wire.subscribe(("start", "10.0.0.0:1"), ("start", "10.0.0.1:1"), ("start", "10.0.0.9:1"))
        await wire.take(2)
        found = await standing.database.fetchval("SELECT stream_ids FROM live_receiver_sessions")
        assert set(found) == set(ids)
