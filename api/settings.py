"""What an api process can be told."""

from dataclasses import dataclass
from typing import ClassVar

from shared.settings import Settings, setting

__all__ = ["ApiSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiSettings(Settings):
    """The common settings, and what operators must show."""

    SECRET: ClassVar[frozenset[str]] = Settings.SECRET | {"API_TOKEN"}

    api_token: str = setting(
        "API_TOKEN",
        str.strip,
        default="",
        text="what operators must show, as bearer or password; unset: open",
    )
