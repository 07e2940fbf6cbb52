"""Readers whose clocks are known, and looks at what they have read."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from api.alerts.evaluator import Evaluation
from api.clocks.looking import ClockLooks
from shared.protocol.ipico import compose
from shared.runtime.process import Process
from tests.api.conftest import Ask
from tests.api.seeds import Database, add_events, add_forwarder_session, add_stream

BERLIN = "Europe/Berlin"
SECOND, MINUTE, HOUR, DAY = 1000, 60_000, 3_600_000, 86_400_000


class Track:
    """Readers that read, and looks at what they have read, a bin later each."""

    def __init__(self, database: Database, process: Process, ask: Ask, gateway_id: UUID) -> None:
        self._database = database
        self._process = process
        self._ask = ask
        self._gateway_id = gateway_id
        self._read = 0
        self._evaluation = Evaluation(process)
        self._clocks = ClockLooks(process)

    def zoned(self, time_zone: str) -> None:
        self._clocks = ClockLooks(self._process, time_zone=time_zone)

    def close(self) -> None:
        self._evaluation.close()

    async def reader(self, name: str) -> UUID:
        await add_forwarder_session(self._database, name, self._gateway_id)
        return await add_stream(self._database, name)

    async def reads(
        self,
        stream_id: UUID,
        ahead_ms: int,
        *,
        zone: str = BERLIN,
        held_s: Sequence[float] = (0,),
        at: datetime | None = None,
        suffix: Any = "",
    ) -> list[datetime]:
        """Store a read for each of `held_s`, a second apart by the reader, received after so long on their way; return
        when they were made.
        """
        made = []
        now: datetime = at or await self._database.fetchval("SELECT date_trunc('second', now())")
        for n, held in enumerate(held_s):
            left = now + timedelta(seconds=n)
            shown = left.astimezone(ZoneInfo(zone)).replace(tzinfo=None) + timedelta(milliseconds=ahead_ms)
            self._read += 1
            made.append(left)
            line = compose(reader_id="40", tag_id="000000012345", read_at=shown, suffix=suffix)
            await add_events(
                self._database,
                stream_id,
                [line],
                first_seq=self._read,
                received_at=left + timedelta(seconds=held),
            )
        return made

    async def look_at_clocks(self) -> None:
        """Look at clocks alone, as if it were somebody's turn."""
        assert await self._clocks.look(turn_s=0)

    async def look(self, *, after_s: float = 10) -> dict[str, Any]:
        """Look as if so long had passed since the last reads came; return the cards by forwarder."""
        await self._database.execute(
            "UPDATE reader_clocks SET told_at = told_at - make_interval(secs => $1)", after_s
        )
        assert await self._clocks.look(turn_s=0)
        assert await self._evaluation.look(turn_s=0)
        overview = await self._ask("GET", "/api/v1/overview")
        return {card["forwarder_id"]: card for card in overview["streams"]}

    async def told(self, readers: dict[str, int], **more: Any) -> dict[str, Any]:
        """Have new readers with such clocks read live, and look often enough to know."""
        streams = {name: await self.reader(name) for name in readers}
        for _ in range(2):
            for name, stream_id in streams.items():
                await self.reads(stream_id, readers[name], **more)
            cards = await self.look()
        return cards
