"""The compose file as compose reads it: with its variables filled in."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

__all__ = [
    "COMPOSE_FILE",
    "VARIABLE",
    "MissingVariable",
    "filled_in",
    "load_compose",
    "memory_of",
    "read_env",
]

COMPOSE_FILE = Path(__file__).parents[2] / "deploy" / "server" / "docker-compose.prod.yml"
# ${NAME}, ${NAME:-default}, ${NAME:+what stands where it is set} and ${NAME:?what is missing}.
VARIABLE = re.compile(r"\$\{(\w+)(?::([-+?])([^}]*))?\}")


class MissingVariable(Exception):
    """A required variable is not set."""


def load_compose(environment: Mapping[str, str]) -> dict[str, Any]:
    """Return the file with the variables of `environment`; MissingVariable when a required one is not set."""
    return filled_in(yaml.safe_load(COMPOSE_FILE.read_text()), environment)


def filled_in(file: dict[str, Any], environment: Mapping[str, str]) -> dict[str, Any]:
    """Return what was read of the file, or what is left of it, with the variables of `environment`."""

    def fill_in(found: re.Match[str]) -> str:
        name, kind, text = found.groups()
        value = environment.get(name, "")
        if not value and kind == "?":
            raise MissingVariable(f"{name}: {text}")
        if kind == "+":
            return text if value else ""
        return value or (text if kind == "-" else "")

    def filled(node: Any) -> Any:
        if isinstance(node, str):
            return VARIABLE.sub(fill_in, node)
        if isinstance(node, dict):
            return {key: filled(value) for key, value in node.items()}
        return [filled(each) for each in node] if isinstance(node, list) else node

    found: dict[str, Any] = filled(file)
    return found


def memory_of(service: str) -> int:
    """Return how many bytes of memory a service is given."""
    limit = load_compose({"POSTGRES_PASSWORD": "p"})["services"][service]["mem_limit"]
    return int(limit[:-1]) << {"m": 20, "g": 30}[limit[-1]]


def read_env(text: str, shell: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of an env file as compose 2.26 reads it; those of the shell beat them, and are filled in."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        name, there, value = line.partition("=")
        if there and not line.lstrip().startswith("#"):
            found[name.strip()] = _env_value(value.strip(), {**found, **shell})
    return {**found, **{name: shell[name] for name in found if name in shell}}


def _env_value(text: str, known: Mapping[str, str]) -> str:
    """Read one value: in single quotes as it is, else with $NAME filled in and without what follows a blank and #."""
    if quoted := re.fullmatch(r"'((?:\\.|[^'\\])*)'\s*(?:#.*)?", text):
        return quoted[1].replace("\\'", "'")
    if double := re.fullmatch(r'"((?:\\.|[^"\\])*)"\s*(?:#.*)?', text):
        text = double[1]
    else:
        text = re.split(r"\s#", text, maxsplit=1)[0].rstrip()
    return re.sub(r"\$\{?(\w+)\}?", lambda variable: known.get(variable[1], ""), text)
