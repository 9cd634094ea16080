"""The README's reference of commands, made of the commands themselves. `python tests/cli/reference.py` writes it."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import typer

from langgraph_sessionstore.cli.app import app

README = Path(__file__).parents[2] / "README.md"
BEGIN, END = "<!-- commands -->\n", "<!-- /commands -->"
COMMON = {"url", "as_json", "content", "yes", "help"}
"""Options that many commands have, and that are explained once."""


def commands() -> dict[str, Any]:
    """The commands by their names."""
    group: Any = typer.main.get_command(app)
    return dict(group.commands)


def options(command: Any) -> list[tuple[str, str]]:
    """What a command takes beside the common options, and what that means."""
    found = []
    for parameter in command.params:
        if parameter.name in COMMON:
            continue
        if parameter.param_type_name == "argument":
            found.append((parameter.metavar or parameter.name.upper(), parameter.help or ""))
        else:
            names = ", ".join([*parameter.opts, *parameter.secondary_opts])
            value = "" if parameter.is_flag else f" {parameter.metavar}"
            found.append((names + value, parameter.help or ""))
    return found


def reference() -> str:
    """All commands, as the README shows them."""
    parts = []
    for name, command in commands().items():
        lines = [f"### `sessionstore {name}`", "", textwrap.fill(" ".join(command.help.split()), 118), ""]
        common = [f"`--{each}`" for each, key in _COMMON if key in {parameter.name for parameter in command.params}]
        lines += ["| | |", "|---|---|"]
        lines += [f"| `{what.replace('|', chr(92) + '|')}` | {meaning} |" for what, meaning in options(command)]
        lines += [f"| {', '.join(common)} | |", ""]
        parts.append("\n".join(lines))
    return "\n".join(parts)


_COMMON = (("content", "content"), ("yes", "yes"), ("url", "url"), ("json", "as_json"))

if __name__ == "__main__":
    before, _, rest = README.read_text("utf-8").partition(BEGIN)
    README.write_text(before + BEGIN + reference() + END + rest.partition(END)[2], "utf-8")
