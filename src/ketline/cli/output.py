"""What verbs print: tables for people, JSON for programs, and one clear line when something is wrong."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import Enum
from typing import Any, NoReturn

_NOTHING: tuple[Any, ...] = (None, "", (), [])


class Refusal(Exception):
    """A command can't be done; ``message`` says why, ``solution`` what to do instead."""

    def __init__(self, message: str, solution: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.solution = solution


def fail(message: str, solution: str = "", *, code: int = 1) -> NoReturn:
    """Say on standard error what went wrong, and exit."""
    for line in message.splitlines():
        stop = "" if line.endswith((".", "!", "?", ":")) else "."
        print(f"ketline: {line}" + (f"{stop} {solution}" if solution else ""), file=sys.stderr)
    sys.exit(code)


def show(
    rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str], *, as_json: bool, empty: str = "Nothing."
) -> None:
    """Print rows as a table with these columns (key: heading), or all that they hold as JSON."""
    if as_json:
        print_json(rows)
        return
    if not rows:
        print(empty)
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    told = [key for key in columns if any(row.get(key) not in _NOTHING for row in rows)]
    for key in told:
        numeric = any(type(row.get(key)) in {int, float} for row in rows)
        # What identifies a row is never broken: it is there to be copied.
        whole = key in {told[0], "name", "state"}
        table.add_column(columns[key], justify="right" if numeric else "left", overflow="fold", no_wrap=whole)
    for row in rows:
        table.add_row(*(cell(row.get(key)) for key in told))
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        # A pipe has no width: lines are as long as what they hold.
        console.width = 400
    console.print(table)


def show_one(row: Mapping[str, Any], names: Mapping[str, str], *, as_json: bool) -> None:
    """Print one thing as lines of name and value, or as JSON."""
    if as_json:
        print_json(row)
        return
    width = max(len(name) for name in names.values())
    for key, name in names.items():
        if row.get(key) not in _NOTHING:
            print(f"{name:<{width}}  {cell(row[key])}")


def done(text: str, facts: Mapping[str, Any], *, as_json: bool) -> None:
    """Say that a change was made: a sentence, or what changed as JSON."""
    if as_json:
        print_json(facts)
    else:
        print(text)


def print_json(value: Any) -> None:
    """Print JSON; times are ISO 8601 in UTC."""
    print(json.dumps(value, indent=2, default=_plain, ensure_ascii=False))


def cell(value: Any) -> str:
    """A value as a person reads it."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.3f}".rstrip("0").rstrip(".")
    if isinstance(value, datetime):
        return value.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, tuple | list | frozenset | set):
        return ", ".join(cell(part) for part in value) or "-"
    return str(value)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, Enum):
        return value.value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, frozenset | set | tuple):
        return list(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")
