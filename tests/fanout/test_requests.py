"""What a receiver asks through its socket, and an api process that is a few lines of SQL."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID, uuid4

import pytest

from fanout.proxy import requests as proxy
from fanout.proxy.replies import Replies
from fanout.proxy.requests import Requests
from fanout.store import requests as store
from shared.db.connections import Connection
from shared.db.errors import DatabaseUnavailable
from shared.runtime.process import Process
from shared.transport.account import Account
from shared.transport.connection import ConnectionGone, DeviceConnection
from shared.transport.tokens import Identity
from tests.waiting import wait_until

OK = {"ok": True, "error": None}


class Receiver:
    """A receiver's session, as far as its requests go; and what it was answered."""

    def __init__(self, process: Process, listens: dict[str, Callable[[str], None]]) -> None:
        self.session_id, self.token_id = uuid4(), uuid4()
        self.account = Account(2**26)
        self.answers: list[dict[str, Any]] = []
        self.takes = asyncio.Event()
        self.takes.set()
        self.gone = False
        socket = SimpleNamespace(session_id=self.session_id, address="10.9.8.7\udcff", send=self._send)
        identity = Identity(self.token_id, "tent", frozenset({"tent"}), "tent")
        replies = Replies(process)
        self.requests = Requests(cast("DeviceConnection", socket), identity, replies, self.account)
        self.tell = listens["rt_replies"]

    async def _send(self, message: bytes) -> None:
        await self.takes.wait()
        if self.gone:
            raise ConnectionGone
        self.answers.append(json.loads(message))

    def ask(self, name: str, request_id: str = "q", **fields: object) -> bool:
        message = {"kind": f"receiver_proxy_{name}_request", "request_id": request_id, **fields}
        return self.requests.take(json.dumps(message).encode())

    async def answered(self, count: int = 1) -> list[dict[str, Any]]:
        await wait_until(lambda: len(self.answers) >= count, what=f"{count} answers")
        return self.answers


@pytest.fixture
async def receiver(process: Process, database: Connection) -> AsyncIterator[Receiver]:
    """One whose requests are seen through."""
    await database.execute("DELETE FROM receiver_requests")
    listens: dict[str, Callable[[str], None]] = {}
    process.listener = cast("Any", SimpleNamespace(on=listens.__setitem__))
    process.notifier = cast("Any", SimpleNamespace(notify=lambda *_: None))
    async with running(Receiver(process, listens)) as found:
        yield found


@asynccontextmanager
async def running(receiver: Receiver) -> AsyncIterator[Receiver]:
    task = asyncio.create_task(receiver.requests.run())
    try:
        yield receiver
    finally:
        task.cancel()
        await asyncio.wait({task})
        assert receiver.account.held == 0


async def rows(database: Connection) -> list[Any]:
    return await database.fetch("SELECT * FROM receiver_requests ORDER BY request_id")


async def taken(database: Connection, count: int = 1) -> list[Any]:
    """Take what is asked, when so much is."""

    async def asked() -> bool:
        return len(await rows(database)) >= count

    await wait_until(asked, what=f"{count} requests")
    return await database.fetch("UPDATE receiver_requests SET state = 'taken' RETURNING *")


async def answer(database: Connection, row: UUID, fields: object) -> None:
    text = None if fields is None else json.dumps(fields).encode()
    await database.execute(
        "UPDATE receiver_requests SET state = 'done', answer = $2 WHERE request_id = $1", row, text
    )


async def test_a_request_is_put_down_as_it_came_with_whose_it_is(
    receiver: Receiver, database: Connection
) -> None:
    assert receiver.ask("config_get", forwarder_id="start", more=[1])
    (row,) = await taken(database)
    assert json.loads(row["body"]) == {
        "kind": "receiver_proxy_config_get_request",
        "request_id": "q",
        "forwarder_id": "start",
        "more": [1],
    }
    assert (row["kind"], row["receiver_id"], row["address"]) == ("config_get", "tent", "10.9.8.7?")
    assert (row["session_id"], row["token_id"]) == (receiver.session_id, receiver.token_id)


async def test_answers_go_to_those_who_asked_in_any_order_and_are_taken_away(
    receiver: Receiver, database: Connection
) -> None:
    receiver.ask("restart", "first", forwarder_id="start")
    receiver.ask("streams_list", "second")
    first, second = sorted(await taken(database, 2))
    await answer(database, second["request_id"], {**OK, "streams": ["x"]})
    assert (await receiver.answered(1))[0] == {
        "kind": "receiver_proxy_streams_list_response",
        "request_id": "second",
        **OK,
        "streams": ["x"],
    }
    await answer(database, first["request_id"], OK)
    assert (await receiver.answered(2))[1]["request_id"] == "first"
    assert not await rows(database)


async def test_a_notification_is_enough(
    receiver: Receiver, database: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver.requests.poll_s = 3600
    receiver.ask("restart", forwarder_id="start")
    (row,) = await taken(database)
    await answer(database, row["request_id"], OK)
    receiver.tell(str(uuid4()))  # another session's
    receiver.tell(str(receiver.session_id))
    assert (await receiver.answered())[0]["ok"]


async def test_what_an_api_process_does_not_know_is_not_available_yet(
    receiver: Receiver, database: Connection
) -> None:
    receiver.ask("participants_get", race_id="x")
    (row,) = await taken(database)
    await answer(database, row["request_id"], None)
    (told,) = await receiver.answered()
    assert (told["ok"], told["error"], told["participants"]) == (False, "not available yet", [])


async def test_without_an_api_each_request_is_answered_with_no_answer(
    receiver: Receiver, database: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proxy, "ANSWER_WITHIN_S", 0.3)
    receiver.ask("races_list", "a")
    receiver.ask("config_get", "b", forwarder_id="start")
    told = await receiver.answered(2)
    assert [(each["request_id"], each["ok"], each["error"]) for each in told] == [
        ("a", False, "no answer"),
        ("b", False, "no answer"),
    ]
    assert told[0]["races"] == []


async def test_an_answer_that_comes_too_late_belongs_to_no_other_request(
    receiver: Receiver, database: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proxy, "ANSWER_WITHIN_S", 3.0)
    receiver.ask("streams_list", "early")
    (late,) = await taken(database)
    await receiver.answered(1)
    monkeypatch.setattr(proxy, "ANSWER_WITHIN_S", 60)
    receiver.ask("streams_list", "later")
    await answer(database, late["request_id"], {**OK, "streams": ["early"]})

    async def alone() -> bool:
        return [row["request_id"] for row in await rows(database)] != [late["request_id"]] and not any(
            row["state"] == "done" for row in await rows(database)
        )

    await wait_until(alone)
    (row,) = await taken(database)
    await answer(database, row["request_id"], {**OK, "streams": ["later"]})
    told = await receiver.answered(2)
    assert [(each["request_id"], each["streams"]) for each in told] == [("early", []), ("later", ["later"])]


async def test_the_seventeenth_at_once_is_told_that_it_is_too_many(
    receiver: Receiver, database: Connection
) -> None:
    for number in range(17):
        receiver.ask("streams_list", str(number))
    (told,) = await receiver.answered(1)
    assert (told["request_id"], told["error"], told["streams"]) == ("16", "busy", [])
    for row in await taken(database, 16):
        await answer(database, row["request_id"], {**OK, "streams": []})
    assert {each["request_id"] for each in await receiver.answered(17)} == set(map(str, range(17)))
    assert receiver.ask("streams_list", "again")
    assert len(await taken(database)) == 1


async def test_who_asks_on_and_on_and_reads_nothing_is_held_to_a_bound(receiver: Receiver) -> None:
    receiver.takes.clear()
    for number in range(1000):
        receiver.ask("streams_list", str(number))
    assert len(receiver.requests.responses) <= proxy.REFUSALS
    receiver.takes.set()
    told = await receiver.answered(proxy.REFUSALS)
    assert {each["error"] for each in told} == {"busy"}


@pytest.mark.parametrize("message", [b"{}", b'{"kind": "receiver_proxy_restart_request"}', b"\xff"])
async def test_what_cannot_be_answered_is_not_taken(
    receiver: Receiver, database: Connection, message: bytes
) -> None:
    assert not receiver.requests.take(message)
    assert receiver.account.held == 0


async def test_bytes_count_until_the_database_has_them(
    receiver: Receiver, database: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = asyncio.Event()
    put_down: Callable[..., Awaitable[UUID]] = store.ask

    async def slow(*given: Any, **named: Any) -> UUID:
        await asked.wait()
        return await put_down(*given, **named)

    monkeypatch.setattr(store, "ask", slow)
    monkeypatch.setattr(proxy, "ANSWER_WITHIN_S", 3600)  # none is given up meanwhile
    receiver.ask("file_upload", file_data="x" * 100_000)
    assert receiver.account.held > 100_000
    asked.set()
    await taken(database)
    await wait_until(lambda: receiver.account.held == 0, deadline_s=5)
    assert len(await rows(database)) == 1


async def test_a_database_that_is_away_for_a_moment_is_waited_for(
    receiver: Receiver, database: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_down = store.ask
    failures = [DatabaseUnavailable("away"), DatabaseUnavailable("away")]

    async def failing(*given: Any, **named: Any) -> UUID:
        if failures:
            raise failures.pop()
        return await put_down(*given, **named)

    monkeypatch.setattr(store, "ask", failing)
    receiver.ask("restart", forwarder_id="start")
    (row,) = await taken(database)
    await answer(database, row["request_id"], OK)
    assert (await receiver.answered())[0]["ok"]


async def test_a_database_that_hangs_keeps_nobody_waiting_beyond_the_time(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hanging(*_: Any, **__: Any) -> UUID:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(store, "ask", hanging)
    monkeypatch.setattr(proxy, "ANSWER_WITHIN_S", 0.3)
    receiver.ask("restart", forwarder_id="start")
    assert (await receiver.answered())[0]["error"] == "no answer"


async def test_an_answer_waits_in_the_database_until_the_receiver_takes_the_one_before(
    receiver: Receiver, database: Connection
) -> None:
    for number in range(3):
        receiver.ask("streams_list", str(number))
    asked = await taken(database, 3)
    receiver.takes.clear()
    for row in asked:
        await answer(database, row["request_id"], {**OK, "streams": ["x" * 1000]})

    async def one_is_on_its_way() -> bool:
        return len(await rows(database)) == 2

    await wait_until(one_is_on_its_way)
    # The row is gone before what it held is counted here.
    await wait_until(lambda: receiver.account.held > 1000)
    assert receiver.account.held < 2000
    receiver.takes.set()
    await receiver.answered(3)


async def test_what_a_session_leaves_behind_is_taken_back(
    receiver: Receiver, process: Process, database: Connection
) -> None:
    async with running(Receiver(process, {"rt_replies": lambda _: None})) as other:
        other.ask("restart", forwarder_id="start")
        receiver.ask("restart", forwarder_id="finish")

        async def both() -> bool:
            return len(await rows(database)) == 2

        await wait_until(both)
    (left,) = await rows(database)
    assert left["session_id"] == receiver.session_id


async def test_what_nobody_took_away_goes_with_the_next_request(
    receiver: Receiver, database: Connection
) -> None:
    await database.execute(
        "INSERT INTO receiver_requests (session_id, receiver_id, token_id, address, kind, body, expires_at)"
        " VALUES ($1, 'x', $1, '', 'restart', '', clock_timestamp() - interval '11 s'),"
        " ($1, 'y', $1, '', 'restart', '', clock_timestamp() - interval '5 s')",
        uuid4(),
    )
    receiver.ask("streams_list")

    async def asked() -> bool:
        return "tent" in [row["receiver_id"] for row in await rows(database)]

    await wait_until(asked)
    assert sorted(row["receiver_id"] for row in await rows(database)) == ["tent", "y"]


async def test_what_is_put_down_again_because_an_answer_was_lost_is_asked_once(
    receiver: Receiver, database: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask, lost = store.ask, 0

    async def loses(*arguments: Any, **fields: Any) -> UUID:
        nonlocal lost
        row = await ask(*arguments, **fields)
        if not lost:
            lost += 1
            # Taken at once: what is put down again must not be taken once more.
            await database.execute("UPDATE receiver_requests SET state = 'taken'")
            raise DatabaseUnavailable("the answer was lost")
        return row

    monkeypatch.setattr(store, "ask", loses)
    receiver.ask("restart", forwarder_id="start")
    await wait_until(lambda: lost and not receiver.account.held, what="the request to be put down again")
    (row,) = await rows(database)
    assert row["state"] == "taken"
    await answer(database, row["request_id"], OK)
    assert (await receiver.answered())[0]["ok"]
