"""The page of all endpoints, from the operations of `ketline.api`."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator

from ketline import api
from ketline.api.operations import Operation
from ketline.cli.reference.markdown import MADE_FROM, prose, table

INTRODUCTION = """# Endpoints

The paths under `/api/v1` are those of the client; a path may also begin with `/experimental`, which is taken
off. Those under `/ketline/v1` are our own, and `/ketline/v1/openapi.json` describes all of them for programs.

Who may call: *anyone*; the *owner* of a key, with `Authorization: Bearer TOKEN` (from `POST /identity/token`)
or `Authorization: apikey KEY`; or the owner inside an *instance*, which the header `Service-CRN` names. An id
that belongs to another instance answers 404.
"""


def page() -> str:
    """The whole page, one table for each noun."""
    parts = [MADE_FROM.format(source="src/ketline/api"), INTRODUCTION]
    nouns: dict[str, list[Operation]] = {}
    for operation in operations():
        nouns.setdefault(str(operation.tags[0]), []).append(operation)
    for noun in sorted(nouns):
        rows = [
            _row(operation)
            for operation in sorted(nouns[noun], key=lambda o: (o.path, sorted(o.methods or ())))
        ]
        parts.append(f"\n## {noun[0].upper()}{noun[1:]}\n\n")
        parts.append(table(("endpoint", "who", "what"), rows))
    return "".join(parts)


def operations() -> Iterator[Operation]:
    """Every operation that a file of `ketline.api` offers."""
    for module in pkgutil.iter_modules(api.__path__):
        yield from getattr(importlib.import_module(f"{api.__name__}.{module.name}"), "OPERATIONS", ())


def _row(operation: Operation) -> tuple[str, str, str]:
    text = prose(operation.answer.__doc__ or "").replace("\n\n", " ")
    return (
        f"`{', '.join(sorted(operation.methods or ()))} {operation.path}`",
        operation.access,
        prose(text).replace("\n", " "),
    )
