"""Finish lines: who comes in there, and the announcer that looks."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from api.announcer.announcing import Announcing
from shared.runtime.process import Process
from tests.api.conftest import Ask
from tests.api.seeds import SECOND, START, Database, add_events, add_stream
from tests.lines import line

CONFIG = "/api/v1/announcer/config"
RESET = "/api/v1/announcer/reset"
STATE = "/api/v1/announcer/state"
PUBLIC = "/api/v1/public/announcer/state"


def chip(number: int) -> str:
    """Return the id of a chip."""
    return f"0580000000{number:02x}"


async def enable(ask: Ask, *stream_ids: UUID, size: int = 25, **more: Any) -> Any:
    """Enable the announcer for streams."""
    wanted = {
        "enabled": True,
        "max_list_size": size,
        "selected_stream_ids": [str(each) for each in stream_ids],
    }
    return await ask("PUT", CONFIG, json=wanted, **more)


async def come_in(
    database: Database,
    stream_id: UUID,
    chips: Sequence[int],
    *,
    first_seq: int = 1,
    epoch: int = 1,
    at: datetime = START,
    step: timedelta = SECOND,
) -> None:
    """Have chips read, in this order; an epoch that is new becomes the stream's, as the writer does it."""
    async with database.transaction():
        await add_events(
            database,
            stream_id,
            [line(chip(each).upper()) for each in chips],
            epoch=epoch,
            first_seq=first_seq,
            received_at=at,
            step=step,
        )
        await database.execute(
            "UPDATE streams SET stream_epoch = greatest(stream_epoch, $2) WHERE stream_id = $1",
            stream_id,
            epoch,
        )


async def look(process: Process) -> int:
    """Look as the announcer's loop does, until there is nothing new."""
    return await Announcing(process).look()


async def chips_of(ask: Ask) -> list[int]:
    """Return the numbers of the chips that were announced, the first first."""
    state = await ask("GET", STATE)
    rows = [int(row["chip_id"][-2:], 16) for row in state["rows"]]
    assert state["finisher_count"] >= len(rows)
    return rows[::-1]


async def numbered(database: Database, run_id: int | None = None) -> list[int]:
    """Return the ids of a run's announcements, of the one that goes on."""
    return [
        row["announcement_id"]
        for row in await database.fetch(
            "SELECT announcement_id FROM announcements WHERE run_id = coalesce($1, (SELECT run_id FROM announcer)) "
            "ORDER BY 1",
            run_id,
        )
    ]


async def add_roster(
    database: Database, race_id: UUID, people: Mapping[int, tuple[str, Sequence[int]]]
) -> None:
    """Give a race people, by bib: the first name, and the chips."""
    for bib, (name, chips) in people.items():
        await database.execute(
            "INSERT INTO participants (race_id, bib, first_name, last_name, gender) VALUES ($1, $2, $3, 'Doe', 'X')",
            race_id,
            bib,
            name,
        )
        for n, each in enumerate(chips):
            await database.execute(
                "INSERT INTO chips (race_id, chip_id, bib, line, is_owner) VALUES ($1, $2, $3, $4, true)",
                race_id,
                chip(each),
                bib,
                n + 1,
            )


async def finish_line(database: Database, name: str = "finish", *, race_id: UUID | None = None) -> UUID:
    """Add the stream of a finish line, whose forwarder may have a race."""
    stream_id = await add_stream(database, name)
    if race_id is not None:
        await database.execute(
            "INSERT INTO forwarder_races (forwarder_id, race_id) VALUES ($1, $2) ON CONFLICT DO NOTHING",
            name,
            race_id,
        )
    return stream_id
