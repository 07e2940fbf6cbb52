"""The messages that devices send, as plain dicts, and a forwarder's answers to requests.

Written from protocol.md, section 3, and not from the server's types. Integers are integers, an optional field that has
no value is left out, and reads go out verbatim.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from deploy.simulation.devices.journal import Event

__all__ = [
    "REQUESTS",
    "Message",
    "StreamEpoch",
    "answer",
    "event_batch",
    "forwarder_hello",
    "framed_batch",
    "receiver_ack",
    "receiver_hello",
    "receiver_hello_v12",
    "receiver_subscribe",
]

Message = dict[str, Any]

# (forwarder_id, reader_ip, stream_epoch): within it seq counts.
StreamEpoch = tuple[str, str, int]

REQUESTS = frozenset({"config_get_request", "config_set_request", "restart_request"})


def forwarder_hello(forwarder_id: str, readers: Sequence[str], display_name: str | None) -> Message:
    """Return the hello; a forwarder without a name leaves the field out."""
    hello = {"kind": "forwarder_hello", "forwarder_id": forwarder_id, "reader_ips": readers}
    return hello if display_name is None else {**hello, "display_name": display_name}


def event_batch(session_id: str, batch_id: str, *, forwarder_id: str, events: Iterable[Event]) -> Message:
    """Return the batch of `events`, in their order."""
    return {
        "kind": "forwarder_event_batch",
        "session_id": session_id,
        "batch_id": batch_id,
        "events": [
            {
                "forwarder_id": forwarder_id,
                "reader_ip": event.reader_ip,
                "stream_epoch": event.stream_epoch,
                "seq": event.seq,
                "reader_timestamp": event.reader_timestamp,
                "raw_read_line": event.raw_read_line,
                "read_type": event.read_type,
            }
            for event in events
        ],
    }


def framed_batch(
    session_id: str, batch_id: str, *, forwarder_id: str, events: Iterable[Event], line_end: bytes
) -> Message:
    """Return the batch as forwarders of the second generation send it: each line as its bytes, its end included."""
    batch = event_batch(session_id, batch_id, forwarder_id=forwarder_id, events=events)
    for event in batch["events"]:
        event["raw_frame"] = list(event.pop("raw_read_line").encode() + line_end)
    return batch


def answer(request: Message, config: dict[str, Any]) -> Message:
    """Return a forwarder's response to one of REQUESTS; setting a section changes `config`."""
    kind = request["kind"].replace("_request", "_response")
    response = {"kind": kind, "request_id": request["request_id"], "ok": True, "error": None}
    if kind == "config_get_response":
        return {**response, "config": config, "restart_needed": False}
    if kind == "restart_response":
        return response
    section = request["section"]
    if section not in config:
        refusal = {"ok": False, "error": f"no section {section!r}", "status_code": 404}
        return {**response, **refusal, "restart_needed": False}
    config[section] = request["payload"]
    return {**response, "restart_needed": True, "status_code": 200}


def receiver_hello(receiver_id: str, resume: dict[StreamEpoch, int]) -> Message:
    """Return the hello; without anything to resume from the field is left out."""
    hello = {"kind": "receiver_hello", "receiver_id": receiver_id}
    return {**hello, "resume": _cursors(resume)} if resume else hello


def receiver_hello_v12(receiver_id: str, mode: Message, resume: dict[StreamEpoch, int]) -> Message:
    """Return the hello of the second generation, which says what it wants, and where it stands in all it ever had."""
    return {
        "kind": "receiver_hello_v12",
        "receiver_id": receiver_id,
        "mode": mode,
        "resume": _cursors(resume),
    }


def receiver_subscribe(session_id: str, streams: Iterable[tuple[str, str]]) -> Message:
    """Return the subscription to `streams`, (forwarder_id, reader_ip) each."""
    named = [{"forwarder_id": forwarder_id, "reader_ip": reader_ip} for forwarder_id, reader_ip in streams]
    return {"kind": "receiver_subscribe", "session_id": session_id, "streams": named}


def receiver_ack(session_id: str, last_seqs: dict[StreamEpoch, int]) -> Message:
    """Return the ack of everything up to the `last_seqs`."""
    return {"kind": "receiver_ack", "session_id": session_id, "entries": _cursors(last_seqs)}


def _cursors(last_seqs: dict[StreamEpoch, int]) -> list[Message]:
    return [
        {"forwarder_id": forwarder_id, "reader_ip": reader_ip, "stream_epoch": epoch, "last_seq": last_seq}
        for (forwarder_id, reader_ip, epoch), last_seq in last_seqs.items()
    ]
