"""Resource search: which instances a key may use (``rest.md`` A.5)."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from ketline.api.asked import Query, invalid
from ketline.api.bodies import read_object
from ketline.api.operations import Call, Operation
from ketline.api.replies import json_reply
from ketline.service.views import InstanceView

_QUERY: dict[str, dict[str, Any]] = {
    "limit": {"type": "integer", "minimum": 1, "maximum": 1_000},
    "offset": {"type": "integer", "minimum": 0},
    "timeout": {"type": "integer", "minimum": 0},
    "account_id": {"type": "string"},
}
_SERVICE = "service_name:quantum-computing"


async def post_search(call: Call) -> Response:
    """The instances of the key, in pages that a cursor leads through.

    The one query understood is ``service_name:quantum-computing``. Archived instances aren't listed.
    """
    asked = Query(call.query, _QUERY)
    limit = asked.integer("limit")
    limit = 10 if limit is None else limit
    if not 1 <= limit <= 1_000:
        raise invalid("limit", "1 to 1000 is expected")
    content = await read_object(
        call.request, frozenset({"query", "fields", "search_cursor", "transaction_id"})
    )
    query = content.get("query", _SERVICE)
    if query != _SERVICE:
        raise invalid("query", f"only {_SERVICE!r} can be searched for")
    start = _position(content.get("search_cursor"))
    instances = [i for i in await call.runtime.instances_of(call.who) if not i.archived]
    page = instances[start : start + limit]
    more = start + limit < len(instances)
    return json_reply(
        {
            "items": [item(instance) for instance in page],
            "limit": limit,
            "search_cursor": str(start + limit) if more else None,
        }
    )


def item(instance: InstanceView) -> dict[str, Any]:
    """An instance as the search shows it; ``doc.extensions`` must hold something, or the client drops it."""
    return {
        "crn": instance.crn,
        "name": instance.name,
        "service_name": "quantum-computing",
        "service_plan_unique_id": instance.plan_id,
        "region": instance.region,
        "tags": list(instance.tags),
        "doc": {"extensions": {"account": instance.account, "plan": instance.plan}},
    }


def _position(cursor: object) -> int:
    if cursor is None or cursor == "":
        return 0
    if isinstance(cursor, str) and cursor.isascii() and cursor.isdigit() and len(cursor) < 10:
        return int(cursor)
    raise invalid("search_cursor", "it isn't a cursor of this search")


_BODY = {
    "type": "object",
    "properties": {
        "query": {"type": "string", "enum": [_SERVICE]},
        "fields": {"type": "array", "items": {"type": "string"}},
        "search_cursor": {"type": ["string", "null"]},
        "transaction_id": {"type": ["string", "null"]},
    },
}

OPERATIONS = (
    Operation("POST", "/v3/resources/search", post_search, access="owner", query=_QUERY, body=_BODY),
)
