"""The README's table of settings is what the commands take."""

from pathlib import Path

import click

from deploy.cli.main import main
from shared.roles import ROLES

README = Path(__file__).parents[2] / "README.md"


def settings_table() -> str:
    """Return the table as the commands have it: option, variable, commands, default and meaning."""
    rows: dict[tuple[str, str], tuple[list[str], str]] = {}
    for name, command in _commands(main):
        for option in command.params:
            if isinstance(option, click.Option) and option.envvar:
                text = (option.help or "").split("  [default")[0]
                default = (
                    ""
                    if option.default in (None, False) or "UNSET" in repr(option.default)
                    else str(option.default)
                )
                if "[default: " in (option.help or ""):
                    default = (option.help or "").split("[default: ")[1].rstrip("]")
                key = (option.opts[0], str(option.envvar))
                rows.setdefault(key, ([], f"{f'`{default}`' if default else ''} | {text}"))[0].append(name)
    lines = ["| option | variable | of | default | |", "|---|---|---|---|---|"]
    lines += [
        f"| `{option}` | `{variable}` | {_short(names)} | {rest} |"
        for (option, variable), (names, rest) in rows.items()
    ]
    return "\n".join(lines)


def _short(names: list[str]) -> str:
    if all(role in names for role in ROLES):
        names = ["every role", *(name for name in names if name not in ROLES)]
    return ", ".join(names)


def _commands(group: click.Group, prefix: str = "") -> list[tuple[str, click.Command]]:
    found: list[tuple[str, click.Command]] = []
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            found += _commands(command, f"{name} ")
        else:
            found.append((prefix + name, command))
    return found


def test_the_readme_lists_every_setting_of_every_command() -> None:
    assert settings_table() in README.read_text(), f"README.md should hold:\n{settings_table()}"


def test_every_option_is_a_variable_too_and_says_what_it_is_for() -> None:
    wanting = [
        f"{name} {option.opts[0]}"
        for name, command in _commands(main)
        for option in command.params
        if isinstance(option, click.Option) and not (option.envvar and option.help)
    ]
    assert not wanting
