"""Half a surrogate in a text costs the message that it stands in, and no session."""

import orjson
import pytest

from shared.protocol.decoding import decode_forwarder, decode_receiver, decode_receiver_v12
from shared.protocol.devices import UnusableMessage
from shared.protocol.requests import read_request
from shared.protocol.v1 import Malformed, UnknownMessage

HALVES = [rb"\ud800", rb"\uDFFF", rb"\\\ud83d", rb"\ud83d\ud83d\ude00", rb"\ude00\ud83d"]
WHOLE = [rb"\ud83d\ude00", rb"\\ud800", rb"\\\ud83d\ude00"]


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize(
    "message",
    [
        b'{"kind":"reader_status_update","reader_ip":"%b","connected":true}',
        b'{"banner":"%b","kind":"reader_info_update","reader_ip":"r","state":"connected"}',
        b'{"kind":"reader_info_update","reader_ip":"r","state":"connected","reader_info":{"banner":"%b"}}',
        b'{"kind":"reader_download_progress","error":"%b"}',
        b'{"kind":"forwarder_ups_status","forwarder_id":"%b","available":false}',
        b'{"kind":"reader_control_response","request_id":"%b","reader_ip":"r","success":true}',
    ],
)
def test_news_of_a_reader_with_one_is_ignored(message: bytes, half: bytes) -> None:
    assert isinstance(decode_forwarder(message % half), UnusableMessage)


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize("decode", [decode_forwarder, decode_receiver, decode_receiver_v12])
def test_a_kind_that_we_do_not_know_is_ignored_whatever_its_texts(decode: object, half: bytes) -> None:
    assert callable(decode)
    assert decode(b'{"x":"%b","kind":"of tomorrow"}' % half) == UnknownMessage("of tomorrow")


@pytest.mark.parametrize("half", HALVES)
def test_a_request_with_one_can_be_told_so_where_its_id_has_none(half: bytes) -> None:
    request = b'{"name":"%b","kind":"receiver_proxy_race_create_request","request_id":"%b"}'
    asked = read_request(request % (half, b"q"))
    assert asked is not None
    assert (asked.kind.name, asked.request_id) == ("race_create", "q")
    assert isinstance(decode_receiver_v12(request % (half, b"q")), UnknownMessage)
    assert read_request(request % (b"", half)) is None


@pytest.mark.parametrize("half", HALVES)
def test_a_read_with_one_is_still_a_protocol_error(half: bytes) -> None:
    with pytest.raises(Malformed, match="half a surrogate"):
        decode_forwarder(
            b'{"kind":"forwarder_event_batch","session_id":"","batch_id":"%b","events":[]}' % half
        )


@pytest.mark.parametrize("text", WHOLE)
def test_what_is_no_half_is_kept(text: bytes) -> None:
    request = b'{"kind":"receiver_proxy_race_create_request","name":"%b","request_id":"%b"}'
    asked = read_request(request % (rb"\ud800", text))
    assert asked is not None
    assert asked.request_id == orjson.loads(b'"%b"' % text)
