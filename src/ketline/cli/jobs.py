"""``ketline jobs``: what is asked of the centre, and what became of it."""

from __future__ import annotations

from typing import Annotated

import typer

from ketline.cli.options import (
    DEFAULT_DATA,
    ConfigOption,
    DataOption,
    InstanceOption,
    JsonOption,
    LimitOption,
    examples,
)
from ketline.cli.output import done, show, show_one

app = typer.Typer(name="jobs", help="Jobs: list them, look at one, cancel one.")

COLUMNS = {
    "job_id": "id",
    "created_at": "created",
    "program": "program",
    "backend": "backend",
    "instance": "instance",
    "user": "user",
    "doing": "state",
    "qpu_seconds": "on QPU (s)",
    "usage_seconds": "billed (s)",
    "cost": "cost",
    "currency": "currency",
    "tags": "tags",
}
NAMES = {
    "job_id": "job",
    "program": "program",
    "backend": "backend",
    "instance": "instance",
    "user": "user",
    "workload_id": "session",
    "tags": "tags",
    "doing": "state",
    "reason": "reason",
    "solution": "what to do",
    "created_at": "submitted",
    "running_at": "preparing from",
    "ready_at": "ready for the QPU",
    "locked_at": "on the QPU from",
    "released_at": "on the QPU until",
    "finished_at": "finished",
    "estimate_seconds": "estimated (s)",
    "qpu_seconds": "on the QPU (s)",
    "usage_seconds": "billed (s)",
    "cost": "cost",
    "currency": "currency",
}


@app.command(
    "list",
    epilog=examples("ketline jobs list --data ./centre --pending", "ketline jobs list --tag COBYLA --json"),
)
def list_jobs(
    instance: InstanceOption = None,
    pending: Annotated[bool, typer.Option("--pending", help="Only jobs that haven't ended.")] = False,
    tag: Annotated[list[str] | None, typer.Option(help="A tag that the jobs carry; again for more.")] = None,
    limit: LimitOption = 20,
    data: DataOption = DEFAULT_DATA,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List jobs, newest first. Times are of this machine's time zone; JSON is in UTC."""
    from ketline.cli.centre import Centre

    with Centre(data, config) as centre:
        rows = centre.jobs(instance, pending=pending, tags=tag or [], limit=limit)
    show(rows, COLUMNS, as_json=as_json, empty="There are no such jobs.")


@app.command("show", epilog=examples("ketline jobs show --data ./centre d4f0c1…"))
def show_job(
    job_id: Annotated[str, typer.Argument(help="The job's id.")],
    data: DataOption = DEFAULT_DATA,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one job: what it is doing, its times, its usage, and why it ended."""
    from ketline.cli.centre import Centre

    with Centre(data, config) as centre:
        row = centre.job(job_id)
    show_one(row, NAMES, as_json=as_json)


@app.command(epilog=examples("ketline jobs cancel --data ./centre d4f0c1…"))
def cancel(
    job_id: Annotated[str, typer.Argument(help="The job's id.")],
    data: DataOption = DEFAULT_DATA,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Cancel a job, whoever's it is. The server must be running."""
    from ketline.cli.owned import Noun, ask

    ask(data, config, Noun.JOB, job_id, "POST", "/cancel")
    done(f"{job_id} is cancelled.", {"job_id": job_id}, as_json=as_json)
