"""``ketline sessions``: sessions and batches."""

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

app = typer.Typer(name="sessions", help="Sessions and batches: list them, look at one, close or cancel one.")

COLUMNS = {
    "workload_id": "id",
    "mode": "mode",
    "created_at": "created",
    "backend": "backend",
    "instance": "instance",
    "user": "user",
    "state": "state",
    "jobs": "jobs",
    "usage_seconds": "usage (s)",
    "cost": "cost",
    "currency": "currency",
}
NAMES = {
    "workload_id": "id",
    "mode": "mode",
    "backend": "backend",
    "instance": "instance",
    "user": "user",
    "state": "state",
    "accepting": "accepts jobs",
    "reason": "reason",
    "jobs": "jobs submitted",
    "jobs_completed": "jobs completed",
    "created_at": "opened",
    "started_at": "first job",
    "activated_at": "active from",
    "last_job_completed_at": "last job ended",
    "closed_at": "closed",
    "interactive_ttl_seconds": "interactive TTL (s)",
    "max_ttl_seconds": "maximum TTL (s)",
    "active_seconds": "active (s)",
    "on_qpu_seconds": "of it on the QPU (s)",
    "classical_seconds": "of it classical (s)",
    "idle_seconds": "of it idle (s)",
    "usage_seconds": "usage billed (s)",
    "as_batch_seconds": "as a batch (s)",
    "cost": "cost",
    "cost_as_batch": "cost as a batch",
    "currency": "currency",
}


@app.command(
    "list", epilog=examples("ketline sessions list --data ./centre --open", "ketline sessions list --json")
)
def list_sessions(
    instance: InstanceOption = None,
    still_open: Annotated[bool, typer.Option("--open", help="Only those that aren't closed.")] = False,
    limit: LimitOption = 20,
    data: DataOption = DEFAULT_DATA,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List sessions and batches, newest first."""
    from ketline.cli.centre import Centre

    with Centre(data, config) as centre:
        rows = centre.sessions(instance, still_open=still_open, limit=limit)
    show(rows, COLUMNS, as_json=as_json, empty="There are no such sessions or batches.")


@app.command("show", epilog=examples("ketline sessions show --data ./centre 5f1e…"))
def show_session(
    session_id: Annotated[str, typer.Argument(help="The id of a session or a batch.")],
    data: DataOption = DEFAULT_DATA,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one session or batch: its state, its clocks, its usage."""
    from ketline.cli.centre import Centre

    with Centre(data, config) as centre:
        row = centre.session(session_id)
    show_one(row, NAMES, as_json=as_json)


@app.command(epilog=examples("ketline sessions close --data ./centre 5f1e…"))
def close(
    session_id: Annotated[str, typer.Argument(help="The id of a session or a batch.")],
    data: DataOption = DEFAULT_DATA,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take no more jobs; what was submitted still runs. The server must be running."""
    from ketline.cli.owned import Noun, ask

    ask(data, config, Noun.SESSION, session_id, "PATCH", body={"accepting_jobs": False})
    done(f"{session_id} takes no more jobs.", {"workload_id": session_id}, as_json=as_json)


@app.command(epilog=examples("ketline sessions cancel --data ./centre 5f1e…"))
def cancel(
    session_id: Annotated[str, typer.Argument(help="The id of a session or a batch.")],
    data: DataOption = DEFAULT_DATA,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Cancel what is queued, let what runs finish, take no more. The server must be running."""
    from ketline.cli.owned import Noun, ask

    ask(data, config, Noun.SESSION, session_id, "DELETE", "/close")
    done(f"{session_id} is cancelled.", {"workload_id": session_id}, as_json=as_json)
