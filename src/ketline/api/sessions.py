"""Sessions and batches (``rest.md`` D): open, look, close, cancel."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from starlette.responses import Response

from ketline.api.asked import invalid
from ketline.api.bodies import flag_field, read_object, seconds_field, text_field
from ketline.api.operations import Call, Operation
from ketline.api.replies import json_reply, moment, nothing, whole
from ketline.core.model import Mode, WorkloadState
from ketline.service.views import WorkloadView

_OPEN_WINDOW = (WorkloadState.ACTIVE, WorkloadState.PENDING_CLOSED)
_MODES = {"batch": Mode.BATCH, "dedicated": Mode.SESSION}


async def post_session(call: Call) -> Response:
    """Open a session (``mode`` dedicated) or a batch on a backend.

    ``max_ttl`` is the life in seconds, counted from the first job's start. ``instance`` repeats the CRN of
    the header.
    """
    content = await read_object(call.request, frozenset({"mode", "backend", "instance", "max_ttl"}))
    mode = text_field(content, "mode", longest=20, required=True)
    if mode not in _MODES:
        raise invalid("mode", f"{mode!r} isn't one of {', '.join(_MODES)}")
    backend = text_field(content, "backend", longest=200, required=True) or ""
    instance = text_field(content, "instance", longest=500)
    if instance and instance != call.request.headers.get("service-crn"):
        raise invalid("instance", "it isn't the instance that the header Service-CRN names")
    max_ttl = seconds_field(content, "max_ttl", least=1)
    return json_reply(
        session_object(
            await call.runtime.open_workload(call.who, _MODES[mode], backend, max_ttl), call.runtime.now()
        )
    )


async def get_session(call: Call) -> Response:
    """One session or batch."""
    view = await call.runtime.workload(call.who, call.path("session_id"))
    return json_reply(session_object(view, call.runtime.now()))


async def patch_session(call: Call) -> Response:
    """Close: with ``accepting_jobs`` false no new jobs are taken, and what was submitted still runs.

    ``true`` changes nothing: what was closed doesn't open again.
    """
    content = await read_object(call.request, frozenset({"accepting_jobs"}))
    accepting = flag_field(content, "accepting_jobs")
    if accepting is None:
        raise invalid("accepting_jobs", "it is missing")
    session_id = call.path("session_id")
    if accepting:
        await call.runtime.workload(call.who, session_id)
    else:
        await call.runtime.close_workload(call.who, session_id)
    return nothing()


async def cancel_session(call: Call) -> Response:
    """Cancel: queued jobs are cancelled, running ones finish, and no new ones are taken."""
    await call.runtime.cancel_workload(call.who, call.path("session_id"))
    return nothing()


def session_object(workload: WorkloadView, now: datetime) -> dict[str, Any]:
    """A session or batch as the wire shows it (``rest.md`` D.2)."""
    return {
        "id": workload.workload_id,
        "backend_name": workload.backend,
        "mode": workload.mode.value,
        "state": workload.state.value,
        "state_reason": workload.reason.message if workload.reason else None,
        "accepting_jobs": workload.accepting,
        "max_ttl": whole(workload.max_ttl_seconds),
        "active_ttl": whole(workload.active_ttl_seconds),
        "interactive_ttl": whole(workload.interactive_ttl_seconds),
        "created_at": moment(workload.created_at),
        "started_at": moment(workload.started_at),
        "activated_at": moment(workload.activated_at),
        "closed_at": moment(workload.closed_at),
        "last_job_started": moment(workload.last_job_started_at),
        "last_job_completed": moment(workload.last_job_completed_at),
        "timestamps": [{"status": state.value, "timestamp": moment(at)} for state, at in workload.history],
        "elapsed_time": _usage_seconds(workload, now),
        "user_id": workload.user_id,
        # Ours: when maintenance, or a reservation for somebody else, next takes the QPU away.
        "interrupted_at": moment(workload.interrupted_at),
    }


def _usage_seconds(workload: WorkloadView, now: datetime) -> float:
    """What is billed so far; the window that is open counts for a session, whose idle time is usage too."""
    billed = workload.usage_seconds
    if workload.mode is Mode.SESSION and workload.state in _OPEN_WINDOW and workload.activated_at is not None:
        billed += max(0.0, (now - workload.activated_at).total_seconds())
    return billed


_BODY = {
    "type": "object",
    "required": ["mode", "backend"],
    "additionalProperties": False,
    "properties": {
        "mode": {"type": "string", "enum": list(_MODES)},
        "backend": {"type": "string", "minLength": 1, "maxLength": 200},
        "instance": {"type": "string", "maxLength": 500},
        "max_ttl": {"type": "number", "minimum": 1},
    },
}
_PATCH = {
    "type": "object",
    "required": ["accepting_jobs"],
    "additionalProperties": False,
    "properties": {"accepting_jobs": {"type": "boolean"}},
}

OPERATIONS = (
    Operation("POST", "/api/v1/sessions", post_session, body=_BODY),
    Operation("GET", "/api/v1/sessions/{session_id}", get_session),
    Operation("PATCH", "/api/v1/sessions/{session_id}", patch_session, status=204, body=_PATCH),
    Operation("DELETE", "/api/v1/sessions/{session_id}/close", cancel_session, status=204),
)
