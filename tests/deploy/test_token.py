"""`rt-server token create`: the token alone on the standard output, what its maker should know beside it."""

import asyncio
import json
import re

import asyncpg
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


async def test_commands_that_change_schema_rights_or_tokens_say_so_in_the_log_with_who_ran_them(
    empty_database_url: str,
) -> None:
    def run(*words: str) -> None:
        done = CliRunner().invoke(main, [*words, "--database-url", empty_database_url])
        assert done.exit_code == 0, done.output

    for words in (
        ["migrate"],
        ["migrate"],
        ["roles"],
        ["token", "create", "--type", "receiver", "--id", "tent"],
    ):
        await asyncio.to_thread(run, *words)
    connection = await asyncpg.connect(empty_database_url)
    rows = await connection.fetch("SELECT event, fields::text FROM activity ORDER BY activity_id")
    await connection.close()
    # What changed nothing leaves no entry.
    assert [row["event"] for row in rows] == ["schema_migrated", "roles_applied", "token_minted"]
    for fields in (json.loads(row["fields"]) for row in rows):
        assert re.fullmatch(r"command line \(.+@.+\)", fields["by"])
        assert "asked_by" not in fields
        assert "address" in fields
