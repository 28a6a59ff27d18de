"""A copy of a server's data from which another one can be started, taken while the server goes on working.

The database is copied first, in one transaction. Files are written before the rows that name them and never
change, so whatever the copied rows name is there when the files are copied after them; what was added
meanwhile is named by no row, and does no harm. Only what users delete in between is missing from the copy.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from ketline.config import Settings
from ketline.errors import INVALID_REQUEST, KetlineError
from ketline.service.data import DataFolder
from ketline.store.files import FileKind

_BUSY_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Backup:
    """What was copied."""

    jobs: int
    files: int
    bytes: int


def back_up(data: DataFolder, settings: Settings, target: Path) -> Backup:
    """Copy a server's data into a new folder, which `ketline serve --data` can be given.

    Raises:
        KetlineError: INVALID_REQUEST when the data lies in a database or a file store of its own, which have
            backups of their own, or when the folder isn't new.
        OSError, sqlite3.Error: the data can't be read, or the folder can't be written.
    """
    for setting in ("database_url", "payload_url"):
        if getattr(settings.store, setting):
            raise KetlineError(
                INVALID_REQUEST,
                field=f"store.{setting}",
                problem="what lies outside of the data folder is backed up by the tools of its own",
            )
    if target.exists():
        raise KetlineError(
            INVALID_REQUEST, field="target", problem=f"{target} exists already; name a new folder"
        )
    copy = DataFolder(target)
    copy.keep_private(settings)
    jobs = _copy_database(data.database_path, copy.database_path)
    files = size = 0
    for kind in FileKind:
        for source in sorted((data.files_folder / kind).rglob("*")):
            if not source.is_file():
                continue
            there = copy.files_folder / source.relative_to(data.files_folder)
            there.parent.mkdir(parents=True, exist_ok=True)
            # It may be deleted, or a part renamed to what it becomes, at any moment.
            with contextlib.suppress(FileNotFoundError):
                shutil.copyfile(source, there)
                files += 1
                size += there.stat().st_size
    if data.administrator_key.exists():
        copy.administrator_key.touch(mode=0o600)
        shutil.copyfile(data.administrator_key, copy.administrator_key)
    os.sync()
    return Backup(jobs, files, size)


def _copy_database(source: Path, target: Path) -> int:
    with (
        contextlib.closing(sqlite3.connect(source, timeout=_BUSY_SECONDS)) as live,
        contextlib.closing(sqlite3.connect(target)) as copied,
    ):
        live.backup(copied)
        (problem,) = copied.execute("PRAGMA quick_check").fetchone()
        if problem != "ok":
            raise sqlite3.DatabaseError(f"{source} is damaged: {problem}")
        (jobs,) = copied.execute("SELECT count(*) FROM jobs").fetchone()
    return int(jobs)
