"""The commands find what is there, and say in one line what is not."""

import asyncio
import json
import sys
from pathlib import Path

import asyncpg
import pytest
from click.testing import CliRunner

from deploy.cli.main import main
from shared.transport.tokens import token_hash
from tests.ports import free_port

# As the environment of a person who has set nothing.
NOTHING_SET = {"DATABASE_URL": "", "SERVER_URL": "", "DATA_DIR": "", "API_TOKEN": ""}


def described(directory: Path, database_url: str) -> Path:
    stack = {
        "database_url": database_url,
        "reverse_proxy": f"http://127.0.0.1:{free_port()}",
        "processes": [],
    }
    (directory / "stack.json").write_text(json.dumps(stack))
    return directory


def test_a_token_is_made_beside_a_running_stack_without_being_told_where(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "deploy.local.description.default_data_dir", lambda: described(tmp_path, database_url)
    )
    device = ["--type", "forwarder", "--id", "start-line"]
    done = CliRunner(env=NOTHING_SET).invoke(main, ["token", "create", *device])
    assert done.exit_code == 0, done.output

    async def owner() -> object:
        connection = await asyncpg.connect(database_url)
        hashed = token_hash(done.output.strip())
        found = await connection.fetchval("SELECT device_id FROM device_tokens WHERE token_hash = $1", hashed)
        await connection.close()
        return found

    assert asyncio.run(owner()) == "start-line"


def test_without_a_stack_the_missing_setting_is_named(tmp_path: Path) -> None:
    device = ["--type", "receiver", "--id", "r", "--data-dir", str(tmp_path)]
    done = CliRunner(env=NOTHING_SET).invoke(main, ["token", "create", *device])
    assert done.exit_code == 2
    assert done.output.startswith(
        "rt-server token: DATABASE_URL is not set, and no `rt-server up` runs here: start that, or give --database-url"
    )


@pytest.mark.parametrize("url", ["foo", "foo:8080", "http://"])
def test_the_doctor_refuses_an_address_that_is_none(url: str) -> None:
    done = CliRunner(env=NOTHING_SET).invoke(main, ["doctor", "--url", url])
    assert done.exit_code == 2
    assert f"'{url}' is no address of a server: give one like http://127.0.0.1:8080" in done.output


def test_a_database_that_is_none_ends_the_stack_s_start() -> None:
    done = CliRunner(env=NOTHING_SET).invoke(main, ["up", "--database-url", "foo"])
    assert done.exit_code == 2
    assert done.output.startswith("rt-server up: DATABASE_URL is wrong: it must look like postgresql://")


def test_the_list_of_commands_says_of_each_what_it_is_for_in_whole_words() -> None:
    shown = CliRunner().invoke(main, ["--help"], terminal_width=80).output
    assert "..." not in shown.partition("Options:")[2]
    assert [name for name in main.commands if f"\n  {name} " not in shown] == []


def test_the_doctor_examines_the_stack_that_runs_here(tmp_path: Path) -> None:
    described(tmp_path, f"postgresql://nobody@127.0.0.1:{free_port()}/rt")
    done = CliRunner(env=NOTHING_SET).invoke(main, ["doctor", "--data-dir", str(tmp_path)])
    assert done.exit_code == 1
    assert "database" in done.output
    assert "reverse proxy" in done.output


def test_the_doctor_that_is_to_send_a_test_examines_all_the_same_and_says_where_there_is_nothing(
    tmp_path: Path,
) -> None:
    told = {"ALERT_URLS": f"json://127.0.0.1:{free_port()}/phone"}
    done = CliRunner(env=NOTHING_SET | told).invoke(main, ["doctor", "--data-dir", str(tmp_path)])
    assert done.exit_code == 2
    assert "there is nothing to examine" in done.output
    described(tmp_path, f"postgresql://nobody@127.0.0.1:{free_port()}/rt")
    done = CliRunner(env=NOTHING_SET | told).invoke(main, ["doctor", "--data-dir", str(tmp_path)])
    assert done.exit_code == 1
    assert all(each in done.output for each in ("database", "reverse proxy", "json 1"))


@pytest.mark.parametrize(("command", "package"), [("up", "rich"), ("up", "platformdirs"), ("demo", "rich")])
def test_what_the_local_extra_brings_is_named_where_it_is_missing(
    command: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in sorted(sys.modules, reverse=True):
        if name.split(".")[0] == package or name.startswith(
            ("deploy.simulation.demo", "deploy.local.up", "deploy.local.desc")
        ):
            # Its package knows it too, and would keep the one that is imported now: later tests would meet both.
            package_of_it, _, own_name = name.rpartition(".")
            if package_of_it:
                monkeypatch.delattr(sys.modules[package_of_it], own_name, raising=False)
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    done = CliRunner(env=NOTHING_SET).invoke(main, [command])
    assert done.exit_code == 2
    assert done.output == (
        f"rt-server {command}: the package {package} is not installed: pip install 'rt-server[local]'\n"
    )


def test_a_token_that_can_be_guessed_ends_the_stack_s_start() -> None:
    done = CliRunner(env=NOTHING_SET).invoke(main, ["up", "--api-token", "short"])
    assert done.exit_code == 2
    assert done.output.startswith("rt-server up: API_TOKEN is wrong: it must have 16 characters or more")
