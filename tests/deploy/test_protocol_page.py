"""deploy/docs/protocol.md: its messages, codes, bounds and settings are those of the code."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, get_args
from uuid import UUID

import msgspec
import orjson
import pytest
from aiohttp import WSCloseCode

from api.commands.ask import ANSWER_WITHIN_S
from fanout import events as delivered
from fanout.app import V12_MESSAGE_BYTES
from fanout.generation import FIRST
from fanout.in_flight import InFlight
from fanout.settings import FanoutSettings
from fanout.store.events import EventRow
from fanout.tail import MOST_TAILS
from fanout.turns import EPOCH_BYTES, MAX_SUBSCRIPTIONS, SUBSCRIPTION_BYTES
from gateway import session
from gateway.batch import MAX_GROUPS
from gateway.commands import MOST_AT_ONCE
from gateway.control import CLEARING_S
from gateway.settings import GatewaySettings
from gateway.staging import REFUSALS
from shared.protocol import v1 as messages
from shared.protocol.commands import KINDS, Action, GetInfo, Kind, ReaderControl, Reconnect
from shared.protocol.decoding import (
    FORWARDER_MESSAGES,
    LARGE_BYTES,
    RECEIVER_BYTES,
    decode_forwarder,
    decode_receiver,
)
from shared.protocol.devices import INFO_BYTES
from shared.protocol.ipico import ParseError, annotate
from shared.protocol.v1 import AckEntry, FromReceiver, StreamRef
from shared.runtime.settings import Settings
from shared.transport import acceptor, connection, hello
from shared.transport.inlet import FIRST_MESSAGE_BYTES
from tests.deploy.pages import PROTOCOL, REPOSITORY, fences, sections, table

TEXT = PROTOCOL.read_text()
SECTIONS = sections(TEXT)
Message = dict[str, Any]


def told() -> dict[str, tuple[str, str]]:
    """Return the messages of section 3 by kind: which way they go, and what their section says."""
    found = {}
    for number, (title, text) in SECTIONS.items():
        if number.startswith("3."):
            way, kind = title.split(" ")
            found[kind.strip("`")] = (way, text)
    return found


MESSAGES = told()
FROM_DEVICES: dict[str, tuple[Any, Callable[[bytes], object]]] = {
    **{tag: (kind, decode_forwarder) for tag, kind in FORWARDER_MESSAGES.items()},
    **{kind.__struct_config__.tag: (kind, decode_receiver) for kind in get_args(FromReceiver)},
}


def _ack(example: Message) -> bytes:
    entries = [AckEntry(**each) for each in example["entries"]]
    return messages.encode_forwarder_ack(UUID(example["session_id"]), entries)


def _batch(example: Message) -> bytes:
    """Encode events as a fanout does with rows of the database."""
    (event,) = example["events"]
    row = EventRow(
        **{name: event[name] for name in ("stream_epoch", "seq", "reader_timestamp", "read_type")},
        position=1,
        received_at=datetime.now(UTC),
        raw_frame=event["raw_read_line"].encode(),
        framed=False,
    )
    (encoded,) = FIRST.encode(StreamRef(event["forwarder_id"], event["reader_ip"]), [row])
    return delivered.batch_prefix(UUID(example["session_id"])) + encoded.json + delivered.BATCH_SUFFIX


def _asking(kind: Kind) -> Callable[[Message], bytes]:
    """Return what makes the message that asks a device for a command."""

    def encode(example: Message) -> bytes:
        fields = {name: value for name, value in example.items() if name not in ("kind", "request_id")}
        return kind.encode(UUID(example["request_id"]), msgspec.convert(fields, kind.request))

    return encode


# By kind: what makes the message of its example's values, and the function of the code that it comes from.
FROM_THE_SERVER: Mapping[str, tuple[Callable[[Message], bytes], object]] = {
    "forwarder_ack": (_ack, messages.encode_forwarder_ack),
    "receiver_event_batch": (_batch, delivered.batch_prefix),
    "heartbeat": (
        lambda m: messages.encode_heartbeat(UUID(m["session_id"]), m["device_id"]),
        messages.encode_heartbeat,
    ),
    "error": (lambda m: messages.encode_error(m["code"], m["message"]), messages.encode_error),
    "epoch_reset_command": (
        lambda m: messages.encode_epoch_reset(
            UUID(m["session_id"]), m["forwarder_id"], m["reader_ip"], m["new_stream_epoch"]
        ),
        messages.encode_epoch_reset,
    ),
    **{kind.message: (_asking(kind), kind) for kind in KINDS.values() if kind.message},
}


def example(kind: str) -> Message:
    (block,) = fences(MESSAGES[kind][1], "json")
    message: Message = orjson.loads(block.text)
    assert message["kind"] == kind
    return message


def test_every_message_has_its_section_and_no_other() -> None:
    assert {kind for kind, (way, _) in MESSAGES.items() if way == "→"} == set(FROM_DEVICES)
    assert {kind for kind, (way, _) in MESSAGES.items() if way == "←"} == set(FROM_THE_SERVER)
    encoders = {getattr(messages, name) for name in messages.__all__ if name.startswith("encode_")}
    assert encoders <= {function for _, function in FROM_THE_SERVER.values()}


@pytest.mark.parametrize("kind", FROM_DEVICES)
def test_a_device_s_message_is_taken_as_it_stands(kind: str) -> None:
    wanted, decode = FROM_DEVICES[kind]
    told = example(kind)
    decoded: object = decode(orjson.dumps(told))
    assert isinstance(decoded, wanted)
    assert _contains(told, orjson.loads(msgspec.json.encode(decoded)))


def _contains(told: Any, taken: Any) -> bool:
    """Whether all that was taken stands there, beside what is ignored."""
    if isinstance(taken, dict):
        # What was not told is null in what was taken.
        return all(
            _contains(told[name], value) if name in told else value is None for name, value in taken.items()
        )
    if isinstance(taken, list):
        return len(told) == len(taken) and all(map(_contains, told, taken))
    return bool(told == taken)


@pytest.mark.parametrize("kind", FROM_DEVICES)
def test_a_device_s_fields_are_those_that_are_looked_at(kind: str) -> None:
    wanted, _ = FROM_DEVICES[kind]
    rows = {row[0]: row for row in table(MESSAGES[kind][1], "field", "type")}
    required = {f"`{field.encode_name}`" for field in msgspec.structs.fields(wanted) if field.required}
    optional = {f"`{field.encode_name}`?" for field in msgspec.structs.fields(wanted) if not field.required}
    ignored = {name for name, row in rows.items() if row[-1] == "ignored"}
    assert set(rows) - ignored == required | optional
    for field in msgspec.structs.fields(wanted):
        # What is taken apart later may be anything at first.
        if not field.required and field.type is not msgspec.Raw:
            known = msgspec.inspect.type_info(field.type)
            parts = known.types if isinstance(known, msgspec.inspect.UnionType) else (known,)
            nullable = any(isinstance(each, msgspec.inspect.NoneType) for each in parts)
            assert nullable == ("null" in rows[f"`{field.encode_name}`?"][1]), field.name


@pytest.mark.parametrize("kind", FROM_THE_SERVER)
def test_what_the_server_sends_is_what_stands_there(kind: str) -> None:
    encode, _ = FROM_THE_SERVER[kind]
    told = example(kind)
    assert orjson.loads(encode(told)) == told
    rows = table(MESSAGES[kind][1], "field", "type")
    assert {row[0] for row in rows} == {f"`{name}`" for name in told if name != "kind"}


def test_events_and_cursors_have_the_fields_that_stand_there() -> None:
    text = SECTIONS["3"][1]
    events, _, cursors = text.partition("A **cursor**")
    fields = {f"`{name}`" for name in messages.ReadEvent.__struct_fields__}
    assert {row[0] for row in table(events, "field", "type")} == fields | {"`forwarder_id`"}
    cursor = {f"`{name}`" for name in AckEntry.__struct_fields__}
    assert {row[0] for row in table(cursors, "field", "type")} == cursor


def codes() -> set[str]:
    """Return the codes that devices can be sent: those that refusals are raised with, and the default."""
    found = {"PROTOCOL_ERROR", *(code for code, _ in REFUSALS.values())}
    for service in ("gateway", "fanout", "shared"):
        for path in (REPOSITORY / service).rglob("*.py"):
            found |= set(re.findall(r'code="([A-Z_]+)"', path.read_text()))
    return found


def test_every_code_is_told_with_what_it_says_of_itself() -> None:
    rows = {row[0].strip("`"): row for row in table(SECTIONS["7"][1], "code", "retryable", "close")}
    assert rows.keys() == codes()
    for code, row in rows.items():
        assert orjson.loads(row[1]) == orjson.loads(messages.encode_error(code, ""))["retryable"]
        assert row[2] == str(int(_close_code(code)))


def _close_code(code: str) -> WSCloseCode:
    """Return what a refusal closes with (`refuse`)."""
    return WSCloseCode.INTERNAL_ERROR if code == "INTERNAL_ERROR" else WSCloseCode.POLICY_VIOLATION


def test_every_close_code_is_told() -> None:
    used: set[int] = set()
    for path in (REPOSITORY / "shared").rglob("*.py"):
        used |= {int(WSCloseCode[name]) for name in re.findall(r"WSCloseCode\.([A-Z_]+)", path.read_text())}
    rows = {row[0] for row in table(SECTIONS["1.5"][1], "code", "why")}
    assert rows - {"none"} == {str(each) for each in used}


def test_every_setting_is_told_with_its_default() -> None:
    common = {spec.variable for spec in Settings.specs().values()}
    known = {
        (spec.variable, of, spec.default)
        for of, kind in (("gateway", GatewaySettings), ("fanout", FanoutSettings))
        for spec in kind.specs().values()
        if spec.variable not in common
    }
    told = {
        (row[0].strip("`"), row[1], row[2]) for row in table(SECTIONS["9"][1], "setting", "of", "default")
    }
    assert told == known
    named = set(re.findall(r"`([A-Z]+(?:_[A-Z]+)+)`", TEXT))
    assert named <= {variable for variable, _, _ in known} | codes() | {"INTEGRITY_CONFLICT"}


def _time(action: Action) -> float:
    return ReaderControl("", action).answer_within_s


def _silence(action: Action) -> float | None:
    return ReaderControl("", action).silent_after_s


MIB = 1024 * 1024
# A message takes from streams until it is as long: what the last one gives may be as long again.
PER_STREAM = delivered.MESSAGE_BYTES // MIB
BOUNDS = {
    "a first message": f"{FIRST_MESSAGE_BYTES // MIB} MiB",
    "a forwarder's message": f"{acceptor.MESSAGE_BYTES['forwarder'] // MIB} MiB",
    "a later hello, an answer to a question": f"{LARGE_BYTES // MIB} MiB",
    "a receiver's message": f"{acceptor.MESSAGE_BYTES['receiver'] // MIB} MiB",
    "the same of the second generation": f"{V12_MESSAGE_BYTES // MIB} MiB",
    "its acks": f"{RECEIVER_BYTES // MIB} MiB",
    "a line": f"{messages.LINE_BYTES // 1024} KiB in UTF-8",
    "names, ids, timestamps, types": f"{messages.NAME_LENGTH} characters",
    "lists of readers, streams or cursors": f"{messages.LIST_LENGTH:,} entries",
    "readers and epochs of a batch": f"{MAX_GROUPS:,} pairs",
    "batches under way in a session": f"{session.MAX_OWED}",
    "time to a hello": f"{hello.HELLO_WITHIN_S:.0f} s",
    "connections of a token without a hello": f"{acceptor.WITHOUT_HELLO_OF_ONE}",
    "connections of a receiver at a fanout": f"{acceptor.SESSIONS_OF_ONE}",
    "subscriptions of a session": f"{MAX_SUBSCRIPTIONS:,}",
    "streams that a fanout follows": f"{MOST_TAILS:,}",
    "what all receivers of a fanout follow": f"{acceptor.ACCOUNT_BYTES // 2**21} MiB, {SUBSCRIPTION_BYTES} bytes a "
    f"subscription and {EPOCH_BYTES} an epoch of it",
    "a message to a receiver": f"{PER_STREAM} MiB of each stream, less than {2 * PER_STREAM} MiB in all",
    "unacked messages that are told apart": f"{InFlight.MOST_MESSAGES:,}",
    "an answer to a question": f"{ANSWER_WITHIN_S:.0f} s",
    "an answer about a reader": f"{_time(Reconnect()):.0f} s, {_time(GetInfo()):.0f} s of `get_info` and `refresh`",
    "a reader's info": f"{INFO_BYTES // 1024} KiB",
}


def _actions() -> dict[str, Action]:
    """Return an action of each type, as its table in section 6.3 has them."""
    values = {"mode": "raw", "timeout": 0, "enabled": True}
    found = {}
    for kind in get_args(Action):
        wanted = {field.name: values[field.name] for field in msgspec.structs.fields(kind)}
        found[kind.__struct_config__.tag] = kind(**wanted)
    return found


def test_what_can_be_asked_of_a_reader_stands_there_with_its_time() -> None:
    told = {}
    for names, wanted, _, within in table(SECTIONS["6.3"][1], "`type` of `action`", "with"):
        for name in re.findall(r"`(\w+)`", names):
            told[name] = (set(re.findall(r"`(mode|timeout|enabled)`", wanted)), within)
    assert told == {
        name: (
            set(action.__struct_fields__),
            f"{_silence(action):.0f} s, or nothing" if _silence(action) else f"{_time(action):.0f} s",
        )
        for name, action in _actions().items()
    }
    assert f"For {CLEARING_S:.0f} s after `clear_records`" in SECTIONS["6.3"][1]


def test_every_bound_is_the_code_s() -> None:
    assert {row[0]: row[1] for row in table(SECTIONS["9"][1], "what", "bound")} == BOUNDS


def test_times_in_the_text_are_the_code_s() -> None:
    alive = SECTIONS["1.3"][1]
    assert f"ping every {connection.PING_EVERY_S:.0f} s" in alive
    assert f"for {connection.ANSWER_WITHIN_S:.0f} s after a ping" in alive
    assert f"Every {connection.HEARTBEAT_EVERY_S:.0f} s the server sends a `heartbeat`" in alive
    assert f"after {session.REFUSE_AFTER_S:.0f} s" in SECTIONS["4.3"][1]
    assert f"Up to {MOST_AT_ONCE} questions" in SECTIONS["6.2"][1]


def test_lines_say_what_stands_beside_them() -> None:
    text = SECTIONS["11"][1]
    reasons = re.search(r"the reason: (.*?)\.$", text, re.MULTILINE)
    assert reasons is not None
    assert re.findall(r"`(\w+)`", reasons[1]) == list(get_args(ParseError))
    rows = table(text, "line", "chip", "time")
    assert len(rows) >= 8
    for line, chip, time, reason in ([cell.strip("`") for cell in row] for row in rows):
        tag_id, read_at, error = annotate(line)
        said = f"{read_at:%Y-%m-%d %H:%M:%S}.{read_at.microsecond // 10_000:02}" if read_at else ""
        assert (tag_id or "", said, error or "") == (chip, time, reason), line
