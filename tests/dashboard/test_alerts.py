"""What an operator says of an alert, and does about it, right where it is read; and what others see of that."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, get_args
from uuid import uuid4

import pytest
from playwright.async_api import Browser, Locator, Route, expect

from api.alerts.actions import Action, actions
from api.alerts.rules import Signal
from tests.dashboard.browser import NARROW, Tab, tab, violations
from tests.dashboard.conftest import Stack
from tests.dashboard.test_commands import READER, dialog, open_stream, said
from tests.lines import line
from tests.services import make_token
from tests.waiting import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="session")


def alert(page: Tab, name: str) -> Locator:
    """Return the open alert of a subject."""
    open_ones = page.page.locator(".alerts").first.locator(":scope > .alert")
    return open_ones.filter(has=page.page.get_by_role("link", name=name, exact=True))


async def fits(page: Tab) -> None:
    assert await page.page.evaluate("document.scrollingElement.scrollWidth <= innerWidth")


@asynccontextmanager
async def narrow(browser: Browser, stack: Stack) -> AsyncIterator[Tab]:
    """Another operator, with a phone."""
    async with tab(browser, stack.url, size=NARROW) as other:
        yield other
        assert other.errors == []


async def vanish(stack: Stack, device_id: str) -> None:
    """Let a forwarder have been there, and be gone for long enough to be told."""
    async with stack.forwarder(device_id, READER) as forwarder:
        forwarder.record(READER, line("0580000000A1"))
        await forwarder.drained()
    await stack.gone(device_id)
    await stack.pass_time(100)


async def test_an_alert_is_acknowledged_by_keyboard_and_all_see_who_and_why(
    page: Tab, browser: Browser, stack: Stack
) -> None:
    await vanish(stack, "known")
    async with narrow(browser, stack) as other:
        for each in (page, other):
            await each.open()
            await each.verdict("1 ACT")
        button = alert(other, "known").get_by_role("button", name="Acknowledge")
        await button.focus()
        await other.page.keyboard.press("Enter")
        await expect(dialog(other).get_by_label("Why")).to_be_focused()
        await fits(other)
        await other.page.keyboard.type("van is under way")
        await other.page.keyboard.press("Enter")
        await other.closed()
        for each in (page, other):
            await each.verdict("ALL GOOD")
            await expect(each.page.locator(".verdict .what")).to_contain_text("1 acknowledged")
            shown = alert(each, "known")
            await expect(shown).to_contain_text("Somebody knows of it since")
            await expect(shown).to_contain_text("van is under way")
            await expect(shown.locator(".badge")).to_have_text("known")
        await fits(other)
        # What is wrong stays in sight, on its card too.
        card = page.card(f"known · {READER}")
        await expect(card).to_contain_text("not connected")
        await expect(card.locator(".badge")).to_have_text("known")
        await alert(page, "known").get_by_role("button", name="Count again").click()
        await other.verdict("1 ACT")


async def test_an_alert_is_muted_with_a_reason_and_taken_back_after_it_has_ended(
    page: Tab, browser: Browser, stack: Stack
) -> None:
    await vanish(stack, "loose")
    async with narrow(browser, stack) as other:
        for each in (page, other):
            await each.open()
        await alert(other, "loose").get_by_role("button", name="Mute").click()
        await dialog(other).get_by_label("Why").fill("loose cable")
        await dialog(other).get_by_label("For").select_option("4 hours")
        await fits(other)
        await dialog(other).get_by_role("button", name="Mute").click()
        await other.closed()
        await page.verdict("ALL GOOD")
        await expect(page.page.locator(".verdict .what")).to_contain_text("1 muted")
        await expect(alert(page, "loose")).to_contain_text("by somebody: loose cable")
        # Its subject is gone; what is muted is not.
        await stack.retire()
        await expect(alert(page, "loose")).to_have_count(0)
        await page.page.get_by_text("1 condition muted").click()
        await expect(page.page.get_by_text(re.compile("^not connected · .*loose"))).to_be_visible()
        await page.page.get_by_role("button", name="Unmute").click()
        await expect(other.page.get_by_text("1 condition muted")).to_be_hidden()


async def test_who_comes_second_is_told_in_the_dialog_that_is_open(
    page: Tab, browser: Browser, stack: Stack
) -> None:
    await vanish(stack, "second")
    async with narrow(browser, stack) as other:
        for each in (page, other):
            await each.open()
            await alert(each, "second").get_by_role("button", name="Acknowledge").click()
        await dialog(page).get_by_role("button", name="Acknowledge").click()
        await page.closed()
        await expect(dialog(other).get_by_role("alert")).to_have_text("Somebody has acknowledged it already.")
        await expect(dialog(other).get_by_role("button", name="Acknowledge")).to_be_disabled()


# Whether words are on the screen, all of them in one line: what is cut off or covered is not what stands there.
_ON_SCREEN = """(node, words) => {
    const texts = document.createTreeWalker(node, NodeFilter.SHOW_TEXT);
    while (texts.nextNode() && !texts.currentNode.data.includes(words));
    const range = document.createRange();
    const at = texts.currentNode.data.indexOf(words);
    range.setStart(texts.currentNode, at);
    range.setEnd(texts.currentNode, at + words.length);
    const { left, right, top, bottom } = range.getBoundingClientRect();
    const there = (x) => node.contains(document.elementFromPoint(x, (top + bottom) / 2));
    return {
        shown: there(left + 1) && there(right - 1),
        oneLine: range.getClientRects().length === 1,
        first: top - node.getBoundingClientRect().top < bottom - top,
    };
}"""


async def test_however_long_a_name_is_what_is_wrong_is_on_a_phone_s_screen(
    browser: Browser, stack: Stack
) -> None:
    alias = ("Zieleinlauf Marktplatz Halbmarathon der Männer und Frauen Nordseite " * 3)[:160]
    async with stack.forwarder("long-named", READER) as forwarder, narrow(browser, stack) as phone:
        forwarder.record(READER, line("0580000000A1"))
        await forwarder.drained()
        await stack.silence("long-named", seconds=600)
        path = f"{stack.url}/api/v1/streams/{await stack.stream_id('long-named')}"
        assert (await phone.page.request.patch(path, data={"display_alias": alias})).ok
        await phone.open()
        await phone.verdict("1 ACT")
        reason = "no read for more than 45 s"
        verdict, first = phone.page.locator(".verdict .what"), phone.page.locator(".alert .what").first
        for place in (verdict, first):
            await expect(place).to_contain_text(alias[:30])
            await expect(place).to_contain_text(reason)
            where = await place.evaluate(_ON_SCREEN, reason)
            assert where == {"shown": True, "oneLine": True, "first": True}
        await fits(phone)
        # On its own page, too, it stands before what can be pressed.
        await phone.open(f"stream/{await stack.stream_id('long-named')}")
        head = phone.page.locator(".stream-head")
        wrong = await head.locator(".reasons").bounding_box()
        pressed = await head.get_by_role("button", name="Close…").bounding_box()
        assert wrong is not None
        assert pressed is not None
        assert wrong["y"] + wrong["height"] <= pressed["y"]
        await fits(phone)
    await stack.retire()


async def test_a_stream_is_closed_at_its_alert_and_opened_on_its_page(
    page: Tab, browser: Browser, stack: Stack
) -> None:
    async with stack.forwarder("closed", READER) as forwarder, narrow(browser, stack) as other:
        forwarder.record(READER, line("0580000000A1"))
        await forwarder.drained()
        await stack.silence("closed", seconds=600)
        for each in (page, other):
            await each.open()
        await expect(alert(page, f"closed · {READER}")).to_contain_text("no read for more than 45 s")
        await alert(page, f"closed · {READER}").get_by_role("button", name="Close stream").click()
        await dialog(page).get_by_role("button", name="Close stream").click()
        await said(page, f"closed · {READER} is closed.")
        for each in (page, other):
            await each.verdict("ALL GOOD")
            card = each.card(f"closed · {READER}")
            await expect(card).to_contain_text("Closed by somebody")
        # A read that comes all the same is not hidden, and no alert.
        forwarder.record(READER, line("0580000000A2"))
        await expect(page.card(f"closed · {READER}")).to_contain_text("1 read since: stored and delivered")
        await stack.clear()
        await expect(page.card(f"closed · {READER}").locator(".badge")).to_have_text("closed")
        await fits(other)
        await open_stream(other, stack, "closed")
        await other.page.get_by_role("button", name="Open again").click()
        await said(other, f"closed · {READER} is open again.")
        await expect(page.card(f"closed · {READER}").locator(".badge")).to_have_text("good")


async def test_the_streams_of_a_forwarder_that_is_gone_are_closed_at_its_alert(
    page: Tab, stack: Stack
) -> None:
    await vanish(stack, "taken-down")
    await page.open()
    await alert(page, "taken-down").get_by_role("button", name="Close its streams").click()
    await dialog(page).get_by_role("button", name="Close its streams").click()
    await said(page, "1 stream of taken-down closed.")
    await page.verdict("ALL GOOD")
    await page.open("devices")
    row = page.page.get_by_role("table", name="Forwarders").locator(".row", has_text="taken-down")
    await row.get_by_role("button", name="Open streams").click()
    await page.verdict("1 ACT")


async def test_tokens_of_a_forwarder_are_revoked_at_its_alert(page: Tab, stack: Stack) -> None:
    await vanish(stack, "sold")
    await page.open()
    await alert(page, "sold").get_by_role("button", name="Revoke its tokens").click()
    await dialog(page).get_by_role("button", name="Revoke").click()
    await said(page, "sold has no token any more.")
    await expect(alert(page, "sold")).to_have_count(0)


async def test_tokens_that_somebody_else_has_revoked_meanwhile_are_no_reason_to_stop(
    page: Tab, stack: Stack
) -> None:
    await vanish(stack, "halved")
    await make_token(stack.database, "forwarder", "halved")
    await page.open()
    await alert(page, "halved").get_by_role("button", name="Revoke its tokens").click()
    await expect(dialog(page).get_by_role("heading")).to_have_text("Revoke 2 tokens of forwarder halved")
    first = "SELECT token_id FROM device_tokens WHERE device_id = 'halved' ORDER BY created_at LIMIT 1"
    token_id = await stack.database.fetchval(first)
    other = await page.page.request.post(f"{stack.url}/api/v1/admin/tokens/{token_id}/revoke")
    assert other.status == 204
    await dialog(page).get_by_role("button", name="Revoke").click()
    await said(page, "halved has no token any more.")
    left = "SELECT count(*) FROM device_tokens WHERE device_id = 'halved' AND revoked_at IS NULL"
    assert await stack.database.fetchval(left) == 0
    page.refused(404)


async def test_a_token_that_is_made_meanwhile_is_kept_and_said(page: Tab, stack: Stack) -> None:
    await vanish(stack, "replaced")
    await page.open()
    await alert(page, "replaced").get_by_role("button", name="Revoke its tokens").click()
    await expect(dialog(page).get_by_role("heading")).to_have_text("Revoke 1 token of forwarder replaced")
    await make_token(stack.database, "forwarder", "replaced")
    await dialog(page).get_by_role("button", name="Revoke").click()
    await said(page, "replaced has 1 token made meanwhile.")


async def test_cursors_of_a_receiver_are_deleted_at_its_alert(page: Tab, stack: Stack) -> None:
    async with stack.forwarder("flows", READER) as forwarder:
        forwarder.record(READER, line("0580000000A1"))
        async with stack.receiver("tent", ("flows", READER)) as receiver:
            await receiver.wait_for(1)
            follows = "SELECT count(*) FROM subscriptions WHERE receiver_id = 'tent'"
            await wait_until(lambda: stack.database.fetchval(follows), what="what it follows to be noted")
        await page.open()
        await alert(page, "receiver tent").get_by_role("button", name="Delete its cursors").click()
        await dialog(page).get_by_role("button", name="Delete its cursors").click()
        await said(page, "The cursors of tent are deleted.")
        await expect(alert(page, "receiver tent")).to_have_count(0)


def made_up(signal: Signal, kind: str, number: int) -> dict[str, Any]:
    """Return an alert as the server would tell it."""
    stream_id = str(uuid4()) if kind == "stream" else None
    return {
        "trouble_id": 1_000_000 + number,
        "signal": signal,
        "subject_kind": kind,
        "subject_id": stream_id or "somebody",
        "stream_id": stream_id,
        "title": f"{signal} {kind}",
        "level": "act",
        "reason": "wrong",
        "advice": "Mend it.",
        "actions": actions(signal, kind),  # type: ignore[arg-type]
        "since": "2026-05-03T08:00:00+00:00",
        "ended_at": None,
        "duration_s": None,
        "quiet": None,
        "acknowledged": None,
        "muted": None,
    }


async def test_who_listens_hears_what_an_alert_says_now(page: Tab, stack: Stack) -> None:
    told = made_up("forwarder_gone", "forwarder", 1)

    async def more(route: Route) -> None:
        answer = await route.fetch()
        await route.fulfill(json={**await answer.json(), "troubles": [told]})

    await page.page.route("**/api/v1/overview", more)
    await page.open()
    button = page.page.get_by_role("button", name="Acknowledge: wrong · forwarder_gone forwarder")
    await expect(button).to_be_visible()
    changed = {"trouble_id": told["trouble_id"], "reason": "worse", "title": "Box"}
    await page.page.evaluate(
        "async (row) => (await import('/static/state.js')).takeEvent({ type: 'changed', troubles: [row] })",
        changed,
    )
    item = alert(page, "Box")
    for verb in ("Acknowledge", "Mute"):
        await expect(item.get_by_role("button", name=f"{verb}: worse · Box", exact=True)).to_be_visible()
    actions_of_it = item.locator("[data-action]")
    assert await actions_of_it.count() == len(told["actions"]) > 0
    names = [await each.get_attribute("aria-label") for each in await actions_of_it.all()]
    assert all(name is not None and name.endswith(": Box") for name in names), names
    # What it opens is what it says.
    streams = item.locator("[data-action=open_streams]")
    if await streams.count():
        assert await streams.get_attribute("href") == "#/streams/Box"
    await item.get_by_role("button", name="Close its streams").click()
    await expect(dialog(page).get_by_role("heading")).to_have_text("Close all streams of Box")


async def test_every_action_of_every_kind_of_alert_is_there_to_be_pressed(page: Tab, stack: Stack) -> None:
    kinds = ("stream", "forwarder", "receiver", "process", "database")
    wanted = [(signal, kind) for signal in get_args(Signal) for kind in kinds]
    alerts = [made_up(signal, kind, number) for number, (signal, kind) in enumerate(wanted)]

    async def more(route: Route) -> None:
        answer = await route.fetch()
        overview = await answer.json()
        await route.fulfill(json={**overview, "troubles": alerts})

    await page.page.route("**/api/v1/overview", more)
    await page.open()
    shown = set()
    for each in alerts:
        item = alert(page, each["title"])
        for kind in each["actions"]:
            await expect(item.locator(f"[data-action={kind}]")).to_be_visible()
            shown.add(kind)
        await expect(item.get_by_role("button", name="Acknowledge")).to_be_visible()
        await expect(item.get_by_role("button", name="Mute")).to_be_visible()
    assert shown == set(get_args(Action))


async def test_one_cause_is_one_entry_with_all_that_is_of_it(page: Tab, stack: Stack) -> None:
    readers = [f"10.0.0.{n}:10000" for n in range(1, 9)]
    async with stack.forwarder("box", *readers) as box, stack.forwarder("other", readers[0]) as other:
        for reader in readers:
            box.record(reader, "no chip, but noise on the cable")
        other.record(readers[0], "no chip, but noise on the cable")
        await box.drained()
        await other.drained()
        await page.open()
        await page.verdict("2 ACT")
        entries = page.page.locator("#alerts .alerts > .alert:not(.same-cause .alert)")
        await expect(entries).to_have_count(2)
        fold = page.page.get_by_text("7 more alerts of the same cause")
        await fold.click()
        await expect(page.page.locator(".same-cause .alert").filter(visible=True)).to_have_count(7)
        assert await violations(page.page) == []
