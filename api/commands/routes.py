"""Commands to forwarders. What is in a configuration may be secret: it is in no log."""

import json
from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from typing import TypeVar

import msgspec
import orjson

from api.commands import store
from api.commands.ask import CommandError, Commands, noted
from api.commands.types import (
    ConfigAnswer,
    ConfigQuery,
    ConfigWritten,
    Controlled,
    ControlPath,
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
from shared.protocol.commands import (
    CONFIG_GET,
    CONFIG_SET,
    EPOCH_RESET,
    RESTART,
    ConfigSet,
    Kind,
    Nothing,
    Request,
)
from shared.protocol.commands import EpochReset as ResetRequest
from shared.protocol.memory import is_memory
from shared.protocol.v1 import HIGHEST_EPOCH

__all__ = ["control_forwarder", "read_config", "reset_epoch", "restart_forwarder", "write_config"]

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
    request = ResetRequest(stream.stream_id, stream.reader_ip, body.expected_epoch)
    try:
        return await _command_epoch(api, stream, request)
    except CommandError as error:
        if error.code == "CONFLICT":
            await _as_expected(api, path, body)  # somebody else was faster: says so
        raise


async def _command_epoch(api: Api, stream: store.Stream, request: ResetRequest) -> NewEpoch:
    async with noted(api, EPOCH_RESET, stream=stream.title, stream_id=stream.stream_id) as facts:
        reply = await api.part(Commands).ask(stream.forwarder_id, EPOCH_RESET, request)
        if reply.ending == "absent":
            raise CommandError("CONFLICT", "forwarder not connected", ending="not carried out")
        answer = msgspec.json.decode(reply.answer, type=NewEpoch)
        facts["stream_epoch"] = answer.new_stream_epoch
    return answer


async def _as_expected(api: Api, path: StreamPath, body: EpochReset) -> store.Stream:
    """Return the stream, in the epoch that is expected; ApiError when it is in another."""
    stream = await store.find_stream(api.pool, path.stream_id)
    if stream is None:
        raise no_stream()
    if is_memory(stream.reader_ip):
        raise ApiError(
            "CONFLICT", "no device numbers what a reader's memory had: reset the reader's own stream"
        )
    if body.expected_epoch not in (None, stream.stream_epoch):
        raise ApiError(
            "CONFLICT",
            f"the stream is in epoch {stream.stream_epoch}, not in {body.expected_epoch}: somebody else has reset it",
            details={"stream_epoch": stream.stream_epoch},
        )
    return stream


async def read_config(api: Api, *, path: ForwarderPath) -> ConfigAnswer:
    """Show a forwarder's configuration."""
    answer = await _relay(api, path.forwarder_id, CONFIG_GET, Nothing(), ConfigAnswer)
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
    request = ConfigSet(path.section, body)
    return await _relay(
        api, path.forwarder_id, CONFIG_SET, request, ConfigWritten, about={"section": path.section}
    )


async def restart_forwarder(api: Api, *, path: ForwarderPath, body: RestartRequest) -> Restarted:
    """Restart a forwarder. With an expected time only in the session that began then: of two who ask at once, the
    second does not restart it again.
    """
    since = body.expected_connected_at
    try:
        return await _relay(api, path.forwarder_id, RESTART, Nothing(), Restarted, session_since=since)
    except CommandError as error:
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


async def control_forwarder(api: Api, *, path: ControlPath) -> Controlled:
    """Have a forwarder start its program anew, or its machine, or switch that off: then somebody must go there to
    switch it on.
    """
    about = {"action": path.action}
    if path.action == "restart-service":
        said: Restarted | ConfigWritten = await _relay(
            api, path.forwarder_id, RESTART, Nothing(), Restarted, about=about
        )
    else:
        request = ConfigSet("control", {"action": path.action.replace("-", "_")})
        said = await _relay(api, path.forwarder_id, CONFIG_SET, request, ConfigWritten, about=about)
    return Controlled(ok=said.ok, error=said.error)


async def _relay(
    api: Api,
    forwarder_id: str,
    kind: Kind,
    request: Request,
    wanted: type[A],
    *,
    session_since: datetime | None = None,
    about: Mapping[str, object] = {},
) -> A:
    """Ask a forwarder and return its answer; CommandError when it is not there, says no or nothing. about: what it is
    about, for the operators' log.
    """
    async with noted(api, kind, forwarder_id=forwarder_id, **about):
        reply = await api.part(Commands).ask(forwarder_id, kind, request, session_since=session_since)
        if reply.ending == "absent":
            raise CommandError("NOT_FOUND", "forwarder not connected", ending="not carried out")
        answer = _read(reply.answer, wanted)
        if not answer.ok:
            raise CommandError(
                "FORWARDER_ERROR",
                "the forwarder refused; details hold its answer",
                ending="refused",
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
    # It has answered, so it may have done what was asked.
    raise CommandError("FORWARDER_ERROR", "the forwarder's answer cannot be read", ending="nobody knows")


def _fingerprint(section: object) -> str:
    """Return what tells one text of a section from another, whatever the order of its names."""
    return sha256(json.dumps(section, sort_keys=True).encode()).hexdigest()


def _is_deeper(value: object, levels: int) -> bool:
    if isinstance(value, dict):
        return levels == 0 or any(_is_deeper(each, levels - 1) for each in value.values())
    if isinstance(value, list):
        return levels == 0 or any(_is_deeper(each, levels - 1) for each in value)
    return False
