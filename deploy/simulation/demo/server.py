"""The server as an operator sees it: what the demo asks of it over HTTP, and nothing else of it.

Every failure to get an answer is a ServerError whose text is for people.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

import aiohttp
import orjson

from deploy.local.addresses import is_base_url

__all__ = ["Server", "ServerError", "Stream", "open_server", "refusal"]

# (forwarder_id, reader_ip)
Stream = tuple[str, str]

_TIMEOUT = aiohttp.ClientTimeout(total=10)
# Digests are made for some seconds.
_CERTIFICATE_TIMEOUT = aiohttp.ClientTimeout(total=45)
# An export takes as long as it is long, but it never stands still.
_EXPORT_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=30)


class ServerError(Exception):
    """The server did not answer, or not with what was asked for."""


class Server:
    """The operators' API at one base URL; made by `open_server`."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self._http = http
        self._url = url.rstrip("/")

    async def mint_token(self, device_type: str, device_id: str) -> str:
        """Return a new token for the device."""
        wanted = {"device_type": device_type, "device_id": device_id}
        async with self._ask("POST", "/api/v1/admin/tokens", json=wanted) as response:
            return str((await response.json())["token"])

    async def device_ids(self) -> set[str]:
        """Return the devices that hold a token which is not revoked."""
        async with self._ask("GET", "/api/v1/admin/tokens") as response:
            tokens = (await response.json())["tokens"]
        return {token["device_id"] for token in tokens if token["revoked_at"] is None}

    async def streams(self) -> dict[Stream, str]:
        """Return the stream_id of every stream."""
        async with self._ask("GET", "/api/v1/streams") as response:
            streams = (await response.json())["streams"]
        return {(stream["forwarder_id"], stream["reader_ip"]): stream["stream_id"] for stream in streams}

    async def metrics(self, stream_id: str) -> dict[str, Any]:
        """Return the stream's counts: raw_count, dedup_count, retransmit_count, conflict_count and more."""
        async with self._ask("GET", f"/api/v1/streams/{stream_id}/metrics") as response:
            return dict(await response.json())

    async def certificate(self, stream_ids: Sequence[str]) -> dict[str, Any]:
        """Return the certificate of all that is stored of streams."""
        path = f"/api/v1/certificate?stream_id={','.join(stream_ids)}"
        async with self._ask("GET", path, timeout=_CERTIFICATE_TIMEOUT) as response:
            return dict(await response.json())

    async def certificate_keys(self) -> dict[str, str]:
        """Return the public keys, in base64, that the server signs with or did, by their names."""
        async with self._ask("GET", "/api/v1/certificate/key") as response:
            return {each["key"]: each["public_key"] for each in (await response.json())["keys"]}

    async def get(self, path: str) -> dict[str, Any]:
        """Return what is answered to a GET of an object."""
        async with self._ask("GET", path) as response:
            return dict(await response.json())

    async def export_lines(self, stream_id: str, *, epoch: int | None = None) -> AsyncIterator[bytes]:
        """Yield the lines of the CSV export of the stream, or of an epoch of it, each with its line end."""
        path = f"/api/v1/streams/{stream_id}/export.csv" + ("" if epoch is None else f"?epoch={epoch}")
        async with self._ask("GET", path, timeout=_EXPORT_TIMEOUT) as response:
            async for line in response.content:
                yield line

    @asynccontextmanager
    async def _ask(self, method: str, path: str, **how: Any) -> AsyncIterator[aiohttp.ClientResponse]:
        try:
            async with self._http.request(method, self._url + path, **how) as response:
                if not response.ok:
                    raise ServerError(
                        f"{method} {self._url}{path}: {refusal(response.status, await response.text())}"
                    )
                yield response
        except aiohttp.ClientConnectorError as error:
            raise ServerError(
                f"no server answers at {self._url}: start one with `rt-server up`, or give its address as --url "
                f"({error.os_error.strerror or error.os_error})"
            ) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ServerError(f"{method} {self._url}{path}: {str(error) or type(error).__name__}") from error


def refusal(status: int, body: str) -> str:
    """Return a refusal in the server's own words, where they are the API's."""
    try:
        said = str(orjson.loads(body)["message"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        said = body
    return f"{status} {said[:300]}" + (
        "; give it as --api-token" if status == HTTPStatus.UNAUTHORIZED else ""
    )


@asynccontextmanager
async def open_server(url: str, api_token: str | None) -> AsyncIterator[Server]:
    """Open the operators' API at `url`, with the server's API_TOKEN where it has one."""
    if not is_base_url(url):
        raise ServerError(f"{url!r} is no address of a server: give one like http://127.0.0.1:8080")
    headers = {} if api_token is None else {"Authorization": f"Bearer {api_token}"}
    async with aiohttp.ClientSession(headers=headers, timeout=_TIMEOUT) as http:
        yield Server(http, url)
