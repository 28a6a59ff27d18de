"""The registry of errors, where ``more_info`` of every refusal leads."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from ketline.api.operations import Call, Operation
from ketline.api.replies import json_reply
from ketline.errors import ERROR_CODE_NOT_FOUND, REGISTRY, ErrorKind, KetlineError


async def list_errors(call: Call) -> Response:
    """Every error that can be met, by code."""
    return json_reply({"errors": [entry(REGISTRY[code]) for code in sorted(REGISTRY)]})


async def get_error(call: Call) -> Response:
    """One error: what it means and what to do."""
    code = call.path("code")
    kind = REGISTRY.get(int(code)) if code.isascii() and code.isdigit() and len(code) < 6 else None
    if kind is None:
        raise KetlineError(ERROR_CODE_NOT_FOUND, code=code)
    return json_reply(entry(kind))


def entry(kind: ErrorKind) -> dict[str, Any]:
    """One entry; message and solution are templates."""
    return {
        "code": kind.code,
        "http_status": kind.status,
        "title": kind.title,
        "message": kind.message,
        "solution": kind.solution,
    }


OPERATIONS = (
    Operation("GET", "/ketline/v1/errors", list_errors, access="anyone"),
    Operation("GET", "/ketline/v1/errors/{code}", get_error, access="anyone"),
)
