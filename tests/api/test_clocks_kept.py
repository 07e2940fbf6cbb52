"""What is kept of readers' clocks: lines for plots, drift, steps, and times that are corrected by it."""

import csv
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import pytest

from api.clocks.looking import ClockLooks
from api.clocks.store import looks as store
from shared.protocol.ipico import compose
from shared.runtime.process import Process
from tests.api.clocked import BERLIN, HOUR, MINUTE, SECOND, Track
from tests.api.conftest import Ask, Client, Noted
from tests.api.seeds import Database, add_events, add_process, add_stream

CLOCKS = "/api/v1/clocks"
NEAR = timedelta(milliseconds=15)  # a reader says hundredths


@pytest.fixture
async def track(database: Database, process: Process, ask: Ask) -> AsyncIterator[Track]:
    track = Track(database, process, ask, await add_process(database, "gateway"))
    yield track
    track.close()


async def ago(database: Database, **since: float) -> datetime:
    now: datetime = await database.fetchval("SELECT date_trunc('second', now())")
    return now - timedelta(**since)


async def shown(ask: Ask, stream_id: UUID) -> Any:
    (clock,) = (await ask("GET", f"{CLOCKS}?stream_id={stream_id}&hours=6"))["clocks"]
    return clock


async def test_a_drift_is_known_after_an_hour_and_drawn(track: Track, ask: Ask, database: Database) -> None:
    track.zoned(BERLIN)
    stream_id = await track.reader("reader")
    began = await ago(database, minutes=75)
    for minutes in range(0, 75, 3):
        await track.reads(stream_id, 200 + round(minutes * 60 * 0.05), at=began + timedelta(minutes=minutes))
        await track.look_at_clocks()
    clock = await shown(ask, stream_id)
    assert abs(clock["drift_ppm"] - 50) < 2 * clock["drift_error_ppm"] < 10
    assert (clock["offset_ms"], clock["time_zone"], clock["zone_unknown"]) == (410, BERLIN, False)
    drawn = [each for each in clock["offsets_ms"] if each is not None]
    assert drawn == sorted(drawn)
    assert 12 <= len(drawn) <= 18  # of 72 bins of 5 minutes
    assert 200 <= drawn[0] <= 220
    assert 380 <= drawn[-1] <= 410
    card = (await track.look())["reader"]
    assert card["level"] == "watch"
    assert re.search(r"and gains \d\d ppm: 0.5 s ahead by \S+Z$", " ".join(card["reasons"]))


# Far behind, and so little ahead that what it said before it says again.
BEFORE_MS = [-8 * MINUTE, 10 * SECOND]


async def set_in_mid_race(
    track: Track, database: Database, before_ms: int
) -> tuple[UUID, datetime, list[datetime]]:
    """Have a reader that is off be set right; return the moment, and when all its reads were made. Some of
    before come twenty minutes late.
    """
    track.zoned(BERLIN)
    stream_id = await track.reader("reader")
    began = await ago(database, minutes=40)
    made = []
    for at in range(0, 120, 10):
        ahead_ms = before_ms if at < 60 else 0
        # The last of each look is late by more than it takes to make the next look.
        made += await track.reads(
            stream_id, ahead_ms, at=began + timedelta(seconds=at), held_s=(0, 0.3, 0, 0)
        )
        await track.look_at_clocks()
    made += await track.reads(stream_id, before_ms, at=began + timedelta(seconds=20), held_s=[20 * 60.0] * 5)
    await track.look_at_clocks()
    return stream_id, began + timedelta(seconds=60), made


@pytest.mark.parametrize("before_ms", BEFORE_MS)
async def test_a_step_is_kept_at_its_moment_with_both_values(
    track: Track, ask: Ask, database: Database, before_ms: int
) -> None:
    stream_id, at, _ = await set_in_mid_race(track, database, before_ms)
    clock = await shown(ask, stream_id)
    ((step,), was) = clock["steps"], clock["was_ms"]
    assert (step["was_ms"], step["is_ms"], was) == (before_ms, 0, before_ms)
    # Between the last read that has the old time and the first that has the new one.
    assert timedelta(seconds=-7) < datetime.fromisoformat(step["at"]) - at <= timedelta(0)


async def test_at_a_busy_mat_a_step_is_at_its_moment_too(track: Track, ask: Ask, database: Database) -> None:
    """Thousands of reads come between the moment and the look that knows of it."""
    track.zoned(BERLIN)
    stream_id = await track.reader("reader")
    began = await ago(database, minutes=10)
    for at in (0, 10, 20):
        await track.reads(stream_id, HOUR, at=began + timedelta(seconds=at), held_s=(0, 0))
        await track.look_at_clocks()
    made = [began + timedelta(seconds=30, milliseconds=10 * n) for n in range(3000)]
    shown_at = [each.astimezone(ZoneInfo(BERLIN)).replace(tzinfo=None) for each in made]
    lines = [compose(reader_id="40", tag_id="000000012345", read_at=each) for each in shown_at]
    for part in (0, 1500):
        given = lines[part : part + 1500]
        await add_events(
            database,
            stream_id,
            given,
            first_seq=1000 + part,
            received_at=made[part],
            step=timedelta(milliseconds=10),
        )
        await track.look_at_clocks()
    (step,) = (await shown(ask, stream_id))["steps"]
    assert (step["was_ms"], step["is_ms"]) == (HOUR, 0)
    # Between the last read that has the old time and the first that has the new one.
    moment = datetime.fromisoformat(step["at"]) - began
    assert timedelta(seconds=21) <= moment <= timedelta(seconds=30)


@pytest.mark.parametrize("before_ms", BEFORE_MS)
async def test_corrected_times_are_those_of_the_clock_of_then(
    track: Track, ask: Ask, client: Client, database: Database, before_ms: int
) -> None:
    stream_id, _, made = await set_in_mid_race(track, database, before_ms)
    page = await ask("GET", f"/api/v1/streams/{stream_id}/reads?order=asc&corrected=true")
    corrected = [datetime.fromisoformat(each["corrected_at"]) for each in page["reads"]]
    assert len(corrected) == len(made)
    assert [each for each in zip(corrected, made, strict=True) if abs(each[0] - each[1]) > NEAR] == []
    async with client.get(f"/api/v1/streams/{stream_id}/export.csv?corrected=true") as answer:
        rows = [*csv.DictReader((await answer.text()).splitlines())]
    assert [datetime.fromisoformat(each["corrected_at"]) for each in rows] == corrected
    # By the wall clock of the zone, and what is stored is as it was.
    offset = "+02:00" if "+02:00" in rows[0]["corrected_at"] else "+01:00"
    assert all(each["corrected_at"].endswith(offset) for each in rows)
    raw = (await ask("GET", f"/api/v1/streams/{stream_id}/reads?order=asc"))["reads"]
    assert {each["corrected_at"] for each in raw} == {None}
    assert [each["raw_read_line"] for each in raw] == [each["raw_read_line"] for each in rows]


@pytest.mark.parametrize("more", ["", "&participants=true"])
@pytest.mark.parametrize("epoch", ["", "/epochs/1"])
async def test_a_corrected_time_stands_behind_all_columns_and_is_empty_where_nobody_knows(
    client: Client, database: Database, epoch: str, more: str
) -> None:
    stream_id = await add_stream(database)
    await add_events(database, stream_id, ["no read"])
    async with client.get(f"/api/v1/streams/{stream_id}{epoch}/export.csv?corrected=true{more}") as answer:
        (row,) = csv.DictReader((await answer.text()).splitlines())
    assert [*row][-1] == "corrected_at"
    assert row["corrected_at"] == ""
    assert ("bib" in row) == bool(more)


NIGHTS = [datetime(2026, 3, 29, 1, tzinfo=UTC), datetime(2026, 10, 25, 1, tzinfo=UTC)]


@pytest.mark.parametrize("night", NIGHTS)
@pytest.mark.parametrize("follows", [True, False])
async def test_times_are_right_through_both_nights_of_summer_time(
    track: Track, ask: Ask, night: datetime, follows: bool
) -> None:
    """A read of the hour that comes twice is of the one in which it was made, also where it comes late."""
    track.zoned(BERLIN)
    stream_id = await track.reader("reader")
    made = []
    for at in range(-65, 65, 10):
        moment = night + timedelta(seconds=at)
        # Who does not follow stays by the clock of before.
        zone = BERLIN if follows else f"Etc/GMT-{1 if night.month == 3 else 2}"
        made += await track.reads(stream_id, -300, zone=zone, at=moment, held_s=(0, 0))
        await track.look_at_clocks()
    made += await track.reads(stream_id, -300, zone=zone, at=night - timedelta(seconds=30), held_s=[600])
    await track.look_at_clocks()
    page = await ask("GET", f"/api/v1/streams/{stream_id}/reads?order=asc&corrected=true")
    corrected = [datetime.fromisoformat(each["corrected_at"]) for each in page["reads"]]
    assert [each for each in zip(corrected, made, strict=True) if abs(each[0] - each[1]) > NEAR] == []


async def test_a_forwarder_has_a_zone_of_its_own_over_http(track: Track, ask: Ask, noted: Noted) -> None:
    """A box that was set up abroad, among others that agree."""
    path = "/api/v1/forwarders/abroad/time-zone"
    await ask("PUT", path, json={"time_zone": "America/New_York"}, status=404)
    right = {"one": 0, "other": 0, "third": 0}
    await track.told(right)
    cards = await track.told({"abroad": 0}, zone="America/New_York")
    assert abs(cards["abroad"]["clock_offset_ms"]) >= 5 * HOUR
    assert await ask("GET", path) == {"forwarder_id": "abroad", "time_zone": None}
    given = await ask("PUT", path, json={"time_zone": "america/new_york", "expected_time_zone": None})
    assert given == {"forwarder_id": "abroad", "time_zone": "America/New_York"}
    await noted("forwarder_zone_set", forwarder_id="abroad", time_zone="America/New_York")
    for _ in range(2):  # at once, and by what is read from then on
        cards = await track.look()
        assert {name: card["clock_offset_ms"] for name, card in cards.items()} == right | {"abroad": 0}
        await track.reads(UUID(cards["abroad"]["stream_id"]), 0, zone="America/New_York")
    refused = await ask("PUT", path, json={"expected_time_zone": None}, status=409)
    assert refused["details"] == {"time_zone": "America/New_York"}
    await ask("PUT", path, json={"time_zone": None})
    assert abs((await track.look())["abroad"]["clock_offset_ms"]) >= 5 * HOUR


@pytest.mark.parametrize("wrong", ["Mars/Base", "CEST", "", "localtime"])
async def test_what_is_no_zone_is_refused_with_an_example(track: Track, ask: Ask, wrong: str) -> None:
    await track.reader("box")
    answer = await ask("PUT", "/api/v1/forwarders/box/time-zone", json={"time_zone": wrong}, status=400)
    assert "like Europe/Berlin" in answer["message"]


async def test_a_zone_that_is_given_later_makes_nothing_wrong_that_was_kept(
    track: Track, ask: Ask, database: Database
) -> None:
    stream_id = await track.reader("reader")
    began = await ago(database, minutes=30)
    for minutes in range(0, 20, 3):
        await track.reads(stream_id, 300, at=began + timedelta(minutes=minutes))
        await track.look_at_clocks()
    unknown = await shown(ask, stream_id)
    assert (unknown["offset_ms"], unknown["zone_unknown"], {*unknown["offsets_ms"]}) == (None, True, {None})
    track.zoned(BERLIN)
    await track.look_at_clocks()
    clock = await shown(ask, stream_id)
    assert (clock["offset_ms"], clock["zone_unknown"]) == (300, False)
    assert {*clock["offsets_ms"]} == {None, 300}
    assert clock["steps"] == []


async def test_one_process_looks_at_a_time_and_what_nobody_needs_goes(
    process: Process, database: Database, track: Track
) -> None:
    track.zoned(BERLIN)
    stream_id = await track.reader("reader")
    await track.reads(stream_id, 0)
    await track.look_at_clocks()
    await database.execute("UPDATE clocks_turn SET looked_at = now() + interval '1 hour'")
    assert not await ClockLooks(process).look()
    await database.execute("UPDATE clocks_turn SET looked_at = '-infinity'")
    await database.execute(
        """
        INSERT INTO reader_clock_marks
        SELECT $1, now() - n * interval '2 minutes', 0, false FROM generate_series(1, $2) AS n
        """,
        stream_id,
        store.KEPT + 3,
    )
    await track.look_at_clocks()
    kept = "SELECT count(*) FROM reader_clock_marks"
    assert await database.fetchval(kept) == store.KEPT + 3  # not at each look
    await database.execute("UPDATE clocks_turn SET tidied_at = '-infinity'")
    await track.look_at_clocks()
    assert await database.fetchval(kept) == store.KEPT
    await database.execute("DELETE FROM streams")
    await track.look_at_clocks()
    assert await database.fetchval(kept) == 0
    assert await database.fetchval("SELECT count(*) FROM reader_clocks") == 0


async def test_the_worst_clocks_are_shown_and_the_others_counted(
    track: Track, ask: Ask, database: Database
) -> None:
    track.zoned(BERLIN)
    await track.told({f"reader {n}": -n * SECOND for n in range(26)})
    found = await ask("GET", CLOCKS)
    assert (len(found["clocks"]), found["left_out"], found["bin_s"]) == (24, 2, 600)
    assert [each["offset_ms"] for each in found["clocks"]] == [-n * SECOND for n in range(25, 1, -1)]
    assert (await ask("GET", f"{CLOCKS}?stream_id={uuid4()}"))["clocks"] == []
