"""What several commands have in common: options, and how they run and end. It imports as little as `main` does."""

import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from shared.runtime.settings import Settings, Spec

__all__ = [
    "api_token_option",
    "count",
    "data_dir_option",
    "database_of",
    "database_url_option",
    "how_many",
    "only_warn",
    "parsed",
    "required",
    "run",
    "the_extra",
    "wait_for",
]

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

database_url_option = click.option(
    "--database-url", envvar="DATABASE_URL", show_envvar=True, help=Settings.specs()["database_url"].help
)
api_token_option = click.option(
    "--api-token", envvar="API_TOKEN", show_envvar=True, help="the server's API token, where it has one"
)
data_dir_option = click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="DATA_DIR",
    show_envvar=True,
    help="where the data of `rt-server up` lies  [default: the platform's data directory]",
)
count = click.IntRange(min=1, max=64)


def how_many(role: str, text: str) -> Callable[[F], F]:
    """Return the option of `up` that says how many processes of a role there are."""
    variable = f"{role.upper()}_COUNT"
    return click.option(
        f"--{role}", type=count, default=1, show_default=True, envvar=variable, show_envvar=True, help=text
    )


@contextmanager
def the_extra(command: str) -> Iterator[None]:
    """Import what only the local stack needs; a line says which extra of ours brings it where it is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        package, _, _ = str(error.name).partition(".")
        click.echo(
            f"rt-server {command}: the package {package} is not installed: pip install 'rt-server[local]'",
            err=True,
        )
        sys.exit(2)


def required(command: str, database_url: str | None) -> str:
    """Check the one setting that the small commands share, as the roles do."""
    return str(parsed(command, Settings.specs()["database_url"], database_url))


def database_of(command: str, database_url: str | None, data_dir: Path | None) -> str:
    """Return the URL of the database that is given, or of the stack that runs here; without either the command ends."""
    from deploy.local.description import find_stack

    stack = None if database_url else find_stack(data_dir)
    if stack is None and not database_url:
        click.echo(
            f"rt-server {command}: DATABASE_URL is not set, and no `rt-server up` runs here: start that, or give "
            "--database-url",
            err=True,
        )
        sys.exit(2)
    return stack.database_url if stack else required(command, database_url)


def parsed(command: str, spec: Spec, text: str | None) -> object:
    """Read one setting as a role does, and end with a line where it is missing or wrong."""
    try:
        return spec.read(text)
    except ValueError as error:
        click.echo(f"rt-server {command}: {error}", err=True)
        sys.exit(2)


def wait_for(act: Coroutine[Any, Any, T]) -> T:
    """Return what comes of it."""
    import asyncio

    only_warn()
    return asyncio.run(act)


def only_warn() -> None:
    """Have our own log say warnings, and nothing below them; a role is told by its settings what to say."""
    from shared import log

    log.configure(level="warn", form="console")


def run(command: str, act: Coroutine[Any, Any, T]) -> T:
    """Return what comes of it; an error of ours ends the command with one line."""
    from shared.errors import RtServerError

    try:
        return wait_for(act)
    except RtServerError as error:
        click.echo(f"rt-server {command}: {error}", err=True)
        sys.exit(1)
