"""Reads of a point, which is all the streams that stand there: in the latest reads, on the first page and of a race."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import pytest
from playwright.async_api import Locator, expect

from deploy.simulation.devices.forwarder import Forwarder
from shared.db.channels import RACES
from tests.dashboard.browser import Tab, violations
from tests.dashboard.conftest import Stack
from tests.dashboard.test_race_page import add_race
from tests.lines import line
from tests.waiting import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="session")

START, LEFT, RIGHT = [f"10.0.0.{n}:10000" for n in (1, 2, 3)]
# Which chip is read where; a mat of no race stands beside.
READS = ((START, "0580000000A1"), (LEFT, "0580000000B2"), (RIGHT, "0580000000C3"))

_LOOKS = "(each) => [getComputedStyle(each).color, getComputedStyle(each).backgroundColor].join()"


@asynccontextmanager
async def course(stack: Stack, *, silent: bool = False) -> AsyncIterator[tuple[str, Forwarder]]:
    """Run a race of a start and a finish of two mats, and a box of no race; each has read a chip, unless `silent`."""
    async with stack.forwarder("mats", START, LEFT, RIGHT) as mats, stack.forwarder("other", START) as other:
        race_id = await add_race(stack, "Half", "mats")
        for statement in (
            "INSERT INTO race_points VALUES ($1, 1, 'Start'), ($1, 2, 'Finish')",
            "INSERT INTO point_streams SELECT $1, stream_id, CASE reader_ip WHEN '10.0.0.1:10000' THEN 1 ELSE 2 END "
            "FROM streams WHERE forwarder_id = 'mats'",
        ):
            await stack.database.execute(statement, UUID(race_id))
        await stack.database.execute("SELECT pg_notify($1, '')", RACES)
        for reader, chip in () if silent else READS:
            # One after the other: what comes at once has no order.
            mats.record(reader, line(chip))
            await mats.drained()
        if not silent:
            other.record(START, line("0580000000D4"))
            await other.drained()
            stored = "SELECT count(*) = 4 FROM events"
            await wait_until(lambda: stack.database.fetchval(stored), what="all reads")
        yield race_id, mats


def shown(page: Tab, title: str = "Chip") -> Locator:
    return page.page.locator(f".tail .body .row [data-title='{title}']")


async def test_the_latest_reads_of_a_point_are_those_of_all_its_mats(page: Tab, stack: Stack) -> None:
    async with course(stack) as (_, mats):
        await page.open()
        await expect(shown(page)).to_have_count(4)
        await page.page.get_by_label("Point or stream").select_option(label="Finish")
        await expect(shown(page)).to_have_text(["0580000000c3", "0580000000b2"])
        await expect(shown(page, "Where")).to_have_text(
            [f"Finish · mats · {RIGHT}", f"Finish · mats · {LEFT}"]
        )
        mats.record(START, line("0580000000E5"))
        mats.record(LEFT, line("0580000000F6"))
        await expect(shown(page)).to_have_text(["0580000000f6", "0580000000c3", "0580000000b2"])
        # With a chip, too.
        await page.page.get_by_label("Chip, bib or name").fill("0580000000a1")
        await expect(page.page.get_by_text("No read of 0580000000a1 at Finish.")).to_be_visible()
        await page.page.get_by_label("Chip, bib or name").fill("0580000000b2")
        await expect(shown(page)).to_have_text(["0580000000b2"])


async def test_a_point_that_gets_another_mat_has_its_reads(page: Tab, stack: Stack) -> None:
    async with course(stack) as (race_id, _):
        await page.open()
        where = page.page.get_by_label("Point or stream")
        await where.select_option(label="Finish")
        await where.blur()
        await expect(shown(page)).to_have_count(2)
        moved = "UPDATE point_streams SET place = 2 WHERE race_id = $1"
        await stack.database.execute(moved, UUID(race_id))
        await stack.database.execute("UPDATE races SET course_changed_at = now()")
        await stack.database.execute("SELECT pg_notify($1, '')", RACES)
        await expect(shown(page)).to_have_count(3)


async def test_the_page_of_a_race_has_its_reads_and_no_others(page: Tab, stack: Stack) -> None:
    async with course(stack) as (race_id, _):
        await page.open(f"race/{race_id}")
        await expect(shown(page)).to_have_text(["0580000000c3", "0580000000b2", "0580000000a1"])
        where = page.page.get_by_label("Point or stream")
        await expect(where.locator("option")).to_have_text(
            ["All streams", "Start", "Finish", *(f"mats · {reader}" for reader, _ in READS)]
        )
        await where.select_option(label="Start")
        await expect(shown(page)).to_have_text(["0580000000a1"])


async def test_touching_the_latest_reads_holds_them_until_somebody_goes_on(page: Tab, stack: Stack) -> None:
    async with course(stack) as (_, mats):
        await page.open()
        await expect(shown(page)).to_have_count(4)
        await page.page.locator(".tail").click()
        go_on = page.page.get_by_role("button", name="Go on")
        await expect(go_on).to_be_visible()
        mats.record(LEFT, line("0580000000F6"))
        await expect(page.page.get_by_text("1 read since it was paused.")).to_be_visible()
        await expect(shown(page)).to_have_count(4)
        await go_on.click()
        await expect(shown(page)).to_have_count(5)
        await expect(page.page.get_by_text("since it was paused")).to_be_hidden()


async def test_chips_of_any_length_make_no_address_that_a_proxy_refuses(page: Tab, stack: Stack) -> None:
    async with course(stack) as (race_id, _):
        for statement in (
            "INSERT INTO participants SELECT $1, n, 'Ada', 'Byron', NULL, 'F' FROM generate_series(1, 60) AS n",
            "INSERT INTO chips SELECT $1, lpad(n::text, 60, 'ä'), n, n, true FROM generate_series(1, 60) AS n",
        ):
            await stack.database.execute(statement, UUID(race_id))
        asked: list[str] = []
        page.page.on("request", lambda request: asked.append(request.url))
        await page.open()
        await page.page.get_by_label("Chip, bib or name").fill("Ada")
        await expect(page.page.get_by_text("Of 60 chips that are meant")).to_be_visible()
        await wait_until(lambda: max(map(len, asked)) > 2000, what="reads of those chips to be asked for")
        assert max(map(len, asked)) < 5000


async def test_a_point_of_which_all_streams_are_closed_is_grey(page: Tab, stack: Stack) -> None:
    async with course(stack, silent=True):
        await page.open()
        finish = page.page.locator(".point", has_text="Finish")
        open_looks = await finish.evaluate(_LOOKS)
        ids = await stack.database.fetch(
            "SELECT stream_id::text FROM streams WHERE reader_ip = ANY($1)", [LEFT, RIGHT]
        )
        for each, looks_open in zip(ids, (True, False), strict=True):
            path = f"{stack.url}/api/v1/streams/{each['stream_id']}"
            assert (await page.page.request.patch(path, data={"closed": True})).ok
            # One mat of two is none of a closed point.
            await expect(finish).to_have_attribute("data-level", "silent" if looks_open else "quiet")
        assert await finish.evaluate(_LOOKS) != open_looks
        assert await violations(page.page) == []
