"""Messages as no honest device sends them: for hypothesis, and the ones that are too large for it."""

import json
from typing import Any

from hypothesis import strategies as st

from tests.failure.wire import batch, frame, hello, read

__all__ = ["ANYTHING", "EXTREMES", "hostile_messages"]

_KINDS = st.sampled_from(
    [
        "forwarder_hello",
        "forwarder_event_batch",
        "config_get_response",
        "config_set_response",
        "restart_response",
        "reader_control_response",
        "reader_status_update",
        "reader_info_update",
        "reader_download_progress",
        "forwarder_ups_status",
        "receiver_hello",
        "forwarder_ack",
        "heartbeat",
        "tomorrows",
        "",
    ]
)
_EDGES = [0, 1, -1, 2**31 - 1, 2**31, 2**53 - 1, 2**53, 2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63), 10**400]
_NUMBERS = st.sampled_from(_EDGES) | st.floats(allow_nan=True, allow_infinity=True)
_TEXTS = st.text(max_size=12) | st.sampled_from(
    ["\0", "a\0b", "x" * 300, "🏁" * 255, "'; --", "\\u0000", "\ud800"]
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | _NUMBERS | _TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXTS, inner, max_size=4),
    max_leaves=12,
)
_READERS = st.sampled_from(["10.0.0.1:10000", "b", ""])
_SEQS = st.integers(1, 20) | st.sampled_from([2**53 - 1, 2**53 - 2])
_GOOD_READS = st.builds(
    read, _SEQS, st.text(max_size=10).filter(lambda t: max(t, default="") < "\ud800"), reader=_READERS
)
_GOOD_FRAMES = st.builds(frame, _SEQS, st.binary(max_size=10), reader=_READERS)
_BAD_READS = st.builds(
    lambda good, name, value: {**good, name: value},
    _GOOD_READS | _GOOD_FRAMES,
    st.sampled_from(
        [
            "reader_ip",
            "stream_epoch",
            "seq",
            "reader_timestamp",
            "raw_read_line",
            "raw_frame",
            "read_type",
            "x",
        ]
    ),
    ANYTHING,
)
# Right but for one field, which is just beyond what can be stored, or just not.
_EDGE_READS = (
    st.builds(
        lambda good, name, number: {**good, name: number},
        _GOOD_READS,
        st.sampled_from(["stream_epoch", "seq"]),
        st.sampled_from(_EDGES),
    )
    | st.builds(
        lambda good, name, text: {**good, name: text},
        _GOOD_READS,
        st.sampled_from(["reader_ip", "reader_timestamp", "read_type", "raw_read_line"]),
        _TEXTS,
    )
    | st.builds(
        lambda good, at, number: {**good, "raw_frame": [*good["raw_frame"][:at], number]},
        _GOOD_FRAMES,
        st.integers(0, 5),
        _NUMBERS,
    )
)
_BATCHES = st.lists(_GOOD_READS | _GOOD_FRAMES | _BAD_READS, max_size=6).map(
    lambda events: batch(*events)
) | st.builds(lambda good, edge: batch(*good, edge), st.lists(_GOOD_READS, max_size=2), _EDGE_READS)
_HELLOS = st.builds(
    lambda readers, name: hello(readers, display_name=name), st.lists(_TEXTS, max_size=3), st.none() | _TEXTS
)
_FIELDS = st.dictionaries(
    st.sampled_from(
        [
            "kind",
            "reader_ips",
            "display_name",
            "forwarder_id",
            "events",
            "session_id",
            "request_id",
            "ok",
            "success",
            "reader_ip",
            "reader_info",
            "state",
            "status",
        ]
    ),
    ANYTHING,
    max_size=4,
)
_MESSAGES: st.SearchStrategy[dict[str, Any]] = (
    _BATCHES
    | _HELLOS
    | st.builds(lambda fields: {**hello(), **fields}, _FIELDS)
    | st.builds(lambda events, fields: {**events, **fields}, _BATCHES, _FIELDS)
    | st.builds(lambda kind, fields: {"kind": kind, **fields}, _KINDS, _FIELDS)
)


def _encoded(message: Any) -> bytes:
    """JSON, with NaN and Infinity as Python writes them, and lone surrogates as escapes."""
    return json.dumps(message).encode()


def _twice(message: dict[str, Any], other: Any) -> bytes:
    """A message whose every key stands twice."""
    pairs = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in message.items()]
    again = [f"{json.dumps(key)}: {json.dumps(other)}" for key in message]
    return ("{" + ", ".join(pairs + again) + "}").encode()


_WHOLE = _MESSAGES.map(_encoded)

hostile_messages: st.SearchStrategy[bytes] = (
    _WHOLE
    | ANYTHING.map(_encoded)
    | st.builds(lambda whole, at: whole[: at % (len(whole) + 1)], _WHOLE, st.integers(0, 10_000))
    | st.builds(
        lambda whole, at, byte: whole[: at % len(whole)] + byte + whole[at % len(whole) + 1 :],
        _WHOLE,
        st.integers(0, 10_000),
        st.binary(max_size=2),
    )
    | st.builds(_twice, _MESSAGES, ANYTHING)
    | st.binary(max_size=40)
)

_EVENT = (
    '{"reader_ip":"r","stream_epoch":1,"seq":1,"reader_timestamp":"","raw_read_line":%s,"read_type":"raw"}'
)


def _with_line(line: str) -> bytes:
    return ('{"kind":"forwarder_event_batch","events":[' + _EVENT % line + "]}").encode()


def _with_frame(numbers: bytes) -> bytes:
    return _with_line('""').replace(b'"raw_read_line":""', b'"raw_frame":[%s]' % numbers)


EXTREMES: dict[str, bytes] = {
    "deep lists": b'{"kind":"forwarder_hello","reader_ips":' + b"[" * 100_000,
    "deep lists that end": b'{"kind":"tomorrows","x":' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    "deep objects": b'{"x":' * 100_000,
    "a huge kind": b'{"kind":"' + b"x" * 8_000_000 + b'"}',
    "a huge kind and no end": b'{"kind":"' + b"x" * 8_000_000 + b'", ',
    "a huge number": b'{"kind":"forwarder_hello","reader_ips":[' + b"9" * 4_000_000 + b"]}",
    "a huge unknown field": b'{"kind":"tomorrows","x":[' + b"0," * 4_000_000 + b"0]}",
    "a huge frame": _with_frame(b"0," * 4_000_000 + b"0"),
    "a frame of a huge number": _with_frame(b"9" * 4_000_000),
    "a frame of large numbers": _with_frame((b"9" * 4_000 + b",") * 1_000 + b"9"),
    "a deep frame": _with_frame(b"[" * 1_000_000),
    "a deep frame that ends": _with_frame(b"[" * 50_000 + b"]" * 50_000),
    "a frame of blanks": _with_frame(b" " * 4_000_000 + b"1"),
    "only blanks": b" " * 8_000_000,
    "a hello of too many readers": _encoded(hello([f"reader {n}" for n in range(10_001)])),
    "wrong UTF-8": _with_line('"').replace(b'"raw_read_line":"', b'"raw_read_line":"\xff\xfe'),
    "an overlong UTF-8 NUL": _with_line('"\0"').replace(b"\0", b"\xc0\x80"),
    "half a surrogate pair": _with_line('"\\ud83c"'),
    "a bare NUL": _with_line('"\0"'),
    "NaN": _with_line("NaN"),
    "trailing garbage": _encoded(batch()) + b"}",
    "a byte order mark": b"\xef\xbb\xbf" + _encoded(batch()),
    "another encoding": json.dumps(batch()).encode("utf-16"),
}
