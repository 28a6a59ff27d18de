"""Maintenance and reservations of QPUs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from starlette.responses import Response

from ketline.api.asked import Query, invalid
from ketline.api.bodies import read_object, text_field
from ketline.api.operations import MOMENT, TEXT, Call, Operation
from ketline.api.replies import json_reply, moment, nothing
from ketline.service.views import WindowView

_WINDOW = {"start": MOMENT, "end": MOMENT, "instance": TEXT, "reason": TEXT}


async def list_windows(call: Call) -> Response:
    """The maintenance and reservations of a QPU that aren't over, in the order of time."""
    Query(call.query, ())
    views = await call.runtime.windows(call.who, call.path("name"))
    return json_reply({"windows": [_shown(view) for view in views]})


async def announce_window(call: Call) -> Response:
    """Announce maintenance (nothing starts that can't end before), or a reservation for an ``instance``.

    Without ``start`` it begins now. Sessions and batches of the QPU are told when it begins.
    """
    content = await read_object(call.request, frozenset(_WINDOW))
    end = _moment(content, "end")
    if end is None:
        raise invalid("end", "it is missing")
    view = await call.runtime.announce_window(
        call.who,
        call.path("name"),
        _moment(content, "start") or call.runtime.now(),
        end,
        text_field(content, "instance", longest=255),
        text_field(content, "reason", longest=500) or "",
    )
    return json_reply(_shown(view))


async def withdraw_window(call: Call) -> Response:
    """Withdraw maintenance or a reservation, or end it now."""
    await call.runtime.withdraw_window(call.who, call.path("name"), call.path("id"))
    return nothing()


def _moment(content: dict[str, Any], key: str) -> datetime | None:
    text = text_field(content, key, longest=64)
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise invalid(key, f"{text!r} isn't an ISO 8601 time") from error


def _shown(view: WindowView) -> dict[str, Any]:
    return {
        "id": view.window_id,
        "backend": view.backend,
        "kind": view.kind,
        "start": moment(view.start),
        "end": moment(view.end),
        "instance": view.instance,
        "reason": view.reason,
    }


_PATH = "/ketline/v1/qpus/{name}/windows"

OPERATIONS = (
    Operation("GET", _PATH, list_windows, access="owner"),
    Operation(
        "POST",
        _PATH,
        announce_window,
        access="owner",
        body={"type": "object", "properties": _WINDOW, "required": ["end"]},
    ),
    Operation("DELETE", _PATH + "/{id}", withdraw_window, access="owner", status=204),
)
