"""Crossings of a race over HTTP: which read counts, why, and what else was read of somebody there."""

from datetime import timedelta
from typing import Any
from urllib.parse import urlencode
from uuid import UUID, uuid4

import pytest

from api.crossings.store import passings
from api.passings import store as filler
from shared.protocol.ipico import parse
from shared.runtime.process import Process
from tests.api.conftest import RACES, Ask
from tests.api.crossed import GUN, arrange, come_by, make_race, tag
from tests.api.recording import APPROACHES, LINES, recording
from tests.api.seeds import Database, add_events, add_stream


async def crossings(ask: Ask, race: str, **query: Any) -> list[dict[str, Any]]:
    """Return the first page, oldest first."""
    page = await ask("GET", f"{RACES}/{race}/crossings?{urlencode(query)}")
    found: list[dict[str, Any]] = page["crossings"]
    return found[::-1]


def at(seconds: float) -> str:
    return (GUN + timedelta(seconds=seconds)).isoformat()


def told(found: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [(each["point_name"], each["bib"], each["crossed_at"], each["read_count"]) for each in found]


async def test_of_a_chip_the_newest_of_the_race_are_looked_at_whatever_it_did_elsewhere(
    ask: Ask, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passings, "MOST_PASSINGS", 3)
    monkeypatch.setattr(passings, "GONE_THROUGH", 3)
    race = await make_race(ask)
    streams = await arrange(ask, database, race, Start=["gun"], Finish=["line"])
    await come_by(database, streams["line"], [(1, 100), (1, 200), (1, 300), (1, 400)])
    await come_by(database, streams["gun"], [(1, 0)])
    await come_by(database, await add_stream(database, "elsewhere"), [(1, 1000 + 10 * n) for n in range(5)])
    assert [each["crossed_at"] for each in await crossings(ask, race)] == [at(0), at(200), at(300), at(400)]
    assert [each["crossed_at"] for each in await crossings(ask, race, bib=1)] == [
        at(0),
        at(200),
        at(300),
        at(400),
    ]


async def test_what_lies_on_a_mat_all_day_has_come_by_once_when_it_began(
    ask: Ask, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    race = await make_race(ask)
    streams = await arrange(ask, database, race, Start=["gun"], Finish=["left", "right"])
    lies = [(1, 2.0 * n) for n in range(260)]
    await come_by(database, streams["gun"], [*lies, (1, 700), (2, 701)])
    await come_by(
        database, streams["left"], [(1, 900), (2, 901), *((1, at + 1000) for _, at in lies), (9, 2000)]
    )
    await come_by(database, streams["right"], [(1, at + 1001) for _, at in lies])
    queries: list[dict[str, Any]] = [
        {"gap": gap, **who} for gap in (1, 2, 5, 60) for who in ({}, {"bib": 1}, {"point": 2})
    ]
    expected = [await crossings(ask, race, limit=200, **each) for each in queries]
    monkeypatch.setattr(passings, "MOST_PASSINGS", 50)
    for query, all_of_them in zip(queries, expected, strict=True):
        assert await crossings(ask, race, limit=200, **query) == all_of_them, query
    (lying,) = (each for each in await crossings(ask, race, point=2) if each["read_count"] > 1)
    assert (lying["crossed_at"], lying["read_count"], lying["first_read"]["read_at"]) == (
        at(1000),
        520,
        at(1000),
    )


async def test_the_last_read_counts_at_the_start_and_the_first_elsewhere(
    ask: Ask, database: Database
) -> None:
    race = await make_race(ask)
    streams = await arrange(ask, database, race, Start=["gun"], Finish=["left", "right"])
    await come_by(database, streams["gun"], [(1, 0), (1, 0.5), (2, 0.7), (1, 4)])
    await come_by(database, streams["right"], [(1, 100.25), (1, 100.5)])
    await come_by(database, streams["left"], [(1, 100.5), (1, 102)])
    found = await crossings(ask, race)
    assert told(found) == [
        ("Start", 2, at(0.7), 1),
        ("Start", 1, at(4), 3),
        ("Finish", 1, at(100.25), 4),
    ]
    alan, start, finish = found
    assert [each["why"] for each in found] == [
        "the only read",
        "the start: the last of 3 reads before leaving",
        "the first of 4 reads",
    ]
    assert alan["runner_up"] is None
    # What is behind it, in the order in which it would count.
    assert [each["seq"] for each in start["reads"]] == [4, 2, 1]
    assert (start["counted"], start["runner_up"]) == (start["reads"][0], start["reads"][1])
    assert (start["first_read"]["read_at"], start["last_read"]["read_at"]) == (at(0), at(4))
    assert [each["read_at"] for each in finish["reads"]] == [at(100.25), at(100.5), at(100.5), at(102)]
    # Twins of one time: the order of reads says which is before which.
    twins = sorted([streams["left"], streams["right"]])
    assert [each["stream_id"] for each in finish["reads"][1:3]] == list(map(str, twins))
    assert (start["first_name"], start["last_name"], start["chips"]) == ("Ada", "Byron", [tag(1)])
    assert (start["point"], start["place"], finish["point"], finish["place"]) == ("1", 1, "2", 2)


async def test_all_chips_of_a_person_make_one_and_a_chip_of_nobody_is_by_itself(
    ask: Ask, database: Database
) -> None:
    # Chip 2 is Ada's first, and chip 9 is of a bib that nobody has.
    race = await make_race(ask, "1,1\n1,2\n2,2\n9,9")
    streams = await arrange(ask, database, race, Start=["gun"], Finish=["line"])
    await come_by(database, streams["line"], [(1, 3), (2, 1), (9, 60), (7, 120), (7, 121.5)])
    found = await crossings(ask, race)
    assert told(found) == [
        ("Finish", 1, at(1), 2),
        ("Finish", 9, at(60), 1),
        ("Finish", None, at(120), 2),
    ]
    assert found[0]["chips"] == [tag(1), tag(2)]
    assert [each["first_name"] for each in found] == ["Ada", None, None]
    assert found[2]["chips"] == [tag(7)]


@pytest.mark.parametrize(("gap", "count"), [(1, 3), (2, 3), (4, 2), (5, 1)])
async def test_exactly_the_gap_apart_is_two(ask: Ask, database: Database, gap: int, count: int) -> None:
    race = await make_race(ask)
    streams = await arrange(ask, database, race, Start=["gun"], Finish=["line"])
    await come_by(database, streams["line"], [(1, 0), (1, 2), (1, 6), (1, 6.5)])
    assert len(await crossings(ask, race, gap=gap)) == count


async def test_lines_of_last_seen_and_reads_out_of_order_count_by_their_time(
    ask: Ask, database: Database
) -> None:
    race = await make_race(ask)
    streams = await arrange(ask, database, race, Start=["gun"], Finish=["line"])
    for name in ("gun", "line"):
        await come_by(database, streams[name], [(1, 3), (1, 0.5), (1, 2)])
        # It says when the chip was seen first, though it comes last.
        await come_by(database, streams[name], [(1, 3)], ls=True)
    start, finish = sorted(await crossings(ask, race), key=lambda each: each["place"])
    assert (start["crossed_at"], start["counted"]["seq"], start["runner_up"]["seq"]) == (at(3), 4, 1)
    assert (finish["crossed_at"], finish["counted"]["seq"], finish["runner_up"]["seq"]) == (at(0.5), 2, 3)


async def test_only_some_of_very_many_reads_are_shown_and_the_rest_is_counted(
    ask: Ask, database: Database
) -> None:
    race = await make_race(ask)
    streams = await arrange(ask, database, race, Start=["gun", "other"], Finish=["line"])
    # Beside those of others, whose numbers are among hers.
    await come_by(database, streams["gun"], [(1 + n % 2, n / 4) for n in range(80)])
    # Of a second stream, each a passing of its own.
    await come_by(database, streams["other"], [(1, 19), (1, 17.25), (1, 15.5), (1, 2), (1, 30)])
    [_, ada, _] = await crossings(ask, race, point=1)
    assert (ada["read_count"], len(ada["reads"]), ada["more_reads"]) == (44, 20, 24)
    both = [*(n / 2 for n in range(40)), 19, 17.25, 15.5, 2]
    assert [each["read_at"] for each in ada["reads"]] == [at(n) for n in sorted(both, reverse=True)[:20]]


async def test_streams_are_points_by_themselves_where_nobody_has_arranged_them(
    ask: Ask, database: Database
) -> None:
    race = await make_race(ask)
    streams = [await add_stream(database, name) for name in ("a", "b")]
    for name in ("a", "b"):
        await ask("PUT", f"/api/v1/forwarders/{name}/race", json={"race_id": race})
    for stream in streams:
        await come_by(database, stream, [(1, 0), (1, 1.5)])
    found = await crossings(ask, race)
    # Nobody knows which is the start.
    assert sorted(told(found)) == [
        ("a · 10.0.0.1:10000", 1, at(0), 2),
        ("b · 10.0.0.1:10000", 1, at(0), 2),
    ]
    assert {(each["place"], each["rule"]) for each in found} == {(None, "first")}
    for stream in streams:
        [one] = await crossings(ask, race, point=str(stream).upper())
        assert one["point"] == str(stream)


async def test_only_what_is_of_the_race_counts(ask: Ask, database: Database) -> None:
    race = await make_race(ask)
    streams = await arrange(ask, database, race, Start=["gun"], Finish=["line"])
    line = streams["line"]
    other = await make_race(ask, name="5 km")
    await ask("PUT", f"/api/v1/streams/{line}/epochs/2/race", json={"race_id": other})
    await ask("PUT", f"/api/v1/streams/{line}/epochs/1/race", json={"race_id": race})
    await come_by(database, line, [(1, 0)])
    await come_by(database, line, [(1, 3600)], epoch=2)
    await come_by(database, line, [(1, 7200)], epoch=3)
    assert [each["crossed_at"] for each in await crossings(ask, race)] == [at(0)]
    assert [each["crossed_at"] for each in await crossings(ask, other)] == [at(3600)]
    # What people change holds at once.
    await ask("PUT", f"/api/v1/streams/{line}/epochs/2/race", json={"race_id": race})
    assert [each["crossed_at"] for each in await crossings(ask, race)] == [at(0), at(3600)]


async def test_filters_take_a_point_a_bib_and_a_chip(ask: Ask, database: Database) -> None:
    race = await make_race(ask, "1,1\n1,4\n2,2")
    streams = await arrange(ask, database, race, Start=["gun"], Finish=["line"], Nowhere=[])
    await come_by(database, streams["gun"], [(1, 0), (2, 1)])
    await come_by(database, streams["line"], [(4, 60), (2, 61), (1, 90)])
    assert told(await crossings(ask, race, bib=1)) == [
        ("Start", 1, at(0), 1),
        ("Finish", 1, at(60), 1),
        ("Finish", 1, at(90), 1),
    ]
    assert told(await crossings(ask, race, bib=1, point=1)) == [("Start", 1, at(0), 1)]
    assert told(await crossings(ask, race, chip=tag(4).upper())) == [("Finish", 1, at(60), 1)]
    assert told(await crossings(ask, race, chip=tag(1), bib=1, point=2)) == [("Finish", 1, at(90), 1)]
    for nothing in ({"bib": 3}, {"bib": 77}, {"chip": "nobody"}, {"point": 3}, {"bib": 2, "chip": tag(1)}):
        assert await crossings(ask, race, **nothing) == []


@pytest.mark.parametrize("point", [None, 2])
async def test_pages_hold_each_crossing_once_in_the_order_of_time(
    ask: Ask, database: Database, point: int | None
) -> None:
    race = await make_race(ask, "\n".join(f"{n},{n}" for n in range(1, 20)))
    streams = await arrange(ask, database, race, Start=["gun"], Finish=["left", "right"])
    # Of twins and of those who come again there are several passings to a crossing; and many have one time.
    series = {"gun": (0,), "left": (100, 303, 309), "right": (102, 300, 306)}
    for name, since in ((name, since) for name, times in series.items() for since in times):
        await come_by(database, streams[name], [(chip, since + chip * since % 11) for chip in range(1, 20)])
    query = {"gap": 60, **({} if point is None else {"point": point})}
    whole = (await ask("GET", f"{RACES}/{race}/crossings?{urlencode({**query, 'limit': 200})}"))["crossings"]
    assert len(whole) == (38 if point else 57)
    found: list[dict[str, Any]] = []
    cursor: dict[str, Any] = {}
    for _ in range(100):
        page = await ask("GET", f"{RACES}/{race}/crossings?{urlencode({**query, 'limit': 7, **cursor})}")
        assert len(page["crossings"]) <= 7
        found += page["crossings"]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert found == whole
    # Each passing is one read here: the last of them is where the last passing began.
    ends = [each["last_read"]["read_at"] for each in whole]
    assert ends == sorted(ends, reverse=True)


async def test_what_cannot_be_is_refused_by_name(ask: Ask, database: Database) -> None:
    race = await make_race(ask)
    await arrange(ask, database, race, Start=["gun"], Finish=["line"])
    for query, named in (
        ({"gap": 0}, "gap"),
        ({"gap": 61}, "gap"),
        ({"gap": "1.5"}, "gap"),
        ({"limit": 201}, "limit"),
        ({"bib": -1}, "bib"),
        ({"cursor": "x"}, "cursor"),
        ({"lap": 1}, "lap"),
    ):
        refused = await ask("GET", f"{RACES}/{race}/crossings?{urlencode(query)}", status=400)
        assert named in refused["message"], refused
    for point in ("3", "0", str(uuid4()), "Finish"):
        refused = await ask("GET", f"{RACES}/{race}/crossings?point={point}", status=404)
        assert point in refused["message"]
        assert "1 to 2" in refused["message"]
    await ask("GET", f"{RACES}/{uuid4()}/crossings", status=404)


async def test_any_cursor_of_the_form_is_taken(ask: Ask, database: Database) -> None:
    race = await make_race(ask)
    streams: dict[str, UUID] = await arrange(ask, database, race, Start=["gun"], Finish=["line"])
    await come_by(database, streams["line"], [(1, 0)])
    for cursor in ("A" * 54, "_" * 54, "z9-_" * 13 + "AA"):
        await ask("GET", f"{RACES}/{race}/crossings?cursor={cursor}")


async def test_a_recording_makes_eight_for_every_gap_from_one_to_ten_seconds(
    ask: Ask, process: Process, database: Database
) -> None:
    race = await make_race(ask)
    streams = await arrange(ask, database, race, Start=["gun"], Finish=["line"])
    for name in ("gun", "line"):
        await add_events(database, streams[name], recording())
    while (await filler.fill(process.pool, most_events=2_000)).taken:
        pass
    times = [read_at for line in recording() if (read_at := parse(line).read_at)]
    for gap in range(1, 11):
        found = await crossings(ask, race, gap=gap)
        for place in (1, 2):
            here = [each for each in found if each["place"] == place]
            assert (len(here), sum(each["read_count"] for each in here)) == (APPROACHES, LINES), gap
    start, finish = (next(each for each in found if each["place"] == place) for place in (1, 2))
    of_first = [at for at in times if at < times[0] + timedelta(minutes=2)]
    assert finish["crossed_at"] == min(of_first).isoformat()
    assert start["crossed_at"] == max(of_first).isoformat()
    # What explains it holds among so many lines of which many are alike, and late.
    for row, ordered in ((finish, sorted(of_first)), (start, sorted(of_first, reverse=True))):
        assert [each["read_at"] for each in row["reads"]] == [at.isoformat() for at in ordered[:20]]
        assert row["more_reads"] == len(of_first) - 20
