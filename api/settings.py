"""What an api process can be told. Who is admitted is decided elsewhere, and imported when it is asked."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from shared.runtime.settings import Settings, choice, setting

if TYPE_CHECKING:
    from api.http.access import Admission
    from api.notices.targets import Target

__all__ = ["API_TOKEN_LENGTH", "ApiSettings", "api_token"]

# Who may try a thousand tokens a second would need longer than the sun has.
API_TOKEN_LENGTH = 16


def api_token(text: str) -> str:
    """Accept nothing, or a token that cannot be guessed."""
    token = text.strip()
    if token and len(token) < API_TOKEN_LENGTH:
        raise ValueError(
            f"must have {API_TOKEN_LENGTH} characters or more, as `openssl rand -hex 16` makes them"
        )
    return token


def time_zone(text: str) -> str:
    """Return the name of a zone as the tz database writes it, whatever its case; empty: not known."""
    from api.clocks.zones import zone_named

    return zone_named(text) if text.strip() else ""


def days(text: str) -> int:
    """Accept a number of days, up to ten years."""
    if not text.strip().isdecimal() or int(text) > 3660:
        raise ValueError("must be a whole number of days, from 0 to 3660")
    return int(text)


def alert_urls(text: str) -> tuple["Target", ...]:
    """Accept addresses of people who are told of alerts (api/notices/targets.py)."""
    from api.notices.targets import targets

    return targets(text)


def trusted_origins(text: str) -> frozenset[str]:
    """Accept origins of pages, as browsers write them (api/http/sites.py)."""
    from api.http.sites import origins

    return origins(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiSettings(Settings):
    """The common settings, and what operators must show."""

    SECRET: ClassVar[frozenset[str]] = Settings.SECRET | {"API_TOKEN", "ALERT_URLS"}

    api_token: str = setting(
        "API_TOKEN",
        api_token,
        default="",
        text="what operators must show, as bearer token or as password; unset: this machine alone is admitted",
    )
    api_open: bool = setting(
        "API_OPEN",
        lambda text: choice("yes", "no")(text or "no") == "yes",
        default="no",
        text="yes: whoever reaches the server is an operator, without API_TOKEN; no: only this machine is",
    )
    publish: str = setting(
        "PUBLISH",
        lambda text: text.strip().strip("[]"),
        default="",
        text="the address at which the reverse proxy before it is reached; unset: BIND_ADDR",
    )
    site_address: str = setting(
        "SITE_ADDRESS",
        str,
        default="",
        text="the host names of the server, as the reverse proxy has them",
    )

    trusted_origins: frozenset[str] = setting(
        "TRUSTED_ORIGINS",
        trusted_origins,
        default="",
        text="where the page is, like https://timing.example, if a reverse proxy before it changes the Host header",
    )
    time_zone: str = setting(
        "TIME_ZONE",
        time_zone,
        default="",
        text="the zone that readers' clocks are set to and the page shows times in, like Europe/Berlin; "
        "unset: what most readers agree on, and each browser's own",
    )

    participants_kept_days: int = setting(
        "PARTICIPANTS_KEPT_DAYS",
        days,
        default="0",
        text="after how many days people who were imported into a race are removed from it, unless the race says when; "
        "0: when somebody does it",
    )

    alert_urls: tuple["Target", ...] = setting(
        "ALERT_URLS",
        alert_urls,
        default="",
        text="who is told of red alerts, as Apprise writes addresses, with blanks between them, like "
        "ntfys://ntfy.example/topic jsons://hooks.example/alerts; unset: nobody",
    )

    @property
    def is_reached_from_beyond(self) -> bool:
        """Whether more than this machine can reach us."""
        from api.http.access import is_loopback

        return not is_loopback(self.publish or self.bind[0])

    @property
    def is_closed(self) -> bool:
        """Whether nobody is admitted: no token, no word that it is to be open, and others could come."""
        return not self.api_token and self.is_reached_from_beyond and not self.api_open

    @property
    def admission(self) -> "Admission":
        """Who is admitted."""
        from api.http.access import Admission, names_of

        return Admission(self.api_token, closed=self.is_closed, names=names_of(self.site_address))
