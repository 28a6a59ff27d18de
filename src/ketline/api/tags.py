"""Tags in use, for completing what a user types."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from ketline.api.asked import Query, invalid
from ketline.api.operations import Call, Operation
from ketline.api.replies import json_reply

_QUERY: dict[str, dict[str, Any]] = {
    "type": {"type": "string", "enum": ["job"]},
    "search": {"type": "string", "minLength": 3, "maxLength": 100},
}


async def list_tags(call: Call) -> Response:
    """Tags of the instance's jobs that contain ``search`` (3 to 100 characters)."""
    query = Query(call.query, _QUERY)
    query.one_of("type", ("job",))
    search = query.text("search")
    if search is None or not 3 <= len(search) <= 100:
        raise invalid("search", "3 to 100 characters are expected")
    return json_reply({"tags": list(await call.runtime.tags(call.who, search))})


OPERATIONS = (Operation("GET", "/api/v1/tags", list_tags, query=_QUERY),)
