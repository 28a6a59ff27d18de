"""Traces as files: CSV or Parquet, checked row by row."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

from ketline.core.model import Mode
from ketline.planning.trace import (
    COLUMNS,
    MODE_NAMES,
    NAMES_OF_MODES,
    REQUIRED,
    Close,
    JobOutcome,
    Recorded,
    Trace,
    TraceError,
    TraceJob,
    TraceWorkload,
    inconsistencies,
)


def read(path: Path) -> Trace:
    """Read ``.csv`` or ``.parquet``; `TraceError` names every problem by file, row, column and value."""
    if path.suffix.lower() == ".parquet":
        header, rows = _parquet_rows(path)
    elif path.suffix.lower() == ".csv":
        header, rows = _csv_rows(path)
    else:
        raise TraceError(
            [f"{path}: a trace is a .csv or .parquet file, not {path.suffix or 'a file without suffix'}"]
        )
    problems = [f"{path}: row 1, column {name!r}: unknown column" for name in header if name not in COLUMNS]
    problems += [f"{path}: row 1: column {name!r} is missing" for name in REQUIRED if name not in header]
    if problems:
        raise TraceError(problems)
    trace = Trace()
    reader = _RowReader(path)
    places: dict[str, int] = {}
    for number, row in rows:
        parsed = reader.row(number, row)
        if parsed is None:
            continue
        identity = parsed.job_id if isinstance(parsed, TraceJob) else parsed.workload_id
        if identity in places:
            reader.problem(number, "id", identity, f"already used in row {places[identity]}")
            continue
        places[identity] = number
        if isinstance(parsed, TraceJob):
            trace.jobs.append(parsed)
        else:
            trace.workloads.append(parsed)
    for row_id, column, value, what in inconsistencies(trace):
        reader.problem(places[row_id], column, value, what)
    if reader.problems:
        raise TraceError(reader.problems)
    return trace


def write(trace: Trace, path: Path) -> None:
    """Write ``.csv`` or ``.parquet`` by the suffix; Parquet needs the extra ``ketline[parquet]``."""
    suffix = path.suffix.lower()
    if suffix == ".csv":
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=list(COLUMNS))
            writer.writeheader()
            writer.writerows(_as_row(item) for item in _items(trace))
    elif suffix == ".parquet":
        pyarrow, parquet = _pyarrow(path)
        rows = [_as_row(item) for item in _items(trace)]
        columns = {name: [row[name] for row in rows] for name in COLUMNS}
        schema = pyarrow.schema(
            [(name, pyarrow.float64() if name in _NUMBERS else pyarrow.string()) for name in COLUMNS]
        )
        parquet.write_table(pyarrow.table(columns, schema=schema), path)
    else:
        raise TraceError(
            [f"{path}: a trace is a .csv or .parquet file, not {suffix or 'a file without suffix'}"]
        )


_NUMBERS = frozenset(name for name in COLUMNS if name.endswith(("_seconds", "_at")))
_BEYOND = "(beyond the last column)"
_RECORDED = ("running_at", "ready_at", "locked_at", "released_at", "finished_at", "usage_seconds")
_OUTCOMES: tuple[str, ...] = get_args(JobOutcome)
_CLOSES: tuple[str, ...] = get_args(Close)


def _pyarrow(path: Path) -> tuple[Any, Any]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise TraceError(
            [f"{path}: Parquet needs pyarrow: pip install 'ketline[parquet]', or use .csv"]
        ) from error
    return pa, parquet


def _csv_rows(path: Path) -> tuple[list[str], Iterator[tuple[int, Mapping[str, Any]]]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise TraceError([f"{path}: {error.strerror}"]) from error
    except UnicodeDecodeError as error:
        raise TraceError([f"{path}: not UTF-8 text: {error.reason} at byte {error.start}"]) from error
    reader = csv.DictReader(io.StringIO(text, newline=""), restkey=_BEYOND)
    header = list(reader.fieldnames or [])
    return header, enumerate(reader, start=2)


def _parquet_rows(path: Path) -> tuple[list[str], Iterator[tuple[int, Mapping[str, Any]]]]:
    pyarrow, parquet = _pyarrow(path)
    try:
        table = parquet.read_table(path)
    except (OSError, pyarrow.ArrowInvalid) as error:
        raise TraceError([f"{path}: not readable as Parquet: {error}"]) from error
    return list(table.column_names), enumerate(table.to_pylist(), start=1)


def _items(trace: Trace) -> Iterable[TraceJob | TraceWorkload]:
    yield from trace.workloads
    yield from trace.jobs


def _as_row(item: TraceJob | TraceWorkload) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(COLUMNS)
    if isinstance(item, TraceJob):
        row.update(record="job", id=item.job_id)
        names: tuple[str, ...] = (
            "submitted_at", "instance", "user", "qpu", "workload", "program", "prepare_seconds",
            "qpu_seconds", "finalize_seconds", "estimate_seconds", "limit_seconds", "outcome", "after",
            "think_seconds", "cancel_after_seconds",
        )  # fmt: skip
    else:
        row.update(record="workload", id=item.workload_id)
        names = ("submitted_at", "instance", "user", "qpu", "max_ttl_seconds", "close", "think_seconds")
    for name in names:
        row[name] = getattr(item, name)
    row["mode"] = NAMES_OF_MODES[item.mode]
    if item.recorded is not None:
        for name in _RECORDED:
            row[name] = getattr(item.recorded, name)
    return row


class _RowReader:
    """Turns rows into nouns and collects what is wrong with them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problems: list[str] = []

    def problem(self, row: int, column: str, value: object, what: str) -> None:
        self.problems.append(f"{self.path}: row {row}, column {column!r}: {value!r}: {what}")

    def row(self, number: int, row: Mapping[str, Any]) -> TraceJob | TraceWorkload | None:
        before = len(self.problems)
        if _BEYOND in row:
            self.problem(number, _BEYOND, row[_BEYOND], "the header has no column for it")
        record = self._text(number, row, "record")
        if record not in ("job", "workload"):
            self.problem(number, "record", record, "must be 'job' or 'workload'")
            return None
        parsed = self._job(number, row) if record == "job" else self._workload(number, row)
        return parsed if len(self.problems) == before else None

    def _job(self, number: int, row: Mapping[str, Any]) -> TraceJob:
        submitted_at, after = (
            self._number(number, row, "submitted_at"),
            self._text(number, row, "after") or None,
        )
        if (submitted_at is None) == (after is None):
            self.problem(number, "submitted_at", submitted_at, "give either submitted_at or after")
        outcome = self._choice(number, row, "outcome", _OUTCOMES, "completed")
        cancel_after = self._number(number, row, "cancel_after_seconds")
        if (outcome == "cancelled") != (cancel_after is not None):
            self.problem(
                number,
                "cancel_after_seconds",
                cancel_after,
                "goes with outcome 'cancelled', and only with it",
            )
        return TraceJob(
            job_id=self._required(number, row, "id"),
            submitted_at=submitted_at,
            instance=self._required(number, row, "instance"),
            qpu=self._text(number, row, "qpu"),
            user=self._text(number, row, "user") or "user",
            mode=self._mode(number, row),
            workload=self._text(number, row, "workload") or None,
            program=self._text(number, row, "program") or "sampler",
            prepare_seconds=self._number(number, row, "prepare_seconds") or 0.0,
            qpu_seconds=self._number(number, row, "qpu_seconds") or 0.0,
            finalize_seconds=self._number(number, row, "finalize_seconds") or 0.0,
            estimate_seconds=self._number(number, row, "estimate_seconds"),
            limit_seconds=self._number(number, row, "limit_seconds"),
            outcome=outcome,  # type: ignore[arg-type]  # _choice returns one of the literals
            after=after,
            think_seconds=self._number(number, row, "think_seconds") or 0.0,
            cancel_after_seconds=cancel_after,
            recorded=self._recorded(number, row),
        )

    def _workload(self, number: int, row: Mapping[str, Any]) -> TraceWorkload:
        submitted_at = self._number(number, row, "submitted_at")
        if submitted_at is None:
            self.problem(
                number, "submitted_at", row.get("submitted_at"), "a workload needs the time of its opening"
            )
        mode = self._mode(number, row)
        if mode is Mode.JOB:
            self.problem(number, "mode", row.get("mode"), "a workload is a 'batch' or a 'session'")
        return TraceWorkload(
            workload_id=self._required(number, row, "id"),
            submitted_at=submitted_at or 0.0,
            instance=self._required(number, row, "instance"),
            mode=mode,
            qpu=self._text(number, row, "qpu"),
            user=self._text(number, row, "user") or "user",
            max_ttl_seconds=self._number(number, row, "max_ttl_seconds"),
            close=self._choice(number, row, "close", _CLOSES, "submitted"),  # type: ignore[arg-type]  # as above
            think_seconds=self._number(number, row, "think_seconds") or 0.0,
            recorded=self._recorded(number, row),
        )

    def _recorded(self, number: int, row: Mapping[str, Any]) -> Recorded | None:
        values = [self._number(number, row, name) for name in _RECORDED]
        return None if all(value is None for value in values) else Recorded(*values)

    def _mode(self, number: int, row: Mapping[str, Any]) -> Mode:
        return MODE_NAMES[self._choice(number, row, "mode", tuple(MODE_NAMES), "job")]

    def _text(self, number: int, row: Mapping[str, Any], column: str) -> str:
        value = row.get(column)
        if value is None:
            return ""
        if not isinstance(value, str):
            self.problem(number, column, value, "must be text")
            return ""
        return value.strip()

    def _required(self, number: int, row: Mapping[str, Any], column: str) -> str:
        value = self._text(number, row, column)
        if not value:
            self.problem(number, column, row.get(column), "must not be empty")
        return value

    def _choice(
        self, number: int, row: Mapping[str, Any], column: str, allowed: tuple[str, ...], default: str
    ) -> str:
        value = self._text(number, row, column) or default
        if value not in allowed:
            self.problem(number, column, value, f"must be one of {', '.join(allowed)}")
            return default
        return value

    def _number(self, number: int, row: Mapping[str, Any], column: str) -> float | None:
        value = row.get(column)
        if value is None or value == "":
            return None
        try:
            result = float(value)
        except (TypeError, ValueError):
            self.problem(number, column, value, "must be a number")
            return None
        if not math.isfinite(result) or result < 0:
            self.problem(number, column, value, "must be a finite number from 0 on")
            return None
        return result
