"""TIME_ZONE: one name that everybody knows, checked at the start, and told to whoever shows times."""

from collections.abc import Awaitable, Callable

import pytest

from api.clocks.zones import require_zone
from api.settings import ApiSettings
from shared.errors import SettingsError
from shared.runtime.process import Process
from tests.api.conftest import Client

URL = "postgresql://here/rt"


@pytest.mark.parametrize(
    ("given", "zone"),
    [
        ("", ""),
        (" ", ""),
        ("Europe/Berlin", "Europe/Berlin"),
        (" europe/berlin ", "Europe/Berlin"),
        ("utc", "UTC"),
    ],
)
def test_a_zone_is_one_of_the_tz_database_in_its_own_spelling(given: str, zone: str) -> None:
    assert ApiSettings.read({"database_url": URL, "time_zone": given}).time_zone == zone


@pytest.mark.parametrize(
    "wrong",
    ["Berlin", "CEST", "+02:00", "Europe", "localtime", "Factory", "../Europe/Berlin", "/etc/localtime"],
)
def test_what_is_no_zone_is_refused_with_an_example(wrong: str) -> None:
    with pytest.raises(SettingsError, match=r"TIME_ZONE is wrong: it must be a name .* like Europe/Berlin"):
        ApiSettings.read({"database_url": URL, "time_zone": wrong})


async def test_a_zone_that_the_database_does_not_know_ends_the_start(process: Process) -> None:
    with pytest.raises(SettingsError, match="the database does not know the zone Mars/Base"):
        await require_zone(process.pool, "Mars/Base")
    await require_zone(process.pool, "Europe/Berlin")
    await require_zone(process.pool, "")


@pytest.mark.parametrize(("given", "told"), [("Europe/Berlin", "Europe/Berlin"), ("", None)])
async def test_the_overview_tells_the_zone(
    serve: Callable[..., Awaitable[Client]], given: str, told: str | None
) -> None:
    client = await serve(time_zone=given)
    async with client.get("/api/v1/overview") as answer:
        assert (await answer.json())["time_zone"] == told
