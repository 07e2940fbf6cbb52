"""A role's command line, made from its settings: every option is an environment variable too.

What a role is made of is imported when it runs: its help needs the settings alone.
"""

import sys
from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias, TypeVar

import click

from shared.runtime.settings import Settings

__all__ = ["role_command", "settings_options"]

S = TypeVar("S", bound=Settings)
Main: TypeAlias = Callable[[S], Coroutine[Any, Any, None]]


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


def role_command(role: str, kind: type[S], text: str, load: Callable[[], Main[S]]) -> click.Command:
    """Return the command that runs `role` in this process. Wrong settings end it with code 2, a line each.

    load: imports the role and returns its main.
    """

    def run(**given: str | None) -> None:
        from shared.errors import SettingsError
        from shared.runtime.process import run_role

        try:
            settings = kind.read(given)
        except SettingsError as error:
            for problem in error.problems:
                click.echo(f"rt-server {role}: {problem}", err=True)
            sys.exit(2)
        sys.exit(run_role(role, settings, lambda: load()(settings)))

    return click.Command(role, callback=run, params=settings_options(kind), help=text, short_help=text)
