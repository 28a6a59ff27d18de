"""Markdown from parts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

MADE_FROM = "<!-- Made by `make docs` from {source}; change it there. -->\n\n"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; pipes in cells are escaped."""
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def prose(docstring: str) -> str:
    """The text of a docstring: double backticks of reStructuredText become single ones, lines are joined."""
    paragraphs = re.split(r"\n\s*\n", docstring.strip())
    joined = "\n\n".join(" ".join(line.strip() for line in part.splitlines()) for part in paragraphs)
    return re.sub(r"``([^`]+)``", r"`\1`", joined)
