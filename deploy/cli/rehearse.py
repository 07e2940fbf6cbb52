"""The commands of rehearsals: `rehearse`, and `forget-rehearsals`. It imports as little as `main` does."""

import sys
from pathlib import Path
from typing import Any

import click

from deploy.cli.common import (
    api_token_option,
    data_dir_option,
    database_of,
    database_url_option,
    run,
    the_extra,
    wait_for,
)

__all__ = ["forget_rehearsals", "rehearse"]


@click.command(short_help="Play a stored race again, or a file of lines, while things break; and report.")
@click.option(
    "--from",
    "source",
    required=True,
    envvar="REHEARSE_FROM",
    show_envvar=True,
    help="the name or id of a race that the server has stored, or a file of lines as a reader says them",
)
@click.option(
    "--speed",
    type=click.FloatRange(0.1, 1000),
    default=20.0,
    show_default=True,
    envvar="REHEARSE_SPEED",
    show_envvar=True,
    help="how many times as fast as it was",
)
@click.option(
    "--faults",
    type=int,
    envvar="REHEARSE_FAULTS",
    show_envvar=True,
    help="a number, the seed of what breaks: links, mats, clocks; the same one breaks the same. None: nothing does",
)
@click.option(
    "--url",
    default="http://127.0.0.1:8080",
    show_default=True,
    envvar="SERVER_URL",
    show_envvar=True,
    help="the server's base URL",
)
@api_token_option
def rehearse(**given: Any) -> None:
    """Play a race again through a running server, on streams of its own, and tell what was lost, doubled or late, and
    which alerts came how soon.

    Its devices are called rehearsal-…, and are in no race. What they bring stays until `rt-server forget-rehearsals`;
    exit code 0: nothing was lost, doubled or altered.
    """
    with the_extra("rehearse"):
        from rich.console import Console

        from deploy.simulation.rehearsal.run import RehearsalOptions, run_rehearsal

    held = wait_for(run_rehearsal(RehearsalOptions(**given), console=Console(soft_wrap=True)))
    sys.exit(0 if held else 1)


@click.command(short_help="Delete all that rehearsals have left: reads, streams, tokens.")
@database_url_option
@data_dir_option
def forget_rehearsals(database_url: str | None, data_dir: Path | None) -> None:
    """Delete the reads, streams and tokens of all rehearsals that are over, and of nothing else.

    Beside a running `rt-server up` nothing else is needed; elsewhere it asks for the database, as its owner.
    """
    from deploy.cli.rehearsals import forget

    gone = run("forget-rehearsals", forget(database_of("forget-rehearsals", database_url, data_dir)))
    click.echo(f"gone: {gone.streams} streams with {gone.reads} reads, of {gone.devices} devices")
