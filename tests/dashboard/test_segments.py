"""Boundaries of a race on its page: moved from the keyboard and with the mouse, shown before they count, and undone."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, NamedTuple
from uuid import UUID

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Locator, Route, expect

from tests.dashboard.browser import NARROW, WIDE, Size, Tab, tab, violations_by_night_and_day
from tests.dashboard.conftest import Stack
from tests.dashboard.test_commands import READER, said
from tests.dashboard.test_race_page import add_race
from tests.lines import line
from tests.waiting import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="session")

TAGS = ["0580000000A1", "0580000000B2", "0580000000C3", "0580000000D4"]
# A read every 20 s; the epoch was reset behind the third.
_TIMES = """
UPDATE events SET read_at = timestamp '2026-05-03 10:00:00' + make_interval(secs => (position - 1) * 20)
"""
_PASSINGS = """
INSERT INTO passings_progress SELECT stream_id, last_position FROM streams
ON CONFLICT (stream_id) DO UPDATE SET position = excluded.position;
DELETE FROM passings;
INSERT INTO passings
SELECT stream_id, stream_epoch, tag_id, read_at, seq, read_at, seq, seq, seq, 1, position FROM events
"""


class Reset(NamedTuple):
    """A race whose epoch was reset too late, and its stream."""

    race_id: str
    stream_id: UUID


@pytest_asyncio.fixture(loop_scope="session")
async def reset(stack: Stack) -> AsyncIterator[Reset]:
    """Three reads before the reset, three behind it, which are the race's."""
    async with stack.forwarder("gun", READER) as forwarder:
        for epoch in (1, 2):
            forwarder.journal.turn_epoch(READER, epoch)
            for tag in TAGS[:3]:
                forwarder.record(READER, line(tag))
            await forwarder.drained()
        await wait_until(lambda: stack.database.fetchval("SELECT count(*) = 6 FROM events"), what="six reads")
        stream_id = UUID(await stack.stream_id("gun"))
        race_id = await add_race(stack, "Half")
        await stack.database.execute("INSERT INTO epoch_races VALUES ($1, 2, $2)", stream_id, UUID(race_id))
        passed = "SELECT position = 6 FROM passings_progress"
        await wait_until(lambda: stack.database.fetchval(passed), what="that all reads are passings")
        await stack.database.execute(_TIMES)
        await stack.database.execute(_PASSINGS)
        yield Reset(race_id, stream_id)


def handle(page: Tab, which: str) -> Locator:
    return page.page.get_by_role("slider", name=which)


def preview(page: Tab) -> Locator:
    return page.page.locator(".preview")


def moves(page: Tab) -> Locator:
    return page.page.get_by_role("table", name="Moved boundaries").locator(".body .row")


async def made(stack: Stack) -> list[tuple[Any, ...]]:
    rows = await stack.database.fetch("SELECT from_epoch, from_seq, to_epoch, to_seq FROM race_segments")
    return [tuple(row) for row in rows]


async def test_a_boundary_is_moved_from_the_keyboard_and_that_is_undone(
    page: Tab, stack: Stack, reset: Reset
) -> None:
    await page.open(f"race/{reset.race_id}")
    begins = handle(page, "Begins")
    await expect(begins).to_have_attribute("aria-valuetext", "2026-05-03 10:01:00")
    await begins.focus()
    # 5 s back: in front of the first read of the epoch, and behind the last of the one before.
    await page.page.keyboard.press("ArrowLeft")
    await expect(preview(page)).to_contain_text("It would change: no read changes sides.")
    for _ in range(7):
        await page.page.keyboard.press("ArrowLeft")
    await expect(begins).to_have_attribute("aria-valuetext", "2026-05-03 10:00:20")
    await expect(preview(page)).to_contain_text("2 reads from nobody to Half.")
    assert await made(stack) == []
    # A minute at once, and back again: nothing has changed.
    await page.page.keyboard.press("Shift+ArrowLeft")
    await expect(preview(page)).to_contain_text("3 reads from nobody to Half.")
    await page.page.keyboard.press("Escape")
    await expect(preview(page)).to_be_hidden()
    await expect(begins).to_have_attribute("aria-valuetext", "2026-05-03 10:01:00")
    assert await made(stack) == []

    await begins.focus()
    for _ in range(8):
        await page.page.keyboard.press("ArrowLeft")
    await expect(preview(page)).to_contain_text("2 reads from nobody to Half.")
    await page.page.keyboard.press("Enter")
    await said(page, "Moved: 2 reads from nobody to Half.")
    assert await made(stack) == [(1, 2, 3, 1)]
    await expect(begins).to_have_attribute("aria-valuetext", "2026-05-03 10:00:20")
    undo = page.page.get_by_role("button", name="Undo")
    await undo.click()
    await said(page, "Undone: 2 reads from Half to nobody.")
    assert await made(stack) == []
    # And that, too: it is another row, which has to be there first.
    await expect(moves(page)).to_have_count(2)
    await expect(undo).to_be_enabled()
    await undo.click()
    await said(page, "Undone: 2 reads from nobody to Half.")
    assert await made(stack) == [(1, 2, 3, 1)]


async def test_what_an_axis_shows_stands_in_a_table(page: Tab, reset: Reset) -> None:
    await page.open(f"race/{reset.race_id}")
    await page.page.get_by_role("region", name="Boundaries").get_by_text("The same in numbers").click()
    lines = page.page.get_by_role("table", name="Whose the reads are").locator(".body .row")
    await expect(lines).to_have_text(
        [
            "1from 1nobody's32026-05-03 10:00:002026-05-03 10:00:40",
            "2from 1Half32026-05-03 10:01:002026-05-03 10:01:40",
        ]
    )


async def test_undo_waits_for_the_list_that_has_what_it_has_done(
    page: Tab, stack: Stack, reset: Reset
) -> None:
    await page.open(f"race/{reset.race_id}")
    await handle(page, "Begins").focus()
    await page.page.keyboard.press("Shift+ArrowLeft")
    await expect(preview(page)).to_contain_text("3 reads from nobody to Half.")
    await page.page.keyboard.press("Enter")
    undo = page.page.get_by_role("button", name="Undo")
    await expect(undo).to_be_enabled()
    read, go = asyncio.Event(), asyncio.Event()

    async def late(route: Route) -> None:
        answer = await route.fetch()
        read.set()
        await go.wait()
        await route.fulfill(response=answer)

    # The list is asked for, since there is another race, and is on its way while it becomes another.
    await page.page.route("**/segments", late, times=1)
    await add_race(stack, "Relay")
    await asyncio.wait_for(read.wait(), 60)
    await undo.click()
    await said(page, "Undone: 3 reads from Half to nobody.")
    assert await undo.is_disabled()
    go.set()
    await expect(moves(page)).to_have_count(2)
    await expect(undo).to_be_enabled()
    await undo.click()
    await said(page, "Undone: 3 reads from nobody to Half.")


async def test_streams_beyond_those_whose_axes_are_drawn_show_theirs_when_asked(
    page: Tab, stack: Stack
) -> None:
    readers = [f"10.0.0.{n}:10000" for n in range(1, 15)]
    async with stack.forwarder("many", *readers) as forwarder:
        race_id = await add_race(stack, "Relay", "many")
        for reader in readers:
            forwarder.record(reader, line(TAGS[0]))
        passed = "SELECT count(*) = 14 FROM passings"
        await wait_until(lambda: stack.database.fetchval(passed), what="that all reads are passings")
        await page.open(f"race/{race_id}")
        sliders = page.page.get_by_role("slider", name="Begins")
        await expect(sliders).to_have_count(12)
        buttons = page.page.get_by_role("button", name="Show the time axis of")
        await expect(buttons).to_have_count(2)
        wanted = str(await buttons.last.get_attribute("aria-label")).removeprefix("Show the time axis of ")
        await buttons.last.click()
        await expect(sliders).to_have_count(13)
        await expect(
            page.page.get_by_role("slider", name=f"Begins: segment 1 of {wanted}", exact=True)
        ).to_be_visible()
        await expect(buttons).to_have_count(1)


async def test_a_boundary_is_drawn_with_the_mouse_and_typed(page: Tab, stack: Stack, reset: Reset) -> None:
    await page.open(f"race/{reset.race_id}")
    # Regions above push the axis down for as long as they are loaded. From where it is taken on it is held, wherever
    # it lies.
    for above in ("Came by", "Crossings"):
        region = page.page.get_by_role("region", name=above, exact=True)
        await expect(region.locator("h3, .row, .empty-title").locator("visible=true").first).to_be_visible()
    grip = handle(page, "Begins").locator(".grip")
    await grip.hover()
    await page.page.mouse.down()
    box = await grip.bounding_box()
    assert box is not None
    await page.page.mouse.move(box["x"] - 200, box["y"], steps=4)
    await page.page.mouse.up()
    await expect(preview(page)).to_contain_text("3 reads from nobody to Half.")
    assert await made(stack) == []
    await page.page.get_by_label("By the reader's clock").fill("2026-05-03T10:00:35")
    await expect(preview(page)).to_contain_text("1 read from nobody to Half.")
    await page.page.get_by_role("button", name="Apply").click()
    await said(page, "Moved: 1 read from nobody to Half.")
    assert await made(stack) == [(1, 3, 3, 1)]


async def test_who_moves_what_somebody_else_has_moved_meanwhile_is_told(
    page: Tab, stack: Stack, reset: Reset
) -> None:
    await page.open(f"race/{reset.race_id}")
    await handle(page, "Begins").focus()
    await page.page.keyboard.press("Shift+ArrowLeft")
    await expect(preview(page)).to_contain_text("3 reads from nobody to Half.")
    other = UUID(await add_race(stack, "Relay"))
    await stack.database.execute(
        "INSERT INTO race_segments (stream_id, race_id, from_epoch, from_seq, to_epoch, to_seq)"
        " VALUES ($1, $2, 1, 1, 1, 2)",
        reset.stream_id,
        other,
    )
    await page.page.keyboard.press("Enter")
    await expect(preview(page).get_by_role("alert")).to_contain_text("somebody else has moved boundaries")
    page.refused(409)
    assert await made(stack) == [(1, 1, 1, 2)]


@pytest.mark.parametrize("size", [NARROW, WIDE], ids=["360", "1440"])
async def test_boundaries_are_readable(browser: Browser, stack: Stack, reset: Reset, size: Size) -> None:
    async with tab(browser, stack.url, size=size) as page:
        await page.open(f"race/{reset.race_id}")
        await handle(page, "Begins").focus()
        await page.page.keyboard.press("Shift+ArrowLeft")
        await expect(preview(page)).to_contain_text("3 reads from nobody to Half.")
        assert await violations_by_night_and_day(page.page) == []
        wide = "() => Math.max(0, document.documentElement.scrollWidth - innerWidth)"
        assert await page.page.evaluate(wide) == 0
        await page.page.keyboard.press("Escape")
        assert page.errors == []
