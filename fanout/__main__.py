"""`rt-server fanout`, and `python -m fanout`."""

from fanout.app import main
from fanout.settings import FanoutSettings
from shared.command import role_command

command = role_command("fanout", FanoutSettings, "Replay and stream events to receivers.", main)

if __name__ == "__main__":
    command()
