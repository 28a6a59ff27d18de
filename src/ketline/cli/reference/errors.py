"""The page of all errors, from `ketline.errors`."""

from __future__ import annotations

import re

from ketline.cli.reference.markdown import MADE_FROM
from ketline.errors import REGISTRY, ErrorKind

INTRODUCTION = """# Errors

Every refusal and every failed or cancelled job carries a code, a message and a solution. Words in *italics*
stand for what the message names. "As a reason" means that the code is never an answer to a request but the
reason of a job's or a session's final state.
"""


def page() -> str:
    """The whole page, in the order of the codes."""
    parts = [MADE_FROM.format(source="src/ketline/errors.py"), INTRODUCTION]
    parts += [_entry(REGISTRY[code]) for code in sorted(REGISTRY)]
    return "".join(parts)


def _entry(kind: ErrorKind) -> str:
    where = "As a reason" if kind.status is None else f"HTTP {kind.status}"
    return (
        f"\n## {kind.code}\n\n**{kind.title}.** {where}.\n\n"
        f"> {_blanks(kind.message)}\n\n{_blanks(kind.solution)}\n"
    )


def _blanks(template: str) -> str:
    """A message's template, with what is filled in set in italics."""
    return re.sub(r"{(\w+)[^}]*}", lambda match: f"*{match[1].replace('_', ' ')}*", template)
