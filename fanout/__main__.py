"""`rt-server fanout`, and `python -m fanout`."""

from fanout.settings import FanoutSettings
from shared.runtime.command import Main, role_command


def load() -> Main[FanoutSettings]:
    """Import what the role is made of."""
    from fanout.app import main

    return main


command = role_command(
    "fanout", FanoutSettings, "Send reads to receivers: what they missed first, then live.", load
)

if __name__ == "__main__":
    command()
