"""The `rt-server` command: one group over the roles and what puts them together.

Whatever a command does is imported when it does it. So help comes at once, a role starts without the local stack's
packages, and importing this imports nothing but click and the settings (tests/deploy/test_help.py).
"""

import os
import sys
from pathlib import Path
from typing import Any

import click

import api.__main__
import fanout.__main__
import gateway.__main__
import writer.__main__
from api.settings import ApiSettings
from deploy.cli.certificate import certificate
from deploy.cli.common import (
    api_token_option,
    count,
    data_dir_option,
    database_of,
    database_url_option,
    how_many,
    only_warn,
    parsed,
    required,
    run,
    the_extra,
    wait_for,
)
from deploy.cli.rehearse import forget_rehearsals, rehearse
from shared.roles import ROLES

__all__ = ["main"]

SECTIONS = {
    "Run it on this machine": ("up", "demo", "token", "doctor"),
    "The evening before": ("rehearse", "forget-rehearsals"),
    "Its services, one process each": ROLES,
    "Its database": ("migrate", "roles"),
    "What it has certified": ("certificate",),
}


class _Sections(click.Group):
    """Lists the commands by what they are for, those that one needs first before all."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write them; `ctx` is click's, and not needed."""
        del ctx
        for title, names in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(name, self.commands[name].get_short_help_str(100)) for name in names])


@click.group(
    cls=_Sections,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="New here? `rt-server up --demo` runs all of it with a simulated race; open http://127.0.0.1:8080 in a "
    "browser. Every option of every command is an environment variable, too: COMMAND --help names them.",
)
@click.version_option(package_name="rt-server")
def main() -> None:
    """Take chip reads in from forwarders at the timing mats, store each exactly once, stream them to receivers."""


for service in (gateway, writer, fanout, api):
    main.add_command(service.__main__.command)
main.add_command(certificate)
main.add_command(rehearse)
main.add_command(forget_rehearsals)


@main.command(short_help="Bring the database's schema up to date.")
@database_url_option
def migrate(database_url: str | None) -> None:
    """Bring the database's schema up to date. Every service does the same at its start."""
    from deploy.cli.migrate import migrate_and_note

    url = required("migrate", database_url)
    applied = run("migrate", migrate_and_note(url))
    for name in applied:
        click.echo(f"applied {name}")
    if not applied:
        click.echo("the schema is up to date")


@main.command(short_help="Make a database user for each service, with no more rights than it needs.")
@click.option(
    "--passfiles",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    envvar="PASSFILES",
    show_envvar=True,
    help="a directory with a directory for each service, where its user's password is kept in a file `pgpass`; "
    "made where there is none",
)
@database_url_option
def roles(passfiles: Path | None, database_url: str | None) -> None:
    """Bring the schema up to date, and give each service a database user that may do its work and no more."""
    from deploy.cli.migrate import migrate_and_note
    from deploy.cli.roles import apply_roles

    url = required("roles", database_url)
    run("roles", migrate_and_note(url))
    run("roles", apply_roles(url, passfiles=passfiles))
    click.echo(f"users rt_{', rt_'.join(ROLES)} may do what their services do")


@main.command(short_help="Run all of it, in the foreground, with a Postgres of its own.")
@click.option("--demo", is_flag=True, envvar="DEMO", show_envvar=True, help="hold a simulated race, too")
@data_dir_option
@click.option(
    "--bind",
    default="127.0.0.1:8080",
    show_default=True,
    envvar="FRONT_DOOR_ADDR",
    show_envvar=True,
    help="host:port that browsers and devices connect to",
)
@how_many("gateway", "how many gateways, which forwarders connect to")
@how_many("writer", "how many writers, which store the reads")
@how_many("fanout", "how many fanouts, which receivers connect to")
@how_many("api", "how many api processes, which serve the page and the HTTP API")
@database_url_option
@api_token_option
def up(*, demo: bool, data_dir: Path | None, bind: str, api_token: str | None, **counted: Any) -> None:
    """Run all of it here, in the foreground, until Ctrl-C; what is stored stays.

    Without --database-url it brings a Postgres of its own, in the data directory. The settings of the services
    (`rt-server api --help` and so on) are taken from the environment.
    """
    with the_extra("up"):
        from rich.console import Console

        from deploy.local.description import default_data_dir
        from deploy.local.supervisor import Stack
        from deploy.local.up import UpOptions, run_up
        from deploy.simulation.demo.run import DemoOptions, run_demo

        data_dir = data_dir or default_data_dir()
    parsed("up", ApiSettings.specs()["api_token"], api_token or "")
    if counted["database_url"]:
        required("up", counted["database_url"])
    environment = {"API_TOKEN": api_token} if api_token else {}
    if demo:
        # Its readers and this machine go by one clock; whether anybody keeps that is nothing to look at then.
        environment["CLOCK_KEPT"] = os.environ.get("CLOCK_KEPT", "yes")
    options = UpOptions(bind=bind, environment=environment, data_dir=data_dir, **counted)
    console = Console(soft_wrap=True)

    async def race(stack: Stack) -> None:
        state_dir = options.data_dir / "demo"
        await run_demo(
            DemoOptions(url=stack.url, api_token=api_token, seconds=None, state_dir=state_dir),
            console=console,
        )

    sys.exit(wait_for(run_up(options, while_running=race if demo else None, console=console)))


@main.command(short_help="Examine a deployment, and say what is wrong and what to do.")
@database_url_option
@click.option(
    "--listen-database-url",
    envvar="LISTEN_DATABASE_URL",
    show_envvar=True,
    default="",
    help="the services' setting of this name",
)
@click.option(
    "--listen",
    type=click.Choice(["on", "off"]),
    envvar="LISTEN",
    show_envvar=True,
    default="on",
    show_default=True,
    help="the services' setting of this name",
)
@click.option("--url", envvar="SERVER_URL", show_envvar=True, default="", help="the server's base URL")
@click.option(
    "--alert-urls",
    envvar="ALERT_URLS",
    show_envvar=True,
    default="",
    help=ApiSettings.specs()["alert_urls"].help,
)
@data_dir_option
def doctor(
    *,
    database_url: str | None,
    listen_database_url: str,
    listen: str,
    url: str,
    alert_urls: str,
    data_dir: Path | None,
) -> None:
    """Examine a deployment, and say of each thing that is wrong what to do: from inside by --database-url, from
    outside by --url, as devices see it; and send a test to who is told of alerts (--alert-urls).

    Without any it examines the `rt-server up` that runs here. It changes nothing; exit code 0: all is well.
    """
    from deploy.cli.doctor import Deployment, examine, render
    from deploy.local.addresses import is_base_url
    from deploy.local.description import find_stack

    if url and not is_base_url(url):
        raise click.UsageError(
            f"--url: {url!r} is no address of a server: give one like http://127.0.0.1:8080"
        )
    told: Any = parsed("doctor", ApiSettings.specs()["alert_urls"], alert_urls)
    # Also where somebody is to be sent a test: ALERT_URLS of a shell says nothing of what is to be examined.
    if not database_url and not url:
        stack = find_stack(data_dir)
        if stack is None:
            raise click.UsageError(
                "there is nothing to examine: no `rt-server up` runs here; give --database-url, --url or both"
            )
        database_url, url = stack
    deployment = Deployment(database_url or "", listen_database_url, listen == "on", url, told)
    found = wait_for(examine(deployment))
    click.echo(render(found))
    sys.exit(0 if all(finding.well for finding in found) else 1)


@main.group()
def token() -> None:
    """Make tokens, which devices connect with."""


@token.command(short_help="Make a token for a device, and print it.")
@click.option(
    "--type",
    "device_type",
    type=click.Choice(["forwarder", "receiver"]),
    required=True,
    envvar="DEVICE_TYPE",
    show_envvar=True,
    help="what the device is",
)
@click.option(
    "--id",
    "device_id",
    required=True,
    envvar="DEVICE_ID",
    show_envvar=True,
    help="the device's id, such as start-line",
)
@database_url_option
@data_dir_option
def create(device_type: str, device_id: str, database_url: str | None, data_dir: Path | None) -> None:
    """Make a token for a device, and print it: this once, because only its hash is kept. Enter it in the device's own
    settings.

    Beside a running `rt-server up` nothing else is needed; elsewhere it asks for the database.
    """
    from deploy.cli.token import create_token

    url = database_of("token", database_url, data_dir)
    minted = run("token", create_token(url, device_type, device_id))
    for warning in minted.warnings:
        click.echo(f"rt-server token: {warning}", err=True)
    click.echo(minted.token)


@main.command(short_help="Hold a simulated race against a server, and judge it.")
@click.option(
    "--url",
    default="http://127.0.0.1:8080",
    show_default=True,
    envvar="SERVER_URL",
    show_envvar=True,
    help="the server's base URL",
)
@api_token_option
@click.option(
    "--forwarders",
    type=count,
    default=3,
    show_default=True,
    envvar="DEMO_FORWARDERS",
    show_envvar=True,
    help="timing mats, each with a forwarder",
)
@click.option(
    "--readers",
    type=count,
    default=2,
    show_default=True,
    envvar="DEMO_READERS",
    show_envvar=True,
    help="readers of each mat",
)
@click.option(
    "--rate",
    type=click.FloatRange(0.1, 10_000),
    default=60.0,
    show_default=True,
    envvar="DEMO_RATE",
    show_envvar=True,
    help="reads per second, all readers together",
)
@click.option(
    "--seconds",
    type=click.FloatRange(1, 86_400),
    default=20.0,
    show_default=True,
    envvar="DEMO_SECONDS",
    show_envvar=True,
    help="length of the race",
)
@click.option(
    "--seed",
    type=int,
    default=1,
    show_default=True,
    envvar="DEMO_SEED",
    show_envvar=True,
    help="the same seed gives the same race",
)
def demo(**given: Any) -> None:
    """Hold a simulated race against a running server, and tell whether every read was stored once and delivered.

    It makes devices of its own on that server. Ctrl-C ends the race, and the verdict follows; exit code 0: all kept.
    """
    with the_extra("demo"):
        from rich.console import Console

        from deploy.simulation.demo.run import DemoOptions, run_demo_alone

    only_warn()
    held = run_demo_alone(DemoOptions(**given), console=Console(soft_wrap=True))
    sys.exit(0 if held else 1)
