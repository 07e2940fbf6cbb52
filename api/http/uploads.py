"""The file of a request that is a form: the first field, whatever its name, as bytes with a bound.

It is read when the handler asks for it, so that what is wrong otherwise is said before anything large has come. A
client that sends nothing for a while is not waited for.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import TypeVar

from aiohttp import BodyPartReader, MultipartReader, web
from aiohttp.http_exceptions import HttpProcessingError

from api.http.errors import ApiError

__all__ = ["Upload"]

# A slow link may take minutes for a file, but is never silent for so long.
CHUNK_WITHIN_S = 10.0
ALL_WITHIN_S = 300.0
CHUNK_BYTES = 64 * 1024

T = TypeVar("T")


class Upload:
    """What a client uploads."""

    def __init__(self, request: web.Request) -> None:
        self._request = request

    def must_be_form(self) -> None:
        """Refuse what is no form, before anything is read."""
        if self._request.content_type != "multipart/form-data":
            raise ApiError("UNSUPPORTED_MEDIA_TYPE", "send the file as a field of multipart/form-data")

    async def first_field(self, *, at_most: int) -> bytes:
        """Return what the first field holds; ApiError where there is none, or where it holds more than `at_most`."""
        self.must_be_form()
        content = bytearray()
        try:
            async with _in_time(ALL_WITHIN_S):
                field = await self._field()
                while chunk := await _soon(field.read_chunk(CHUNK_BYTES)):
                    content += chunk
                    if len(content) > at_most:
                        raise ApiError("PAYLOAD_TOO_LARGE", f"the file is larger than {at_most >> 20} MiB")
        # Its reader asserts where a form ends before its time.
        except (ValueError, AssertionError, HttpProcessingError, web.RequestPayloadError) as error:
            raise ApiError("BAD_REQUEST", "body: it is no form that can be read") from error
        return bytes(content)

    async def _field(self) -> BodyPartReader:
        parts = MultipartReader(self._request.headers, self._request.content)
        field = await _soon(parts.next())
        if not isinstance(field, BodyPartReader):
            raise ApiError("BAD_REQUEST", "body: the form has no field with a file")
        return field


async def _soon(reading: Awaitable[T]) -> T:
    async with _in_time(CHUNK_WITHIN_S):
        return await reading


@asynccontextmanager
async def _in_time(seconds: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise ApiError("BAD_REQUEST", "body: it did not come in time") from error
