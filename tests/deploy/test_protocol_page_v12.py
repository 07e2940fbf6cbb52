"""What the page of the device protocol says of receivers of the second generation is what the code does."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson
import pytest

from fanout import session_v12
from fanout.events import BATCH_SUFFIX, batch_prefix
from fanout.generation import RESERVED_TYPE, SECOND
from fanout.modes.mode import not_there_yet
from fanout.settings import FanoutSettings
from fanout.store.events import EventRow
from fanout.store.reported import Reader, Reported, Ups
from fanout.store.stream_metrics import StreamMetrics
from fanout.updates.devices import say_reported
from fanout.updates.stream_metrics import say_metrics
from shared.protocol.decoding import decode_receiver_v12
from shared.protocol.v1 import StreamRef
from shared.protocol.v12 import Live, ReceiverHelloV12, ReplayTarget, encode_mode_applied
from tests.deploy.pages import PROTOCOL, fences, sections, table

Message = dict[str, Any]

SECTIONS = sections(PROTOCOL.read_text())
EXAMPLES: dict[str, Message] = {
    message["kind"]: message
    for number, (_, text) in SECTIONS.items()
    if number.startswith("12.")
    for block in fences(text, "json")
    for message in [orjson.loads(block.text)]
}


def test_the_hello_is_taken_as_it_stands() -> None:
    hello = decode_receiver_v12(orjson.dumps(EXAMPLES["receiver_hello_v12"]))
    assert isinstance(hello, ReceiverHelloV12)
    assert isinstance(hello.mode, Live)
    assert hello.mode.streams == [StreamRef("start", "10.0.0.1:10000")]
    assert [cursor.last_seq for cursor in hello.resume or ()] == [42]
    assert session_v12.GENERATED_ID.fullmatch(hello.receiver_id)


def _applied(told: Message) -> bytes:
    assert told["warnings"] == [not_there_yet(StreamRef("start", "10.0.0.1:10000"))]
    return encode_mode_applied(told["mode_summary"], told["resolved_stream_count"], told["warnings"])


def _batch(told: Message) -> bytes:
    (event,) = told["events"]
    names = ("stream_epoch", "seq", "reader_timestamp", "read_type")
    row = EventRow(
        **{name: event[name] for name in names},
        position=1,
        received_at=datetime.now(UTC),
        raw_frame=bytes(event["raw_frame"]),
        framed=True,
    )
    (encoded,) = SECOND.encode(StreamRef(event["forwarder_id"], event["reader_ip"]), [row])
    return batch_prefix(UUID(told["session_id"])) + encoded.json + BATCH_SUFFIX


def _numbers(told: Message) -> bytes:
    fields = {name: value for name, value in told.items() if name != "kind"}
    at = datetime.fromisoformat(fields.pop("epoch_last_received_at"))
    (said,) = say_metrics(None, StreamMetrics(**fields, position=1, epoch_last_received_at=at))
    return said.message.replace(b"+00:00", b"Z")


SENT: dict[str, Callable[[Message], bytes]] = {
    "receiver_mode_applied": _applied,
    "receiver_event_batch": _batch,
    "receiver_stream_metrics": _numbers,
}


def test_every_example_is_one_of_these() -> None:
    assert EXAMPLES.keys() == {"receiver_hello_v12", *SENT}


@pytest.mark.parametrize("kind", SENT)
def test_what_the_server_sends_is_what_stands_there(kind: str) -> None:
    assert orjson.loads(SENT[kind](EXAMPLES[kind])) == EXAMPLES[kind]


def test_what_is_told_of_devices_has_the_fields_that_stand_there() -> None:
    download = '{"state": "idle", "reads_received": 1, "progress": 1, "total": 1, "error": null}'
    before = Reported(UUID(int=1), "start", "r", False, None, None)
    now = before._replace(connected=True, reader=Reader("connected", "{}", download), ups=Ups(True, "{}"))
    said = [orjson.loads(each.message) for each in say_reported(before, now)]
    rows = {row[0].strip("`"): row[1] for row in table(SECTIONS["12.8"][1], "← kind", "fields")}
    assert rows.keys() == {message["kind"] for message in said}
    for message in said:
        named = {each.strip().rstrip("?") for each in _without_brackets(rows[message["kind"]]).split(",")}
        assert named == message.keys() - {"kind"}


def _without_brackets(text: str) -> str:
    while "(" in text:
        text = text[: text.index("(")] + text[text.index(")") + 1 :]
    return text


def test_numbers_that_stand_there_are_those_of_the_code() -> None:
    usual = FanoutSettings.read({"database_url": "postgresql://nowhere"})
    page = "".join(text for number, (_, text) in SECTIONS.items() if number.startswith("12."))
    assert f"{usual.second_generation_events_per_second:,} events a second" in page
    assert f"no longer than {session_v12.APPLIED_WITHIN_S:.0f} s" in page
    assert f"`read_type` begins with `{RESERVED_TYPE}`" in page
    assert "`{forwarder_id, reader_ip, stream_epoch, from_seq? = 1}`" in page
    assert ReplayTarget("f", "r", 1).from_seq == 1
    assert session_v12.ROW_WITHIN_S < 1
