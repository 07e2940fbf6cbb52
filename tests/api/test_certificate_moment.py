"""A certificate is of one moment and of all that was asked for: what has come and is not stored, what is beside a
boundary, and who had nothing to say, are in it.
"""

import asyncio
from datetime import datetime
from typing import Any
from uuid import UUID

import pytest

from api.certificate.store import facts
from shared.db.connections import connect
from tests.api.certified import codes, one_part, path_of, said, store
from tests.api.conftest import Ask
from tests.api.seeds import Database, add_cursor, add_process, add_race, add_receiver_session
from tests.api.segmented import add_segment
from tests.waiting import wait_until
from tests.writer.inbox import add_stream, drain, event, put


@pytest.fixture
async def stream_id(database: Database) -> UUID:
    stream_id = await add_stream(database)
    await store(database, stream_id, range(1, 101))
    return stream_id


def of_race(race_id: UUID) -> str:
    return f"/api/v1/certificate?race_id={race_id}"


async def place(database: Database, race_id: UUID, name: str, *stream_ids: UUID, at: int = 1) -> None:
    await database.execute("INSERT INTO race_points VALUES ($1, $2, $3)", race_id, at, name)
    await database.executemany(
        "INSERT INTO point_streams VALUES ($1, $2, $3)", [(race_id, each, at) for each in stream_ids]
    )


# --- of one moment ---------------------------------------------------------------------------------------


async def test_reads_in_the_inbox_wait_and_nothing_is_complete_without_them(
    ask: Ask, database: Database, stream_id: UUID
) -> None:
    await put(database, stream_id, [event(101), event(102)])
    await put(database, stream_id, [event(1, epoch=2)])
    found = await ask("GET", path_of(stream_id))
    assert codes(found) == ["no_read", "waiting", "waiting"]
    assert [each["text"] for each in found["reasons"][1:]] == [
        "f · r, epoch 1: 2 reads wait to be stored.",
        "f · r, epoch 2: 1 read waits to be stored.",
    ]
    await drain(database)
    assert (await ask("GET", path_of(stream_id)))["verdict"] == "complete"


async def test_of_a_race_also_an_epoch_of_which_only_the_inbox_knows(
    ask: Ask, database: Database, stream_id: UUID
) -> None:
    race_id = await add_race(database)
    await database.execute("INSERT INTO forwarder_races VALUES ('f', $1)", race_id)
    assert (await ask("GET", of_race(race_id)))["verdict"] == "complete"
    await put(database, stream_id, [event(1, epoch=2)])
    assert codes(await ask("GET", of_race(race_id))) == ["waiting"]


async def test_what_a_memory_had_waits_for_its_reader_s_stream(
    ask: Ask, database: Database, stream_id: UUID
) -> None:
    await database.execute(
        "INSERT INTO memory_parts (forwarder_id, reader_ip, stream_epoch, first_seq, lines)"
        " VALUES ('f', 'r', 1, 1, '{a,b,c}')"
    )
    found = await ask("GET", path_of(stream_id))
    assert said(found, "waiting") == "f · r, epoch 1: 3 reads wait to be stored."


async def test_an_inbox_that_is_emptied_is_locked_first_and_free_again_behind_the_look(
    ask: Ask, database: Database, stream_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = facts.facts

    async def emptied_meanwhile(*given: Any) -> object:
        async with database.transaction():
            await database.execute("SET LOCAL lock_timeout = '5s'")
            await database.execute("TRUNCATE inbox")
        return await look(*given)

    await put(database, stream_id, [event(101)])
    monkeypatch.setattr(facts, "facts", emptied_meanwhile)
    assert codes(await ask("GET", path_of(stream_id))) == ["waiting"]


async def test_what_was_issued_at_a_moment_is_what_was_there_then(
    ask: Ask, database: Database, stream_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a key that is retired meanwhile does not sign."""
    look = facts.facts
    then: list[datetime] = []

    async def meanwhile(*given: Any) -> object:
        then.append(await database.fetchval("SELECT clock_timestamp()"))
        await store(database, stream_id, [102])
        await database.execute(
            "UPDATE certificate_keys SET secret = NULL, public_key = $1, retired_at = clock_timestamp()",
            b"x" * 32,
        )
        await database.execute("INSERT INTO certificate_keys DEFAULT VALUES")
        return await look(*given)

    monkeypatch.setattr(facts, "facts", meanwhile)
    found = await ask("GET", path_of(stream_id))
    assert found["read_count"] == 100
    assert datetime.fromisoformat(found["issued_at"]) <= then[0]
    keys = (await ask("GET", "/api/v1/certificate/key"))["keys"]
    assert found["signature"]["key"] == keys[0]["key"]


# --- what is beside a boundary ---------------------------------------------------------------------------


@pytest.mark.parametrize("statement", ["seq = 20", "seq IN (20, 90)"])
async def test_what_is_deleted_of_one_race_is_not_gone_from_the_other_of_the_epoch(
    ask: Ask, database: Database, stream_id: UUID, statement: str
) -> None:
    races = [await add_race(database, name) for name in ("first", "middle", "last")]
    for race_id, first, end in zip(races, (1, 40, 60), ((1, 40), (1, 60), None), strict=True):
        await add_segment(database, race_id, stream_id, (1, first), end)
    await database.execute(f"DELETE FROM events WHERE {statement}")
    found = [codes(await ask("GET", of_race(race_id))) for race_id in races]
    assert found == [["deleted"], [], ["deleted"] if "90" in statement else []]


async def test_receivers_are_owed_what_is_of_the_part(ask: Ask, database: Database, stream_id: UUID) -> None:
    first, second = [await add_race(database, name) for name in ("first", "second")]
    await add_segment(database, first, stream_id, (1, 1), (1, 41))
    await add_segment(database, second, stream_id, (1, 41), None)
    await add_cursor(database, "tent", stream_id, last_seq=50)
    await database.execute("UPDATE receiver_cursors SET position = 50, event_count = 50")
    await add_receiver_session(database, "tent", await add_process(database, "fanout"), [stream_id])
    assert (await ask("GET", of_race(first)))["verdict"] == "complete"
    assert said(await ask("GET", of_race(second)), "owed") == "The receiver tent has not acked 50 reads."
    # And what came late, below the cursor: by its position.
    await database.execute("UPDATE receiver_cursors SET position = 30, event_count = 30")
    assert said(await ask("GET", of_race(first)), "owed") == "The receiver tent has not acked 10 reads."


# --- who had nothing to say ------------------------------------------------------------------------------


async def test_a_stream_that_was_asked_for_and_has_nothing_is_named(
    ask: Ask, database: Database, stream_id: UUID
) -> None:
    other = await add_stream(database, "other")
    found = await ask("GET", f"/api/v1/certificate?stream_id={stream_id},{other}")
    assert said(found, "no_read") == "other · r: no read has come."
    # And summed up: that something vanished is known though nothing of it is left.
    await database.execute("UPDATE streams SET last_position = 7 WHERE stream_id = $1", other)
    found = await ask("GET", f"/api/v1/certificate?stream_id={stream_id},{other}")
    assert "other · r: 7 reads are gone" in said(found, "vanished")


async def test_a_twin_mat_without_a_read_is_named_and_what_nobody_expects_is_not(
    ask: Ask, database: Database, stream_id: UUID
) -> None:
    race_id = await add_race(database)
    await add_segment(database, race_id, stream_id, (1, 1), None)
    twin = await add_stream(database, "twin")
    await place(database, race_id, "Finish", stream_id, twin)
    found = await ask("GET", of_race(race_id))
    assert [each["text"] for each in found["reasons"]] == ["twin · r: no read has come."]
    await database.execute("UPDATE race_points SET closed_at = now(), closed_by = 'anna'")
    assert (await ask("GET", of_race(race_id)))["verdict"] == "complete"


async def test_points_without_a_stream_or_closed_by_somebody_are_said_to_be_unknown(
    ask: Ask, database: Database, stream_id: UUID
) -> None:
    race_id = await add_race(database)
    await add_segment(database, race_id, stream_id, (1, 1), None)
    await place(database, race_id, "Finish", stream_id)
    await place(database, race_id, "10 km", at=2)
    await place(database, race_id, "Lap", await add_stream(database, "lap"), at=3)
    await database.execute("UPDATE race_points SET closes_at = now() - interval '1 hour' WHERE place = 3")
    # That its time is over does not say that nobody was due before.
    assert said(await ask("GET", of_race(race_id)), "no_read") == "Nothing was read at Lap."
    await database.execute("UPDATE race_points SET closed_at = now(), closed_by = 'anna' WHERE place = 3")
    found = await ask("GET", of_race(race_id))
    assert found["verdict"] == "complete"
    assert found["cannot_know"][:2] == [
        "Whether anybody came by 10 km: no stream stands there.",
        "Whether anybody came by Lap: nothing was read there, and anna has closed it.",
    ]


async def test_epochs_of_a_race_s_streams_that_are_of_no_race_are_named(
    ask: Ask, database: Database, stream_id: UUID
) -> None:
    race_id = await add_race(database)
    await database.execute("INSERT INTO forwarder_races VALUES ('f', $1)", race_id)
    alone = ["Whether a stream of this race was deleted as a whole: nothing is left of one."]
    assert (await ask("GET", of_race(race_id)))["cannot_know"][:-1] == alone
    await store(database, stream_id, range(1, 11), epoch=2)
    found = await ask("GET", of_race(race_id))
    assert one_part(found)["stream_epoch"] == 2
    assert found["cannot_know"][0].startswith(
        "Whether 100 reads of f · r, epoch 1, should be of this race: they were given to none. The last came at 20"
    )
    await database.execute("INSERT INTO epoch_races VALUES ($1, 1, $2)", stream_id, race_id)
    found = await ask("GET", of_race(race_id))
    assert (len(found["parts"]), found["cannot_know"][:-1]) == (2, alone)


async def test_a_receiver_that_is_forgotten_is_said_to_be(
    ask: Ask, database: Database, stream_id: UUID
) -> None:
    await add_cursor(database, "tent", stream_id, last_seq=90)
    found = await ask("GET", path_of(stream_id))
    assert (found["verdict"], found["cannot_know"][0]) == (
        "complete",
        "Whether the receiver tent still needs 10 reads that it has not acked: it is not waited for any more.",
    )


async def test_what_a_receiver_wanted_before_an_epoch_was_given_to_its_race_is_not_believed(
    ask: Ask, database: Database, stream_id: UUID
) -> None:
    race_id = await add_race(database)
    await add_cursor(database, "tent", stream_id, last_seq=0)
    await database.execute("UPDATE receiver_cursors SET wanted = false")
    await database.execute(
        "INSERT INTO subscriptions VALUES ('tent', $1, now() - interval '1 hour')", stream_id
    )
    assert (await ask("GET", path_of(stream_id)))["verdict"] == "complete"
    await database.execute("INSERT INTO epoch_races VALUES ($1, 1, $2)", stream_id, race_id)
    assert said(await ask("GET", path_of(stream_id)), "owed") == "The receiver tent has not acked 100 reads."
    await database.execute("UPDATE epoch_races SET mapped_at = now() - interval '2 hours'")
    assert (await ask("GET", path_of(stream_id)))["verdict"] == "complete"


# --- who changes what is stored --------------------------------------------------------------------------


async def test_who_deletes_reads_beside_somebody_who_deletes_their_stream_is_not_refused(
    database: Database, database_url: str, stream_id: UUID
) -> None:
    kept = await add_stream(database, "kept")
    await store(database, kept, [1], forwarder_id="kept")
    other = await connect(database_url, name="another administrator")
    async with database.transaction():
        await database.execute("DELETE FROM streams WHERE stream_id = $1", stream_id)
        deleting = asyncio.create_task(other.execute("DELETE FROM events"))
        waits = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"
        await wait_until(lambda: database.fetchval(waits), what="the other waits")
    await deleting
    rows = await database.fetch("SELECT stream_id, event_count FROM event_changes")
    assert [tuple(row) for row in rows] == [(kept, 1)]
    await other.close()
