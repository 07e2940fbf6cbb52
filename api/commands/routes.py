"""Commands to forwarders. What is in a configuration may be secret: it is in no log."""

import json
from datetime import datetime
from hashlib import sha256
from typing import TypeVar

import msgspec
import orjson

from api.commands import store
from api.commands.ask import Commands
from api.commands.types import (
    ConfigAnswer,
    ConfigQuery,
    ConfigWritten,
    EpochReset,
    ForwarderPath,
    NewEpoch,
    Payload,
    Restarted,
    RestartRequest,
    SectionPath,
)
from api.http.context import Api
from api.http.errors import ApiError, no_stream
from api.streams.types import StreamPath
from shared.protocol.v1 import HIGHEST_EPOCH

__all__ = ["read_config", "reset_epoch", "restart_forwarder", "write_config"]

# Devices read JSON of 128 levels, of which some are around it.
DEEPEST = 100

A = TypeVar("A", ConfigAnswer, ConfigWritten, Restarted)


async def reset_epoch(api: Api, *, path: StreamPath, body: EpochReset) -> NewEpoch:
    """Command a stream's reader to a fresh epoch. With an expected epoch only out of that one: of two who ask at once,
    the second is told which epoch the stream has by then.
    """
    stream = await _as_expected(api, path, body)
    if stream.stream_epoch >= HIGHEST_EPOCH:
        raise ApiError("CONFLICT", "the stream has the highest epoch that there is")
    request: Payload = {"stream_id": str(stream.stream_id), "reader_ip": stream.reader_ip}
    if body.expected_epoch is not None:
        request["expected_epoch"] = body.expected_epoch
    reply = await api.part(Commands).ask(stream.forwarder_id, "epoch_reset", request)
    if reply.ending == "absent":
        await _as_expected(api, path, body)
        raise ApiError("CONFLICT", "forwarder not connected")
    answer = msgspec.json.decode(reply.answer, type=NewEpoch)
    api.note(
        "epoch_reset_asked",
        stream=stream.title,
        stream_id=stream.stream_id,
        stream_epoch=answer.new_stream_epoch,
    )
    return answer


async def _as_expected(api: Api, path: StreamPath, body: EpochReset) -> store.Stream:
    """Return the stream, in the epoch that is expected; ApiError when it is in another."""
    stream = await store.find_stream(api.pool, path.stream_id)
    if stream is None:
        raise no_stream()
    if body.expected_epoch not in (None, stream.stream_epoch):
        raise ApiError(
            "CONFLICT",
            f"the stream is in epoch {stream.stream_epoch}, not in {body.expected_epoch}: somebody else has reset it",
            details={"stream_epoch": stream.stream_epoch},
        )
    return stream


async def read_config(api: Api, *, path: ForwarderPath) -> ConfigAnswer:
    """Show a forwarder's configuration."""
    answer = await _relay(api, path.forwarder_id, "config_get", {}, ConfigAnswer)
    sections = answer.config if isinstance(answer.config, dict) else {}
    prints = {str(name): _fingerprint(section) for name, section in sections.items()}
    return msgspec.structs.replace(answer, fingerprints=prints)


async def write_config(api: Api, *, path: SectionPath, query: ConfigQuery, body: Payload) -> ConfigWritten:
    """Change a section of a forwarder's configuration. With an expected fingerprint only as it was read: of two who
    change it at once, the second is told.
    """
    if _is_deeper(body, DEEPEST):
        raise ApiError("BAD_REQUEST", f"body: it is nested deeper than {DEEPEST} levels")
    if query.expected is not None:
        found = await read_config(api, path=ForwarderPath(forwarder_id=path.forwarder_id))
        # A section that is not there is the device's to refuse.
        if found.fingerprints.get(path.section, query.expected) != query.expected:
            raise ApiError(
                "CONFLICT", "somebody else has changed this section meanwhile; read it again, then change it"
            )
    request = {"section": path.section, "payload": body}
    answer = await _relay(api, path.forwarder_id, "config_set", request, ConfigWritten)
    api.note("config_written", forwarder_id=path.forwarder_id, section=path.section)
    return answer


async def restart_forwarder(api: Api, *, path: ForwarderPath, body: RestartRequest) -> Restarted:
    """Restart a forwarder. With an expected time only in the session that began then: of two who ask at once, the
    second does not restart it again.
    """
    since = body.expected_connected_at
    try:
        answer = await _relay(api, path.forwarder_id, "restart", {}, Restarted, session_since=since)
    except ApiError as error:
        if since is None or error.code != "NOT_FOUND":
            raise
        now = await store.connected_at(api.pool, path.forwarder_id)
        if now is None or now == since:
            raise
        raise ApiError(
            "CONFLICT",
            "it has connected anew since: somebody else may have restarted it",
            details={"connected_at": now.isoformat()},
        ) from error
    api.note("forwarder_restarted", forwarder_id=path.forwarder_id)
    return answer


async def _relay(
    api: Api,
    forwarder_id: str,
    kind: store.Kind,
    request: Payload,
    wanted: type[A],
    *,
    session_since: datetime | None = None,
) -> A:
    """Ask a forwarder and return its answer; ApiError when it is not there, says no or nothing."""
    reply = await api.part(Commands).ask(forwarder_id, kind, request, session_since=session_since)
    if reply.ending == "absent":
        raise ApiError("NOT_FOUND", "forwarder not connected")
    answer = _read(reply.answer, wanted)
    if not answer.ok:
        raise ApiError(
            "FORWARDER_ERROR",
            "the forwarder refused; details hold its answer",
            details=msgspec.structs.asdict(answer),
        )
    return answer


def _read(text: bytes, wanted: type[A]) -> A:
    """Return a device's answer, of which any part may be anything."""
    try:
        loaded = orjson.loads(text)
        if not _is_deeper(loaded, DEEPEST):
            return msgspec.convert(loaded, wanted)
    except (orjson.JSONDecodeError, msgspec.ValidationError):
        pass
    raise ApiError("FORWARDER_ERROR", "the forwarder's answer cannot be read")


def _fingerprint(section: object) -> str:
    """Return what tells one text of a section from another, whatever the order of its names."""
    return sha256(json.dumps(section, sort_keys=True).encode()).hexdigest()


def _is_deeper(value: object, levels: int) -> bool:
    if isinstance(value, dict):
        return levels == 0 or any(_is_deeper(each, levels - 1) for each in value.values())
    if isinstance(value, list):
        return levels == 0 or any(_is_deeper(each, levels - 1) for each in value)
    return False
