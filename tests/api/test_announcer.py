"""The announcer: each who comes in once, in order, and what a run is; as operators and as everybody see it."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from shared.runtime.process import Process
from tests.api.announcing import (
    CONFIG,
    PUBLIC,
    RESET,
    STATE,
    add_roster,
    chips_of,
    come_in,
    enable,
    finish_line,
    look,
    numbered,
)
from tests.api.conftest import Ask, Noted
from tests.api.seeds import SECOND, START, Database, add_race


@pytest.fixture
async def finish(database: Database) -> UUID:
    """The stream of a finish line."""
    return await finish_line(database)


# --- how it is set ---------------------------------------------------------------------------------------


async def test_it_is_disabled_at_first(ask: Ask) -> None:
    config = await ask("GET", CONFIG)
    assert config.pop("updated_at")
    assert config == {
        "enabled": False,
        "enabled_until": None,
        "selected_stream_ids": [],
        "max_list_size": 25,
        "public_enabled": False,
    }
    assert await ask("GET", PUBLIC) == {
        "public_enabled": False,
        "finisher_count": 0,
        "max_list_size": 25,
        "rows": [],
    }


async def test_of_two_who_set_it_the_second_is_told(ask: Ask, finish: UUID) -> None:
    shown = (await ask("GET", CONFIG))["updated_at"]
    wanted = {"enabled": False, "max_list_size": 7, "expected_updated_at": shown}
    first = await ask("PUT", CONFIG, json=wanted)
    refused = await ask("PUT", CONFIG, status=409, json={**wanted, "max_list_size": 8})
    assert refused["code"] == "CONFLICT"
    assert (await ask("GET", CONFIG))["max_list_size"] == 7
    await ask("PUT", CONFIG, json={**wanted, "max_list_size": 8, "expected_updated_at": first["updated_at"]})
    # A script need not say.
    assert (await enable(ask, finish))["enabled"]


async def test_enabled_it_is_for_a_day_and_saving_it_again_makes_that_no_longer(
    ask: Ask, database: Database, finish: UUID, noted: Noted
) -> None:
    config = await enable(ask, finish)
    assert (config["public_enabled"], config["selected_stream_ids"]) == (True, [str(finish)])
    remaining = await database.fetchval("SELECT enabled_until - now() FROM announcer")
    assert timedelta(hours=23, minutes=59) < remaining <= timedelta(hours=24)
    await database.execute("UPDATE announcer SET enabled_until = now() + interval '1 hour'")
    until = (await ask("GET", CONFIG))["enabled_until"]
    assert (await enable(ask, finish, size=10))["enabled_until"] == until
    assert (await noted("announcer_set", max_list_size=10))["by"] == "no token"


@pytest.mark.parametrize(("given", "kept"), [(0, 1), (-7, 1), (1, 1), (500, 500), (501, 500), (10**12, 500)])
async def test_a_list_size_is_clamped(ask: Ask, given: int, kept: int) -> None:
    config = await ask("PUT", CONFIG, json={"enabled": False, "max_list_size": given})
    assert config["max_list_size"] == kept


async def test_a_stream_that_is_named_twice_is_selected_once_in_the_order_given(
    ask: Ask, database: Database, finish: UUID
) -> None:
    other = await finish_line(database, "other")
    config = await enable(ask, other, finish, other)
    assert config["selected_stream_ids"] == [str(other), str(finish)]


async def test_enabled_without_a_stream_or_with_an_unknown_one_is_refused_and_changes_nothing(
    ask: Ask, finish: UUID
) -> None:
    gone = uuid4()
    assert "at least one stream" in (await enable(ask, status=400))["message"]
    refused = await enable(ask, finish, gone, status=400)
    assert str(gone) in refused["message"]
    assert refused["details"] == {"unknown": [str(gone)]}
    assert not (await ask("GET", CONFIG))["enabled"]


async def test_disabled_it_drops_streams_that_are_gone(ask: Ask, finish: UUID) -> None:
    wanted = {"enabled": False, "max_list_size": 5, "selected_stream_ids": [str(uuid4()), str(finish)]}
    assert (await ask("PUT", CONFIG, json=wanted))["selected_stream_ids"] == [str(finish)]


async def test_saving_the_same_changes_nothing(ask: Ask, database: Database, finish: UUID) -> None:
    config = await enable(ask, finish)
    assert await enable(ask, finish) == config
    assert await database.fetchval("SELECT count(*) FROM activity WHERE event = 'announcer_set'") == 1


# --- who is announced ------------------------------------------------------------------------------------


async def test_who_comes_in_is_announced_once_with_ids_from_one_on(
    ask: Ask, process: Process, database: Database, finish: UUID
) -> None:
    await enable(ask, finish)
    await come_in(database, finish, [1, 2, 1, 3])
    assert await look(process) == 3
    await come_in(database, finish, [2, 4], first_seq=5)
    assert await look(process) == 1
    assert await look(process) == 0
    assert await chips_of(ask) == [1, 2, 3, 4]
    assert await numbered(database) == [1, 2, 3, 4]
    assert (await ask("GET", STATE))["finisher_count"] == 4


async def test_nothing_of_before_the_run_is_announced(
    ask: Ask, process: Process, database: Database, finish: UUID
) -> None:
    await come_in(database, finish, [1])
    await enable(ask, finish)
    assert await look(process) == 0
    # Who was here before is new to the run.
    await come_in(database, finish, [2, 1], first_seq=2)
    await look(process)
    assert await chips_of(ask) == [2, 1]


async def test_the_list_is_as_long_as_it_may_be_and_the_count_goes_on(
    ask: Ask, process: Process, database: Database, finish: UUID
) -> None:
    await enable(ask, finish, size=2)
    await come_in(database, finish, range(1, 6))
    await look(process)
    state = await ask("GET", PUBLIC)
    assert [row["announcement_id"] for row in state["rows"]] == [5, 4]
    assert (state["finisher_count"], state["max_list_size"]) == (5, 2)


async def test_more_than_a_page_comes_in_order_and_without_a_gap(
    ask: Ask, process: Process, database: Database, finish: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.announcer.store.announcements.PAGE", 2)
    await enable(ask, finish)
    await come_in(database, finish, range(1, 8))
    assert await look(process) == 7
    assert await chips_of(ask) == [1, 2, 3, 4, 5, 6, 7]


async def test_while_another_process_is_at_it_nobody_waits_for_it_and_nobody_is_announced_twice(
    ask: Ask, process: Process, database: Database, finish: UUID
) -> None:
    await enable(ask, finish)
    await come_in(database, finish, [1])
    async with database.transaction():
        await database.execute("SELECT FROM announcer FOR UPDATE")
        assert await look(process) == 0
        assert await numbered(database) == []
    assert await look(process) == 1


async def test_positions_that_an_administrator_has_deleted_are_passed_over(
    ask: Ask, process: Process, database: Database, finish: UUID
) -> None:
    await enable(ask, finish)
    await come_in(database, finish, [1, 2])
    await database.execute("DELETE FROM events")
    assert await look(process) == 0
    await come_in(database, finish, [3], first_seq=3)
    assert await look(process) == 1


async def test_of_several_streams_who_was_received_first_is_first(
    ask: Ask, process: Process, database: Database, finish: UUID
) -> None:
    other = await finish_line(database, "other")
    await enable(ask, other, finish)
    await come_in(database, finish, [1, 3], step=4 * SECOND)
    await come_in(database, other, [2, 4], at=START + SECOND, step=4 * SECOND)
    await look(process)
    assert await chips_of(ask) == [1, 2, 3, 4]


async def test_lines_without_a_chip_are_nobody(
    ask: Ask, process: Process, database: Database, finish: UUID
) -> None:
    await enable(ask, finish)
    await database.execute("UPDATE streams SET last_position = 1")
    await database.execute(
        """
        INSERT INTO events (stream_id, stream_epoch, seq, position, received_at, raw_frame, reader_timestamp, read_type)
        VALUES ($1, 1, 1, 1, now(), 'x', '', 'raw')
        """,
        finish,
    )
    assert await look(process) == 0
    assert await database.fetchval("SELECT position FROM announcer_streams") == 1


# --- whose chips they are --------------------------------------------------------------------------------


async def test_two_chips_of_one_bib_are_one_finisher(ask: Ask, process: Process, database: Database) -> None:
    race_id = await add_race(database)
    await add_roster(database, race_id, {7: ("Ada", [1, 2]), 8: ("Alan", [3])})
    finish = await finish_line(database, race_id=race_id)
    await enable(ask, finish)
    await come_in(database, finish, [2, 1, 3])
    await look(process)
    await come_in(database, finish, [1], first_seq=4)
    await look(process)
    rows = (await ask("GET", STATE))["rows"]
    assert [(row["bib"], row["display_name"]) for row in rows] == [(8, "Alan Doe"), (7, "Ada Doe")]


async def test_who_was_announced_without_a_name_gets_it_and_is_not_announced_again(
    ask: Ask, process: Process, database: Database
) -> None:
    race_id = await add_race(database)
    finish = await finish_line(database, race_id=race_id)
    await enable(ask, finish)
    await come_in(database, finish, [1])
    await look(process)
    (row,) = (await ask("GET", PUBLIC))["rows"]
    assert (row["bib"], row["display_name"]) == (None, "Unknown")
    await add_roster(database, race_id, {7: ("Ada", [1, 2])})
    await come_in(database, finish, [1, 2], first_seq=2)
    assert await look(process) == 0
    (row,) = (await ask("GET", PUBLIC))["rows"]
    assert (row["bib"], row["display_name"]) == (7, "Ada Doe")


async def test_who_was_announced_by_name_is_not_announced_again_when_the_file_is_taken_back(
    ask: Ask, process: Process, database: Database
) -> None:
    race_id = await add_race(database)
    await add_roster(database, race_id, {7: ("Ada", [1])})
    finish = await finish_line(database, race_id=race_id)
    await enable(ask, finish)
    await come_in(database, finish, [1])
    assert await look(process) == 1
    await database.execute("DELETE FROM chips")
    await come_in(database, finish, [1], first_seq=2)
    assert await look(process) == 0


async def test_a_chip_without_a_person_has_its_bib(ask: Ask, process: Process, database: Database) -> None:
    race_id = await add_race(database)
    await add_roster(database, race_id, {7: ("Ada", [1])})
    await database.execute("DELETE FROM participants")
    finish = await finish_line(database, race_id=race_id)
    await enable(ask, finish)
    await come_in(database, finish, [1])
    await look(process)
    (row,) = (await ask("GET", PUBLIC))["rows"]
    assert (row["bib"], row["display_name"]) == (7, "Unknown")


async def test_the_same_chip_in_two_races_is_two_people(
    ask: Ask, process: Process, database: Database
) -> None:
    lines = []
    for n, name in enumerate(("Ada", "Alan")):
        race_id = await add_race(database, name)
        await add_roster(database, race_id, {7 + n: (name, [1])})
        lines.append(await finish_line(database, name, race_id=race_id))
    await enable(ask, *lines)
    await come_in(database, lines[0], [1])
    await come_in(database, lines[1], [1], at=START + SECOND)
    assert await look(process) == 2


# --- runs ------------------------------------------------------------------------------------------------


async def run_id(database: Database) -> int:
    found: int = await database.fetchval("SELECT run_id FROM announcer")
    return found


async def test_a_run_begins_with_another_set_of_streams_and_a_reset_and_not_with_their_order_or_a_size(
    ask: Ask, process: Process, database: Database, finish: UUID, noted: Noted
) -> None:
    other = await finish_line(database, "other")
    await enable(ask, finish, other)
    await come_in(database, finish, [1])
    await look(process)
    began = await run_id(database)
    await enable(ask, other, finish)
    await enable(ask, other, finish, size=3)
    assert await run_id(database) == began
    assert await chips_of(ask) == [1]
    await enable(ask, other)
    assert await run_id(database) == began + 1
    assert await chips_of(ask) == []
    await ask("POST", RESET, status=204)
    assert await run_id(database) == began + 2
    assert (await noted("announcer_reset"))["run_id"] == began + 2


async def test_after_a_reset_who_has_come_in_may_come_in_again(
    ask: Ask, process: Process, database: Database, finish: UUID
) -> None:
    await enable(ask, finish)
    await come_in(database, finish, [1, 2])
    await look(process)
    # Stored and not yet looked at: of before the reset as well.
    await come_in(database, finish, [3], first_seq=3)
    await ask("POST", RESET, status=204)
    assert await look(process) == 0
    await come_in(database, finish, [2], first_seq=4)
    await look(process)
    assert await chips_of(ask) == [2]
    assert await numbered(database) == [1]


async def test_the_last_two_runs_are_kept(
    ask: Ask, process: Process, database: Database, finish: UUID
) -> None:
    await enable(ask, finish)
    for n in range(3):
        await come_in(database, finish, [1], first_seq=n + 1)
        await look(process)
        if n < 2:
            await ask("POST", RESET, status=204)
    newest = await run_id(database)
    kept = await database.fetch("SELECT DISTINCT run_id FROM announcements ORDER BY 1")
    assert [row["run_id"] for row in kept] == [newest - 1, newest]


async def test_a_new_epoch_begins_a_run_that_holds_its_first_reads(
    ask: Ask, process: Process, database: Database, finish: UUID, noted: Noted
) -> None:
    await enable(ask, finish)
    await come_in(database, finish, [1, 2])
    await look(process)
    began = await run_id(database)
    await come_in(database, finish, [2, 3], epoch=2)
    assert await look(process) == 2
    assert await run_id(database) == began + 1
    assert await chips_of(ask) == [2, 3]
    assert await numbered(database) == [1, 2]
    said = await noted("announcer_run_began", stream_epoch=2)
    assert (said["stream"], said["run_id"]) == ("finish · 10.0.0.1:10000", began + 1)


async def test_a_new_epoch_of_one_stream_leaves_to_the_old_run_what_others_had_read_by_then(
    ask: Ask, process: Process, database: Database, finish: UUID
) -> None:
    other = await finish_line(database, "other")
    await enable(ask, finish, other)
    # All of it at once, as after a restart: one of the other is received before the new epoch, one after it.
    await come_in(database, other, [1, 2], at=START, step=10 * SECOND)
    await come_in(database, finish, [3], epoch=2, at=START + 5 * SECOND)
    await look(process)
    assert await chips_of(ask) == [3, 2]


async def test_an_epoch_that_is_commanded_begins_a_run_before_it_has_a_read(
    ask: Ask, process: Process, database: Database, finish: UUID
) -> None:
    other = await finish_line(database, "other")
    await enable(ask, finish, other)
    await come_in(database, finish, [1])
    await look(process)
    await come_in(database, other, [9])
    await database.execute("UPDATE streams SET stream_epoch = 2 WHERE stream_id = $1", finish)
    assert await look(process) == 0
    assert await chips_of(ask) == []
    # Late reads of the epoch before, and the first of the new one.
    await come_in(database, finish, [2], first_seq=2)
    await come_in(database, finish, [3], epoch=2)
    await look(process)
    assert await chips_of(ask) == [3]


async def test_late_reads_of_an_older_epoch_are_not_announced(
    ask: Ask, process: Process, database: Database, finish: UUID
) -> None:
    await come_in(database, finish, [1], epoch=3)
    await enable(ask, finish)
    await come_in(database, finish, [4], epoch=2)
    await come_in(database, finish, [5], epoch=3, first_seq=2)
    assert await look(process) == 1
    assert await chips_of(ask) == [5]


async def test_when_its_time_is_over_it_shows_nobody_and_enabling_it_begins_a_day_and_a_run(
    ask: Ask, process: Process, database: Database, finish: UUID
) -> None:
    await enable(ask, finish)
    await come_in(database, finish, [1])
    await look(process)
    began = await run_id(database)
    await database.execute("UPDATE announcer SET enabled_until = now() - interval '1 second'")
    config = await ask("GET", CONFIG)
    assert (config["enabled"], config["public_enabled"]) == (True, False)
    for path in (STATE, PUBLIC):
        state = await ask("GET", path)
        assert (state["finisher_count"], state["rows"]) == (0, [])
    await come_in(database, finish, [2], first_seq=2)
    assert await look(process) == 0
    assert (await enable(ask, finish))["public_enabled"]
    assert await database.fetchval("SELECT enabled_until > now() + interval '23 hours' FROM announcer")
    assert await run_id(database) == began + 1
    assert await look(process) == 0
    assert await chips_of(ask) == []


async def test_disabled_it_shows_nobody(ask: Ask, process: Process, database: Database, finish: UUID) -> None:
    await enable(ask, finish)
    await come_in(database, finish, [1])
    await look(process)
    config = await ask("PUT", CONFIG, json={"enabled": False, "max_list_size": 25})
    assert (config["enabled_until"], config["public_enabled"]) == (None, False)
    assert await chips_of(ask) == []


async def test_a_deleted_stream_is_selected_no_more_and_who_came_in_there_stays_with_his_name(
    ask: Ask, process: Process, database: Database
) -> None:
    race_id = await add_race(database)
    await add_roster(database, race_id, {7: ("Ada", [1])})
    finish, other = await finish_line(database, race_id=race_id), await finish_line(database, "other")
    await enable(ask, finish, other)
    await come_in(database, finish, [1])
    await look(process)
    began = await run_id(database)
    await database.execute("DELETE FROM events")
    await database.execute("DELETE FROM streams WHERE stream_id = $1", finish)
    assert (await ask("GET", CONFIG))["selected_stream_ids"] == [str(other)]
    (row,) = (await ask("GET", PUBLIC))["rows"]
    assert (row["bib"], row["display_name"]) == (7, "Ada Doe")
    await come_in(database, other, [2])
    await look(process)
    assert await run_id(database) == began
    assert await numbered(database) == [1, 2]
    await database.execute("DELETE FROM events")
    await database.execute("DELETE FROM streams")
    assert not (await ask("GET", CONFIG))["public_enabled"]


# --- what everybody sees ---------------------------------------------------------------------------------


async def test_everybody_sees_no_chip_no_stream_and_no_other_time(
    ask: Ask, process: Process, database: Database, finish: UUID
) -> None:
    await enable(ask, finish)
    await come_in(database, finish, [1])
    await look(process)
    state: dict[str, Any] = await ask("GET", PUBLIC)
    assert state.keys() == {"public_enabled", "finisher_count", "max_list_size", "rows"}
    assert state["rows"] == [
        {
            "announcement_id": 1,
            "bib": None,
            "display_name": "Unknown",
            "reader_timestamp": "2026-05-03T10:00:00.000",
        }
    ]
    (row,) = (await ask("GET", STATE))["rows"]
    assert row.keys() == {
        *("stream_id", "seq", "chip_id", "bib", "display_name", "reader_timestamp", "received_at"),
    }
