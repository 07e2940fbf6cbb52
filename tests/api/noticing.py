"""Somebody who is told of alerts, and time that passes for what is to be told."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import NamedTuple
from uuid import UUID

from api.notices.courier import Said
from api.notices.targets import Target
from api.notices.wording import Text
from shared.wake import Stop
from tests.api.answering import silent
from tests.api.looking import ago
from tests.api.seeds import Database, add_metrics, add_stream

NOTICES = "/api/v1/alerts/notices"
PHONE, TENT = (
    Target("json 1", "json://user:a-secret@127.0.0.1/phone"),
    Target("ntfy 2", "ntfy://another-secret"),
)


class Heard(NamedTuple):
    """A notice as it came, and who got it."""

    to: tuple[str, ...]
    kind: str
    text: Text


@dataclass
class People:
    """They get what is sent, or say why not, by the names of their addresses."""

    heard: list[Heard] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)

    async def send(
        self, targets: Sequence[Target], kind: str, text: Text, *, stop: Stop | None = None
    ) -> Said:
        """Take a notice."""
        del stop
        self.heard.append(Heard(tuple(each.name for each in targets), kind, text))
        return {each.name: self.problems.get(each.name) for each in targets}

    @property
    def kinds(self) -> list[str]:
        """Return what was heard, without its words."""
        return [each.kind for each in self.heard]


async def silent_box(database: Database, forwarder_id: str = "start", readers: int = 8) -> list[UUID]:
    """Add a connected forwarder with so many readers, all of them silent."""
    found = [await silent(database, forwarder_id)]
    for each in range(2, readers + 1):
        stream_id = await add_stream(database, forwarder_id, f"10.0.0.{each}:10000")
        await add_metrics(database, stream_id, dedup=7, received_at=await ago(database, 60))
        found.append(stream_id)
    return found


async def later(database: Database, seconds: float) -> None:
    """Let what is to be told, and was, be older."""
    by = timedelta(seconds=seconds)
    await database.execute(
        "UPDATE noticed_alerts SET red_at = red_at - $1::interval, over_at = over_at - $1::interval", by
    )
    await database.execute(
        "UPDATE alert_notices SET made_at = made_at - $1::interval, due_at = due_at - $1::interval, "
        "taken_at = taken_at - $1::interval, told_at = told_at - $1::interval",
        by,
    )
