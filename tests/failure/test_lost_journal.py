"""A device comes back without its journal and numbers from epoch 1, seq 1 again: other lines under taken numbers."""

from hashlib import sha256

import pytest

from tests.failure.facts import Database, counts, lines
from tests.failure.fleet import fleet
from tests.failure.wire import READER, Wire, batch, forwarder, read, reads
from tests.services import make_token, services
from tests.waiting import wait_until


async def command(wire: Wire) -> tuple[str, int]:
    """Return reader and epoch of the command that must come next."""
    message = await wire.expect("epoch_reset_command")
    assert (message["session_id"], message["forwarder_id"]) == (wire.session_id, "f")
    return message["reader_ip"], message["new_stream_epoch"]


async def test_the_other_lines_are_kept_and_the_reader_is_commanded_to_a_fresh_epoch_once_a_session(
    database_url: str, database: Database, capfd: pytest.CaptureFixture[str]
) -> None:
    token = await make_token(database, "forwarder", "f")
    async with services(database_url, writer=2, fanout=0) as running:
        url = running.gateways[0].url
        async with forwarder(url, token, ["a", "b"]) as wire:
            await wire.send(
                batch(*reads(1, 5, reader="a"), *reads(1, 5, reader="b"), read(1, reader="b", epoch=3))
            )
            await wire.ack()
            for seq in (1, 2, 2):
                await wire.send(batch(read(seq, f"other {seq}", reader="a")))
                assert await wire.ack() == [("a", 1, seq)]
                if seq == 1:
                    assert await command(wire) == ("a", 2)
            await wire.send(batch(read(1, "other 1", reader="b"), read(1, "new 1", reader="a", epoch=2)))
            assert await wire.ack() == [("b", 1, 1), ("a", 2, 1)]
            assert await command(wire) == ("b", 4)
        async with forwarder(url, token, ["a", "b"]) as wire:
            # Once more, though it was commanded before: its journal is lost again.
            for seq in (3, 4):
                await wire.send(batch(read(seq, f"other {seq}", reader="a")))
                await wire.ack()
            assert await command(wire) == ("a", 3)
    rows = await database.fetch(
        "SELECT reader_ip, seq, kept_hash, rejected_frame FROM integrity_conflicts JOIN streams USING (stream_id)"
        " ORDER BY reader_ip, seq"
    )
    assert [tuple(row) for row in rows] == [
        *[
            ("a", seq, sha256(f"line {seq}".encode()).digest(), f"other {seq}".encode())
            for seq in (1, 2, 3, 4)
        ],
        ("b", 1, sha256(b"line 1").digest(), b"other 1"),
    ]
    assert await lines(database, "f", "a") == [(1, n, f"line {n}") for n in range(1, 6)] + [(2, 1, "new 1")]
    assert await counts(database) == (18, 12, 0, 6, 12, 5, 12)
    assert capfd.readouterr().err.count("INTEGRITY_CONFLICT") == 6


async def test_what_is_left_over_of_the_old_epoch_does_not_reset_the_reader_again(
    database_url: str, database: Database
) -> None:
    token = await make_token(database, "forwarder", "f")
    async with services(database_url, fanout=0) as running:
        url = running.gateways[0].url
        async with forwarder(url, token) as wire:
            await wire.send(batch(*reads(1, 3)))
            await wire.ack()
            await wire.send(batch(read(1, "other 1")))
            await wire.ack()
            assert await command(wire) == (READER, 2)
        async with forwarder(url, token) as wire:  # with one row of before in its new journal
            await wire.send(batch(read(2, "other 2")))
            assert await wire.ack() == [(READER, 1, 2)]
            await wire.send(batch(*reads(1, 2, epoch=2)))
            assert await wire.ack() == [(READER, 2, 2)]
            await wire.send(batch(read(3, "other 3")))  # even so: it has obeyed
            assert await wire.ack() == [(READER, 1, 3)]
            await wire.send(batch(read(3, epoch=2)))
            assert await wire.ack() == [(READER, 2, 3)]
    assert await database.fetchval("SELECT stream_epoch FROM streams") == 2
    assert (await counts(database)).quarantined == 3


async def test_epochs_that_were_ever_commanded_are_never_commanded_again(
    database_url: str, database: Database
) -> None:
    token = await make_token(database, "forwarder", "f")
    async with services(database_url, fanout=0) as running, forwarder(running.gateways[0].url, token) as wire:
        await wire.send(batch(read(1)))
        await wire.ack()
        await database.execute("UPDATE streams SET stream_epoch = 41")  # commanded, and never used
        await wire.send(batch(read(1, "other")))
        await wire.ack()
        assert await command(wire) == (READER, 42)
    assert await database.fetchval("SELECT stream_epoch FROM streams") == 42


async def test_at_the_last_epoch_there_is_nothing_to_command(database_url: str, database: Database) -> None:
    token = await make_token(database, "forwarder", "f")
    async with services(database_url, fanout=0) as running, forwarder(running.gateways[0].url, token) as wire:
        await wire.send(batch(read(1, epoch=2**31 - 1)))
        await wire.ack()
        await wire.send(batch(read(1, "other", epoch=2**31 - 1)))
        await wire.ack()
        await wire.send(batch(read(2, epoch=2**31 - 1)))
        assert await wire.ack() == [(READER, 2**31 - 1, 2)]


async def test_the_device_is_whole_again_within_seconds_and_nothing_is_lost(
    database_url: str, database: Database
) -> None:
    async with (
        services(database_url, fanout=0) as running,
        fleet(database, running.gateways[0].url, count=2, readers=1) as devices,
    ):
        device, neighbour = devices.devices
        (reader,) = device.readers
        devices.record(100)
        await devices.drained()
        before = [(each.stream_epoch, each.seq, each.raw_read_line) for each in device.journal.events(reader)]
        await device.loses_journal()
        devices.record(30)  # under the numbers of the first 30
        await devices.drained(within_s=5)
        await wait_until(lambda: device.journal.epoch(reader) == 2, deadline_s=5, what="the fresh epoch")
        devices.record(50)
        await devices.drained()
        after = [(each.stream_epoch, each.seq, each.raw_read_line) for each in device.journal.events(reader)]
        stored = await lines(database, device.device_id, reader)
        assert stored == sorted(before + [each for each in after if each[0] == 2])
        rejected = await database.fetch(
            "SELECT stream_epoch, seq, rejected_frame FROM integrity_conflicts ORDER BY seq"
        )
        assert [(row[0], row[1], row[2].decode()) for row in rejected] == [
            each for each in after if each[0] == 1
        ]
        assert neighbour.reconnects == 0
        assert (await counts(database)).exact
