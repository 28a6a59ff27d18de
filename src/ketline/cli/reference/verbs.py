"""The page of the command line, from the commands themselves."""

from __future__ import annotations

from typing import Any

import typer

from ketline.cli.reference.markdown import MADE_FROM, prose, table

INTRODUCTION = """# Command line

Every verb explains itself with `--help`. Verbs that print something for people print JSON with `--json`.
The exit code is 0 when it worked, 2 when the command was wrong, and 1 for everything else, with one line on
standard error that says what to do.
"""


def page() -> str:
    """The whole page."""
    from ketline.cli.main import app

    root = typer.main.get_command(app)
    parts = [MADE_FROM.format(source="src/ketline/cli"), INTRODUCTION]
    for name, command in _leaves(root, "ketline"):
        parts.append(_entry(name, command))
    return "".join(parts)


def _leaves(command: Any, name: str) -> list[tuple[str, Any]]:
    if not hasattr(command, "commands"):
        return [(name, command)]
    return [leaf for key, inner in command.commands.items() for leaf in _leaves(inner, f"{name} {key}")]


def _entry(name: str, command: Any) -> str:
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    words = [_metavar(p) if p.required else f"[{_metavar(p)}]" for p in arguments]
    usage = " ".join([name, *words, "[OPTIONS]"])
    parts = [f"\n## `{name}`\n\n{prose(command.help or '')}\n\n```text\n{usage}\n```\n"]
    if command.params:
        rows = [_row(parameter) for parameter in command.params if parameter.name != "help"]
        parts.append("\n" + table(("option", "default", "meaning"), rows) if rows else "")
    if command.epilog:
        lines = [line for line in command.epilog.split("\n\n") if line.startswith("$ ")]
        parts.append("\n```console\n" + "\n".join(lines) + "\n```\n")
    return "".join(parts)


def _metavar(parameter: Any) -> str:
    return str(parameter.metavar or parameter.name.upper()).strip("[]")


def _row(parameter: Any) -> tuple[str, str, str]:
    if parameter.param_type_name == "argument":
        names = _metavar(parameter)
    else:
        names = ", ".join(f"`{option}`" for option in parameter.opts)
    if parameter.envvar:
        names += f" (or `{parameter.envvar}`)"
    default = parameter.default
    shown = "" if default in {None, False, (), ""} else f"`{default}`"
    return names, "required" if parameter.required else shown, prose(parameter.help or "")
