"""Whatever text a reader says, it comes out at the receiver as it went in."""

import asyncio

import pytest

from deploy.simulation.devices.forwarder import Forwarder
from shared.db.connections import Connection
from tests.delivery.conftest import Standing
from tests.delivery.stored import make_stream, store
from tests.delivery.wire import READER, START, receiver
from tests.services import make_token, services
from tests.waiting import stretched

LINES = [
    "",
    " ",
    "aa00000000000001234567890123456789012345",
    "a\0b\0",
    "\0",
    '"quoted" \\back\\ /slash/',
    '{"kind":"heartbeat"}',
    "tab\tnewline\nreturn\r",
    "".join(map(chr, range(1, 32))) + "\x7f\x80\x9f",
    "ünïcödé 東京 🏃‍♀️🏁 \U0010ffff",
    "\u2028\u2029\ufeff\ufffd\uffff",
    "x" * 65536,
    "\0" * 65536,
    "🏁" * 16384,
]


async def test_odd_lines_come_out_byte_for_byte_all_the_way(database_url: str, database: Connection) -> None:
    token = await make_token(database, "forwarder", "start")
    tent = await make_token(database, "receiver", "tent")
    async with services(database_url) as running:
        forwarder = Forwarder(
            url=running.gateways[0].url, token=token, device_id="start", readers=[READER], flush_s=0.0
        )
        device = asyncio.ensure_future(forwarder.run())
        async with receiver(running.fanouts[0].url, tent, START) as live:
            sent = [
                forwarder.record(READER, line, reader_timestamp=f"t{line[:5]}".replace("\0", ""))
                for line in LINES
            ]
            await forwarder.drained()
            got_live = await live.take(len(LINES), acking=False)
        async with receiver(running.fanouts[0].url, tent, START) as late:
            got_late = await late.take(len(LINES))
        await forwarder.stop()
        await device
    for got in (got_live, got_late):
        assert [(e["seq"], e["raw_read_line"], e["reader_timestamp"], e["read_type"]) for e in got] == [
            (e.seq, e.raw_read_line, e.reader_timestamp, e.read_type) for e in sent
        ]


@pytest.mark.parametrize(("size", "count"), [(65_536, 120), (3_000_000, 3)])
async def test_long_lines_come_in_short_messages(standing: Standing, size: int, count: int) -> None:
    stream = await make_stream(standing.database, *START)
    async with receiver(standing.url, standing.token, START) as live:
        for seq in range(1, count + 1):
            await store(standing.database, stream, [(1, seq, str(seq).encode().rjust(size, b"x"))])
        got_live = await live.take(count, acking=False, within_s=stretched(20))
    async with receiver(standing.url, standing.token, START) as late:
        got_late = await late.take(count)
    for got, wire in ((got_live, live), (got_late, late)):
        assert [(e["seq"], e["raw_read_line"]) for e in got] == [
            (seq, str(seq).rjust(size, "x")) for seq in range(1, count + 1)
        ]
        assert max(len(batch) for batch in wire.batches) * size <= max(2**20, size)
