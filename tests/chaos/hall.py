"""An announcer that goes on through a run, and what pages show of it in the end."""

from typing import Any

import orjson

from tests.chaos.announced import Announcer, announced, shown
from tests.chaos.desk import Desk
from tests.chaos.tables import Tables, read_tables
from tests.waiting import wait_until

__all__ = ["Hall"]

# Everybody who comes by these is announced.
FORWARDERS = ("mat-00", "mat-01", "mat-02", "mat-03")


class Hall:
    """A screen at the finish. It knows how things stood when it was asked last."""

    def __init__(self, desk: Desk, database_url: str) -> None:
        self._desk, self._database_url = desk, database_url
        self._before: Announcer | None = None

    async def begin(self) -> None:
        """Have the announcer announce who comes by."""
        streams = (await self._asked("GET", "/api/v1/streams"))["streams"]
        chosen = [each["stream_id"] for each in streams if each["forwarder_id"] in FORWARDERS]
        assert chosen, "nobody comes by a forwarder that is announced"
        wanted = {"enabled": True, "max_list_size": 500, "selected_stream_ids": chosen}
        await self._asked("PUT", "/api/v1/announcer/config", json=wanted)

    def check(self, tables: Tables) -> list[str]:
        """Return what is wrong with who was announced by now."""
        before, self._before = self._before, tables.announcer
        return announced(tables.announcer, tables.stored, before)

    async def settle(self, *, within_s: float) -> list[str]:
        """Let everybody be announced who has come in; return what is wrong then, and with what a page shows."""

        async def has_all() -> bool:
            return (await read_tables(self._database_url)).announcer.has_all

        await wait_until(has_all, deadline_s=within_s, what="the announcer to have all")
        tables = await read_tables(self._database_url)
        state = await self._asked("GET", "/api/v1/public/announcer/state")
        numbers = [row["announcement_id"] for row in state["rows"]]
        return [
            *([] if tables.announcer.rows else ["nobody was announced"]),
            *self.check(tables),
            *shown(tables.announcer, count=state["finisher_count"], numbers=numbers),
        ]

    async def _asked(self, method: str, path: str, **how: Any) -> Any:
        answer = await self._desk.ask(method, path, **how)
        assert answer.status == 200, f"{method} {path}: {answer.status}"
        return orjson.loads(answer.body)
