"""``ketline export``: what was asked of a centre, as a trace for the planner."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ketline.cli.options import DEFAULT_DATA, ConfigOption, DataOption, examples, settings_of
from ketline.cli.output import Refusal

if TYPE_CHECKING:
    from ketline.planning.trace import Trace, TraceJob, TraceWorkload


def export(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The trace to write: .csv or .parquet.")],
    since: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="Jobs submitted from this time on (ISO 8601; UTC unless it says so)."
        ),
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Jobs submitted up to this time.")] = None,
    as_recorded: Annotated[
        bool,
        typer.Option(
            "--as-recorded", help="Keep all submission times as they were, instead of the users' thinking."
        ),
    ] = False,
    anonymous: Annotated[
        bool, typer.Option("--anonymous", help="Replace users and instances by numbers.")
    ] = False,
    data: DataOption = DEFAULT_DATA,
    config: ConfigOption = None,
) -> None:
    """Write the jobs that have ended, with their sessions and batches, as a trace.

    A job of a session that was submitted after an earlier one had finished is written as waiting for it, so
    that a simulation under other settings lets its user think as long as before. Simulators and dry runs
    are left out: they have no queue.
    """
    from ketline.planning.history import closed_loop
    from ketline.planning.trace import TraceError
    from ketline.planning.trace_files import write

    trace = read_folder(data, config, _time("since", since), _time("until", until))
    if not trace.jobs:
        raise Refusal("there are no such jobs that have ended.")
    if not as_recorded:
        trace = closed_loop(trace)
    if anonymous:
        _hide_names(trace)
    try:
        write(trace, file)
    except TraceError as error:
        raise Refusal(str(error)) from error
    except OSError as error:
        raise Refusal(f"{file}: {error.strerror}") from error
    print(f"{len(trace.jobs)} jobs and {len(trace.workloads)} sessions and batches are in {file}.")


def _time(option: str, text: str | None) -> float | None:
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise Refusal(f"--{option}: {text!r} isn't an ISO 8601 time, like 2027-01-31T09:00.") from error
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def read_folder(data: Path, config: Path | None, since: float | None, until: float | None) -> Trace:
    """The jobs of a folder that have ended, with their sessions and batches."""
    from ketline.service import traces
    from ketline.service.backends import mock_name
    from ketline.service.data import DataFolder
    from ketline.store import queries
    from ketline.store.schema import StoreError
    from ketline.store.store import Store

    settings, folder = settings_of(config, data), data.expanduser().resolve()
    if settings.store.database_url is None and not (folder / "ketline.db").exists():
        raise Refusal(f"{data}: there is no data of a server.", "Name its folder with --data.")
    without_queue = [q.name for q in settings.qpus if q.simulator]
    without_queue += [mock_name(q.name) for q in settings.qpus if not q.simulator]
    try:
        store = Store(DataFolder(folder).database_url(settings), failed=lambda _: None, readers=1)
    except (StoreError, OSError) as error:
        raise Refusal(str(error)) from error
    try:
        names = {row["instance_id"]: row["name"] for row in store.read_now(queries.instances)}
        read = partial(traces.read, names=names, leave_out=without_queue)
        return store.read_now(read, since, until)
    finally:
        store.close()


def _hide_names(trace: Trace) -> None:
    users: dict[str, str] = {}
    instances: dict[str, str] = {}
    rows: list[TraceJob | TraceWorkload] = [*trace.workloads, *trace.jobs]
    for row in rows:
        row.user = users.setdefault(row.user, f"user-{len(users) + 1}")
        row.instance = instances.setdefault(row.instance, f"instance-{len(instances) + 1}")


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(
        epilog=examples(
            "ketline export trace.csv --data ./centre",
            "ketline export january.parquet --data ./centre --since 2027-01-01 --until 2027-02-01",
        )
    )(export)
