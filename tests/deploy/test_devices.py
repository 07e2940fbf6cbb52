"""The simulated devices keep the manners of real ones."""

import asyncio
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import uvloop

from deploy.simulation.devices.arrivals import Arrivals, EpochArrivals
from deploy.simulation.devices.connection import open_connection
from deploy.simulation.devices.forwarder import Forwarder
from deploy.simulation.devices.journal import Event, Journal
from deploy.simulation.devices.receiver import AT_ONCE, Manners, Receiver
from deploy.simulation.devices.relay import Relay
from tests.deploy.standin import StandIn, running, standing_in
from tests.waiting import PATIENCE_S, wait_until

READER = "10.0.0.1:10000"
OTHER_READER = "10.0.0.2:10000"
TOKEN = "secret-of-fwd"  # the stand-in takes an unknown token for the device's id


@pytest.fixture
async def server() -> AsyncIterator[StandIn]:
    async with standing_in() as standin:
        yield standin


def forwarder(server: StandIn, **settings: Any) -> Forwarder:
    settings = {"readers": [READER], "flush_s": 0.0, "backoff_s": (0.05, 0.5), **settings}
    return Forwarder(url=server.url, token=TOKEN, device_id=TOKEN, **settings)


def receiver(server: StandIn, **settings: Any) -> Receiver:
    settings = {"streams": [(TOKEN, READER)], "manners": AT_ONCE, **settings}
    return Receiver(url=server.url, token="tent", **settings)


def append(journal: Journal, *lines: str, reader_ip: str = READER) -> list[Event]:
    return [journal.append(reader_ip, line, reader_timestamp="", read_type="raw") for line in lines]


def seqs(events: list[dict[str, Any]]) -> list[tuple[int, int]]:
    return [(event["stream_epoch"], event["seq"]) for event in events]


def sent(server: StandIn) -> list[tuple[int, int]]:
    return [identity for batch in server.batches for identity in seqs(batch)]


# The journal.


def test_a_journal_counts_each_reader_from_one() -> None:
    journal = Journal()
    append(journal, "a", "b")
    append(journal, "c", reader_ip=OTHER_READER)
    assert [event.seq for event in journal.batch(10)] == [1, 2, 1]


def test_a_batch_holds_the_oldest_reads_of_all_readers() -> None:
    journal = Journal()
    for line in "abcd":
        append(journal, line, reader_ip=READER if line in "ac" else OTHER_READER)
    assert [event.raw_read_line for event in journal.batch(3)] == ["a", "b", "c"]


def test_an_ack_takes_the_reads_up_to_it_and_no_others() -> None:
    journal = Journal()
    append(journal, "a", "b", "c")
    append(journal, "d", reader_ip=OTHER_READER)
    assert journal.ack(READER, 1, 2) == 2
    assert [event.raw_read_line for event in journal.batch(10)] == ["c", "d"]
    assert journal.reads(READER) == (3, 2)


def test_a_cursor_never_moves_back(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    append(journal, "a", "b", "c")
    journal.ack(READER, 1, 2)
    assert journal.ack(READER, 1, 1) == 0
    journal.close()
    again = Journal(tmp_path / "journal")
    assert [event.raw_read_line for event in again.batch(10)] == ["c"]
    again.close()


def test_an_ack_of_a_later_epoch_abandons_what_is_left_of_earlier_ones() -> None:
    journal = Journal()
    append(journal, "a", "b")
    journal.turn_epoch(READER, 2)
    append(journal, "c", "d")
    assert journal.ack(READER, 2, 1) == 1
    assert [event.raw_read_line for event in journal.batch(10)] == ["d"]
    assert (journal.abandoned, journal.reads(READER)) == (2, (4, 1))


def test_a_reader_told_to_repeat_an_epoch_loses_its_new_reads() -> None:
    journal = Journal()
    append(journal, "a", "b")
    journal.ack(READER, 1, 2)
    journal.turn_epoch(READER, 1)
    append(journal, "c")
    assert (journal.batch(10), journal.abandoned) == ([], 1)


def test_a_wiped_journal_starts_again_at_epoch_one_seq_one() -> None:
    journal = Journal()
    journal.turn_epoch(READER, 7)
    append(journal, "a", "b")
    journal.wipe()
    assert append(journal, "c")[0][:3] == (READER, 1, 1)
    assert [event.raw_read_line for event in journal.events(READER)] == ["c"]


def test_a_reopened_journal_goes_on_where_it_was(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    append(journal, "a", "b")
    journal.ack(READER, 1, 1)
    journal.turn_epoch(READER, 2)
    append(journal, "c")
    journal.close()
    again = Journal(tmp_path / "journal")
    append(again, "d")
    assert [event[1:3] for event in again.batch(10)] == [(1, 2), (2, 1), (2, 2)]
    assert again.reads(READER) == (4, 1)
    again.close()


def test_what_was_in_a_batch_outlives_a_killed_process(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib, deploy.simulation.devices.journal as j; journal = j.Journal(pathlib.Path(sys.argv[1]));"
        "[journal.append('r', str(n), reader_timestamp='', read_type='raw') for n in range(100)];"
        "journal.batch(1); print('sent', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "journal")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"sent\n"
        os.kill(process.pid, signal.SIGKILL)
    journal = Journal(tmp_path / "journal")
    assert [event.seq for event in journal.batch(200)] == list(range(1, 101))
    journal.close()


def test_a_journal_is_for_its_owners_eyes_only(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    append(journal, "a")
    journal.batch(1)
    assert {path.stat().st_mode & 0o077 for path in tmp_path.iterdir()} == {0}
    journal.close()


# The forwarder.


async def test_all_that_is_recorded_arrives_verbatim_and_is_acked(server: StandIn) -> None:
    device = forwarder(server, readers=[READER, OTHER_READER], batch_size=3)
    for number in range(10):
        device.record(READER, f"line {number}", reader_timestamp="2026-02-22T10:11:12.340", read_type="fsls")
    async with running(device.run()):
        await device.drained()
        device.record(OTHER_READER, "later")
        await device.drained()
    kept = server.events[TOKEN, READER]
    assert [event["raw_read_line"] for event in kept.values()] == [f"line {n}" for n in range(10)]
    assert {(e["reader_timestamp"], e["read_type"]) for e in kept.values()} == {
        ("2026-02-22T10:11:12.340", "fsls")
    }
    assert max(map(len, server.batches)) == 3
    assert (device.recorded, device.sent, device.acked, device.sessions) == (11, 11, 11, 1)
    assert device.ack_latency_s is not None


async def test_a_read_without_a_time_gets_one_without_a_zone(server: StandIn) -> None:
    event = forwarder(server).record(READER, "line")
    assert (len(event.reader_timestamp), event.reader_timestamp[10], event.read_type) == (23, "T", "raw")


async def test_the_hello_comes_first_with_the_id_that_field_forwarders_derive(server: StandIn) -> None:
    device = forwarder(server, display_name="Finish")
    async with running(device.run()):
        await device.wait_connected()
    assert server.hellos == [
        {
            "kind": "forwarder_hello",
            "forwarder_id": "fwd-" + hashlib.sha256(TOKEN.encode()).hexdigest()[:16],
            "reader_ips": [READER],
            "display_name": "Finish",
        }
    ]


async def test_nothing_is_sent_before_the_heartbeat(server: StandIn) -> None:
    server.greeting = False
    device = forwarder(server)
    device.record(READER, "line")
    async with running(device.run()):
        await wait_until(lambda: server.hellos, what="a hello")
        # The answer to a request shows that the device had its turn: it would have sent its batch before.
        await server.send(TOKEN, {"kind": "config_get_request", "request_id": "1"})
        await wait_until(lambda: server.answers, what="the answer")
        assert (server.batches, device.connected) == ([], False)


async def test_only_one_batch_waits_for_its_ack(server: StandIn) -> None:
    server.acking = False
    device = forwarder(server, batch_size=2)
    async with running(device.run()):
        await device.wait_connected()
        for number in range(6):
            device.record(READER, str(number))
        await wait_until(lambda: server.batches, what="a batch")
        # The answer to a request shows that the device had its turn: it would have sent the next batch before.
        await server.send(TOKEN, {"kind": "config_get_request", "request_id": "1"})
        await wait_until(lambda: server.answers, what="the answer")
        assert sent(server) == [(1, 1), (1, 2)]


async def test_what_was_not_acked_is_sent_again_on_the_next_session(server: StandIn) -> None:
    server.acking = False
    device = forwarder(server, batch_size=2)
    for number in range(3):
        device.record(READER, str(number))
    async with running(device.run()):
        await wait_until(lambda: server.batches, what="a batch")
        server.acking = True
        await device.drop()
        await device.drained()
    assert sent(server) == [(1, 1), (1, 2), (1, 1), (1, 2), (1, 3)]
    assert (device.sessions, device.reconnects, device.acked) == (2, 1, 3)


async def test_a_refused_upgrade_is_tried_again_with_growing_pauses(server: StandIn) -> None:
    server.refusing = True
    device = forwarder(server, backoff_s=(0.05, 0.2))
    device.record(READER, "line")
    async with running(device.run()):
        await wait_until(lambda: len(server.attempts) >= 5, what="five attempts")
        server.refusing = False
        await device.drained()
    pauses = [later - earlier for earlier, later in pairwise(server.attempts)]
    assert all(pause >= due for pause, due in zip(pauses, (0.05, 0.1, 0.2, 0.2), strict=False))


async def test_no_server_at_all_is_tried_again(server: StandIn, unused_tcp_port: int) -> None:
    device = Forwarder(
        url=f"http://127.0.0.1:{unused_tcp_port}",
        token=TOKEN,
        device_id=TOKEN,
        readers=[READER],
        backoff_s=(0.01, 0.01),
    )
    async with running(device.run()):
        device.record(READER, "line")
        device.url = server.url
        await device.drained()


@pytest.mark.parametrize("ending", ["close", "error", "unknown"])
async def test_with_a_backlog_a_forwarder_comes_back_at_once(server: StandIn, ending: str) -> None:
    server.acking = False
    device = forwarder(server, backoff_s=(3600.0, 3600.0))
    device.record(READER, "line")
    async with running(device.run()):
        await wait_until(lambda: server.batches, what="a batch")
        server.acking = True
        if ending == "close":
            await server.sockets[TOKEN].close(code=1001)
        else:
            await server.send(TOKEN, {"kind": ending, "code": "INTERNAL_ERROR"})
        await device.drained()
    assert (device.last_error or {}).get("kind") == {"close": None}.get(ending, ending)


async def test_without_a_backlog_a_forwarder_takes_its_time(server: StandIn) -> None:
    device = forwarder(server, backoff_s=(0.3, 0.3))
    async with running(device.run()):
        await device.wait_connected()
        await server.sockets[TOKEN].close(code=1001)
        await wait_until(lambda: len(server.attempts) == 2, what="the next attempt")
    assert server.attempts[1] - server.attempts[0] >= 0.3


async def test_an_epoch_reset_numbers_anew_while_older_reads_still_drain(server: StandIn) -> None:
    server.acking = False
    device = forwarder(server, batch_size=2)
    for number in range(3):
        device.record(READER, str(number))
    async with running(device.run()):
        await wait_until(lambda: server.batches, what="a batch")
        command = {"kind": "epoch_reset_command", "reader_ip": READER, "new_stream_epoch": 4}
        await server.send(TOKEN, command)
        await wait_until(lambda: device.journal.epoch(READER) == 4, what="the command")
        device.record(READER, "new")
        server.acking = True
        await device.drop()
        await device.drained()
    assert list(server.events[TOKEN, READER]) == [(1, 1), (1, 2), (1, 3), (4, 1)]


async def test_a_forwarder_that_lost_its_journal_numbers_from_one_again(server: StandIn) -> None:
    device = forwarder(server)
    async with running(device.run()):
        device.record(READER, "old")
        await device.drained()
        await device.loses_journal()
        device.record(READER, "new")
        await device.drained()
    assert [(batch[0]["seq"], batch[0]["raw_read_line"]) for batch in server.batches] == [
        (1, "old"),
        (1, "new"),
    ]


async def test_what_lies_in_the_buffer_of_a_dropped_connection_was_never_received(server: StandIn) -> None:
    async with open_connection(server.url + "ws/v1/forwarders", TOKEN) as connection:
        await connection.send({"kind": "forwarder_hello"})
        await wait_until(lambda: TOKEN in server.sockets, what="the hello")
        for _ in range(50):
            await server.send(TOKEN, {"kind": "heartbeat"})
        messages = connection.messages()
        # The first greets; the second comes with the other 49 in one piece.
        assert [(await anext(messages))["kind"] for _ in range(2)] == ["heartbeat"] * 2
        await connection.drop()
        assert [message async for message in messages] == []


async def test_requests_get_plausible_answers(server: StandIn) -> None:
    device = forwarder(server, display_name="Finish")
    async with running(device.run()):
        await device.wait_connected()
        for request in (
            {"kind": "config_set_request", "request_id": "1", "section": "general", "payload": {"a": 1}},
            {"kind": "config_set_request", "request_id": "2", "section": "nonsense", "payload": {}},
            {"kind": "config_get_request", "request_id": "3"},
            {"kind": "restart_request", "request_id": "4"},
        ):
            await server.send(TOKEN, request)
        await wait_until(lambda: device.sessions == 2, what="the restart")
    written, refused, read, restarted = server.answers
    assert (written["ok"], written["restart_needed"], written["status_code"]) == (True, True, 200)
    assert (refused["ok"], refused["error"], refused["status_code"]) == (False, "no section 'nonsense'", 404)
    assert (read["config"]["general"], read["ok"]) == ({"a": 1}, True)
    assert restarted == {"kind": "restart_response", "request_id": "4", "ok": True, "error": None}


async def test_asked_in_the_middle_of_a_replay_a_forwarder_answers_and_reconnects(server: StandIn) -> None:
    server.acking = False
    device = forwarder(server, backoff_s=(3600.0, 3600.0))
    device.record(READER, "line")
    async with running(device.run()):
        await wait_until(lambda: server.batches, what="a batch")
        await server.send(TOKEN, {"kind": "config_get_request", "request_id": "1"})
        await wait_until(lambda: device.sessions == 2, what="the next session")
    assert [answer["request_id"] for answer in server.answers] == ["1"]


async def test_a_stopped_forwarder_closes_and_a_dropped_one_vanishes(server: StandIn) -> None:
    device = forwarder(server)
    async with running(device.run()):
        await device.wait_connected()
        await device.drop()
        await wait_until(lambda: device.sessions == 2, what="the next session")
        await device.stop()
        await wait_until(lambda: len(server.close_codes) == 2, what="both ends")
    assert server.close_codes[0] != 1000
    assert server.close_codes[1] == 1000


async def test_reads_wait_a_little_for_company(server: StandIn) -> None:
    device = forwarder(server, flush_s=3600.0, batch_size=3)
    async with running(device.run()):
        await device.wait_connected()
        for number in range(3):
            device.record(READER, str(number))
            await asyncio.sleep(0)
        await device.drained()
    assert [len(batch) for batch in server.batches] == [3]


# What arrives at a receiver.


@pytest.mark.parametrize(
    ("seqs_of_connections", "expected"),
    [
        ([[1, 2, 3]], EpochArrivals(through=3, last_here=3)),
        ([[2, 1]], EpochArrivals(through=2, backward=1, last_here=2)),
        ([[1, 1]], EpochArrivals(through=1, twice=1, last_here=1)),
        ([[1, 3]], EpochArrivals(through=1, ahead={3}, last_here=3)),
        ([[1, 3], [2, 3]], EpochArrivals(through=3, again=1, last_here=3)),
        ([[1, 2], [2, 3]], EpochArrivals(through=3, again=1, last_here=3)),
        ([[1, 2], [2, 1]], EpochArrivals(through=2, again=1, twice=1, last_here=2)),
    ],
)
def test_arrivals_tell_gaps_repeats_and_steps_back(
    seqs_of_connections: list[list[int]], expected: EpochArrivals
) -> None:
    arrivals = Arrivals()
    for connection in seqs_of_connections:
        arrivals.start_connection()
        for seq in connection:
            arrivals.note(("f", "r", 1), seq)
    assert arrivals.epochs == {("f", "r", 1): expected}
    assert expected.reads == len({seq for connection in seqs_of_connections for seq in connection})


def test_arrivals_outlive_the_process(tmp_path: Path) -> None:
    epoch = ("f", "r", 1)
    arrivals = Arrivals(tmp_path / "arrivals")
    arrivals.note(epoch, 1)
    arrivals.save({epoch})
    arrivals.close()
    again = Arrivals(tmp_path / "arrivals")
    assert (again.note(epoch, 1), again.note(epoch, 2), again.epochs[epoch].again) == (False, True, 1)
    again.close()


# The receiver.


async def test_a_receiver_gets_and_acks_what_its_streams_hold(server: StandIn) -> None:
    device, tent = forwarder(server), receiver(server)
    for number in range(3):
        device.record(READER, str(number))
    async with running(device.run()):
        await device.drained()
        async with running(tent.run()):
            await tent.wait_connected()
            device.journal.turn_epoch(READER, 2)
            device.record(READER, "new")
            await tent.wait_for(4)
            await wait_until(lambda: len(server.receiver_acks) == tent.batches, what="the acks")
    assert tent.events == {
        (TOKEN, READER, 1): [(1, "0"), (2, "1"), (3, "2")],
        (TOKEN, READER, 2): [(1, "new")],
    }
    acked = {(e["stream_epoch"], e["last_seq"]) for ack in server.receiver_acks for e in ack["entries"]}
    assert acked == {(1, 3), (2, 1)}


async def test_a_receiver_may_never_ack(server: StandIn) -> None:
    device, silent, acking = forwarder(server), receiver(server, ack_after_s=None), receiver(server)
    async with running(device.run(), silent.run(), acking.run()):
        await asyncio.gather(silent.wait_connected(), acking.wait_connected())
        device.record(READER, "line")
        await asyncio.gather(silent.wait_for(1), acking.wait_for(1))
        await wait_until(lambda: server.receiver_acks, what="the other one's ack")
    assert len(server.receiver_acks) == 1


async def test_a_receiver_resumes_and_subscribes_with_what_it_was_given(server: StandIn) -> None:
    tent = receiver(server, receiver_id="tent", resume={(TOKEN, READER, 3): 17})
    async with running(tent.run()):
        await tent.wait_connected()
        await tent.subscribe([(TOKEN, OTHER_READER)])
        await wait_until(lambda: len(server.subscriptions) == 2, what="both subscriptions")
    async with running(tent.run()):
        await wait_until(lambda: len(server.subscriptions) == 3, what="the subscription of the next session")
    cursor = {"forwarder_id": TOKEN, "reader_ip": READER, "stream_epoch": 3, "last_seq": 17}
    assert server.hellos == [{"kind": "receiver_hello", "receiver_id": "tent", "resume": [cursor]}] * 2
    assert [[s["reader_ip"] for s in said["streams"]] for said in server.subscriptions] == [
        [READER],
        [OTHER_READER],
        [READER, OTHER_READER],
    ]


async def test_a_receiver_comes_back_only_when_told(server: StandIn) -> None:
    tent = receiver(server)
    async with asyncio.timeout(PATIENCE_S):
        for _ in range(2):
            async with running(tent.run()):
                await tent.wait_connected()
                await tent.drop()
                await wait_until(lambda: not tent.connected, what="the end")
    assert (tent.sessions, len(server.attempts)) == (2, 2)


async def test_a_receiver_times_what_comes_and_notices_what_was_altered(server: StandIn) -> None:
    def deliver(event: dict[str, Any]) -> list[dict[str, Any]]:
        return [{**event, "raw_read_line": "no such line"} if event["seq"] == 2 else event]

    server.deliver = deliver
    device = forwarder(server)
    tent = receiver(server, keep=False, lookup=lambda _, *identity: device.journal.find(*identity))
    async with running(device.run(), tent.run()):
        await tent.wait_connected()
        for number in range(3):
            device.record(READER, str(number))
        await tent.wait_for(3)
    assert (tent.altered, tent.events, len(tent.latencies_s)) == (1, {}, 3)
    assert tent.latency_s is not None
    assert 0 <= tent.latency_s < 10


async def test_a_receiver_keeps_the_servers_refusal(server: StandIn) -> None:
    tent = receiver(server)
    async with running(tent.run()):
        await tent.wait_connected()
        await server.send(
            "tent", {"kind": "error", "code": "INVALID_TOKEN", "message": "", "retryable": False}
        )
        await wait_until(lambda: tent.last_error, what="the error")
    assert tent.last_error is not None
    assert tent.last_error["code"] == "INVALID_TOKEN"


# The manners of the ones in the field.


async def relayed(places: int, takes_per_s: float, *rounds: int) -> tuple[list[int], int]:
    """Put so many numbers in one go, round after round, each when the hops have had their turn; what arrived."""
    came: list[int] = []
    relay: Relay[int] = Relay(places=places, takes_per_s=takes_per_s, consume=came.extend)
    put = 0
    async with relay.passing():
        for count in rounds:
            for number in range(put + 1, put + count + 1):
                relay.put(number)
            put += count
            for _ in range(5):
                await asyncio.sleep(0)
    return came, relay.dropped


@pytest.mark.parametrize(
    ("rounds", "came", "dropped"),
    [
        # The consumer takes the first at once, and the next in an hour; the rest arrives at the end.
        ([4], [1, 2, 3, 4], 0),
        ([6], [3, 4, 5, 6], 2),  # the first hop was full before anybody had a turn
        ([4, 4], [1, 5, 6, 7, 8], 3),  # the second was full
        ([4, 1, 1], [1, 3, 4, 5, 6], 1),
    ],
)
async def test_a_relay_forgets_the_oldest_when_it_is_full(
    rounds: list[int], came: list[int], dropped: int
) -> None:
    assert await relayed(4, 1 / 3600, *rounds) == (came, dropped)


async def test_a_relay_that_is_never_full_loses_nothing_and_keeps_the_order() -> None:
    came: list[int] = []
    relay: Relay[int] = Relay(places=256, takes_per_s=1e9, consume=came.extend)
    async with relay.passing():
        for upto in range(200, 2_001, 200):
            for number in range(upto - 200, upto):
                relay.put(number)
            await wait_until(lambda upto=upto: len(came) == upto, what="all of them")  # type: ignore[misc]
    assert (came, relay.dropped) == (list(range(2_000)), 0)


async def test_the_race_software_takes_at_its_pace() -> None:
    came: list[int] = []
    relay: Relay[int] = Relay(places=256, takes_per_s=1_000, consume=came.extend)
    async with relay.passing():
        began = time.monotonic()
        for number in range(100):
            relay.put(number)
        await wait_until(lambda: len(came) == 100, what="all hundred")
        assert time.monotonic() - began >= 0.099


def test_what_comes_at_half_the_pace_of_the_race_software_is_never_lost() -> None:
    """On the loop that demo, chaos and benchmarks run on, whose timers are coarser."""

    async def half() -> None:
        came: list[int] = []
        relay: Relay[int] = Relay(places=256, takes_per_s=10_000, consume=came.extend)
        async with relay.passing():
            for number in range(3_000):
                relay.put(number)
                if number % 100 == 99:
                    await asyncio.sleep(0.02)
        assert (came, relay.dropped) == (list(range(3_000)), 0)

    uvloop.run(half())


async def test_race_software_that_has_its_turn_late_takes_what_was_due_meanwhile() -> None:
    taken: list[int] = []
    relay: Relay[int] = Relay(places=256, takes_per_s=1_000, consume=lambda some: taken.append(len(some)))
    async with relay.passing():
        for number in range(200):
            relay.put(number)
        time.sleep(0.1)  # noqa: ASYNC251 (a machine that gives us no turn)
        await wait_until(lambda: taken, what="what was due")
        assert taken[0] >= 100


async def test_a_receiver_acks_what_its_relay_then_forgets_and_goes_on_from_there(server: StandIn) -> None:
    tent = receiver(server, manners=Manners(unresponsive_s=0.0))
    event = {
        "forwarder_id": TOKEN,
        "reader_ip": READER,
        "stream_epoch": 1,
        "raw_read_line": "",
        "read_type": "raw",
    }
    async with running(tent.run()):
        await tent.wait_connected()
        events = [{**event, "seq": seq, "reader_timestamp": ""} for seq in range(1, 601)]
        await server.send("tent", {"kind": "receiver_event_batch", "session_id": "s-1", "events": events})
        await wait_until(lambda: server.receiver_acks, what="the ack")
        assert server.receiver_acks[0]["entries"][0]["last_seq"] == 600
        await tent.wait_for(256)
    assert ([seq for seq, _ in tent.events[TOKEN, READER, 1]], tent.dropped) == (list(range(345, 601)), 344)
    async with running(tent.run()):
        await tent.wait_connected()
    assert [(c["stream_epoch"], c["last_seq"]) for c in server.hellos[1]["resume"]] == [(1, 600)]


async def test_a_receiver_resumes_from_the_newest_it_has_acked_of_each_stream(server: StandIn) -> None:
    device, tent = forwarder(server), receiver(server)
    async with running(device.run(), tent.run()):
        await tent.wait_connected()
        for epoch in (1, 3):
            device.journal.turn_epoch(READER, epoch)
            device.record(READER, "a")
            device.record(READER, "b")
            await device.drained()
        await tent.wait_for(4)
        await wait_until(lambda: len(server.receiver_acks) == tent.batches, what="the acks")
    async with running(tent.run()):
        await wait_until(lambda: len(server.hellos) == 3, what="the next hello")
    assert [(c["stream_epoch"], c["last_seq"]) for c in server.hellos[2]["resume"]] == [(3, 2)]


async def test_a_receiver_does_not_read_after_its_hello(server: StandIn) -> None:
    unresponsive_s = 0.3
    tent = receiver(server, manners=Manners(unresponsive_s=unresponsive_s))
    async with running(tent.run()):
        await wait_until(lambda: "tent" in server.sockets, what="the hello")
        await server.sockets["tent"].ping()
        await wait_until(lambda: server.subscriptions and server.pongs, what="the subscription and the pong")
    # The upgrade came before the hello from which on it does not read.
    assert min(server.subscribed_at, *server.pongs) - server.attempts[0] >= unresponsive_s


async def test_a_receiver_that_does_not_read_can_be_dropped(server: StandIn) -> None:
    tent = receiver(server, manners=Manners(unresponsive_s=3600.0))
    connection = asyncio.ensure_future(tent.run())
    await wait_until(lambda: "tent" in server.sockets, what="the hello")
    await tent.drop()
    await asyncio.wait_for(connection, PATIENCE_S)
    assert server.subscriptions == []
