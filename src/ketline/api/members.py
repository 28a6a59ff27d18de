"""Where a member of a JSON object stands in the object's bytes, without decoding anything.

The inputs of a job are kept exactly as they were posted. Decoding and encoding them again would change
numbers, spaces and the order of keys, and would take tens of times the memory of a large payload.
"""

from __future__ import annotations

import re

_SPACE = re.compile(rb"[ \t\r\n]*")
_BRACKET = re.compile(rb'["{}\[\]]')
_END_OF_SCALAR = re.compile(rb"[,}\]\s]")
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_OUTSIDE_AND_STRINGS = re.compile(rb'(?:[^"\\]++|"(?:[^"\\]++|\\.)*+")*+', re.DOTALL)
_ONE_KIND = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS = bytes(set(range(256)) - set(b"{}[]"))
_WINDOW = 65_536
"""Bytes searched at a time, so that other threads get their turn in between."""
_NESTING = 512
"""Depth up to which the brackets of a window are weighed together."""
_SHALLOW = 12
"""Depth up to which one search finds the end of a small value."""


def _nested(depth: int) -> re.Pattern[bytes]:
    """What opens with a bracket, up to the bracket that closes it; each byte is looked at once."""
    flat = rb'[^"{}\[\]]++|"(?:[^"\\]++|\\.)*+"'
    pattern = rb"[{\[](?:" + flat + rb")*+[}\]]"
    for _ in range(depth - 1):
        pattern = rb"[{\[](?:" + flat + rb"|" + pattern + rb")*+[}\]]"
    return re.compile(pattern, re.DOTALL)


_SMALL_VALUE = _nested(_SHALLOW)


class MalformedJson(ValueError):
    """The bytes aren't a JSON object; the message says where it stopped making sense."""


def member_span(body: bytes | bytearray, name: bytes) -> tuple[int, int] | None:
    """The half-open range of bytes of the top-level member ``name``; None when there is no such member.

    ``name`` is compared as it is written, so an escaped spelling of it isn't found. What is inside nested
    values is checked no further than needed to find their ends. Raises MalformedJson, also when the member
    is there twice.
    """
    found: tuple[int, int] | None = None
    at = _after_space(body, 0)
    _expect(body, at, b"{")
    at = _after_space(body, at + 1)
    if body[at : at + 1] == b"}":
        return None
    while True:
        _expect(body, at, b'"')
        key_end = _after_string(body, at)
        key = body[at + 1 : key_end - 1]
        at = _after_space(body, key_end)
        _expect(body, at, b":")
        start = _after_space(body, at + 1)
        end = _after_value(body, start)
        if key == name:
            if found is not None:
                raise MalformedJson(f"{name.decode()!r} is given twice")
            found = (start, end)
        at = _after_space(body, end)
        if body[at : at + 1] == b"}":
            break
        _expect(body, at, b",")
        at = _after_space(body, at + 1)
    if _after_space(body, at + 1) != len(body):
        raise MalformedJson(f"something follows the object at byte {at + 1}")
    return found


def _after_space(body: bytes | bytearray, at: int) -> int:
    match = _SPACE.match(body, at)
    return match.end() if match else at


def _expect(body: bytes | bytearray, at: int, byte: bytes) -> None:
    if body[at : at + 1] != byte:
        raise MalformedJson(f"{byte.decode()!r} is expected at byte {at}")


def _after_string(body: bytes | bytearray, start: int) -> int:
    """The byte after the closing quote of the string that opens at ``start``."""
    at = start + 1
    while True:
        quote = body.find(b'"', at)
        if quote < 0:
            raise MalformedJson(f"the string that starts at byte {start} has no end")
        before = quote
        while before > at and body[before - 1] == 0x5C:
            before -= 1
        if (quote - before) % 2 == 0:
            return quote + 1
        at = quote + 1


def _after_value(body: bytes | bytearray, start: int) -> int:
    first = body[start : start + 1]
    if first == b'"':
        return _after_string(body, start)
    if first in (b"{", b"["):
        return _after_nested(body, start)
    end = _END_OF_SCALAR.search(body, start)
    if end is None or end.start() == start:
        raise MalformedJson(f"a value is expected at byte {start}")
    return end.start()


def _after_nested(body: bytes | bytearray, start: int) -> int:
    """The byte after the bracket that closes the one at ``start``.

    One search finds it in a small body. A large one is read a window at a time, and windows that the value
    can't end in are only weighed: how many brackets they close of those open before, and how many they leave
    open.
    """
    if len(body) - start <= _WINDOW and (small := _SMALL_VALUE.match(body, start)):
        return small.end()
    depth = 0
    at = start
    while at < len(body):
        whole = _OUTSIDE_AND_STRINGS.match(body, at, min(at + _WINDOW, len(body)))
        end = whole.end() if whole else at
        if end == at:
            if body[at : at + 1] != b'"':
                break
            at = _after_string(body, at)  # a string longer than the window
            continue
        weight = _weigh(_STRING.sub(b"", body[at:end]))
        if weight is None or weight[0] >= depth:
            depth, at = _step(body, at, end, depth)
            if depth == 0:
                return at
        else:
            depth += weight[1] - weight[0]
            at = end
    raise MalformedJson(f"the value that starts at byte {start} has no end")


def _weigh(text: bytes | bytearray) -> tuple[int, int] | None:
    """How many brackets a text closes that it didn't open, and how many it leaves open; None if that is
    tedious to say."""
    brackets = bytes(text.translate(_ONE_KIND, _NO_BRACKETS))
    for _ in range(_NESTING):
        fewer = brackets.replace(b"[]", b"")
        if len(fewer) == len(brackets):
            closing = brackets.count(b"]")
            return closing, len(brackets) - closing
        brackets = fewer
    return None


def _step(body: bytes | bytearray, at: int, end: int, depth: int) -> tuple[int, int]:
    """Go from bracket to bracket up to ``end``, or to where the depth is 0; the depth and the place there."""
    while at < end:
        token = _BRACKET.search(body, at, end)
        if token is None:
            return depth, end
        at = token.start()
        byte = body[at]
        if byte == 0x22:
            at = _after_string(body, at)
            continue
        at += 1
        depth += 1 if byte in (0x7B, 0x5B) else -1
        if depth == 0:
            break
    return depth, at
