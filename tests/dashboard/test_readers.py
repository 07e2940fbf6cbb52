"""Readers and batteries where an operator looks, and what is done to them."""

import json
from typing import Any

import pytest
from playwright.async_api import Locator, Route, expect

from tests.dashboard.browser import Tab
from tests.dashboard.conftest import Stack
from tests.dashboard.readers import tell_battery, tell_reader
from tests.waiting import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="session")

READER = "10.0.0.1:10000"


def panel(page: Tab) -> Locator:
    return page.page.get_by_role("region", name="Reader", exact=True)


def dialog(page: Tab) -> Locator:
    return page.page.get_by_role("dialog")


async def open_stream(page: Tab, stack: Stack, device_id: str) -> None:
    await page.open(f"stream/{await stack.stream_id(device_id)}")
    await expect(page.page.get_by_role("heading", level=1)).to_have_text(f"{device_id} · {READER}")


class Asked:
    """What the page asks of a reader, answered here as a forwarder would."""

    def __init__(self, status: int = 200, answer: Any = None) -> None:
        self.came: list[tuple[str, str, Any]] = []
        self.status = status
        self.answer = answer or {"ok": True, "error": None, "reader_info": None}

    async def serve(self, page: Tab) -> None:
        async def take(route: Route) -> None:
            request = route.request
            self.came.append((request.method, request.url.partition("/api/v1")[2], request.post_data_json))
            await route.fulfill(
                status=self.status, body=json.dumps(self.answer), content_type="application/json"
            )

        await page.page.route("**/readers/**", take)
        await page.page.route("**/control/**", take)


async def test_a_reader_shows_its_clock_mode_recording_and_its_forwarder_s_battery(
    page: Tab, stack: Stack
) -> None:
    async with stack.forwarder("told", READER):
        await tell_reader(stack, "told", READER)
        await tell_battery(stack, "told", power_plugged=False, charging=False, battery_percent=54)
        await open_stream(page, stack, "told")
        for label, value in {
            "Link": "connected",
            "Clock, by its forwarder": "1.5 s behind",
            "Mode": "event, timeout 5",
            "Records in its memory": "on",
            "Reads in its memory": "4,116",
            "Firmware": "3.09",
            "Battery, of its box": "54 %, on battery",
        }.items():
            await expect(page.fact(panel(page), label)).to_have_text(value)
        await page.open("devices")
        row = page.page.get_by_role("table", name="Forwarders").locator(".row", has_text="told")
        await expect(row.locator("[data-title=Battery]")).to_have_text("54 %, on battery")


async def test_a_forwarder_that_tells_nothing_of_its_reader_is_no_fault(page: Tab, stack: Stack) -> None:
    async with stack.forwarder("older", READER):
        await open_stream(page, stack, "older")
        await expect(panel(page).get_by_text("Its forwarder tells nothing of this reader.")).to_be_visible()
        await expect(panel(page).get_by_role("button")).to_have_count(0)
        await expect(page.page.locator(".stream-head .presence")).to_have_text("online")


async def test_a_reader_that_is_unplugged_says_so_where_its_stream_stands(page: Tab, stack: Stack) -> None:
    async with stack.forwarder("plugged", READER):
        await tell_reader(stack, "plugged", READER)
        await page.open()
        presence = page.card(f"plugged · {READER}").locator(".presence")
        await expect(presence).to_have_text("online")
        await tell_reader(stack, "plugged", READER, connected=False)
        await expect(presence).to_have_text("reader not connected")
        await open_stream(page, stack, "plugged")
        await expect(page.fact(panel(page), "Link")).to_have_text("disconnected")
        await page.open("devices")
        row = page.page.get_by_role("table", name="Forwarders").locator(".row", has_text="plugged")
        await expect(row.get_by_role("link", name="reader not connected")).to_be_visible()


async def test_a_memory_is_cleared_when_its_stream_has_been_typed_and_it_says_what_that_leaves(
    page: Tab, stack: Stack
) -> None:
    asked = Asked(202, {"ok": True})
    async with stack.forwarder("cleared", READER):
        await tell_reader(stack, "cleared", READER)
        await open_stream(page, stack, "cleared")
        await asked.serve(page)
        await panel(page).get_by_role("button", name="Clear its memory…").click()
        await expect(dialog(page)).to_contain_text("The 4,116 reads")
        await expect(dialog(page)).to_contain_text("leaves recording off and the read mode raw, timeout 5")
        await expect(dialog(page)).to_contain_text("Now recording is on and the mode event, timeout 5")
        go = dialog(page).get_by_role("button", name="Clear its memory")
        await expect(go).to_be_disabled()
        await dialog(page).get_by_role("textbox").fill(f"cleared {READER}")
        await go.click()
        await expect(page.page.locator("#said")).to_contain_text("is being cleared")
    assert asked.came == [("POST", "/forwarders/cleared/readers/10.0.0.1%3A10000/clear-records", None)]


async def test_a_read_mode_and_recording_are_set(page: Tab, stack: Stack) -> None:
    asked = Asked()
    async with stack.forwarder("set", READER):
        await tell_reader(stack, "set", READER)
        await open_stream(page, stack, "set")
        await asked.serve(page)
        await panel(page).get_by_role("button", name="Read mode…").click()
        await expect(dialog(page).get_by_label("Mode")).to_have_value("event")
        await dialog(page).get_by_label("Mode").select_option("fsls")
        await dialog(page).get_by_label("Timeout").fill("9")
        await dialog(page).get_by_role("button", name="Set").click()
        await page.closed()
        await panel(page).get_by_role("button", name="Recording…").click()
        await expect(dialog(page)).to_contain_text("It is on now.")
        await expect(dialog(page).get_by_label("From now on")).to_have_value("off")
        await dialog(page).get_by_role("button", name="Set").click()
        await page.closed()
        await panel(page).get_by_role("button", name="Set its clock").click()
        await wait_until(lambda: len(asked.came) == 3, what="all three")
    path = "/forwarders/set/readers/10.0.0.1%3A10000"
    assert asked.came == [
        ("PUT", f"{path}/read-mode", {"mode": "fsls", "timeout": 9}),
        ("PUT", f"{path}/recording", {"enabled": False}),
        ("POST", f"{path}/sync-clock", None),
    ]


async def test_what_a_forwarder_refuses_is_said_in_its_words(page: Tab, stack: Stack) -> None:
    error = {"code": "FORWARDER_ERROR", "message": "the forwarder refused: reader not connected"}
    async with stack.forwarder("refuses", READER):
        await tell_reader(stack, "refuses", READER)
        await open_stream(page, stack, "refuses")
        await Asked(502, error).serve(page)
        await panel(page).get_by_role("button", name="Ask it now").click()
        await expect(page.page.locator("#said")).to_have_text(error["message"])
        await panel(page).get_by_role("button", name="Connect anew…").click()
        await dialog(page).get_by_role("button", name="Connect anew").click()
        await expect(dialog(page).get_by_role("alert")).to_have_text(error["message"])
        page.errors.clear()


async def test_a_device_is_restarted_or_shut_down_when_its_id_has_been_typed(page: Tab, stack: Stack) -> None:
    asked = Asked(200, {"ok": True, "error": None})
    async with stack.forwarder("box-7", READER):
        await page.open("config/box-7")
        await asked.serve(page)
        for press, verb in (
            ("Restart device…", "Restart the device"),
            ("Shut device down…", "Shut it down"),
        ):
            await page.page.get_by_role("button", name=press).click()
            go = dialog(page).get_by_role("button", name=verb)
            await expect(go).to_be_disabled()
            await dialog(page).get_by_role("textbox").fill("box-7")
            await go.click()
            await page.closed()
    assert asked.came == [
        ("POST", "/forwarders/box-7/control/restart-device", None),
        ("POST", "/forwarders/box-7/control/shutdown-device", None),
    ]
