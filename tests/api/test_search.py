"""Anybody is found by bib, chip or name; and what was read of her is told in order, with where she was not seen."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from api.search import others, routes
from api.search import store as search_store
from shared.runtime.process import Process
from tests.api.conftest import RACES, Ask
from tests.api.seeds import Database, add_stream
from tests.api.segmented import add_segment
from tests.api.test_passings import NOON, Read, fill_all, store
from tests.api.test_races import form

PEOPLE = "1,Byron,Ada\n2,Turing,Alan\n12,Byrne,Ada May\n"
ADA, OTHER = "0580000000a1", "0580000000a2"
CHIPS = f"1,{ADA}\n1,{OTHER}\n2,0580000000b1\n9,0580000000c1\n" + "".join(
    f"{100 + n},0580000001{n:02x}\n" for n in range(11)
)


@pytest.fixture
async def running(ask: Ask, race: str) -> str:
    """A race with people and chips."""
    await ask("POST", f"{RACES}/{race}/participants/upload", data=form(PEOPLE))
    await ask("POST", f"{RACES}/{race}/chips/upload", data=form(CHIPS))
    return race


async def found(ask: Ask, q: str) -> list[tuple[int | None, str | None, list[str]]]:
    answer = await ask("POST", "/api/v1/search", json={"q": q})
    assert answer["left_out"] == 0
    return [(each["bib"], each["first_name"], each["chip_ids"]) for each in answer["people"]]


async def test_anybody_is_found_by_bib_chip_and_any_part_of_a_name(ask: Ask, running: str) -> None:
    ada, alan = (1, "Ada", [ADA, OTHER]), (2, "Alan", ["0580000000b1"])
    may: tuple[int, str, list[str]] = (12, "Ada May", [])
    assert await found(ask, "1") == [ada]
    assert await found(ask, "9") == [(9, None, ["0580000000c1"])]
    assert await found(ask, f" {OTHER.upper()} ") == [ada]
    for part in ("ada b", "BYRON, A", "byron,ada", "byron  ada"):
        assert ada in await found(ask, part)
    assert await found(ask, ",") == await found(ask, ",,") == []
    assert await found(ask, "ada") == [may, ada]  # Byrne before Byron
    assert await found(ask, "turing") == [alan]
    assert await found(ask, "%") == await found(ask, "ad%") == await found(ask, "99999999999999999999") == []
    for wrong in ({"q": "  "}, {"q": ""}, {}, {"q": "x" * 101}, {"q": "a", "name": "b"}):
        await ask("POST", "/api/v1/search", json=wrong, status=400)


async def test_who_is_beyond_the_bound_is_counted(
    ask: Ask, running: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "MOST_PEOPLE", 1)
    answer = await ask("POST", "/api/v1/search", json={"q": "ada"})
    assert (len(answer["people"]), answer["left_out"]) == (1, 1)


async def test_a_chip_that_nobody_has_is_found_where_it_was_read(
    ask: Ask, process: Process, database: Database
) -> None:
    assert await found(ask, "dead00000001") == []
    await store(database, await add_stream(database), [Read("dead00000001", 1, 0, 1)])
    await fill_all(process.pool)
    assert await found(ask, "DEAD00000001") == [(None, None, ["dead00000001"])]


class Course:
    """A race of four points, the second of two mats; ten others have run all of it, a second after each other."""

    def __init__(self, ask: Ask, database: Database, race: str, streams: dict[str, UUID]) -> None:
        self.ask, self.database, self.race, self.streams = ask, database, race, streams
        self._seq = dict.fromkeys(streams, 0)

    async def saw(self, at: str, tag: str, *seconds: float) -> None:
        reads = [Read(tag, 1, int(100 * each), self._seq[at] + n) for n, each in enumerate(seconds, start=1)]
        self._seq[at] += len(reads)
        await store(self.database, self.streams[at], reads)

    async def timeline(self, bib: int = 1, **query: int) -> dict[str, Any]:
        path = f"{RACES}/{self.race}/bibs/{bib}/timeline"
        answer: dict[str, Any] = await self.ask("GET", path, params=query)
        return answer


def at(seconds: float) -> str:
    return (NOON + timedelta(seconds=seconds)).isoformat()


@pytest.fixture
async def course(ask: Ask, running: str, database: Database) -> Course:
    """See Course."""
    names = ("start", "left", "right", "ten", "finish")
    streams = {name: await add_stream(database, name) for name in names}
    for name in names:
        await ask("PUT", f"/api/v1/forwarders/{name}/race", json={"race_id": running})
    points = [("Start", ["start"]), ("5 km", ["left", "right"]), ("10 km", ["ten"]), ("Finish", ["finish"])]
    told = [{"name": name, "stream_ids": [str(streams[each]) for each in of]} for name, of in points]
    await ask("PUT", f"{RACES}/{running}/course", json={"points": told})
    course = Course(ask, database, running, streams)
    for n in range(11):
        # They stand at the start for a moment: what counts there is when they leave.
        await course.saw("start", f"0580000001{n:02x}", 1.25, 2)
        for mat, when in (("left", 1202), ("ten", 2502), ("finish", 5002)):
            await course.saw(mat, f"0580000001{n:02x}", when + n)
    return course


async def test_all_that_was_read_of_her_is_told_in_order_with_points_gaps_and_what_counts(
    course: Course, process: Process
) -> None:
    await course.saw("start", ADA, 0, 1.5, 3)
    await course.saw("left", OTHER, 1300.5)
    await course.saw("right", ADA, 1300, 1304.5)
    await fill_all(process.pool)
    told = await course.timeline()
    assert (told["race"], told["bib"], told["first_name"], told["chip_ids"]) == (
        "10 km",
        1,
        "Ada",
        [ADA, OTHER],
    )
    assert [(each["read_at"], each["point"], each["gap_s"], each["counts"]) for each in told["reads"]] == [
        (at(0), "Start", None, False),
        (at(1.5), "Start", 1.5, False),
        (at(3), "Start", 1.5, True),  # the start: the last before she leaves
        (at(1300), "5 km", 1297, True),
        (at(1300.5), "5 km", 0.5, False),  # her other chip, on the other mat
        (at(1304.5), "5 km", 4, False),
    ]
    assert [(each["point"], each["at"], each["reads"], each["since_s"]) for each in told["crossings"]] == [
        ("Start", at(3), 3, None),
        ("5 km", at(1300), 3, 1297),
    ]
    assert [each["crossing"] for each in told["reads"]] == [0, 0, 0, 1, 1, 1]
    apart = await course.timeline(gap=3)
    assert [each["at"] for each in apart["crossings"]] == [at(3), at(1300), at(1304.5)]
    assert (told["reads_left_out"], told["waiting_events"], told["is_cut"]) == (0, 0, False)


async def test_where_she_was_not_seen_and_where_she_is_due_is_told_by_the_others(
    course: Course, process: Process
) -> None:
    await course.saw("start", ADA, 3)
    await course.saw("ten", ADA, 2510)
    await fill_all(process.pool)
    start, five, ten, finish = (await course.timeline())["points"]
    assert (start["state"], start["at"], ten["state"], ten["at"]) == ("seen", at(3), "seen", at(2510))
    # The sixth of eleven took 1,205 s to there; all eleven came by within the half minutes around.
    assert (five["state"], five["expected_at"], five["others"]) == ("not_seen", at(1208), 11)
    assert five["others_in_that_minute"] == 11
    assert (finish["state"], finish["expected_at"], finish["others"]) == ("due", at(5010), 11)
    assert finish["others_in_that_minute"] is None


async def test_a_boundary_through_passings_leaves_the_race_what_is_behind_it(
    course: Course, ask: Ask, process: Process, database: Database
) -> None:
    chips = [f"0580000001{n:02x}" for n in range(11)]
    # All stand on the mat when the race begins, and go on standing there; and on the next somebody lingers.
    await course.saw("start", ADA, 2)
    for tag in chips:
        await course.saw("start", tag, 2.5)
    await course.saw("start", ADA, 2.75)
    for n, tag in enumerate(chips):
        await course.saw("left", tag, 1202.5 + n)
    await course.saw("ten", ADA, 2510)
    await fill_all(process.pool)
    race = UUID(course.race)
    await add_segment(database, race, course.streams["start"], (1, 24), None)
    await add_segment(database, race, course.streams["left"], (1, 12), None)
    told = await course.timeline()
    start, five, *_ = told["points"]
    assert (start["state"], start["at"]) == ("seen", at(2.75))
    assert [each["read_at"] for each in told["reads"]] == [at(2.75), at(2510)]
    shown = (await ask("GET", f"{RACES}/{course.race}/crossings?bib=1"))["crossings"]
    assert {each["counted"]["read_at"] for each in shown} == {each["at"] for each in told["crossings"]}
    # The sixth of eleven left at 2.5 and came at 1207.5, by what is the race's.
    assert (five["expected_at"], five["others"], five["others_in_that_minute"]) == (at(1207.75), 11, 11)


async def test_a_read_among_the_numbers_of_two_passings_is_told_once(
    course: Course, process: Process
) -> None:
    await course.saw("start", ADA, 0, 2, 0.5)
    await fill_all(process.pool)
    assert [each["read_at"] for each in (await course.timeline())["reads"]] == [at(0), at(0.5), at(2)]


async def test_when_she_is_due_is_told_by_her_race_whatever_passes_in_other_epochs(
    course: Course, process: Process, database: Database
) -> None:
    await course.saw("start", ADA, 3)
    await fill_all(process.pool)
    for name in ("start", "left"):
        stream = course.streams[name]
        await ask_for_epoch(course, stream)
        # The day after, on the same mats: others and the same chips, in an epoch that is nobody's.
        later = [
            Read(f"0580000001{n % 11:02x}", 2, 9_000_000 + 200 * n, n + 1)
            for n in range(2 * others.TRAVELLED)
        ]
        await store(database, stream, later)
    await fill_all(process.pool)
    told = (await course.timeline())["points"][1]
    assert (told["state"], told["expected_at"], told["others"]) == ("due", at(1208), 11)


async def ask_for_epoch(course: Course, stream: UUID) -> None:
    """Have the first epoch of a stream be the race's, and none behind it."""
    await course.ask("PUT", f"/api/v1/streams/{stream}/epochs/1/race", json={"race_id": course.race})


async def test_of_very_many_passings_those_of_the_race_are_told_the_newest(
    course: Course, process: Process, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "MOST_PASSINGS", 3)
    elsewhere = await add_stream(database, "elsewhere")
    await store(database, elsewhere, [Read(ADA, 1, 900_000 + 200 * n, n + 1) for n in range(5)])
    await course.saw("ten", ADA, 2500)
    await course.saw("start", ADA, 0, 10, 20, 30)
    await fill_all(process.pool)
    told = await course.timeline()
    assert [each["at"] for each in told["crossings"]] == [at(20), at(30), at(2500)]
    of_chip = await course.ask("GET", f"/api/v1/chips/{ADA}/timeline", params={"gap": 1})
    assert [each["at"] for each in of_chip["crossings"]] == [at(9004), at(9006), at(9008)]


async def test_what_lies_beyond_where_she_is_due_is_ahead(course: Course, process: Process) -> None:
    await course.saw("start", ADA, 3)
    await fill_all(process.pool)
    assert [each["state"] for each in (await course.timeline())["points"]] == [
        "seen",
        "due",
        "ahead",
        "ahead",
    ]
    nobody = await course.timeline(2)
    assert [each["state"] for each in nobody["points"]] == ["ahead"] * 4
    assert nobody["reads"] == nobody["crossings"] == []


async def test_reads_that_are_no_passings_yet_are_told_while_they_are_few(
    course: Course, process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    await course.saw("start", ADA, 0)
    await fill_all(process.pool)
    await course.saw("start", ADA, 0.5, 3)
    told = await course.timeline()
    assert [each["read_at"] for each in told["reads"]] == [at(0), at(0.5), at(3)]
    assert (told["crossings"][0]["reads"], told["waiting_events"]) == (3, 0)
    monkeypatch.setattr(search_store, "MOST_WAITING", 1)
    told = await course.timeline()
    assert ([each["read_at"] for each in told["reads"]], told["waiting_events"]) == ([at(0)], 2)


async def test_reads_of_another_race_are_not_hers_in_this_one_and_are_the_chip_s(
    ask: Ask, course: Course, process: Process, database: Database
) -> None:
    elsewhere = await add_stream(database, "elsewhere")
    await store(database, elsewhere, [Read(ADA, 1, 50_000, 1)])
    await course.saw("start", ADA, 3)
    await fill_all(process.pool)
    assert [each["at"] for each in (await course.timeline())["crossings"]] == [at(3)]
    told = await ask("GET", f"/api/v1/chips/{ADA.upper()}/timeline")
    assert [(each["point"], each["at"]) for each in told["crossings"]] == [
        ("start · 10.0.0.1:10000", at(3)),
        ("elsewhere · 10.0.0.1:10000", at(500)),
    ]
    assert (told["race_id"], told["points"]) == (None, [])


async def test_of_many_reads_the_newest_are_told_and_the_rest_is_counted(
    course: Course, process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "MOST_READS", 3)
    await course.saw("start", ADA, 0, 0.5)
    await course.saw("ten", ADA, 2500, 2500.5)
    await fill_all(process.pool)
    told = await course.timeline()
    assert ([each["read_at"] for each in told["reads"]], told["reads_left_out"]) == (
        [at(2500), at(2500.5)],
        2,
    )
    assert [each["reads"] for each in told["crossings"]] == [2, 2]


async def test_who_is_not_there_is_not_found(ask: Ask, running: str) -> None:
    await ask("GET", f"{RACES}/{running}/bibs/77/timeline", status=404)
    await ask("GET", f"{RACES}/{uuid4()}/bibs/1/timeline", status=404)
    assert (await ask("GET", "/api/v1/chips/77/timeline"))["crossings"] == []
    assert (await ask("GET", f"{RACES}/{running}/bibs/9/timeline"))["first_name"] is None
    await ask("GET", f"{RACES}/{running}/bibs/9/timeline?gap=61", status=400)
