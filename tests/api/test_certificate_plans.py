"""What is certified is gone through along the key of the events, whatever the tables were when last analyzed."""

from typing import Any

from api.certificate.store import blocks, facts, parts
from api.certificate.store.parts import Part
from api.storage.plans import ALONG_THE_KEY
from shared.db.connections import connect
from tests.ages import Ways, complaints, grow, laborious, planned
from tests.api.seeds import Database

STREAMS_THERE = 3_000
KEY = "events_pkey: stream_id stream_epoch seq"
CHANGES = {"event_changes_epoch: stream_id stream_epoch", "event_changes_epoch: stream_id"}
AGELESS: Ways = {
    "SELECT counted.*": {"events": {KEY}, "event_blocks": {"event_blocks_pkey: stream_id stream_epoch"}},
    "WITH late AS": {"events": {KEY}},
    "SELECT lower(gap)": {"events": {KEY}},
    "SELECT streams.stream_id, streams.last_position": {
        "events": {"events_pkey: stream_id", "events_pkey: stream_id stream_epoch"},
        "streams": {"streams_pkey: stream_id"},
        "event_changes": CHANGES,
    },
}


async def test_certifying_keeps_its_plans_at_every_age(database: Database, database_url: str) -> None:
    connection: Any = await connect(database_url, name="certificate", **ALONG_THE_KEY)
    wrong: list[str] = []
    async for age in grow(database, streams=STREAMS_THERE):
        stream_id = await database.fetchval("SELECT stream_id FROM streams WHERE forwarder_id = 'f1'")
        if stream_id is None:
            continue
        part, cut = Part(stream_id, 1, 1, None, "asked"), Part(stream_id, 1, 10, 500, "segment")
        await database.execute(
            "INSERT INTO receiver_cursors (receiver_id, stream_id, stream_epoch, last_seq, position)"
            " VALUES ('tent', $1, 1, 20, 20) ON CONFLICT DO NOTHING",
            stream_id,
        )
        await database.execute(
            "INSERT INTO subscriptions VALUES ('tent', $1, now()) ON CONFLICT DO NOTHING", stream_id
        )
        async with planned(connection) as plans:
            counted = await blocks.count_blocks(connection, part, most=1_000)
            await blocks.make(connection, part, counted.blocks[-3:], None)
            await blocks.absent(connection, part, [(1, 1_000)], most=10)
            told, _ = await facts.facts(connection, [part, cut])
            await parts.others(connection, [part])
            assert (await facts.sums(connection, [stream_id], {}))[stream_id].vanished == 0
        assert told.dedup_count == sum(each.event_count for each in counted.blocks)
        wrong += [f"{age}: {each}" for each in complaints(plans, AGELESS)]
        wrong += [f"{age}: {each}" for each in laborious(plans, rows=70_000)]
    await connection.close()
    assert not wrong, "\n".join(wrong)
