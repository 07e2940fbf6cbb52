"""Whether reads are stored: found by reading, told though nothing can be written."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from api.alerts.conditions import Condition, Finding, Level
from api.alerts.evaluator import Evaluation
from api.alerts.rules import database as rules
from api.alerts.rules.database import RULE
from api.storage import store
from api.storage.facts import StorageFacts
from shared.db.errors import DISK_FULL
from shared.runtime.process import Process
from tests.api.conftest import Ask, Client
from tests.api.looking import looked
from tests.api.seeds import Database, add_process
from tests.waiting import wait_until

OVERVIEW = "/api/v1/overview"
FULL = f"{DISK_FULL}: could not extend file"
GIB = 2**30
NOW = datetime(2026, 5, 3, tzinfo=UTC)


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
        stored_per_second=0.2,
        evaluated_at=NOW,
        unseen=None,
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
    (finding,) = RULE.findings([facts])
    said = next((each for each in finding.conditions if each.after_s == 0), None)
    assert (said and said.level) == level
    assert words in (said.reason if said else "")


@pytest.mark.parametrize(
    ("facts", "hanging"),
    [
        (storage(waiting_s=60, stored_per_second=0.2), False),
        (storage(waiting_s=4.9, stored_per_second=0), False),
        (storage(waiting_s=5, stored_per_second=0), True),
    ],
)
def test_a_writer_hangs_when_reads_wait_and_it_takes_none(facts: StorageFacts, hanging: bool) -> None:
    (finding,) = RULE.findings([facts])
    assert ("act" in [each.level for each in finding.conditions]) == hanging


def unkept(facts: StorageFacts, now: datetime) -> Finding | None:
    assert RULE.unkept is not None
    return RULE.unkept(facts, now)


@pytest.mark.parametrize(
    ("age_s", "problem", "said"),
    [
        (14.9, "why", None),
        (15, "why", ("watch", "why")),
        (29.9, None, ("watch", "the states are not looked at")),
        (30, "why", ("act", "why")),
    ],
)
def test_states_that_are_not_looked_at_are_amber_and_then_red(
    age_s: float, problem: str | None, said: tuple[Level, str] | None
) -> None:
    finding = unkept(storage(unseen=problem), NOW + timedelta(seconds=age_s))
    assert (finding and finding.conditions) == (said and [Condition(said[0], 0, said[1], NOW)])


def test_what_no_look_can_keep_is_red_at_once_and_what_runs_short_waits_for_the_look() -> None:
    finding = unkept(storage(problem=FULL, storing=0), NOW)
    assert finding is not None
    assert finding.conditions == [Condition("act", 0, f"reads wait and nothing is stored: {FULL}", NOW)]
    assert unkept(storage(connections=90), NOW) is None


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
    evaluation.close()


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


async def add_parts(database: Database, *, waiting: str) -> None:
    """Add two parts to the inbox that wait for as long."""
    await database.execute(
        """
        INSERT INTO inbox (gateway_id, part_id, forwarder_id, fence, session_id, stream_id, stream_epoch, received_at,
                           event_count, seqs, raw_frames, reader_timestamps, read_types, tag_ids, read_ats,
                           parse_errors)
        SELECT gen_random_uuid(), n, 'start', 1, gen_random_uuid(), gen_random_uuid(), 1, now() - $1::text::interval,
               1, '{1}', '{x}', '{x}', '{raw}', '{NULL}', '{NULL}', '{NULL}'
        FROM generate_series(1, 2) AS n
        """,
        waiting,
    )


HELD = """
    INSERT INTO troubles (signal, subject_kind, subject_id, title, level, reason, advice, since)
    VALUES ('receiver_gone', 'receiver', 'nobody', 'receiver nobody', 'good', 'noticed', 'none', now())
"""


async def test_the_page_sees_for_itself_that_nobody_looks_at_the_states(
    process: Process,
    client: Client,
    ask: Ask,
    database: Database,
    database_url: str,
    *,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Somebody sleeps in a transaction that holds a row of `troubles`, which every look must change."""
    monkeypatch.setattr(rules, "UNSEEN_WATCH_S", 0.5)
    monkeypatch.setattr(rules, "UNSEEN_ACT_S", 4.0)

    async def of_level(level: str) -> Any:
        # One answer that was too late on a busy machine is no answer yet.
        async with client.get(OVERVIEW) as answer:
            said = (await answer.json())["verdict"] if answer.status == 200 else None
        return said if said and said["level"] == level else None

    async def dead() -> Any:
        said = await of_level("act")
        return said if said and "lock timeout" in said["headline"] else None

    async def well() -> bool:
        return all(each["signal"] != "database" for each in (await ask("GET", OVERVIEW))["troubles"])

    # Nobody looks yet, and nobody says why.
    said = await wait_until(lambda: of_level("watch"), what="a missing look to be seen")
    assert said["headline"] == "the states are not looked at · database"
    # From here on somebody does, once a second; and the page asks for the database's facts once a second.
    monkeypatch.setattr(rules, "UNSEEN_WATCH_S", 4.0)
    looking = asyncio.create_task(Evaluation(process).run())
    renewing = asyncio.create_task(process.presence.run())
    try:
        await wait_until(lambda: of_level("good"), what="a look")
        await database.execute(HELD)
        holder = await asyncpg.connect(database_url)
        try:
            async with holder.transaction():
                await holder.execute("SELECT FROM troubles FOR UPDATE")
                said = await wait_until(dead, what="the dead looks to be seen")
                assert said["headline"].startswith("the states are not looked at: ")
                assert (said["act"], said["watch"]) == (1, 0)
        finally:
            await holder.close()
        await wait_until(well, what="the looks to go on")
    finally:
        process.stop.ask()
        process.last_stop.ask()
        await asyncio.gather(looking, renewing)


async def test_a_writer_that_is_ready_and_hangs_is_red(
    ask: Ask, database: Database, evaluation: Evaluation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "HANGS_AFTER_S", 0.0)
    writer_id = await add_process(database, "writer")
    await add_parts(database, waiting="8 s")
    rate = "UPDATE processes SET events_per_second = $2 WHERE process_id = $1"

    async def said() -> tuple[str, str]:
        (alert,) = [
            each for each in (await looked(ask, evaluation))["troubles"] if each["signal"] == "database"
        ]
        return alert["level"], alert["reason"]

    await database.execute(rate, writer_id, 0.2)
    assert await said() == ("watch", "reads wait for more than 5 s until they are stored")
    await database.execute(rate, writer_id, 0.0)
    assert await said() == ("act", "reads have waited for more than 5 s and nothing is stored")


async def test_what_is_free_is_that_of_the_disk_that_is_mounted_where_postgres_does_not_tell(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert store.disk(None) == (None, None)
    assert store.disk(str(tmp_path / "closed")) == (None, None)
    # Every machine has one that is mounted.
    monkeypatch.setattr(store, "MOUNTED", "/proc")
    assert store.disk(None) == store.disk(str(tmp_path / "closed")) == shutil.disk_usage("/proc")[::2]
    # What merely has its name is on some other disk.
    monkeypatch.setattr(store, "MOUNTED", str(tmp_path))
    assert store.disk(None) == (None, None)


async def test_the_database_is_shown_with_what_waits_and_what_is_used(ask: Ask, database: Database) -> None:
    await add_parts(database, waiting="8 s")
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
