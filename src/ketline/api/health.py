"""Whether the server can do its work."""

from __future__ import annotations

from starlette.responses import Response

from ketline.api.operations import Call, Operation
from ketline.api.replies import json_reply


async def get_health(call: Call) -> Response:
    """200 when jobs are accepted and run, with the state of the server's parts."""
    return json_reply(await call.runtime.health())


OPERATIONS = (Operation("GET", "/ketline/v1/health", get_health, access="anyone"),)
