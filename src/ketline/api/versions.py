"""Versions of the API, by date."""

from __future__ import annotations

from starlette.responses import Response

from ketline.api.operations import Call, Operation
from ketline.api.replies import json_reply

_LIVE = ("2026-04-15", "2026-03-15", "2026-02-15", "2025-05-01", "2025-01-01", "2024-01-01")
"""Versions that clients name in ``IBM-API-Version``. Answers hold the fields of all of them; only the list of
backends has another form before 2025-01-01."""


async def list_versions(call: Call) -> Response:
    """The versions that may stand in the header ``IBM-API-Version``."""
    return json_reply(
        {"versions": [{"version": version, "status": "live", "sunset_date": None} for version in _LIVE]}
    )


OPERATIONS = (Operation("GET", "/api/v1/versions", list_versions, access="anyone"),)
