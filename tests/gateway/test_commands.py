"""Commands from their rows to a device's socket and back, with one gateway inside the test's process."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from structlog.testing import capture_logs

from gateway import commands, epochs
from gateway.store import commands as store
from gateway.store import streams
from shared.db.errors import DatabaseRefused, DatabaseUnavailable
from shared.protocol.commands import KINDS
from shared.runtime.process import Process
from tests.api.seeds import add_race
from tests.commands import SAMPLES
from tests.failure.facts import Database
from tests.failure.wire import READER, Wire, batch, connect, forwarder, read, unresponsive
from tests.gateway.asking import answer, command, ended
from tests.gateway.conftest import Inside, running_writer
from tests.services import make_token
from tests.waiting import wait_until

CONFIG = {"general": {"display_name": "Start"}, "odd": [2**70, "é\u0000", None, 1.5]}


@pytest.fixture
async def wire(inside: Inside) -> AsyncIterator[Wire]:
    """The socket of forwarder `f`, after its hello."""
    async with forwarder(inside.url, inside.token) as wire:
        yield wire


async def reset(database: Database, **more: Any) -> UUID:
    """Ask for a reset of the forwarder's only reader."""
    stream_id = await database.fetchval("SELECT stream_id FROM streams WHERE reader_ip = $1", READER)
    return await command(database, "epoch_reset", {"stream_id": str(stream_id), "reader_ip": READER}, **more)


# --- what comes back -------------------------------------------------------------------------------------


async def test_a_question_comes_back_with_the_device_s_answer(wire: Wire, database: Database) -> None:
    asked = await command(database, "config_get")
    request = await wire.expect("config_get_request")
    assert request == {"kind": "config_get_request", "request_id": str(asked)}
    await wire.send(answer(request, config=CONFIG, restart_needed=True))
    state, came = await ended(database, asked)
    assert (state, came["ok"], came["config"], came["restart_needed"]) == ("done", True, CONFIG, True)


async def test_a_change_reaches_the_device_as_it_was_asked(wire: Wire, database: Database) -> None:
    asked = await command(database, "config_set", {"section": "odd", "payload": CONFIG})
    request = await wire.expect("config_set_request")
    assert (request["section"], request["payload"]) == ("odd", CONFIG)
    await wire.send(answer(request, ok=False, error="no", status_code=409))
    state, came = await ended(database, asked)
    assert (state, came["ok"], came["error"], came["status_code"]) == ("done", False, "no", 409)


async def test_a_restart_is_answered(wire: Wire, database: Database) -> None:
    asked = await command(database, "restart")
    await wire.send(answer(await wire.expect("restart_request")))
    assert (await ended(database, asked))[0] == "done"


@pytest.mark.parametrize("kind", [name for name, kind in KINDS.items() if kind.message])
async def test_every_question_reaches_the_device_and_its_answer_comes_back(
    wire: Wire, database: Database, kind: str
) -> None:
    sample = SAMPLES[kind]
    assert sample.sent is not None
    assert sample.says is not None
    asked = await command(database, kind, sample.request)
    request = await wire.expect(sample.sent["kind"])
    assert request == {**sample.sent, "request_id": str(asked)}
    await wire.send(answer(request, **sample.says))
    state, came = await ended(database, asked)
    assert state == "done"
    assert came.items() >= sample.says.items()


async def test_a_reset_is_done_when_the_socket_took_it(wire: Wire, database: Database) -> None:
    asked = await reset(database)
    message = await wire.expect("epoch_reset_command")
    assert (message["forwarder_id"], message["reader_ip"], message["new_stream_epoch"]) == ("f", READER, 2)
    assert await ended(database, asked) == ("done", {"new_stream_epoch": 2})
    assert await database.fetchval("SELECT stream_epoch FROM streams") == 2


async def test_of_two_resets_out_of_one_epoch_one_is_carried_out(wire: Wire, database: Database) -> None:
    stream_id = await database.fetchval("SELECT stream_id FROM streams WHERE reader_ip = $1", READER)
    request = {"stream_id": str(stream_id), "reader_ip": READER, "expected_epoch": 1}
    asked = [await command(database, "epoch_reset", request) for _ in range(2)]
    await wire.expect("epoch_reset_command")
    endings = [await ended(database, each) for each in asked]
    assert sorted(endings, key=str) == [("absent", None), ("done", {"new_stream_epoch": 2})]
    assert await database.fetchval("SELECT stream_epoch FROM streams") == 2


async def test_an_epoch_is_a_race_s_before_its_device_hears_of_it(wire: Wire, database: Database) -> None:
    stream_id = await database.fetchval("SELECT stream_id FROM streams WHERE reader_ip = $1", READER)
    race_id = await add_race(database)
    request = {"stream_id": str(stream_id), "reader_ip": READER, "race_id": str(race_id)}
    asked = [await command(database, "epoch_reset", request) for _ in range(2)]
    for epoch in (2, 3):
        assert (await wire.expect("epoch_reset_command"))["new_stream_epoch"] == epoch
        mapped = await database.fetchval("SELECT race_id FROM epoch_races WHERE stream_epoch = $1", epoch)
        assert mapped == race_id
    assert {(await ended(database, each))[0] for each in asked} == {"done"}


async def test_of_two_who_begin_a_race_out_of_one_epoch_one_is_obeyed(wire: Wire, database: Database) -> None:
    stream_id = await database.fetchval("SELECT stream_id FROM streams WHERE reader_ip = $1", READER)
    race_id = await add_race(database)
    request = {"stream_id": str(stream_id), "reader_ip": READER, "race_id": str(race_id), "expected_epoch": 1}
    asked = [await command(database, "epoch_reset", request) for _ in range(2)]
    await wire.expect("epoch_reset_command")
    endings = [await ended(database, each) for each in asked]
    assert sorted(endings, key=str) == [("absent", None), ("done", {"new_stream_epoch": 2})]
    assert await database.fetchval("SELECT array_agg(stream_epoch) FROM epoch_races") == [2]


async def test_nothing_is_commanded_for_a_race_that_is_gone(wire: Wire, database: Database) -> None:
    stream_id = await database.fetchval("SELECT stream_id FROM streams WHERE reader_ip = $1", READER)
    request = {"stream_id": str(stream_id), "reader_ip": READER, "race_id": str(uuid4())}
    assert await ended(database, await command(database, "epoch_reset", request)) == ("absent", None)
    assert await database.fetchval("SELECT stream_epoch FROM streams") == 1


async def test_a_late_answer_is_not_taken_for_the_next_question_s(wire: Wire, database: Database) -> None:
    first = await command(database, "config_get", within_s=3.0)
    late = await wire.expect("config_get_request")
    assert await ended(database, first) == ("lost", None)
    second = await command(database, "config_get")
    request = await wire.expect("config_get_request")
    await wire.send(answer(late, config="late"))
    await wire.send({**answer(request), "kind": "restart_response"})  # nor is one of another kind
    await wire.send(answer(request, config="right"))
    state, came = await ended(database, second)
    assert (state, came["config"]) == ("done", "right")


async def test_an_answer_that_lies_in_a_dying_socket_counts(
    wire: Wire, database: Database, database_url: str
) -> None:
    asked = await command(database, "config_get")
    request = await wire.expect("config_get_request")
    # Nothing is acked, because no writer is there yet: the answer waits behind what fills the session.
    for seq in range(1, 21):
        await wire.send(batch(read(seq)))
    await wire.send(answer(request, config="the last word"))
    await wire.drop()
    async with running_writer(database_url):
        state, came = await ended(database, asked)
    assert (state, came["config"]) == ("done", "the last word")


async def test_a_socket_that_ends_without_an_answer_leaves_the_question_open_at_once(
    wire: Wire, database: Database
) -> None:
    asked = await command(database, "restart", within_s=60)
    await wire.expect("restart_request")
    await wire.drop()
    assert await ended(database, asked) == ("lost", {"why": "disconnected"})


async def test_an_answer_beyond_its_bound_is_a_refusal(wire: Wire, database: Database) -> None:
    asked = await command(database, "config_get")
    await wire.send(answer(await wire.expect("config_get_request"), config="x" * 1024 * 1024))
    state, came = await ended(database, asked)
    assert (state, came["ok"]) == ("done", False)
    assert "larger" in came["error"]


# --- what is not carried out -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "request_"),
    [
        ("identify", {}),
        ("restart", {"force": True}),
        ("config_set", {"section": "s"}),
        ("config_set", "s3cret"),
        ("epoch_reset", {"stream_id": "none", "reader_ip": READER}),
    ],
)
async def test_what_is_not_known_is_refused_and_no_device_hears_of_it(
    wire: Wire, database: Database, kind: str, request_: Any
) -> None:
    with capture_logs() as lines:
        asked = await command(database, kind, request_)
        assert await ended(database, asked) == ("refused", None)
    (line,) = [each for each in lines if each["event"] == "command_refused"]
    assert (line["log_level"], line["kind"], line["command_id"]) == ("error", kind, str(asked))
    assert "s3cret" not in str(lines)
    known = await command(database, "config_get")
    first = await wire.next()
    assert first is not None
    assert (first["kind"], first["request_id"]) == ("config_get_request", str(known))


async def test_an_expired_command_is_not_carried_out(wire: Wire, database: Database) -> None:
    expired = await reset(database, within_s=-0.001)
    done = await reset(database)
    assert (await ended(database, done))[0] == "done"
    assert (await wire.expect("epoch_reset_command"))["new_stream_epoch"] == 2
    assert await database.fetchval("SELECT state FROM commands WHERE command_id = $1", expired) == "asked"


@pytest.mark.parametrize("kind", ["restart", "config_get", "epoch_reset"])
async def test_what_was_taken_in_time_and_comes_to_hand_too_late_is_not_carried_out(
    wire: Wire, database: Database, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """As when the gateway was stopped between the two."""

    looks = []

    async def take(*arguments: Any) -> list[store.Taken]:
        looks.append(arguments)
        return [each._replace(left_s=-1.0) for each in await take_truly(*arguments)]

    take_truly = store.take_commands
    monkeypatch.setattr(store, "take_commands", take)
    # A look that was under way already would take it as it is: after this none is.
    await wait_until(lambda: looks, what="a look by the way that is too late")
    late = await (reset(database) if kind == "epoch_reset" else command(database, kind))
    assert await ended(database, late) == ("lost", None)
    monkeypatch.undo()
    asked = await command(database, "config_set", {"section": "s", "payload": 1})
    request = await wire.next()
    assert request is not None
    assert (request["kind"], request["request_id"]) == ("config_set_request", str(asked))


async def test_a_command_for_a_session_that_is_over_is_not_carried_out(
    wire: Wire, database: Database
) -> None:
    asked = await reset(database, session_id=uuid4())
    assert await ended(database, asked) == ("absent", None)
    await reset(database)
    assert (await wire.expect("epoch_reset_command"))["new_stream_epoch"] == 2


async def test_a_session_that_has_lost_its_device_carries_nothing_out(wire: Wire, database: Database) -> None:
    session_id = UUID(wire.session_id)
    await database.execute("UPDATE forwarder_sessions SET session_id = gen_random_uuid()")
    asked = [
        await reset(database, session_id=session_id),
        await command(database, "restart", session_id=session_id),
    ]
    assert [await ended(database, each) for each in asked] == [("absent", None)] * 2
    assert await database.fetchval("SELECT stream_epoch FROM streams") == 1


async def test_what_became_too_late_while_the_database_was_slow_is_not_written(
    wire: Wire, database: Database, inside: Inside
) -> None:
    async with database.transaction():
        await database.execute("SELECT FROM streams FOR UPDATE")
        late = await inside_of_transaction(inside, wire)
    assert await ended(database, late) == ("lost", None)
    done = await reset(database)
    message = await wire.expect("epoch_reset_command")
    # What was reserved in vain is not commanded again.
    assert await ended(database, done) == ("done", {"new_stream_epoch": message["new_stream_epoch"]})
    assert [each["kind"] for each in wire.seen].count("epoch_reset_command") == 1


async def inside_of_transaction(inside: Inside, wire: Wire) -> UUID:
    """Ask for a reset that ends within 0.5 s, on another connection than the one that holds the stream."""
    pool = inside.gateway.process.pool
    async with pool.acquire() as connection:
        asked = await reset(connection, within_s=0.5)  # type: ignore[arg-type]

        async def is_lost() -> bool:
            state = await connection.fetchval("SELECT state FROM commands WHERE command_id = $1", asked)
            return bool(state == "lost")

        await wait_until(is_lost, what="the deadline")
    return asked


# --- epochs ----------------------------------------------------------------------------------------------


async def test_resets_at_once_and_after_a_conflict_rise_on_the_wire(
    wire: Wire, database: Database, writer: Process
) -> None:
    await wire.send(batch(read(1)))
    await wire.ack()
    await wire.send(batch(read(1, "another line")))
    await wire.ack()
    epochs = [(await wire.expect("epoch_reset_command"))["new_stream_epoch"]]
    asked = [await reset(database) for _ in range(6)]
    while len(epochs) < 7:
        message = await wire.next()
        assert message is not None
        if message["kind"] == "epoch_reset_command":
            epochs.append(message["new_stream_epoch"])
    assert epochs == list(range(2, 9))
    commanded = {(await ended(database, each))[1]["new_stream_epoch"] for each in asked}
    assert len(commanded) == 6
    assert commanded < set(epochs)


@pytest.mark.parametrize("lost", ["before", "after", "between"])
@pytest.mark.parametrize("of_race", [True, False])
async def test_a_reset_over_which_the_database_is_lost_is_done_once(
    wire: Wire, database: Database, monkeypatch: pytest.MonkeyPatch, lost: str, of_race: bool
) -> None:
    """Lost before the epoch was reserved, behind it, or with a try that is done while the next one is under way."""
    stream_id = await database.fetchval("SELECT stream_id FROM streams WHERE reader_ip = $1", READER)
    request = {"stream_id": str(stream_id), "reader_ip": READER, "expected_epoch": 1}
    if of_race:
        race_id = await add_race(database)
        request["race_id"] = str(race_id)
    name = "next_epoch_of_race" if of_race else "next_epoch"
    reserve, calls = getattr(streams, name), list[Any]()

    async def lossy(*given: Any, **named: Any) -> Any:
        calls.append(given)
        if len(calls) == 1:
            if lost == "after":
                await reserve(*given, **named)
            raise DatabaseUnavailable("its answer is lost")
        if len(calls) == 2 and lost == "between":
            await reserve(*given, **named)
        return await reserve(*given, **named)

    monkeypatch.setattr(epochs, name, lossy)
    asked = await command(database, "epoch_reset", request)
    assert (await wire.expect("epoch_reset_command"))["new_stream_epoch"] == 2
    assert await ended(database, asked) == ("done", {"new_stream_epoch": 2})
    assert await database.fetchval("SELECT stream_epoch FROM streams") == 2
    assert await database.fetchval("SELECT count(*) FROM activity WHERE event = 'epoch_reset'") == 1
    assert await database.fetchval("SELECT count(*) FROM epoch_races") == of_race


async def test_a_reset_of_which_the_entry_is_lost_commands_the_epoch_that_it_has(
    wire: Wire, database: Database, inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    activity = inside.gateway.process.activity
    record, calls = activity.record, list[str]()

    async def lossy(pool: Any, event: str, **named: Any) -> None:
        calls.append(event)
        if len(calls) == 1:
            raise DatabaseUnavailable("away")
        await record(pool, event, **named)

    monkeypatch.setattr(activity, "record", lossy)
    stream_id = await database.fetchval("SELECT stream_id FROM streams WHERE reader_ip = $1", READER)
    request = {"stream_id": str(stream_id), "reader_ip": READER, "expected_epoch": 1}
    asked = await command(database, "epoch_reset", request)
    assert (await wire.expect("epoch_reset_command"))["new_stream_epoch"] == 2
    assert await ended(database, asked) == ("done", {"new_stream_epoch": 2})


async def test_a_reader_that_lost_its_journal_is_commanded_though_the_database_is_lost_over_it(
    wire: Wire, database: Database, writer: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    reserve, calls = streams.next_epoch, list[Any]()

    async def lossy(*given: Any, **named: Any) -> Any:
        calls.append(given)
        epoch = await reserve(*given, **named)
        if len(calls) == 1:
            raise DatabaseUnavailable("its answer is lost")
        return epoch

    monkeypatch.setattr(epochs, "next_epoch", lossy)
    for line in ("one line", "another line"):
        await wire.send(batch(read(1, line)))
        await wire.ack()
    assert (await wire.expect("epoch_reset_command"))["new_stream_epoch"] == 2


async def test_a_reset_whose_answer_was_lost_is_above_what_the_device_has_used_since(
    wire: Wire, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    reserve, calls = streams.next_epoch, list[Any]()

    async def lossy(*given: Any, **named: Any) -> Any:
        calls.append(given)
        epoch = await reserve(*given, **named)
        if len(calls) == 1:
            await wire.send(batch(read(1, epoch=5)))
            await wait_until(lambda: database_has_staged(database), what="a read of a higher epoch")
            raise DatabaseUnavailable("its answer is lost")
        return epoch

    monkeypatch.setattr(epochs, "next_epoch", lossy)
    asked = await reset(database)
    assert (await wire.expect("epoch_reset_command"))["new_stream_epoch"] == 6
    assert await ended(database, asked) == ("done", {"new_stream_epoch": 6})


async def database_has_staged(database: Database) -> bool:
    return bool(await database.fetchval("SELECT EXISTS (SELECT FROM inbox)"))


async def test_a_reset_is_above_what_the_session_has_seen_and_nobody_has_stored(
    wire: Wire, database: Database
) -> None:
    await wire.send(batch(read(1, epoch=7)))
    await wait_until(lambda: database.fetchval("SELECT count(*) = 1 FROM inbox"), what="the part")
    await database.execute("DELETE FROM inbox")
    await reset(database)
    assert (await wire.expect("epoch_reset_command"))["new_stream_epoch"] == 8


async def test_a_reset_is_above_what_another_session_has_staged(
    wire: Wire, database: Database, inside: Inside
) -> None:
    await wire.send(batch(read(1, epoch=7)))
    await wait_until(lambda: database.fetchval("SELECT count(*) = 1 FROM inbox"), what="the part")
    await wire.drop()
    await wait_until(
        lambda: database.fetchval("SELECT ended_at IS NOT NULL FROM forwarder_sessions"), what="its end"
    )
    async with forwarder(inside.url, inside.token) as again:
        await reset(database)
        assert (await again.expect("epoch_reset_command"))["new_stream_epoch"] == 8


# --- bounds ----------------------------------------------------------------------------------------------


async def test_a_socket_that_takes_nothing_holds_up_no_other_command(
    wire: Wire, inside: Inside, database: Database
) -> None:
    token = await make_token(database, "forwarder", "unresponsive")
    async with unresponsive(inside.url, token):
        await wait_until(
            lambda: database.fetchval("SELECT count(*) = 2 FROM live_forwarder_sessions"), what="its session"
        )
        stream_id = await database.fetchval(
            "INSERT INTO streams (forwarder_id, reader_ip) VALUES ('unresponsive', 'r') RETURNING stream_id"
        )
        request = {"stream_id": str(stream_id), "reader_ip": "r"}
        fill = {"section": "s", "payload": {"long": "x" * 8_000_000}}
        stuck = [
            await command(database, "epoch_reset", request, forwarder_id="unresponsive", within_s=3),
            await command(database, "config_set", fill, forwarder_id="unresponsive", within_s=3),
        ]
        done = await reset(database)
        await wire.expect("epoch_reset_command")
        assert (await ended(database, done))[0] == "done"
        assert [await ended(database, each) for each in stuck] == [("lost", None)] * 2


async def test_a_session_has_a_bounded_number_of_commands_under_way(wire: Wire, database: Database) -> None:
    async with database.transaction():  # seen at once
        asked = [await command(database, "config_get", within_s=5) for _ in range(commands.MOST_AT_ONCE + 1)]
    states = [(await ended(database, each))[0] for each in asked]
    assert sorted(states) == ["busy", *["lost"] * commands.MOST_AT_ONCE]
    last = await command(database, "restart")
    request = await wire.expect("config_get_request")
    while request["kind"] != "restart_request":
        request = await wire.next() or {}
    await wire.send(answer(request))
    assert (await ended(database, last))[0] == "done"


async def test_commands_are_found_without_notifications(wire: Wire, database: Database) -> None:
    asked = await database.fetchval(
        """
        INSERT INTO commands (forwarder_id, session_id, gateway_id, kind, request, expires_at)
        SELECT forwarder_id, session_id, gateway_id, 'restart', '{}', now() + interval '10 s'
        FROM live_forwarder_sessions RETURNING command_id
        """
    )
    await wire.send(answer(await wire.expect("restart_request")))
    assert (await ended(database, asked))[0] == "done"


async def test_an_ending_that_the_database_refuses_is_loud_and_hurts_no_other_command(
    wire: Wire, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing = True

    async def end(*arguments: Any) -> None:
        if refusing:
            raise DatabaseRefused("no")
        await end_truly(*arguments)

    end_truly = store.end_command
    monkeypatch.setattr(store, "end_command", end)
    with capture_logs() as lines:
        refused = await command(database, "restart")
        await wire.send(answer(await wire.expect("restart_request")))
        await wait_until(
            lambda: [each for each in lines if each["event"] == "task_failed"], what="the error in the log"
        )
    (line,) = [each for each in lines if each["event"] == "task_failed"]
    assert (line["log_level"], line["command_id"]) == ("error", str(refused))
    refusing = False
    asked = await command(database, "restart")
    await wire.send(answer(await wire.expect("restart_request")))
    assert (await ended(database, asked))[0] == "done"


async def test_a_stop_ends_what_is_under_way_without_a_word_of_done(
    inside: Inside, database: Database
) -> None:
    async with connect(inside.url, inside.token) as wire:
        await wire.greet()
        asked = await command(database, "restart", within_s=60)
        await wire.expect("restart_request")
        inside.gateway.process.stop.ask()
        assert await wire.closed() == 1001
        assert await ended(database, asked) == ("lost", {"why": "disconnected"})
