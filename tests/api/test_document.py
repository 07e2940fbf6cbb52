"""deploy/docs/http-api.md: its routes, codes, bounds and settings are those of the code."""

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, get_args, get_type_hints

import msgspec
import pytest

from api.alerts import routes as alerts
from api.alerts import store as alert_store
from api.announcer import routes as announcer
from api.announcer import types as announced
from api.announcer.run import ENABLED_FOR
from api.app import EXPORTS_AT_ONCE, MAX_BODY_BYTES, POOL_SETTINGS
from api.certificate import ledger
from api.certificate import routes as certificates
from api.commands import ask as commands
from api.crossings import routes as crossing_routes
from api.crossings import shown
from api.crossings import types as crossing_types
from api.crossings import view as crossings
from api.crossings.store import behind, passings
from api.devices import store as devices
from api.events import store as events
from api.exports import places
from api.http import contract, event_streams
from api.http.access import OPEN_PATHS, OPEN_POSTS
from api.http.contract import Route
from api.http.device_tokens import DEVICE_ROUTES
from api.http.errors import STATUS
from api.links import routes as links
from api.live import routes as overview
from api.live import store as page
from api.live.followers import OF_ONE_TOKEN
from api.live.messages import Message, Resync, name_of
from api.logs import routes as logs
from api.races import imports, rosters
from api.races.store import mappings, races
from api.readers import store as readers
from api.reconcile import comparison, reconciling
from api.reconcile import routes as reconcile
from api.routes import ROUTES
from api.settings import API_TOKEN_LENGTH, ApiSettings
from api.streams import epoch_names
from api.streams import store as streams
from gateway.commands import MOST_AT_ONCE
from shared.protocol.commands import GetInfo, ReaderControl, SyncClock
from shared.runtime.health import health_routes
from shared.runtime.settings import Settings
from tests.api.conftest import Client
from tests.deploy.pages import HTTP_API, fences, sections, table

TEXT = HTTP_API.read_text()
SECTIONS = sections(TEXT)
# Served beside the table: those of every process, and the dashboard.
OTHERS = {f"GET {each.path}" for each in health_routes({})} | {"GET /", "GET /announcer", "GET /person"}


def told() -> dict[str, str]:
    """Return what is said of each route, by method and path."""
    found: dict[str, str] = {}
    for title, text in SECTIONS.values():
        if route := re.fullmatch(r"`([A-Z]+ /\S*)`", title):
            assert route[1] not in found
            found[route[1]] = text
    return found


TOLD = told()


def name(route: Route) -> str:
    return f"{route.method} {route.path}"


def test_every_route_has_its_section_and_no_other() -> None:
    assert TOLD.keys() == {name(route) for route in ROUTES} | OTHERS


@pytest.mark.parametrize("route", ROUTES, ids=name)
def test_a_route_s_errors_are_told(route: Route) -> None:
    said = re.search(r"Errors: (.*)", TOLD[name(route)])
    assert set(re.findall(r"`([A-Z_]+)`", said[1] if said else "")) == set(route.errors)


@pytest.mark.parametrize("route", ROUTES, ids=name)
def test_a_route_s_parameters_are_told_with_their_defaults(route: Route) -> None:
    kind = route.inputs.get("query")
    if kind is None:
        assert "| query |" not in TOLD[name(route)]
        return
    rows = {
        row[0].strip("`"): row[2].strip("`") for row in table(TOLD[name(route)], "query", "type", "default")
    }
    fields = msgspec.structs.fields(kind)
    assert rows == {each.name: "" if each.default is None else str(each.default) for each in fields}


def kinds_of(kind: Any) -> Iterator[type[msgspec.Struct]]:
    """Yield the Structs that an answer is made of."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        yield kind
        for each in get_type_hints(kind).values():
            yield from kinds_of(each)
    for each in get_args(kind):
        yield from kinds_of(each)


@pytest.mark.parametrize("route", ROUTES, ids=name)
def test_every_field_that_a_route_takes_and_gives_is_told(route: Route) -> None:
    kinds = [*kinds_of(route.inputs.get("body")), *kinds_of(route.answer)]
    text = TOLD[name(route)]
    # Sections that another one stands for.
    text += TOLD["GET /api/v1/overview"] if "(section 6.1)" in text else ""
    text += TOLD["GET /api/v1/reader-states"] if "(section 5.13)" in text else ""
    text += TOLD["GET /api/v1/races/{race_id}/course"] if "(section 9.17)" in text else ""
    text += TOLD["GET /api/v1/races/{race_id}/segments"] if "in section 9.19" in text else ""
    text += TOLD["PUT /api/v1/races/{race_id}/segments/{stream_id}"] if "as section 9.20 does" in text else ""
    for each in ("12.2", "12.3"):
        text += SECTIONS[each][1] if f"(section {each})" in text else ""
    text += SECTIONS["1"][1] if "Section 1 has an answer" in text else ""
    for kind in kinds:
        wanting = [
            each for each in kind.__struct_fields__ if f"`{each}`" not in text and f'"{each}"' not in text
        ]
        assert not wanting, kind


def test_what_asks_for_no_token_is_told() -> None:
    told = {each for each, text in TOLD.items() if "**Asks for no token" in text}
    assert told == {f"GET {each}" for each in OPEN_PATHS} | {f"POST {each}" for each in OPEN_POSTS}
    assert f"({API_TOKEN_LENGTH} characters or more)" in SECTIONS["2.4"][1]


def test_what_devices_may_ask_is_told() -> None:
    rows = table(SECTIONS["2.4"][1], "route", "token of")
    told = {tuple(row[0].strip("`").split()): set(row[1].split(", ")) for row in rows}
    assert told == {route: set(devices) for route, devices in DEVICE_ROUTES.items()}


def test_every_code_is_told_with_its_status() -> None:
    rows = table(SECTIONS["2.3"][1], "code", "status")
    assert {row[0].strip("`"): int(row[1]) for row in rows} == STATUS


def test_every_event_is_told_with_its_fields() -> None:
    rows = {
        row[0].strip("`"): set(re.findall(r"`(\w+)`", row[1])) for row in table(SECTIONS["6.2"][1], "event")
    }
    assert rows == {kind.__struct_config__.tag: set(kind.__struct_fields__) for kind in get_args(Message)}
    assert name_of(Resync()) in rows


async def test_a_stream_of_events_begins_as_it_stands_there(client: Client) -> None:
    (sample,) = fences(SECTIONS["6.2"][1], "")
    told = re.findall(r"^(\w*):? ?.*$", sample.text, re.MULTILINE)[:7]
    async with client.get("/api/v1/events?last_event_id=unknown-1") as answer:
        came = [(await answer.content.readuntil(b"\n")).decode() for _ in told]
    assert (
        [line.partition(":")[0].rstrip() for line in came]
        == told
        == [*("retry", "id", "", "id", "event", "data", "")]
    )
    assert came[0] == "retry: 2000\n"


def test_every_setting_is_told_with_its_default() -> None:
    common = {spec.variable for spec in Settings.specs().values()}
    known = {
        spec.variable: spec.default for spec in ApiSettings.specs().values() if spec.variable not in common
    }
    rows = table(SECTIONS["8"][1], "setting", "default")
    assert {row[0].strip("`"): row[1].strip("`") for row in rows} == known
    # TOKEN_ID and RACE_ID are the examples' own.
    named = set(re.findall(r"`([A-Z]+(?:_[A-Z]+)+)(?:=\w+)?`", TEXT)) - {"TOKEN_ID", "RACE_ID"}
    assert named <= {*known, *common, *STATUS}, named


MIB = 1024 * 1024
BOUNDS = {
    "a request's body": f"{MAX_BODY_BYTES // MIB} MiB",
    "time for a body to arrive": f"{contract.BODY_WITHIN_S:.0f} s",
    "time for the database to answer what is read": f"{contract.READ_WITHIN_S:.0f} s",
    "time for the database to answer what changes something": f"{contract.ANSWER_WITHIN_S:.0f} s",
    "time for a lock of the database's": re.sub(r"(\d+)", r"\1 ", POOL_SETTINGS["lock_timeout"]),
    "rows of a page": "1,000",
    "lines of a page": f"{events.PAGE_BYTES // MIB} MiB",
    "epochs in an answer": f"{streams.EPOCHS:,}",
    "missing ranges in an answer": f"{streams.MISSING_RANGES}",
    "cursors in an answer": f"{devices.CURSORS:,}",
    "readers in an answer": f"{readers.STATES:,}",
    "readers of which events tell": f"{readers.LINKS:,}",
    "exports of an api process": f"{EXPORTS_AT_ONCE}",
    "commands under way in an api process": f"{commands.WAITING_AT_MOST}",
    "commands under way of a forwarder": f"{MOST_AT_ONCE}",
    "time for a forwarder's answer": f"{commands.ANSWER_WITHIN_S:.0f} s",
    "time for a forwarder's answer of a reader": "{:.0f} s, or {:.0f} s, from when it was told".format(
        *(ReaderControl("", each).answer_within_s for each in (SyncClock(), GetInfo()))
    ),
    "event streams of an api process": f"{overview.LISTENERS_AT_ONCE:,}",
    "event streams of a device's token": f"{OF_ONE_TOKEN}",
    "event streams of the announcer, operators' and public ones each": f"{announcer.LISTENERS_AT_ONCE:,}",
    "event streams of crossings of an api process; races, gaps of a race": (
        f"{crossings.FOLLOWERS_AT_ONCE}; {crossings.RACES_AT_ONCE}, {crossings.GAPS_AT_ONCE}"
    ),
    "reads, chips shown of a crossing; crossings in an event": "{}".format(
        *{crossing_types.READS_SHOWN, crossing_types.MOST_CHIPS, crossing_types.MOST_SHOWN}
    ),
    "passings of a chip that crossings are made of; of each epoch, of one that came by more often": (
        f"{passings.MOST_PASSINGS}; {passings.GONE_THROUGH:,}"
    ),
    "streams that are announced": f"{announced.STREAMS}",
    "finishers that are shown": f"{announced.LARGEST_LIST}",
    "a file of people or chips": f"{rosters.MOST_BYTES // MIB} MiB",
    "a reader's memory": f"{reconcile.MOST_BYTES // MIB} MiB",
    "different lines of it; of them that wait to be stored": "{:,}".format(
        *{comparison.MOST_LINES, reconciling.MOST_WAITING}
    ),
    "minutes, lines of it that are shown": f"{reconcile.MINUTES_SHOWN:,}, {reconcile.LINES_SHOWN:,}",
    "files imported or compared at once in an api process": f"{rosters.AT_ONCE}",
    "people of a race": f"{imports.MOST_PARTICIPANTS:,}",
    "rows of chips of a race": f"{imports.MOST_CHIPS:,}",
    "races": f"{races.MOST_RACES:,}",
    "epochs of a stream with names, with races": f"{min(epoch_names.MOST_NAMES, mappings.MOST_MAPPED):,}",
    "streams, rows of flow, alerts in the overview": f"{page.CARDS}",
    "entries of the log in an answer": f"{logs.ENTRIES}",
    "a body with a link": f"{links.LONGEST_BODY // 1024} KiB",
    "who look by links at once, of an api process": f"{links.LOOKING_AT_ONCE}",
    "parts of a certificate": f"{certificates.MOST_PARTS}",
    "streams that a certificate is asked of": f"{certificates.MOST_STREAMS}",
    "blocks of a certificate": f"{ledger.MOST_BLOCKS:,}",
    "ranges of missing numbers in a certificate": f"{ledger.MOST_RANGES:,}",
    "time for the digests of a certificate": f"{certificates.MAKE_WITHIN_S:.0f} s",
    "conditions that are muted": f"{alert_store.MUTES}",
    "how long something is muted": f"{alerts.MUTED_AT_MOST // timedelta(hours=1)} h",
}


def test_every_bound_is_the_code_s() -> None:
    assert {row[0]: row[1] for row in table(SECTIONS["8"][1], "what", "bound")} == BOUNDS
    assert f"finds no place within {places.WAITS_S:.0f} s" in SECTIONS["4.3"][1]
    assert f"for {places.IDLE_S:.0f} s where others wait" in SECTIONS["4.3"][1]
    assert f"takes nothing for {event_streams.CLIENT_WAITS_S:.0f} s is dropped" in SECTIONS["6.2"][1]
    assert f"After {announcer.COMMENT_EVERY_S:.0f} s without an event" in SECTIONS["10.5"][1]
    assert f"takes nothing for {event_streams.CLIENT_WAITS_S:.0f} s is dropped" in SECTIONS["10.5"][1]
    assert f"After {crossing_routes.COMMENT_EVERY_S:.0f} s without an event" in SECTIONS["11.3"][1]
    assert f"the newest {passings.MOST_PASSINGS} passings" in SECTIONS["11.1"][1]
    assert f"the newest {passings.GONE_THROUGH:,} of each epoch" in SECTIONS["11.1"][1]
    assert f"the newest {passings.MOST_PIECES:,} pieces" in SECTIONS["11.1"][1]
    assert f"within {behind.NEAR:,} of the read that counts" in SECTIONS["11.1"][1]
    assert "`" + ",".join(shown.COLUMNS) + "`" in SECTIONS["11.2"][1]
    assert f"for {ENABLED_FOR // timedelta(hours=1)} hours" in SECTIONS["10.2"][1]
    assert f"nothing happened for {overview.TICK_EVERY_S:.0f} s" in SECTIONS["6.2"][1]
