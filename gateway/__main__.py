"""`rt-server gateway`, and `python -m gateway`."""

from gateway.app import main
from gateway.settings import GatewaySettings
from shared.command import role_command

command = role_command(
    "gateway", GatewaySettings, "Take reads in from forwarders and ack what is stored.", main
)

if __name__ == "__main__":
    command()
