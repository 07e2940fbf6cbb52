"""`rt-server token create`: the token alone on the standard output, what its maker should know beside it."""

import asyncio

from click.testing import CliRunner, Result

from deploy.cli.main import main
from shared.db.connections import Connection
from shared.transport.tokens import token_hash


async def create(database_url: str, device_id: str) -> Result:
    arguments = ["token", "create", "--type", "receiver", "--id", device_id, "--database-url", database_url]
    return await asyncio.to_thread(CliRunner().invoke, main, arguments)


async def test_the_output_is_the_token_and_warnings_stand_beside_it(
    database_url: str, database: Connection
) -> None:
    first, second = [await create(database_url, "receiver-main") for _ in range(2)]
    for made in (first, second):
        assert made.exit_code == 0, made.output
        known = await database.fetchval(
            "SELECT device_id FROM device_tokens WHERE token_hash = $1", token_hash(made.stdout.strip())
        )
        assert known == "receiver-main"
    assert "receiver-main" not in first.stderr
    assert "rt-server token: there is a token of receiver-main already" in second.stderr
