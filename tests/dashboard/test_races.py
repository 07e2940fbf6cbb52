"""A race on the page: its files and what is wrong with them, its chips, forwarders and epochs, and how it begins."""

import re

import pytest
from playwright.async_api import Browser, FilePayload, Locator, expect

from tests.dashboard.browser import Tab, tab
from tests.dashboard.conftest import Stack
from tests.lines import line
from tests.waiting import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="session")

READER = "10.0.0.1:10000"
PEOPLE = "; people\n1,Byron,Ada,Analysts,,F\n2,Turing,Alan\n"
CHIPS = "bib,chip\n1,0580000000a1\n1,0580000000a2\n2,0580000000a2\n9,0580000000c3\n"

_DROP = """([name, content]) => {
    const carried = new DataTransfer();
    carried.items.add(new File([content], name));
    document.querySelector(".drop").dispatchEvent(new DragEvent("drop", { dataTransfer: carried, bubbles: true }));
}"""


def file(name: str, content: str) -> FilePayload:
    return {"name": name, "mimeType": "", "buffer": content.encode()}


async def choose(page: Tab, *files: FilePayload) -> None:
    await page.page.locator("input[type=file]").set_input_files(list(files))


async def make_race(page: Tab, name: str) -> str:
    """Make a race on the page, and return its id."""
    await page.open("races")
    await page.page.get_by_label("Name, such as 10 km").fill(name)
    await page.page.get_by_role("button", name="Make a race").click()
    await expect(page.page.get_by_role("heading", level=1)).to_have_text(name)
    return page.page.url.rpartition("/")[2]


def people(page: Tab) -> Locator:
    return page.page.get_by_role("table", name="People").locator(".body .row")


async def test_files_are_looked_at_before_anything_changes_and_imported_together(
    page: Tab, stack: Stack
) -> None:
    await make_race(page, "10 km")
    await choose(page, file("people.ppl", PEOPLE + "x,Bad,Row\n"), file("chips.bibchip", CHIPS))
    files = page.page.locator(".file")
    await expect(files.nth(0)).to_contain_text("bib 'x' is no whole number")
    await expect(files.nth(0).locator("li")).to_have_text("Line 4 bib: x,Bad,Row")
    await expect(files.nth(1)).to_contain_text("4 chips · 1 line passed over")
    await expect(files.nth(1).locator("li")).to_contain_text("chip 0580000000a2 is bib 1's already")
    # What is wrong cannot be imported, and nothing was.
    await expect(page.page.get_by_role("button", name="Import chips.bibchip", exact=True)).to_be_visible()
    await expect(people(page)).to_have_count(0)
    page.refused(400)
    await choose(page, file("people.ppl", PEOPLE), file("chips.bibchip", CHIPS))
    await page.page.get_by_role("button", name="Import people.ppl and chips.bibchip").click()
    await expect(page.page.locator("#said")).to_have_text("2 people and 4 chips imported.")
    await expect(people(page)).to_have_count(2)
    await expect(people(page).first).to_contain_text("Ada Byron")
    facts = page.page.locator(".facts")
    for label, value in (("People", "2"), ("Chips of nobody", "1"), ("Chips of several bibs", "1")):
        await expect(page.fact(facts, label)).to_have_text(value)
    for table, chip in (("Of nobody", "0580000000c3"), ("Of several bibs", "0580000000a2")):
        found = page.page.get_by_role("table", name=re.compile(f"^{table}"))
        await expect(found.locator("[data-title=Chip]")).to_have_text([chip])


async def test_a_file_is_dropped_and_one_of_another_kind_is_refused_by_its_name(
    page: Tab, stack: Stack
) -> None:
    await make_race(page, "Dropped")
    await page.page.evaluate(_DROP, ["roster.xlsx", "x"])
    await expect(page.page.locator(".file")).to_contain_text("must end in .ppl")
    await page.page.evaluate(_DROP, ["roster.PPL", PEOPLE])
    await page.page.get_by_role("button", name="Import roster.PPL").click()
    await expect(people(page)).to_have_count(2)
    await page.page.get_by_label("Bib, name or chip").fill("tur")
    await expect(people(page)).to_have_count(1)
    await page.page.get_by_role("button", name="Remove bib 2").click()
    await page.page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    await page.closed()
    await page.page.get_by_label("Bib, name or chip").fill("")
    await expect(people(page)).to_have_count(1)


async def fill(stack: Stack, race_id: str) -> None:
    """Let Ada wear a chip in a race."""
    await stack.database.execute(
        "INSERT INTO participants VALUES ($1, 1, 'Ada', 'Byron', NULL, 'F')", race_id
    )
    await stack.database.execute("INSERT INTO chips VALUES ($1, '0580000000a1', 1, 1, true)", race_id)


async def test_a_race_begins_on_its_streams_and_says_what_happened_to_each(page: Tab, stack: Stack) -> None:
    async with stack.forwarder("gun", READER, "10.0.0.2:10000") as forwarder:
        race_id = await make_race(page, "Half")
        await fill(stack, race_id)
        await page.page.get_by_role("button", name="Give it to this race: gun").click()
        await page.page.get_by_role("button", name="Begin race…").click()
        dialog = page.page.get_by_role("dialog")
        await expect(dialog.get_by_role("checkbox")).to_have_count(2)
        go = dialog.get_by_role("button", name="Begin race")
        await expect(go).to_be_disabled()
        await dialog.locator("[data-typed]").fill("half")
        await go.click()
        await page.closed()
        became = page.page.get_by_role("table", name="What became of each stream").locator(".body .row")
        await expect(became).to_have_count(2)
        for n in range(2):
            await expect(became.nth(n)).to_contain_text("begun")
            await expect(became.nth(n)).to_contain_text("begin epoch 2")
        epochs = page.page.get_by_role("table", name="Epochs").locator(".body .row")
        await expect(epochs).to_have_count(2)
        await expect(page.page.locator(".verdict .what")).to_contain_text("Half")
        # Names stand beside chips, in the tail and on the stream's page.
        forwarder.record(READER, line("0580000000A1"))
        await page.open()
        row = page.page.locator(".tail .body .row", has_text="0580000000a1").first
        await expect(row.locator("[data-title=Who]")).to_have_text("1 Ada Byron")
        stream = await stack.database.fetchval(
            "SELECT stream_id FROM streams WHERE forwarder_id = 'gun' AND reader_ip = $1", READER
        )
        await page.open(f"stream/{stream}")
        reads = page.page.get_by_role("table", name="Reads")
        await expect(reads.locator("[data-title=Who]").first).to_have_text("1 Ada Byron")
        await expect(
            page.page.get_by_role("table", name="Epochs").get_by_role("cell", name="Half")
        ).to_be_visible()


async def test_the_first_page_has_the_course_the_clock_and_finds_people(page: Tab, stack: Stack) -> None:
    async with stack.forwarder("mat", READER, "10.0.0.2:10000") as forwarder:
        race_id = await make_race(page, "Marathon")
        await stack.database.execute(
            "INSERT INTO participants VALUES ($1, 77, 'Grace', 'Hopper', NULL, 'F')", race_id
        )
        await stack.database.execute("INSERT INTO chips VALUES ($1, '0580000000d4', 77, 1, true)", race_id)
        await page.page.get_by_role("button", name="Give it to this race: mat").click()
        # Each stream is a point, until somebody says which is where: here, both at the same.
        points = page.page.get_by_role("table", name="Points").locator(".body .row")
        await expect(points).to_have_count(2)
        await page.page.get_by_role("button", name="Arrange the points…").click()
        dialog = page.page.get_by_role("dialog")
        for n in range(2):
            await dialog.get_by_role("spinbutton").nth(n).fill("1")
            await dialog.get_by_role("textbox").nth(n).fill("Finish")
        await dialog.get_by_role("button", name="Arrange", exact=True).click()
        await page.closed()
        await expect(points).to_have_count(1)
        await page.page.get_by_role("button", name="Gun at…").click()
        await dialog.get_by_label("The gun").fill("2020-05-03T09:00:00")
        await dialog.get_by_role("button", name="Save").click()
        await page.closed()
        clock = page.fact(page.page.locator(".facts"), "Clock")
        await expect(clock).to_have_text(re.compile(r"^\d+:\d\d:\d\d$"))
        # Who looks at the time, and saves what stands there, changes nothing.
        gun = "SELECT gun_at FROM races WHERE gun_at IS NOT NULL"
        await stack.database.execute("UPDATE races SET gun_at = gun_at + interval '7 seconds 250 ms'")
        await page.page.reload()
        before = await stack.database.fetchval(gun)
        await page.page.get_by_role("button", name="Gun at…").click()
        await expect(dialog.get_by_label("The gun")).to_have_value("2020-05-03T09:00:07")
        await dialog.get_by_role("button", name="Save").click()
        await page.closed()
        assert await stack.database.fetchval(gun) == before
        for each in forwarder.readers:
            forwarder.record(each, line("0580000000D4"))
        forwarder.record(READER, line("0580000000FF"))
        # The course is asked for when the page is opened, and then not soon.
        seen = (
            "SELECT count(*) = 3 FROM epoch_chips JOIN streams USING (stream_id) WHERE forwarder_id = 'mat'"
        )
        await wait_until(lambda: stack.database.fetchval(seen), what="what was read to be stored")
        await page.open()
        point = page.page.get_by_role("region", name="Course").locator(".point")
        await expect(point.locator(".point-name")).to_have_text("Finish")
        await expect(point.locator(".crossed")).to_have_text("1")
        await expect(point.locator(".unknown")).to_have_text("1 unknown chip")
        await expect(point.locator(".where a")).to_have_text(["mat · 10.0.0.1:10000", "mat · 10.0.0.2:10000"])
        await expect(page.page.locator(".verdict .what")).to_contain_text(
            re.compile(r"Marathon · \d+:\d\d:\d\d · 1 at Finish")
        )
        strip = page.page.get_by_role("region", name="Course").locator(".course-head")
        await expect(strip).to_have_text(re.compile(r"^Marathon\d+:\d\d:\d\d$"))
        await finds_people(page)


async def finds_people(page: Tab) -> None:
    """Filter the live tail by bib, name and chip; no name is in an address."""
    addresses: list[str] = []
    page.page.on("request", lambda request: addresses.append(request.url))
    tail = page.page.locator(".tail .body .row")
    await expect(tail.filter(has_text="0580000000ff")).to_have_count(1)
    for text, shown in (
        ("hopper", 2),
        ("Grace Ho", 2),
        ("77", 2),
        ("0580000000FF", 1),
        ("Nobody", 0),
        ("", None),
    ):
        await page.page.get_by_label("Chip, bib or name").fill(text)
        if shown is None:
            await expect(tail.filter(has_text="0580000000ff")).not_to_have_count(0)
        else:
            await expect(tail).to_have_count(shown)
    assert not [each for each in addresses if re.search("hopper|grace|nobody", each, re.IGNORECASE)]


async def test_a_race_is_renamed_and_deleted_and_others_see_it(
    browser: Browser, page: Tab, stack: Stack
) -> None:
    race_id = await make_race(page, "Wrong")
    async with tab(browser, stack.url) as other:
        await other.open(f"race/{race_id}")
        await expect(other.page.get_by_role("heading", level=1)).to_have_text("Wrong")
        await page.page.get_by_role("button", name="Rename… the race").click()
        dialog = page.page.get_by_role("dialog")
        await dialog.get_by_label("Name").fill("Right")
        await dialog.get_by_role("button", name="Rename").click()
        await expect(other.page.get_by_role("heading", level=1)).to_have_text("Right")
        await page.page.get_by_role("button", name="Delete… the race").click()
        await dialog.locator("[data-typed]").fill("Right")
        await dialog.get_by_role("button", name="Delete").click()
        await expect(page.page.get_by_role("heading", level=1)).to_have_text("Races")
        await expect(other.page.get_by_text("There is no such race.")).to_be_visible()
        # Each may hear of it while it still shows the race: the one that deletes it, too, before its own answer.
        for each in (page, other):
            each.errors[:] = [said for said in each.errors if "404" not in said]
        assert other.errors == []


async def test_a_forwarder_that_is_away_is_said_and_can_be_told_again(page: Tab, stack: Stack) -> None:
    async with stack.forwarder("away", READER):
        pass
    await stack.gone("away")
    race_id = await make_race(page, "Away")
    await stack.database.execute("INSERT INTO forwarder_races VALUES ('away', $1)", race_id)
    await page.page.reload()
    await page.page.get_by_role("button", name="Begin race…").click()
    dialog = page.page.get_by_role("dialog")
    await dialog.locator("[data-typed]").fill("Away")
    await dialog.get_by_role("button", name="Begin race").click()
    await page.closed()
    became = page.page.get_by_role("table", name="What became of each stream").locator(".body .row")
    await expect(became).to_contain_text("not connected")
    async with stack.forwarder("away", READER, token=""):
        await page.page.get_by_role("button", name=re.compile("^Tell those again")).click()
        await expect(dialog.get_by_role("checkbox")).to_have_count(1)
