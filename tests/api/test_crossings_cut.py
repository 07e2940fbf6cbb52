"""Where a boundary cuts an epoch, crossings of a race are made of the reads on its side alone."""

import random
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from api.crossings.crossing import ReadAt
from tests.api.conftest import RACES, Ask
from tests.api.crossed import GUN, arrange, come_by, make_race
from tests.api.passed import runs
from tests.api.seeds import Database
from tests.api.segmented import add_segment
from tests.api.test_crossings import crossings


def of_bib(stream_id: UUID, numbered: Sequence[tuple[int, tuple[int, float]]], bib: int) -> list[ReadAt]:
    return [
        ReadAt(GUN + timedelta(seconds=at), stream_id, 1, seq) for seq, (chip, at) in numbered if chip == bib
    ]


async def paged(ask: Ask, race: str, gap: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor = ""
    for _ in range(100):
        page = await ask("GET", f"{RACES}/{race}/crossings?limit=9&gap={gap}{cursor}")
        found += page["crossings"]
        if page["next_cursor"] is None:
            return found
        cursor = f"&cursor={page['next_cursor']}"
    raise AssertionError("the pages have no end")


async def test_a_boundary_within_a_passing_leaves_each_race_its_own_reads(
    ask: Ask, database: Database
) -> None:
    warm_up, race = await make_race(ask, name="warm-up"), await make_race(ask)
    streams = await arrange(ask, database, race, Start=["gun"], Finish=["line"])
    gun = streams["gun"]
    # One passing of six reads, out of order; what the first race keeps of it has a hole of more than a second.
    await come_by(database, gun, [(1, 0), (1, 1.5), (1, 0.75), (1, 2.25), (1, 0.5), (1, 1)])
    assert [each["read_count"] for each in await crossings(ask, race)] == [6]
    await add_segment(database, UUID(warm_up), gun, (1, 1), (1, 3))
    await add_segment(database, UUID(race), gun, (1, 3), None)
    before, after = await crossings(ask, warm_up, gap=1), await crossings(ask, race, gap=1)
    assert [(each["counted"]["seq"], each["read_count"]) for each in before] == [(1, 1), (2, 1)]
    assert [(each["counted"]["seq"], each["read_count"]) for each in after] == [(6, 3), (4, 1)]
    [whole] = await crossings(ask, race)
    assert [each["seq"] for each in whole["reads"]] == [4, 6, 3, 5]


async def test_pages_of_what_is_cut_are_made_of_the_reads_on_its_side(ask: Ask, database: Database) -> None:
    rng = random.Random(7)
    race = await make_race(ask, "\n".join(f"{n},{n}" for n in range(1, 5)))
    streams = await arrange(ask, database, race, Start=["gun"], Finish=["line"])
    line = streams["line"]
    reads = [(rng.randint(1, 4), rng.randint(0, 240) / 4) for _ in range(120)]
    await come_by(database, line, reads)
    for first, behind in ((1, 121), (20, 100), (41, 42), (60, None)):
        await database.execute("DELETE FROM race_segments")
        await add_segment(database, UUID(race), line, (1, first), None if behind is None else (1, behind))
        ours = list(enumerate(reads, 1))[first - 1 : None if behind is None else behind - 1]
        for gap in (1, 3):
            expected = {
                (bib, run[0].seq, len(run))
                for bib in range(1, 5)
                for run in runs(of_bib(line, ours, bib), timedelta(seconds=gap))
            }
            found = [
                (each["bib"], each["counted"]["seq"], each["read_count"])
                for each in await paged(ask, race, gap)
            ]
            assert (set(found), len(found)) == (expected, len(expected)), (first, behind, gap)
