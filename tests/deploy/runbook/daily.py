"""What each block of the daily work is there for: start, tokens, health, logs, restarts, epochs, exports."""

import csv
import io
import json
import re
import zipfile
from collections.abc import AsyncGenerator
from pathlib import Path
from uuid import UUID

from deploy.local.postgres_programs import binaries
from tests.deploy.runbook.document import REPOSITORY
from tests.deploy.runbook.scene import CURSORS, OTHER, STREAM, Race, Scene, block, documents
from tests.waiting import wait_until


@block("local: find our programs, Postgres' own and the data")
async def find_programs(scene: Scene) -> AsyncGenerator[None, str]:
    yield
    found = (await scene.terminal.run("command -v rt-server psql pg_dump pg_restore")).split()
    assert found[0] == str(REPOSITORY / ".venv" / "bin" / "rt-server")
    assert [Path(each).parent for each in found[1:]] == [binaries()] * 3


@block("ask the server: `api ROUTE` as it answers, `see ROUTE` to be read")
async def ask(scene: Scene) -> AsyncGenerator[None, str]:
    yield
    assert (await scene.terminal.run("declare -F api see")).split() == ["api", "see"]
    assert await scene.value("SAVE_DIR") == scene.environment["SAVE_DIR"]


@block("name the forwarder, the reader and the receiver")
async def name_devices(scene: Scene) -> AsyncGenerator[None, str]:
    yield
    assert await scene.value("READER") != OTHER


@block("local: start, and leave it running")
async def start_stack(scene: Scene) -> AsyncGenerator[None, str]:
    yield
    assert {each["role"] for each in scene.described["processes"]} > {"gateway", "writer", "fanout", "api"}


@block("local: where the server and its database are")
async def where(scene: Scene) -> AsyncGenerator[None, str]:
    yield
    assert await scene.value("DATABASE_URL") == scene.described["database_url"]
    url = await scene.value("RT_URL")
    assert url == f"http://{scene.environment['FRONT_DOOR_ADDR']}"
    scene.race = Race(url, await scene.value("FORWARDER"), await scene.value("READER"))


@block("make a token for a forwarder")
async def make_forwarder_token(scene: Scene) -> AsyncGenerator[None, str]:
    printed = yield
    (minted,) = documents(printed)
    assert (minted["device_type"], minted["device_id"]) == ("forwarder", scene.race.forwarder_id)
    await scene.race.send_as(minted["token"])


@block("make a token for a receiver, by the database alone")
async def make_receiver_token(scene: Scene) -> AsyncGenerator[None, str]:
    printed = yield
    scene.tokens["receiver"] = printed.strip()
    await scene.race.listen_as(scene.tokens["receiver"])


@block("list all tokens: whose, when used last, whether revoked")
async def list_tokens(scene: Scene) -> AsyncGenerator[None, str]:
    printed = yield
    (page,) = documents(printed)
    devices = [(each["device_type"], each["device_id"]) for each in page["tokens"]]
    assert devices == [("forwarder", scene.race.forwarder_id), ("receiver", await scene.value("RECEIVER"))]
    assert all(each["last_used_at"] and not each["revoked_at"] for each in page["tokens"])


@block("revoke the oldest live token of the forwarder")
async def revoke(scene: Scene) -> AsyncGenerator[None, str]:
    (minted,) = documents(await scene.again("make a token for a forwarder"))
    printed = yield
    assert not printed.strip()
    old = scene.race.forwarder
    await wait_until(
        lambda: (old.last_error or {}).get("code") == "INVALID_TOKEN", what="the old token's end"
    )

    async def comes_back_in_vain() -> bool:
        return bool(await scene.fetch("SELECT FROM activity WHERE event = 'forwarder_refused'"))

    await wait_until(comes_back_in_vain, deadline_s=30, what="its next attempt to be refused")
    await scene.race.send_as(minted["token"])
    revoked = await scene.fetch("SELECT token_id::text FROM device_tokens WHERE revoked_at IS NOT NULL")
    assert [row[0] for row in revoked] == [await scene.value("TOKEN_ID")]


@block("what is wrong now, and what to do about it")
async def what_is_wrong(scene: Scene) -> AsyncGenerator[None, str]:
    async def is_good() -> bool:
        return (await scene.again("what is wrong now, and what to do about it")).split() == ["good"]

    printed = yield
    # Or soon: what was slow is said until it is over. The check of the conflicts sees it print what is not.
    if printed.split() != ["good"]:
        await wait_until(is_good, what="nothing to be wrong")


@block("is the server ready, and is the deployment sound?")
async def ready(scene: Scene) -> AsyncGenerator[None, str]:
    async def all_have_said_so() -> bool:
        return await scene.fetch("SELECT count(*) FROM live_processes WHERE ready") == [(4,)]

    await wait_until(all_have_said_so, what="all to have said that they are ready")
    printed = yield
    assert '{"status":"ready"}' in printed
    assert re.search(r"^ok +writer +1 alive, 1 ready$", printed, re.MULTILINE)
    assert "BAD" not in printed


@block("who is alive: processes, forwarders, receivers")
async def who_is_alive(scene: Scene) -> AsyncGenerator[None, str]:
    printed = yield
    processes, forwarders, receivers = documents(printed)
    assert {each["role"] for each in processes["processes"] if each["ready"]} == {
        *("gateway", "writer", "fanout", "api")
    }
    assert [each["online"] for each in forwarders["forwarders"]] == [True]
    assert [len(each["sessions"]) for each in receivers["receivers"]] == [1]


@block("local: the numbers of a writer")
async def numbers(scene: Scene) -> AsyncGenerator[None, str]:
    printed = yield
    assert {"rtserver_inbox_parts", "rtserver_inbox_age_seconds"} <= {
        line.split()[0] for line in printed.split("\n") if line
    }


@block("what happened: connects, refusals, resets, tokens, errors; the newest last")
async def what_happened(scene: Scene) -> AsyncGenerator[None, str]:
    printed = yield
    lines = printed.strip().split("\n")
    # The first start has made the schema; then the first token.
    assert "info schema_migrated {'by': 'rt-server " in lines[0]
    made = next(line for line in lines if " token_minted " in line)
    assert "info token_minted {'by': 'API token'" in made
    assert f"'token_id': '{await scene.value('TOKEN_ID')}'" in made
    assert any("warn forwarder_refused" in line and "INVALID_TOKEN" in line for line in lines)


@block("local: the end of a process' own log")
async def own_log(scene: Scene) -> AsyncGenerator[None, str]:
    printed = yield
    assert "forwarder_connected" in printed


@block("local: end a writer; `up` starts it again by itself")
async def end_writer(scene: Scene) -> AsyncGenerator[None, str]:
    await scene.race.goes_on()
    writer = "SELECT pid FROM live_processes WHERE role = 'writer' AND ready"
    ((before,),) = await scene.fetch(writer)
    sessions = scene.race.forwarder.sessions
    yield

    async def replaced() -> bool:
        return [row[0] for row in await scene.fetch(writer)] not in ([], [before])

    await wait_until(replaced, deadline_s=30, what="another writer")
    await scene.race.goes_on()
    assert scene.race.forwarder.sessions == sessions


@block("the settings of the forwarder")
async def read_settings(scene: Scene) -> AsyncGenerator[None, str]:
    printed = yield
    assert documents(printed)[0]["config"] == scene.race.forwarder.config


@block("tell the forwarder another setting")
async def write_settings(scene: Scene) -> AsyncGenerator[None, str]:
    printed = yield
    assert documents(printed)[0]["ok"] is True
    assert scene.race.forwarder.config["general"] == {"display_name": "Start"}


@block("restart the forwarder")
async def restart_forwarder(scene: Scene) -> AsyncGenerator[None, str]:
    sessions = scene.race.forwarder.sessions
    printed = yield
    assert documents(printed)[0]["ok"] is True
    await wait_until(lambda: scene.race.forwarder.sessions > sessions, what="the forwarder's return")
    await scene.race.goes_on()


@block("have the receiver be sent everything from the start, at once, or at its next connection")
async def send_again(scene: Scene) -> AsyncGenerator[None, str]:
    await scene.race.pause()
    total = scene.race.recorded * 2
    receiver_id = await scene.value("RECEIVER")
    await wait_until(lambda: scene.race.receiver.received == total, what="everything to have come once")

    async def cursors_are_kept() -> bool:
        return bool(await scene.fetch(CURSORS + " HAVING sum(last_seq) = $2", receiver_id, total))

    await wait_until(cursors_are_kept, what="the receiver's cursors")
    before = scene.race.receiver.events_seen
    yield
    # It is connected, so it comes at once.
    await wait_until(
        lambda: scene.race.receiver.events_seen - before == total, what="everything to have come again"
    )


@block("find the stream")
async def find_stream(scene: Scene) -> AsyncGenerator[None, str]:
    printed = yield
    rows = await scene.fetch(STREAM, scene.race.forwarder_id, scene.race.reader)
    assert [row[0] for row in rows] == [UUID(await scene.value("STREAM_ID"))]
    assert documents(printed)[0]["dedup_count"] == scene.race.recorded


@block("begin a new epoch")
async def new_epoch(scene: Scene) -> AsyncGenerator[None, str]:
    scene.race.going.set()
    printed = yield
    assert documents(printed) == [{"new_stream_epoch": 2}]
    assert (scene.race.journal.epoch(scene.race.reader), scene.race.journal.epoch(OTHER)) == (2, 1)
    await scene.race.goes_on()
    assert (await scene.stored(scene.race.reader))[-1][0] == 2


@block("name the stream's current epoch")
async def name_epoch(scene: Scene) -> AsyncGenerator[None, str]:
    yield
    assert await scene.fetch("SELECT stream_epoch, name FROM epoch_names") == [(2, "Wave 2")]


@block("the epochs of the stream")
async def list_epochs(scene: Scene) -> AsyncGenerator[None, str]:
    printed = yield
    (epochs,) = documents(printed)
    assert [(each["epoch"], each["name"], each["is_current"]) for each in epochs] == [
        (1, None, False),
        (2, "Wave 2", True),
    ]


@block("export one stream: the lines as they came, and as a table")
async def export_stream(scene: Scene) -> AsyncGenerator[None, str]:
    await scene.race.pause()
    yield
    sent = scene.race.sent(scene.race.reader)
    assert scene.saved("reads.txt").decode() == "".join(f"{line}\n" for _, _, line in sent)
    table = list(csv.DictReader(io.StringIO(scene.saved("epoch-1.csv").decode(), newline="")))
    exported = [(int(row["stream_epoch"]), int(row["seq"]), row["raw_read_line"]) for row in table]
    assert exported == [each for each in sent if each[0] == 1]


@block("certify what is stored of the stream")
async def certify(scene: Scene) -> AsyncGenerator[None, str]:
    printed = yield
    sent = scene.race.sent(scene.race.reader)
    assert f"{len(sent)} of {len(sent)} reads" in printed
    (key,) = json.loads(scene.saved("certificate-keys.json"))["keys"]
    assert json.loads(scene.saved("certificate.json"))["signature"]["key"] == key["key"]


@block("export everything")
async def export_all(scene: Scene) -> AsyncGenerator[None, str]:
    yield
    with zipfile.ZipFile(io.BytesIO(scene.saved("everything.zip"))) as archive:
        texts = {archive.read(each).decode() for each in archive.namelist() if each.endswith(".txt")}
    assert texts == {
        "".join(f"{line}\n" for _, _, line in scene.race.sent(reader))
        for reader in (scene.race.reader, OTHER)
    }
