"""Who may ask: the API token, no other sites; and what every answer carries."""

from base64 import b64encode
from collections.abc import Awaitable, Callable
from itertools import product
from typing import TypeAlias

import pytest
from structlog.testing import capture_logs

from api.app import warn_if_open
from api.http.access import CLOSED, Admission, is_loopback, names_of
from api.routes import ROUTES
from api.settings import ApiSettings
from shared.errors import SettingsError
from tests.api.conftest import Client

Serve: TypeAlias = Callable[..., Awaitable[Client]]

# What everybody may see; its page is no route of the table (test_announcer_events.py).
ONLOOKERS = ("/api/v1/public/announcer/state", "/api/v1/public/announcer/events")
# With a link to one person (test_links.py).
LINKED = ("POST", "/api/v1/public/timeline")
TOKEN = "geheim-ü-7-und-lang"
MINT = "/api/v1/admin/tokens"


async def status(client: Client, method: str, path: str, **headers: str) -> int:
    async with client.request(method, path, headers=headers) as answer:
        if answer.status in (401, 403) and method != "HEAD":
            assert (await answer.json())["code"] == {401: "UNAUTHORIZED", 403: "FORBIDDEN"}[answer.status]
        return answer.status


def basic(user: str, password: str) -> str:
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode()


async def test_every_route_asks_for_the_token_but_those_for_monitors_receivers_and_onlookers(
    serve: Serve,
) -> None:
    client = await serve(api_token=TOKEN)
    open_routes = set()
    for method, path in [
        *((route.method, route.path) for route in ROUTES),
        *(
            ("GET", each)
            for each in ("/healthz", "/readyz", "/metrics", "/", "/nothing", "/api/v1/openapi.json")
        ),
    ]:
        if await status(client, method, path) != 401:
            open_routes.add((method, path))
    monitors = ("/healthz", "/readyz", "/metrics")
    assert open_routes == {LINKED} | {("GET", each) for each in (*monitors, "/api/v1/streams", *ONLOOKERS)}
    assert await status(client, "POST", "/api/v1/streams") == 401


async def test_the_token_opens_as_bearer_or_as_password(serve: Serve) -> None:
    client = await serve(api_token=TOKEN)
    shown = (
        f"Bearer {TOKEN}",
        f"bearer {TOKEN}",
        f"Bearer  {TOKEN} ",
        basic("", TOKEN),
        basic("anyone", TOKEN),
    )
    for authorization in shown:
        assert await status(client, "GET", MINT, Authorization=authorization) == 200, authorization


WRONG = [
    "Bearer",
    "Bearer ",
    f"Bearer {TOKEN}x",
    f"Bearer {TOKEN[:-1]}",
    TOKEN,
    f"Token {TOKEN}",
    basic(TOKEN, ""),
    basic("x", TOKEN.upper()),
    "Basic",
    "Basic !!!",
    "Basic /w==",
    b64encode(TOKEN.encode()).decode(),
]


async def test_anything_else_does_not_open(serve: Serve) -> None:
    client = await serve(api_token=TOKEN)
    for authorization in WRONG:
        async with client.get(MINT, headers={"Authorization": authorization}) as answer:
            assert answer.status == 401, authorization
            assert answer.headers["WWW-Authenticate"].startswith("Basic ")
            assert TOKEN not in await answer.text()


@pytest.mark.parametrize("unset", ["", "  "])
async def test_without_a_token_this_machine_is_admitted(serve: Serve, unset: str) -> None:
    client = await serve(api_token=unset)
    assert await status(client, "GET", MINT) == 200


BEYOND = [
    {"bind": "0.0.0.0:8080"},
    {"bind": "[::]:8080"},
    {"publish": "0.0.0.0"},
    {"publish": "[::]"},
    {"bind": "0.0.0.0:8080", "publish": "10.0.0.7"},
]


@pytest.mark.parametrize("beyond", BEYOND)
async def test_without_a_token_nobody_is_admitted_where_others_reach_us(
    serve: Serve, beyond: dict[str, str]
) -> None:
    client = await serve(**beyond)
    for path in ("/healthz", "/api/v1/streams"):
        assert await status(client, "GET", path) == 200
    for method, path in (*((each.method, each.path) for each in ROUTES), ("GET", "/"), ("GET", "/nothing")):
        is_shown = method == "GET" and path in ("/api/v1/streams", *ONLOOKERS)
        expected = 200 if is_shown else 400 if (method, path) == LINKED else 403
        assert await status(client, method, path) == expected, (method, path)
    async with client.get(MINT) as answer:
        assert (await answer.json())["message"] == CLOSED


async def test_who_says_so_has_it_open_all_the_same(serve: Serve) -> None:
    client = await serve(bind="0.0.0.0:8080", api_open="yes")
    assert await status(client, "GET", MINT) == 200


async def test_what_is_published_on_loopback_only_needs_no_token(serve: Serve) -> None:
    client = await serve(bind="0.0.0.0:8080", publish="127.0.0.1")
    assert await status(client, "GET", MINT) == 200


OUR_NAMES = ["localhost", "LOCALHOST:8080", "127.0.0.1:8080", "10.0.0.7", "[::1]:8080", "[fe80::1]"]
OUR_NAMES += ["timing.example", "TIMING.example.:8443", "second.example:80"]
OTHER_NAMES = [
    "evil.example",
    "evil.example:8080",
    "timing.example.evil.example",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
]


async def test_without_a_token_a_name_that_is_not_ours_is_refused(serve: Serve) -> None:
    """A page of evil.example whose DNS now says 127.0.0.1: Host and Origin agree, and the browser lets it read."""
    sites = "https://timing.example:8443, second.example"
    client = await serve(site_address=sites)
    for name, method in product(OTHER_NAMES, ("GET", "POST")):
        headers = {"Host": name, "Origin": f"http://{name}", "Sec-Fetch-Site": "same-origin"}
        assert await status(client, method, MINT, **headers) == 403, name
    for name in OUR_NAMES:
        assert await status(client, "GET", MINT, Host=name) == 200, name
    with_token = await serve(site_address=sites, api_token=TOKEN)
    for name in OTHER_NAMES:
        assert await status(with_token, "GET", MINT, Host=name, Authorization=f"Bearer {TOKEN}") == 200, name


def test_the_names_of_a_site_are_told_from_what_stands_beside_them() -> None:
    assert names_of("http://:8080") == names_of("") == frozenset()
    assert names_of("https://a.example:8443/x b.example,C.example") == {"a.example", "b.example", "c.example"}


def test_numbers_are_for_who_reaches_the_process_itself() -> None:
    def refused(admission: Admission, path: str, **headers: str) -> str | None:
        found = admission.refusal("GET", path, {"Host": "evil.example", **headers})
        return found.code if found else None

    passed_on = {"X-Forwarded-For": "192.0.2.1"}
    for admission, code in (
        (Admission(TOKEN), "UNAUTHORIZED"),
        (Admission("", closed=True), "FORBIDDEN"),
        (Admission(""), "FORBIDDEN"),
    ):
        assert refused(admission, "/metrics") is None
        assert refused(admission, "/metrics", **passed_on) == code
        assert refused(admission, "/readyz", **passed_on) is None
    assert refused(Admission(TOKEN), "/metrics", **passed_on, Authorization=f"Bearer {TOKEN}") is None


async def test_a_head_is_admitted_where_a_get_is(serve: Serve) -> None:
    client = await serve(api_token=TOKEN)
    for path in ("/healthz", "/readyz", "/metrics"):
        async with client.head(path) as head, client.get(path) as got:
            assert head.status == got.status != 401, path


@pytest.mark.parametrize("short", ["guess", "fifteen letters", " fifteen letters "])
def test_a_token_that_can_be_guessed_ends_the_start(short: str) -> None:
    with pytest.raises(SettingsError, match="API_TOKEN is wrong: it must have 16 characters") as raised:
        ApiSettings.read({"database_url": "postgresql://here/rt", "api_token": short})
    assert short.strip() not in str(raised.value).removeprefix("API_TOKEN is wrong")


FOREIGN = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "http://here.example"},
    {"Origin": "https://evil.example"},
    {"Origin": "http://here.example:8080"},
    {"Origin": "null"},
    {"Origin": "http://[::1"},
]
OWN = [
    {},
    {"Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "none"},
    {"Origin": "http://here.example"},
    {"Origin": "https://HERE.example"},
]


@pytest.mark.parametrize("token", ["", TOKEN])
async def test_what_another_site_sends_is_refused_reading_or_not(serve: Serve, token: str) -> None:
    client = await serve(api_token=token, site_address="here.example")
    methods = {(route.method, route.path) for route in ROUTES}
    methods |= {("HEAD", path) for method, path in methods if method == "GET"}
    for headers, (method, path) in product(FOREIGN, methods):
        more = {"Host": "here.example", "Authorization": f"Bearer {token}", **headers}
        refused = path.startswith("/api/")
        assert (await status(client, method, path, **more) == 403) is refused, (method, path, headers)


async def test_the_page_itself_may_be_linked_to(serve: Serve) -> None:
    client = await serve()
    for path in ("/", "/static/main.js", "/docs", "/healthz"):
        assert await status(client, "GET", path, **{"Sec-Fetch-Site": "cross-site"}) == 200, path


async def test_a_refusal_says_which_header_and_what_to_do(serve: Serve) -> None:
    client = await serve()
    for name, text in (("Sec-Fetch-Site", "same-site"), ("Origin", "http://timing.example")):
        async with client.get("/api/v1/streams", headers={name: text}) as answer:
            message = (await answer.json())["message"]
        assert f"{name}: {text}" in message
        assert "TRUSTED_ORIGINS" in message


async def test_an_origin_that_is_trusted_is_taken_for_ours(serve: Serve) -> None:
    client = await serve(trusted_origins="https://Timing.example:443, http://10.0.0.7:8080/")
    for origin in ("https://timing.example", "http://10.0.0.7:8080"):
        for more in ({}, {"Sec-Fetch-Site": "cross-site"}):
            assert await status(client, "POST", MINT, Origin=origin, **more) == 400, (origin, more)
    for origin in ("http://timing.example", "https://timing.example:8443", "http://10.0.0.7", "null"):
        assert await status(client, "POST", MINT, Origin=origin) == 403, origin


@pytest.mark.parametrize("wrong", ["timing.example", "https://", "https://timing.example/path", "*", "null"])
def test_a_trusted_origin_that_is_none_ends_the_start(wrong: str) -> None:
    with pytest.raises(SettingsError, match="TRUSTED_ORIGINS is wrong: it must be origins like"):
        ApiSettings.read({"database_url": "postgresql://here/rt", "trusted_origins": wrong})


async def test_head_is_answered_wherever_get_is_by_the_same_rules(serve: Serve) -> None:
    client = await serve(api_token=TOKEN)
    paths = [route.path for route in ROUTES if route.method == "GET"]
    for path in (*paths, "/", "/healthz", "/readyz", "/metrics", "/nothing"):
        if path == "/api/v1/events":
            continue
        for shown in ({}, {"Authorization": f"Bearer {TOKEN}"}):
            got = await status(client, "GET", path, **shown)
            async with client.head(path, headers=shown) as answer:
                assert (answer.status, await answer.read()) == (got, b""), (path, shown)
    async with client.head("/api/v1/events", headers={"Authorization": f"Bearer {TOKEN}"}) as answer:
        assert (answer.status, answer.content_type) == (200, "text/event-stream")
    assert await status(client, "HEAD", "/api/v1/events") == 401


async def test_what_our_own_pages_and_tools_send_is_taken(serve: Serve) -> None:
    client = await serve(site_address="here.example")
    for headers in OWN:  # 400, for the empty body
        assert await status(client, "POST", MINT, Host="here.example", **headers) == 400, headers


SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Server": "rt-server",
}


async def test_every_answer_carries_the_security_headers(client: Client) -> None:
    for path in ("/api/v1/streams", "/nothing", "/healthz"):
        async with client.get(path) as answer:
            assert {name: answer.headers[name] for name in SECURITY_HEADERS} == SECURITY_HEADERS
            assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]


def test_loopback_is_told_from_the_rest() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.9.9.9", "::1", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "10.0.0.1", "example.org")))


def test_an_open_or_closed_api_warns_once_where_others_can_reach_it() -> None:
    def warned(**given: str) -> list[str]:
        settings = ApiSettings.read({"database_url": "postgresql://here/rt", **given})
        with capture_logs() as said:
            warn_if_open(settings)
        return [each["event"] for each in said]

    assert warned(bind="0.0.0.0:8080") == ["api_is_closed"]
    assert warned(bind="0.0.0.0:8080", publish="127.0.0.1") == []
    assert warned(bind="127.0.0.1:8080", publish="0.0.0.0") == ["api_is_closed"]
    assert warned(bind="0.0.0.0:8080", api_open="yes") == ["api_is_open"]
    assert warned(bind="127.0.0.1:8080") == []
    assert warned(bind="0.0.0.0:8080", api_token=TOKEN) == []


def test_the_token_is_a_secret_among_the_settings() -> None:
    assert "API_TOKEN" in ApiSettings.SECRET
    assert ApiSettings.specs()["api_token"].variable == "API_TOKEN"
