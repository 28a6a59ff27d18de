"""Answers: JSON, empty ones, pieces of known length, and refusals in both forms that clients look for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import orjson
from starlette.responses import Response, StreamingResponse

from ketline.errors import ErrorKind, KetlineError

JSON = "application/json"
TEXT = "text/plain"


def json_reply(content: Any, status: int = 200) -> Response:
    """``content`` as JSON."""
    return Response(orjson.dumps(content), status_code=status, media_type=JSON)


def json_bytes(content: bytes) -> Response:
    """Bytes that are JSON already."""
    return Response(content, media_type=JSON)


def nothing() -> Response:
    """204: done, and nothing to say."""
    return Response(status_code=204)


def text_reply(content: str) -> Response:
    """Plain text."""
    return Response(content.encode(), media_type=TEXT)


def pieces_reply(pieces: AsyncIterator[bytes], length: int | None, media_type: str) -> Response:
    """Bytes in pieces; ``length`` in bytes becomes Content-Length when it is known."""
    headers = {} if length is None else {"content-length": str(length)}
    return StreamingResponse(pieces, media_type=media_type, headers=headers)


def moment(at: datetime | None) -> str | None:
    """A time as clients read it: ISO 8601 in UTC with ``Z`` (``rest.md`` H37)."""
    if at is None:
        return None
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def whole(seconds: float) -> float | int:
    """Whole seconds as an integer, as they are documented; parts of a second are kept."""
    return int(seconds) if abs(seconds) < 2**53 and seconds == int(seconds) else seconds


def refusal(error: KetlineError) -> Response:
    """The answer to a refused request, from its entry in the registry (``rest.md`` A.10)."""
    headers = {}
    if error.retry_after_seconds is not None:
        headers["retry-after"] = str(max(1, round(error.retry_after_seconds)))
    return refusal_of(error.kind, error.message, error.solution, headers)


def refusal_of(
    kind: ErrorKind,
    message: str,
    solution: str,
    headers: dict[str, str] | None = None,
    trace: str | None = None,
) -> Response:
    """A refusal with both bodies (``errors`` as documented, ``error`` for the client) and the trace header.

    The client prints the short message only when it finds ``error`` and the header ``uber-trace-id``.
    """
    trace = trace or uuid4().hex
    body = {
        "errors": [
            {
                "code": kind.code,
                "message": message,
                "solution": solution,
                "more_info": f"/ketline/v1/errors/{kind.code}",
            }
        ],
        "error": {"code": kind.code, "message": message, "solution": solution},
        "trace": trace,
    }
    return Response(
        orjson.dumps(body),
        status_code=kind.status or 400,
        media_type=JSON,
        headers={**(headers or {}), "uber-trace-id": trace},
    )
