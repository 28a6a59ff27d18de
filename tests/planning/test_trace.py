"""The trace format: what is written is read back, and what makes no sense is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from ketline.core.model import Mode
from ketline.planning.trace import Recorded, Trace, TraceError, TraceJob, TraceWorkload, check
from ketline.planning.trace_files import read, write


def small_trace() -> Trace:
    return Trace(
        jobs=[
            TraceJob(
                "a", 1.5, "blue", "q1", "ada", prepare_seconds=0.1, qpu_seconds=3.25, estimate_seconds=3.0,
                recorded=Recorded(2.0, 2.1, 2.2, 5.45, 5.5, 3.25),
            ),
            TraceJob("b", 2.0, "blue", "q1", "ada", mode=Mode.SESSION, workload="s", qpu_seconds=1.0),
            TraceJob(
                "c", None, "blue", "q1", "ada", mode=Mode.SESSION, workload="s", qpu_seconds=1.0, after="b",
                think_seconds=4.0, outcome="cancelled", cancel_after_seconds=0.5,
            ),
        ],
        workloads=[TraceWorkload("s", 2.0, "blue", Mode.SESSION, "q1", "ada", 600.0, "finished", 2.5)],
    )  # fmt: skip


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_what_is_written_is_read_back(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"trace{suffix}"
    write(small_trace(), path)
    assert read(path) == small_trace()


def lines(tmp_path: Path, *rows: str) -> Path:
    path = tmp_path / "bad.csv"
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


HEADER = "record,id,submitted_at,instance,qpu,mode,workload,qpu_seconds,outcome,after,cancel_after_seconds"


@pytest.mark.parametrize(
    ("row", "named"),
    [
        ("jobs,a,1,x,q,job,,1,,,", ["row 2", "'record'", "'jobs'"]),
        ("job,,1,x,q,job,,1,,,", ["row 2", "'id'", "must not be empty"]),
        ("job,a,one,x,q,job,,1,,,", ["row 2", "'submitted_at'", "'one'", "must be a number"]),
        ("job,a,1,x,q,job,,-4,,,", ["row 2", "'qpu_seconds'", "'-4'", "from 0 on"]),
        ("job,a,1,x,q,job,,nan,,,", ["row 2", "'qpu_seconds'", "'nan'"]),
        ("job,a,1,x,q,dedicated,,1,,,", ["row 2", "'mode'", "'dedicated'", "job, batch, session"]),
        ("job,a,1,x,q,job,,1,lost,,", ["row 2", "'outcome'", "'lost'"]),
        ("job,a,,x,q,job,,1,,,", ["row 2", "'submitted_at'", "either submitted_at or after"]),
        ("job,a,1,x,q,job,,1,cancelled,,", ["row 2", "'cancel_after_seconds'", "None"]),
        ("job,a,1,x,q,batch,w,1,,,", ["row 2", "'workload'", "'w'", "no workload row"]),
        ("job,a,1,x,q,job,w,1,,,", ["row 2", "'workload'", "'w'"]),
        ("job,a,,x,q,job,,1,,nobody,", ["row 2", "'after'", "'nobody'"]),
        ("job,a,,x,q,job,,1,,a,", ["row 2", "'after'", "circle"]),
        ("workload,w,1,x,q,job,,,,,", ["row 2", "'mode'", "'job'"]),
        ("job,a,1,x,q,job,,1,,,,extra", ["row 2", "beyond the last column"]),
    ],
)
def test_a_wrong_row_is_named_with_file_row_column_and_value(
    tmp_path: Path, row: str, named: list[str]
) -> None:
    path = lines(tmp_path, HEADER, row)
    with pytest.raises(TraceError) as caught:
        read(path)
    for word in [str(path), *named]:
        assert word in str(caught.value)


def test_every_problem_is_listed_and_an_id_used_twice_names_both_rows(tmp_path: Path) -> None:
    path = lines(tmp_path, HEADER, "job,a,1,x,q,job,,1,,,", "job,a,1,x,q,job,,1,,,", "job,b,1,x,q,job,,?,,,")
    with pytest.raises(TraceError) as caught:
        read(path)
    assert len(caught.value.problems) == 2
    assert "already used in row 2" in str(caught.value)


def test_unknown_and_missing_columns_are_named(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="'qubits': unknown column") as caught:
        read(lines(tmp_path, "record,id,mode,qubits", "job,a,job,5"))
    assert "column 'instance' is missing" in str(caught.value)


@pytest.mark.parametrize("name", ["trace.xlsx", "missing.csv", "missing.parquet"])
def test_a_file_that_is_no_trace_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(TraceError, match=name):
        read(tmp_path / name)


def test_a_trace_made_in_memory_is_checked_too() -> None:
    trace = small_trace()
    check(trace)
    trace.jobs[1].qpu = "q2"
    with pytest.raises(TraceError, match="differs from workload 's'"):
        check(trace)
