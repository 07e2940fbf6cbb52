"""What the gateway holds until it is acked: given back whatever becomes of the session, and never forgotten."""

from typing import Any
from uuid import UUID

import asyncpg
import pytest
from structlog.testing import capture_logs

from gateway import metrics, session
from gateway.batch import Part
from gateway.staging import Staging
from gateway.store import inbox as store
from gateway.store import streams
from shared.db.channels import OUTCOMES
from shared.db.connections import Connection, Pool
from shared.db.errors import DatabaseRefused
from shared.metrics import NOTIFICATIONS_RECEIVED
from tests.failure.facts import Database, counts, lines
from tests.failure.wire import READER, batch, connect, forwarder, read, reads, refused
from tests.gateway.conftest import Inside, running_writer
from tests.metrics import total
from tests.services import make_token
from tests.waiting import stretched, wait_until
from writer.store import upkeep as writer_store

_EMPTY = "TRUNCATE inbox, outcomes, inbox_generation"


def staging(inside: Inside) -> Staging:
    return inside.gateway.staging


async def staged(database: Database) -> int:
    count: int = await database.fetchval("SELECT count(*) FROM inbox")
    return count


async def test_what_a_lost_session_leaves_behind_is_given_back_when_it_is_stored(
    inside: Inside, database: Database, database_url: str
) -> None:
    async with forwarder(inside.url, inside.token, ["a", "b"]) as wire:
        for number in range(1, 5):
            await wire.send(batch(read(number, reader="a"), read(number, reader="b")))
        await wait_until(lambda: staged(database), what="parts in the inbox")
        await wait_until(lambda: len(staging(inside).waiting) == 8, what="all parts")
        assert staging(inside).unacked_bytes > 0
        await wire.drop()
    await wait_until(lambda: not inside.gateway.ownership.held, what="the session to end")
    async with running_writer(database_url):
        await wait_until(lambda: not staging(inside).waiting, what="the outcomes")
    assert staging(inside).unacked_bytes == 0


async def test_what_a_refused_session_leaves_behind_is_given_back(
    inside: Inside, database: Database, writer: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "REFUSE_AFTER_S", 0.05)
    await database.execute("ALTER TABLE inbox ADD CHECK (NOT 'poison' = ANY(raw_frames))")
    other = await make_token(database, "forwarder", "other")
    async with (
        forwarder(inside.url, inside.token, ["a", "b", "c"]) as wire,
        forwarder(inside.url, other) as neighbour,
    ):
        # Two of three parts are refused: the second of them after its batch has failed already.
        await wire.send(batch(*(read(1, "poison", reader=reader) for reader in "ab"), read(1, reader="c")))
        await neighbour.send(batch(read(1)))
        assert await neighbour.ack() == [(READER, 1, 1)]
        error = await wire.expect("error")
        assert (error["code"], error["retryable"]) == ("INTERNAL_ERROR", True)
        assert await wire.closed() == 1011
        await neighbour.send(batch(read(2)))
        assert await neighbour.ack() == [(READER, 1, 2)]
    await wait_until(lambda: not staging(inside).waiting, what="nothing to wait")
    assert staging(inside).unacked_bytes == 0


async def test_a_part_whose_batch_fails_while_it_is_refused_is_left_to_it(
    inside: Inside, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two parts are staged one by one: the first was refused its place among what is stored, meanwhile the second its
    way there.
    """
    stage_truly = store.stage

    async def stage(connection: Connection, gateway_id: UUID, parts: list[Part]) -> None:
        if len(parts) > 1:
            raise DatabaseRefused("one of them is at fault")
        if parts[0].reader_ip == "b":
            (first,) = set(staging(inside).waiting) - {parts[0].part_id}
            await database.execute(
                "INSERT INTO outcomes (gateway_id, outcome, part_ids) VALUES ($1, 'poisoned', $2)",
                gateway_id,
                [first],
            )
            await database.execute("SELECT pg_notify($1, '')", OUTCOMES)
            await wait_until(lambda: not staging(inside).waiting, what="the batch to fail")
            raise DatabaseRefused("this one")
        await stage_truly(connection, gateway_id, parts)

    async with forwarder(inside.url, inside.token, ["a", "b"]) as wire:
        monkeypatch.setattr(store, "stage", stage)
        await wire.send(batch(read(1, reader="a"), read(1, reader="b")))
        assert (await wire.expect("error"))["code"] == "INTERNAL_ERROR"
        monkeypatch.undo()
    assert staging(inside).unacked_bytes == 0
    other = await make_token(database, "forwarder", "other")
    async with forwarder(inside.url, other, ["c"]) as wire:
        await wire.send(batch(read(1, reader="c")))
        await wait_until(lambda: staged(database), what="a part: the gateway stages on")


async def test_a_device_whose_batch_cannot_be_stored_is_not_told_at_once(
    inside: Inside, database: Database, writer: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    # In the field it would be back at once with the same batch, and again, and again.
    monkeypatch.setattr(session, "REFUSE_AFTER_S", 0.6)
    await database.execute("ALTER TABLE inbox ADD CHECK (NOT 'poison' = ANY(raw_frames))")
    async with forwarder(inside.url, inside.token) as wire:
        await wire.send(batch(read(1, "poison")))
        with pytest.raises(TimeoutError):
            await wire.expect("error", within_s=0.5)


async def test_an_inbox_that_is_emptied_while_the_gateway_looks_is_looked_at_again(
    inside: Inside, database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = 0

    async def look(connection: Connection, gateway_id: UUID) -> store.Staged:
        nonlocal looked
        looked += 1
        found = await look_truly(connection, gateway_id)
        if looked == 1:
            await database.execute(_EMPTY)
        return found

    look_truly = store.staged_parts
    async with forwarder(inside.url, inside.token) as wire:
        await wire.send(batch(*reads(1, 3)))
        await wait_until(lambda: staged(database), what="the part in the inbox")
        monkeypatch.setattr(store, "staged_parts", look)
        staging(inside).doubt("a_test")
        async with running_writer(database_url):
            assert await wire.ack() == [(READER, 1, 3)]
    assert looked >= 2


async def test_a_doubt_that_comes_while_the_gateway_looks_is_looked_into_as_well(
    inside: Inside, database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The part was drained after the look at the inbox, and its outcome thrown away before the look at those."""
    looked = 0

    async def look(connection: Connection, gateway_id: UUID) -> store.Staged:
        nonlocal looked
        looked += 1
        found = await look_truly(connection, gateway_id)
        if looked == 1:
            await database.execute("DELETE FROM inbox")
            staging(inside).doubt("a_return")  # as when our row in processes was gone for a moment
        return found

    look_truly = store.staged_parts
    async with forwarder(inside.url, inside.token) as wire:
        await wire.send(batch(*reads(1, 3)))
        await wait_until(lambda: staged(database), what="the part in the inbox")
        monkeypatch.setattr(store, "staged_parts", look)
        staging(inside).doubt("a_test")
        async with running_writer(database_url):
            assert await wire.ack() == [(READER, 1, 3)]
    assert looked == 2


class _Interrupted:
    """A pool between whose first statements an administrator deletes all streams."""

    def __init__(self, pool: Pool, database: Database) -> None:
        self._pool, self._database, self._deletions = pool, database, 2

    async def execute(self, *arguments: Any) -> None:
        await self._pool.execute(*arguments)
        if self._deletions:
            self._deletions -= 1
            await self._database.execute("DELETE FROM streams")

    async def fetch(self, *arguments: Any) -> Any:
        return await self._pool.fetch(*arguments)


async def test_streams_that_vanish_between_two_statements_are_made_again(
    inside: Inside, database: Database
) -> None:
    pool: Any = _Interrupted(inside.gateway.process.pool, database)
    found = await streams.register_streams(pool, "f", ["a", "b", "a"], None)
    rows = await database.fetch("SELECT reader_ip, stream_id FROM streams")
    assert found == {row["reader_ip"]: row["stream_id"] for row in rows}
    assert found.keys() == {"a", "b"}


async def test_readers_that_are_known_take_no_lock(
    inside: Inside, database: Database, database_url: str
) -> None:
    # An administrator's open transaction must not keep a device from connecting.
    async with connect(inside.url, inside.token) as wire:
        await wire.greet(["a"])
    await wait_until(lambda: not inside.gateway.ownership.held, what="the session to end")
    administrator = await asyncpg.connect(database_url)
    try:
        async with administrator.transaction():
            await administrator.execute("DELETE FROM streams")
            async with connect(inside.url, inside.token) as wire:
                await wire.send({"kind": "forwarder_hello", "forwarder_id": "", "reader_ips": ["a"]})
                await wire.expect("heartbeat", within_s=stretched(1.0))
    finally:
        await administrator.close()


async def test_parts_of_a_deleted_stream_are_stored_in_a_new_one(
    inside: Inside, database: Database, database_url: str
) -> None:
    async with forwarder(inside.url, inside.token) as wire:
        await wire.send(batch(*reads(1, 3)))
        await wait_until(lambda: staged(database), what="the part in the inbox")
        old = await database.fetchval("DELETE FROM streams RETURNING stream_id")
        async with running_writer(database_url):
            assert await wire.ack() == [(READER, 1, 3)]
            await wire.send(batch(read(4)))
            assert await wire.ack() == [(READER, 1, 4)]
    assert [row[1] for row in await lines(database, "f", READER)] == [1, 2, 3, 4]
    assert await database.fetchval("SELECT stream_id FROM streams") != old
    assert (await counts(database)).exact


async def test_outcomes_that_were_thrown_away_while_the_gateway_counted_as_dead_are_made_up_for(
    inside: Inside, database: Database, database_url: str
) -> None:
    async with forwarder(inside.url, inside.token) as wire:
        await wire.send(batch(*reads(1, 3)))
        await wait_until(lambda: staged(database), what="the part in the inbox")
        await database.execute(
            "UPDATE inbox SET receipt = NULL"
        )  # the notification says only that there is one
        async with staging(inside).collecting:  # the outcome is not collected yet
            async with running_writer(database_url):
                await wait_until(lambda: not_staged(database), what="the part to be drained")
            await database.execute("DELETE FROM processes")
            await writer_store.forget_outcomes(database)
        async with running_writer(database_url):
            assert await wire.ack() == [(READER, 1, 3)]
    assert (await counts(database)).retransmit == 3


async def test_a_notification_with_its_receipts_acks_a_batch(
    inside: Inside, database: Database, writer: object
) -> None:
    async with forwarder(inside.url, inside.token) as wire, staging(inside).collecting:
        await wire.send(batch(*reads(1, 3)))
        assert await wire.ack() == [(READER, 1, 3)]
        assert await database.fetchval("SELECT count(*) FROM outcomes") == 1
    await wait_until(lambda: no_outcomes(database), what="the next poll to take the outcome away")
    assert (await counts(database)).retransmit == 0


@pytest.mark.parametrize("receipts", ["0", "1,2,3", "-1", "x", ",", " ", "9" * 7000])
async def test_a_notification_that_anybody_sends_acks_nothing(
    inside: Inside, database: Database, receipts: str
) -> None:
    async with forwarder(inside.url, inside.token) as wire:
        await wire.send(batch(*reads(1, 3)))
        await wait_until(lambda: staged(database), what="the part in the inbox")
        gateway_id = await database.fetchval("SELECT gateway_id FROM inbox")
        await database.execute("SELECT pg_notify('rt_outcomes', $1)", f"{gateway_id} {receipts}")
        await database.execute("SELECT pg_notify('rt_outcomes', $1)", "")
        received = NOTIFICATIONS_RECEIVED.labels(OUTCOMES)
        before = total(received)
        await database.execute("SELECT pg_notify('rt_outcomes', $1)", str(gateway_id))
        await wait_until(lambda: total(received) > before, what="the last of them to be received")
        assert len(staging(inside).waiting) == 1


async def test_batches_that_wait_for_their_streams_to_be_made_count_as_held(
    inside: Inside, database: Database, database_url: str
) -> None:
    inside.gateway.account.limit = 100_000
    administrator = await asyncpg.connect(database_url)
    async with running_writer(database_url), forwarder(inside.url, inside.token) as wire:
        async with administrator.transaction():
            await administrator.execute("LOCK TABLE streams IN SHARE MODE")
            await wire.send(batch(*(read(seq, "x" * 60_000, reader="new") for seq in (1, 2))))
            await wait_until(lambda: refused(inside.url), what="an upgrade to be refused")
            assert not await staged(database)
        assert await wire.ack() == [("new", 1, 2)]
    await administrator.close()
    assert not await refused(inside.url)
    assert staging(inside).unacked_bytes == 0


async def no_outcomes(database: Database) -> bool:
    return not await database.fetchval("SELECT count(*) FROM outcomes")


async def not_staged(database: Database) -> bool:
    return not await staged(database)


async def test_an_error_of_the_system_refuses_no_batch_and_is_told_once(
    inside: Inside, database: Database, writer: object
) -> None:
    await database.execute("""
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE 'as the test asks' USING ERRCODE = 'XX001'; END $$;
        CREATE TRIGGER refuses BEFORE INSERT ON inbox FOR EACH ROW EXECUTE FUNCTION refuse();
    """)
    tried = total(metrics.STAGED_AGAIN)
    with capture_logs() as logs:
        async with forwarder(inside.url, inside.token) as wire:
            await wire.send(batch(*reads(1, 3)))
            await wait_until(lambda: total(metrics.STAGED_AGAIN) >= tried + 3, what="some attempts")
            await database.execute("DROP TRIGGER refuses ON inbox")
            assert await wire.ack() == [(READER, 1, 3)]
            await wait_until(
                lambda: "staging_recovered" in [each["event"] for each in logs], what="the end of it"
            )
            assert not any(each["kind"] == "error" for each in wire.seen)
    told = [each["event"] for each in logs if each["event"].startswith(("staging", "part"))]
    assert told == ["staging_interrupted", "staging_recovered"]
