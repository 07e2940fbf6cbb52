"""A race on the page where more than one hand is at it, or more is there than a page can show: nothing is replaced that
nobody has seen, nothing is left out in silence, and what has not changed is not asked for again.
"""

import re
from typing import Any
from uuid import UUID

import pytest
from playwright.async_api import Locator, Route, expect

from tests.dashboard.browser import Tab
from tests.dashboard.conftest import Stack
from tests.dashboard.test_commands import READER, dialog, said
from tests.dashboard.test_races import CHIPS, PEOPLE, choose, file, people
from tests.lines import line
from tests.waiting import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="session")

_RUNNERS = "INSERT INTO participants SELECT $1, n, 'Ada', 'Byron', NULL, 'F' FROM generate_series(1, $2::integer) AS n"
_CHIPS = """
INSERT INTO chips
SELECT $1, '0580000000' || lpad(to_hex(n), 2, '0'), n, n, true FROM generate_series(1, $2::integer) AS n
"""


async def add_race(stack: Stack, name: str, *forwarders: str) -> str:
    """Add a race with its forwarders, and return its id."""
    race_id = await stack.database.fetchval("INSERT INTO races (name) VALUES ($1) RETURNING race_id", name)
    given = "INSERT INTO forwarder_races VALUES ($1, $2)"
    await stack.database.executemany(given, [(each, race_id) for each in forwarders])
    return str(race_id)


async def test_an_epoch_of_another_race_is_taken_from_it_only_by_who_has_seen_that(
    page: Tab, stack: Stack
) -> None:
    race_id, other = await add_race(stack, "Half"), await add_race(stack, "Relay")
    async with stack.forwarder("shared", READER):
        stream_id = UUID(await stack.stream_id("shared"))
        await stack.database.execute("INSERT INTO epoch_races VALUES ($1, 1, $2)", stream_id, UUID(other))
        await page.open(f"race/{race_id}")
        await page.page.get_by_role("button", name="Give it an epoch…").click()
        give = dialog(page).get_by_role("button", name="Give it")
        await give.click()
        words = dialog(page).get_by_role("alert")
        await expect(words).to_have_text(
            "Epoch 1 is of the race Relay now. Give it once more to change that."
        )
        whose = "SELECT race_id::text FROM epoch_races"
        assert await stack.database.fetchval(whose) == other
        await give.click()
        await page.closed()
        assert await stack.database.fetchval(whose) == race_id
        page.refused(409)


async def test_files_do_not_replace_people_who_came_after_they_were_looked_at(
    page: Tab, stack: Stack
) -> None:
    race_id = await add_race(stack, "Half")
    await page.open(f"race/{race_id}")
    await choose(page, file("people.ppl", PEOPLE), file("chips.bibchip", CHIPS))
    store = page.page.get_by_role("button", name="Import people.ppl and chips.bibchip")
    await expect(store).to_be_visible()
    anothers: dict[str, Any] = {
        "file": {"name": "x.ppl", "mimeType": "text/plain", "buffer": b"7,Hopper,Grace\n"}
    }
    upload = f"{stack.url}/api/v1/races/{race_id}/participants/upload"
    assert (await page.page.request.post(upload, multipart=anothers)).ok
    await expect(people(page)).to_have_count(1)
    await store.click()
    await expect(page.page.get_by_role("alert")).to_contain_text("other people or chips by now")
    await expect(people(page)).to_contain_text("Grace Hopper")
    page.refused(409)
    await page.page.get_by_role("button", name="Look at the files again").click()
    await store.click()
    # The second file replaces what the first has left: that is no other hand.
    await said(page, "2 people and 4 chips imported.")
    await expect(people(page)).to_have_count(2)


def arranging(page: Tab, what: str, title: str) -> Locator:
    return dialog(page).get_by_label(f"{what} of {title}", exact=True)


async def test_arranging_keeps_points_without_a_stream_and_gives_twins_one_name(
    page: Tab, stack: Stack
) -> None:
    readers = [f"10.0.0.{n}:10000" for n in range(1, 5)]
    async with stack.forwarder("mats", *readers):
        race_id = await add_race(stack, "Half", "mats")
        found = "SELECT stream_id::text FROM streams ORDER BY reader_ip"
        start, split, left, right = [each["stream_id"] for each in await stack.database.fetch(found)]
        points = [
            {"name": "Start", "stream_ids": [start]},
            {"name": "5 km", "stream_ids": [split]},
            {"name": "Finish", "stream_ids": [left, right]},
        ]
        path = f"{stack.url}/api/v1/races/{race_id}/course"
        assert (await page.page.request.put(path, data={"points": points})).ok
        await stack.database.execute("DELETE FROM streams WHERE stream_id = $1", UUID(split))
        await page.open(f"race/{race_id}")
        await page.page.get_by_role("button", name="Arrange the points…").click()
        await expect(arranging(page, "Place", "5 km (its streams are gone)")).to_have_value("2")
        await arranging(page, "Point", f"mats · {readers[2]}").fill("Market square")
        await expect(arranging(page, "Point", f"mats · {readers[3]}")).to_have_value("Market square")
        # Two names of one place are a question, not a choice that nobody has made.
        await arranging(page, "Place", f"mats · {readers[0]}").fill("3")
        await dialog(page).get_by_role("button", name="Arrange", exact=True).click()
        await expect(dialog(page).get_by_role("alert")).to_contain_text(
            "Place 3 is called Start and Market square"
        )
        await arranging(page, "Place", f"mats · {readers[0]}").fill("1")
        await dialog(page).get_by_role("button", name="Arrange", exact=True).click()
        await page.closed()
        shown = page.page.get_by_role("table", name="Points").locator(".body .row")
        await expect(shown.locator("[data-title=Point]")).to_have_text(["Start", "5 km", "Market square"])
        streams = "SELECT count(*) FROM point_streams WHERE place = 3"
        assert await stack.database.fetchval(streams) == 2


async def test_a_roster_is_asked_for_again_only_when_it_is_another(page: Tab, stack: Stack) -> None:
    """Fifty thousand people are megabytes: a race that is renamed, begun or arranged does not cost them."""
    asked: list[str] = []
    page.page.on("request", lambda request: asked.append(request.url))

    def rosters() -> int:
        return sum(url.endswith("/participants") for url in asked)

    race_id = await add_race(stack, "Half")
    await stack.database.execute(_RUNNERS, UUID(race_id), 25)
    await page.open(f"race/{race_id}")
    await expect(people(page)).to_have_count(25)
    path = f"{stack.url}/api/v1/races/{race_id}"
    assert (await page.page.request.patch(path, data={"name": "Quarter"})).ok
    await expect(page.page.get_by_role("heading", level=1)).to_have_text("Quarter")
    assert rosters() == 1
    assert (await page.page.request.delete(f"{path}/bibs/7")).ok
    await expect(people(page)).to_have_count(24)
    assert rosters() == 2


async def test_a_race_has_all_of_its_streams_where_the_page_has_cards_of_some(
    page: Tab, stack: Stack
) -> None:
    async def without_cards(route: Route) -> None:
        answer = await route.fetch()
        await route.fulfill(response=answer, json={**await answer.json(), "streams": []})

    async with stack.forwarder("beyond", READER, "10.0.0.2:10000"), stack.forwarder("other", READER):
        race_id = await add_race(stack, "Half", "beyond")
        await page.page.route("**/api/v1/overview", without_cards)
        await page.open(f"race/{race_id}")
        forwarders = page.page.get_by_role("table", name="Forwarders").locator(".body .row")
        await expect(forwarders).to_have_count(2)
        await page.page.get_by_role("button", name="Begin race…").click()
        await expect(dialog(page).get_by_role("checkbox")).to_have_count(2)
        await dialog(page).locator("[data-typed]").fill("Half")
        await dialog(page).get_by_role("button", name="Begin race").click()
        await page.closed()
        became = page.page.get_by_role("table", name="What became of each stream").locator(".body .row")
        await expect(became).to_have_count(2)
        await expect(became.first).to_contain_text(re.compile("beyond · .* begin epoch 2"))


async def test_what_may_be_missing_of_a_race_that_has_begun_is_said(page: Tab, stack: Stack) -> None:
    """The database may go away behind the commands: then there is more to do than to look at the streams."""
    missing = "the clock of the race was not set: set it"

    async def half_done(route: Route) -> None:
        asked: Any = route.request.post_data_json
        (stream_id,) = asked["stream_ids"]
        begun = {"stream_id": stream_id, "state": "begun", "new_stream_epoch": 2, "message": None}
        await route.fulfill(json={"results": [begun], "message": missing})

    async with stack.forwarder("half", READER):
        race_id = await add_race(stack, "Half", "half")
        await page.page.route("**/begin", half_done)
        await page.open(f"race/{race_id}")
        await page.page.get_by_role("button", name="Begin race…").click()
        await dialog(page).locator("[data-typed]").fill("Half")
        await dialog(page).get_by_role("button", name="Begin race").click()
        await page.closed()
        await expect(page.page.get_by_text(missing)).to_be_visible()


async def test_a_name_of_more_chips_than_can_be_asked_for_says_so(page: Tab, stack: Stack) -> None:
    async with stack.forwarder("many", READER) as forwarder:
        race_id = await add_race(stack, "Half", "many")
        for statement in (_RUNNERS, _CHIPS):
            await stack.database.execute(statement, UUID(race_id), 205)
        forwarder.record(READER, line("058000000001"))
        await forwarder.drained()
        on = "SELECT count(*) FROM stream_metrics WHERE dedup_count > 0"
        await wait_until(lambda: stack.database.fetchval(on), what="a read")
        await page.open()
        await page.page.get_by_label("Chip, bib or name").fill("ada")
        region = page.page.get_by_role("region", name="Latest reads")
        await expect(region).to_contain_text("Of 205 chips that are meant 200 are looked for")
        await expect(page.page.locator(".tail .body .row")).to_have_count(1)
        await page.page.get_by_label("Chip, bib or name").fill("7")
        await expect(region).not_to_contain_text("chips that are meant")
