"""The export of everything: each stream in both forms, of one snapshot, in a ZIP archive that is sent while it is made.

Rows go through the archive block by block, and what they have become is sent at once: what is kept is a block and a
line of the archive's directory for each file. How rows come and how an answer breaks is the same as in stream.py.
"""

import stat
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from io import BytesIO
from itertools import product
from typing import IO
from uuid import UUID
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from aiohttp import web

from api.events.types import EventFilter
from api.exports import store
from api.exports import stream as export
from api.exports.places import Places
from api.exports.stream import CSV, TEXT, Client, Form, Outlet
from api.http.context import Api
from api.streams.names import StreamName, stream_names
from shared.db.connections import Connection, connect

__all__ = ["send"]


async def send(api: Api, request: web.Request) -> web.StreamResponse:
    """Answer with the archive. ApiError and DatabaseUnavailable are raised before the answer has begun, never after."""
    if request.method == "HEAD":
        return web.Response(headers=_headers(datetime.now(UTC)))
    async with api.part(Places).hold(lambda: export.reset(request)) as place:
        connection = await connect(
            api.process.settings.database_url, name="rt-server api export", **export.CONNECTION
        )
        try:
            await store.begin_snapshot(connection)
            names = await stream_names(connection)
            now = datetime.now(UTC)
            response = web.StreamResponse(headers=_headers(now))
            await response.prepare(request)
            with export.whole_or_reset(request):
                await _stream(Client(response, place), connection, names, now)
        finally:
            connection.terminate()
    return response


async def _stream(
    client: Client,
    connection: Connection,
    names: Mapping[UUID, StreamName],
    now: datetime,
) -> None:
    sink = _Sink()
    async with export.patience() as limit:
        with ZipFile(sink, "w") as archive:
            for (stream_id, name), form in product(names.items(), (TEXT, CSV)):
                entry = _entry(f"{export.file_name(*name, str(stream_id))}.{form.suffix}", now)
                # Its size is not known yet: it might need the large form.
                with archive.open(entry, "w", force_zip64=True) as file:
                    file.write(form.header)
                    outlet = Outlet(client, _through(file, sink, form), limit)
                    await _copy(connection, stream_id, form, outlet)
        await Outlet(client, lambda _: sink.taken(), limit).finish()


async def _copy(connection: Connection, stream_id: UUID, form: Form, outlet: Outlet) -> None:
    await store.copy_events(
        connection, form.rows, form.copied_as, stream_id, EventFilter(), output=outlet.take
    )
    await outlet.flush()


class _Sink(BytesIO):
    """What the archive has written and nobody has taken yet. It cannot seek, so that the archive never looks back."""

    def taken(self) -> bytes:
        """Take what is there."""
        block = self.getvalue()
        super().seek(0)
        self.truncate()
        return block

    def seekable(self) -> bool:
        return False

    def tell(self) -> int:
        raise OSError("what was taken is gone")


def _through(file: IO[bytes], sink: _Sink, form: Form) -> Callable[[bytes], bytes]:
    """Return what makes rows into what the archive has become by them."""

    def formed(rows: bytes) -> bytes:
        file.write(form.unescape(rows))
        return sink.taken()

    return formed


def _entry(name: str, now: datetime) -> ZipInfo:
    entry = ZipInfo(name, date_time=(now.year, now.month, now.day, now.hour, now.minute, now.second))
    entry.compress_type = ZIP_DEFLATED
    entry.external_attr = (stat.S_IFREG | 0o644) << 16
    return entry


def _headers(now: datetime) -> dict[str, str]:
    return {
        "Content-Type": "application/zip",
        "Content-Disposition": f'attachment; filename="rt-server_{now:%Y-%m-%dT%H-%M-%SZ}.zip"',
    }
