"""The only reader of the environment. A setting is a field of a frozen dataclass that carries its variable,
default and parser; command line, `--help`, the table in the README and the checks are made from it.

All problems are found before any is reported. Values are never printed: some are secrets. What only reading needs is
imported by what reads: `--help` knows the settings and comes at once.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self, TypeVar

from shared.levels import LEVELS

if TYPE_CHECKING:
    from shared.runtime.client_address import Network

__all__ = ["Settings", "Spec", "bind_address", "choice", "host_port", "number", "setting"]

T = TypeVar("T")


class Spec(NamedTuple):
    """How one setting is read: environment variable, default text (None: required), help, parser."""

    variable: str
    default: str | None
    help: str
    parse: Callable[[str], Any]

    @property
    def option(self) -> str:
        """The command line's name of the setting, as `--bind-addr`."""
        return "--" + self.variable.lower().replace("_", "-")

    def read(self, text: str | None) -> Any:
        """Return what a text (None: not given) stands for; ValueError with a line for people when it is wrong."""
        text = self.default if text is None else text
        if text is None:
            raise ValueError(f"{self.variable} is not set, nor {self.option} given: {self.help}")
        try:
            return self.parse(text)
        except ValueError as error:
            raise ValueError(f"{self.variable} is wrong: it {error}") from None


def setting(variable: str, parse: Callable[[str], T], *, default: str | None, text: str) -> Any:
    """Declare a field of Settings: its variable, parser (raises ValueError), default and help text."""
    return field(metadata={"spec": Spec(variable, default, text, parse)})


def choice(*words: str) -> Callable[[str], str]:
    """Return a parser that accepts one of `words`, whatever its case."""

    def parse(text: str) -> str:
        if text.lower() not in words:
            raise ValueError(f"must be one of {', '.join(words)}")
        return text.lower()

    return parse


def number(*, low: int, high: int) -> Callable[[str], int]:
    """Return a parser of whole numbers from low to high, both allowed."""

    def parse(text: str) -> int:
        if not text.strip().isascii() or not text.strip().isdigit() or not low <= int(text) <= high:
            raise ValueError(f"must be a whole number from {low} to {high}")
        return int(text)

    return parse


def database_url(text: str) -> str:
    """Accept a URL of a database (shared/db/url.py)."""
    from shared.db.url import parse_database_url

    parse_database_url(text)
    return text


def bind_address(text: str) -> tuple[str, int]:
    """Split host:port; the host may be an IPv6 address in brackets."""
    host, _, port = text.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError("must look like 0.0.0.0:8080 or [::]:8080")
    return host.strip("[]"), int(port)


def host_port(bind: tuple[str, int]) -> str:
    """Return an address as people write it: host:port, with brackets around an IPv6 address."""
    host, port = bind
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def trusted_proxies(text: str) -> frozenset["Network"]:
    """Accept networks of reverse proxies (shared/runtime/client_address.py)."""
    from shared.runtime.client_address import networks

    return networks(text)


def switch(text: str) -> bool:
    """Read on or off."""
    return choice("on", "off")(text) == "on"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What every role needs to know; a role with settings of its own extends this class."""

    SECRET: ClassVar[frozenset[str]] = frozenset({"DATABASE_URL", "LISTEN_DATABASE_URL"})

    database_url: str = setting(
        "DATABASE_URL",
        database_url,
        default=None,
        text="the Postgres that holds everything, as postgresql://user:password@host:5432/database",
    )
    bind: tuple[str, int] = setting(
        "BIND_ADDR", bind_address, default="0.0.0.0:8080", text="host:port to serve on"
    )
    log_level: str = setting(
        "LOG_LEVEL", choice(*LEVELS), default="info", text=f"what is logged: {', '.join(LEVELS)}"
    )
    log_format: str = setting(
        "LOG_FORMAT", choice("console", "json"), default="console", text="console (for people) or json"
    )
    listen: bool = setting(
        "LISTEN",
        switch,
        default="on",
        text="on: woken by NOTIFY; off: by polls alone, for a pooler in transaction mode",
    )
    listen_database_url: str = setting(
        "LISTEN_DATABASE_URL",
        lambda text: database_url(text) if text else "",
        default="",
        text="a direct address of the same database for LISTEN, where DATABASE_URL is a pooler's",
    )

    trusted_proxies: frozenset["Network"] = setting(
        "TRUSTED_PROXIES",
        trusted_proxies,
        default="",
        text="networks of reverse proxies beside this machine's, like 10.0.0.7 172.16.0.0/12, whose X-Forwarded-For is "
        "believed",
    )

    @classmethod
    def specs(cls) -> dict[str, Spec]:
        """Return the settings of this role by field name, in order."""
        return {each.name: each.metadata["spec"] for each in fields(cls)}

    @classmethod
    def read(cls, given: Mapping[str, str | None]) -> Self:
        """Build the settings from texts by field name; SettingsError lists every problem there is."""
        from shared.errors import SettingsError

        values: dict[str, Any] = {}
        problems: list[str] = []
        for name, spec in cls.specs().items():
            try:
                values[name] = spec.read(given.get(name))
            except ValueError as error:
                problems.append(str(error))
        if problems:
            raise SettingsError(problems)
        return cls(**values)

    @property
    def direct_url(self) -> str:
        """The address for connections that need a backend of their own: LISTEN, locks, NOTIFY."""
        return self.listen_database_url or self.database_url
