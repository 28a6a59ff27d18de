"""``ketline backup``: a copy of a server's data, taken while it runs."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from ketline.cli.options import DEFAULT_DATA, ConfigOption, DataOption, JsonOption, examples, settings_of
from ketline.cli.output import Refusal, done


def backup(
    target: Annotated[Path, typer.Argument(metavar="FOLDER", help="A new folder for the copy.")],
    data: DataOption = DEFAULT_DATA,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Copy a server's data into a new folder; the server may run meanwhile.

    To go back to it, start a server with the copy: jobs that hadn't ended when it was taken run (again).
    """
    import sqlite3

    from ketline.service.backup import back_up
    from ketline.service.data import DataFolder

    folder = DataFolder(data.expanduser().resolve())
    settings = settings_of(config, data)
    if not folder.database_path.exists() and settings.store.database_url is None:
        raise Refusal(f"{data}: there is no data of a server.", "Name its folder with --data.")
    try:
        made = back_up(folder, settings, target.expanduser().resolve())
    except (OSError, sqlite3.Error) as error:
        raise Refusal(f"the copy isn't complete: {error}", f"Remove {target} and try again.") from error
    facts = dataclasses.asdict(made)
    text = f"{made.jobs} jobs with {made.files} files ({made.bytes / 1e6:,.1f} MB) are in {target}."
    done(text, facts, as_json=as_json)


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(epilog=examples("ketline backup /backups/2027-03-01 --data ./centre"))(backup)
