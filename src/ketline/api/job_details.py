"""A job as Ketline tells of it: what it is doing while it runs."""

from __future__ import annotations

from starlette.responses import Response

from ketline.api.job_shapes import job_response
from ketline.api.money import cost_of
from ketline.api.operations import Call, Operation
from ketline.api.replies import json_reply, moment


async def get_job_detail(call: Call) -> Response:
    """One job with its stage and times; never held.

    ``stage`` tells what a running job is doing: ``preparing``, ``waiting_qpu``, ``on_qpu``, ``finalizing``;
    ``none`` while it is queued and when it has ended. ``usage_cost`` is there where the site has rates.
    """
    job = await call.runtime.job(call.who, call.path("job_id"))
    plan = (await call.runtime.instance(call.who)).plan
    cost = cost_of(call.settings, job.usage_seconds, plan, job.backend)
    return json_reply(
        {
            **job_response(job),
            "stage": job.stage.value,
            "running": moment(job.running_at),
            "ready": moment(job.ready_at),
            "locked": moment(job.locked_at),
            "released": moment(job.released_at),
            "finished": moment(job.finished_at),
            "qpu_seconds": job.qpu_seconds,
            "caller": job.caller,
            "revision": job.revision,
            **{f"usage_{name}": value for name, value in cost.items()},
        }
    )


OPERATIONS = (Operation("GET", "/ketline/v1/jobs/{job_id}", get_job_detail),)
