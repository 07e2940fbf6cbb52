"""The activity log: what is noted reaches the table, in order and bounded, and every api process shows the same."""

import asyncio
from typing import Any
from uuid import uuid4

import aiohttp

from shared.runtime.activity import OF_DEVICES_WAITING_AT_MOST, WAITING_AT_MOST, Activity
from shared.runtime.process import Process
from shared.wake import Stop
from tests import services
from tests.api.conftest import Ask
from tests.api.seeds import Database
from tests.api.test_tokens import TOKENS_PATH, mint
from tests.waiting import wait_until

LOGS = "/api/v1/logs"


async def stored(database: Database) -> list[str]:
    """Return the names of the entries, the oldest first."""
    return [row["event"] for row in await database.fetch("SELECT event FROM activity ORDER BY activity_id")]


async def test_token_changes_are_in_the_log_without_the_token(
    ask: Ask, database: Database, process: Process
) -> None:
    minted = await mint(ask, token="s3cret")
    await ask("POST", f"{TOKENS_PATH}/{minted['token_id']}/revoke", status=204)

    async def both() -> bool:
        return len(await stored(database)) == 2

    await wait_until(both, what="both entries")
    answer = await ask("GET", LOGS)
    revoked, made = answer["entries"]
    assert (made["event"], made["level"]) == ("token_minted", "info")
    assert made["fields"] == {
        "token_id": minted["token_id"],
        "device_type": "forwarder",
        "device_id": "start",
        "by": "no token",
        "address": "127.0.0.1",
    }
    assert revoked["event"] == "token_revoked"
    assert revoked["fields"]["token_id"] == minted["token_id"]
    assert made["process_id"] == str(process.presence.process_id)
    assert made["at"].endswith("+00:00")
    assert "s3cret" not in str(answer)


async def test_what_was_refused_is_not_in_the_log(ask: Ask, activity: Activity, database: Database) -> None:
    await mint(ask, token="s3cret")
    await ask("POST", f"{TOKENS_PATH}/{uuid4()}/revoke", status=404)
    await ask(
        "POST", TOKENS_PATH, status=409, json={"device_type": "receiver", "device_id": "x", "token": "s3cret"}
    )
    activity.note("last")

    async def written() -> bool:
        return "last" in await stored(database)

    await wait_until(written, what="the last entry")
    assert await stored(database) == ["token_minted", "last"]


async def test_the_log_shows_the_last_500_the_newest_first(ask: Ask, database: Database) -> None:
    assert await ask("GET", LOGS) == {"entries": []}
    await database.execute(
        """
        INSERT INTO activity (level, process_id, event)
        SELECT 'warn', gen_random_uuid(), n::text FROM generate_series(1, 600) AS n
        """
    )
    entries: list[Any] = (await ask("GET", LOGS))["entries"]
    assert [entry["event"] for entry in entries] == [str(n) for n in range(600, 100, -1)]


async def test_every_api_process_shows_the_same_log(database_url: str, database: Database) -> None:
    processes = [services.Process("api", database_url, {}) for _ in range(2)]
    try:
        await asyncio.gather(*(each.start() for each in processes))
        await asyncio.gather(*(each.ready() for each in processes))
        async with aiohttp.ClientSession() as http:
            for n, each in enumerate(processes):
                body = {"device_type": "receiver", "device_id": str(n)}
                async with http.post(each.url + TOKENS_PATH, json=body) as answer:
                    assert answer.status == 201

            async def logs(url: str) -> Any:
                async with http.get(url + LOGS) as answer:
                    return (await answer.json())["entries"]

            async def both() -> bool:
                return len(await stored(database)) == 2

            await wait_until(both, what="both entries")
            first, second = [await logs(each.url) for each in processes]
    finally:
        await asyncio.gather(*(each.kill() for each in processes))
    assert first == second
    assert {entry["fields"]["device_id"] for entry in first} == {"0", "1"}
    assert len({entry["process_id"] for entry in first}) == 2


async def test_the_table_is_trimmed_as_it_grows(activity: Activity, database: Database) -> None:
    await database.execute("""
        INSERT INTO activity (level, process_id, event)
        SELECT 'info', gen_random_uuid(), n::text FROM generate_series(1, 10005) AS n
    """)
    activity.note("last")

    async def written() -> bool:
        return (await stored(database))[-1] == "last"

    await wait_until(written, what="the entry")
    assert await stored(database) == [*(str(n) for n in range(5_006, 10_006)), "last"]


async def test_devices_push_out_no_entry_of_others(ask: Ask, activity: Activity, database: Database) -> None:
    activity.note("token_minted")
    await wait_until(lambda: stored(database), what="the operator's entry")
    await database.execute(
        """
        INSERT INTO activity (level, process_id, event, of_device)
        SELECT 'warn', gen_random_uuid(), 'integrity_conflict', true FROM generate_series(1, 10000)
        """
    )
    activity.note("last", of="a device")

    async def written() -> bool:
        return "last" in await stored(database)

    await wait_until(written, what="the last entry")
    kept = await stored(database)
    assert (kept[0], len(kept)) == ("token_minted", 5002)
    shown = [each["event"] for each in (await ask("GET", LOGS))["entries"]]
    assert (shown[0], shown[-1], len(shown)) == ("last", "token_minted", 500)


async def test_own_entries_have_room_where_devices_have_none_left(
    activity: Activity, database: Database
) -> None:
    for n in range(WAITING_AT_MOST):
        activity.note("refused", of=str(n))
    activity.note("token_minted")
    activity.note("database_back", of="api", own=True)

    async def counted() -> bool:
        return "activity_dropped" in await stored(database)

    await wait_until(counted, what="the count")
    entries = await database.fetch("SELECT event, of_device FROM activity")
    own = {each["event"] for each in entries if not each["of_device"]}
    assert own == {"token_minted", "database_back", "activity_dropped"}
    assert sum(each["of_device"] for each in entries) == OF_DEVICES_WAITING_AT_MOST


async def test_an_entry_survives_a_connection_that_breaks_under_it(
    activity: Activity, database: Database
) -> None:
    async with database.transaction():
        await database.execute("LOCK TABLE activity")
        activity.note("first")
        await wait_until(lambda: break_writer(database), what="the writing to wait for the lock")
        activity.note("second")

    async def both() -> bool:
        return await stored(database) == ["first", "second"]

    await wait_until(both, what="both entries, once each")


async def break_writer(database: Database) -> int:
    killed: int = await database.fetchval(
        """
        SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock'
        """
    )
    return killed


async def test_what_waits_is_bounded_and_what_was_dropped_is_counted(
    activity: Activity, database: Database
) -> None:
    for n in range(WAITING_AT_MOST + 7):
        activity.note(str(n))

    async def counted() -> bool:
        return "activity_dropped" in await stored(database)

    await wait_until(counted, what="the count")
    events = await stored(database)
    assert [each for each in events if each.isdigit()] == [str(n) for n in range(WAITING_AT_MOST)]
    assert await database.fetchval("SELECT fields->>'count' FROM activity WHERE level = 'warn'") == "7"


async def test_fields_of_any_kind_are_kept_short_and_refuse_no_entry(
    ask: Ask, activity: Activity, database: Database
) -> None:
    device = uuid4()
    activity.note(
        "odd", nul="a\x00b", half="\ud800", long="x" * 9_999, large=2**70, device=device, ok=True, none=None
    )

    async def written() -> bool:
        return await stored(database) == ["odd"]

    await wait_until(written, what="the entry")
    assert (await ask("GET", LOGS))["entries"][0]["fields"] == {
        "nul": "a\\0b",
        "half": "?",
        "long": "x" * 200,
        "large": str(2**70),
        "device": str(device),
        "ok": True,
        "none": None,
    }


async def test_what_waits_at_the_stop_is_written(process: Process, database: Database) -> None:
    stop = Stop()
    activity = Activity(process.presence.process_id, stop=stop)
    for n in range(500):
        activity.note(str(n))
    stop.ask()
    await activity.run(process.pool)
    assert await stored(database) == [str(n) for n in range(500)]
