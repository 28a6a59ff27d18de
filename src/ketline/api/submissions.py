"""Submitting a job: ``POST /jobs`` (``rest.md`` B.2)."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from time import monotonic
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from ketline.api.asked import invalid
from ketline.api.bodies import (
    check_keys,
    flag_field,
    hung_up,
    parse_json,
    read_body,
    seconds_field,
    text_field,
)
from ketline.api.jobs import checked_tags
from ketline.api.members import MalformedJson, member_span
from ketline.api.operations import Call, Operation
from ketline.api.rates import SubmissionRate
from ketline.api.replies import json_reply
from ketline.errors import JOB_NOT_FOUND, KetlineError
from ketline.service.views import JobRequest, JobView, Principal

PARSED_AT_ONCE = 262_144
"""Bytes up to which a body is parsed inside the event loop, params included: well under a millisecond."""
_FIELDS = frozenset(
    {
        "program_id", "backend", "params", "log_level", "runtime", "session_id", "tags", "cost", "private",
        "calibration_id",
    }
)  # fmt: skip
_LOG_LEVELS = ("critical", "error", "warning", "info", "debug")
_RESEND_SECONDS = 60.0


async def post_job(call: Call) -> Response:
    """Accept a job; it is durable when this answers.

    ``params`` are kept byte for byte. ``cost`` is the limit on QPU usage in seconds, capped at the plan's;
    ``session_id`` puts the job into a session or batch; ``log_level`` is taken in upper and lower case.
    """
    rate: SubmissionRate = call.request.app.state.submission_rate
    rate.take(call.who.user_id)
    body = await read_body(call.request, call.settings.server.max_payload_bytes)
    if len(body) <= PARSED_AT_ONCE:
        request = job_request(body, check_params=True)
    else:
        request = await asyncio.to_thread(job_request, body, check_params=False)
    del body
    request = _with_caller(request, call.request)
    unanswered: Unanswered = call.request.app.state.unanswered
    job = await unanswered.find(call, request)
    if job is None:
        job = await call.runtime.submit_job(call.who, request)
        if hung_up(call.request.receive):
            await unanswered.remember(call.who, request, job)
    answer: dict[str, Any] = {"id": job.job_id, "backend": job.backend}
    if job.workload_id is not None:
        answer["session_id"] = job.workload_id
    if job.private:
        answer["private"] = True
    if job.calibration_id is not None:
        answer["calibration_id"] = job.calibration_id
    return json_reply(answer)


def job_request(body: bytes | bytearray, *, check_params: bool) -> JobRequest:
    """The submission in a body; INVALID_REQUEST naming the field.

    ``check_params`` also checks that the params are JSON throughout. Those of a large body are only
    checked where they begin and end: a compute worker opens them under its limits.
    """
    try:
        span = member_span(body, b"params")
    except MalformedJson as error:
        raise invalid("body", f"not a JSON object: {error}") from error
    if span is None:
        content, params = parse_json(body), b""
    else:
        start, end = span
        params = bytes(memoryview(body)[start:end])
        content = parse_json(bytes(body[:start]) + b"null" + bytes(body[end:]))
    if not isinstance(content, dict):
        raise invalid("body", "a JSON object is expected")
    check_keys(content, _FIELDS)
    if content.get("params") is not None:
        raise invalid("params", "it is given twice")
    if not params:
        raise invalid("params", "it is missing")
    if not params.startswith(b"{"):
        raise invalid("params", "a JSON object is expected")
    if check_params:
        parse_json(params)
    if text_field(content, "runtime", longest=200):
        raise invalid("runtime", "images can't be chosen here; leave the option environment.image out")
    return JobRequest(
        program=text_field(content, "program_id", longest=100, required=True) or "",
        backend=text_field(content, "backend", longest=200, required=True) or "",
        params=params,
        workload_id=text_field(content, "session_id", longest=36) or None,
        tags=checked_tags(content.get("tags")),
        cost_seconds=seconds_field(content, "cost", least=0) or None,
        private=flag_field(content, "private") or False,
        calibration_id=text_field(content, "calibration_id", longest=200) or None,
        log_level=_log_level(content),
    )


def _log_level(content: dict[str, Any]) -> str:
    level = text_field(content, "log_level", longest=20)
    if not level:
        return "warning"
    if level.lower() not in _LOG_LEVELS:
        raise invalid("log_level", f"{level!r} isn't one of {', '.join(_LOG_LEVELS)}")
    return level.lower()


def _with_caller(request: JobRequest, http: Request) -> JobRequest:
    """Name the part of the client that submits: the end of ``X-Qx-Client-Application``."""
    application = http.headers.get("x-qx-client-application", "")
    caller = application.rpartition("/")[2][:200]
    if not caller:
        return request
    return JobRequest(**{name: getattr(request, name) for name in _NAMES} | {"caller": caller})


_NAMES = tuple(JobRequest.__dataclass_fields__)


@dataclass(frozen=True, slots=True)
class _Lost:
    job_id: str
    who: Principal
    until: float


class Unanswered:
    """Jobs that were accepted while their client lost the connection.

    Such a client sends the same request again, and is then told of the job that it already has. Two equal
    submissions whose first was answered are two jobs. A connection that breaks after the answer was handed
    to the network, and a server that dies in between, aren't noticed: then the job is there twice.
    """

    def __init__(self) -> None:
        self._lost: dict[bytes, _Lost] = {}

    async def remember(self, who: Principal, request: JobRequest, job: JobView) -> None:
        """Keep the job for the request that is expected again."""
        digest = await _digest(who, request)
        self._lost[digest] = _Lost(job.job_id, who, monotonic() + _RESEND_SECONDS)

    async def find(self, call: Call, request: JobRequest) -> JobView | None:
        """The job of the same request, once."""
        if not self._lost:
            return None
        now = monotonic()
        self._lost = {digest: lost for digest, lost in self._lost.items() if lost.until > now}
        lost = self._lost.pop(await _digest(call.who, request), None)
        if lost is None:
            return None
        try:
            return await call.runtime.job(call.who, lost.job_id)
        except KetlineError as error:
            if error.kind is JOB_NOT_FOUND:  # deleted in the meantime
                return None
            raise


async def _digest(who: Principal, request: JobRequest) -> bytes:
    def compute() -> bytes:
        digest = hashlib.blake2b(request.params, digest_size=32)
        rest = [getattr(request, name) for name in _NAMES if name != "params"]
        digest.update(repr((who.key_id, who.instance_id, rest)).encode())
        return digest.digest()

    if len(request.params) > PARSED_AT_ONCE:
        return await asyncio.to_thread(compute)
    return compute()


SUBMISSION: dict[str, Any] = {
    "type": "object",
    "required": ["program_id", "backend", "params"],
    "additionalProperties": False,
    "properties": {
        "program_id": {"type": "string", "minLength": 1, "maxLength": 100},
        "backend": {"type": "string", "minLength": 1, "maxLength": 200},
        "params": {"type": "object"},
        "log_level": {"type": "string", "enum": [*_LOG_LEVELS, *(level.upper() for level in _LOG_LEVELS)]},
        "runtime": {"type": "string", "maxLength": 200},
        "session_id": {"type": "string", "maxLength": 36},
        "tags": {"type": "array", "maxItems": 8, "items": {"type": "string", "maxLength": 86}},
        "cost": {"type": "number", "minimum": 0},
        "private": {"type": "boolean"},
        "calibration_id": {"type": "string", "maxLength": 200},
    },
}
"""The body of a submission, as a JSON schema."""

OPERATIONS = (Operation("POST", "/api/v1/jobs", post_job, body=SUBMISSION),)
