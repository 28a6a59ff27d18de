"""The instance: its usage, its configuration and its limit (``rest.md`` B.6)."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from ketline.api.asked import invalid
from ketline.api.bodies import read_object
from ketline.api.operations import Call, Operation
from ketline.api.replies import json_reply, moment, nothing, whole


async def get_usage(call: Call) -> Response:
    """What the instance used of its limit or allocation; asked before every run.

    A missing limit or allocation is left out: the client computes with what it finds (``rest.md`` H18).
    """
    instance = await call.runtime.instance(call.who)
    shown: dict[str, Any] = {
        "instance_id": instance.crn,
        "plan_id": instance.plan_id,
        "usage_period": {
            "start_time": moment(instance.period_start),
            "end_time": moment(instance.period_end),
        },
        "usage_consumed_seconds": instance.consumed_seconds,
    }
    if instance.limit_seconds is not None:
        shown["usage_limit_seconds"] = whole(instance.limit_seconds)
    if instance.allocation_seconds is not None:
        shown["usage_allocation_seconds"] = whole(instance.allocation_seconds)
    shown["usage_limit_reached"] = (
        instance.limit_seconds is not None and instance.consumed_seconds >= instance.limit_seconds
    )
    return json_reply(shown)


async def get_instance(call: Call) -> Response:
    """The instance with its backends; its figures are strings of seconds."""
    instance = await call.runtime.instance(call.who)
    backends = await call.runtime.backends(call.who, include_mocks=False)
    shown: dict[str, Any] = {
        "plan_id": instance.plan_id,
        "backends": [{"name": backend.name} for backend in backends],
    }
    if instance.limit_seconds is not None:
        shown["instance_limit"] = shown["instance_limit_seconds"] = f"{instance.limit_seconds:g}"
    if instance.allocation_seconds is not None:
        shown["usage_allocation_seconds"] = f"{instance.allocation_seconds:g}"
    return json_reply(shown)


async def get_instance_configuration(call: Call) -> Response:
    """The instance's limit in seconds; null when there is none."""
    limit = (await call.runtime.instance(call.who)).limit_seconds
    return json_reply({"instance_limit": None if limit is None else whole(limit)})


async def put_instance_configuration(call: Call) -> Response:
    """Set the instance's limit in seconds, or take it away with null."""
    content = await read_object(call.request, frozenset({"instance_limit"}))
    if "instance_limit" not in content:
        raise invalid("instance_limit", "it is missing")
    limit = content["instance_limit"]
    if limit is not None and (
        isinstance(limit, bool) or not isinstance(limit, int | float) or not 1 <= limit <= 1e12
    ):
        raise invalid("instance_limit", "a number of seconds from 1 on, or null, is expected")
    await call.runtime.set_instance_limit(call.who, None if limit is None else float(limit))
    return nothing()


_LIMIT = {
    "type": "object",
    "required": ["instance_limit"],
    "additionalProperties": False,
    "properties": {"instance_limit": {"type": ["number", "null"], "minimum": 1}},
}

OPERATIONS = (
    Operation("GET", "/api/v1/instances/usage", get_usage),
    Operation("GET", "/api/v1/instance", get_instance),
    Operation("GET", "/api/v1/instances/configuration", get_instance_configuration),
    Operation("PUT", "/api/v1/instances/configuration", put_instance_configuration, status=204, body=_LIMIT),
)
