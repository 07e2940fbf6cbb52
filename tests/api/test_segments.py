"""Boundaries of races over HTTP: looked at first, then moved; taken back, and that too; bad input named."""

from collections.abc import Sequence
from itertools import count
from typing import Any
from uuid import UUID, uuid4

import pytest

from api.live.races import RaceNews
from api.segments.store import rows
from api.segments.store.reads import MEASURED
from shared.runtime.process import Process
from tests.api.conftest import RACES, Ask, Noted
from tests.api.seeds import Database, add_events, add_metrics, add_race, add_stream
from tests.api.segmented import add_segment
from tests.api.test_views import ADA, BOB, Said, say

GUN = "2026-05-03T10:00:"


@pytest.fixture
async def stream(database: Database) -> UUID:
    """A stream with nine reads before its epoch was reset and four behind that, 10 s apart; the fourth of the first
    epoch said its time late.
    """
    stream_id = await add_stream(database, epoch=2)
    at = [0, 10, 20, 5, 30, 40, 50, 55, 58]
    await say(database, stream_id, [Said(ADA if n % 2 else BOB, at, n) for n, at in enumerate(at)])
    await say(database, stream_id, [Said(ADA, 60 + n, 20 + n) for n in range(4)], epoch=2)
    return stream_id


@pytest.fixture
async def races(ask: Ask, database: Database, stream: UUID) -> tuple[UUID, UUID]:
    """Two races, of the second of which is the second epoch."""
    a, b = await add_race(database, "A"), await add_race(database, "B")
    await ask("PUT", f"/api/v1/streams/{stream}/epochs/2/race", json={"race_id": str(b)})
    return a, b


def bound(*key: int) -> dict[str, int]:
    return dict(zip(("epoch", "seq"), key, strict=True))


def segment(begins: Sequence[int], ends: Sequence[int] | None) -> dict[str, Any]:
    return {"begins": bound(*begins), "ends": None if ends is None else bound(*ends)}


def shown(stream: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [
        (
            (each["begins"]["epoch"], each["begins"]["seq"]),
            each["ends"] and (each["ends"]["epoch"], each["ends"]["seq"]),
            each["rule"],
        )
        for each in stream["segments"]
    ]


async def of(ask: Ask, race: UUID) -> dict[str, Any]:
    (stream,) = (await ask("GET", f"{RACES}/{race}/segments"))["streams"]
    return dict(stream)


async def put(
    ask: Ask, race: UUID, stream: UUID, *segments: Any, status: int = 200, **more: Any
) -> dict[str, Any]:
    answer = await ask(
        "PUT",
        f"{RACES}/{race}/segments/{stream}",
        json={"segments": segments, **more},
        status=status,
    )
    return dict(answer)


async def owners(ask: Ask, stream: UUID, epoch: int) -> list[str | None]:
    page = await ask("GET", f"/api/v1/streams/{stream}/reads?order=asc&epoch={epoch}")
    return [each["race_id"] for each in page["reads"]]


async def test_an_epoch_of_a_race_is_a_segment_and_begins_where_somebody_says(
    ask: Ask, stream: UUID, races: tuple[UUID, UUID], noted: Noted
) -> None:
    _, b = races
    before = await of(ask, b)
    assert shown(before) == [((2, 1), (3, 1), "epoch")]
    assert before["segments"][0]["begins"]["read"] == {
        "epoch": 2,
        "seq": 1,
        "at": GUN[:-3] + "01:00",
        "tag_id": ADA,
    }
    assert before["segments"][0]["ends"]["read"] is None
    assert [(each["epoch"], each["race"], each["rule"], each["reads"]) for each in before["ranges"]] == [
        (1, None, "forwarder", 9),
        (2, "B", "epoch", 4),
    ]

    # The gun was half a minute before the reset: the first read in the order of numbers that says so, not of times.
    wanted = {"begins": {"at": GUN + "15"}, "ends": bound(3, 1)}
    preview = await put(ask, b, stream, wanted, preview=True)
    assert (preview["applied"], preview["change_id"], preview["before"]) == (False, None, [])
    assert shown(preview["stream"]) == [((1, 3), (3, 1), "segment")]
    (moved,) = preview["moved"]
    assert (moved["reads"], moved["was_race"], moved["becomes_race"]) == (7, None, "B")
    assert [(moved[end]["seq"], moved[end]["at"]) for end in ("first", "last")] == [
        (3, GUN + "20"),
        (9, GUN + "58"),
    ]
    # Nothing has changed, and nobody has heard of it.
    assert await of(ask, b) == before
    assert preview["stream"]["fingerprint"] == before["fingerprint"]

    changed = await put(ask, b, stream, segment((1, 3), (3, 1)), expected_fingerprint=before["fingerprint"])
    assert changed["applied"]
    assert changed["moved"] == preview["moved"]
    assert await of(ask, b) == changed["stream"]
    assert changed["stream"]["fingerprint"] != before["fingerprint"]
    assert await owners(ask, stream, 1) == [None, None, *[str(b)] * 7]
    assert await owners(ask, stream, 2) == [str(b)] * 4
    entry = await noted("race_segments_set", race="B")
    assert (entry["before"], entry["after"], entry["reads_moved"]) == ("none", "1:3 to 3:1", 7)
    assert entry["by"] == "no token"


async def test_a_change_is_taken_back_and_that_too_and_those_before_it(
    ask: Ask, stream: UUID, races: tuple[UUID, UUID], noted: Noted
) -> None:
    _, b = races
    for begins in ((1, 3), (1, 5), (1, 7)):
        fingerprint = (await of(ask, b))["fingerprint"]
        await put(ask, b, stream, segment(begins, (3, 1)), expected_fingerprint=fingerprint)
    path = f"{RACES}/{b}/segment-changes"

    async def changes() -> list[dict[str, Any]]:
        return list((await ask("GET", f"{RACES}/{b}/segments"))["changes"])

    third, second, first = [each["change_id"] for each in await changes()]
    assert [each["undoable"] for each in await changes()] == [True, False, False]
    # Not the one before it: the boundary is where the last one has put it.
    await ask("POST", f"{path}/{second}/undo", json={}, status=409)
    preview = await ask("POST", f"{path}/{third}/undo", json={"preview": True})
    assert shown(preview["stream"]) == [((1, 5), (3, 1), "segment")]
    assert shown(await of(ask, b)) == [((1, 7), (3, 1), "segment")]
    undone = await ask("POST", f"{path}/{third}/undo", json={})
    assert [(each["reads"], each["was_race"], each["becomes_race"]) for each in undone["moved"]] == [
        (2, None, "B")
    ]
    entry = await noted("race_segments_undone", race="B")
    assert (entry["before"], entry["after"]) == ("1:7 to 3:1", "1:5 to 3:1")
    # What took it back is taken back, and taken back again; then the one before, and the one before that.
    again = await ask("POST", f"{path}/{undone['change_id']}/undo", json={})
    assert shown(again["stream"]) == [((1, 7), (3, 1), "segment")]
    for each in (again["change_id"], second, first):
        undone = await ask("POST", f"{path}/{each}/undo", json={})
    assert shown(undone["stream"]) == [((2, 1), (3, 1), "epoch")]
    assert [each["undoes"] for each in await changes()][:3] == [first, second, again["change_id"]]
    await ask("POST", f"{path}/{first + 1000}/undo", json={}, status=404)
    await ask("POST", f"{RACES}/{races[0]}/segment-changes/{first}/undo", json={}, status=404)


async def test_of_two_who_move_at_once_the_second_is_told(
    ask: Ask, stream: UUID, races: tuple[UUID, UUID]
) -> None:
    a, b = races
    fingerprint = (await of(ask, b))["fingerprint"]
    await put(ask, a, stream, segment((1, 1), (1, 4)), expected_fingerprint=fingerprint)
    error = await put(ask, b, stream, segment((1, 4), (3, 1)), expected_fingerprint=fingerprint, status=409)
    assert "somebody else has moved" in error["message"]
    now = error["details"]["fingerprint"]
    assert now == (await of(ask, b))["fingerprint"]
    await put(ask, b, stream, segment((1, 4), (3, 1)), expected_fingerprint=now)
    # An epoch that is given to a race says otherwise whose reads are, and so does the race of the forwarder.
    fingerprint = (await of(ask, b))["fingerprint"]
    await ask("PUT", "/api/v1/forwarders/start/race", json={"race_id": str(b)})
    await put(ask, b, stream, expected_fingerprint=fingerprint, status=409)


async def test_what_another_race_has_is_not_taken_from_it(
    ask: Ask, database: Database, stream: UUID, races: tuple[UUID, UUID]
) -> None:
    a, b = races
    await add_segment(database, a, stream, (1, 4), (1, 6))
    for begins, ends in (((1, 5), (3, 1)), ((1, 1), (1, 5)), ((1, 1), None), ((1, 4), (1, 6))):
        error = await put(ask, b, stream, segment(begins, ends), preview=True, status=409)
        assert error["message"] == "A has 1:4 to 1:6 of this stream: move its boundary first"
        assert error["details"] == {"race_id": str(a), "race": "A", "begins": [1, 4], "ends": [1, 6]}
    await put(ask, b, stream, segment((1, 1), (1, 4)), segment((1, 6), (3, 1)), preview=True)
    # Who gives the epoch to another race gives it the rest; where there is none he is told.
    path = f"/api/v1/streams/{stream}/epochs/1/race"
    await ask("PUT", path, json={"race_id": str(b)})
    assert await owners(ask, stream, 1) == [str(each) for each in (*[b] * 3, *[a] * 2, *[b] * 4)]
    await ask("PUT", path, json={"race_id": None})
    await database.execute("UPDATE race_segments SET from_seq = 1, to_epoch = 2, to_seq = 1")
    error = await ask("PUT", path, json={"race_id": str(b)}, status=409)
    assert error["message"].startswith("A has all of this epoch by a segment of its own")
    await ask("PUT", path, json={"race_id": str(a)})
    await ask("PUT", f"/api/v1/streams/{stream}/epochs/2/race", json={"race_id": str(a)})


@pytest.mark.parametrize(
    ("segments", "said"),
    [
        ([segment((1, 5), (1, 5))], "begin with 1:5 and end before 1:5"),
        ([segment((2, 1), (1, 5))], "begin with 2:1 and end before 1:5"),
        (
            [segment((1, 11), (3, 1))],
            "1:11 is beyond the stream's reads: the last of epoch 1 is number 9, so 10",
        ),
        ([segment((2, 1), (2, 6))], "2:6 is beyond the stream's reads"),
        ([segment((3, 1), None)], "no epoch 3; its current one is 2"),
        ([segment((1, 1), (4, 1))], "no epoch 4"),
        (
            [segment((1, 1), (1, 5)), segment((1, 4), (1, 9))],
            "1:1 to 1:5 and 1:4 to 1:9 have reads in common",
        ),
        (
            [{"begins": {"at": GUN + "59.5"}, "ends": {"at": GUN + "59.9"}}],
            "begin with 2:1 and end before 2:1",
        ),
        (
            [{"begins": {"at": "2026-05-03T11:00:00"}, "ends": None}],
            "no read of the stream says 2026-05-03T11:00:00",
        ),
        ([{"begins": {"at": GUN + "59", "epoch": 1}, "ends": None}], "no read of epoch 1 says"),
        (
            [{"begins": bound(1, 1), "ends": {"at": "2026-05-03T11:00:00"}}],
            "leave `ends` null for all that come",
        ),
        (
            [{"begins": {"at": GUN + "00", "seq": 1}, "ends": None}],
            "a boundary is `epoch` and `seq`, or a time",
        ),
        ([{"begins": {"seq": 1}, "ends": None}], "a boundary is `epoch` and `seq`, or a time"),
        ([{"begins": {"at": GUN + "00Z"}, "ends": None}], "at"),
        ([{"begins": bound(1, 1)}], "ends"),
    ],
)
async def test_bad_input_is_named(
    ask: Ask, stream: UUID, races: tuple[UUID, UUID], segments: list[Any], said: str
) -> None:
    before = await of(ask, races[1])
    error = await put(ask, races[1], stream, *segments, preview=True, status=400)
    assert said in error["message"]
    assert await of(ask, races[1]) == before


async def test_nothing_counts_that_was_not_looked_at(
    ask: Ask, stream: UUID, races: tuple[UUID, UUID]
) -> None:
    fingerprint = (await of(ask, races[1]))["fingerprint"]
    error = await put(ask, races[1], stream, segment((1, 1), None), status=400)
    assert "`expected_fingerprint` is missing: ask with `preview` first" in error["message"]
    late = {"begins": {"at": GUN + "15"}, "ends": None}
    error = await put(ask, races[1], stream, late, expected_fingerprint=fingerprint, status=400)
    assert "a time is shown before it counts" in error["message"]
    for race, other in ((uuid4(), stream), (races[1], uuid4())):
        await put(ask, race, other, segment((1, 1), None), preview=True, status=404)
    await ask("GET", f"{RACES}/{uuid4()}/segments", status=404)


async def test_an_epoch_that_has_no_read_yet_is_moved_into_the_one_before(
    ask: Ask, database: Database, stream: UUID, races: tuple[UUID, UUID]
) -> None:
    a, _ = races
    await database.execute("UPDATE streams SET stream_epoch = 3")
    await ask("PUT", f"/api/v1/streams/{stream}/epochs/3/race", json={"race_id": str(a)})
    before = await of(ask, a)
    assert shown(before) == [((3, 1), (4, 1), "epoch")]
    answer = await put(ask, a, stream, segment((2, 3), (4, 1)), expected_fingerprint=before["fingerprint"])
    # The second race has the rest of its epoch, without having said so.
    assert [(each["reads"], each["was_race"], each["becomes_race"]) for each in answer["moved"]] == [
        (2, "B", "A")
    ]
    assert shown(await of(ask, races[1])) == [((2, 1), (2, 3), "epoch")]
    # Closed with the next read, and open.
    for ends in ((2, 5), (3, 1), None):
        fingerprint = (await of(ask, a))["fingerprint"]
        answer = await put(ask, a, stream, segment((2, 3), ends), expected_fingerprint=fingerprint)
        assert shown(answer["stream"])[0] == ((2, 3), ends, "segment")


async def test_only_so_many_changes_are_kept(
    ask: Ask, database: Database, stream: UUID, races: tuple[UUID, UUID]
) -> None:
    _, b = races
    await database.execute(
        """
        INSERT INTO segment_changes (race_id, stream_id, before, after, changed_by)
        SELECT $1, $2, '[]', '[[1, 1, null, null]]', 'anna' FROM generate_series(1, 150)
        """,
        b,
        stream,
    )
    answer = await put(
        ask, b, stream, segment((1, 5), (3, 1)), expected_fingerprint=(await of(ask, b))["fingerprint"]
    )
    changes = (await ask("GET", f"{RACES}/{b}/segments"))["changes"]
    assert len(changes) == await database.fetchval("SELECT count(*) FROM segment_changes") == 100
    assert changes[0]["change_id"] == answer["change_id"]
    # The same again is no change.
    same = await put(
        ask, b, stream, segment((1, 5), (3, 1)), expected_fingerprint=(await of(ask, b))["fingerprint"]
    )
    assert (same["applied"], same["change_id"], same["moved"]) == (False, None, [])


async def test_pages_hear_of_it(
    ask: Ask, database: Database, process: Process, stream: UUID, races: tuple[UUID, UUID]
) -> None:
    a, b = races
    news = RaceNews(process, clock=count(step=10).__next__)
    await news.next(telling=True)
    assert not news.any
    answer = await put(
        ask, a, stream, segment((2, 1), (2, 3)), expected_fingerprint=(await of(ask, b))["fingerprint"]
    )
    assert answer["moved"][0]["reads"] == 2
    # Both races have other reads now.
    assert await database.fetchval("SELECT count(*) FROM races WHERE segments_changed_at IS NOT NULL") == 2
    # Programs of the field are told nothing, and need not be.
    assert await news.next(telling=True) == []
    assert news.any


async def passed(database: Database) -> None:
    """Make a passing of each read."""
    await database.execute(
        """
        INSERT INTO passings_progress SELECT stream_id, last_position FROM streams;
        INSERT INTO passings
        SELECT stream_id, stream_epoch, tag_id, read_at, seq, read_at, seq, seq, seq, 1, position FROM events;
        """
    )


async def test_an_axis_shows_when_reads_came_around_those_of_the_race(
    ask: Ask, database: Database, stream: UUID, races: tuple[UUID, UUID]
) -> None:
    a, b = races
    path = f"{RACES}/{{}}/segments/{stream}/axis"
    nothing: dict[str, Any] = {
        "stream_id": str(stream),
        "since": None,
        "until": None,
        "bin_s": 10_800,
        "bins": [],
    }
    assert await ask("GET", path.format(b)) == nothing
    # Hours before the race: not on the axis, unless it is asked for.
    await say(database, stream, [Said(ADA, -7200, -7200)], epoch=1)
    await passed(database)
    axis = await ask("GET", path.format(b))
    assert (axis["since"], axis["until"], axis["bin_s"]) == ("2026-05-03T09:31:00", "2026-05-03T10:06:03", 60)
    bins = [{"epoch": 1, "number": 29, "reads": 9}, {"epoch": 2, "number": 30, "reads": 4}]
    assert axis["bins"] == bins
    # A race that has nothing of it: the last two hours.
    axis = await ask("GET", path.format(a))
    assert (axis["since"], axis["until"]) == ("2026-05-03T08:06:00", "2026-05-03T10:06:03")
    assert [each["reads"] for each in axis["bins"]] == [9, 4]
    axis = await ask("GET", path.format(b) + "?since=2026-05-03T00:00:00&until=2026-05-04T00:00:00")
    assert axis["bin_s"] == 300
    assert [(each["number"], each["reads"]) for each in axis["bins"]] == [(96, 1), (120, 9), (120, 4)]
    for query in (
        "since=2026-05-03T00:00:00&until=2026-05-03T00:00:00",
        "since=2026-01-01T00:00:00&until=2026-05-03T00:00:00",
        # What is left out follows from the reads.
        "since=2000-01-01T00:00:00",
        "since=2026-04-01T00:00:00",
        "since=2026-05-04T00:00:00",
        "until=2026-05-03T07:00:00",
    ):
        error = await ask("GET", f"{path.format(b)}?{query}", status=400)
        assert "31 days at the most" in error["message"]
    await ask("GET", f"{RACES}/{uuid4()}/segments/{stream}/axis", status=404)
    await ask("GET", f"{RACES}/{b}/segments/{uuid4()}/axis", status=404)


NUMBERS = 60


@pytest.mark.parametrize("kept", [True, False])
async def test_what_a_boundary_cuts_is_counted_by_numbers_and_of_events_only_where_not_all_gaps_are_kept(
    ask: Ask, database: Database, process: Process, *, kept: bool
) -> None:
    stream_id = await add_stream(database)
    missing = [(1, 2), (10, 10), (20, 29), (NUMBERS - 1, NUMBERS - 1)]
    there = [n for n in range(1, NUMBERS + 1) if not any(first <= n <= last for first, last in missing)]
    for seq in there:
        await add_events(database, stream_id, ["x"], first_seq=seq)
    # Of a reader with more gaps than are kept the last are not.
    known = missing if kept else missing[:-1]
    await add_metrics(database, stream_id, dedup=len(there), last_seq=NUMBERS, missing=known)
    parts = [
        (first, end) for first in range(1, NUMBERS, 3) for end in (first + 1, first + 14, NUMBERS + 9, None)
    ]
    expected = [sum(first <= n and (end is None or n < end) for n in there) for first, end in parts]

    async def counted() -> list[int]:
        rows = await process.pool.fetch(
            MEASURED, stream_id, [1] * len(parts), *map(list, zip(*parts, strict=True))
        )
        return [row["reads"] for row in rows]

    assert await counted() == expected
    # Behind the writer's back: who counts events sees it.
    await database.execute("DELETE FROM events")
    found = await counted()
    assert (found == expected) is kept
    assert kept or all(
        each == 0 for each, (first, end) in zip(found, parts, strict=True) if (first, end) != (1, None)
    )


async def test_streams_beyond_a_page_are_on_the_next(
    ask: Ask, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "STREAMS_SHOWN", 2)
    race = await add_race(database)
    streams = [str(await add_stream(database, "box", f"10.0.0.{n}:10000")) for n in range(1, 6)]
    await database.execute("INSERT INTO forwarder_races VALUES ('box', $1)", race)
    pages, cursor = [], ""
    while True:
        page = await ask("GET", f"{RACES}/{race}/segments{cursor}")
        pages.append([each["stream_id"] for each in page["streams"]])
        if page["next_cursor"] is None:
            break
        cursor = f"?cursor={page['next_cursor']}"
    assert pages == [streams[:2], streams[2:4], streams[4:]]
    await ask("GET", f"{RACES}/{race}/segments?cursor=2", status=400)
