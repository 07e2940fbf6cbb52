"""What handlers have in common: the process they live in, and the places for what takes long."""

from collections.abc import Mapping
from typing import Any

from api.commands.ask import Commands
from api.exports.places import Places
from api.http.asking import asker
from api.live.view import Live
from shared.db.connections import Pool
from shared.runtime.activity import Activity
from shared.runtime.process import Process

__all__ = ["Api"]

EXPORTS_AT_ONCE = 8


class Api:
    """One api process, as its handlers see it.

    activity: where it notes what operators should know. description: the OpenAPI document of its routes. commands: the
    way to the forwarders. exports: the places for them. time_zone: the setting, empty where there is none.
    """

    def __init__(
        self, process: Process, *, activity: Activity, description: Mapping[str, Any], time_zone: str = ""
    ) -> None:
        self.process = process
        self.activity = activity
        self.description = description
        self.live = Live(process, time_zone=time_zone)
        self.commands = Commands(process)
        self.exports = Places(EXPORTS_AT_ONCE)

    def note(self, event: str, **fields: Any) -> None:
        """Tell operators what one of them has done, and who that was."""
        self.activity.note(event, **fields, **asker()._asdict())

    @property
    def pool(self) -> Pool:
        """The pool for short statements."""
        return self.process.pool
