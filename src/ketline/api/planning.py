"""Looking ahead: why a job waits, when it will start, what it will use, and which mode suits a workload."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from ketline.api.asked import Query, invalid
from ketline.api.bodies import (
    SMALL_BODY,
    check_keys,
    parse_json,
    read_body,
    read_object,
    seconds_field,
    text_field,
)
from ketline.api.members import MalformedJson, member_span
from ketline.api.money import cost_of, rates_of
from ketline.api.operations import COUNT, TEXT, Call, Operation
from ketline.api.replies import json_reply, moment
from ketline.api.submissions import PARSED_AT_ONCE, SUBMISSION, job_request
from ketline.core.estimate import UsageEstimate
from ketline.errors import PAYLOAD_TOO_LARGE, KetlineError
from ketline.planning.trace import NAMES_OF_MODES
from ketline.service.prospects import Asked, JobStory, OpenWorkload, QpuQueue, QueuedJob
from ketline.service.views import JobRequest

if TYPE_CHECKING:
    from ketline.planning.statistics import Interval

_MOST_EXECUTIONS = 10**12
_SHOWN = {"limit": {"type": "integer", "minimum": 1, "maximum": 200}}
_DESCRIBED_JOB = {
    "type": "object",
    "required": ["backend"],
    "properties": {
        "backend": TEXT,
        "program": TEXT,
        "executions": {"type": "integer", "minimum": 1},
        "circuits": {"type": "integer", "minimum": 1},
        "shots": {"type": "integer", "minimum": 1},
        "rep_delay_seconds": {"type": "number", "minimum": 0},
        "circuit_seconds": {"type": "number", "minimum": 0},
        "max_execution_time": {"type": "number", "minimum": 1},
    },
}
_DESCRIBED_WORKLOAD = {
    "type": "object",
    "required": ["backend", "workload"],
    "properties": {"backend": TEXT, "workload": {"type": "object"}, "replicas": COUNT},
}


async def explain_job(call: Call) -> Response:
    """Why a job waits and when it will start: position, the one reason, expected times, its story.

    Position, queue length and expected times come from one snapshot of the scheduler. Times are intervals
    that hold the truth as often as `coverage` says; one is null when it has come already, or when nothing
    tells when it will (a paused QPU, a limit that holds the instance's work).
    """
    found = await call.runtime.explain_job(call.who, call.path("id"))
    plan = (await call.runtime.instance(call.who)).plan
    cost = cost_of(call.settings, found.view.usage_seconds, plan, found.view.backend)
    return json_reply(_story(found) | {f"usage_{name}": value for name, value in cost.items()})


def _story(found: JobStory) -> dict[str, Any]:
    view, told, forecast = found.view, found.explanation, found.forecast
    shown: dict[str, Any] = {
        "id": view.job_id,
        "status": view.status.value,
        "stage": view.stage.value if told is None else told.stage.value,
        "as_of": moment(found.as_of),
        "position": None if told is None else told.position,
        "position_own": None if told is None else told.position_own,
        "queue_length": None if told is None else told.queue_length,
        "reason": None,
        "start": None,
        "on_qpu": None,
        "finish": None,
        "estimated_usage_seconds": view.estimate_seconds,
        "usage_seconds": view.usage_seconds,
        "story": [{"at": moment(at), "what": text} for at, text in found.story],
    }
    if told is not None:
        reason = told.reason
        until = None if reason.until is None else datetime.fromtimestamp(reason.until, UTC)
        shown["fair_share_ratio"] = told.ratio
        shown["reason"] = {
            "why": reason.why.value,
            "message": reason.message,
            "until": moment(until),
            "session_id": reason.workload_id,
            "job_id": reason.job_id,
        }
    elif view.reason is not None:
        shown["reason"] = {
            "why": "ended",
            "code": view.reason.code,
            "message": view.reason.message,
            "solution": view.reason.solution,
        }
    if forecast is not None:
        shown["start"] = _interval(forecast.running)
        shown["on_qpu"] = _interval(forecast.on_qpu)
        shown["finish"] = _interval(forecast.finished)
    return shown


def _interval(interval: Interval | None) -> dict[str, Any] | None:
    if interval is None:
        return None
    low, middle, high = (
        moment(datetime.fromtimestamp(at, UTC)) for at in (interval.low, interval.middle, interval.high)
    )
    return {"earliest": low, "median": middle, "latest": high, "coverage": interval.coverage}


async def estimate_usage(call: Call) -> Response:
    """What a job would use and cost before it is submitted, with its breakdown and the limits it would hit.

    Give what `POST /jobs` takes: the payload is prepared and admitted as its job's would be, and nothing of
    it is queued, stored or billed; one that couldn't run is refused with the code that its job would get.
    Or describe a job by `executions`, or by `circuits` and `shots`.

    `estimated_running_time_seconds` is the estimate that the job would carry (null where only circuits tell),
    `formula_seconds` the documented formula for the real device, taken apart in `breakdown` and by `rounds`
    (noise is learned in a round of its own, and what follows is told as the least that it can be),
    `expected_seconds` what jobs of the program really took here for such an estimate. `cost` is there where
    the site has rates.
    """
    body = await read_body(call.request, call.settings.server.max_payload_bytes)
    if len(body) <= PARSED_AT_ONCE:
        asked = _read_estimate(body)
    else:
        asked = await asyncio.to_thread(_read_estimate, body)
    del body
    if isinstance(asked, JobRequest):
        found = await call.runtime.estimate_job(call.who, asked)
    else:
        found = await call.runtime.estimate(call.who, asked)
    expected = found.expected
    told = {
        "backend": found.backend,
        "program": found.program,
        "estimated_running_time_seconds": found.seconds,
        "formula_seconds": found.usage.seconds,
        "executions": found.usage.executions,
        "breakdown": _breakdown(found.usage),
        "rounds": [
            {
                "estimated_running_time_seconds": one.seconds,
                "formula_seconds": one.usage.seconds,
                "executions": one.usage.executions,
                "breakdown": _breakdown(one.usage),
                "at_least": number > 0,
            }
            for number, one in enumerate(found.rounds)
        ],
        "expected_seconds": {
            "low": expected.low,
            "median": expected.median,
            "high": expected.high,
            "coverage": 0.9,
        },
        "limits": [hit.as_dict() for hit in found.limits],
    }
    seconds = expected.median if found.seconds is None else found.seconds
    cost = rates_of(call.settings).cost(seconds, found.plan, found.backend)
    if cost is not None:
        told["cost"] = cost.as_dict() | {
            "expected": {
                name: cost.per_second * getattr(expected, name) for name in ("low", "median", "high")
            }
        }
    return json_reply(told)


def _breakdown(usage: UsageEstimate) -> dict[str, float]:
    return {
        "overhead_seconds": usage.overhead_seconds,
        "rep_delay_seconds": usage.rep_delay_seconds,
        "circuit_seconds": usage.circuit_seconds,
    }


def _read_estimate(body: bytes | bytearray) -> JobRequest | Asked:
    """A submission, told by its program_id or params, or a description of a job."""
    try:
        whole = member_span(body, b"params") is not None or member_span(body, b"program_id") is not None
    except MalformedJson as error:
        raise invalid("body", f"not a JSON object: {error}") from error
    if whole:
        return job_request(body, check_params=len(body) <= PARSED_AT_ONCE)
    if len(body) > SMALL_BODY:
        raise KetlineError(PAYLOAD_TOO_LARGE, limit=SMALL_BODY)
    content = parse_json(body)
    check_keys(content, frozenset(_DESCRIBED_JOB["properties"]))
    return Asked(
        backend=text_field(content, "backend", longest=100, required=True) or "",
        executions=_executions(content),
        program=text_field(content, "program", longest=64) or "sampler",
        rep_delay_seconds=_short(content, "rep_delay_seconds"),
        circuit_seconds=_short(content, "circuit_seconds"),
        max_execution_seconds=seconds_field(content, "max_execution_time", least=1),
    )


def _whole(content: dict[str, Any], key: str) -> int | None:
    value = content.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise invalid(key, f"a whole number is expected, not {value!r}")
    if not 1 <= value <= _MOST_EXECUTIONS:
        raise invalid(key, f"a number between 1 and {_MOST_EXECUTIONS} is expected, not {value}")
    return value


def _executions(content: dict[str, Any]) -> int:
    executions, circuits, shots = (_whole(content, key) for key in ("executions", "circuits", "shots"))
    if executions is not None:
        if circuits is not None or shots is not None:
            raise invalid("executions", "give either executions, or circuits and shots")
        return executions
    if circuits is None or shots is None:
        raise invalid("executions", "give executions, or circuits and shots")
    return circuits * shots


def _short(content: dict[str, Any], key: str) -> float | None:
    seconds = seconds_field(content, key, least=0)
    if seconds is not None and seconds > 1:
        raise invalid(key, f"at most 1 second is expected, not {seconds:g}")
    return seconds


async def plan_workload(call: Call) -> Response:
    """A workload in job, batch and session mode under the present queue, side by side, with an advice.

    `workload` holds the keys of `ketline plan`'s TOML file.
    """
    from ketline.planning.workload import WorkloadError, described

    content = await read_object(call.request, frozenset(("backend", "workload", "replicas")))
    backend = text_field(content, "backend", longest=100, required=True) or ""
    given = content.get("workload")
    if not isinstance(given, dict):
        raise invalid("workload", "an object is expected")
    replicas = _whole(content, "replicas") or 15
    if replicas > 100:
        raise invalid("replicas", f"at most 100 are expected, not {replicas}")
    try:
        workload = described(given, "workload")
    except WorkloadError as error:
        key, _, problem = str(error).splitlines()[0].removeprefix("workload: ").partition(": ")
        raise invalid("workload" if key == "workload" else f"workload.{key}", problem) from error
    found = await call.runtime.plan_workload(call.who, workload, backend, replicas, rates_of(call.settings))
    return json_reply(found.as_dict() | {"pictures": [_panel(panel) for panel in found.panels()]})


def _panel(panel: Any) -> dict[str, Any]:
    """What a picture of a mode needs: spans in seconds since the submission, nobody else's ids."""
    start = min(job.created_at for job in panel.jobs)

    def since(at: float | None) -> float | None:
        return None if at is None else at - start

    return {
        "title": panel.title,
        "summary": panel.summary,
        "lanes": panel.lanes,
        "jobs": [
            {
                "yours": job.workload not in panel.others,
                "created": since(job.created_at),
                "running": since(job.running_at),
                "ready": since(job.ready_at),
                "finished": since(job.finished_at),
                "locks": [[from_ - start, to - start] for from_, to in job.locks],
            }
            for job in panel.jobs
        ],
        "windows": [
            {
                "from": w.started_at - start,
                "to": w.ended_at - start,
                "exclusive": w.exclusive,
                "label": w.label,
            }
            for w in panel.windows
        ],
    }


async def list_queues(call: Call) -> Response:
    """Every QPU as it is now: lanes, open sessions with their timers, and the queue with reasons.

    Jobs are in the order in which they would start if nothing more came. Of other instances' jobs only their
    stage and age are shown, except to an administrator.
    """
    limit = Query(call.query, _SHOWN).integer("limit")
    if limit is None:
        limit = 20
    if not 1 <= limit <= 200:
        raise invalid("limit", f"a number between 1 and 200 is expected, not {limit}")
    return json_reply({"qpus": [_queue(queue) for queue in await call.runtime.queues(call.who, limit)]})


def _queue(queue: QpuQueue) -> dict[str, Any]:
    return {
        "backend": queue.backend,
        "mode": queue.mode,
        "mode_reason": queue.mode_reason,
        "calibrating": queue.calibrating,
        "lanes": queue.lanes,
        "queue_length": queue.queue_length,
        "running": [_queued(job) for job in queue.running],
        "queued": [_queued(job) for job in queue.queued],
        "sessions": [_workload(workload) for workload in queue.workloads],
    }


def _queued(job: QueuedJob) -> dict[str, Any]:
    return {
        "yours": job.mine,
        "id": job.job_id,
        "session_id": job.workload_id,
        "program": job.program,
        "instance": job.instance,
        "stage": job.stage.value,
        "since": moment(job.since),
        "estimated_usage_seconds": job.estimate_seconds,
        "reason": job.reason,
    }


def _workload(workload: OpenWorkload) -> dict[str, Any]:
    return {
        "id": workload.workload_id,
        "mode": NAMES_OF_MODES[workload.mode],
        "instance": workload.instance,
        "state": workload.state.value,
        "holds_qpu": workload.holds_qpu,
        "accepting_jobs": workload.accepting,
        "jobs": workload.jobs_submitted,
        "expires_at": moment(workload.expires_at),
        "idle_at": moment(workload.idle_at),
        "unused_at": moment(workload.unused_at),
    }


OPERATIONS = (
    Operation("GET", "/ketline/v1/jobs/{id}/explain", explain_job),
    Operation("POST", "/ketline/v1/estimate", estimate_usage, body={"oneOf": [_DESCRIBED_JOB, SUBMISSION]}),
    Operation("POST", "/ketline/v1/plan", plan_workload, body=_DESCRIBED_WORKLOAD),
    Operation("GET", "/ketline/v1/queue", list_queues, query=_SHOWN),
)
