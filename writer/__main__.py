"""`rt-server writer`, and `python -m writer`."""

from shared.runtime.command import Main, role_command
from shared.runtime.settings import Settings


def load() -> Main[Settings]:
    """Import what the role is made of."""
    from writer.app import main

    return main


command = role_command("writer", Settings, "Store what gateways have taken in, each read exactly once.", load)

if __name__ == "__main__":
    command()
