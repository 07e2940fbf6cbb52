"""How readers and batteries are, as receivers are told it (deploy/docs/protocol.md, section 12.8). Pure."""

from typing import Any

import orjson

from fanout.sender import Saying
from fanout.store.reported import Reader, Reported
from shared.protocol.v1 import StreamRef

__all__ = ["say_reported"]

# Behind the numbers, of all streams that are told of together (deploy/docs/protocol.md, section 12.2).
READER_RANK, UPS_RANK = 1, 2


def say_reported(before: Reported | None, now: Reported) -> list[Saying]:
    """Say what is another than before. Who has been told nothing yet gets what is known: whether a reader is connected
    says its state, so that alone has not changed.
    """
    said: list[Saying] = []
    if before is not None and now.connected != before.connected:
        said.append(_about_reader(now, "reader_status_changed", connected=now.connected))
    if now.reader is not None:
        said += _of_reader(before.reader if before else None, now.reader, now)
    if now.ups is not None and (before is None or now.ups != before.ups):
        said.append(
            Saying(
                ("ups", now.forwarder_id),
                _encode(
                    "forwarder_ups_status",
                    forwarder_id=now.forwarder_id,
                    available=now.ups.available,
                    status=_json(now.ups.status),
                ),
                rank=UPS_RANK,
            )
        )
    return said


def _of_reader(before: Reader | None, reader: Reader, now: Reported) -> list[Saying]:
    said: list[Saying] = []
    if before is None or (reader.state, reader.info) != (before.state, before.info):
        info = {"reader_info": _json(reader.info)} if reader.info is not None else {}
        said.append(_about_reader(now, "receiver_reader_info_update", state=reader.state, **info))
    if reader.download is not None and (before is None or reader.download != before.download):
        told = orjson.loads(reader.download)
        said.append(_about_reader(now, "receiver_reader_download_progress", **told))
    return said


def _about_reader(now: Reported, kind: str, **fields: Any) -> Saying:
    message = _encode(kind, stream_id=str(now.stream_id), reader_ip=now.reader_ip, **fields)
    stream = StreamRef(now.forwarder_id, now.reader_ip)
    return Saying((kind, now.stream_id), message, rank=READER_RANK, stream=stream)


def _encode(kind: str, **fields: Any) -> bytes:
    return orjson.dumps({"kind": kind, **fields})


def _json(text: str | None) -> orjson.Fragment | None:
    return None if text is None else orjson.Fragment(text)
