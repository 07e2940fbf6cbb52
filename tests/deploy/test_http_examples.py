"""The examples of deploy/docs/http-api.md are asked as they stand there, by a shell and curl, and answered so."""

import asyncio
import json
import os
import re
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from deploy.simulation.devices.forwarder import Forwarder
from deploy.simulation.devices.receiver import AT_ONCE, Receiver
from shared.db.connections import Connection
from tests.deploy.pages import HTTP_API
from tests.services import Services, make_token, services
from tests.waiting import wait_until

FORWARDER, READER = "start-line", "10.0.0.1:10000"
FIRST = ["aa0005800370000100012506151032000032", "aa400000000123450a2a01123018455927a7"]
SECOND = ["aa0005800370000100012506151032000032", "no read"]
_EXAMPLE = re.compile(
    r"^```sh\n(curl .*?)```\n\nAnswers (\d{3})[^\n]*[.:]\n(?:\n```(?:json|text|csv)\n(.*?)```$)?",
    re.MULTILINE | re.DOTALL,
)
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?\+00:00")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")
# What is another number or text each time, by name.
_VARYING = re.compile(
    r"lag_ms|epoch_lag_ms|behind_seconds|answer_ms|commit_ms|waiting_s|size_bytes|free_bytes|connections(_max)?|pid|host|address"
    r"|(server_)?version|events_per_second|clock_offset_ms|zone_unknown|last_event_id|since|headline|reason|reasons|level|watch"
    r"|act|fingerprint|path|activity_id|rates_bin|trouble_id|duration_s|rate|ready|key|public_key|value|cannot_know"
)


# What a newer forwarder would have told of its reader and its battery, and tells again when it comes back.
TOLD = f"""
INSERT INTO reader_states (forwarder_id, reader_ip, session_id, connected, state, reader_info, info_at, version)
SELECT forwarder_id, '{READER}', session_id, true, 'connected',
       '{{"banner": "ARM9 Controller", "hardware": {{"fw_version": "3.09", "hw_code": "0x07", "reader_id": "00"}},
         "config": {{"mode": "event", "timeout": 5}}, "tto_enabled": false,
         "clock": {{"reader_clock": "2026-05-03T10:40:00.125", "drift_ms": 40}},
         "estimated_stored_reads": 4116, "recording": true, "connect_failures": 0}}', now(), nextval('device_version')
FROM forwarder_sessions WHERE forwarder_id = '{FORWARDER}'
ON CONFLICT (forwarder_id, reader_ip) DO UPDATE SET session_id = excluded.session_id;
INSERT INTO forwarder_ups (forwarder_id, session_id, available, status, version)
SELECT forwarder_id, session_id, true,
       '{{"battery_percent": 87, "battery_voltage_mv": 4012, "charging": true, "power_plugged": true,
         "temperature_cdeg": 2950, "sampled_at": 1777797602508}}', nextval('device_version')
FROM forwarder_sessions WHERE forwarder_id = '{FORWARDER}'
ON CONFLICT (forwarder_id) DO UPDATE SET session_id = excluded.session_id
"""


class Example(NamedTuple):
    """What is asked, and what is answered; body: None where there is none."""

    command: str
    status: int
    body: str | None


def examples() -> list[Example]:
    return [
        Example(command, int(status), body or None)
        for command, status, body in _EXAMPLE.findall(HTTP_API.read_text())
    ]


@pytest.fixture
async def running(database_url: str, database: Connection) -> AsyncIterator[Services]:
    """The server of the page: the streams that it names, and who is connected."""
    environment = dict(
        re.findall(r"(\w+)=(\S+)", HTTP_API.read_text().partition("```sh\nexport ")[2].partition("```")[0])
    )
    await database.executemany(
        "INSERT INTO streams (stream_id, forwarder_id, reader_ip) VALUES ($1, $2, $3)",
        [
            (environment["STREAM_ID"], FORWARDER, READER),
            (environment["UNUSED_ID"], "old-box", "192.168.1.99:10000"),
        ],
    )
    async with services(database_url, api=1, API_TOKEN=environment["API_TOKEN"]) as running:
        yield running


@pytest.fixture
async def race(running: Services, database: Connection) -> AsyncIterator[None]:
    """A forwarder that has brought two epochs, a receiver that has acked them, and a line in conflict."""
    forwarder = Forwarder(
        url=running.gateways[0].url,
        token=await make_token(database, "forwarder", FORWARDER),
        device_id=FORWARDER,
        readers=[READER],
        display_name="Start",
        backoff_s=(0.1, 0.5),
    )
    receiver = Receiver(
        url=running.fanouts[0].url,
        token=await make_token(database, "receiver", "tent"),
        streams=[(FORWARDER, READER)],
        manners=AT_ONCE,
    )
    tasks = [asyncio.create_task(forwarder.run()), asyncio.create_task(receiver.run())]
    for epoch, lines, at in ((1, FIRST, "2026-05-03T10:32:00.125"), (2, SECOND, "2026-05-03T10:45:07.500")):
        forwarder.journal.turn_epoch(READER, epoch)
        for line in lines:
            forwarder.record(READER, line, reader_timestamp=at)
        # Of a batch of two epochs one would come again.
        await forwarder.drained()
    await receiver.wait_for(4)
    await database.execute(
        "INSERT INTO forwarder_faults (forwarder_id, fault, complaint) VALUES ($1, 'too_many_readers', $2)",
        FORWARDER,
        "more than 256 readers; not taken: 10.0.0.9:10000",
    )
    await database.execute(TOLD)
    await database.execute(
        """
        INSERT INTO integrity_conflicts (stream_id, stream_epoch, seq, kept_hash, rejected_frame, reader_timestamp,
                                         read_type, received_at, session_id)
        SELECT stream_id, stream_epoch, seq, sha256(raw_frame), 'another line', '', 'raw', now(), gen_random_uuid()
        FROM events WHERE stream_epoch = 1
        """
    )

    async def acks_are_kept() -> bool:
        return bool(await database.fetchval("SELECT count(*) = 2 FROM receiver_cursors WHERE last_seq = 2"))

    await wait_until(acks_are_kept, what="the receiver's cursors")
    yield
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


class Shell:
    """Where the examples are typed."""

    def __init__(self, url: str, directory: Path) -> None:
        self._directory = directory
        exports = HTTP_API.read_text().partition("```sh\nexport ")[2].partition("```")[0]
        # The address is another here, and the status is to be seen.
        self._before = f"export {exports}\nexport RT_URL={url}\n" + (
            """curl() { command curl -sS --max-time 30 -w '\\n%{http_code}' "$@"; }\n"""
        )

    def know(self, name: str, value: str) -> None:
        """Set a variable for all examples to come."""
        self._before += f"export {name}={value}\n"

    async def ask(self, command: str) -> tuple[int, str]:
        """Type a command and return the answer's status and body."""
        child = await asyncio.create_subprocess_exec(
            "bash",
            "-euc",
            self._before + command,
            cwd=self._directory,
            env={"PATH": os.environ["PATH"]},
            stdout=asyncio.subprocess.PIPE,
        )
        printed, _ = await child.communicate()
        assert child.returncode == 0, command
        body, _, status = printed.decode().rpartition("\n")
        return int(status), body


def same(told: Any, came: Any, name: str = "") -> bool:
    """Whether an answer is the one that was told, but for times, ids and what else varies."""
    if _VARYING.fullmatch(name):
        return type(told) is type(came) or None in (told, came) or {type(told), type(came)} == {int, float}
    if isinstance(told, dict) and isinstance(came, dict):
        return told.keys() == came.keys() and all(same(told[each], came[each], each) for each in told)
    if isinstance(told, list) and isinstance(came, list):
        if "…" not in told:
            return len(told) == len(came) and all(map(same, told, came))
        rest = iter(came)
        return all(any(same(each, other) for other in rest) for each in told if each != "…")
    if isinstance(told, str) and isinstance(came, str):
        return told == came or any(
            kind.fullmatch(told) and kind.fullmatch(came) for kind in (_TIME, _UUID, _TOKEN)
        )
    return bool(told == came)


async def check(shell: Shell, example: Example, came: list[str]) -> bool:
    """Ask, and compare; what is not as it was told yet may still come."""
    status, body = await shell.ask(example.command)
    came.append(f"{status}: {body}")
    if status != example.status:
        return False
    if example.body is None:
        return not body
    if example.body.lstrip().startswith(("{", "[")):
        return same(json.loads(example.body), json.loads(body))
    return example.body == body


def test_sees_the_difference() -> None:
    told = {"at": "2026-05-03T08:00:00+00:00", "lag_ms": 5, "list": [{"seq": 1}, "…"], "n": 1}
    came = {"at": "2027-01-01T00:00:00.5+00:00", "lag_ms": 7, "list": [{"seq": 2}, {"seq": 1}], "n": 1}
    assert same(told, came)
    for name, value in [
        ("at", "yesterday"),
        ("lag_ms", "7"),
        ("list", [{"seq": 2}]),
        ("n", 2),
        ("more", None),
    ]:
        assert not same(told, {**came, name: value}), name


@pytest.mark.skipif(not shutil.which("curl"), reason="the examples ask by curl: `apt-get install curl`")
@pytest.mark.usefixtures("race")
async def test_every_example_is_answered_as_it_says(
    running: Services, database: Connection, tmp_path: Path
) -> None:
    shell = Shell(running.apis[0].url, tmp_path)
    assert len(examples()) == len(re.findall(r"^curl ", HTTP_API.read_text(), re.MULTILINE)) > 30
    for example in examples():
        came: list[str] = []

        async def answered(example: Example = example, came: list[str] = came) -> bool:
            await database.execute(TOLD)
            return await check(shell, example, came)

        # What changes something is asked once.
        once = re.search(r" -X | -d ", example.command) is not None
        if once:
            assert await answered(), f"{example.command}\n{came[-1]}"
        else:
            try:
                await wait_until(answered, deadline_s=10, what=example.command)
            except BaseException as error:
                error.add_note(f"{example.command}\nanswered {came[-1]}")
                raise
        if example.status == 201:
            made = json.loads(came[-1].partition(": ")[2])
            for variable in ("TOKEN_ID", "RACE_ID"):
                if variable.lower() in made:
                    shell.know(variable, made[variable.lower()])
