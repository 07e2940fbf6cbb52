"""Exports: a stream's events on their way from Postgres to a client, in bounded memory, whole or visibly broken.

COPY makes the rows, of one snapshot, on a connection of the export's own; here they are gathered into blocks and sent.
Nothing is read from Postgres while the client takes nothing, and who takes nothing for long is cut off. Whatever goes
wrong once the answer has begun resets the connection: a proper end, even of the connection only, would look like the
end of the export.
"""

import asyncio
import codecs
import re
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Literal, NamedTuple
from uuid import UUID

from aiohttp import web

from api.events.types import EventFilter
from api.exports import store
from api.exports.places import Place, Places
from api.exports.types import CsvQuery, EpochCsvQuery
from api.http.context import Api
from api.http.errors import no_stream
from api.storage.plans import ALONG_THE_KEY, AT_ONCE
from api.streams.names import StreamName, stream_name
from shared.db.connections import Connection, connect
from shared.errors import RtServerError
from shared.log import get_logger

__all__ = [
    "CONNECTION",
    "CSV",
    "TEXT",
    "Client",
    "Form",
    "Outlet",
    "csv_of",
    "file_name",
    "patience",
    "reset",
    "send",
    "whole_or_reset",
]

# A write costs some 10 µs whatever its size; this is also what aiohttp sends before it waits for the client.
BLOCK_BYTES = 64 * 1024
# A client that takes no block for this long is gone, or might as well be.
CLIENT_WAITS_S = 30.0
# A filter that matches nothing for millions of events keeps the database silent.
DATABASE_WAITS_S = 120.0

CONNECTION = {
    **ALONG_THE_KEY,
    **AT_ONCE,
    # Else a backend notices that we are gone only when it sends.
    "client_connection_check_interval": "5s",
}
# A forwarder's id has up to 255 characters, and so has a file's name in most places.
_LONGEST_PART = 80
_UNSAFE_IN_FILE_NAME = re.compile(r"[^A-Za-z0-9._-]+")

log = get_logger(__name__)


class Form(NamedTuple):
    """A kind of export: its rows, COPY's format, what its lines are escaped with, and how it is labelled."""

    rows: str
    copied_as: Literal["csv", "text"]
    unescape: Callable[[bytes], bytes]
    header: bytes
    content_type: str
    suffix: str


class ClientGone(Exception):
    """Nobody takes the export any more."""


def _once(rows: bytes) -> bytes:
    """Take one layer of escapes off; all that occur are Python's, too: octal, doubled, b f n r t v."""
    return codecs.escape_decode(rows)[0] if b"\\" in rows else rows


def _twice(rows: bytes) -> bytes:
    return _once(_once(rows))


def _csv(rows: str, header: bytes) -> Form:
    return Form(rows, "csv", _once, header + b"\n", "text/csv", "csv")


_COLUMNS = b"stream_epoch,seq,reader_timestamp,raw_read_line,read_type"
_EPOCH_COLUMNS = b"stream_epoch,seq,reader_timestamp,raw_frame,read_type,chip_id"
_PEOPLE = b",bib,last_name,first_name"

TEXT = Form("text", "text", _twice, b"", "text/plain", "txt")
CSV = _csv("csv", _COLUMNS)


def csv_of(asked: CsvQuery | EpochCsvQuery) -> Form:
    """Return the CSV that is asked for: of a stream, or of an epoch with its chips; with people, with true times."""
    rows, header = ("csv", _COLUMNS) if isinstance(asked, CsvQuery) else ("epoch csv", _EPOCH_COLUMNS)
    if asked.participants == "true":
        rows, header = f"{rows} with people", header + _PEOPLE
    if asked.corrected == "true":
        rows, header = f"{rows}, corrected", header + b",corrected_at"
    return _csv(rows, header)


async def send(
    api: Api, request: web.Request, stream_id: UUID, wanted: EventFilter, *, form: Form
) -> web.StreamResponse:
    """Answer with an export. ApiError and DatabaseUnavailable are raised before the answer has begun, never after."""
    if request.method == "HEAD":
        name = await stream_name(api.pool, stream_id)
        if name is None:
            raise no_stream()
        return web.Response(headers=_headers(name, wanted, form))
    async with api.part(Places).hold(lambda: reset(request)) as place:
        connection = await connect(
            api.process.settings.database_url, name="rt-server api export", **CONNECTION
        )
        try:
            name = await stream_name(connection, stream_id)
            if name is None:
                raise no_stream()
            response = web.StreamResponse(headers=_headers(name, wanted, form))
            await response.prepare(request)
            # From here on an error can be no answer: it breaks the connection instead.
            with whole_or_reset(request):
                await _stream(Client(response, place), connection, stream_id, wanted, form)
        finally:
            connection.terminate()
    return response


async def _stream(
    client: "Client", connection: Connection, stream_id: UUID, wanted: EventFilter, form: Form
) -> None:
    async with patience() as limit:
        outlet = Outlet(client, form.unescape, limit)
        await outlet.send(form.header)
        await store.copy_events(connection, form.rows, form.copied_as, stream_id, wanted, output=outlet.take)
        await outlet.finish()


class Client(NamedTuple):
    """Who gets an export, and the place that it holds."""

    response: web.StreamResponse
    place: Place


def patience() -> asyncio.Timeout:
    """Return the time limit of an answer, which its Outlet moves on with every block."""
    return asyncio.timeout(CLIENT_WAITS_S)


class Outlet:
    """Gathers rows into blocks, sends what `formed` makes of them, and moves `limit` on with each."""

    def __init__(self, client: Client, formed: Callable[[bytes], bytes], limit: asyncio.Timeout) -> None:
        self._response, self._place = client
        self._formed = formed
        self._limit = limit
        self._clock = asyncio.get_running_loop().time
        self._rows = bytearray()

    async def take(self, rows: bytes) -> None:
        """Take whole rows, escaped."""
        self._rows += rows
        if len(self._rows) >= BLOCK_BYTES:
            await self.flush()

    async def finish(self) -> None:
        """Send the rest, and the proper end."""
        await self.flush()
        await self._taken(self._response.write_eof())

    async def send(self, block: bytes) -> None:
        """Send a block as it is."""
        await self._taken(self._response.write(block))

    async def flush(self) -> None:
        """Send the rows that are here."""
        rows, self._rows = bytes(self._rows), bytearray()
        await self.send(self._formed(rows))

    async def _taken(self, writing: Awaitable[None]) -> None:
        """Wait until the client has taken something; ClientGone when it never will."""
        # Two limits take turns: it is the client's turn while we write, and the database's while rows are made.
        self._limit.reschedule(self._clock() + CLIENT_WAITS_S)
        try:
            with self._place.client_takes():
                await writing
        except ConnectionError as error:
            raise ClientGone from error
        self._limit.reschedule(self._clock() + DATABASE_WAITS_S)


@contextmanager
def whole_or_reset(request: web.Request) -> Iterator[None]:
    """Let an answer that has begun come to its end, or reset its connection."""
    try:
        yield
    except ClientGone:
        log.info("export_abandoned", path=request.path)
        reset(request)
    except (RtServerError, TimeoutError) as error:
        log.warning("export_broken", path=request.path, error=str(error) or "nothing moved for too long")
        reset(request)
    except BaseException:
        reset(request)
        raise


def reset(request: web.Request) -> None:
    """End the connection with RST: what HTTP/1.0 clients get has no other end than the connection's."""
    if request.transport is None:
        return
    network: socket.socket = request.transport.get_extra_info("socket")
    network.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    request.transport.abort()


def file_name(*parts: str) -> str:
    """Return a name for a file, without suffix, that every system takes."""
    short = (part[:_LONGEST_PART] for part in parts)
    return _UNSAFE_IN_FILE_NAME.sub("-", "_".join(short))


def _headers(name: StreamName, wanted: EventFilter, form: Form) -> dict[str, str]:
    called = file_name(*name, *(("epoch", str(wanted.epoch)) if wanted.epoch else ()))
    return {
        "Content-Type": f"{form.content_type}; charset=utf-8",
        "Content-Disposition": f'attachment; filename="{called}.{form.suffix}"',
    }
