"""Who is admitted and what the others are told (protocol.md, section 2)."""

import secrets
from typing import Any

import pytest

from shared.transport import hello as hellos
from shared.transport.tokens import field_forwarder_id
from tests.failure.facts import Database
from tests.failure.wire import Message, Wire, batch, connect, forwarder, hello, read
from tests.gateway.conftest import Inside
from tests.services import make_token
from tests.waiting import stretched


async def refusal(wire: Wire, *, within_s: float = 5.0) -> tuple[str, bool, int | None]:
    """Return code and retryable of the one error that comes, and the code of the close frame after it."""
    error = await wire.next(within_s=within_s)
    assert error is not None
    assert error["kind"] == "error", error
    return error["code"], error["retryable"], await wire.closed()


async def test_a_hello_is_answered_by_a_heartbeat_with_session_and_device(inside: Inside) -> None:
    async with connect(inside.url, inside.token) as wire:
        await wire.send(hello())
        heartbeat = await wire.next(within_s=stretched(1.0))
    assert heartbeat is not None
    assert (heartbeat["kind"], heartbeat["device_id"]) == ("heartbeat", "f")
    assert heartbeat.keys() == {"kind", "session_id", "device_id"}


async def _missing(_database: Database) -> str | None:
    return None


async def _unknown(_database: Database) -> str | None:
    return secrets.token_urlsafe(32)


async def _revoked(database: Database) -> str | None:
    token = await make_token(database, "forwarder", "other")
    await database.execute("UPDATE device_tokens SET revoked_at = now() WHERE device_id = 'other'")
    return token


async def _receivers(database: Database) -> str | None:
    return await make_token(database, "receiver", "tent")


async def _with_unusable_id(database: Database) -> str | None:
    return await make_token(database, "forwarder", "start line")


@pytest.mark.parametrize("token_of", [_missing, _unknown, _revoked, _receivers, _with_unusable_id])
@pytest.mark.parametrize("greets", [True, False])
async def test_a_token_that_is_not_right_is_refused_at_once(
    inside: Inside, database: Database, token_of: object, greets: bool
) -> None:
    assert callable(token_of)
    async with connect(inside.url, await token_of(database)) as wire:
        if greets:
            await wire.send(hello())
        assert await refusal(wire) == ("INVALID_TOKEN", False, 1008)
    assert not await database.fetchval("SELECT EXISTS (SELECT FROM forwarder_sessions)")


async def test_no_hello_at_all_is_a_protocol_error_after_a_while(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert hellos.HELLO_WITHIN_S == 90.0
    monkeypatch.setattr(hellos, "HELLO_WITHIN_S", 0.2)
    async with connect(inside.url, inside.token) as wire:
        assert await refusal(wire) == ("PROTOCOL_ERROR", False, 1008)


@pytest.mark.parametrize("claimed", ["", "f", "derived"])
async def test_the_ids_that_mean_this_device_are_accepted(inside: Inside, claimed: str) -> None:
    claimed = field_forwarder_id(inside.token) if claimed == "derived" else claimed
    async with connect(inside.url, inside.token) as wire:
        await wire.greet(forwarder_id=claimed)


@pytest.mark.parametrize("claimed", ["g", "F", "fwd-0123456789abcdef", "receiver-main"])
async def test_another_devices_id_is_refused(inside: Inside, claimed: str) -> None:
    async with connect(inside.url, inside.token) as wire:
        await wire.send(hello(forwarder_id=claimed))
        assert await refusal(wire) == ("IDENTITY_MISMATCH", False, 1008)


@pytest.mark.parametrize(
    "first",
    [
        batch(read(1)),
        {"kind": "receiver_hello", "receiver_id": "f"},
        {"kind": "hello_of_tomorrow"},
        {"kind": "forwarder_hello", "forwarder_id": "f"},
        {"kind": "forwarder_hello", "forwarder_id": "f", "reader_ips": ["a\0b"]},
        {"kind": "forwarder_hello", "forwarder_id": "f", "reader_ips": ["r"], "display_name": "a\0b"},
        {"kind": "forwarder_hello", "forwarder_id": "f", "reader_ips": ["r" * 256]},
        {"forwarder_id": "f"},
        "no json",
        '{"kind": "forwarder_hello", "reader_ips": ["\\ud800"]}',
        "",
    ],
)
async def test_a_wrong_first_message_is_a_protocol_error(inside: Inside, first: Message | str) -> None:
    async with connect(inside.url, inside.token) as wire:
        await wire.send(first)
        assert await refusal(wire) == ("PROTOCOL_ERROR", False, 1008)


async def test_a_refused_hello_does_not_take_the_devices_place(inside: Inside, database: Database) -> None:
    async with connect(inside.url, inside.token) as refused:
        await refused.send(hello(forwarder_id="somebody"))
        await refusal(refused)
        assert not await database.fetchval("SELECT EXISTS (SELECT FROM forwarder_sessions)")
        async with forwarder(inside.url, inside.token):
            pass


async def test_a_hello_in_mid_session_keeps_the_session_and_updates_name_and_readers(
    inside: Inside, database: Database
) -> None:
    async with connect(inside.url, inside.token) as wire:
        first = await wire.greet(["a"], display_name="Start")
        second = await wire.greet(["a", "b"], display_name="Finish")
    assert first == second
    rows = await database.fetch("SELECT reader_ip, forwarder_display_name FROM streams ORDER BY reader_ip")
    assert [tuple(row) for row in rows] == [("a", "Finish"), ("b", "Finish")]


@pytest.mark.parametrize("without", [{}, {"display_name": None}])
async def test_a_hello_without_a_name_clears_it(
    inside: Inside, database: Database, without: dict[str, Any]
) -> None:
    async with connect(inside.url, inside.token) as wire:
        await wire.greet(display_name="Start")
        assert await database.fetchval("SELECT forwarder_display_name FROM streams") == "Start"
        await wire.greet(**without)
    assert await database.fetchval("SELECT forwarder_display_name FROM streams") is None


async def test_a_second_hello_may_not_be_another_devices(inside: Inside) -> None:
    async with forwarder(inside.url, inside.token) as wire:
        await wire.send(hello(forwarder_id="g"))
        assert await refusal(wire) == ("IDENTITY_MISMATCH", False, 1008)


async def test_unknown_fields_and_kinds_are_ignored_on_every_level(
    inside: Inside, database: Database, writer: object
) -> None:
    async with connect(inside.url, inside.token) as wire:
        await wire.greet(firmware={"deep": [1, {"x": None}]})
        await wire.send({"kind": "telemetry", "events": "not ours"})
        await wire.send({**batch({**read(1), "rssi": -70}), "compression": "none"})
        assert await wire.ack() == [("10.0.0.1:10000", 1, 1)]


async def test_any_session_id_is_accepted_in_later_messages(inside: Inside, writer: object) -> None:
    async with forwarder(inside.url, inside.token) as wire:
        for number, session_id in enumerate(["", "nonsense", None, 7], start=1):
            await wire.send({**batch(read(number)), "session_id": session_id})
            assert await wire.ack() == [("10.0.0.1:10000", 1, number)]
