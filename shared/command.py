"""A role's command line, made from its settings: every option is an environment variable too."""

import sys
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import click

from shared.errors import SettingsError
from shared.process import run_role
from shared.settings import Settings

__all__ = ["role_command", "settings_options"]

S = TypeVar("S", bound=Settings)


def settings_options(kind: type[Settings]) -> list[click.Parameter]:
    """Return one option for each setting. Values stay texts here: Settings.read reports all problems at once."""
    return [
        click.Option(
            [spec.option, name],
            envvar=spec.variable,
            show_envvar=True,
            help=spec.help + (f"  [default: {spec.default}]" if spec.default else ""),
            metavar="TEXT",
        )
        for name, spec in kind.specs().items()
    ]


def role_command(
    role: str, kind: type[S], text: str, main: Callable[[S], Coroutine[Any, Any, None]]
) -> click.Command:
    """Return the command that runs `role` in this process. Wrong settings end it with code 2, a line each."""

    def run(**given: str | None) -> None:
        try:
            settings = kind.read(given)
        except SettingsError as error:
            for problem in error.problems:
                click.echo(f"rt-server {role}: {problem}", err=True)
            sys.exit(2)
        sys.exit(run_role(role, settings, lambda: main(settings)))

    return click.Command(role, callback=run, params=settings_options(kind), help=text, short_help=text)
