"""What newer forwarders tell of their readers and batteries: kept, told on, and never at the cost of a read."""

import json
from typing import Any

import pytest

from gateway import devices, metrics
from gateway.devices import STATE_BYTES
from gateway.store import devices as store
from shared.db.channels import DEVICES
from tests.failure.facts import Database
from tests.failure.wire import READER, Wire, batch, forwarder, frame
from tests.gateway.conftest import Inside
from tests.metrics import total
from tests.waiting import wait_until

SECOND = "10.0.0.2:10000"
STATUS = {
    "battery_percent": 93,
    "battery_voltage_mv": 4_100,
    "charging": False,
    "power_plugged": True,
    "temperature_cdeg": -320,
    "sampled_at": 1_772_000_000_000,
}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write at once what a test waits for."""
    monkeypatch.setattr(devices, "EVERY_S", 0.0)


def status(reader: str = READER, *, connected: bool = True) -> dict[str, Any]:
    return {"kind": "reader_status_update", "reader_ip": reader, "connected": connected}


def info(reader: str = READER, state: str = "connected", **told: Any) -> dict[str, Any]:
    return {"kind": "reader_info_update", "reader_ip": reader, "state": state, **told}


def ups(**changes: Any) -> dict[str, Any]:
    return {
        "kind": "forwarder_ups_status",
        "forwarder_id": "someone",
        "available": True,
        "status": {**STATUS, **changes},
    }


async def row(database: Database, reader: str = READER) -> tuple[Any, ...] | None:
    """Return what is stored of a reader: connected, state, info, download."""
    found = await database.fetchrow(
        "SELECT connected, state, reader_info::text, download::text FROM reader_states"
        " WHERE forwarder_id = 'f' AND reader_ip = $1",
        reader,
    )
    return None if found is None else (*found[:2], *(each and json.loads(each) for each in found[2:]))


async def becomes(database: Database, *expected: Any, reader: str = READER) -> None:
    async def is_so() -> bool:
        return await row(database, reader) == expected

    await wait_until(is_so, what=f"{reader} to be {expected}")


def ignored(kind: str) -> float:
    return total(metrics.NEWS_IGNORED.labels(kind))


async def handled(wire: Wire) -> None:
    """Wait until everything that was sent has been taken: a batch of nothing is acked in its turn."""
    await wire.send(batch())
    assert await wire.ack() == []


async def test_the_newest_of_each_reader_is_kept_and_told(inside: Inside, database: Database) -> None:
    told: list[str] = []
    await database.add_listener(DEVICES, lambda *notification: told.append(str(notification[3])))
    async with forwarder(inside.url, inside.token, [READER, SECOND]) as wire:
        await wire.send(status())
        await wire.send(status(SECOND, connected=False))
        await becomes(database, True, None, None, None)
        await becomes(database, False, None, None, None, reader=SECOND)
        await wire.send(info(reader_info={"banner": "x", "recording": True, "newer": 1}))
        await becomes(database, True, "connected", {"banner": "x", "recording": True}, None)
        await wire.send(info(state="connecting"))
        await becomes(database, True, "connecting", {"banner": "x", "recording": True}, None)
        progress = {"state": "downloading", "reads_received": 1, "progress": 2, "total": 3}
        await wire.send({"kind": "reader_download_progress", "reader_ip": READER, **progress})
        await becomes(
            database, True, "connecting", {"banner": "x", "recording": True}, {**progress, "error": None}
        )
        await wait_until(lambda: told, what="the notification")
        assert set(told) == {"f"}


async def test_one_update_for_each_read_writes_nothing_that_is_known(
    inside: Inside, database: Database, writer: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    note_readers = store.note_readers

    async def noted(pool: Any, states: list[store.ReaderState]) -> list[str]:
        written.extend(state.reader_ip for state in states)
        return await note_readers(pool, states)

    monkeypatch.setattr(store, "note_readers", noted)
    async with forwarder(inside.url, inside.token) as wire:
        await wire.send(status())
        await wire.send(info())
        await becomes(database, True, "connected", None, None)
        written.clear()
        for seq in range(1, 101):
            await wire.send(info())
            await wire.send(status())
            await wire.send(batch(frame(seq)))
            assert await wire.ack() == [(READER, 1, seq)]
        assert written == []
        # The device's flush waits anew for each message from us: there was none but the acks.
        assert [message["kind"] for message in wire.seen] == ["heartbeat"] + ["forwarder_ack"] * 100


async def test_what_comes_faster_than_it_is_written_is_one_row_written_once(
    inside: Inside, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "EVERY_S", 3_600.0)
    async with forwarder(inside.url, inside.token) as wire:
        await wire.send(status())
        await becomes(database, True, None, None, None)
        for number in range(50):
            await wire.send(info(reader_info={"banner": "x" * 1_000, "estimated_stored_reads": number}))
        await wire.send(info(state="disconnected"))
        await handled(wire)
        (waiting,) = inside.gateway.devices.readers.values()
        assert (waiting.connected, waiting.state) == (True, "disconnected")
        assert json.loads(waiting.info or "")["estimated_stored_reads"] == 49
        # It is in the account, once, and nothing else is: the messages are done with.
        sockets = inside.gateway.account.sockets * 8 * 1024
        assert inside.gateway.account.held - sockets == STATE_BYTES + len(waiting.info or "")
        for _ in range(2):
            await wire.send({"kind": "forwarder_ups_status", "forwarder_id": "f", "available": False})
        await handled(wire)
        assert inside.gateway.account.held - sockets == 2 * STATE_BYTES + len(waiting.info or "")
        assert await row(database) == (True, None, None, None)


async def test_what_comes_while_the_last_is_written_is_written_next(
    inside: Inside, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    note_readers, states = store.note_readers, inside.gateway.devices
    newer: list[store.ReaderState] = []

    async def noted(pool: Any, some: list[store.ReaderState]) -> list[str]:
        told = await note_readers(pool, some)
        if not newer:
            newer.append(some[0]._replace(connected=False))
            states.note_reader(newer[0])
        return told

    monkeypatch.setattr(store, "note_readers", noted)
    async with forwarder(inside.url, inside.token) as wire:
        await wire.send(status())
        await becomes(database, False, None, None, None)
        await wait_until(lambda: not states.readers, what="nothing to wait")


async def test_a_reader_that_was_never_named_is_counted(inside: Inside, database: Database) -> None:
    before = ignored("reader_status_update"), ignored("reader_info_update")
    async with forwarder(inside.url, inside.token) as wire:
        await wire.send(status(SECOND))
        await wire.send(info(SECOND, reader_info={}))
        await wire.send(status())
        await becomes(database, True, None, None, None)
    assert (ignored("reader_status_update"), ignored("reader_info_update")) == (before[0] + 1, before[1] + 1)
    assert await row(database, SECOND) is None


@pytest.mark.parametrize(
    "message",
    [
        {**status(), "connected": "yes"},
        info(state="sleepy"),
        info(reader_info={"connect_failures": 256}),
        info(
            reader_info={
                "banner": "\1" * 2_000,
                "hardware": {"fw_version": "\1" * 255, "hw_code": "\1" * 255, "reader_id": "\1" * 255},
            }
        ),
        {"kind": "reader_download_progress", "reader_ip": READER, "state": "bored"},
        ups(battery_percent=256),
        {**ups(), "available": None},
        {"kind": "reader_control_response", "request_id": "q", "reader_ip": READER},
        {"kind": "reader_info_update", "reader_ip": "x" * 1024 * 1024, "state": "connected"},
    ],
    ids=range(9),
)
async def test_news_that_are_not_right_are_counted_and_cost_nothing(
    inside: Inside, database: Database, writer: object, message: dict[str, Any]
) -> None:
    before = ignored(message["kind"])
    async with forwarder(inside.url, inside.token) as wire:
        await wire.send(message)
        await wire.send(batch(frame(1)))
        assert await wire.ack() == [(READER, 1, 1)]
    assert ignored(message["kind"]) == before + 1
    assert await database.fetchval("SELECT count(*) FROM forwarder_faults") == 0


async def test_a_battery_is_kept_and_a_loss_of_power_told_across_sessions(
    inside: Inside, database: Database
) -> None:
    async def entries() -> list[tuple[str, str, Any, Any]]:
        rows = await database.fetch(
            "SELECT event, level, fields ->> 'forwarder_id' AS f, fields ->> 'battery_percent' AS p FROM activity"
            " WHERE event LIKE 'power%' ORDER BY activity_id"
        )
        return [tuple(row) for row in rows]

    async def known(plugged: bool) -> None:
        async def is_so() -> bool:
            text = await database.fetchval("SELECT status::text FROM forwarder_ups WHERE forwarder_id = 'f'")
            return text is not None and json.loads(text)["power_plugged"] is plugged

        await wait_until(is_so, what="the battery's state")

    async with forwarder(inside.url, inside.token) as wire:
        await wire.send(ups())
        await known(plugged=True)
    async with forwarder(inside.url, inside.token) as wire:
        await wire.send(ups(power_plugged=False, battery_percent=81))
        await known(plugged=False)
        await wire.send(ups(battery_percent=80, sampled_at=STATUS["sampled_at"] + 1))
        await known(plugged=True)
    told = [("power_lost", "warn", "f", "81"), ("power_restored", "info", "f", "80")]

    async def all_told() -> bool:
        return await entries() == told

    await wait_until(all_told, what="both entries")
    assert await database.fetchval("SELECT forwarder_id FROM forwarder_ups") == "f"


@pytest.mark.parametrize(
    ("was", "now", "told"),
    [
        (True, False, "power_lost"),
        (False, True, "power_restored"),
        (True, True, None),
        (False, False, None),
        (None, False, None),
        (True, None, None),
    ],
)
async def test_only_a_change_of_power_is_told(
    inside: Inside, monkeypatch: pytest.MonkeyPatch, was: bool | None, now: bool | None, told: str | None
) -> None:
    notes: list[str] = []
    monkeypatch.setattr(inside.gateway.process.activity, "note", lambda event, **_: notes.append(event))
    inside.gateway.devices.tell(store.Power("f", was, now, 80))
    assert notes == ([told] if told else [])


async def test_what_the_database_refuses_keeps_nothing_else_from_being_written(
    inside: Inside, database: Database
) -> None:
    await database.execute(
        "ALTER TABLE reader_states ADD CHECK (reader_info IS NULL OR reader_info ->> 'banner' <> 'poison')"
    )
    async with forwarder(inside.url, inside.token, [READER, SECOND]) as wire:
        await wire.send(info(reader_info={"banner": "poison"}))
        await wire.send(info(SECOND, reader_info={"banner": "good"}))
        await becomes(database, None, "connected", {"banner": "good"}, None, reader=SECOND)
        assert await row(database) is None
        await wire.send(info(reader_info={"banner": "good"}))
        await becomes(database, None, "connected", {"banner": "good"}, None)


async def test_what_is_lost_with_the_database_s_memory_is_told_again_with_the_next_info(
    inside: Inside, database: Database
) -> None:
    async with forwarder(inside.url, inside.token) as wire:
        await wire.send(status())
        await wire.send(info())
        await becomes(database, True, "connected", None, None)
        await database.execute("DELETE FROM reader_states")  # as a crash does with what was not flushed
        await wire.send(info(reader_info={"recording": False}))
        await becomes(database, True, "connected", {"recording": False}, None)
