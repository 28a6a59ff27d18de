"""Backends: the list, configuration, properties, status, defaults (``rest.md`` F)."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from ketline.api.asked import Query, invalid
from ketline.api.operations import FLAG, MOMENT, TEXT, Call, Operation
from ketline.api.replies import json_bytes, json_reply
from ketline.service.views import BackendView

_OBJECTS_SINCE = "2025-01-01"
"""API version from which the list holds objects; before, and without a version, it holds names."""


async def list_backends(call: Call) -> Response:
    """The backends that the instance may use; mock twins only with ``include_mocks``.

    Clients that name no ``IBM-API-Version``, or one before 2025-01-01, get names instead of objects.
    """
    query = Query(call.query, ("include_mocks", "fields"))
    if query.text("fields") is not None:
        raise invalid("fields", "waiting times aren't listed here; leave it out")
    backends = await call.runtime.backends(call.who, query.flag("include_mocks") or False)
    asked_version = call.request.headers.get("ibm-api-version", "")
    if asked_version < _OBJECTS_SINCE:
        return json_reply({"devices": [backend.name for backend in backends if not backend.mock]})
    return json_reply({"devices": [device(backend) for backend in backends]})


async def get_configuration(call: Call) -> Response:
    """A backend's configuration."""
    query = Query(call.query, ("calibration_id",))
    return json_bytes(
        await call.runtime.configuration(call.who, call.path("name"), query.text("calibration_id"))
    )


async def get_properties(call: Call) -> Response:
    """A backend's properties, or those of the newest calibration not later than ``updated_before``."""
    query = Query(call.query, ("calibration_id", "updated_before"))
    properties = await call.runtime.properties(
        call.who, call.path("name"), query.moment("updated_before"), query.text("calibration_id")
    )
    return json_bytes(properties)


async def get_status(call: Call) -> Response:
    """Whether a backend works, and how many jobs wait for it."""
    backend = await call.runtime.backend(call.who, call.path("name"))
    return json_reply(
        {
            "state": backend.online,
            "status": "active" if backend.online else backend.status,
            "message": backend.message,
            "length_queue": backend.queue_length,
            "backend_version": backend.version,
        }
    )


async def get_defaults(call: Call) -> Response:
    """Pulse defaults: no backend has any."""
    await call.runtime.backend(call.who, call.path("name"))
    return json_bytes(b"null")


def device(backend: BackendView) -> dict[str, Any]:
    """A backend as the list shows it; ``class`` only stands on mock twins (``rest.md`` F.1)."""
    shown: dict[str, Any] = {
        "name": backend.name,
        "status": {
            "name": "online" if backend.online else backend.status,
            "reason": backend.message or "available",
        },
        "queue_length": backend.queue_length,
        "qubits": backend.num_qubits,
        "is_simulator": backend.simulator,
    }
    if backend.clops is not None:
        shown["clops"] = {"type": "hardware", "value": backend.clops}
    if backend.processor_type is not None:
        processor = backend.processor_type
        revision = processor.get("revision")
        shown["processor_type"] = {
            "family": processor.get("family"),
            "revision": None if revision is None else str(revision),
            "segment": processor.get("segment"),
        }
    if backend.mock:
        shown["class"] = "mock"
    return shown


_NAMED = "/api/v1/backends/{name}"
_SNAPSHOT: dict[str, dict[str, Any]] = {"calibration_id": TEXT}

OPERATIONS = (
    Operation("GET", "/api/v1/backends", list_backends, query={"include_mocks": FLAG, "fields": TEXT}),
    Operation("GET", f"{_NAMED}/status", get_status),
    Operation("GET", f"{_NAMED}/configuration", get_configuration, query=_SNAPSHOT),
    Operation("GET", f"{_NAMED}/properties", get_properties, query={**_SNAPSHOT, "updated_before": MOMENT}),
    Operation("GET", f"{_NAMED}/defaults", get_defaults),
)
