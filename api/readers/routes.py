"""Readers behind forwarders: how they stand, and what operators have their forwarders do with them.

A forwarder does one thing at a time, and uploads nothing meanwhile. So a reader is asked only when a person asks: what
it tells by itself, every ten seconds, is in the database.
"""

from contextlib import AbstractAsyncContextManager, nullcontext

import msgspec

from api.commands.ask import CommandError, Commands, Reply, noted
from api.http.context import Api
from api.readers import store
from api.readers.addresses import address
from api.readers.types import (
    Accepted,
    Enabled,
    ReaderAnswer,
    ReaderInfo,
    ReaderPath,
    ReaderStates,
    StatesQuery,
    WantedMode,
)
from shared.protocol.commands import (
    READER_CONTROL,
    Action,
    ClearRecords,
    GetInfo,
    ReaderControl,
    Reconnect,
    Refresh,
    SetReadMode,
    SetRecording,
    SetTto,
    StartDownload,
    StopDownload,
    SyncClock,
)

__all__ = [
    "clear_records",
    "control_reader",
    "list_reader_states",
    "read_info",
    "reconnect_reader",
    "refresh_reader",
    "set_read_mode",
    "set_recording",
    "set_tto",
    "start_download",
    "stop_download",
    "sync_clock",
]

# What only asks: nobody needs to know who did.
_LOOKS = (GetInfo, Refresh)


async def list_reader_states(api: Api, *, query: StatesQuery) -> ReaderStates:
    """List the readers of which forwarders have told, or one of them, and how they stand."""
    return ReaderStates(reader_states=await store.list_states(api.pool, query.forwarder_id))


async def read_info(api: Api, *, path: ReaderPath) -> ReaderAnswer:
    """Ask a reader what it is. Of one that is mute, the last that is known of it."""
    return await control_reader(api, path, GetInfo())


async def refresh_reader(api: Api, *, path: ReaderPath) -> ReaderAnswer:
    """Ask a reader what it is, once more."""
    return await control_reader(api, path, Refresh())


async def sync_clock(api: Api, *, path: ReaderPath) -> ReaderAnswer:
    """Set a reader's clock by its forwarder's. It is answered before that is done: an info tells the new clock within
    seconds, and one without a clock that it has failed.
    """
    return await control_reader(api, path, SyncClock())


async def set_read_mode(api: Api, *, path: ReaderPath, body: WantedMode) -> ReaderAnswer:
    """Set how a reader reads."""
    return await control_reader(api, path, SetReadMode(body.mode, body.timeout))


async def set_tto(api: Api, *, path: ReaderPath, body: Enabled) -> ReaderAnswer:
    """Have a reader report tags that have left, or not."""
    return await control_reader(api, path, SetTto(body.enabled))


async def set_recording(api: Api, *, path: ReaderPath, body: Enabled) -> ReaderAnswer:
    """Have a reader record in its own memory, or not."""
    return await control_reader(api, path, SetRecording(body.enabled))


async def clear_records(api: Api, *, path: ReaderPath) -> Accepted:
    """Empty a reader's memory. It takes some 11 s, leaves recording off and the read mode raw, and an info tells when
    it is done: no stored reads.
    """
    return Accepted(ok=(await control_reader(api, path, ClearRecords())).ok)


async def start_download(api: Api, *, path: ReaderPath) -> Accepted:
    """Have a reader's memory read out. Its reads come as ordinary ones, under new numbers."""
    return Accepted(ok=(await control_reader(api, path, StartDownload())).ok)


async def stop_download(api: Api, *, path: ReaderPath) -> ReaderAnswer:
    """End that."""
    return await control_reader(api, path, StopDownload())


async def reconnect_reader(api: Api, *, path: ReaderPath) -> ReaderAnswer:
    """Have a forwarder connect to its reader anew. Reads of that moment may be lost."""
    return await control_reader(api, path, Reconnect())


class _Said(msgspec.Struct):
    """A device's answer, as its gateway has checked it."""

    success: bool
    error: str | None = None
    reader_info: ReaderInfo | None = None


async def control_reader(api: Api, path: ReaderPath, action: Action) -> ReaderAnswer:
    """Have a forwarder do something with its reader and return what it says of it. What takes long is begun where the
    forwarder does not say no in a moment; then nothing is known of the reader.
    """
    request = ReaderControl(address(path.reader_ip), action)
    async with _noted(api, path, action):
        said = _read(await api.part(Commands).ask(path.forwarder_id, READER_CONTROL, request))
        if said is None:
            if request.silent_after_s is None:
                raise _unreadable()
            said = _Said(success=True)
        if not said.success:
            raise _refused(said)
    return ReaderAnswer(ok=True, error=said.error, reader_info=said.reader_info)


def _noted(api: Api, path: ReaderPath, action: Action) -> AbstractAsyncContextManager[object]:
    """Have the operators' log say who asks for what (`set_read_mode`, fsls, 9), unless a reader is only looked at."""
    if isinstance(action, _LOOKS):
        return nullcontext()
    fields = msgspec.to_builtins(action)
    about = {
        "forwarder_id": path.forwarder_id,
        "reader_ip": path.reader_ip,
        "action": fields.pop("type"),
        **fields,
    }
    return noted(api, READER_CONTROL, **about)


def _refused(said: _Said) -> CommandError:
    return CommandError(
        "FORWARDER_ERROR",
        f"the forwarder refused: {said.error or 'it does not say why'}",
        ending="refused",
        details={"ok": False, "error": said.error, "reader_info": msgspec.to_builtins(said.reader_info)},
    )


def _read(reply: Reply) -> _Said | None:
    if reply.ending == "absent":
        raise CommandError("NOT_FOUND", "forwarder not connected", ending="not carried out")
    try:
        return msgspec.json.decode(reply.answer, type=_Said | None)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise _unreadable() from error


def _unreadable() -> CommandError:
    # It has answered, so it may have done what was asked.
    return CommandError("FORWARDER_ERROR", "the forwarder's answer cannot be read", ending="nobody knows")
