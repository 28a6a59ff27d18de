"""Administering the centre: users, keys, instances, QPUs, and who did it."""

from __future__ import annotations

from typing import Any

import orjson
from starlette.responses import Response

from ketline.api.asked import Query, invalid
from ketline.api.bodies import flag_field, read_object, text_field
from ketline.api.money import cost_of_all
from ketline.api.operations import TEXT, TEXTS, Call, Operation
from ketline.api.replies import json_reply, moment, nothing
from ketline.config import PLAN_FIGURES, InstanceSettings
from ketline.core.model import QpuMode
from ketline.service.grants import settings_of
from ketline.service.views import InstanceView, KeyView

_FIGURES: dict[str, dict[str, Any]] = {name: {} for name in PLAN_FIGURES}
_INSTANCE = {"name": TEXT, "plan": TEXT, "account": TEXT, "region": TEXT, "tags": TEXTS, "qpus": TEXTS}
_CHANGES = {"plan": TEXT, "tags": TEXTS, "qpus": TEXTS, "archived": {"type": "boolean"}}
_FIXED = {
    "account": "the configuration says it, from the next start on; what was used goes with the instance",
    "region": "it is part of the CRN and can't change; make another instance there",
    "name": "it can't change; make another instance",
}
_KEY = {"user": TEXT, "name": TEXT, "role": TEXT, "instances": TEXTS}
_MODES = tuple(mode.value for mode in QpuMode)


def _body(properties: dict[str, Any], *required: str) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required)}


async def list_users(call: Call) -> Response:
    """All users with their roles; a manager sees those with keys for the manager's own instances only."""
    Query(call.query, ())
    users = await call.runtime.users(call.who)
    shown = [
        {"id": u.user_id, "name": u.name, "role": u.role, "created": moment(u.created_at)} for u in users
    ]
    return json_reply({"users": shown})


async def list_keys(call: Call) -> Response:
    """The API keys that the caller may see, without their secrets."""
    Query(call.query, ())
    return json_reply({"keys": [_key(key) for key in await call.runtime.keys(call.who)]})


async def create_key(call: Call) -> Response:
    """Make a key for a user; the answer holds the key itself, which is never shown again."""
    content = await read_object(call.request, frozenset(_KEY))
    names = content.get("instances") or []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise invalid("instances", "a list of names is expected")
    view, text = await call.runtime.create_key(
        call.who,
        text_field(content, "user", longest=100, required=True) or "",
        text_field(content, "name", longest=100) or "",
        text_field(content, "role", longest=20) or "user",
        names,
    )
    return json_reply({**_key(view), "key": text})


async def revoke_key(call: Call) -> Response:
    """Revoke a key for good."""
    await call.runtime.revoke_key(call.who, call.path("id"))
    return nothing()


async def list_all_instances(call: Call) -> Response:
    """The instances that the caller's key opens, with plan, figures and usage."""
    Query(call.query, ())
    views = await call.runtime.instances_of(call.who)
    return json_reply({"instances": [await _instance(call, view) for view in views]})


async def create_instance(call: Call) -> Response:
    """Make an instance on a plan; any figure of the plan may be overridden."""
    content = await read_object(call.request, frozenset(InstanceSettings.model_fields))
    view = await call.runtime.create_instance(call.who, settings_of(content))
    return json_reply(await _instance(call, view))


async def change_instance(call: Call) -> Response:
    """Change an instance: plan, tags, QPUs, figures, archived. A figure that is null is the plan's again."""
    content = await read_object(call.request, frozenset({*_CHANGES, *PLAN_FIGURES, *_FIXED}))
    for name, why in _FIXED.items():
        if name in content:
            raise invalid(name, why)
    if not content:
        raise invalid("body", "nothing is to be changed")
    if "archived" in content and flag_field(content, "archived") is None:
        raise invalid("archived", "true or false is expected")
    view = await call.runtime.change_instance(call.who, call.path("name"), content)
    return json_reply(await _instance(call, view))


async def list_qpus(call: Call) -> Response:
    """The QPUs with mode, reason, lanes, queue and the state of their processes."""
    Query(call.query, ())
    shown = [
        {
            "name": q.name, "mode": q.mode.value, "reason": q.reason, "lanes": q.lanes,
            "queue_length": q.queue_length, "driver": q.driver, "device": q.device, "process": q.process,
        }
        for q in await call.runtime.qpus(call.who)
    ]  # fmt: skip
    return json_reply({"qpus": shown})


async def set_qpu_mode(call: Call) -> Response:
    """Put a QPU online, pause it, take it offline or retire it; ``reason`` is shown to everyone who waits."""
    content = await read_object(call.request, frozenset({"mode", "reason"}))
    mode = text_field(content, "mode", longest=20, required=True)
    if mode not in _MODES:
        raise invalid("mode", f"{mode!r} isn't one of {', '.join(_MODES)}")
    reason = text_field(content, "reason", longest=500) or ""
    await call.runtime.set_qpu_mode(call.who, call.path("name"), QpuMode(mode), reason)
    return nothing()


async def calibrate_qpu(call: Call) -> Response:
    """Calibrate a QPU as soon as no job and no active session is in the way."""
    await call.runtime.calibrate(call.who, call.path("name"))
    return nothing()


async def list_audit(call: Call) -> Response:
    """The audit trail, newest first; ``before`` takes the smallest number of the page before."""
    query = Query(call.query, _AUDIT)
    limit = query.integer("limit") or 100
    if not 1 <= limit <= 1_000:
        raise invalid("limit", "1 to 1000 is expected")
    lines = await call.runtime.audit(call.who, query.text("subject"), query.integer("before"), limit)
    shown = [
        {
            "number": line.number, "at": moment(line.at), "actor": line.actor, "key": line.key_id,
            "action": line.action, "subject": line.subject, "facts": orjson.loads(line.facts),
        }
        for line in lines
    ]  # fmt: skip
    return json_reply({"audit": shown})


_AUDIT: dict[str, dict[str, Any]] = {
    "subject": TEXT,
    "before": {"type": "integer"},
    "limit": {"type": "integer", "minimum": 1, "maximum": 1000},
}


def _key(view: KeyView) -> dict[str, Any]:
    return {
        "id": view.key_id, "user_id": view.user_id, "name": view.name, "role": view.role,
        "instances": list(view.instances), "created": moment(view.created_at),
        "revoked": moment(view.revoked_at), "last_used": moment(view.last_used_at),
    }  # fmt: skip


async def _instance(call: Call, view: InstanceView) -> dict[str, Any]:
    return {
        "id": view.instance_id, "crn": view.crn, "name": view.name, "plan": view.plan,
        "account": view.account, "region": view.region, "tags": list(view.tags), "archived": view.archived,
        "allocation_seconds": view.allocation_seconds, "limit_seconds": view.limit_seconds,
        "consumed_seconds": round(view.consumed_seconds, 6),
        "period": {"start": moment(view.period_start), "end": moment(view.period_end)},
        **cost_of_all(call.settings, await call.runtime.usage_of(view)),
    }  # fmt: skip


OPERATIONS = (
    Operation("GET", "/ketline/v1/users", list_users, access="owner"),
    Operation("GET", "/ketline/v1/keys", list_keys, access="owner"),
    Operation("POST", "/ketline/v1/keys", create_key, access="owner", body=_body(_KEY, "user")),
    Operation("DELETE", "/ketline/v1/keys/{id}", revoke_key, access="owner", status=204),
    Operation("GET", "/ketline/v1/instances", list_all_instances, access="owner"),
    Operation(
        "POST", "/ketline/v1/instances", create_instance, access="owner",
        body=_body({**_INSTANCE, **_FIGURES}, "name"),
    ),
    Operation(
        "PATCH", "/ketline/v1/instances/{name}", change_instance, access="owner",
        body=_body({**_CHANGES, **_FIGURES}),
    ),
    Operation("GET", "/ketline/v1/qpus", list_qpus, access="owner"),
    Operation(
        "PUT", "/ketline/v1/qpus/{name}/mode", set_qpu_mode, access="owner", status=204,
        body=_body({"mode": {"type": "string", "enum": list(_MODES)}, "reason": TEXT}, "mode"),
    ),
    Operation("POST", "/ketline/v1/qpus/{name}/calibrate", calibrate_qpu, access="owner", status=204),
    Operation("GET", "/ketline/v1/audit", list_audit, access="owner", query=_AUDIT),
)  # fmt: skip
