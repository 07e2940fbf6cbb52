"""A certificate says that nothing is missing only where that is so, whatever was done to the events behind our back."""

from typing import Any
from uuid import UUID, uuid4

import pytest

from api.certificate import ledger, routes
from api.certificate.store import blocks
from shared.db.migrate import available
from shared.runtime.process import Process
from tests.api.certified import LINES, codes, digest_of, one_part, path_of, said, store
from tests.api.conftest import Ask
from tests.api.seeds import (
    Database,
    add_cursor,
    add_forwarder_session,
    add_process,
    add_race,
    add_receiver_session,
)
from tests.api.segmented import add_segment
from tests.writer.inbox import add_stream

RUNBOOK = (
    "DELETE FROM receiver_cursors WHERE stream_id = $1",
    "DELETE FROM stream_metrics WHERE stream_id = $1",
    "DELETE FROM events WHERE stream_id = $1",
)
DIGEST = digest_of({seq: line.encode() for seq, line in LINES.items()})


@pytest.fixture
async def stream_id(database: Database) -> UUID:
    """A stream with three blocks of reads and a part of a fourth, all that its device has sent."""
    stream_id = await add_stream(database)
    await store(database, stream_id, LINES)
    return stream_id


async def test_what_has_all_its_numbers_is_complete_with_a_digest_that_anyone_can_compute(
    ask: Ask, database: Database, stream_id: UUID
) -> None:
    found = await ask("GET", path_of(stream_id, 1))
    assert (found["verdict"], found["reasons"]) == ("complete", [])
    assert (found["read_count"], found["expected_count"]) == (len(LINES), len(LINES))
    part = one_part(found)
    assert (part["first_seq"], part["last_seq"], part["missing_ranges"]) == (1, len(LINES), [])
    assert part["digest"] == DIGEST
    assert [block for block, _ in part["blocks"]] == [0, 1, 2, 3]
    # The same of what is kept as of what is counted anew.
    assert await database.fetchval("SELECT count(*) FROM event_blocks") == 4
    assert one_part(await ask("GET", path_of(stream_id))) == part


# --- what was done behind our back -----------------------------------------------------------------------

CHANGES = {
    "one is deleted": ("DELETE FROM events WHERE stream_id = $1 AND seq = 1234", "deleted", "1,234"),
    "the first is deleted": ("DELETE FROM events WHERE stream_id = $1 AND seq = 1", "deleted", ": 1."),
    "the last is deleted": ("DELETE FROM events WHERE stream_id = $1 AND seq = 3210", "deleted", "3,210"),
    "a byte is another": (
        "UPDATE events SET raw_frame = set_byte(raw_frame, 0, 76) WHERE stream_id = $1 AND seq = 1234",
        "changed",
        "1,234",
    ),
    "one is given another number": (
        "UPDATE events SET seq = 4000 WHERE stream_id = $1 AND seq = 3210",
        "changed",
        "3,210",
    ),
}


@pytest.mark.parametrize("kept", [False, True], ids=["", "kept"])
@pytest.mark.parametrize("change", CHANGES)
async def test_what_is_deleted_or_changed_behind_our_back_is_refused_and_named(
    ask: Ask, database: Database, stream_id: UUID, *, change: str, kept: bool
) -> None:
    if kept:
        assert (await ask("GET", path_of(stream_id)))["verdict"] == "complete"
    statement, code, named = CHANGES[change]
    await database.execute(statement, stream_id)
    found = await ask("GET", path_of(stream_id))
    assert found["verdict"] == "incomplete"
    assert named in said(found, code)
    assert one_part(found)["digest"] != DIGEST
    # And once more, of what is kept by now.
    again = await ask("GET", path_of(stream_id))
    assert (one_part(again), again["reasons"]) == (one_part(found), found["reasons"])


@pytest.mark.parametrize("kept", [False, True], ids=["", "kept"])
async def test_what_is_deleted_as_the_runbook_says_reads_deleted(
    ask: Ask, database: Database, stream_id: UUID, *, kept: bool
) -> None:
    await store(database, stream_id, {1: "another"}, epoch=2)
    if kept:
        assert (await ask("GET", path_of(stream_id)))["verdict"] == "complete"
    async with database.transaction():
        for statement in RUNBOOK:
            await database.execute(statement, stream_id)
    found = await ask("GET", path_of(stream_id, 1))
    assert (found["verdict"], codes(found)) == ("incomplete", ["deleted"])
    assert "3,210 reads were deleted" in said(found, "deleted")
    assert (found["read_count"], found["expected_count"]) == (0, len(LINES))
    assert await database.fetchval("SELECT count(*) FROM event_blocks") == 0
    # All that was there is named, and what comes then is what it is.
    assert codes(await ask("GET", path_of(stream_id))) == ["deleted", "deleted"]
    await store(database, stream_id, [1, 2, 3], epoch=3)
    assert (await ask("GET", path_of(stream_id, 3)))["verdict"] == "complete"
    await store(database, stream_id, [3_211], epoch=1)
    found = await ask("GET", path_of(stream_id, 1))
    assert codes(found) == ["deleted", "missing"]
    assert "3,210 numbers never came: 1 to 3,210" in said(found, "missing")


async def test_a_stream_that_was_emptied_with_its_row_takes_its_notes_with_it(
    ask: Ask, database: Database, stream_id: UUID
) -> None:
    for statement in (*RUNBOOK, "DELETE FROM streams WHERE stream_id = $1"):
        await database.execute(statement, stream_id)
    assert await database.fetchval("SELECT count(*) FROM event_changes") == 0
    await ask("GET", path_of(stream_id), status=404)


async def test_a_table_of_events_that_was_emptied_reads_deleted(
    ask: Ask, database: Database, stream_id: UUID
) -> None:
    other = await add_stream(database, "other")
    await store(database, other, [1, 2, 3], forwarder_id="other")
    await store(database, stream_id, [1, 2], epoch=2)
    # Some of it before, with the counts of one epoch; and what is in no count is not looked for, while all wait.
    await database.execute(
        "DELETE FROM events WHERE stream_id = $1 AND stream_epoch = 1 AND seq < 3", stream_id
    )
    await database.execute("DELETE FROM stream_metrics WHERE stream_id = $1 AND stream_epoch = 2", stream_id)
    await database.execute("DELETE FROM stream_metrics WHERE stream_id = $1", other)
    await database.execute(
        "INSERT INTO events SELECT stream_id, 1, 3211, 9999, received_at, read_at, raw_frame, reader_timestamp,"
        " read_type, tag_id, parse_error FROM events WHERE seq = 3210"
    )
    await database.execute("TRUNCATE events")
    found = await ask("GET", path_of(stream_id))
    assert codes(found) == ["deleted"]
    assert "3,210 reads were deleted" in found["reasons"][0]["text"]
    rows = await database.fetch(
        "SELECT stream_epoch, event_count FROM event_changes WHERE stream_id = $1", other
    )
    assert [tuple(row) for row in rows] == [(0, 3)]


async def test_what_is_set_to_what_it_was_is_no_change(ask: Ask, database: Database, stream_id: UUID) -> None:
    await database.execute("UPDATE events SET raw_frame = raw_frame")
    assert (await ask("GET", path_of(stream_id)))["verdict"] == "complete"


@pytest.mark.parametrize("kept", [False, True], ids=["", "kept"])
async def test_what_vanishes_without_a_note_makes_nothing_of_the_stream_complete(
    ask: Ask, database: Database, stream_id: UUID, *, kept: bool
) -> None:
    await store(database, stream_id, [1, 2, 3], epoch=2)
    if kept:
        assert (await ask("GET", path_of(stream_id)))["verdict"] == "complete"
    # As a superuser can, who has triggers not told.
    async with database.transaction():
        await database.execute("SET LOCAL session_replication_role = replica")
        await database.execute("DELETE FROM events WHERE stream_epoch = 1 AND seq IN (5, 1700)")
    found = await ask("GET", path_of(stream_id, 1))
    assert codes(found) == ["vanished"]
    assert "2 reads are gone, and nobody told of it: 5, 1,700" in said(found, "vanished")
    # Of the other epoch nothing is gone; but nobody can say so.
    assert codes(await ask("GET", path_of(stream_id, 2))) == ["vanished"]


async def test_what_was_put_in_by_hand_is_not_complete(ask: Ask, database: Database, stream_id: UUID) -> None:
    await database.execute(
        "INSERT INTO events SELECT stream_id, stream_epoch, 3211, 9999, received_at, read_at, raw_frame,"
        " reader_timestamp, read_type, tag_id, parse_error FROM events WHERE seq = 3210"
    )
    assert set(codes(await ask("GET", path_of(stream_id)))) == {"counts"}


async def test_what_was_deleted_before_it_was_noted_is_of_an_epoch_that_nobody_knows(
    ask: Ask, database: Database, stream_id: UUID
) -> None:
    await database.execute(
        "UPDATE streams SET last_position = last_position + 7 WHERE stream_id = $1", stream_id
    )
    assert codes(await ask("GET", path_of(stream_id))) == ["vanished"]
    # As the migration notes it, of whichever epoch it was.
    (migration,) = [each.sql for each in available() if each.name.endswith("_event_changes.sql")]
    noting = migration[migration.index("INSERT INTO event_changes") :].partition(";")[0]
    await database.execute(noting)
    rows = await database.fetch("SELECT stream_id, stream_epoch, kind, event_count FROM event_changes")
    assert [tuple(row) for row in rows] == [(stream_id, 0, "deleted", 7)]
    assert (await ask("GET", path_of(stream_id)))["verdict"] == "complete"


# --- what is kept holds as long as nothing is another ----------------------------------------------------


async def test_a_late_event_makes_its_block_another(ask: Ask, database: Database) -> None:
    stream_id = await add_stream(database)
    late = 1_500
    await store(database, stream_id, [seq for seq in LINES if seq != late])
    before = await ask("GET", path_of(stream_id))
    assert (codes(before), one_part(before)["missing_ranges"]) == (["missing"], [[late, late]])
    await store(database, stream_id, [late])
    found = await ask("GET", path_of(stream_id))
    part = one_part(found)
    assert (found["verdict"], part["late_count"], part["digest"]) == ("complete", 1, DIGEST)


async def test_a_digest_that_is_kept_while_its_events_change_is_not_believed(
    process: Process, ask: Ask, database: Database, stream_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is made of a snapshot, and kept behind it: in between anything may be committed."""
    make = blocks.make

    async def changed_meanwhile(*given: Any) -> object:
        made = await make(*given)
        await database.execute("UPDATE events SET raw_frame = 'x' WHERE seq = 1234")
        return made

    monkeypatch.setattr(blocks, "make", changed_meanwhile)
    first = await ask("GET", path_of(stream_id))
    assert (first["verdict"], one_part(first)["digest"]) == ("complete", DIGEST)
    assert await database.fetchval("SELECT count(*) FROM event_blocks") == 4
    monkeypatch.undo()
    found = await ask("GET", path_of(stream_id))
    assert codes(found) == ["changed"]
    assert one_part(found)["digest"] == digest_of(
        {seq: b"x" if seq == 1234 else line.encode() for seq, line in LINES.items()}
    )


async def test_who_deletes_counts_is_not_waited_for_and_waits_for_nobody(
    ask: Ask, database: Database, stream_id: UUID
) -> None:
    async with database.transaction():
        for statement in RUNBOOK:
            await database.execute(statement, stream_id)
        # Nobody else sees that yet: what is there is certified, and nothing of it kept.
        assert (await ask("GET", path_of(stream_id)))["verdict"] == "complete"
    assert await database.fetchval("SELECT count(*) FROM event_blocks") == 0


async def test_a_drain_fires_no_trigger_of_the_events(database: Database, stream_id: UUID) -> None:
    kinds = await database.fetch(
        "SELECT tgtype & 4 <> 0 AS on_insert, tgtype & 1 <> 0 AS for_each_row FROM pg_trigger"
        " WHERE tgrelid = 'events'::regclass AND NOT tgisinternal"
    )
    assert len(kinds) == 3
    assert not any(each["on_insert"] or each["for_each_row"] for each in kinds)
    assert await database.fetchval("SELECT count(*) FROM event_changes") == 0
    assert await database.fetchval("SELECT count(*) FROM event_blocks") == 0


@pytest.mark.parametrize(("statement_s", "taken"), [(0.0, [2, 1, 1]), (1_000.0, [2, 2])])
async def test_a_statement_takes_as_many_blocks_as_lately_fitted_into_its_time(
    ask: Ask,
    stream_id: UUID,
    monkeypatch: pytest.MonkeyPatch,
    *,
    statement_s: float,
    taken: list[int],
) -> None:
    """What a block weighs, devices decide."""
    make, found = blocks.make, []

    async def counted(*given: Any) -> Any:
        found.append(len(given[2]))
        return await make(*given)

    monkeypatch.setattr(ledger, "AT_FIRST", 2)
    monkeypatch.setattr(ledger, "STATEMENT_S", statement_s)
    monkeypatch.setattr(blocks, "make", counted)
    assert one_part(await ask("GET", path_of(stream_id)))["digest"] == DIGEST
    assert found == taken


async def test_digests_that_take_too_long_are_kept_and_the_next_goes_on_from_there(
    ask: Ask, database: Database, stream_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "AT_ONCE", 1)
    monkeypatch.setattr(routes, "MAKE_WITHIN_S", -1.0)
    for ready in (1, 2, 3, 4):
        answer = await ask("GET", path_of(stream_id), status=503)
        assert answer["details"] == {"blocks_ready": ready, "blocks": 4}
    assert one_part(await ask("GET", path_of(stream_id)))["digest"] == DIGEST


# --- what else there is of it ----------------------------------------------------------------------------


async def test_lines_are_digested_as_exports_carry_them(ask: Ask, database: Database) -> None:
    stream_id = await add_stream(database)
    frames = {1: b"one\r\n", 2: b"two\n", 3: b"three", 4: b"four\r\n\r\n", 5: b"\xff\x00"}
    await store(database, stream_id, frames)
    await store(database, stream_id, {6: "six\r\n", 7: "sieben \N{DEGREE SIGN}"})
    carried = {1: b"one", 2: b"two", 3: b"three", 4: b"four\r\n", 5: b"\xff\x00", 6: b"six\r\n"}
    carried[7] = "sieben \N{DEGREE SIGN}".encode()
    assert one_part(await ask("GET", path_of(stream_id)))["digest"] == digest_of(carried)


async def test_all_missing_numbers_are_named_also_beyond_those_that_the_writer_keeps(
    ask: Ask, database: Database
) -> None:
    stream_id = await add_stream(database)
    there = range(2, 6_001, 2)
    for begin in range(0, len(there), 500):
        await store(database, stream_id, there[begin : begin + 500])
    assert await database.fetchval("SELECT count(*) FROM stream_metrics, unnest(missing)") == 1_000
    part = one_part(await ask("GET", path_of(stream_id)))
    assert part["missing_ranges"] == [[seq, seq] for seq in range(1, 6_000, 2)]
    assert (part["missing_count"], part["missing_ranges_left_out"]) == (3_000, 0)


async def test_ranges_beyond_the_bound_are_counted(
    ask: Ask, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "MOST_RANGES", 3)
    stream_id = await add_stream(database)
    await store(database, stream_id, [2, 4, 6, 8, 10])
    part = one_part(await ask("GET", path_of(stream_id)))
    assert part["missing_ranges"] == [[1, 1], [3, 3], [5, 5]]
    assert (part["missing_count"], part["missing_ranges_left_out"]) == (5, 1)


async def test_what_came_again_late_or_in_conflict_is_counted_and_an_open_conflict_is_a_reason(
    ask: Ask, database: Database, stream_id: UUID
) -> None:
    await store(database, stream_id, [7])
    await store(database, stream_id, {8: "another line"})
    found = await ask("GET", path_of(stream_id))
    part = one_part(found)
    assert codes(found) == ["conflicts"]
    assert (part["retransmit_count"], part["conflict_count"], part["open_conflict_count"]) == (1, 1, 1)
    assert part["unparsed_count"] == len(LINES)
    await ask("POST", f"/api/v1/streams/{stream_id}/conflicts/acknowledge")
    found = await ask("GET", path_of(stream_id))
    assert (found["verdict"], one_part(found)["conflict_count"]) == ("complete", 1)


async def test_a_dead_letter_is_a_reason(ask: Ask, database: Database, stream_id: UUID) -> None:
    await database.execute(
        """
        INSERT INTO poisoned_parts (gateway_id, part_id, arrival, forwarder_id, fence, session_id, stream_id,
            stream_epoch, received_at, event_count, seqs, raw_frames, reader_timestamps, read_types, tag_ids, read_ats,
            parse_errors, framed, error)
        VALUES (gen_random_uuid(), 1, 1, 'f', 1, gen_random_uuid(), $1, 1, now(), 1, '{3211}', '{x}', '{x}', '{raw}',
                '{x}', '{NULL}', '{x}', false, 'refused')
        """,
        stream_id,
    )
    assert codes(await ask("GET", path_of(stream_id))) == ["dead_letters"]


async def test_a_receiver_that_is_owed_reads_is_a_reason_while_it_is_connected_or_missed(
    ask: Ask, database: Database, stream_id: UUID
) -> None:
    fanout_id = await add_process(database, "fanout")
    await add_cursor(database, "results", stream_id, last_seq=3_200)
    found = await ask("GET", path_of(stream_id))
    assert found["verdict"] == "complete"  # nobody waits for it
    (receiver,) = one_part(found)["receivers"]
    assert (receiver["expected"], receiver["acked_seq"], receiver["owed"]) == (False, 3_200, 10)
    session_id = await add_receiver_session(database, "results", fanout_id, [stream_id])
    found = await ask("GET", path_of(stream_id))
    assert said(found, "owed") == "The receiver results has not acked 10 reads."
    await database.execute("DELETE FROM receiver_sessions WHERE session_id = $1", session_id)
    await database.execute("INSERT INTO subscriptions VALUES ('results', $1, now())", stream_id)
    assert codes(await ask("GET", path_of(stream_id))) == ["owed"]
    await database.execute("UPDATE receiver_cursors SET wanted = false")
    assert (await ask("GET", path_of(stream_id)))["verdict"] == "complete"


async def test_it_says_what_it_cannot_know_and_when_a_forwarder_was_heard_of(
    ask: Ask, database: Database, stream_id: UUID
) -> None:
    await add_forwarder_session(database, "f", await add_process(database, "gateway"))
    found = await ask("GET", path_of(stream_id))
    forwarder = one_part(found)["forwarder"]
    assert (forwarder["connected"], forwarder["ended_at"]) == (True, None)
    (text,) = found["cannot_know"]
    assert text.startswith(
        "Whether the forwarder f holds reads behind its last number: it was heard of last at 20"
    )


# --- of what it is ---------------------------------------------------------------------------------------


async def test_a_race_is_certified_with_its_points_and_epochs_that_are_expected_to_have_reads(
    ask: Ask, database: Database, stream_id: UUID
) -> None:
    race_id = await add_race(database)
    finish = await add_stream(database, "finish")
    of_race = f"/api/v1/certificate?race_id={race_id}"
    assert codes(await ask("GET", of_race)) == ["nothing"]
    await database.execute(
        "INSERT INTO epoch_races VALUES ($1, 1, $3), ($2, 4, $3)", stream_id, finish, race_id
    )
    await database.execute("INSERT INTO race_points VALUES ($1, 1, 'Start'), ($1, 2, 'Finish')", race_id)
    await database.execute(
        "INSERT INTO point_streams VALUES ($1, $2, 1), ($1, $3, 2)", race_id, stream_id, finish
    )
    found = await ask("GET", of_race)
    assert found["race"] == {"race_id": str(race_id), "name": "10 km"}
    assert found["points"] == [{"name": "Start", "read_count": 3210}, {"name": "Finish", "read_count": 0}]
    assert [each["text"] for each in found["reasons"]] == [
        "finish · r, epoch 4: no read has come.",
        "Nothing was read at Finish.",
    ]
    await store(database, finish, [1, 2], forwarder_id="finish", epoch=4)
    found = await ask("GET", of_race)
    assert (found["verdict"], [each["point"] for each in found["parts"]]) == ("complete", ["Start", "Finish"])


async def test_an_epoch_that_is_cut_is_certified_as_far_as_it_is_of_the_race(
    ask: Ask, database: Database, stream_id: UUID
) -> None:
    first, second = [await add_race(database, name) for name in ("first", "second")]
    await add_segment(database, first, stream_id, (1, 300), (1, 2_501))
    await add_segment(database, second, stream_id, (1, 2_501), None)
    kept = await ask("GET", path_of(stream_id))
    for _ in range(2):
        part = one_part(await ask("GET", f"/api/v1/certificate?race_id={first}"))
        lines = {seq: line.encode() for seq, line in LINES.items() if 300 <= seq < 2_501}
        assert (part["read_count"], part["expected_count"]) == (2_201, 2_201)
        assert part["digest"] == digest_of(lines)
        part = one_part(await ask("GET", f"/api/v1/certificate?race_id={second}"))
        assert (part["from_seq"], part["to_seq"], part["read_count"]) == (2_501, None, 710)
        assert part["digest"] == digest_of({s: x.encode() for s, x in LINES.items() if s >= 2_501})
    # Of half a block no digest is kept, nor one of the whole taken for it.
    assert one_part(await ask("GET", path_of(stream_id))) == one_part(kept)


async def test_what_was_deleted_of_a_race_s_segment_is_named(
    ask: Ask, database: Database, stream_id: UUID
) -> None:
    race_id = await add_race(database)
    await add_segment(database, race_id, stream_id, (1, 300), None)
    for statement in RUNBOOK:
        await database.execute(statement, stream_id)
    assert codes(await ask("GET", f"/api/v1/certificate?race_id={race_id}")) == ["deleted"]


@pytest.mark.parametrize(
    ("query", "status", "words"),
    [
        ("", 400, "give `race_id`, or `stream_id`"),
        ("race_id={any}&stream_id={any}", 400, "give `race_id`, or `stream_id`"),
        ("race_id={any}&epoch=1", 400, "`epoch` goes with `stream_id`"),
        ("race_id={any}", 404, "no race"),
        ("stream_id={any}", 404, "no stream"),
        ("stream_id=x", 400, "ids of streams"),
        ("stream_id={any}&epoch=0", 400, "numbers from 1"),
        ("stream_id={any}&epoch=1,", 400, "epoch"),
        ("stream_id={many}", 400, "up to 50 streams"),
    ],
)
async def test_what_cannot_be_certified_is_refused_with_what_to_do(
    ask: Ask, query: str, status: int, words: str
) -> None:
    given = query.format(any=uuid4(), many=",".join(str(uuid4()) for _ in range(51)))
    assert words in (await ask("GET", f"/api/v1/certificate?{given}", status=status))["message"]


async def test_parts_and_blocks_have_a_bound(
    ask: Ask, database: Database, stream_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "MOST_BLOCKS", 3)
    assert "more than 3 blocks" in (await ask("GET", path_of(stream_id), status=400))["message"]
    monkeypatch.setattr(routes, "MOST_PARTS", 1)
    assert "more than 1 parts" in (await ask("GET", path_of(stream_id, 1, 2), status=400))["message"]
