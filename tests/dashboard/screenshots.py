"""Pictures of the dashboard's main states, to be looked at: `make screenshots`. Nothing is checked here, and pytest
runs this file only when it is named; it is written as a test because it shows what the tests' browser and stack show.
"""

import re
import signal
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random

import pytest
from playwright.async_api import Browser, FilePayload, expect

from deploy.simulation.devices.forwarder import Forwarder
from tests.dashboard.browser import NARROW, WIDE, Size, Tab, Theme, tab
from tests.dashboard.conftest import Stack
from tests.dashboard.halls import Hall
from tests.dashboard.readers import tell_battery, tell_reader
from tests.dashboard.test_person_page import opened_link
from tests.dashboard.test_search import add_course, find
from tests.lines import line
from tests.postgres import Postgresql, frozen

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(300)]

FOLDER = Path(__file__).parents[2] / ".screenshots"
MATS = ("Start", "5 km split", "Transition 1", "Bike turn", "Run turn", "Finish line")
LONG = "Zieleinlauf Marktplatz, Halbmarathon der Männer und Frauen, Nordseite, zweite Matte von links"
LOOKS: tuple[tuple[Size, Theme], ...] = (
    (WIDE, "light"),
    (WIDE, "dark"),
    (NARROW, "light"),
    (NARROW, "dark"),
)

# Half an hour in a moment: the field comes by twice.
_PAST = """
UPDATE stream_samples SET counts = ARRAY(
    SELECT (45 * exp(-power((n - 60) / 22.0, 2)) + 70 * exp(-power((n - 140) / 16.0, 2)) + random() * 6)::integer
    FROM generate_series(1, 180) AS n
)
"""
_RUNNERS = """
INSERT INTO participants
SELECT $1, n, (ARRAY['Ada', 'Alan', 'Grace', 'Edsger', 'Barbara'])[1 + n % 5],
       (ARRAY['Byron', 'Turing', 'Hopper', 'Dijkstra', 'Liskov', 'Lamport', 'Hamilton'])[1 + n % 7],
       CASE WHEN n % 3 > 0 THEN 'Running Club ' || n % 4 END, (ARRAY['F', 'M', 'X'])[1 + n % 3]
FROM generate_series(0, 395) AS n
"""
_CHIPS = """
INSERT INTO chips
SELECT $1::uuid, '05800000' || lpad(to_hex(n), 4, '0'), n, n, true FROM generate_series(0, 397) AS n
UNION ALL SELECT $1::uuid, '058000000007', 8, 1000, false
"""
# Each stream is a point, in the order of forwarders, and the gun was a while ago.
_COURSE = """
WITH gun AS (UPDATE races SET gun_at = now() - interval '1:14:07' WHERE race_id = $1),
points AS (
    INSERT INTO race_points SELECT $1, place, name FROM unnest($2::text[]) WITH ORDINALITY AS point(name, place)
)
INSERT INTO point_streams
SELECT $1, stream_id, row_number() OVER (ORDER BY forwarder_id) FROM streams
"""
_ALIAS = "UPDATE streams SET display_alias = $2 WHERE forwarder_id = $1"


class Camera:
    """Takes pictures of a stack's pages."""

    def __init__(self, browser: Browser, stack: Stack) -> None:
        self._browser = browser
        self._stack = stack

    async def take(
        self, name: str, place: str = "", *, shown: str, press: "str | re.Pattern[str] | None" = None
    ) -> None:
        """Take a place when `shown` is there, in every size and theme; after a press on the button of a name."""
        for size, theme in LOOKS:
            async with tab(self._browser, self._stack.url, size=size, theme=theme) as page:
                await page.open(place)
                if press is not None:
                    await page.page.get_by_role("button", name=press).first.click()
                await expect(page.page.locator(shown).first).to_be_visible()
                await save(page, name, size, theme, whole=press is None)

    async def take_lost(self) -> None:
        """Take the first page when the api process has been stopped for a while."""
        for size, theme in (LOOKS[0], LOOKS[3]):
            async with tab(self._browser, self._stack.url, size=size, theme=theme) as page:
                await page.open()
                self._stack.api.signal(signal.SIGSTOP)
                await page.verdict("LINK LOST")
                await save(page, "lost", size, theme)
                self._stack.api.signal(signal.SIGCONT)

    async def take_without_database(self, cluster: Postgresql) -> None:
        """Take the first page when the database has not answered for a while."""
        for size, theme in (LOOKS[0], LOOKS[3]):
            async with tab(self._browser, self._stack.url, size=size, theme=theme) as page:
                await page.open()
                with frozen(cluster):
                    await page.verdict("NO DATABASE")
                    await save(page, "no-database", size, theme)


async def save(page: Tab, name: str, size: Size, theme: Theme, *, whole: bool = True) -> None:
    """Save what the window shows, or the whole page: the window becomes that high, or the rest is not drawn."""
    if whole:
        height = await page.page.evaluate("document.documentElement.scrollHeight")
        await page.page.set_viewport_size({"width": size[0], "height": height})
    await page.page.screenshot(path=FOLDER / f"{name}-{size[0]}-{theme}.png")


async def race(forwarder: Forwarder, reads: int) -> None:
    """Have a forwarder record the reads of a field, and bring them in."""
    random = Random(forwarder.device_id)
    for _ in range(reads):
        forwarder.record(forwarder.readers[0], line(f"05800000{random.randrange(400):04x}"))
    await forwarder.drained()


async def test_pictures(browser: Browser, stack: Stack, cluster: Postgresql) -> None:
    camera = Camera(browser, stack)
    await camera.take("zero", shown=".empty")
    await camera.take("zero-devices", "devices", shown=".empty")
    async with AsyncExitStack() as devices:
        forwarders = [
            await devices.enter_async_context(
                stack.forwarder(f"mat-{n}", f"10.0.{n}.1:10000", display_name=f"Box {n}")
            )
            for n in range(len(MATS))
        ]
        for forwarder, mat in zip(forwarders, MATS, strict=True):
            await race(forwarder, 170)
            await stack.database.execute(_ALIAS, forwarder.device_id, mat)
        follows = [(each.device_id, each.readers[0]) for each in forwarders]
        await devices.enter_async_context(stack.receiver("tent-1", *follows))
        await stack.database.execute(_PAST)
        finish = await stack.stream_id("mat-5")
        await camera.take("race", shown=".tail .body .row")
        await tell(stack)
        await camera.take("stream", f"stream/{finish}", shown=".rows.reads .body .row")
        await camera.take("reset", f"stream/{finish}", shown="dialog", press="Reset epoch…")
        await camera.take("clear", f"stream/{finish}", shown="dialog", press=re.compile("^Clear its memory"))
        await camera.take("read-mode", f"stream/{finish}", shown="dialog", press=re.compile("^Read mode"))
        await camera.take("announcer-setting", "announcer", shown=".choice .check")
        await camera.take("devices", "devices", shown=".rows.tokens .body .row")
        await camera.take("config", "config/mat-5", shown="textarea")
        await camera.take("log", "log", shown=".rows.log .body .row")
        await alert(stack, forwarders)
        await camera.take("trouble", shown=".card[data-level=act]")
        await camera.take("conflicts", "conflicts", shown=".conflict")
        await camera.take_lost()
        await camera.take_without_database(cluster)


async def tell(stack: Stack) -> None:
    """Let most forwarders be newer ones, of which one is on battery and one has lost its reader."""
    for n in range(1, len(MATS)):
        await tell_reader(stack, f"mat-{n}", f"10.0.{n}.1:10000", connected=n != 2)
    await tell_battery(stack, "mat-3", battery_percent=64)
    await tell_battery(stack, "mat-5", battery_percent=31, power_plugged=False, charging=False)


async def alert(stack: Stack, forwarders: list[Forwarder]) -> None:
    """Let one forwarder die, one lose its journal, one read rubbish, and one have a long name."""
    start, split, *_, finish = forwarders
    await stack.database.execute(_ALIAS, split.device_id, LONG)
    await start.stop()
    split.record(split.readers[0], "no chip, but noise on the cable")
    await split.drained()
    await finish.loses_journal()
    await race(finish, 2)
    await stack.pass_time(100)


async def test_pictures_of_what_operators_say(browser: Browser, stack: Stack) -> None:
    camera = Camera(browser, stack)
    async with AsyncExitStack() as devices:
        forwarders = [
            await devices.enter_async_context(
                stack.forwarder(f"mat-{n}", f"10.0.{n}.1:10000", display_name=f"Box {n}")
            )
            for n in range(len(MATS))
        ]
        for forwarder, mat in zip(forwarders, MATS, strict=True):
            await race(forwarder, 20)
            await stack.database.execute(_ALIAS, forwarder.device_id, mat)
        await stack.database.execute(_PAST)
        await alert(stack, forwarders)
        await camera.take("acknowledge", shown="dialog", press="Acknowledge")
        await camera.take("mute", shown="dialog", press=re.compile("^Mute"))
        await answer(browser, stack)
        await camera.take("answered", shown=".alert[data-quiet]")
        closed = await stack.stream_id("mat-2")
        await camera.take("closed-stream", f"stream/{closed}", shown=".closed")
        await camera.take("devices-streams", "devices", shown=".rows.tokens .body .row")
        await once(browser, stack)


async def test_pictures_of_a_race(browser: Browser, stack: Stack) -> None:
    camera = Camera(browser, stack)
    async with AsyncExitStack() as devices:
        forwarders = [
            await devices.enter_async_context(
                stack.forwarder(f"mat-{n}", f"10.0.{n}.1:10000", display_name=f"Box {n}")
            )
            for n in range(3)
        ]
        race_id = await stack.database.fetchval("INSERT INTO races (name) VALUES ('10 km') RETURNING race_id")
        await stack.database.execute(_RUNNERS, race_id)
        await stack.database.execute(_CHIPS, race_id)
        for forwarder, mat in zip(forwarders, MATS, strict=False):
            await stack.database.execute(_ALIAS, forwarder.device_id, mat)
            await stack.database.execute(
                "INSERT INTO forwarder_races VALUES ($1, $2)", forwarder.device_id, race_id
            )
        await stack.database.execute("INSERT INTO epoch_races SELECT stream_id, 1, $1 FROM streams", race_id)
        await stack.database.execute(_COURSE, race_id, list(MATS[:3]))
        for forwarder in forwarders:
            await race(forwarder, 170)
        await camera.take("races", "races", shown=".rows.races .body .row")
        await camera.take("one-race", f"race/{race_id}", shown=".rows.roster .body .row")
        await camera.take("begin", f"race/{race_id}", shown="dialog", press="Begin race…")
        await camera.take("arrange", f"race/{race_id}", shown="dialog", press="Arrange the points…")
        await camera.take("certificate", f"certificate/{race_id}", shown=".sheet tbody tr")
        await camera.take("named-tail", shown=".course .point")
        await files(browser, stack, race_id)
        await anybody(browser, stack)


async def anybody(browser: Browser, stack: Stack) -> None:
    """Look for a name in each size and theme, and at one who is called so."""
    for size, theme in LOOKS:
        async with tab(browser, stack.url, size=size, theme=theme) as page:
            await page.open()
            await find(page, "ada by")
            await expect(page.page.locator(".rows.found .body .row").first).to_be_visible()
            await save(page, "found", size, theme)
            await page.page.locator(".rows.found .body a").first.click()
            await expect(page.page.locator(".course-dots li")).to_have_count(3)
            await save(page, "one-person", size, theme)


async def files(browser: Browser, stack: Stack, race_id: object) -> None:
    """Choose both files of a race, one with a bad row, in each size and theme."""
    for size, theme in LOOKS:
        async with tab(browser, stack.url, size=size, theme=theme) as page:
            await page.open(f"race/{race_id}")
            chosen: list[FilePayload] = [
                {"name": "people.ppl", "mimeType": "", "buffer": b"1,Byron,Ada\nbib,last,first\n3,Only\n"},
                {"name": "chips.bibchip", "mimeType": "", "buffer": b"bib,chip\n1,aa\n2,aa\n"},
            ]
            await page.page.locator("input[type=file]").set_input_files(chosen)
            await expect(page.page.locator(".file")).to_have_count(2)
            await save(page, "files", size, theme)


async def answer(browser: Browser, stack: Stack) -> None:
    """Acknowledge one alert, mute another, and close a stream."""
    async with tab(browser, stack.url) as page:
        await page.open()
        await page.page.get_by_role("button", name="Acknowledge").first.click()
        await page.page.get_by_label("Why").fill("the van is under way with another box")
        await page.page.get_by_role("dialog").get_by_role("button", name="Acknowledge").click()
        await page.closed()
        await page.page.get_by_role("button", name=re.compile("^Mute")).last.click()
        await page.page.get_by_label("Why").fill("loose cable, known since Friday")
        await page.page.get_by_role("dialog").get_by_role("button", name="Mute").click()
        await page.closed()
        await page.open(f"stream/{await stack.stream_id('mat-2')}")
        await page.page.get_by_role("button", name="Close…").click()
        await page.page.get_by_role("dialog").get_by_role("button", name="Close stream").click()
        await page.closed()


async def once(browser: Browser, stack: Stack) -> None:
    """Make a token in each size and theme, and try to get away from it."""
    for size, theme in LOOKS:
        async with tab(browser, stack.url, size=size, theme=theme) as page:
            await page.open("devices")
            await page.page.get_by_label("Device id").fill("start-line")
            await page.page.get_by_role("button", name="Make a token").click()
            await expect(page.page.get_by_role("dialog")).to_be_visible()
            await page.page.keyboard.press("Escape")
            await expect(page.page.locator(".ask")).to_be_visible()
            await save(page, "once", size, theme, whole=False)


@pytest.mark.parametrize(("size", "theme"), LOOKS)
async def test_the_announcer_s_page(browser: Browser, stack: Stack, size: Size, theme: Theme) -> None:
    hall = Hall(stack)
    await hall.begin()
    async with tab(browser, stack.url, size=size, theme=theme) as opened:
        page = opened.page
        await page.goto(f"{stack.url}/announcer")
        await expect(page.locator("#calm")).to_have_text("Waiting for the first to come in")
        await page.screenshot(path=FOLDER / f"announcer-empty-{size[0]}-{theme}.png")
        await hall.come_in(1, 99, 3, 5, 6, 7, 4)
        await expect(page.locator("#list li")).to_have_count(7)
        await page.evaluate("Promise.all(document.getAnimations().map((each) => each.finished))")
        await page.screenshot(path=FOLDER / f"announcer-{size[0]}-{theme}.png")
        await page.context.set_offline(True)
        await expect(page.locator("#link")).to_contain_text("Link lost")
        await page.screenshot(path=FOLDER / f"announcer-lost-{size[0]}-{theme}.png")


@pytest.mark.parametrize(("size", "theme"), LOOKS)
async def test_the_page_of_a_link_to_one_person(
    browser: Browser, stack: Stack, size: Size, theme: Theme
) -> None:
    await add_course(stack)
    async with opened_link(browser, stack, size=size, theme=theme) as (page, _, _):
        await expect(page.locator(".course-dots li")).to_have_count(4)
        await page.screenshot(path=FOLDER / f"person-{size[0]}-{theme}.png", full_page=True)
        await page.context.set_offline(True)
        await expect(page.locator("#link")).to_contain_text("Link lost")
        await page.screenshot(path=FOLDER / f"person-lost-{size[0]}-{theme}.png")
