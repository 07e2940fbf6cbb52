"""`rt-server writer`, and `python -m writer`."""

from shared.command import role_command
from shared.settings import Settings
from writer.app import main

command = role_command("writer", Settings, "Write what gateways stage, each read exactly once.", main)

if __name__ == "__main__":
    command()
