"""What each block of the rarer work is there for: backup, restore, delete, and the search for what is wrong."""

import json
import re
from collections.abc import AsyncGenerator
from datetime import datetime
from uuid import UUID

import asyncpg

from tests.deploy.runbook.scene import OTHER, STREAM, Scene, block, documents
from tests.waiting import wait_until


@block("back up: the schema, then everything that counts, of one moment")
async def back_up(scene: Scene) -> AsyncGenerator[None, str]:
    await scene.race.goes_on()
    scene.backed_up = {reader: len(await scene.stored(reader)) for reader in (scene.race.reader, OTHER)}
    yield
    await scene.race.goes_on(30)  # acked, and not in the backup


@block("can it be read?")
async def backup_can_be_read(scene: Scene) -> AsyncGenerator[None, str]:
    printed = yield
    ((tables,),) = await scene.fetch(
        "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
        " AND relpersistence = 'p'"
    )
    assert int(printed) == tables > 15


@block("restore into a new database")
async def restore_backup(scene: Scene) -> AsyncGenerator[None, str]:
    yield
    for reader, at_least in scene.backed_up.items():
        restored = await scene.stored(reader, database="rtserver_restored")
        assert restored == scene.race.sent(reader)[: len(restored)]
        assert at_least <= len(restored) < len(await scene.stored(reader))
        scene.backed_up[reader] = len(restored)
    await same_schema(scene)
    ((fence, highest, staged),) = await scene.fetch(
        "SELECT last_value, (SELECT max(fence) FROM forwarder_sessions), (SELECT count(*) FROM inbox)"
        " FROM session_fence",
        database="rtserver_restored",
    )
    assert fence >= highest > 0
    assert staged == 0


async def same_schema(scene: Scene) -> None:
    """Columns, indexes, constraints and views of the restored database are those of the served one."""
    for statement in (
        "SELECT table_name, column_name, data_type, is_nullable, column_default FROM information_schema.columns"
        " WHERE table_schema = 'public' ORDER BY 1, ordinal_position",
        "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1",
        "SELECT conrelid::regclass::text, pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE connamespace = 'public'::regnamespace ORDER BY 1, 2",
        "SELECT proname, pg_get_functiondef(oid) FROM pg_proc"
        " WHERE pronamespace = 'public'::regnamespace AND prokind <> 'a' ORDER BY 1, 2",
        "SELECT viewname, definition FROM pg_views WHERE schemaname = 'public' ORDER BY 1",
        "SELECT version, checksum FROM schema_migrations ORDER BY 1",
    ):
        assert await scene.fetch(statement, database="rtserver_restored") == await scene.fetch(statement)


@block("compare: reads of each stream, in the database that is served and in the restored one")
async def compare(scene: Scene) -> AsyncGenerator[None, str]:
    printed = yield
    rows = re.findall(r"^ (\S+) · (\S+) +\| +(\d+) \| ", printed, re.MULTILINE)
    reads = [(reader, int(count)) for _, reader, count in rows]
    assert reads[2:] == sorted(scene.backed_up.items())
    assert all(served[1] > restored[1] for served, restored in zip(reads[:2], reads[2:], strict=True))


@block("swap the databases; the old one is kept, closed")
async def swap(scene: Scene) -> AsyncGenerator[None, str]:
    printed = yield
    scene.swapped_at = scene.race.sent(scene.race.reader)[-1][1]
    assert "users rt_gateway, " in printed
    assert await scene.fetch(
        "SELECT datallowconn FROM pg_database WHERE datname = 'rtserver_replaced'", database="postgres"
    ) == [(False,)]
    for reader, count in scene.backed_up.items():
        assert (await scene.stored(reader))[:count] == scene.race.sent(reader)[:count]


@block("local: start again over what was restored")
async def start_again(scene: Scene) -> AsyncGenerator[None, str]:
    race = scene.race
    assert scene.stack is not None
    yield
    # It says that it has everything that was ever sent, which the server has not.
    claims = {(race.forwarder_id, OTHER, 1): len(race.sent(OTHER)) + 1_000_000}
    await race.listen_as(scene.tokens["receiver"], resume=claims)
    await race.next_received()
    got = [seq for seq, _ in race.receiver.events[race.forwarder_id, OTHER, 1]]
    assert got == sorted(set(got))
    assert race.receiver.altered == 0


@block("which streams have been heard of since the restart")
async def seen(scene: Scene) -> AsyncGenerator[None, str]:
    printed = yield
    rows = re.findall(r"^ \S+ · (\S+) +\| +(\d+) \| ([tf])$", printed, re.MULTILINE)
    assert rows == [(scene.race.reader, "2", "t"), (OTHER, "1", "t")]


@block("what is missing: numbers of the current epoch that never came")
async def missing(scene: Scene) -> AsyncGenerator[None, str]:
    await scene.race.pause()
    printed = yield
    stored = {seq for epoch, seq, _ in await scene.stored(scene.race.reader) if epoch == 2}
    gone = set(range(1, max(stored) + 1)) - stored
    count, *ranges = printed.strip().split("\n")
    assert count == f"{len(gone)} missing"
    listed = [tuple(map(int, each.split(" to "))) for each in ranges]
    assert {seq for first, last in listed for seq in range(first, last + 1)} == gone
    # What was acked between backup and swap, and nothing after: not while the services did not know yet, either.
    restored = [
        seq
        for epoch, seq, _ in scene.race.sent(scene.race.reader)[: scene.backed_up[scene.race.reader]]
        if epoch == 2
    ]
    assert min(gone) == len(restored) + 1
    assert max(gone) <= scene.swapped_at


@block("no reset of the stream below will use an epoch again")
async def step_over_epochs(scene: Scene) -> AsyncGenerator[None, str]:
    yield
    await scene.again("begin a new epoch")
    assert scene.race.journal.epoch(scene.race.reader) == 1003
    await scene.race.next_received()


@block("drop the database that was replaced: there is no way back")
async def drop_replaced(scene: Scene) -> AsyncGenerator[None, str]:
    yield
    names = {row[0] for row in await scene.fetch("SELECT datname FROM pg_database")}
    assert names == {"postgres", "rtserver", "template0", "template1"}


async def is_told(scene: Scene, event: str, *, reads: int) -> None:
    """See that the operators' log says which stream it was, who did it and, at least, how many reads are gone."""
    ((text,),) = await scene.fetch("SELECT fields FROM activity WHERE event = $1", event)
    fields = json.loads(text)
    assert fields["stream_id"] == await scene.value("STREAM_ID")
    assert fields["stream"]
    assert fields["reads"] >= reads
    assert re.fullmatch(r"psql \(\w+@\S+\)", fields["by"])


@block("delete what is stored of one stream")
async def delete_past(scene: Scene) -> AsyncGenerator[None, str]:
    race = scene.race
    before, others = await scene.stored(race.reader), await scene.stored(OTHER)
    await race.goes_on()
    printed = yield
    assert printed.split()[-1] == "COMMIT"
    await is_told(scene, "stream_past_deleted", reads=len(before))
    await race.next_received()
    await race.pause()
    stored = await scene.stored(race.reader)
    assert stored[0][1] > before[-1][1]
    assert stored == race.sent(race.reader)[-len(stored) :]
    ((raw, dedup),) = await scene.fetch(
        "SELECT raw_count, dedup_count FROM stream_metrics WHERE stream_id = $1",
        UUID(await scene.value("STREAM_ID")),
    )
    assert raw == dedup == len(stored)
    assert (await scene.stored(OTHER))[: len(others)] == others


@block("delete the stream as well: names, conflicts and all")
async def delete_stream(scene: Scene) -> AsyncGenerator[None, str]:
    race = scene.race
    before, others = await scene.stored(race.reader), await scene.stored(OTHER)
    race.going.set()
    yield
    await is_told(scene, "stream_deleted", reads=len(before))
    await race.next_received()
    await race.pause()
    ((stream_id,),) = await scene.fetch(STREAM, race.forwarder_id, race.reader)
    assert stream_id != UUID(await scene.value("STREAM_ID"))
    stored = await scene.stored(race.reader)
    assert stored[0][1] > before[-1][1]
    assert await scene.fetch("SELECT * FROM epoch_names") == []
    assert (await scene.stored(OTHER))[: len(others)] == others


@block("between races: give the room back to the disk")
async def vacuum(scene: Scene) -> AsyncGenerator[None, str]:
    file = "SELECT pg_relation_filenode('events')"
    before = await scene.fetch(file)
    yield
    assert await scene.fetch(file) != before


@block("who was refused, and why")
async def who_was_refused(scene: Scene) -> AsyncGenerator[None, str]:
    printed = yield
    assert re.search(r"\| forwarder_refused \| +\| INVALID_TOKEN \| ", printed)


@block("who waits for whom in the database, and who has been at it for long")
async def who_waits(scene: Scene) -> AsyncGenerator[None, str]:
    connection = await asyncpg.connect(
        scene.described["database_url"], server_settings={"application_name": "a forgotten terminal"}
    )
    try:
        async with connection.transaction():
            printed = yield
    finally:
        await connection.close()
    assert re.search(r"a forgotten terminal +\| idle in transaction", printed)


@block("the lines in conflict, of all streams")
async def conflicts(scene: Scene) -> AsyncGenerator[None, str]:
    await scene.race.forwarder.loses_journal()
    await scene.race.goes_on(40)
    ((stream_id,),) = await scene.fetch(STREAM, scene.race.forwarder_id, OTHER)
    printed = yield
    (page,) = documents(printed)
    assert {each["stream_id"] for each in page["conflicts"]} == {str(stream_id)}

    async def said() -> bool:
        found = await scene.again("what is wrong now, and what to do about it")
        return bool(re.search(rf"^act \| .*{re.escape(OTHER)}.* \| .*other line", found, re.MULTILINE))

    await wait_until(said, deadline_s=30, what="the conflict among what is wrong")
    # The reader puts his own there.
    await scene.terminal.run(f"export READER={OTHER}")
    await scene.again("find the stream")


@block("they were looked at: end the alarm")
async def acknowledge(scene: Scene) -> AsyncGenerator[None, str]:
    printed = yield
    assert documents(printed)[0]["acknowledged"] > 0
    assert not await scene.fetch("SELECT FROM integrity_conflicts WHERE acknowledged_at IS NULL")


@block("what takes the room")
async def what_takes_the_room(scene: Scene) -> AsyncGenerator[None, str]:
    printed = yield
    assert re.search(r"^ rtserver +\| \d+", printed, re.MULTILINE)
    assert re.search(r"^ events +\| \d+", printed, re.MULTILINE)


@block("does the server answer, and is it ready?")
async def server_answers(scene: Scene) -> AsyncGenerator[None, str]:
    printed = yield
    assert printed.split() == ['{"status":"ok"}', '{"status":"ready"}']


@block("does the database answer?")
async def database_answers(scene: Scene) -> AsyncGenerator[None, str]:
    printed = yield
    assert datetime.fromisoformat(printed.strip()).tzinfo
