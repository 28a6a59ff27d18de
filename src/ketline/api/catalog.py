"""The catalog of plans, under a prefix of its own (``rest.md`` A.5, H47)."""

from __future__ import annotations

from starlette.responses import Response

from ketline.api.operations import Call, Operation
from ketline.api.replies import json_reply
from ketline.errors import PLAN_NOT_FOUND, KetlineError


async def get_plan(call: Call) -> Response:
    """A plan's display name and pricing type."""
    return await _plan(call)


async def get_plan_beside_api(call: Call) -> Response:
    """The same under the API's prefix, for catalogs that are said to be there.

    Only ids in the form of a UUID are looked up, so that no unknown path of the API becomes a plan.
    """
    return await _plan(call)


async def _plan(call: Call) -> Response:
    plan_id = call.path("plan_id")
    for instance in await call.runtime.instances_of(call.who):
        if str(instance.plan_id) == plan_id:
            name = instance.plan_display_name
            return json_reply(
                {
                    "id": plan_id,
                    "name": instance.plan,
                    "kind": "plan",
                    "overview_ui": {"en": {"display_name": name, "description": name}},
                    "metadata": {"pricing": {"type": instance.pricing_type}},
                }
            )
    raise KetlineError(PLAN_NOT_FOUND, plan_id=plan_id)


OPERATIONS = (
    Operation("GET", "/catalog/api/v1/{plan_id}", get_plan, access="owner"),
    Operation("GET", "/api/v1/{plan_id:uuid}", get_plan_beside_api, access="owner"),
)
