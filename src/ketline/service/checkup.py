"""A look over a server's data: the tables among themselves, and the files that they name.

Nothing is changed unless leftovers are to be removed, and nothing that a running server does at the same time
is taken for a fault: what looks wrong is looked at once more.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from ketline.config import Settings
from ketline.service.data import DataFolder
from ketline.store import queries, schema, tables
from ketline.store.checks import Finding, findings
from ketline.store.files import FileKind, place

_UNDER_WAY_SECONDS = 300.0
"""A file that is younger may be one that a row will name in a moment."""

Told = Callable[[str], None]


@dataclass(slots=True)
class Checkup:
    """What was looked at, and what was found. ``leftovers`` are files that no row names."""

    jobs: int = 0
    workloads: int = 0
    ledger_lines: int = 0
    files: int = 0
    findings: list[Finding] = field(default_factory=list)
    leftovers: list[Path] = field(default_factory=list)
    leftover_bytes: int = 0
    files_elsewhere: bool = False
    """Whether the files lie in a store that isn't a folder; then only the tables were looked at."""


def check_up(data: DataFolder, settings: Settings, told: Told = lambda _: None) -> Checkup:
    """Look over the data; ``told`` hears what is being done.

    Raises:
        StoreError: the database can't be opened, or is of another version.
    """
    engine = schema.connect(data.database_url(settings), readers=1)
    try:
        schema.require_head(engine)
        report = Checkup(files_elsewhere=bool(settings.store.payload_url))
        told("the tables")
        with engine.connect() as connection:
            report.jobs = _count(connection, tables.jobs)
            report.workloads = _count(connection, tables.workloads)
            report.ledger_lines = _count(connection, tables.usage)
            report.findings += findings(connection)
        if not report.files_elsewhere:
            told("the files")
            _check_files(engine, data.files_folder, report)
    finally:
        engine.dispose()
    return report


def remove_leftovers(report: Checkup) -> None:
    """Delete the files that no row names."""
    for path in report.leftovers:
        path.unlink(missing_ok=True)


def _count(connection: sa.Connection, table: sa.Table) -> int:
    return int(connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one())


def _check_files(engine: sa.Engine, root: Path, report: Checkup) -> None:
    with engine.connect() as connection:
        rows = list(connection.execute(_NAMED))
    with engine.connect() as later:
        _check_wanted(later, root, rows, report)
    known = {row[0] for row in rows}
    young = time.time() - _UNDER_WAY_SECONDS
    for kind in FileKind:
        for path in (root / kind).rglob("*"):
            if not path.is_file():
                continue
            report.files += 1
            if path.name not in known:
                _note_leftover(path, young, report)


def _check_wanted(later: sa.Connection, root: Path, rows: Sequence[Any], report: Checkup) -> None:
    """Look for every file that a row names; what is missing counts if the row is still there ``later``."""
    for job_id, finished_at, private, result_bytes in rows:
        wanted: dict[FileKind, int | None] = {}
        # Of a private job, the params go when it ends and the result when it is read.
        if not private or finished_at is None:
            wanted[FileKind.PAYLOAD] = None
        if finished_at is not None and result_bytes is not None and not private:
            wanted[FileKind.RESULT] = result_bytes
        for kind, size in wanted.items():
            wrong = _wrong(root / place(kind, job_id), size)
            if wrong and queries.job(later, job_id) is not None:
                report.findings.append(Finding("files", job_id, f"{_NOUN[kind]} {wrong}"))


_c = tables.jobs.c
_NAMED = sa.select(_c.job_id, _c.finished_at, _c.private, _c.result_bytes)
_NOUN = {FileKind.PAYLOAD: "has params that", FileKind.RESULT: "has a result that"}


def _wrong(path: Path, size: int | None) -> str:
    try:
        found = path.stat().st_size
    except FileNotFoundError:
        return "aren't there" if size is None else "isn't there"
    return f"has {found} bytes instead of {size}" if size is not None and found != size else ""


def _note_leftover(path: Path, young: float, report: Checkup) -> None:
    try:
        stat = path.stat()
    except FileNotFoundError:
        return
    if stat.st_mtime < young:
        report.leftovers.append(path)
        report.leftover_bytes += stat.st_size
