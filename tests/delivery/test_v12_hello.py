"""How a session of the second generation begins: who is who, what ends its attempts for good, and what does not."""

import asyncio
from typing import Any

import asyncpg
import pytest

from fanout.store import sessions as stored_sessions
from shared.db.connections import Connection
from shared.transport.tokens import token_hash
from tests.delivery.conftest import Standing
from tests.delivery.stored import make_stream, store_many
from tests.delivery.test_hello import refused, sessions
from tests.delivery.wire import START, connect
from tests.delivery.wire_v12 import connect_v12, live, receiver_v12, replay, target
from tests.fanout.conftest import running_inside
from tests.services import make_token
from tests.waiting import wait_until

HELLO = {"kind": "receiver_hello_v12", "receiver_id": "", "mode": live()}


@pytest.mark.parametrize("claimed", ["", "tent", "receiver-main", "recv-0a1b2c3d", "recv-0A1B2C3D"])
async def test_a_receiver_may_call_itself_what_receivers_do(standing: Standing, claimed: str) -> None:
    async with connect_v12(standing.url, standing.token) as wire:
        heartbeat = await wire.greet_v12(live(), receiver_id=claimed)
        assert heartbeat == {"kind": "heartbeat", "session_id": wire.session_id, "device_id": "tent"}
        assert await wire.applied() == ("live (0 streams)", 0, [])
        assert await sessions(standing.database) == [(wire.session_id, "tent")]


@pytest.mark.parametrize("claimed", ["bar", "TENT", "recv-0a1b2c3", "recv-0a1b2c3d4", "recv-0a1b2c3g"])
async def test_another_receivers_id_is_an_identity_mismatch(standing: Standing, claimed: str) -> None:
    async with connect_v12(standing.url, standing.token) as wire:
        await wire.send({**HELLO, "receiver_id": claimed})
        assert await refused(wire) == ("IDENTITY_MISMATCH", False, 1008)
    assert await sessions(standing.database) == []


async def test_a_token_that_is_not_right_is_told_so(standing: Standing) -> None:
    async with connect_v12(standing.url, "x" * 43) as wire:
        await wire.send(HELLO)
        assert await refused(wire) == ("INVALID_TOKEN", False, 1008)


NEGATIVE = {"forwarder_id": "start", "reader_ip": "r", "stream_epoch": 1, "last_seq": -1}
WRONG: list[Any] = [
    {"kind": "receiver_hello", "receiver_id": ""},
    {"kind": "receiver_ack", "entries": []},
    {"kind": "receiver_subscribe", "streams": []},
    {"kind": "receiver_proxy_races_list_request", "request_id": "1"},
    {"kind": "receiver_hello_v12"},
    {**HELLO, "mode": None},
    {**HELLO, "mode": {}},
    {**HELLO, "mode": "live"},
    {**HELLO, "mode": {"mode": "relay", "streams": []}},
    {**HELLO, "mode": {"mode": "live"}},
    {**HELLO, "mode": {"mode": "race"}},
    {**HELLO, "mode": {"mode": "race", "race_id": 7}},
    {**HELLO, "mode": {"mode": "targeted_replay"}},
    {**HELLO, "mode": replay(target(START, 0))},
    {**HELLO, "mode": replay(target(START, 1, from_seq=-1))},
    {**HELLO, "mode": live(START, earliest={START: -1})},
    {**HELLO, "mode": live(("a\0b", "r"))},
    {**HELLO, "mode": live(*(("start", str(n)) for n in range(1_001)))},
    {**HELLO, "resume": [NEGATIVE]},
    b"{",
]


@pytest.mark.parametrize("first", WRONG, ids=str)
async def test_what_stays_wrong_is_told_before_the_heartbeat(standing: Standing, first: Any) -> None:
    async with connect_v12(standing.url, standing.token) as wire:
        await wire.send(first)
        assert await refused(wire) == ("PROTOCOL_ERROR", False, 1008)
    assert await sessions(standing.database) == []


async def test_its_hello_is_none_of_the_first_generation(standing: Standing) -> None:
    async with connect(standing.url, standing.token) as wire:
        await wire.send(HELLO)
        assert await refused(wire) == ("PROTOCOL_ERROR", False, 1008)


@pytest.mark.parametrize("again", [HELLO, {"kind": "receiver_hello"}], ids=["its own", "the other's"])
async def test_a_second_hello_is_a_protocol_error(standing: Standing, again: Any) -> None:
    async with receiver_v12(standing.url, standing.token, live()) as wire:
        await wire.applied()
        await wire.send(again)
        assert await refused(wire) == ("PROTOCOL_ERROR", False, 1008)


async def test_heartbeats_are_ignored_and_unknown_kinds_counted(standing: Standing) -> None:
    counter = "rtserver_unknown_messages_total"
    before = await standing.metric(counter)
    async with receiver_v12(standing.url, standing.token, live()) as wire:
        await wire.send({"kind": "heartbeat", "session_id": "x"})
        await wire.send({"kind": "receiver_subscribe", "streams": []})
        await wire.send({"kind": "receiver_mood"})
        await wire.send_binary(b"\0")

        async def counted() -> bool:
            return await standing.metric(counter) == before + 2

        await wait_until(counted, what="two unknown kinds")
        assert wire.open


async def test_all_numbers_that_a_receiver_may_have_are_taken(standing: Standing) -> None:
    stream = await make_stream(standing.database, *START)
    await store_many(standing.database, stream, 2)
    far = {START: 2**53 - 1}
    async with receiver_v12(
        standing.url, standing.token, live(START, earliest=far), resume=[(START, 1, 0)]
    ) as wire:
        assert await wire.identities(2) == [(1, 1), (1, 2)]
    async with receiver_v12(
        standing.url, standing.token, replay(target(START, 2**53 - 1, from_seq=2**53 - 1))
    ) as wire:
        assert await wire.applied() == ("targeted_replay (1 targets)", 1, [])


async def test_the_heartbeat_waits_for_no_database_and_delivery_does(standing: Standing) -> None:
    """An error now, or none at all, would end or hang a receiver that cannot know why."""
    await store_many(standing.database, await make_stream(standing.database, *START), 3)
    async with connect_v12(standing.url, standing.token) as wire:
        await wait_until(lambda: wire.open)
        locker = await asyncpg.connect(standing.fanout.database_url)
        try:
            async with locker.transaction():
                await locker.execute("LOCK TABLE receiver_sessions IN ACCESS EXCLUSIVE MODE")
                await wire.greet_v12(live(START))
                assert await wire.silent(for_s=0.3)
        finally:
            await locker.close()
        assert await wire.identities(3) == [(1, 1), (1, 2), (1, 3)]
        assert await sessions(standing.database) == [(wire.session_id, "tent")]


async def test_before_the_heartbeat_our_own_faults_close_without_a_word(
    database_url: str, database: Connection, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.transport.hello.HELLO_WITHIN_S", 0.2)
    async with running_inside(database_url) as url:
        async with connect_v12(url, token) as wire:  # which says nothing
            assert (await wire.next(), await wire.closed()) == (None, 1008)
        with monkeypatch.context() as broken:
            broken.setattr("fanout.session_v12.by_stream", lambda _: 1 / 0)
            async with connect_v12(url, token) as wire:
                await wire.send(HELLO)
                assert (await wire.next(), await wire.closed()) == (None, 1011)
        async with connect(url, token) as first:
            assert await refused(first) == ("PROTOCOL_ERROR", False, 1008)


async def test_a_token_of_the_first_generations_id_stands_for_the_same_receiver(standing: Standing) -> None:
    token = await make_token(standing.database, "receiver", "receiver-main")
    token_id = await standing.database.fetchval(
        "SELECT token_id::text FROM device_tokens WHERE token_hash = $1", token_hash(token)
    )
    async with connect_v12(standing.url, token) as wire:
        assert (await wire.greet_v12(live(), receiver_id="recv-00000000"))["device_id"] == "receiver-main"
        assert await sessions(standing.database) == [(wire.session_id, f"receiver-main.{token_id[:8]}")]


async def test_a_session_that_ends_leaves_no_row(standing: Standing) -> None:
    for mode in (live(START), replay()):
        async with receiver_v12(standing.url, standing.token, mode) as wire:
            await wire.applied()

        async def gone() -> bool:
            return not await sessions(standing.database)

        await wait_until(gone, what="the row to go")


async def test_a_database_that_confirms_no_cancellation_holds_up_neither_heartbeat_nor_close(
    database_url: str, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    confirmed = asyncio.Event()

    async def hang(*_: object, **__: object) -> bool:
        try:
            await asyncio.Event().wait()
        finally:  # as a pool does, which waits for the server before it takes a connection back
            await confirmed.wait()
        return False

    monkeypatch.setattr("fanout.store.sessions.begin_session", hang)
    async with running_inside(database_url) as url, connect_v12(url, token) as wire:
        assert (await wire.greet_v12(live()))["kind"] == "heartbeat"
        await wire.send(HELLO)
        assert await refused(wire) == ("PROTOCOL_ERROR", False, 1008)
        assert not confirmed.is_set()
        confirmed.set()


async def test_a_slow_database_holds_up_the_row_and_not_for_ever(
    database_url: str, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fanout.session_v12.ROW_WITHIN_S", 0.05)
    begin = stored_sessions.begin_session

    async def slow(*args: Any, **fields: Any) -> bool:
        await asyncio.sleep(0.3)
        return await begin(*args, **fields)

    monkeypatch.setattr("fanout.store.sessions.begin_session", slow)
    async with running_inside(database_url) as url, connect_v12(url, token) as wire:
        await wire.greet_v12(live(START))
        await wire.applied()
