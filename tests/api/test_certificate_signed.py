"""A certificate is signed with the one key that the cluster has, whoever signs, which the database alone has made."""

import asyncio
import hashlib
import json
from base64 import b64decode
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from click.testing import CliRunner
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from deploy.cli.main import main
from deploy.cli.new_key import replace_key
from tests.api.certified import path_of, store
from tests.api.conftest import Ask, Client, Noted
from tests.api.seeds import Database
from tests.writer.inbox import add_stream

KEYS = "/api/v1/certificate/key"


@pytest.fixture
async def stream_id(database: Database) -> UUID:
    stream_id = await add_stream(database)
    await store(
        database, stream_id, {1: "Z\N{LATIN SMALL LETTER U WITH DIAERESIS}rich", 2: 'a "quoted" \\ line'}
    )
    await database.execute("UPDATE streams SET display_alias = $1", 'Ziel "Nord" \u2028\x1f\x7f \U0001f3c1')
    return stream_id


def signed(said: dict[str, Any]) -> bytes:
    """Return what RFC 8785 has signed of a certificate, by another library than the one that signs."""
    unsigned = {name: value for name, value in said.items() if name != "signature"}
    return json.dumps(unsigned, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


async def test_it_is_signed_by_the_key_that_is_public(ask: Ask, stream_id: UUID) -> None:
    said = await ask("GET", path_of(stream_id))
    (key,) = (await ask("GET", KEYS))["keys"]
    signature = said["signature"]
    assert (signature["key"], signature["public_key"]) == (key["key"], key["public_key"])
    assert key["retired_at"] is None
    raw = b64decode(key["public_key"])
    assert key["key"] == hashlib.sha256(raw).hexdigest()[:32]
    public_key = Ed25519PublicKey.from_public_bytes(raw)
    public_key.verify(b64decode(signature["value"]), signed(said))
    said["parts"][0]["read_count"] += 1
    with pytest.raises(InvalidSignature):
        public_key.verify(b64decode(signature["value"]), signed(said))


@pytest.mark.parametrize("lines", ["texts", "frames"])
@pytest.mark.parametrize(("suffix", "code"), [("export.csv", 0), ("epochs/1/export.csv", 0), ("tampered", 1)])
async def test_an_export_is_verified_against_it_without_a_server(
    client: Client,
    database: Database,
    stream_id: UUID,
    tmp_path: Path,
    *,
    suffix: str,
    code: int,
    lines: str,
) -> None:
    if lines == "frames":
        frames = {3: b"aa\r\n", 4: b"\x00\xff\x00", 5: b'"\r\r\n', 6: b"", 7: b"\n\n", 8: b"a,b;\x00\r\n"}
        await store(database, stream_id, frames)
    await_it = {"certificate": path_of(stream_id), "export": f"/api/v1/streams/{stream_id}/{suffix}"}
    if suffix == "tampered":
        await_it["export"] = f"/api/v1/streams/{stream_id}/export.csv"
    for name, path in await_it.items():
        async with client.get(path) as answer:
            (tmp_path / name).write_bytes(await answer.read())
    if suffix == "tampered":
        (tmp_path / "export").write_bytes((tmp_path / "export").read_bytes().replace(b"quoted", b"quotes"))
    (tmp_path / "keys").write_bytes(await (await client.get(KEYS)).read())
    given = [
        str(tmp_path / "certificate"),
        "--export",
        str(tmp_path / "export"),
        "--key",
        str(tmp_path / "keys"),
    ]
    done = CliRunner().invoke(main, ["certificate", "verify", *given])
    assert done.exit_code == code, done.output


async def test_there_is_one_key_that_signs_and_no_second_beside_it(ask: Ask, database: Database) -> None:
    (key,) = (await ask("GET", KEYS))["keys"]
    with pytest.raises(asyncpg.UniqueViolationError):
        await database.execute("INSERT INTO certificate_keys DEFAULT VALUES")
    assert (await ask("GET", KEYS))["keys"] == [key]


async def test_a_new_key_signs_and_of_the_old_one_only_the_public_half_is_left(
    ask: Ask, database: Database, database_url: str, stream_id: UUID, noted: Noted
) -> None:
    before = await ask("GET", path_of(stream_id))
    secret = await database.fetchval("SELECT secret FROM certificate_keys")
    made = await asyncio.gather(*(replace_key(database_url) for _ in range(3)))
    assert len(set(made)) == 3  # one after the other, none lost
    keys = (await ask("GET", KEYS))["keys"]
    assert [each["retired_at"] is None for each in keys] == [True, False, False, False]
    assert {each["key"] for each in keys} == {*made, before["signature"]["key"]}
    assert (await ask("GET", path_of(stream_id)))["signature"]["key"] == keys[0]["key"]
    left = await database.fetch("SELECT secret FROM certificate_keys WHERE retired_at IS NOT NULL")
    assert [row["secret"] for row in left] == [None] * 3
    assert await database.fetchval("SELECT secret FROM certificate_keys WHERE retired_at IS NULL") != secret
    assert (await noted("certificate_key_made", key=keys[0]["key"]))["by"].startswith("command line")
