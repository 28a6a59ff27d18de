"""Jobs: list, status, results, logs, metrics, tags, cancel, delete (``rest.md`` B.3 to B.5, C)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import cache
from importlib.metadata import version
from typing import Any

import orjson
from starlette.responses import Response

from ketline.api.asked import Query, invalid
from ketline.api.bodies import read_object
from ketline.api.holding import Holding
from ketline.api.job_shapes import job_response, usage_of
from ketline.api.operations import COUNT, FLAG, MOMENT, TEXT, TEXTS, Call, Operation
from ketline.api.replies import JSON, json_reply, moment, nothing, pieces_reply, text_reply
from ketline.api.replies import TEXT as PLAIN
from ketline.errors import TAG_TOO_LONG, TOO_MANY_TAGS, KetlineError
from ketline.service.views import JobFilter

_PAGE = 200
_TAGS = 8
_TAG_LENGTH = 86
_LIST_QUERY: dict[str, dict[str, Any]] = {
    "exclude_params": FLAG, "limit": COUNT, "offset": COUNT, "backend": TEXT, "pending": FLAG,
    "program": TEXT, "tags": TEXTS, "session_id": TEXT, "created_after": MOMENT, "created_before": MOMENT,
    "sort": {"type": "string", "enum": ["ASC", "DESC"]}, "include_mocks": FLAG,
}  # fmt: skip


async def get_job(call: Call) -> Response:
    """One job.

    Without ``exclude_params=true`` the params follow, exactly as they were posted. The answer about an
    unfinished job may be held until it ends, for ``server.hold_seconds`` at most.
    """
    job_id = call.path("job_id")
    query = call.query
    if query == b"exclude_params=true":
        without_params = True
    else:
        without_params = bool(Query(query, ("exclude_params",)).flag("exclude_params"))
    if without_params:
        holding: Holding = call.request.app.state.holding
        return json_reply(job_response(await holding.job(call.who, job_id, call.request.scope.get("client"))))
    job = await call.runtime.job(call.who, job_id)
    shown = orjson.dumps(job_response(job))
    params = await call.runtime.job_params(call.who, job_id)
    return pieces_reply(_with_params(shown, params), None, JSON)


async def _with_params(shown: bytes, params: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The object with the member ``params`` appended; left out when there are none to show."""
    begun = False
    async for piece in params:
        if not begun:
            yield shown[:-1] + b',"params":'
            begun = True
        yield piece
    yield b"}" if begun else shown


async def list_jobs(call: Call) -> Response:
    """A page of the instance's jobs, newest first; those on mock twins only with ``include_mocks``.

    ``count`` is the number of all that match. A page beyond the end says that there are as many as were
    skipped: the client goes on asking until it has as many jobs as ``count`` promises (``rest.md`` B.3).
    No list holds params, whatever ``exclude_params`` says: older clients (0.41) say False every time, and
    still ask for the params of each job that they want to see.
    """
    query = Query(call.query, _LIST_QUERY)
    limit = query.integer("limit")
    offset = query.integer("offset") or 0
    if offset < 0:
        raise invalid("offset", "at least 0 is expected")
    query.flag("exclude_params")
    wanted = JobFilter(
        pending=query.flag("pending"),
        backend=query.text("backend"),
        program=query.text("program"),
        tags=query.many("tags"),
        workload_id=query.text("session_id"),
        created_after=query.moment("created_after"),
        created_before=query.moment("created_before"),
        ascending=query.one_of("sort", ("ASC", "DESC")) == "ASC",
        limit=limit if limit is not None and 1 <= limit <= _PAGE else _PAGE,
        offset=offset,
        include_mocks=query.flag("include_mocks") or False,
    )
    jobs, count = await call.runtime.jobs(call.who, wanted)
    if not jobs and offset >= count:
        count = offset
    return json_reply(
        {"jobs": [job_response(j) for j in jobs], "count": count, "limit": wanted.limit, "offset": offset}
    )


async def delete_job(call: Call) -> Response:
    """Delete a final job with its inputs and results."""
    await call.runtime.delete_job(call.who, call.path("job_id"))
    return nothing()


async def get_results(call: Call) -> Response:
    """The result's document; 204 while there is none, or when there will never be one."""
    result = await call.runtime.job_result(call.who, call.path("job_id"))
    if result is None:
        return nothing()
    length, pieces = result
    return pieces_reply(pieces, length, PLAIN)


async def cancel_job(call: Call) -> Response:
    """Cancel a queued or running job. A body is neither needed nor looked at."""
    await call.runtime.cancel_job(call.who, call.path("job_id"))
    return nothing()


async def get_logs(call: Call) -> Response:
    """What the job logged, as plain text."""
    return text_reply(await call.runtime.job_logs(call.who, call.path("job_id")))


@cache
def _qiskit_version() -> str:
    return version("qiskit")


async def get_metrics(call: Call) -> Response:
    """When the job ran, and what it used."""
    job = await call.runtime.job(call.who, call.path("job_id"))
    usage = usage_of(job)
    return json_reply(
        {
            "caller": job.caller,
            "timestamps": {
                "created": moment(job.created_at),
                "running": moment(job.running_at),
                "finished": moment(job.finished_at),
            },
            "usage": usage,
            "bss": {"seconds": usage["seconds"]},
            "circuits_execution_time_ns": round(job.qpu_seconds * 1e9),
            "qiskit_version": _qiskit_version(),
        }
    )


async def put_tags(call: Call) -> Response:
    """Replace the job's tags: 8 at most, of 86 characters at most."""
    content = await read_object(call.request, frozenset({"tags"}))
    if "tags" not in content:
        raise invalid("tags", "it is missing")
    await call.runtime.set_tags(call.who, call.path("job_id"), checked_tags(content["tags"]))
    return nothing()


def checked_tags(tags: object) -> tuple[str, ...]:
    """Tags without repetition, in the order given; TOO_MANY_TAGS, TAG_TOO_LONG, INVALID_REQUEST."""
    if tags is None:
        return ()
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise invalid("tags", "a list of strings is expected")
    distinct = tuple(dict.fromkeys(tags))
    if len(distinct) > _TAGS:
        raise KetlineError(TOO_MANY_TAGS, count=len(distinct))
    for tag in distinct:
        if len(tag) > _TAG_LENGTH:
            raise KetlineError(TAG_TOO_LONG, tag=tag, length=len(tag))
        if "\x00" in tag:
            raise invalid("tags", "a tag holds a null character")
    return distinct


_TAGS_SCHEMA = {
    "type": "array",
    "maxItems": _TAGS,
    "items": {"type": "string", "maxLength": _TAG_LENGTH},
}

OPERATIONS = (
    Operation("GET", "/api/v1/jobs/{job_id}", get_job, query={"exclude_params": FLAG}),
    Operation("GET", "/api/v1/jobs/{job_id}/results", get_results, media_type=PLAIN),
    Operation("GET", "/api/v1/jobs", list_jobs, query=_LIST_QUERY),
    Operation("DELETE", "/api/v1/jobs/{job_id}", delete_job, status=204),
    Operation("POST", "/api/v1/jobs/{job_id}/cancel", cancel_job, status=204),
    Operation("GET", "/api/v1/jobs/{job_id}/logs", get_logs, media_type=PLAIN),
    Operation("GET", "/api/v1/jobs/{job_id}/metrics", get_metrics),
    Operation(
        "PUT",
        "/api/v1/jobs/{job_id}/tags",
        put_tags,
        status=204,
        body={"type": "object", "required": ["tags"], "properties": {"tags": _TAGS_SCHEMA}},
    ),
)
