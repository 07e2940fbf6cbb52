"""Settings: read once, checked together."""

import pytest

from gateway.settings import GatewaySettings
from shared.errors import SettingsError
from shared.runtime.settings import Settings

URL = "postgresql://user:secret@host:5432/rt"


def test_settings_have_defaults_for_all_but_the_database() -> None:
    settings = Settings.read({"database_url": URL})
    assert settings.bind == ("0.0.0.0", 8080)
    assert (settings.log_level, settings.log_format, settings.listen) == ("info", "console", True)
    assert settings.direct_url == URL


def test_all_problems_are_reported_together_and_no_value_is_repeated() -> None:
    with pytest.raises(SettingsError) as caught:
        GatewaySettings.read(
            {
                "database_url": "mysql://user:secret@host/rt",
                "bind": "8080",
                "log_level": "loud",
                "listen": "maybe",
                "max_unacked_mib": "0",
            }
        )
    problems = caught.value.problems
    assert [each.split(" ")[0] for each in problems] == [
        "DATABASE_URL",
        "BIND_ADDR",
        "LOG_LEVEL",
        "LISTEN",
        "MAX_UNACKED_MIB",
    ]
    assert "secret" not in str(caught.value)


def test_a_missing_database_is_named() -> None:
    with pytest.raises(SettingsError, match="DATABASE_URL is not set"):
        Settings.read({})


@pytest.mark.parametrize(
    ("text", "expected"),
    [("127.0.0.1:0", ("127.0.0.1", 0)), ("[::]:8080", ("::", 8080)), ("host:1", ("host", 1))],
)
def test_addresses_are_split(text: str, expected: tuple[str, int]) -> None:
    assert Settings.read({"database_url": URL, "bind": text}).bind == expected


def test_a_direct_address_goes_before_the_pooler_for_listening() -> None:
    direct = "postgresql://direct/rt"
    settings = Settings.read({"database_url": URL, "listen_database_url": direct, "listen": "OFF"})
    assert settings.direct_url == direct
    assert settings.listen is False
