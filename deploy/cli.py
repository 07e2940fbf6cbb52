"""The `rt-server` command: one group over the roles and what puts them together."""

import asyncio
import sys

import click

import api.__main__
import fanout.__main__
import gateway.__main__
import writer.__main__
from shared.errors import RtServerError
from shared.migrate import migrate

__all__ = ["main"]


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="rt-server")
def main() -> None:
    """Take chip reads in from forwarders, store each exactly once, stream them to receivers."""


for room in (gateway, writer, fanout, api):
    main.add_command(room.__main__.command)
