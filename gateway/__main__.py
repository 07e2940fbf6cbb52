"""`rt-server gateway`, and `python -m gateway`."""

from gateway.settings import GatewaySettings
from shared.runtime.command import Main, role_command


def load() -> Main[GatewaySettings]:
    """Import what the role is made of."""
    from gateway.app import main

    return main


command = role_command(
    "gateway", GatewaySettings, "Take reads in from forwarders, and acknowledge what is stored.", load
)

if __name__ == "__main__":
    command()
