"""/healthz, /readyz and /metrics, which every role serves."""

from collections.abc import Callable

import orjson
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

__all__ = ["Checks", "health_routes", "problems"]

# A name, and what is wrong with it at the moment, or None.
Checks = dict[str, Callable[[], str | None]]


def problems(checks: Checks) -> dict[str, str]:
    """Return what is wrong now, by the name of the check."""
    return {name: problem for name, check in checks.items() if (problem := check()) is not None}


def health_routes(checks: Checks) -> list[web.RouteDef]:
    """Return the three routes; /readyz is 200 while no check finds a problem."""

    async def healthz(_request: web.Request) -> web.Response:
        return _json({"status": "ok"})

    async def readyz(_request: web.Request) -> web.Response:
        wrong = problems(checks)
        if wrong:
            return _json({"code": "UNAVAILABLE", "message": "not ready", "details": wrong}, status=503)
        return _json({"status": "ready"})

    async def metrics(_request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    return [web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", metrics)]


def _json(body: object, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(body), status=status, content_type="application/json")
