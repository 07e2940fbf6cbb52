"""No notification arrives: because LISTEN is switched off everywhere, or because just this one is lost."""

import asyncio

from tests.failure.facts import Database, backends, lines
from tests.failure.fleet import fleet
from tests.failure.wire import READER, batch, connect, forwarder, read, reads
from tests.services import make_token, services
from tests.waiting import stretched, wait_until


async def test_without_any_notification_everything_works_only_slower(
    database_url: str, database: Database
) -> None:
    async with (
        services(database_url, gateway=2, writer=2, fanout=0, LISTEN="off") as running,
        fleet(database, *(each.url for each in running.gateways), count=4) as devices,
    ):
        devices.record(100)
        await devices.drained()
        assert devices.reconnects == 0
        await devices.whole(database)


async def test_without_any_notification_a_batch_after_a_pause_is_acked_soon(
    database_url: str, database: Database
) -> None:
    token = await make_token(database, "forwarder", "f")
    async with (
        services(database_url, fanout=0, LISTEN="off") as running,
        forwarder(running.gateways[0].url, token) as wire,
    ):
        for number in range(1, 6):
            await wire.send(batch(read(number)))
            assert await wire.ack(within_s=stretched(1.0)) == [(READER, 1, number)]


async def test_without_any_notification_a_second_connection_learns_that_the_first_is_alive(
    database_url: str, database: Database
) -> None:
    token = await make_token(database, "forwarder", "f")
    async with (
        services(database_url, gateway=2, writer=0, fanout=0, LISTEN="off") as running,
        forwarder(running.gateways[0].url, token) as first,
    ):
        alive = asyncio.create_task(first.next(within_s=60))
        async with connect(running.gateways[1].url, token) as second:
            await second.send({"kind": "forwarder_hello", "forwarder_id": "", "reader_ips": []})
            assert (await second.expect("error", within_s=stretched(5.0)))["code"] == "PROTOCOL_ERROR"
        assert not alive.done()
        alive.cancel()


async def test_notifications_that_are_lost_cost_a_poll_and_no_read(
    database_url: str, database: Database
) -> None:
    token = await make_token(database, "forwarder", "f")
    async with services(database_url, fanout=0) as running, forwarder(running.gateways[0].url, token) as wire:
        for number in range(1, 4):
            await lose_every_listener(database)
            await wire.send(batch(*reads(10 * number, 10 * number + 9)))
            assert await wire.ack(within_s=stretched(5.0)) == [(READER, 1, 10 * number + 9)]
    assert len(await lines(database, "f", READER)) == 30


async def lose_every_listener(database: Database) -> None:
    """Terminate the listeners, and their successors until one has lost its notifications for sure."""
    pids = await wait_until(lambda: backends(database, "rt-server % listener"), what="listeners")
    for pid in pids:
        await database.execute("SELECT pg_terminate_backend($1)", pid)


async def test_rows_that_nobody_rang_for_are_drained(database_url: str, database: Database) -> None:
    """What a gateway staged that died before it notified anybody."""
    async with services(database_url, gateway=0, fanout=0):
        stream_id = await database.fetchval(
            "INSERT INTO streams (forwarder_id, reader_ip) VALUES ('f', $1) RETURNING stream_id", READER
        )
        await database.execute(
            "INSERT INTO inbox (gateway_id, part_id, forwarder_id, fence, session_id, stream_id, stream_epoch,"
            " received_at, event_count, seqs, raw_frames, reader_timestamps, read_types, tag_ids, read_ats,"
            " parse_errors) VALUES (gen_random_uuid(), 1, 'f', 1, gen_random_uuid(), $1, 1, now(), 1, '{1}',"
            " '{line}', '{t}', '{raw}', '{null}', '{null}', '{length}')",
            stream_id,
        )
        await wait_until(
            lambda: database.fetchval("SELECT EXISTS (SELECT FROM events)"), deadline_s=2.0, what="the event"
        )
