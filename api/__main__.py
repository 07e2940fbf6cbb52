"""`rt-server api`, and `python -m api`."""

from api.settings import ApiSettings
from shared.runtime.command import Main, role_command


def load() -> Main[ApiSettings]:
    """Import what the role is made of."""
    from api.app import main

    return main


command = role_command("api", ApiSettings, "Serve the page for operators and the HTTP API.", load)

if __name__ == "__main__":
    command()
