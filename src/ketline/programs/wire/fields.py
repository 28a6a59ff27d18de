"""Reading fields of JSON objects: known names, right types, clear refusals."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from ketline.programs.failures import bad_option, unreadable


def known_keys(value: object, allowed: Collection[str], field: str) -> dict[str, Any]:
    """An object that has no other keys than these.

    Raises:
        JobError: it isn't an object, or has a key that isn't known.
    """
    if not isinstance(value, dict):
        raise unreadable(field, f"{type(value).__name__} instead of an object.")
    if extra := sorted(set(value) - set(allowed)):
        raise unreadable(
            field,
            f"unknown key {extra[0]!r}; known are {', '.join(sorted(allowed))}.",
            f"Remove {extra[0]!r}.",
        )
    return value


def a_list(value: object, field: str) -> list[Any]:
    """A list.

    Raises:
        JobError: it isn't one.
    """
    if not isinstance(value, list):
        raise unreadable(field, f"{type(value).__name__} instead of a list.")
    return value


def whole(value: object, field: str, *, least: int = 1) -> int:
    """A whole number.

    Raises:
        JobError: it isn't one, or too small.
    """
    if type(value) is not int or value < least:
        raise unreadable(field, f"{value!r} isn't a whole number of at least {least}.")
    return value


def flag(value: object, name: str) -> bool:
    """An option that is true or false.

    Raises:
        JobError: it is neither.
    """
    if not isinstance(value, bool):
        raise bad_option(name, f"{value!r} is neither true nor false.")
    return value


def one_of(value: object, allowed: Collection[str], name: str) -> str:
    """An option that is one of these words.

    Raises:
        JobError: it is none of them.
    """
    if not isinstance(value, str) or value not in allowed:
        raise bad_option(name, f"{value!r} isn't one of {', '.join(sorted(allowed))}.")
    return value
