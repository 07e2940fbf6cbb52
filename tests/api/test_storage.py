"""Whether reads are stored: found by reading, told though nothing can be written."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from api.alerts.evaluator import Evaluation
from api.storage.rules import StorageFacts, judged
from shared.db.errors import DISK_FULL
from shared.runtime.process import Process
from tests.api.conftest import Ask
from tests.api.seeds import Database, add_process
from tests.waiting import wait_until

OVERVIEW = "/api/v1/overview"
FULL = f"{DISK_FULL}: could not extend file"
GIB = 2**30


def storage(**facts: Any) -> StorageFacts:
    """A database that is well, but for what is given."""
    well = StorageFacts(
        writers=2,
        storing=2,
        problem=None,
        waiting_parts=3,
        waiting_s=0.1,
        size_bytes=GIB,
        free_bytes=50 * GIB,
        disk_bytes=100 * GIB,
        connections=50,
        connections_max=100,
        answer_ms=1.0,
        commit_ms=2.0,
        evaluated_at=datetime(2026, 5, 3, tzinfo=UTC),
    )
    return well._replace(**facts)


@pytest.mark.parametrize(
    ("facts", "level", "words"),
    [
        (storage(), None, ""),
        (storage(problem=FULL, storing=0), "act", f"reads wait and nothing is stored: {FULL}"),
        (storage(problem="a right is revoked", storing=0), "act", "nothing is stored: a right is revoked"),
        (storage(problem="a right is revoked", storing=1), None, ""),
        (storage(problem=FULL, storing=1), "act", f"takes nothing in: {FULL}"),
        (storage(writers=0, storing=0), "act", "no writer runs"),
        (storage(writers=0, storing=0, waiting_parts=0), None, ""),
        (storage(waiting_s=4.9), None, ""),
        (storage(waiting_s=5.0), "watch", "reads wait for more than 5 s"),
        (storage(free_bytes=5 * GIB), None, ""),
        (storage(free_bytes=5 * GIB - 1), "watch", "nearly full"),
        (storage(free_bytes=GIB - 1, disk_bytes=GIB), "watch", "nearly full"),
        (storage(free_bytes=None, disk_bytes=None), None, ""),
        (storage(connections=89), None, ""),
        (storage(connections=90), "watch", "nearly all connections"),
    ],
)
def test_a_bound_of_the_database(facts: StorageFacts, level: str | None, words: str) -> None:
    said = judged(facts)
    assert (said and said[0]) == level
    assert words in (said[1] if said else "")


@pytest.fixture
async def writer(database: Database) -> UUID:
    """A writer that stores nothing and says why."""
    writer_id = await add_process(database, "writer")
    await database.execute(
        "UPDATE processes SET ready = false, problem = $2 WHERE process_id = $1", writer_id, FULL
    )
    return writer_id


@pytest.fixture
async def evaluation(process: Process) -> AsyncIterator[Evaluation]:
    evaluation = Evaluation(process)
    yield evaluation
    evaluation._link.drop()


async def test_a_full_disk_is_told_though_no_alert_can_be_kept(
    ask: Ask, database: Database, writer: UUID
) -> None:
    overview = await ask("GET", OVERVIEW)
    (alert,) = overview["troubles"]
    assert (alert["signal"], alert["level"]) == ("database", "act")
    verdict = overview["verdict"]
    assert (verdict["level"], verdict["act"]) == ("act", 1)
    assert verdict["headline"] == f"reads wait and nothing is stored: {FULL} · database"
    assert overview["database"]["level"] == "act"
    # The same again: nothing has changed, nobody is told.
    assert (await ask("GET", OVERVIEW))["troubles"] == [alert]
    await database.execute("UPDATE processes SET ready = true, problem = NULL WHERE process_id = $1", writer)

    async def well() -> bool:
        return bool((await ask("GET", OVERVIEW))["verdict"]["level"] == "good")

    await wait_until(well, what="the disk to be well again")


async def test_a_disk_that_was_nearly_full_and_is_full_is_red_though_its_alert_cannot_be_changed(
    ask: Ask, database: Database, writer: UUID
) -> None:
    await database.execute(
        """
        INSERT INTO troubles (signal, subject_kind, subject_id, title, level, reason, advice, since)
        VALUES ('database', 'database', 'database', 'database', 'watch', 'nearly full', 'make room', now())
        """
    )
    overview = await ask("GET", OVERVIEW)
    (alert,) = overview["troubles"]
    assert (alert["level"], alert["reason"]) == ("act", f"reads wait and nothing is stored: {FULL}")
    assert [overview["verdict"][name] for name in ("level", "act", "watch")] == ["act", 1, 0]


async def test_what_can_be_kept_is_one_alert_and_stays_for_its_time(
    ask: Ask, database: Database, evaluation: Evaluation, writer: UUID
) -> None:
    assert await evaluation.look(turn_s=0)
    overview = await ask("GET", OVERVIEW)
    (alert,) = [each for each in overview["troubles"] if each["signal"] == "database"]
    assert alert["trouble_id"] > 0
    assert overview["verdict"]["act"] == sum(each["level"] == "act" for each in overview["troubles"])


async def test_an_evaluation_that_cannot_write_says_so_in_its_process_row(
    process: Process, database: Database, writer: UUID
) -> None:
    evaluation = Evaluation(process)
    await database.execute("ALTER TABLE troubles ADD CONSTRAINT none CHECK (false) NOT VALID")
    running = asyncio.create_task(evaluation.run())
    said = process.concerns["evaluation"]
    try:
        await wait_until(lambda: said() is not None, what="its complaint")
        assert "the states are not looked at" in (said() or "")
        await database.execute("ALTER TABLE troubles DROP CONSTRAINT none")
        await wait_until(lambda: said() is None, what="its recovery")
    finally:
        process.stop.ask()
        await running


async def test_the_database_is_shown_with_what_waits_and_what_is_used(ask: Ask, database: Database) -> None:
    await database.execute(
        """
        INSERT INTO inbox (gateway_id, part_id, forwarder_id, fence, session_id, stream_id, stream_epoch, received_at,
                           event_count, seqs, raw_frames, reader_timestamps, read_types, tag_ids, read_ats,
                           parse_errors)
        SELECT gen_random_uuid(), n, 'start', 1, gen_random_uuid(), gen_random_uuid(), 1, now() - interval '8 s', 1,
               '{1}', '{x}', '{x}', '{raw}', '{NULL}', '{NULL}', '{NULL}'
        FROM generate_series(1, 2) AS n
        """
    )
    for commit_ms in (None, 3.0, 12.5):
        writer_id = await add_process(database, "writer")
        await database.execute(
            "UPDATE processes SET commit_ms = $2 WHERE process_id = $1", writer_id, commit_ms
        )
    shown = (await ask("GET", OVERVIEW))["database"]
    assert shown["commit_ms"] == 12.5
    assert shown["waiting_parts"] == 2
    assert shown["waiting_s"] >= 8
    assert shown["size_bytes"] > 1_000_000
    assert 0 < shown["connections"] <= shown["connections_max"]
    # The tests' Postgres runs on this machine, and its superuser asks.
    assert shown["free_bytes"] > 0
