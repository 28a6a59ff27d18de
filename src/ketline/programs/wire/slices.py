"""The exact bytes of a part of a JSON text, for what must be echoed as it was written."""

from __future__ import annotations

import re

import orjson

_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\],:]', re.DOTALL)


def value_bytes(raw: bytes, path: tuple[str, ...]) -> bytes | None:
    """The bytes of the value at ``path`` (keys of nested objects) of a valid JSON object; None if absent.

    As in JSON parsers, the last of several equal keys wins.
    """
    span = (0, len(raw))
    for key in path:
        inner = _member(raw, span, key.encode())
        if inner is None:
            return None
        span = inner
    return raw[span[0] : span[1]].strip()


def _member(raw: bytes, span: tuple[int, int], key: bytes) -> tuple[int, int] | None:
    """Where the value of ``key`` stands in the object that fills ``span``."""
    depth = 0
    name: bytes | None = None
    expects_name = False
    start: int | None = None
    found: tuple[int, int] | None = None
    for match in _TOKEN.finditer(raw, *span):
        token = match.group()
        if token in b"{[":
            depth += 1
            expects_name = depth == 1
        elif token in b"}]":
            depth -= 1
            if depth == 0:
                if start is not None and name == key:
                    found = (start, match.start())
                break
        elif depth == 1 and token == b",":
            if start is not None and name == key:
                found = (start, match.start())
            expects_name, start, name = True, None, None
        elif depth == 1 and token == b":":
            start = match.end()
        elif depth == 1 and expects_name and start is None:
            # A letter may be written by its number.
            name, expects_name = orjson.loads(token).encode(), False
    return found
