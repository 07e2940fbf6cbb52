"""A small rehearsal through a whole stack: from a file, while things break; from the race that it then is; and gone."""

import io
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest
from rich.console import Console

from deploy.cli.rehearsals import OF_A_REHEARSAL, forget
from deploy.simulation.demo.server import ServerError
from deploy.simulation.devices.receiver import AT_ONCE
from deploy.simulation.rehearsal.faults import KINDS
from deploy.simulation.rehearsal.run import RehearsalOptions, rehearse
from tests.api.recording import LINES, recording
from tests.pipeline.test_stack import up
from tests.services import make_token

_OF_OTHERS = "SELECT count(*) FROM streams WHERE forwarder_id !~ $1"
_LEFT = """
SELECT (SELECT count(*) FROM streams WHERE forwarder_id ~ $1)
     + (SELECT count(*) FROM device_tokens WHERE device_id ~ $1)
     + (SELECT count(*) FROM receiver_cursors) + (SELECT count(*) FROM events)
     + (SELECT count(*) FROM forwarder_sessions)
"""


async def test_what_was_read_once_comes_again_while_things_break_and_is_gone_on_request(
    tmp_path: Path,
) -> None:
    file = tmp_path / "finish.txt"
    file.write_text("".join(f"{line}\r\n" for line in recording()))
    async with up(tmp_path / "data") as stack:
        database = await asyncpg.connect(stack["database_url"])
        options = RehearsalOptions(stack["reverse_proxy"], str(file), speed=400, faults=3, manners=AT_ONCE)
        report = await rehearse(options, console=Console(file=io.StringIO()))
        assert report.verdict.problems == []
        assert {each.fault.kind for each in report.faults} == set(KINDS)
        assert report.verdict.reads + report.unsaid == LINES
        assert report.unsaid > 0
        said = io.StringIO()
        Console(file=said, width=100).print(report)
        for words in (
            "stored once and delivered",
            "99 % within",
            "link cut",
            "none is due",
            "were not said at all",
        ):
            assert words in said.getvalue()
        # All was sent twice for a while, and is stored once.
        assert await database.fetchval("SELECT sum(retransmit_count) FROM stream_metrics") > 0
        assert await database.fetchval("SELECT count(*) FROM events") == report.verdict.reads
        assert {
            name for (name,) in await database.fetch("SELECT DISTINCT forwarder_display_name FROM streams")
        } == {"finish · REHEARSAL"}
        # Both are in no race, until somebody says so.
        assert await database.fetchval("SELECT count(*) FROM epoch_races") == 0
        race_id = await database.fetchval("INSERT INTO races (name) VALUES ('10 km') RETURNING race_id")
        await database.execute("INSERT INTO epoch_races SELECT stream_id, 1, $1 FROM streams", race_id)
        again = await rehearse(
            replace(options, source="10 km", faults=None), console=Console(file=io.StringIO())
        )
        assert (again.verdict.problems, again.faults) == ([], [])
        assert again.verdict.reads == report.verdict.reads

        with pytest.raises(ServerError, match="no race of that name or id; the races are: '10 km'"):
            await rehearse(replace(options, source="5 km"), console=Console(file=io.StringIO()))
        await make_token(database, "forwarder", "rehearsal-of-the-choir")
        await database.execute("INSERT INTO streams (forwarder_id, reader_ip) VALUES ('start', 'a')")
        gone = await forget(stack["database_url"])
        assert (gone.streams, gone.reads) == (2, 2 * report.verdict.reads)
        assert await database.fetchval(_LEFT, OF_A_REHEARSAL) == 0
        assert await database.fetchval(_OF_OTHERS, OF_A_REHEARSAL) == 1
        assert await database.fetchval("SELECT count(*) FROM device_tokens") == 1
        entry = await database.fetchval("SELECT fields FROM activity WHERE event = 'rehearsals_forgotten'")
        assert f'"reads": {gone.reads}' in entry
        assert await forget(stack["database_url"]) == (0, 0, 0)
        await database.close()
