"""Links to one person's timeline: they show her to whoever has one, and nobody else; nothing any more once they expire
or are withdrawn; from every api process alike.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias
from uuid import UUID, uuid4

import pytest
from structlog.testing import capture_logs

from api.app import API, POOL_SETTINGS, build_app
from api.links import routes, token
from api.links.routes import LONGEST_BODY, Onlookers
from api.links.store import sealing
from api.links.token import LONGEST, Claim
from api.routes import ROUTES
from api.search.types import ChipPath, PersonPath
from api.settings import ApiSettings
from shared.runtime.activity import Activity
from shared.runtime.process import Process
from tests.api.conftest import RACES, Ask, Client, Noted
from tests.api.seeds import Database, add_stream
from tests.api.test_passings import Read, fill_all, store
from tests.api.test_races import form

Serve: TypeAlias = Callable[..., Awaitable[Client]]

SHOWN = "/api/v1/public/timeline"
ADA, ALAN = "0580000000a1", "0580000000b1"
API_TOKEN = "that of the operators"
SECRET = bytes(range(48))
NOON = datetime(2026, 5, 3, 12, tzinfo=UTC)
HER = PersonPath(race_id=UUID(int=7), bib=1)


@pytest.fixture
async def running(ask: Ask, race: str, database: Database, process: Process) -> str:
    """A race of two people, both of whom came by."""
    await ask("POST", f"{RACES}/{race}/participants/upload", data=form("1,Byron,Ada\n2,Turing,Alan\n"))
    await ask("POST", f"{RACES}/{race}/chips/upload", data=form(f"1,{ADA}\n2,{ALAN}\n"))
    stream_id = await add_stream(database, "finish")
    await database.execute("INSERT INTO epoch_races VALUES ($1, 1, $2)", stream_id, race)
    await database.execute("INSERT INTO race_points VALUES ($1, 1, 'Finish')", race)
    await database.execute("INSERT INTO point_streams VALUES ($1, $2, 1)", race, stream_id)
    await store(database, stream_id, [Read(ADA, 1, 0, 1), Read(ALAN, 1, 900, 2), Read(ADA, 1, 1800, 3)])
    await fill_all(process.pool)
    return race


async def made(ask: Ask, race: str, *, bib: int = 1, **body: int) -> str:
    """Make a link, and return what stands behind its #."""
    link = await ask("POST", f"{RACES}/{race}/bibs/{bib}/link", json=body)
    page, _, text = link["path"].partition("#")
    assert page == "person"
    return str(text)


async def refused(ask: Ask, link: str) -> str:
    answer = await ask("POST", SHOWN, json={"link": link}, status=404)
    return str(answer["message"])


# --- what a link says ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "subject",
    [HER, PersonPath(race_id=uuid4(), bib=2**31 - 1), ChipPath(chip_id=ADA), ChipPath(chip_id="ü" * 64)],
)
def test_a_link_says_whose_timeline_it_shows_and_until_when(subject: PersonPath | ChipPath) -> None:
    claim = Claim(subject, NOON)
    text = token.sealed(claim, SECRET)
    assert token.opened(text, SECRET) == claim
    assert len(text) <= LONGEST
    assert urlsafe_b64encode(urlsafe_b64decode(text + "==")).decode().rstrip("=") == text


def test_the_longest_subject_fits() -> None:
    claim = Claim(ChipPath(chip_id="\U0001f3c1" * 64), NOON)
    assert token.opened(token.sealed(claim, SECRET), SECRET) == claim


def test_no_bit_of_a_link_can_be_another() -> None:
    text = token.sealed(Claim(HER, NOON), SECRET)
    held = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    for bit in range(len(held) * 8):
        changed = bytearray(held)
        changed[bit // 8] ^= 1 << bit % 8
        assert token.opened(urlsafe_b64encode(changed).decode().rstrip("="), SECRET) is None, bit


def test_the_proof_of_one_is_none_of_another() -> None:
    hers, his = (
        urlsafe_b64decode(token.sealed(Claim(each, NOON), SECRET) + "==")
        for each in (HER, PersonPath(race_id=HER.race_id, bib=2))
    )
    mixed = urlsafe_b64encode(his[:-32] + hers[-32:]).decode().rstrip("=")
    assert token.opened(mixed, SECRET) is None


def test_another_spelling_of_a_link_is_none() -> None:
    text = token.sealed(Claim(HER, NOON), SECRET)
    assert len(text) % 4
    # The last character has bits that no byte takes.
    others = {text[:-1] + each for each in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"}
    others |= {text + "=", f"{text[:9]}!{text[9:]}", f"{text}\n", f" {text}"}
    assert [each for each in others if token.opened(each, SECRET)] == [text]


@pytest.mark.parametrize(
    "garbage", ["", "A", "AAAA", "=", "ü", "\x00", "\ud800", "a" * 43, "A" * LONGEST, "A" * 99_999]
)
def test_garbage_is_no_link(garbage: str) -> None:
    assert token.opened(garbage, SECRET) is None


def test_what_is_longer_than_any_link_is_not_even_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    text = token.sealed(Claim(HER, NOON), SECRET)
    monkeypatch.setattr(token, "LONGEST", len(text) - 1)
    assert token.opened(text, SECRET) is None


def test_a_link_in_a_form_of_another_release_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token, "VERSION", 2)
    text = token.sealed(Claim(HER, NOON), SECRET)
    monkeypatch.undo()
    assert token.opened(text, SECRET) is None


# --- making, showing, withdrawing ------------------------------------------------------------------------


async def test_it_shows_that_person_and_no_other(ask: Ask, running: str) -> None:
    shown = await ask("POST", SHOWN, json={"link": await made(ask, running)})
    until = datetime.fromisoformat(shown.pop("expires_at"))
    assert timedelta(hours=23, minutes=59) < until - datetime.now(UTC) <= timedelta(hours=24)
    assert shown == await ask("GET", f"{RACES}/{running}/bibs/1/timeline")
    assert (shown["first_name"], len(shown["reads"])) == ("Ada", 2)
    assert not [each for each in ("Alan", "Turing", ALAN) if each in str(shown)]
    his = await ask("POST", SHOWN, json={"link": await made(ask, running, bib=2)})
    assert (his["first_name"], [each["chip_id"] for each in his["reads"]]) == ("Alan", [ALAN])


async def test_a_chip_has_one_too_however_it_is_spelt(ask: Ask, running: str, noted: Noted) -> None:
    link = await ask("POST", f"/api/v1/chips/{ADA.upper()}/link", json={"hours": 1})
    shown = await ask("POST", SHOWN, json={"link": link["path"].partition("#")[2]})
    assert shown.pop("expires_at") == link["expires_at"]
    assert shown == await ask("GET", f"/api/v1/chips/{ADA}/timeline")
    assert shown["first_name"] is None
    assert (await noted("timeline_link_made", chip_id=ADA))["until"] == link["expires_at"]


async def test_it_is_valid_for_as_long_as_was_asked_for_within_bounds(ask: Ask, running: str) -> None:
    path = f"{RACES}/{running}/bibs/1/link"
    for hours in (1, 168):
        until = datetime.fromisoformat((await ask("POST", path, json={"hours": hours}))["expires_at"])
        left = until - datetime.now(UTC)
        assert timedelta(hours=hours) - timedelta(minutes=1) < left <= timedelta(hours=hours)
    for wrong in (0, 169, -1, 1.5, "24", None):
        told = await ask("POST", path, json={"hours": wrong}, status=400)
        assert "`$.hours`" in told["message"]
    await ask("POST", f"{RACES}/{running}/bibs/99/link", json={}, status=404)
    await ask("POST", f"{RACES}/{uuid4()}/bibs/1/link", json={}, status=404)


async def test_making_one_and_withdrawing_all_is_in_the_log_and_no_link_is(
    ask: Ask, running: str, database: Database, noted: Noted
) -> None:
    with capture_logs() as logged:
        link = await made(ask, running)
        await ask("POST", SHOWN, json={"link": link})
        said = await noted("timeline_link_made", bib=1, race="10 km", race_id=running)
        await ask("DELETE", "/api/v1/links", status=204)
        await noted("timeline_links_withdrawn", by="no token")
    assert datetime.fromisoformat(said["until"]) > datetime.now(UTC)
    entries = await database.fetchval("SELECT string_agg(activity::text, ' ') FROM activity")
    assert link not in entries
    assert link not in str(logged)


async def test_an_expired_one_says_when_that_was_and_shows_nothing(
    ask: Ask, running: str, database: Database
) -> None:
    secret, now = await sealing(database)
    her = PersonPath(race_id=UUID(running), bib=1)
    at = now.replace(microsecond=0)
    answer = await ask("POST", SHOWN, json={"link": token.sealed(Claim(her, at), secret)}, status=404)
    assert answer["details"] == {"expired_at": at.isoformat()}
    assert f"has expired at {at.isoformat()}" in answer["message"]
    await ask("POST", SHOWN, json={"link": token.sealed(Claim(her, at + timedelta(hours=1)), secret)})


async def test_withdrawn_links_show_nothing_any_more_and_new_ones_do(ask: Ask, running: str) -> None:
    links = [await made(ask, running), await made(ask, running, bib=2)]
    await ask("DELETE", "/api/v1/links", status=204)
    for each in links:
        assert "not valid" in await refused(ask, each)
    await ask("POST", SHOWN, json={"link": await made(ask, running)})


async def test_garbage_is_told_in_one_way_and_what_is_long_is_not_read(ask: Ask, running: str) -> None:
    told = {
        await refused(ask, each)
        for each in ("", "A", "\x00", "nonsense", "A" * (LONGEST + 1), "ü", "🏁" * 99)
    }
    assert len(told) == 1
    await ask("POST", SHOWN, json={"link": "A" * LONGEST_BODY}, status=413)
    for wrong in ({}, {"link": 1}, {"link": "A", "bib": 1}):
        await ask("POST", SHOWN, json=wrong, status=400)


async def test_who_is_not_in_the_race_any_more_is_not_shown(ask: Ask, running: str) -> None:
    link = await made(ask, running)
    await ask("DELETE", RACES + f"/{running}", status=204)
    assert "nobody" in await refused(ask, link)


# --- who may ask -----------------------------------------------------------------------------------------


async def test_with_an_api_token_set_a_link_opens_that_one_timeline_and_nothing_else(
    serve: Serve, ask: Ask, running: str
) -> None:
    link = await made(ask, running)
    client = await serve(api_token=API_TOKEN)
    async with client.post(SHOWN, json={"link": link}) as answer:
        assert (answer.status, (await answer.json())["first_name"]) == (200, "Ada")
    shown = {"Authorization": f"Bearer {link}"}
    opened = set()
    for route in ROUTES:
        path = route.path.replace("{race_id}", running).replace("{bib}", "1").replace("{chip_id}", ADA)
        async with client.request(route.method, path, headers=shown, json={"link": link}) as answer:
            if answer.status != 401:
                opened.add((route.method, route.path))
    assert {(method, path) for method, path in opened if method != "GET"} == {("POST", SHOWN)}
    assert not [path for _, path in opened if "bibs" in path or "chips" in path or "search" in path]
    for method in ("GET", "PUT", "DELETE", "OPTIONS"):
        async with client.request(method, SHOWN, json={"link": link}) as answer:
            assert answer.status == 401, method


async def test_a_link_of_one_api_process_is_taken_by_another_and_withdrawn_for_it(
    ask: Ask,
    running: str,
    database_url: str,
    aiohttp_client: Callable[..., Awaitable[Client]],
    activity: Activity,
) -> None:
    link = await made(ask, running)
    settings = ApiSettings.read({"database_url": database_url, "bind": "127.0.0.1:1"})
    other = Process("api", settings, pool_settings=POOL_SETTINGS)
    async with other.connected():
        client = await aiohttp_client(build_app(other, settings, activity))
        async with client.post(SHOWN, json={"link": link}) as answer:
            assert (answer.status, (await answer.json())["first_name"]) == (200, "Ada")
        await ask("DELETE", "/api/v1/links", status=204)
        async with client.post(SHOWN, json={"link": link}) as answer:
            assert answer.status == 404


async def test_beyond_so_many_who_look_at_once_the_next_is_told_to_come_again(
    client: Client, ask: Ask, running: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = await made(ask, running)
    monkeypatch.setattr(routes, "LOOKING_AT_ONCE", 1)
    async with client.app[API].part(Onlookers).turn():
        told = await ask("POST", SHOWN, json={"link": link}, status=503)
    assert "try again" in told["message"]
    shown: dict[str, Any] = await ask("POST", SHOWN, json={"link": link})
    assert shown["bib"] == 1


async def test_the_secret_is_long_random_and_kept_by_one_row(database: Database) -> None:
    first = await database.fetchval("SELECT secret FROM link_secret")
    await database.execute("UPDATE link_secret SET secret = DEFAULT")
    (second,) = [row["secret"] for row in await database.fetch("SELECT secret FROM link_secret")]
    assert len(first) == len(second) == 48
    assert sum(a == b for a, b in zip(first, second, strict=True)) < 16
