"""``ketline doctor``: whether a server's data agrees with itself."""

from __future__ import annotations

import dataclasses
import sys
from typing import Annotated

import typer

from ketline.cli.data_folder import server_url
from ketline.cli.options import DEFAULT_DATA, ConfigOption, DataOption, JsonOption, examples, settings_of
from ketline.cli.output import Refusal, print_json

_TOLD = 50
"""Findings that a person is told one by one."""


def doctor(
    data: DataOption = DEFAULT_DATA,
    config: ConfigOption = None,
    tidy: Annotated[
        bool, typer.Option("--tidy", help="Delete files that belong to no job. The server must be stopped.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Check a server's data: every job, session, count, bill and file against the others.

    Nothing is changed, and the server may run meanwhile. Exits with 1 when something is wrong. Files that a
    crash left behind harm nobody and aren't wrong; --tidy removes them.
    """
    from rich.console import Console

    from ketline.service.checkup import check_up, remove_leftovers
    from ketline.service.data import DataFolder
    from ketline.store.schema import StoreError

    folder = DataFolder(data.expanduser().resolve())
    settings = settings_of(config, data)
    if not folder.database_path.exists() and settings.store.database_url is None:
        raise Refusal(f"{data}: there is no data of a server.", "Name its folder with --data.")
    if tidy and server_url(folder.root) is not None:
        raise Refusal(f"{data}: a server is at work.", "Stop it, then tidy up.")
    console = Console(stderr=True)
    try:
        with console.status("Checking", spinner="line") as shown:
            report = check_up(folder, settings, lambda what: shown.update(f"Checking {what}"))
    except StoreError as error:
        raise Refusal(str(error)) from error
    if tidy:
        remove_leftovers(report)
    if as_json:
        print_json({**dataclasses.asdict(report), "leftovers": [str(path) for path in report.leftovers]})
    else:
        print(
            f"{report.jobs:,} jobs, {report.workloads:,} sessions and batches, {report.ledger_lines:,} lines "
            f"of the ledger and {report.files:,} files were checked."
        )
        if report.files_elsewhere:
            print("The files lie in a store of their own and weren't looked at.")
        if report.leftovers:
            what = f"{len(report.leftovers):,} files ({report.leftover_bytes / 1e6:,.1f} MB) of no job"
            print(f"{what} were removed." if tidy else f"{what} lie about; --tidy removes them.")
        for finding in report.findings[:_TOLD]:
            print(f"WRONG {finding.about}: {finding.subject} {finding.what}.")
        if len(report.findings) > _TOLD:
            print(f"... and {len(report.findings) - _TOLD:,} more; --json tells them all.")
        print(f"{len(report.findings):,} findings." if report.findings else "All is well.")
    if report.findings:
        sys.exit(1)


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(
        epilog=examples("ketline doctor --data ./centre", "ketline doctor --data ./centre --tidy --json")
    )(doctor)
