"""What a fanout asks keeps its plans at every age of a race, on connections that have been there since it began."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest

from fanout.delivery import Cursor
from fanout.store import POOL_SETTINGS, cursors, events, races, stream_metrics, streams
from fanout.store.starting_points import starting_points
from shared.db.connections import connect
from shared.protocol.v1 import StreamRef
from tests.ages import Ways, complaints, grow, planned
from tests.failure.facts import Database
from tests.writer.inbox import add_stream

KEY = "events_pkey: stream_id stream_epoch seq"
PLACE = "events_stream_id_position_key: stream_id position"
STREAM = "streams_pkey: stream_id"
COUNTS = {"stream_metrics_pkey: stream_id stream_epoch", "stream_metrics_pkey: stream_id"}
CURSORS = {
    "receiver_cursors_pkey: receiver_id stream_id stream_epoch",
    "receiver_cursors_pkey: receiver_id stream_id",
    "receiver_cursors_of_stream: receiver_id stream_id stream_epoch",
    "receiver_cursors_of_stream: receiver_id stream_id",
    "receiver_cursors_id: cursor_id",
}
HOT: Ways = {
    "SELECT tail.stream_id": {"events": {PLACE}},
    "SELECT position, stream_epoch, seq": {"events": {PLACE, KEY}},
    "SELECT named.forwarder_id": {"streams": {"streams_forwarder_id_reader_ip_key: forwarder_id reader_ip"}},
    "WITH epochs AS": {
        "streams": {STREAM},
        "stream_metrics": COUNTS,
        "receiver_cursors": CURSORS | {"Tid Scan"},
    },
    "SELECT stream.stream_id, stream.last_position": {
        "streams": {STREAM},
        "stream_metrics": COUNTS,
        "receiver_cursors": CURSORS,
        "events": {KEY},
    },
    "INSERT INTO receiver_cursors": {"streams": {STREAM}},
    "SELECT wanted.stream_epoch": {"receiver_cursors": CURSORS},
    "WITH acked AS": {"receiver_cursors": CURSORS},
    "WITH held AS": {"receiver_cursors": CURSORS},
    "SELECT stream.stream_id, stream.forwarder_id": {"streams": {STREAM}, "stream_metrics": COUNTS},
    "SELECT named.race_id": {
        "races": {"races_pkey: race_id"},
        "epoch_races": {"epoch_races_race: race_id"},
        "streams": {STREAM},
    },
    "SELECT cursor_id FROM unnest": {"receiver_cursors": CURSORS},
}


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[Any]:
    """A connection like those of a fanout's pool, and of its tail."""
    connection = await connect(database_url, name="plans", **POOL_SETTINGS)
    yield connection
    await connection.close()


async def test_what_is_asked_often_keeps_its_plans_at_every_age(database: Database, connection: Any) -> None:
    stream_id = await add_stream(database)
    race_id = await database.fetchval("INSERT INTO races (name) VALUES ('Marathon') RETURNING race_id")
    await database.execute(
        "INSERT INTO epoch_races (stream_id, stream_epoch, race_id) VALUES ($1, 1, $2)", stream_id, race_id
    )
    wrong: list[str] = []
    async for age in grow(database):
        giant = await database.fetchval("SELECT stream_id FROM streams ORDER BY last_position DESC LIMIT 1")
        async with planned(connection, nested=False) as plans:
            await deliver(connection, [stream_id, giant], "f" if giant == stream_id else "f1")
            await stream_metrics.read_metrics(connection, [stream_id, giant])
            await races.read_mappings(connection, [race_id])
        wrong += [f"{age}: {each}" for each in complaints(plans, HOT)]
    assert not wrong, "\n".join(wrong)


async def deliver(connection: Any, stream_ids: list[UUID], forwarder_id: str) -> None:
    """Find, tail, replay and ack, as for one receiver."""
    await streams.resolve_streams(connection, [StreamRef(forwarder_id, "r")])
    await starting_points(connection, "tent", {each: {1: 3} for each in stream_ids})
    for stream_id in stream_ids:
        await events.read_tails(connection, {stream_id: 3})
        await events.read_epoch_page(connection, stream_id, epoch=1, after_seq=3)
        await events.read_position_page(connection, stream_id, after_position=3)
        for seqs, positions in (((0, 5), (0, 50)), ((0, 50), (0, 5))):
            await events.read_late_page(connection, stream_id, epoch=1, seqs=seqs, positions=positions)
        await move_cursors(connection, stream_id)


async def move_cursors(connection: Any, stream_id: UUID) -> None:
    """Begin two epochs, and do to their cursors whatever is done to any."""
    begun = await cursors.begin_epochs(connection, "tent", stream_id, {1: True, 2: True})
    await cursors.flag_cursors(connection, {begun[1]: False})
    key = cursors.CursorKey(stream_id, begun[2])
    await cursors.advance_cursors(connection, {key: Cursor(1, 1, 1)})
    await cursors.gone_cursors(connection, [begun[2]])
    await cursors.begin_again(connection, [begun[1]])


async def test_cursors_keep_their_plans_where_the_table_seems_to_hold_one_row(
    database: Database, connection: Any
) -> None:
    stream_id = await add_stream(database)
    await cursors.begin_epochs(connection, "tent", stream_id, {1: True})
    await database.execute("VACUUM ANALYZE receiver_cursors")
    async with planned(connection, nested=False) as plans:
        await move_cursors(connection, stream_id)
    asked = {begin: HOT[begin] for begin in ("INSERT INTO receiver_cursors", "WITH acked AS", "WITH held AS")}
    assert complaints(plans, asked) == []
