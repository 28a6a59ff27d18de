"""The resource controller: instances by name, for scripts that ask there (``rest.md`` H46)."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from ketline.api.asked import Query
from ketline.api.operations import TEXT, Call, Operation
from ketline.api.replies import json_reply
from ketline.service.views import InstanceView

_QUERY: dict[str, dict[str, Any]] = {
    "name": TEXT,
    "guid": TEXT,
    "resource_plan_id": TEXT,
    "limit": {"type": "integer", "minimum": 1},
}


async def list_resources(call: Call) -> Response:
    """The instances of the key, by ``name``, ``guid`` or ``resource_plan_id``."""
    query = Query(call.query, _QUERY)
    name, guid, plan = query.text("name"), query.text("guid"), query.text("resource_plan_id")
    limit = query.integer("limit")
    found = [
        resource(instance)
        for instance in await call.runtime.instances_of(call.who)
        if name in (None, instance.name)
        and guid in (None, instance.instance_id)
        and plan in (None, instance.plan_id)
    ]
    if limit is not None:
        found = found[: max(limit, 0)]
    return json_reply({"rows_count": len(found), "next_url": None, "resources": found})


def resource(instance: InstanceView) -> dict[str, Any]:
    """An instance as the resource controller shows it."""
    return {
        "id": instance.crn,
        "crn": instance.crn,
        "guid": instance.instance_id,
        "name": instance.name,
        "region_id": instance.region,
        "resource_plan_id": instance.plan_id,
        "state": "inactive" if instance.archived else "active",
        "type": "service_instance",
    }


OPERATIONS = (Operation("GET", "/v2/resource_instances", list_resources, access="owner", query=_QUERY),)
