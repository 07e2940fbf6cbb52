"""What a gateway notes and tells of commands, at the moments that no socket brings about."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import pytest

from gateway import epochs
from gateway.commands import Command
from gateway.control import Control
from gateway.epochs import Epochs
from gateway.questions import Questions
from gateway.store import devices
from shared.db.channels import RACES
from shared.protocol.commands import KINDS, ClearRecords, ReaderControl
from shared.runtime.process import Process
from shared.transport.connection import DeviceConnection

READER = "10.0.0.1:10000"
CONNECTION = cast("DeviceConnection", SimpleNamespace(gone=False, session_id=uuid4()))


@pytest.mark.parametrize("by", ["a text", "the deadline"])
async def test_a_reader_that_was_told_nothing_is_not_said_to_clear_its_memory(
    monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    """The forwarder shows that it is too old, or time is up, while the database is waited for."""
    clearing: set[str] = set()
    until = asyncio.get_running_loop().time() + (60 if by == "a text" else 0)

    async def begin(_: object, _forwarder: str, reader_ip: str, **__: object) -> None:
        clearing.add(reader_ip)
        commands.older = by == "a text"

    async def end(_: object, _forwarder: str, reader_ip: str) -> None:
        clearing.discard(reader_ip)

    async def is_clearing(*_: object) -> bool:
        return READER in clearing

    for name, instead in (("begin_clearing", begin), ("end_clearing", end), ("is_clearing", is_clearing)):
        monkeypatch.setattr(devices, name, instead)

    async def relay(*_: object) -> None:
        raise TimeoutError  # as where time is up

    async def patiently(work: Any) -> Any:
        return await work()

    questions = cast("Questions", SimpleNamespace(over=False, relay=relay))
    process = cast("Process", SimpleNamespace(pool=None))
    commands = Control(CONNECTION, questions, process, "f", patiently=patiently)
    asked = Command(
        uuid4(), CONNECTION.session_id, KINDS["reader_control"], ReaderControl(READER, ClearRecords())
    )
    try:
        assert (await commands.carry_out(asked, until)).ending == "refused"
        assert by == "a text"
    except TimeoutError:
        assert by == "the deadline"
    assert not clearing


@pytest.mark.parametrize("epoch", [7, None])
async def test_operators_and_fanouts_hear_of_an_epoch_that_a_race_has_got_before_its_device_does(
    monkeypatch: pytest.MonkeyPatch, epoch: int | None
) -> None:
    race_id, told = uuid4(), list[tuple[str, str]]()

    async def next_epoch_of_race(*_: object, **__: object) -> int | None:
        return epoch

    async def commanded_epoch(*_: object, **__: object) -> int:
        return 0

    async def send(_: bytes) -> None:
        assert told == [(RACES, str(race_id))]  # whether the device takes its command or not
        # A process that dies by now has left its entry.
        assert recorded == ["epoch_reset"]

    monkeypatch.setattr(epochs, "next_epoch_of_race", next_epoch_of_race)
    monkeypatch.setattr(epochs, "commanded_epoch", commanded_epoch)
    notifier = SimpleNamespace(notify=lambda *what: told.append(what))
    recorded: list[str] = []

    async def record(_: object, event: str, **__: object) -> None:
        recorded.append(event)

    activity = SimpleNamespace(record=record)
    process = cast("Process", SimpleNamespace(pool=None, notifier=notifier, activity=activity))
    connection = cast("DeviceConnection", SimpleNamespace(gone=False, session_id=uuid4(), send=send))
    found = await Epochs(connection, process).command(
        "f", READER, uuid4(), asked_by="operator", race_id=race_id
    )
    assert found == epoch
    assert bool(told) == (epoch is not None)
