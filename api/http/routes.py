"""The API's description of itself, for programs and for people."""

from typing import Any

from aiohttp import web

from api.http.context import Api
from api.http.docs import POLICY, render
from api.http.types import Answer

__all__ = ["show_docs", "show_openapi", "show_version"]


class Version(Answer):
    """Which release answers. Processes are replaced one by one: another one may be of another."""

    version: str


async def show_version(api: Api) -> Version:
    """Say which release of rt-server answers."""
    return Version(version=str(api.description["info"]["version"]))


async def show_openapi(api: Api) -> dict[str, Any]:
    """Describe all routes, as OpenAPI 3.1."""
    return dict(api.description)


async def show_docs(api: Api, *, request: web.Request) -> web.StreamResponse:  # noqa: ARG001 - contract.py
    """Describe all routes, as a page for people."""
    return web.Response(
        text=render(api.description),
        content_type="text/html",
        charset="utf-8",
        headers={"Content-Security-Policy": POLICY},
    )
