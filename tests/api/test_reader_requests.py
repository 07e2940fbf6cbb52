"""What is asked of readers, as far as it is right: addresses in paths, and bodies."""

import re
from typing import Any
from uuid import UUID

import msgspec
import pytest

from api.http.errors import ApiError
from api.readers.addresses import address
from api.readers.types import ReaderPath
from tests.api.conftest import Ask
from tests.api.gateways import ending, left
from tests.api.seeds import Database
from tests.api.test_reader_control import MODE, ON, PATH, READER, ROUTES, asked, says


@pytest.mark.parametrize(
    "reader_ip",
    [
        "10.0.0.1",
        "10.0.0.1:",
        "10.0.0.1%3A0",
        "10.0.0.1%3A65536",
        "10.0.0.1%3A080",
        "10.0.0.1%3A+80",
        "10.0.0.1%3A8%D9%A0",
        "10.0.0.1%3A" + "9" * 150,
        "010.0.0.1%3A80",
        "10.0.1%3A80",
        "10.0.0.256%3A80",
        "reader%3A80",
        "%3A%3A1%3A80",
        "10.0.0.1%3A80%2F",
        "10.0.0.1%3A80 ",
        "%00",
    ],
)
async def test_what_is_no_address_of_a_reader_is_refused(
    ask: Ask, database: Database, gateway_id: UUID, reader_ip: str
) -> None:
    path = f"/api/v1/forwarders/start/readers/{reader_ip}"
    for name in ROUTES:
        error = await asked(ask, name, path=path, status=400)
        assert error["code"] == "BAD_REQUEST"
    assert await left(database) == 0


@pytest.mark.parametrize("reader_ip", ["10.0.0.1:10000", "10.0.0.1%3A10000", "10.0.0.1%3a10000"])
async def test_an_address_may_be_escaped_or_not(
    ask: Ask, gateway_id: UUID, database_url: str, reader_ip: str
) -> None:
    async with ending(database_url, "done", says()) as came:
        await asked(ask, "info", path=f"/api/v1/forwarders/start/readers/{reader_ip}")
    assert came[0][1]["reader_ip"] == READER


WRONG: list[tuple[str, Any]] = [
    ("/read-mode", {}),
    ("/read-mode", {"mode": "raw"}),
    ("/read-mode", {"timeout": 1}),
    ("/read-mode", []),
    *(("/read-mode", {"mode": mode, "timeout": 1}) for mode in ("fast", "RAW", None, 1)),
    *(("/read-mode", {"mode": "raw", "timeout": timeout}) for timeout in (-1, 256, 1.5, "1", None)),
    ("/read-mode", {**MODE, "more": 1}),
    *(("/tto", {"enabled": enabled}) for enabled in ("yes", 1, None)),
    ("/tto", {}),
    ("/tto", {**ON, "more": 1}),
    ("/recording", {}),
    ("/recording", {"enabled": "no"}),
]


def test_the_document_s_pattern_of_an_address_is_what_is_taken() -> None:
    (kind,) = msgspec.json.schema(ReaderPath)["$defs"].values()
    pattern = kind["properties"]["reader_ip"]["pattern"]

    def is_taken(text: str) -> bool:
        try:
            return address(text) == text
        except ApiError:
            return False

    for text in (
        *(f"10.0.0.1:{port}" for port in range(0, 70_000, 7)),
        *(f"10.0.0.1:{port}" for port in (1, 9, 10, 65_529, 65_530, 65_534, 65_535, 65_536, "080", "")),
        *(f"{octet}.0.10.255:80" for octet in range(400)),
        *("010.0.0.1:80", "10.0.1:80", "::1:80", "10.0.0.1", "a:1", "10.0.0.1:80:80"),
    ):
        assert (re.search(pattern, text) is not None) == is_taken(text), text


async def test_bodies_that_are_not_right_are_refused(ask: Ask, database: Database, gateway_id: UUID) -> None:
    for path, body in WRONG:
        error = await ask("PUT", PATH + path, json=body, status=400)
        assert error["code"] == "BAD_REQUEST", (path, body)
    await ask("PUT", PATH + "/tto", status=400)
    assert await left(database) == 0
