"""What a read says of somebody: first or again at its point, and how long after the point before."""

from typing import Any
from uuid import UUID

import pytest

from api.crossings.store import visits as store
from api.passings import store as filler
from shared.runtime.process import Process
from tests.api.conftest import Ask
from tests.api.crossed import arrange, come_by, fill, make_race
from tests.api.seeds import Database, add_stream

Said = tuple[int, str | None, str | None, int | None]


async def said(ask: Ask, stream: UUID) -> list[Said]:
    """Return what is said of a stream's reads, by their number."""
    page = await ask("GET", f"/api/v1/streams/{stream}/reads?order=asc")
    return [said_of(each) for each in page["reads"]]


def said_of(read: dict[str, Any]) -> Said:
    return read["seq"], read["visit"], read["point_before"], read["since_point_before_ms"]


@pytest.fixture
async def running(ask: Ask, database: Database) -> dict[str, UUID]:
    """The streams of a race of three points, the second with twin mats."""
    race = await make_race(ask, "1,1\n1,4\n2,2")
    return await arrange(ask, database, race, Start=["gun"], **{"5 km": ["left", "right"]}, Finish=["line"])


async def come(database: Database, running: dict[str, UUID]) -> None:
    await come_by(database, running["gun"], [(1, 0), (1, 2), (2, 3)])
    # The one mat sees one chip of hers, the other the other, and the reads of the second come first.
    await come_by(database, running["right"], [(4, 1000.5), (1, 1001.25)])
    await come_by(database, running["left"], [(1, 1000), (9, 1002)])
    await come_by(database, running["line"], [(2, 1803), (1, 1271), (1, 1272)])


EXPECTED: dict[str, list[Said]] = {
    "gun": [(1, "first", None, None), (2, "again", None, None), (3, "first", None, None)],
    "right": [(1, "again", "Start", 998_500), (2, "again", "Start", 999_250)],
    "left": [(1, "first", "Start", 998_000), (2, None, None, None)],
    "line": [(1, "first", "Start", 1_800_000), (2, "first", "5 km", 271_000), (3, "again", "5 km", 272_000)],
}


async def test_first_or_again_and_the_time_since_the_point_before(
    ask: Ask, database: Database, running: dict[str, UUID]
) -> None:
    await come(database, running)
    assert {name: await said(ask, stream) for name, stream in running.items()} == EXPECTED
    latest = (await ask("GET", "/api/v1/reads/latest"))["reads"]
    names = {str(stream): name for name, stream in running.items()}
    assert sorted((names[each["stream_id"]], said_of(each)) for each in latest if each["bib"]) == sorted(
        (name, each) for name, rows in EXPECTED.items() for each in rows if each[1]
    )


async def test_what_is_not_yet_in_passings_is_told_as_what_is(
    ask: Ask, database: Database, process: Process, running: dict[str, UUID]
) -> None:
    await come(database, running)
    await database.execute("DELETE FROM passings_progress")
    assert {name: await said(ask, stream) for name, stream in running.items()} == EXPECTED
    # At any moment in between, too.
    for _ in range(20):
        look = await filler.fill(process.pool, most_events=1)
        assert {name: await said(ask, stream) for name, stream in running.items()} == EXPECTED
        if not look.taken:
            break
    else:
        raise AssertionError("the filling has no end")


async def test_whatever_a_chip_did_elsewhere_since_what_is_said_is_of_the_race(
    ask: Ask, database: Database, running: dict[str, UUID]
) -> None:
    await come(database, running)
    elsewhere = await add_stream(database, "elsewhere")
    await come_by(database, elsewhere, [(1, 90_000 + 2 * n) for n in range(store.MOST)])
    assert {name: await said(ask, stream) for name, stream in running.items()} == EXPECTED


async def test_nobody_is_said_to_come_first_while_more_waits_than_is_looked_at(
    ask: Ask, database: Database, running: dict[str, UUID]
) -> None:
    await come(database, running)
    gun = running["gun"]
    await come_by(database, gun, [*((9, 10 + n / 10) for n in range(store.UNFILLED)), (1, 2000)])
    await database.execute("DELETE FROM passings_progress WHERE stream_id = $1", gun)
    path = f"/api/v1/streams/{gun}/reads?order=desc"
    last = store.UNFILLED + 4
    assert said_of((await ask("GET", path))["reads"][0]) == (last, None, None, None)
    # Elsewhere all is known, but not where she was before.
    assert (await said(ask, running["left"]))[0] == (1, "first", None, None)
    await fill(database, gun)
    assert said_of((await ask("GET", path))["reads"][0]) == (last, "again", "Finish", 729_000)
    assert await said(ask, running["left"]) == EXPECTED["left"]


async def test_nothing_is_said_of_who_came_by_more_often_than_is_looked_at(
    ask: Ask, database: Database, running: dict[str, UUID]
) -> None:
    await come(database, running)
    await come_by(database, running["left"], [(1, 3000 + 2 * n) for n in range(store.MOST - 3)])
    page = await ask("GET", f"/api/v1/streams/{running['left']}/reads?order=desc")
    assert {each["visit"] for each in page["reads"]} == {None}
    # Whoever else comes is told of.
    assert (await said(ask, running["gun"]))[2] == (3, "first", None, None)


async def test_nobody_is_looked_up_where_nobody_is_known(
    ask: Ask, database: Database, running: dict[str, UUID], monkeypatch: pytest.MonkeyPatch
) -> None:
    from api.crossings import visits

    await come_by(database, running["gun"], [(9, 0)])

    async def never(*_: object) -> Any:
        raise AssertionError("a look for nothing")

    monkeypatch.setattr(visits, "seen", never)
    assert await said(ask, running["gun"]) == [(1, None, None, None)]
