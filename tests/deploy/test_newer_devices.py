"""Simulated devices of the second generation do what real ones were seen to do, their flaws included."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from deploy.simulation.devices import newer_forwarder, newer_receiver
from deploy.simulation.devices.newer_forwarder import NewerForwarder
from deploy.simulation.devices.newer_receiver import BadBatchError, NewerReceiver, read_event
from deploy.simulation.devices.reader_box import ReaderBox, Timing
from deploy.simulation.devices.receiver import AT_ONCE
from tests.deploy.standin import StandIn, running, standing_in
from tests.waiting import wait_until

READER, OTHER = "10.0.0.1:10000", "10.0.0.2:10000"
STREAM = ("mat", READER)
QUICK = Timing(answer=0.001, mute_info=0.05, mute_set=0.02, clock=0.01, clear=0.05)


@pytest.fixture
async def server() -> AsyncIterator[StandIn]:
    async with standing_in() as found:
        yield found


def forwarder(server: StandIn, **settings: Any) -> NewerForwarder:
    given = {
        "url": server.url,
        "token": "mat",
        "device_id": "mat",
        "readers": [READER, OTHER],
        "flush_s": 0.01,
    }
    found = NewerForwarder(**{**given, "backoff_s": (0.05, 0.1), **settings})
    for box in found.boxes.values():
        box.timing = QUICK
    return found


def receiver(server: StandIn, **settings: Any) -> NewerReceiver:
    given = {
        "url": server.url,
        "token": "tent",
        "receiver_id": "tent",
        "streams": [STREAM],
        "manners": AT_ONCE,
    }
    return NewerReceiver(**{**given, **settings})


def kinds(server: StandIn) -> list[str]:
    return [message["kind"] for message in server.answers]


def control(action: str, request_id: str = "q", **more: object) -> dict[str, object]:
    return {
        "kind": "reader_control_request",
        "request_id": request_id,
        "reader_ip": READER,
        "action": {"type": action, **more},
    }


# --- a forwarder ------------------------------------------------------------------------------------------


async def test_a_read_goes_out_as_its_bytes_with_its_line_end(server: StandIn) -> None:
    frames: list[bytes] = []
    take = server.take

    async def watched(device_id: str, socket: Any, events: Any) -> None:
        assert all("raw_read_line" not in event for event in events)
        frames.extend(bytes(event["raw_frame"]) for event in events)
        await take(device_id, socket, events)

    server.take = watched  # type: ignore[method-assign]
    crlf, bare = forwarder(server), forwarder(server, token="bare", device_id="bare", line_end=b"")
    crlf.record(READER, "aa01é")
    bare.record(READER, "aa02")
    async with running(crlf.run(), bare.run()):
        await asyncio.gather(crlf.drained(), bare.drained())
    assert sorted(frames) == [b"aa01\xc3\xa9\r\n", b"aa02"]


async def test_readers_are_told_of_first_some_twice_and_then_once_for_each_read(server: StandIn) -> None:
    device = forwarder(server)
    for _ in range(3):
        device.record(READER, "aa")
    async with running(device.run()):
        await device.drained()
    assert [(m["kind"], m["reader_ip"]) for m in server.answers[:3]] == [
        ("reader_status_update", READER),
        ("reader_status_update", OTHER),
        ("reader_status_update", OTHER),
    ]
    updates = [m for m in server.answers if m["kind"] == "reader_info_update"]
    assert [m["reader_ip"] for m in updates if "reader_info" not in m] == [READER] * 3
    assert {m["reader_ip"] for m in updates if "reader_info" in m} == {READER, OTHER}


async def test_a_battery_is_told_of_and_none_is_not(server: StandIn) -> None:
    with_one = forwarder(server, battery={"battery_percent": 50, "power_plugged": True})
    without = forwarder(server, token="bare", device_id="bare")
    with_one.record(READER, "aa")
    without.record(READER, "aa")
    async with running(with_one.run(), without.run()):
        await asyncio.gather(with_one.drained(), without.drained())
    (status,) = [m for m in server.answers if m["kind"] == "forwarder_ups_status"]
    assert (status["available"], status["status"]["battery_percent"]) == (True, 50)


async def test_while_it_asks_a_reader_nothing_is_uploaded_and_no_ack_is_read(server: StandIn) -> None:
    device = forwarder(server)
    device.boxes[READER].timing = Timing(answer=0.3)
    async with running(device.run()):
        await device.wait_connected()
        await wait_until(lambda: "mat" in server.sockets)
        await server.send("mat", control("get_info"))
        await asyncio.sleep(0.1)
        device.record(OTHER, "aa")
        await device.drained()
    places = [m["kind"] for m in server.answers]
    assert "reader_control_response" in places
    assert server.answered_at[places.index("reader_control_response")] <= time.monotonic()
    assert places.index("reader_control_response") < len(places) - 1 - places[::-1].index(
        "reader_info_update"
    )


async def test_in_a_replay_it_answers_and_reconnects_at_once(server: StandIn) -> None:
    server.acking = False
    device = forwarder(server, backoff_s=(30.0, 30.0))
    device.record(READER, "aa")
    async with running(device.run()):
        await wait_until(lambda: server.batches)
        server.acking = True
        await server.send("mat", control("refresh"))
        await device.drained()
    assert kinds(server).count("reader_control_response") == 1
    assert device.sessions == 2


async def test_later_a_command_has_the_batch_sent_anew_with_what_came_since(server: StandIn) -> None:
    device = forwarder(server)
    async with running(device.run()):
        await device.wait_connected()
        server.acking = False
        device.record(READER, "aa01")
        await wait_until(lambda: server.batches)
        device.record(READER, "aa02")
        server.acking = True
        await server.send("mat", control("refresh"))
        await device.drained()
    assert [event["seq"] for event in server.batches[-1]] == [1, 2]
    assert device.sessions == 1


@pytest.mark.parametrize("message", [control("fly"), {"kind": "firmware_request", "request_id": "q"}])
async def test_what_it_does_not_know_ends_its_session(server: StandIn, message: dict[str, object]) -> None:
    device = forwarder(server)
    async with running(device.run()):
        await device.wait_connected()
        await server.send("mat", message)
        await wait_until(lambda: device.sessions == 2, what="another session")
    assert "reader_control_response" not in kinds(server)


async def test_an_ack_that_does_not_come_ends_its_session(server: StandIn) -> None:
    server.acking = False
    device = forwarder(server, ack_within_s=0.1)
    device.record(READER, "aa")
    async with running(device.run()):
        await wait_until(lambda: device.sessions >= 2, what="another session")
        server.acking = True
        await device.drained()
    assert len(server.batches) >= 2


async def test_anything_but_an_awaited_ack_starts_the_flush_anew(server: StandIn) -> None:
    device = forwarder(server, flush_s=3.0)
    async with running(device.run()):
        await device.wait_connected()
        device.record(READER, "aa")
        for _ in range(10):
            await server.send("mat", {"kind": "heartbeat", "session_id": "s-1", "device_id": "mat"})
            await asyncio.sleep(0.4)
        assert not server.batches
        await device.drained()


# --- what a reader says of itself -----------------------------------------------------------------------------


def box(**settings: Any) -> ReaderBox:
    return ReaderBox(timing=QUICK, **settings)


async def test_a_mute_reader_says_what_was_known_last_and_takes_no_setting() -> None:
    reader = box(mute=True)
    told = await reader.act({"type": "get_info"})
    assert told.success
    assert told.info is not None
    refused = await reader.act({"type": "set_read_mode", "mode": "raw", "timeout": 5})
    assert (refused.success, refused.info, reader.mode) == (False, None, ("fsls", 9))


async def test_a_reader_without_a_link() -> None:
    told = await box(linked=False).act({"type": "sync_clock"})
    assert (told.success, told.error) == (False, "reader not connected")


async def test_a_clock_is_set_after_the_answer() -> None:
    tells = asyncio.Event()
    reader = box(told=tells.set)
    assert (await reader.act({"type": "sync_clock"})).info is None
    assert reader.drift_ms
    await tells.wait()
    assert reader.info()["clock"]["drift_ms"] == 0


async def test_a_clear_holds_the_control_line_and_leaves_recording_off_and_the_mode_raw() -> None:
    reader = box(stored=7)
    assert (await reader.act({"type": "clear_records"})).success
    assert (reader.stored, reader.recording) == (7, True)
    told = await reader.act({"type": "get_info"})  # waits until it has ended
    assert told.info is not None
    assert (told.info["estimated_stored_reads"], told.info["recording"]) == (0, False)
    assert told.info["config"] == {"mode": "raw", "timeout": 5}


async def test_switched_on_to_record_it_says_that_it_failed_and_records() -> None:
    reader = box(recording=False)
    assert not (await reader.act({"type": "set_recording", "enabled": True})).success
    assert reader.recording


async def test_a_download_comes_as_ordinary_reads_under_new_numbers(server: StandIn) -> None:
    device = forwarder(server)
    device.record(READER, "aa01")
    async with running(device.run()):
        await device.drained()
        await server.send("mat", control("start_download"))
        await wait_until(lambda: device.journal.reads(READER) == (2, 2), what="the copy")
    assert [event["raw_read_line"] for _, event in sorted(server.events[STREAM].items())] == ["aa01", "aa01"]


# --- a receiver -------------------------------------------------------------------------------------------------


async def test_it_asks_for_the_streams_and_names_the_current_epochs_as_its_earliest(server: StandIn) -> None:
    server.events[STREAM][7, 1] = event(1, epoch=7)
    device = receiver(server, streams=[STREAM, ("away", READER)], resume={(*STREAM, 7): 0, (*STREAM, 6): 9})
    async with running(device.stay()):
        await device.wait_for(1)
    hello = server.hellos[0]
    assert hello["kind"] == "receiver_hello_v12"
    assert [each["earliest_epoch"] for each in hello["mode"]["earliest_epochs"]] == [7, 0]
    assert [(each["stream_epoch"], each["last_seq"]) for each in hello["resume"]] == [(7, 0)]


async def test_what_its_user_has_set_goes_before_the_current_epoch(server: StandIn) -> None:
    server.events[STREAM][7, 1] = event(1, epoch=7)
    device = receiver(server, earliest_epochs={STREAM: 2})
    async with running(device.stay()):
        await device.wait_connected()
    assert server.hellos[0]["mode"]["earliest_epochs"][0]["earliest_epoch"] == 2


def event(seq: int, *, epoch: int = 1, line: str = "aa") -> dict[str, Any]:
    return {
        "forwarder_id": "mat",
        "reader_ip": READER,
        "stream_epoch": epoch,
        "seq": seq,
        "reader_timestamp": "t",
        "raw_read_line": line,
        "read_type": "raw",
    }


async def test_it_takes_bytes_and_acks_the_highest_number_of_each_epoch(server: StandIn) -> None:
    server.events[STREAM].update({(1, seq): event(seq, line=f"aa{seq}") for seq in (1, 2)})
    device = receiver(server)
    async with running(device.stay()):
        await device.wait_for(2)
        await wait_until(lambda: server.receiver_acks)
    assert device.events[(*STREAM, 1)] == [(1, "aa1\r\n"), (2, "aa2\r\n")]
    assert [each["last_seq"] for each in server.receiver_acks[0]["entries"]] == [2]


@pytest.mark.parametrize(
    "wrong",
    [
        {"raw_frame": [256]},
        {"raw_frame": [-1]},
        {"raw_frame": "aa"},
        {"raw_frame": None},
        {"seq": -1},
        {"seq": "1"},
        {"raw_read_line": "aa"},
    ],
)
def test_an_event_that_it_cannot_read(wrong: dict[str, Any]) -> None:
    good = {**event(1), "raw_frame": [97, 13, 10]}
    del good["raw_read_line"]
    assert read_event(good)["raw_read_line"] == "a\r\n"
    with pytest.raises(BadBatchError):
        read_event({**good, **wrong})


async def test_a_message_with_one_bad_event_is_dropped_without_an_ack_and_the_session_goes_on(
    server: StandIn,
) -> None:
    device = receiver(server)
    async with running(device.stay()):
        await device.wait_connected()
        bad = {**event(1), "raw_frame": [999]}
        batch = {"kind": "receiver_event_batch", "session_id": "s-1", "events": [bad]}
        await server.send("tent", batch)
        await wait_until(lambda: device.bad_batches == 1)
        await server.store(STREAM, event(2))
        await device.wait_for(1)
        await wait_until(lambda: server.receiver_acks)
    assert [each["last_seq"] for each in server.receiver_acks[0]["entries"]] == [2]
    assert device.sessions == 1


async def test_an_error_before_its_heartbeat_ends_it_for_good(server: StandIn) -> None:
    server.greeting = False
    device = receiver(server)
    async with running(device.stay((0.01, 0.01))):
        await wait_until(lambda: server.hellos)
        await server.send(
            "tent", {"kind": "error", "code": "PROTOCOL_ERROR", "message": "", "retryable": True}
        )
        await wait_until(lambda: device.ended)
    assert len(server.hellos) == 1


async def test_what_is_unknown_before_its_heartbeat_fails_that_try_alone(server: StandIn) -> None:
    server.greeting = False
    device = receiver(server)
    async with running(device.stay((0.01, 0.01))):
        await wait_until(lambda: server.hellos)
        await server.send("tent", {"kind": "receiver_mode_applied"})
        server.greeting = True
        await server.send("tent", {"kind": "news"})
        await device.wait_connected()
    assert not device.ended


async def test_an_error_in_its_session_and_a_refused_upgrade_have_it_come_again(server: StandIn) -> None:
    server.refusing = True
    device = receiver(server)
    async with running(device.stay((0.01, 0.02))):
        await wait_until(lambda: len(server.attempts) > 2)
        server.refusing = False
        await device.wait_connected()
        await server.send(
            "tent", {"kind": "error", "code": "INVALID_TOKEN", "message": "", "retryable": False}
        )
        await wait_until(lambda: device.sessions == 2)


async def test_after_its_heartbeat_it_is_deaf_while_it_asks(
    server: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = asyncio.Event()
    get = NewerReceiver.get

    async def slow(self: NewerReceiver, http: Any, path: str, **more: Any) -> Any:
        if path == "/api/v1/forwarder-races":
            await asked.wait()
        return await get(self, http, path, **more)

    monkeypatch.setattr(NewerReceiver, "get", slow)
    server.events[STREAM][1, 1] = event(1)
    device = receiver(server)
    async with running(device.stay()):
        await device.wait_connected()
        await asyncio.sleep(0.1)
        assert not device.events_seen
        asked.set()
        await device.wait_for(1)


async def test_an_event_of_a_stream_has_it_ask_for_them_again(server: StandIn) -> None:
    device = receiver(server)
    async with running(device.stay()):
        await device.wait_connected()
        await wait_until(lambda: server.asked_for_streams == 2)
        server.news.set()
        await wait_until(lambda: server.asked_for_streams == 3)


async def test_a_response_belongs_to_who_asked(server: StandIn) -> None:
    device = receiver(server)
    async with running(device.stay()):
        await device.wait_connected()
        first, second = (asyncio.ensure_future(device.ask("streams_list")) for _ in range(2))
        await wait_until(lambda: len(server.answers) == 2)
        for place, request in reversed(list(enumerate(server.answers))):
            await server.send(
                "tent",
                {
                    "kind": "receiver_proxy_streams_list_response",
                    "request_id": request["request_id"],
                    "ok": True,
                    "streams": [place],
                },
            )
        assert [(await each)["streams"] for each in (first, second)] == [[0], [1]]


async def test_nothing_is_asked_before_its_heartbeat(server: StandIn) -> None:
    server.greeting = False
    device = receiver(server)
    async with running(device.stay()):
        await wait_until(lambda: server.hellos)
        with pytest.raises(ConnectionError):
            await device.ask("streams_list")
    assert not server.answers


def test_the_times_of_the_field() -> None:
    assert (newer_forwarder.ACK_WITHIN_S, newer_receiver.QUESTION_S, newer_receiver.BACKOFF_S) == (
        30.0,
        3.0,
        (1.0, 30.0),
    )
