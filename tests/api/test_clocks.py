"""Readers' clocks: how far off each is, which way, and when nobody can know."""

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from api.alerts.rules.clock import cleared, judged
from api.alerts.stream_facts import ClockFacts
from shared.runtime.process import Process
from tests.api.clocked import BERLIN, DAY, HOUR, MINUTE, SECOND, Track
from tests.api.conftest import Ask
from tests.api.seeds import Database, add_process

NOON = datetime(2026, 5, 3, 12, 0, tzinfo=UTC)


def wall(year: int, month: int, day: int) -> datetime:
    """Noon by a clock without zone."""
    return datetime(year, month, day, 12)  # noqa: DTZ001


def said(**clock: Any) -> list[tuple[str, str]]:
    return list(judged(ClockFacts(**clock)))


# --- what is said ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offset_ms", "words"),
    [
        (-480 * SECOND, "8 min behind"),
        (480 * SECOND, "8 min ahead"),
        (15 * MINUTE, "15 min ahead"),
        (-15 * MINUTE, "15 min behind"),
        (30 * MINUTE, "30 min ahead"),
        (-30 * MINUTE, "30 min behind"),
        (HOUR, "1 h ahead"),
        (-HOUR, "1 h behind"),
        (75 * MINUTE, "1 h 15 min ahead"),
        (-19 * SECOND, "19.0 s behind"),
    ],
)
def test_size_and_side_of_an_offset_are_said_as_they_are(offset_ms: int, words: str) -> None:
    assert said(offset_ms=offset_ms) == [("act", f"the reader's clock is {words}")]


@pytest.mark.parametrize(
    ("offset_ms", "shows", "words"),
    [
        (-12 * HOUR, wall(2026, 5, 3), "12 h behind: it says 3 May 2026"),
        (-DAY, wall(2026, 5, 2), "1 day behind: it says 2 May 2026"),
        (30 * DAY, wall(2026, 6, 2), "30 days ahead: it says 2 June 2026"),
        (-9618 * DAY, wall(2000, 1, 1), "9618 days behind: it says 1 January 2000"),
    ],
)
def test_a_wrong_date_is_said_as_a_date(offset_ms: int, shows: datetime, words: str) -> None:
    assert said(offset_ms=offset_ms, shows=shows) == [("act", f"the reader's clock is {words}")]


def test_without_a_zone_no_side_is_said_and_nothing_is_called_right() -> None:
    assert said(ahead_ms=2 * HOUR - 480 * SECOND) == [
        ("act", "the reader's clock is off by 7 min at least; zone unknown, so which way is not known")
    ]
    assert [level for level, _ in said(ahead_ms=2 * HOUR - 150)] == ["watch"]
    assert said(ahead_ms=2 * HOUR) == []
    assert cleared(ClockFacts(ahead_ms=2 * HOUR)) == "zone unknown"
    assert cleared(ClockFacts(offset_ms=0, ahead_ms=2 * HOUR)) == "the reader's clock is right"


@pytest.mark.parametrize("ahead_ms", [-DAY + 2 * HOUR, 30 * DAY, -9618 * DAY, -13 * HOUR, 15 * HOUR])
def test_without_a_zone_a_date_that_no_zone_has_is_wrong(ahead_ms: int) -> None:
    shows = (NOON + timedelta(milliseconds=ahead_ms)).replace(tzinfo=None)
    ((level, reason),) = said(ahead_ms=ahead_ms, shows=shows)
    assert level == "act"
    assert reason == f"the reader's date is wrong: it says {shows.day} {shows:%B %Y}"


@pytest.mark.parametrize(
    ("was_ms", "is_ms", "words"),
    [
        (HOUR, 0, "set back by 1 h: it was 1 h ahead and is right now"),
        (-480 * SECOND, 20, "set forward by 8 min: it was 8 min behind and is right now"),
        (-20, -300, "set back by 0.3 s: it was right and is 0.3 s behind now"),
    ],
)
def test_a_step_is_said_with_both_values(was_ms: int, is_ms: int, words: str) -> None:
    reasons = said(offset_ms=is_ms, ahead_ms=is_ms, was_ms=was_ms, stepped_at=NOON)
    assert reasons[0] == ("act", f"the reader's clock was {words}")
    unknown = said(ahead_ms=2 * HOUR + is_ms, was_ms=2 * HOUR + was_ms, stepped_at=NOON)
    assert unknown[0][1].endswith("; zone unknown")


@pytest.mark.parametrize(
    ("offset_ms", "ppm", "error_ppm", "words"),
    [
        (100, 50, 3, "gains 50 ppm: 0.5 s ahead by 2026-05-03T14:13:20Z"),
        (-90, -50, 3, "loses 50 ppm: 0.5 s behind by 2026-05-03T14:16:40Z"),
        (100, 50, 30, None),  # nobody knows
        (100, 20, 3, None),  # not before the evening
        (600, 50, 3, None),  # it is red already
    ],
)
def test_a_drift_is_said_with_the_time_at_which_it_will_be_red(
    offset_ms: int, ppm: float, error_ppm: float, words: str | None
) -> None:
    reasons = said(offset_ms=offset_ms, drift_ppm=ppm, drift_error_ppm=error_ppm, told_at=NOON)
    drifts = [reason for level, reason in reasons if "ppm" in reason]
    off = "is 0.1 s ahead and " if abs(offset_ms) >= 100 else ""
    assert drifts == ([] if words is None else [f"the reader's clock {off}{words}"])
    assert {level for level, _ in reasons} <= {"watch", "act" if offset_ms == 600 else "watch"}


# --- what is known ---------------------------------------------------------------------------------------------


@pytest.fixture
async def track(database: Database, process: Process, ask: Ask) -> AsyncIterator[Track]:
    track = Track(database, process, ask, await add_process(database, "gateway"))
    yield track
    track.close()


def offsets(cards: dict[str, Any]) -> dict[str, int | None]:
    return {name: card["clock_offset_ms"] for name, card in cards.items()}


OFF = [
    -480 * SECOND,
    15 * MINUTE,
    -15 * MINUTE,
    30 * MINUTE,
    -30 * MINUTE,
    HOUR,
    -HOUR,
    -12 * HOUR,
    -DAY,
    30 * DAY,
    -9618 * DAY,
]


async def test_among_readers_that_agree_who_is_off_is_known_to_the_second(track: Track) -> None:
    right = {f"right{n}": 0 for n in range(len(OFF) + 1)}
    off = {f"off{n}": ahead_ms for n, ahead_ms in enumerate(OFF)}
    cards = await track.told(right | off)
    assert offsets(cards) == right | off
    assert {cards[name]["level"] for name in right} == {"good"}
    assert {cards[name]["level"] for name in off} == {"act"}


async def test_with_a_zone_given_a_lone_reader_is_known_to_the_second(track: Track) -> None:
    track.zoned(BERLIN)
    alone = (await track.told({"alone": OFF[0]}))["alone"]
    assert (alone["clock_offset_ms"], alone["zone_unknown"], alone["level"]) == (OFF[0], False, "act")
    off = {f"off{n}": ahead_ms for n, ahead_ms in enumerate(OFF)}
    cards = await track.told(off)
    assert offsets(cards) == {"alone": OFF[0]} | off
    assert {card["level"] for card in cards.values()} == {"act"}


async def test_a_lone_reader_is_of_an_unknown_zone_and_never_right(track: Track, ask: Ask) -> None:
    card = (await track.told({"alone": 0}))["alone"]
    assert (card["clock_offset_ms"], card["zone_unknown"], card["level"]) == (None, True, "good")
    found = await ask("GET", f"/api/v1/streams/{card['stream_id']}/metrics")
    assert (found["clock_offset_ms"], found["zone_unknown"]) == (None, True)


async def test_two_that_contradict_each_other_tell_no_zone(track: Track) -> None:
    assert offsets(await track.told({"one": 0, "other": HOUR})) == {"one": None, "other": None}
    assert offsets(await track.told({"third": HOUR})) == {"one": -HOUR, "other": 0, "third": 0}


async def test_who_has_not_read_for_a_day_has_no_vote(track: Track, database: Database) -> None:
    await track.told({"one": 0, "other": 0})
    await database.execute("UPDATE reader_clocks SET told_at = told_at - interval '1 day'")
    assert offsets(await track.look()) == {"one": None, "other": None}


@pytest.mark.parametrize(
    "night", [datetime(2026, 3, 29, 1, tzinfo=UTC), datetime(2026, 10, 25, 1, tzinfo=UTC)]
)
async def test_a_given_zone_holds_through_both_nights_of_summer_time(track: Track, night: datetime) -> None:
    track.zoned(BERLIN)
    stream_id = await track.reader("reader")
    for minutes in (-2, -1, 1, 2):
        await track.reads(stream_id, 0, at=night + timedelta(minutes=minutes))
        cards = await track.look()
    assert offsets(cards) == {"reader": 0}


async def test_another_zone_than_before_counts_at_once_and_is_no_step(track: Track) -> None:
    track.zoned(BERLIN)
    stream_id = await track.reader("reader")
    at = datetime(2026, 5, 3, 12, tzinfo=UTC)
    for seconds in (0, 10):
        await track.reads(stream_id, 0, at=at + timedelta(seconds=seconds))
        await track.look()
    track.zoned("UTC")
    card = (await track.look())["reader"]
    assert card["clock_offset_ms"] == 2 * HOUR
    assert "was set" not in " ".join(card["reasons"])


# --- live reads only -------------------------------------------------------------------------------------------


HELD: list[Callable[[int], float]] = [lambda n: 19.0, lambda n: 60.0 - n]  # noqa: ARG005


@pytest.mark.parametrize("held", HELD)
async def test_reads_that_were_held_back_say_nothing_of_the_clock(
    track: Track, held: Callable[[int], float]
) -> None:
    track.zoned(BERLIN)
    stream_id = await track.reader("reader")
    for _ in range(2):
        await track.reads(stream_id, 0)
        await track.look()
    await track.reads(stream_id, 0, held_s=[held(n) for n in range(40)])
    for _ in range(3):
        cards = await track.look()
        assert (offsets(cards), cards["reader"]["level"]) == ({"reader": 0}, "good")


async def test_reads_that_come_together_are_one_witness_though_a_look_parts_them(track: Track) -> None:
    track.zoned(BERLIN)
    stream_id = await track.reader("reader")
    for after_s, offset in ((10, None), (1, None), (10, -19 * SECOND)):
        await track.reads(stream_id, 0, held_s=[19])
        assert offsets(await track.look(after_s=after_s)) == {"reader": offset}


async def test_a_backlog_of_twenty_minutes_is_no_clock_that_is_behind(track: Track) -> None:
    track.zoned(BERLIN)
    stream_id = await track.reader("reader")
    for minutes in range(20, 0, -2):
        await track.reads(stream_id, 0, held_s=[60.0 * minutes])
        assert offsets(await track.look()) == {"reader": None}
    for _ in range(2):
        await track.reads(stream_id, 0)
        cards = await track.look()
    assert offsets(cards) == {"reader": 0}


async def test_last_sightings_say_nothing_of_the_clock(track: Track) -> None:
    track.zoned(BERLIN)
    stream_id = await track.reader("reader")
    for _ in range(2):
        await track.reads(stream_id, 0, held_s=[0, 0])
        await track.reads(stream_id, 0, held_s=[5] * 3, suffix="LS")
        cards = await track.look()
    for _ in range(3):
        await track.reads(stream_id, 0, held_s=[5], suffix="LS")
        cards = await track.look()
    assert offsets(cards) == {"reader": 0}


@pytest.mark.parametrize("ahead_ms", [-HOUR, -300, 300, HOUR])
async def test_a_clock_that_is_set_in_mid_race_is_seen_as_a_jump_once(
    track: Track, ahead_ms: int, ask: Ask
) -> None:
    track.zoned(BERLIN)
    stream_id = await track.reader("reader")
    seen = []
    for clock_ms in (0, 0, 0, ahead_ms, ahead_ms, ahead_ms, ahead_ms):
        await track.reads(stream_id, clock_ms)
        cards = await track.look()
        reasons = " ".join(cards["reader"]["reasons"])
        seen.append("was set" in reasons)
    assert offsets(cards) == {"reader": ahead_ms}
    assert seen[:3] == [False] * 3
    assert seen[-1]
    assert (await ask("GET", f"/api/v1/streams/{stream_id}/metrics"))["clock_offset_ms"] == ahead_ms


async def test_a_delay_now_and_then_does_not_move_the_clock(track: Track) -> None:
    track.zoned(BERLIN)
    stream_id = await track.reader("reader")
    for held in (0, 0, 0.15, 3, 0.05, 9, 0):
        await track.reads(stream_id, 0, held_s=[held])
        offset = offsets(await track.look())["reader"]
        assert offset is None or -50 <= offset <= 0
    assert offset == 0
