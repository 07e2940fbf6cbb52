"""`rt-server api`, and `python -m api`."""

from api.app import main
from api.settings import ApiSettings
from shared.command import role_command

command = role_command("api", ApiSettings, "Serve the operators: HTTP API, exports, administration.", main)

if __name__ == "__main__":
    command()
