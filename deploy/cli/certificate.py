"""`rt-server certificate`: looks at certificates without a server, and makes another key for them."""

import sys
from pathlib import Path

import click

from deploy.cli.common import data_dir_option, database_url_option, required, run

__all__ = ["certificate"]

_MARKS = {True: "ok", False: "BAD", None: "??"}
_FILE = click.Path(dir_okay=False, path_type=Path)


@click.group()
def certificate() -> None:
    """Look at certificates, which say that nothing of a race is missing."""


@certificate.command(short_help="Say whether a certificate is what a server has signed.")
@click.argument("file", type=_FILE)
@click.option(
    "--export",
    "exports",
    type=_FILE,
    multiple=True,
    envvar="CERTIFICATE_EXPORTS",
    show_envvar=True,
    help="an export as CSV, of a stream or an epoch, to be held to the certificate; several times, if needed",
)
@click.option(
    "--key",
    default="",
    envvar="CERTIFICATE_KEY",
    show_envvar=True,
    help="the key that is trusted: its name, or a file with what GET /api/v1/certificate/key answers",
)
@click.option(
    "--complete",
    is_flag=True,
    envvar="CERTIFICATE_COMPLETE",
    show_envvar=True,
    help="it must say that all is there, too: for scripts",
)
def verify(file: Path, exports: tuple[Path, ...], key: str, *, complete: bool) -> None:
    """Say whether FILE, as GET /api/v1/certificate answers it, is signed and unchanged, and whether exports are the
    very reads that it certifies: all of them, where any export is given.

    It asks nobody. Exit code 0: all of that holds, and whose key it is was looked at (--key); what the certificate
    itself says is printed first.
    """
    from deploy.cli.verifying import (
        Check,
        Export,
        certificate_in,
        check_exports,
        check_itself,
        keys_in,
        words,
    )
    from shared.errors import RtServerError

    try:
        said = certificate_in(file)
        checks = [*check_itself(said, keys_in(key) if key else None)]
        if complete:
            checks.append(Check(said["verdict"] == "complete", f"it says {said['verdict']}"))
        if exports:
            checks += check_exports(said, [Export(each) for each in exports])
    except RtServerError as error:
        click.echo(f"rt-server certificate: {error}", err=True)
        sys.exit(1)
    click.echo(words(said))
    for each in checks:
        click.echo(f"{_MARKS[each.holds]:<4} {each.says}")
    sys.exit(0 if all(each.holds for each in checks) else 1)


@certificate.command(
    "new-key", short_help="Make another key that certificates are signed with, after a theft."
)
@database_url_option
@data_dir_option
def new_key(database_url: str | None, data_dir: Path | None) -> None:
    """Retire the key that certificates are signed with, and make another: whoever has got hold of the database, or of
    a backup of it, could sign in our name. What the old one has signed stays to be looked at; certificates that
    matter should be asked for anew.

    As the owner of the tables. Beside a running `rt-server up` nothing else is needed.
    """
    from deploy.cli.new_key import replace_key
    from deploy.local.description import find_stack

    stack = None if database_url else find_stack(data_dir)
    url = stack.database_url if stack else required("certificate", database_url)
    click.echo(run("certificate", replace_key(url)))
