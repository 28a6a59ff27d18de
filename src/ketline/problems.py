"""What the types refuse, in words: what is expected, and what was given instead."""

from __future__ import annotations

from pydantic_core import ErrorDetails

_LONGEST = 60


def problem(details: ErrorDetails) -> str:
    """One finding of pydantic's without its place: ``input should be greater than 0 (not -1)``."""
    if details["type"] == "missing":
        return "is missing"
    if details["type"] == "extra_forbidden":
        return "there is no such key"
    message = details["msg"].removeprefix("Value error, ")
    value = details["input"]
    if isinstance(value, dict | list | tuple) or details["type"] == "value_error":
        return f"{message[:1].lower()}{message[1:]}"
    shown = repr(value)
    if len(shown) > _LONGEST:
        shown = f"{shown[:_LONGEST]}…"
    return f"{message[:1].lower()}{message[1:]} (not {shown})"
