"""What receivers send, right or wrong: a message, an unknown kind, or a ProtocolError; never anything else."""

import json

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.errors import ProtocolError
from shared.protocol.decoding import decode_receiver
from shared.protocol.v1 import (
    AckEntry,
    ReceiverAck,
    ReceiverHello,
    ReceiverSubscribe,
    StreamRef,
    UnknownMessage,
)

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**65), 2**65)
    | st.floats(allow_nan=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=255)
NUMBERS = st.integers(1, 2**31 - 1)
ENTRIES = st.lists(st.builds(AckEntry, NAMES, NAMES, NUMBERS, st.integers(0, 2**53 - 1)), max_size=4)
KINDS = st.sampled_from(["receiver_hello", "receiver_subscribe", "receiver_ack"])
FIELDS = st.sampled_from(
    ["receiver_id", "resume", "session_id", "streams", "entries", "forwarder_id", "reader_ip", "stream_epoch"]
)


def dumps(value: object) -> bytes:
    return orjson.dumps(value, default=lambda each: {f: getattr(each, f) for f in each.__struct_fields__})


def decodes_or_refuses(message: bytes) -> None:
    complaint = ""
    try:
        decoded = decode_receiver(message)
    except ProtocolError as error:
        complaint = str(error)
    else:
        assert isinstance(decoded, ReceiverHello | ReceiverSubscribe | ReceiverAck | UnknownMessage)
    assert len(complaint) < 1_000


@given(st.binary(max_size=200))
def test_any_bytes_decode_or_are_refused(message: bytes) -> None:
    decodes_or_refuses(message)


@given(KINDS, st.dictionaries(FIELDS, JSON, max_size=5))
@example("receiver_hello", {"resume": [{"forwarder_id": "a"}]})
def test_any_fields_of_a_known_kind_decode_or_are_refused(kind: str, fields: dict[str, object]) -> None:
    try:
        message = orjson.dumps({**fields, "kind": kind})
    except TypeError:  # beyond 64 bits
        return
    decodes_or_refuses(message)


@given(st.text(max_size=30), st.dictionaries(st.text(max_size=8), JSON, max_size=3))
def test_a_kind_that_we_do_not_know_is_unknown_whatever_it_holds(
    kind: str, fields: dict[str, object]
) -> None:
    try:
        message = orjson.dumps({**fields, "kind": f"new-{kind}"})
    except TypeError:
        return
    assert decode_receiver(message) == UnknownMessage(f"new-{kind}")


@given(ENTRIES, JSON)
def test_an_ack_means_what_it_says_whatever_session_it_names(
    entries: list[AckEntry], session_id: object
) -> None:
    try:
        message = dumps({"kind": "receiver_ack", "session_id": session_id, "entries": entries, "later": 1})
    except TypeError:
        return
    decoded = decode_receiver(message)
    assert isinstance(decoded, ReceiverAck)
    assert decoded.entries == entries


@given(ENTRIES, NAMES)
def test_a_hello_means_what_it_says(entries: list[AckEntry], receiver_id: str) -> None:
    decoded = decode_receiver(
        dumps({"kind": "receiver_hello", "receiver_id": receiver_id, "resume": entries})
    )
    assert decoded == ReceiverHello(receiver_id, entries)


@pytest.mark.parametrize("hello", [b'{"kind":"receiver_hello"}', b'{"kind":"receiver_hello","resume":null}'])
def test_a_hello_needs_no_more_than_its_kind(hello: bytes) -> None:
    assert decode_receiver(hello) == ReceiverHello("", None)


ENTRY = {"forwarder_id": "f", "reader_ip": "r", "stream_epoch": 1, "last_seq": 1}


@pytest.mark.parametrize(
    "change",
    [
        {"stream_epoch": 0},
        {"stream_epoch": 2**31},
        {"stream_epoch": 1.0},
        {"last_seq": -1},
        {"last_seq": 2**53},
        {"last_seq": "1"},
        {"last_seq": None},
        {"forwarder_id": "a\0b"},
        {"reader_ip": "a\0b"},
        {"reader_ip": "x" * 256},
        {"reader_ip": 5},
    ],
)
@pytest.mark.parametrize(("kind", "field"), [("receiver_ack", "entries"), ("receiver_hello", "resume")])
def test_a_malformed_cursor_is_refused(kind: str, field: str, change: dict[str, object]) -> None:
    with pytest.raises(ProtocolError):
        decode_receiver(json.dumps({"kind": kind, field: [{**ENTRY, **change}]}).encode())


@pytest.mark.parametrize(
    "message",
    [
        b'{"kind":"receiver_subscribe"}',
        b'{"kind":"receiver_subscribe","streams":null}',
        b'{"kind":"receiver_subscribe","streams":[{"forwarder_id":"\\ud800","reader_ip":""}]}',
        b'{"kind":"receiver_subscribe","streams":['
        + b",".join([b'{"forwarder_id":"","reader_ip":""}'] * 10_001)
        + b"]}",
        b'{"kind":"receiver_ack"}',
    ],
)
def test_a_malformed_subscription_or_ack_is_refused(message: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode_receiver(message)


def test_a_subscription_names_streams() -> None:
    streams = [{"forwarder_id": "f", "reader_ip": "r"}, {"forwarder_id": "", "reader_ip": "ü"}]
    decoded = decode_receiver(orjson.dumps({"kind": "receiver_subscribe", "streams": streams}))
    assert isinstance(decoded, ReceiverSubscribe)
    assert decoded.streams == [StreamRef("f", "r"), StreamRef("", "ü")]
