"""Request bodies: read up to a limit, JSON objects, and forms."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

import orjson
from starlette.requests import Request
from starlette.types import Receive

from ketline.api.asked import invalid
from ketline.errors import PAYLOAD_TOO_LARGE, KetlineError

SMALL_BODY = 1_000_000
"""Bytes that any body but that of a submission may have."""
_LARGE = 262_144


async def read_body(request: Request, limit: int) -> bytes | bytearray:
    """The whole body; PAYLOAD_TOO_LARGE above ``limit`` bytes, announced or (in chunks) not.

    INVALID_REQUEST when it is compressed: nothing is unpacked outside of the workers.
    """
    coding = request.headers.get("content-encoding", "identity")
    if coding != "identity":
        raise invalid("Content-Encoding", f"{coding!r} isn't taken; send the body as it is")
    announced = request.headers.get("content-length", "")
    length = int(announced) if announced.isascii() and announced.isdigit() else 0
    if length > limit:
        raise KetlineError(PAYLOAD_TOO_LARGE, limit=limit)
    if length > _LARGE:
        return await _read_large(request, length)
    pieces: list[bytes] = []
    total = 0
    async for piece in request.stream():
        total += len(piece)
        if total > limit:
            raise KetlineError(PAYLOAD_TOO_LARGE, limit=limit)
        pieces.append(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


async def _read_large(request: Request, length: int) -> bytearray:
    """A body of known length, in one block: memory that grew with it would partly stay with the process."""
    body = bytearray(length)
    filled = 0
    async for piece in request.stream():
        body[filled : filled + len(piece)] = piece
        filled += len(piece)
    return body


def hung_up(receive: Receive) -> bool:
    """Whether the client of a request that was read to its end has gone by now. Waits for nothing.

    Starlette's way of asking this costs as much as reading a small submission.
    """
    asked = receive().__await__()
    try:
        next(asked)
    except StopIteration as told:
        return bool(told.value["type"] == "http.disconnect")
    finally:
        asked.close()
    return False


def parse_json(body: bytes | bytearray) -> Any:
    """A JSON document; INVALID_REQUEST naming what is wrong with it."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise invalid("body", f"not JSON: {error}") from error


async def read_object(request: Request, known: frozenset[str], limit: int = SMALL_BODY) -> dict[str, Any]:
    """A JSON object whose keys are all ``known``."""
    content = parse_json(await read_body(request, limit))
    if not isinstance(content, dict):
        raise invalid("body", "a JSON object is expected")
    check_keys(content, known)
    return content


def check_keys(content: dict[str, Any], known: frozenset[str]) -> None:
    """Refuse keys that nothing here would heed."""
    for key in content:
        if key not in known:
            raise invalid(key, f"there is no such field here; known: {', '.join(sorted(known))}")


async def read_form(request: Request, limit: int = 65_536) -> dict[str, str]:
    """An ``application/x-www-form-urlencoded`` body; the last value of a repeated key."""
    body = await read_body(request, limit)
    try:
        return dict(parse_qsl(bytes(body).decode("utf-8"), keep_blank_values=True, errors="strict"))
    except UnicodeDecodeError as error:
        raise invalid("body", "it isn't a form in UTF-8") from error


def text_field(content: dict[str, Any], key: str, *, longest: int, required: bool = False) -> str | None:
    """A string of at most ``longest`` characters; None when absent or null."""
    value = content.get(key)
    if value is None:
        if required:
            raise invalid(key, "it is missing")
        return None
    if not isinstance(value, str):
        raise invalid(key, f"a string is expected, not {type(value).__name__}")
    if required and not value:
        raise invalid(key, "it is empty")
    if len(value) > longest:
        raise invalid(key, f"it may have {longest} characters, and has {len(value)}")
    if "\x00" in value:
        raise invalid(key, "it holds a null character")
    return value


def flag_field(content: dict[str, Any], key: str) -> bool | None:
    """A boolean; None when absent or null."""
    value = content.get(key)
    if value is None or isinstance(value, bool):
        return value
    raise invalid(key, f"true or false is expected, not {value!r}")


def seconds_field(content: dict[str, Any], key: str, *, least: float) -> float | None:
    """A number of seconds; None when absent or null."""
    value = content.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise invalid(key, f"a number of seconds is expected, not {value!r}")
    if value < least:
        raise invalid(key, f"at least {least:g} is expected, not {value:g}")
    if value > 1e12:
        raise invalid(key, f"{value:g} is out of range")
    return float(value)
