"""A message that is nested deeper than it can be decoded costs itself: a request is answered, news are ignored."""

import pytest

from shared.protocol.decoding import LARGE_BYTES, decode_forwarder, decode_receiver, decode_receiver_v12
from shared.protocol.devices import UnusableMessage
from shared.protocol.nested import beginning_of
from shared.protocol.requests import read_request
from shared.protocol.v1 import Malformed, UnknownMessage

DEEP = b"[" * 3_000 + b"]" * 3_000
LARGE = b'"' + b"x" * LARGE_BYTES + b'",'
ASKING = b'{"kind":"receiver_proxy_config_set_request",%b"payload":%b}'


def test_a_request_is_known_by_its_id() -> None:
    message = ASKING % ('"request_id":"sieben-ü",'.encode(), DEEP)
    assert decode_receiver_v12(message) == UnknownMessage("receiver_proxy_config_set_request")
    asked = read_request(message)
    assert asked is not None
    assert (asked.kind.name, asked.request_id) == ("config_set", "sieben-ü")


@pytest.mark.parametrize(
    "fields",
    [
        b"",
        b'"request_id":7,',
        b'"request_id":"\\u0041",',
        b'"x":1,"request_id":"7",',
        b'"request_id":"\xff",',
    ],
)
def test_a_request_without_an_id_in_its_place_cannot_be_answered(fields: bytes) -> None:
    assert read_request(ASKING % (fields, DEEP)) is None


@pytest.mark.parametrize("before", [b"", b'"x":[' + LARGE + b"0],"], ids=["small", "large"])
@pytest.mark.parametrize("kind", ["reader_status_update", "reader_info_update", "forwarder_ups_status"])
def test_news_of_a_reader_are_ignored(kind: str, before: bytes) -> None:
    message = b'{ "kind" : "%b" ,%b"reader_info":%b}' % (kind.encode(), before, DEEP)
    assert decode_forwarder(message) == UnusableMessage(kind)


@pytest.mark.parametrize("decode", [decode_forwarder, decode_receiver, decode_receiver_v12])
def test_a_kind_that_we_do_not_know_is_ignored(decode: object) -> None:
    assert callable(decode)
    assert decode(b'{"kind":"of tomorrow","x":%b}' % DEEP) == UnknownMessage("of tomorrow")


def test_hellos_acks_and_batches_are_still_a_protocol_error() -> None:
    for kind, decode in (
        ("forwarder_hello", decode_forwarder),
        ("forwarder_event_batch", decode_forwarder),
        ("receiver_hello_v12", decode_receiver_v12),
        ("receiver_ack", decode_receiver_v12),
    ):
        with pytest.raises(Malformed):
            decode(b'{"kind":"%b","events":%b}' % (kind.encode(), DEEP))
    with pytest.raises(Malformed):  # its kind does not stand first
        decode_receiver_v12(b'{"x":%b,"kind":"of tomorrow"}' % DEEP)


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"[",
        b'{"kind":7,',
        b'{"kind":"a"}',
        b'{"kind":"\\u0061",',
        b'{"kind":"%b",' % (b"x" * 256),
        b'{"kind":"\xff",',
    ],
)
def test_what_begins_otherwise_is_left_alone(message: bytes) -> None:
    assert beginning_of(message) is None
