"""How the server's log is written: an entry is a line, whatever strings of users stand in it.

What a user posted may turn up in a message or in a traceback. There it must not begin a line that looks like
another entry, move the cursor of whoever reads the log in a terminal, or reveal a key.
"""

from __future__ import annotations

import logging
import re

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
LONGEST_LINE = 2_000
"""Characters of a line; what a user wrote may be of any length."""

_CONTROL = re.compile(
    # C0 and C1 controls, line and paragraph separators, and what changes the direction of writing.
    "[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
_SECRETS = (
    re.compile(r"(ketline-[a-z0-9]{8,}-)[A-Za-z0-9_-]{8,}"),
    re.compile(r"((?:bearer|apikey)[ =:]+)[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE),
)


class LineFormatter(logging.Formatter):
    """Writes an entry's message as one line, and each line of its traceback behind a bar."""

    def __init__(self) -> None:
        super().__init__(FORMAT)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name is logging's
        """The entry's first line; further lines of the message follow as those of a traceback do."""
        first, *more = record.message.split("\n")
        record.message = first
        return "\n".join([plain(super().formatMessage(record)), *map(_further, more)])

    def formatException(self, exception: object) -> str:  # noqa: N802 - the name is logging's
        """A traceback, as lines that can't be taken for entries."""
        text = super().formatException(exception)  # type: ignore[arg-type]
        return "\n".join(map(_further, text.split("\n")))


def plain(text: str) -> str:
    """A text as a single line of a log: without control characters, without keys, not too long."""
    for secret in _SECRETS:
        text = secret.sub(r"\1[redacted]", text)
    text = _CONTROL.sub(lambda found: found.group().encode("unicode_escape").decode(), text)
    return text if len(text) <= LONGEST_LINE else f"{text[:LONGEST_LINE]}… ({len(text):,} characters)"


def _further(line: str) -> str:
    return f"  | {plain(line)}"
