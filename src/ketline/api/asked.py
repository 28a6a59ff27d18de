"""What a request asks for in its query: typed, and refused by name when it can't be used."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from urllib.parse import parse_qsl

from ketline.errors import INVALID_REQUEST, KetlineError


def invalid(field: str, problem: str) -> KetlineError:
    """INVALID_REQUEST for one field."""
    return KetlineError(INVALID_REQUEST, field=field, problem=problem)


class Query:
    """The query string of a request; keys that the endpoint doesn't know are refused.

    Lists are repeated keys (``tags=a&tags=b``), booleans come as ``true`` or ``True`` (``rest.md`` H20, H30).
    """

    def __init__(self, query_string: bytes, known: Collection[str]) -> None:
        self._values: dict[str, list[str]] = {}
        if not query_string:
            return
        try:
            pairs = parse_qsl(query_string.decode("utf-8"), keep_blank_values=True, errors="strict")
        except UnicodeDecodeError as error:
            raise invalid("query", "it isn't UTF-8") from error
        for key, value in pairs:
            if key not in known:
                raise invalid(
                    key, f"there is no such query parameter here; known: {', '.join(sorted(known))}"
                )
            if "\x00" in value:
                raise invalid(key, "it holds a null character")
            self._values.setdefault(key, []).append(value)

    def many(self, key: str) -> tuple[str, ...]:
        """Every value given, in order."""
        return tuple(self._values.get(key, ()))

    def text(self, key: str) -> str | None:
        """The value, None when absent or empty."""
        values = self._values.get(key)
        if not values:
            return None
        if len(values) > 1:
            raise invalid(key, "it is given more than once")
        return values[0] or None

    def flag(self, key: str) -> bool | None:
        """A boolean."""
        value = self.text(key)
        if value is None:
            return None
        if value.lower() in {"true", "1"}:
            return True
        if value.lower() in {"false", "0"}:
            return False
        raise invalid(key, f"{value!r} is neither true nor false")

    def integer(self, key: str) -> int | None:
        """A whole number."""
        value = self.text(key)
        if value is None:
            return None
        try:
            number = int(value)
        except ValueError as error:
            raise invalid(key, f"{value!r} isn't a whole number") from error
        if abs(number) >= 2**53:
            raise invalid(key, f"{value!r} is out of range")
        return number

    def one_of(self, key: str, allowed: Collection[str]) -> str | None:
        """One of some words."""
        value = self.text(key)
        if value is not None and value not in allowed:
            raise invalid(key, f"{value!r} isn't one of {', '.join(allowed)}")
        return value

    def moment(self, key: str) -> datetime | None:
        """An ISO 8601 time; UTC when it names no zone."""
        value = self.text(key)
        if value is None:
            return None
        try:
            # A plus sign that wasn't percent-encoded arrives as a space.
            at = datetime.fromisoformat(value.strip().replace(" ", "+") if "T" in value else value)
            return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
        except (ValueError, OverflowError) as error:
            raise invalid(key, f"{value!r} isn't an ISO 8601 time") from error
