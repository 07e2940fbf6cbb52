"""Schemathesis holds a real api process to its document: what the document allows is taken, what it does not allow is
refused in the one shape, and every answer is one that the document lists. All of its checks, over every route.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from api.routes import ROUTES
from tests.api.gateways import ending
from tests.api.seeds import (
    Database,
    add_cursor,
    add_events,
    add_forwarder_session,
    add_metrics,
    add_process,
    add_receiver_session,
    add_stream,
)
from tests.api.test_export import ODD_LINES
from tests.services import Process

CONFIGURATION = Path(__file__).with_name("schemathesis.toml")
TOKEN = "geheim-7-und-lang"
# To whatever it is asked.
DEVICE_SAYS = {"ok": True, "success": True, "config": {"any": ["thing"]}, "new_stream_epoch": 3}
OPENAPI = "/api/v1/openapi.json"
# Left out by the configuration: there is no answer to wait for (test_live.py, test_announcer_events.py).
ENDLESS = {
    "GET /api/v1/events",
    "GET /api/v1/announcer/events",
    "GET /api/v1/public/announcer/events",
    "GET /api/v1/races/{race_id}/crossings/events",
}
# Some 2,800 requests, the same ones each time.
EFFORT = ("--phases", "coverage,fuzzing,stateful", "--max-examples", "5", "--generation-deterministic")
# Routes of which the guessed ids may all happen to name nothing, or what cannot be done.
GUESSED = {
    "DELETE /api/v1/streams/{stream_id}",
    "DELETE /api/v1/receivers/{receiver_id}/cursors",
    "DELETE /api/v1/receivers/{receiver_id}/cursors/{stream_id}",
    "POST /api/v1/admin/tokens/{token_id}/revoke",
    "POST /api/v1/conflicts/{conflict_id}/acknowledge",
    # Of a race that was made here, and may be deleted by then; all of them never are, because one is followed.
    *(f"{route.method} {route.path}" for route in ROUTES if "{race_id}" in route.path),
    "DELETE /api/v1/admin/races",
    # Nor is one a reader's memory.
    "POST /api/v1/streams/{stream_id}/reconcile",
    # A race or a stream, not both.
    "GET /api/v1/certificate",
    # No text that is made up is a link.
    "POST /api/v1/public/timeline",
}


@pytest.fixture
async def api(database_url: str, database: Database) -> AsyncIterator[Process]:
    """An api process with something of everything in its database."""
    gateway, fanout = await add_process(database, "gateway"), await add_process(database, "fanout")
    for n in range(3):
        stream_id = await add_stream(database, f"f{n}", epoch=2)
        for epoch in (1, 2):
            await add_events(database, stream_id, ODD_LINES, epoch=epoch)
            await add_metrics(database, stream_id, epoch=epoch, dedup=len(ODD_LINES), missing=[(3, 4)])
        await add_forwarder_session(database, f"f{n}", gateway)
        session_id = await add_receiver_session(database, f"r{n}", fanout, [stream_id])
        await add_cursor(database, f"r{n}", stream_id, last_seq=3)
    # One that is followed, so that nothing deletes it.
    await database.execute("INSERT INTO races (name) VALUES ('10 km')")
    await database.execute(
        "UPDATE receiver_sessions SET race_id = (SELECT race_id FROM races) WHERE session_id = $1", session_id
    )
    process = Process("api", database_url, {"API_TOKEN": TOKEN})
    await process.start()
    try:
        await process.ready()
        async with ending(database_url, "done", DEVICE_SAYS):
            yield process
    finally:
        await process.kill()


async def schemathesis(url: str, directory: Path) -> tuple[int | None, str]:
    """Run it against a server, with a report in `directory`; return its exit code and what it says."""
    running = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIGURATION)),
        *("run", url + OPENAPI, "--header", f"Authorization: Bearer {TOKEN}", *EFFORT),
        *("--report", "json", "--report-json-path", str(directory / "report.json"), "--no-color"),
        cwd=directory,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await running.communicate()
    return running.returncode, said.decode()


@pytest.mark.timeout(900)  # it asks hundreds of times, one after the other, and a busy machine answers slowly
async def test_schemathesis_finds_nothing(api: Process, tmp_path: Path) -> None:
    code, said = await schemathesis(api.url, tmp_path)
    assert code == 0, said
    report: dict[str, Any] = json.loads((tmp_path / "report.json").read_text())
    operations = report["operations"]
    assert operations["tested"] == operations["total"] - len(ENDLESS) >= len(ROUTES) - len(ENDLESS)
    warnings = {name for name, found in report["warnings"].items() if found}
    # That some ids are guessed and found nowhere is no fault of the document.
    assert warnings <= {"missing_test_data"}, said
    taken = {
        route
        for route, phases in report["valid_rates"].items()
        if any(rates["accepted"] for rates in phases.values())
    }
    assert set(report["valid_rates"]) - taken <= GUESSED
