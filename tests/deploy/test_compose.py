"""The production files say what they promise: valid, confined, scalable, and with one acceptor only."""

import json
import re
import subprocess
import sys
import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from api.settings import ApiSettings
from api.storage.store import MOUNTED
from deploy.cli.main import main
from deploy.local.reverse_proxy import CADDYFILE, VARIABLES
from shared.roles import ROLES
from shared.runtime.process import STOP_DEADLINE_S
from tests.deploy.compose import COMPOSE_FILE, VARIABLE, MissingVariable, load_compose, read_env

TOP = Path(__file__).parents[2]
DOCKERFILE = TOP / "deploy" / "Dockerfile"
EXAMPLE = COMPOSE_FILE.with_name(".env.example")

OURS = (*ROLES, "migrate", "server")
COMPOSE = load_compose({"POSTGRES_PASSWORD": "p"})
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]


def seconds(duration: str) -> float:
    return float(duration.removesuffix("s"))


def test_is_valid_by_the_compose_specification() -> None:
    vendored = resources.files("check_jsonschema") / "builtin_schemas" / "vendor" / "compose-spec.json"
    jsonschema.validate(COMPOSE, json.loads(vendored.read_text()))


def test_needs_nothing_but_a_password_for_the_database() -> None:
    with pytest.raises(MissingVariable, match="POSTGRES_PASSWORD"):
        load_compose({})
    assert SERVICES["gateway"]["image"] == "rt-server:latest"


def test_is_reached_from_this_machine_only_unless_told_otherwise() -> None:
    assert SERVICES["server"]["ports"] == ["127.0.0.1:8080:8080", "127.0.0.1:8443:8443"]
    assert not api_settings({}).is_closed
    for published in ("0.0.0.0", "[::]", "10.0.0.7"):
        told = {"PUBLISH": published}
        ports = load_compose({"POSTGRES_PASSWORD": "p", **told})["services"]["server"]["ports"]
        assert ports == [f"{published}:8080:8080", f"{published}:8443:8443"]
        assert api_settings(told).is_closed
        assert not api_settings({**told, "API_OPEN": "yes"}).is_closed
        assert not api_settings({**told, "API_TOKEN": "sixteen letters."}).is_closed


def api_settings(told: dict[str, str]) -> ApiSettings:
    """Return the api's settings as the file gives them, with these variables."""
    given = load_compose({"POSTGRES_PASSWORD": "p", **told})["services"]["api"]["environment"]
    given["DATABASE_URL"] = "postgresql://rt_api@postgres/rtserver"  # whose passfile is in a volume
    specs = ApiSettings.specs().items()
    return ApiSettings.read({name: given.get(spec.variable) or None for name, spec in specs})


def test_the_example_names_every_variable_and_no_other() -> None:
    named = set(re.findall(r"^(\w+)=", EXAMPLE.read_text(), re.MULTILINE))
    text = "\n".join(
        line for line in COMPOSE_FILE.read_text().splitlines() if not line.lstrip().startswith("#")
    )
    assert named == {found.group(1) for found in VARIABLE.finditer(text)}


def test_the_example_sets_what_the_file_would_take_anyway() -> None:
    for name, value in re.findall(r"^(\w+)=(.+)$", EXAMPLE.read_text(), re.MULTILINE):
        assert load_compose({"POSTGRES_PASSWORD": "p", name: value}) == COMPOSE, name


# Passwords that anybody might choose, each with something that compose takes for its own.
ODD_PASSWORDS = [
    "S3cr$t",
    "a$b c",
    "pa #ss",
    "$HOME-x",
    "${X}",
    'dou"ble',
    "back\\slash",
    "it's",
    "'",
    "ü €",
    "plain",
]


@pytest.mark.parametrize("password", ODD_PASSWORDS)
def test_a_password_written_as_the_example_says_arrives_as_it_is(password: str) -> None:
    text = EXAMPLE.read_text()
    assert "goes into single quotes, as it is: 'S3cr$t', 'pa #ss',\n# '$HOME-x'" in text
    quoted = "'" + password.replace("'", "\\'") + "'"
    written = text.replace("\nPOSTGRES_PASSWORD=\n", f"\nPOSTGRES_PASSWORD={quoted}\n")
    services = load_compose(read_env(written, {"HOME": "/root"}))["services"]
    assert services["postgres"]["environment"]["POSTGRES_PASSWORD"] == password
    assert services["migrate"]["environment"]["PGPASSWORD"] == password


def test_without_quotes_another_password_arrives() -> None:
    """What the example warns of, as compose does it (2.26)."""
    shell = {"HOME": "/root"}
    for written, arrives in (
        ("S3cr$t", "S3cr"),
        ('"a$b c"', "a c"),
        ("pa #ss", "pa"),
        ("$HOME-x", "/root-x"),
        ("plain", "plain"),
    ):
        assert read_env(f"X={written}\n", shell)["X"] == arrives


def test_an_example_that_is_copied_needs_a_password_and_nothing_else() -> None:
    written = EXAMPLE.read_text().replace("\nPOSTGRES_PASSWORD=\n", "\nPOSTGRES_PASSWORD=p\n")
    assert load_compose(read_env(written, {})) == COMPOSE
    with pytest.raises(MissingVariable, match="POSTGRES_PASSWORD"):
        load_compose(read_env(EXAMPLE.read_text(), {}))


def test_what_holds_passwords_is_not_for_git(tmp_path: Path) -> None:
    ignored = ["git", "-C", str(TOP), "check-ignore", "--no-index", "--quiet"]
    for name in (".env", "deploy/server/.env", "deploy/server/second.env"):
        assert subprocess.run([*ignored, name], check=False).returncode == 0, name
    assert subprocess.run([*ignored, "deploy/server/.env.example"], check=False).returncode == 1


def test_who_starts_the_server_starts_what_it_leads_to() -> None:
    """`up -d server`, `logs server`, `restart server`: what people and devices talk to has this name."""
    assert set(SERVICES["server"]["depends_on"]) == set(ROLES)
    assert set(SERVICES["gateway"]["depends_on"]) == {"postgres", "migrate"}


def test_a_second_one_has_a_database_of_another_name() -> None:
    second = load_compose({"POSTGRES_PASSWORD": "p", "POSTGRES_CONTAINER": "rt-postgres-2"})
    assert second["services"]["postgres"]["container_name"] == "rt-postgres-2"
    assert [name for name, each in second["services"].items() if "container_name" in each] == ["postgres"]


@pytest.mark.parametrize("service", SERVICES)
def test_confines_each_service(service: str) -> None:
    found = SERVICES[service]
    assert found["read_only"] is True
    assert found["cap_drop"] == ["ALL"]
    assert "cap_add" not in found
    assert "privileged" not in found
    assert found["security_opt"] == ["no-new-privileges:true"]
    assert found["user"] == ("postgres" if service == "postgres" else "10001:10001")
    assert found["mem_limit"]
    assert found["tmpfs"][0] == "/tmp"


@pytest.mark.parametrize("service", SERVICES)
def test_asks_for_no_limit_that_an_engine_may_not_give(service: str) -> None:
    # Beyond the engine's own hard limit nothing starts at all. Each process raises its own as far as that goes.
    assert "ulimits" not in SERVICES[service]


@pytest.mark.parametrize("service", sorted(set(SERVICES) - {"migrate"}))
def test_starts_each_service_again_and_asks_for_its_health(service: str) -> None:
    assert SERVICES[service]["restart"] == "unless-stopped"
    assert SERVICES[service]["healthcheck"]["test"][0] == "CMD"


def test_publishes_the_reverse_proxy_and_nothing_else() -> None:
    assert [name for name, service in SERVICES.items() if "ports" in service] == ["server"]
    networks = {name: service["networks"] for name, service in SERVICES.items()}
    assert {name for name, found in networks.items() if "outside" in found} == {"server"}
    assert all(COMPOSE["networks"][name]["internal"] for name in ("front", "database"))
    assert networks["postgres"] == ["database"]
    assert "database" not in networks["server"]


def test_the_api_has_a_way_out_only_where_people_are_told_of_alerts() -> None:
    assert SERVICES["api"]["networks"] == ["front", "database", "alerts"]
    assert COMPOSE["networks"]["alerts"] == {"internal": True}
    urls = "ntfys://ntfy.example/topic mailtos://me:S3cr$t@mail.example"
    told = load_compose({"POSTGRES_PASSWORD": "p", "ALERT_URLS": urls})
    assert told["services"]["api"]["environment"]["ALERT_URLS"] == urls
    assert told["services"]["api"]["networks"] == ["front", "database", "alerts-out"]
    # A network that is not internal, and that nobody else is on.
    assert told["networks"]["alerts-out"] is None
    others = [told["services"][each]["networks"] for each in OURS if each != "api"]
    assert not [each for each in others if "alerts-out" in each]
    # Nothing else is another, so that nothing else is made anew.
    for each in OURS:
        if each != "api":
            assert told["services"][each] == SERVICES[each]


@pytest.mark.parametrize("role", ROLES)
def test_a_service_can_be_scaled_and_has_time_to_stop(role: str) -> None:
    assert "container_name" not in SERVICES[role]
    assert seconds(SERVICES[role]["stop_grace_period"]) > STOP_DEADLINE_S + 5
    assert SERVICES[role]["depends_on"] == {
        "postgres": {"condition": "service_healthy"},
        "migrate": {"condition": "service_completed_successfully"},
    }


def test_caddy_has_longer_to_stop_than_it_gives_its_requests() -> None:
    grace = re.search(r"grace_period (\d+)s", CADDYFILE.read_text())
    assert grace
    assert seconds(SERVICES["server"]["stop_grace_period"]) > int(grace.group(1)) + 5


@pytest.mark.parametrize("role", ROLES)
def test_a_service_knows_its_own_password_and_no_other(role: str) -> None:
    service = SERVICES[role]
    passfile = f"/passwords/{role}/pgpass"
    assert service["environment"]["DATABASE_URL"] == (
        f"postgresql://rt_{role}@postgres:5432/rtserver?passfile={passfile}"
    )
    passwords = [each for each in service["volumes"] if "password" in each]
    assert passwords == [f"{role}-password:/passwords/{role}:ro"]
    assert f"{role}-password:/passwords/{role}" in SERVICES["migrate"]["volumes"]


def test_the_api_can_see_how_much_room_the_database_has_and_change_nothing_there() -> None:
    (data,) = [each for each in SERVICES["postgres"]["volumes"] if each.endswith(":/var/lib/postgresql")]
    assert f"{data.partition(':')[0]}:{MOUNTED}:ro" in SERVICES["api"]["volumes"]
    sharing = {
        name for name, each in SERVICES.items() if any("postgres:" in at for at in each.get("volumes", ()))
    }
    assert sharing == {"postgres", "api"}


def test_the_owner_s_password_goes_to_the_database_and_the_migration_only() -> None:
    told = load_compose({"POSTGRES_PASSWORD": "only for two"})["services"]
    assert {name for name, service in told.items() if "only for two" in str(service)} == {
        "postgres",
        "migrate",
    }


def test_leaves_the_settings_that_the_promises_need_alone() -> None:
    told = " ".join(SERVICES["postgres"]["command"])
    assert not re.search("fsync|synchronous_commit|full_page_writes", told)
    assert SERVICES["postgres"]["container_name"] == "rt-postgres"
    assert {SERVICES["postgres"]["environment"][name] for name in ("POSTGRES_USER", "POSTGRES_DB")} == {
        "rtserver"
    }


def test_runs_commands_that_there_are() -> None:
    for name in (*ROLES, "migrate"):
        (command,) = SERVICES[name]["command"]
        assert command in main.commands


def test_the_reverse_proxy_looks_for_the_services_by_the_names_they_have() -> None:
    told = SERVICES["server"]["environment"]
    assert told["UPSTREAMS"] == "named"
    for role, variable in VARIABLES.items():
        assert told[variable] == f"{role} 8080"
        assert set(SERVICES[role]["networks"]) & set(SERVICES["server"]["networks"])


# --- the image -------------------------------------------------------------------------------------------


def test_the_dockerfile_has_no_finding_of_its_linter() -> None:
    linter = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([str(linter), str(DOCKERFILE)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_image_is_built_in_one_stage_and_small_without_privileges_in_the_other() -> None:
    lines = [line for line in DOCKERFILE.read_text().splitlines() if line and not line.startswith("#")]
    stages = [line.split()[1] for line in lines if line.startswith("FROM ")]
    assert stages == ["python:3.11-bookworm", "python:3.11-slim-bookworm"]
    last = lines[lines.index("FROM python:3.11-slim-bookworm") :]
    assert "USER 10001:10001" in last
    assert last[-1] == 'ENTRYPOINT ["rt-server"]'
    assert not [line for line in last if line.startswith(("COPY", "ADD"))]


def test_the_image_gets_every_file_that_the_code_opens() -> None:
    settings = tomllib.loads((TOP / "pyproject.toml").read_text())
    packaged = settings["tool"]["setuptools"]["package-data"]
    assert "server/Caddyfile" in packaged["deploy"]
    assert {"*.sql", "routines/*.sql"} <= set(packaged["migrations"])


def test_the_build_sees_what_the_packages_are_made_of_and_no_secret() -> None:
    lines = (TOP / ".dockerignore").read_text().splitlines()
    settings = tomllib.loads((TOP / "pyproject.toml").read_text())
    packages = {
        name.removesuffix("*") for name in settings["tool"]["setuptools"]["packages"]["find"]["include"]
    }
    assert {f"!{package}" for package in packages} <= set(lines)
    assert "*" in lines
    assert lines[-1] == "deploy/server/.env"
