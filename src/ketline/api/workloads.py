"""Workloads: jobs outside sessions, sessions and batches in one list (``rest.md`` B.7)."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from starlette.responses import Response

from ketline.api.asked import Query, invalid
from ketline.api.operations import FLAG, MOMENT, TEXT, TEXTS, Call, Operation
from ketline.api.replies import json_reply, moment

_STATUSES = ("pending", "in_progress", "completed", "canceled", "failed")
_MODES = ("job", "session", "batch")
_QUERY: dict[str, dict[str, Any]] = {
    "user": {"type": "string", "enum": ["me"]},
    "sort": {"type": "string", "enum": ["createdAt", "-createdAt"]},
    "limit": {"type": "integer", "minimum": 1, "maximum": 50},
    "previous": TEXT, "next": TEXT, "backend": TEXT, "search": TEXT,
    "status": {"type": "array", "items": {"type": "string", "enum": list(_STATUSES)}},
    "mode": {"type": "string", "enum": list(_MODES)},
    "created_after": MOMENT, "created_before": MOMENT, "tags": TEXTS, "include_mocks": FLAG,
}  # fmt: skip


async def list_workloads(call: Call) -> Response:
    """A page of workloads, newest first, with links to the previous and the next page."""
    query = Query(call.query, _QUERY)
    limit = query.integer("limit")
    if limit is not None and not 1 <= limit <= 50:
        raise invalid("limit", "1 to 50 is expected")
    statuses = query.many("status")
    for status in statuses:
        if status not in _STATUSES:
            raise invalid("status", f"{status!r} isn't one of {', '.join(_STATUSES)}")
    previous, following = query.text("previous"), query.text("next")
    if previous and following:
        raise invalid("previous", "it can't stand beside next")
    wanted: dict[str, Any] = {
        "user_id": call.who.user_id if query.one_of("user", ("me",)) else None,
        "ascending": query.one_of("sort", ("createdAt", "-createdAt")) == "createdAt",
        "limit": limit or 10,
        "previous": previous,
        "next": following,
        "backend": query.text("backend"),
        "search": query.text("search"),
        "status": statuses,
        "mode": query.one_of("mode", _MODES),
        "created_after": query.moment("created_after"),
        "created_before": query.moment("created_before"),
        "tags": query.many("tags"),
        "include_mocks": query.flag("include_mocks") or False,
    }
    items, total, before, after = await call.runtime.workload_items(call.who, wanted)
    shown: dict[str, Any] = {
        "workloads": [{key: _shown(value) for key, value in item.items()} for item in items],
        "total_count": total,
        "limit": wanted["limit"],
    }
    if before is not None:
        shown["previous"] = {"href": _href(call, "previous", before)}
    if after is not None:
        shown["next"] = {"href": _href(call, "next", after)}
    return json_reply(shown)


def _shown(value: Any) -> Any:
    return moment(value) if isinstance(value, datetime) else value


def _href(call: Call, key: str, cursor: str) -> str:
    kept = [(k, v) for k, v in call.request.query_params.multi_items() if k not in {"previous", "next"}]
    return f"{call.request.url.path}?{urlencode([*kept, (key, cursor)])}"


OPERATIONS = (Operation("GET", "/api/v1/workloads", list_workloads, query=_QUERY),)
