"""Whatever is asked of a centre: everything ends, the core's invariants hold, and the ledger adds up."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from ketline.core.model import InstanceSpec, JobStatus, Mode, QpuSpec
from ketline.planning import trace as trace_format
from ketline.planning.centre import Centre
from ketline.planning.simulate import GRACE_SECONDS
from ketline.planning.trace import Trace, TraceJob, TraceWorkload
from ketline.planning.users import Users
from ketline.planning.virtual import Performer

QPUS = ("q0", "q1")
SECONDS = st.one_of(st.just(0.0), st.floats(0.001, 90.0))
CENTRE = Centre(
    (
        QpuSpec("q0", lanes=2, calibration_interval_seconds=50.0, calibration_seconds=7.0),
        QpuSpec("q1", lanes=1, job_overhead_seconds=1.0),
    ),
    (
        InstanceSpec("a", interactive_ttl_seconds=10.0, max_ttl_seconds=200.0),
        InstanceSpec("b", plan="open", sessions=False, max_pending_jobs=4, max_execution_seconds=60.0),
        InstanceSpec("c", limit_seconds=150.0, limit_stops_running=True, window_seconds=3_600.0),
    ),
)


@st.composite
def jobs_of(draw: st.DrawFn, number: int) -> tuple[list[TraceJob], list[TraceWorkload]]:
    """A workload of one to four jobs in any mode."""
    mode = draw(st.sampled_from(list(Mode)))
    instance = draw(st.sampled_from("abc"))
    qpu, opened = draw(st.sampled_from((*QPUS, ""))), draw(SECONDS)
    workload = None if mode is Mode.JOB else f"w{number}"
    rows: list[TraceJob] = []
    for k in range(draw(st.integers(1, 4))):
        after = draw(st.booleans()) and k > 0
        outcome = draw(st.sampled_from(("completed", "completed", "failed", "system_failure", "cancelled")))
        rows.append(
            TraceJob(
                f"j{number}-{k}",
                None if after else opened + draw(SECONDS),
                instance,
                qpu,
                mode=mode,
                workload=workload,
                prepare_seconds=draw(SECONDS),
                qpu_seconds=draw(SECONDS),
                finalize_seconds=draw(SECONDS),
                estimate_seconds=draw(st.one_of(st.none(), SECONDS)),
                limit_seconds=draw(st.one_of(st.none(), st.floats(1.0, 50.0))),
                outcome=outcome,  # type: ignore[arg-type]  # one of the literals
                after=f"j{number}-{k - 1}" if after else None,
                think_seconds=draw(SECONDS) if after else 0.0,
                cancel_after_seconds=draw(SECONDS) if outcome == "cancelled" else None,
            )
        )
    if workload is None:
        return rows, []
    close = draw(st.sampled_from(("submitted", "finished", "cancel", "never")))
    ttl = draw(st.one_of(st.none(), st.floats(1.0, 200.0)))
    return rows, [
        TraceWorkload(workload, opened, instance, mode, qpu, "u", ttl, close, draw(SECONDS))  # type: ignore[arg-type]
    ]


@st.composite
def traces(draw: st.DrawFn) -> Trace:
    parts = [draw(jobs_of(number)) for number in range(draw(st.integers(1, 6)))]
    return Trace([job for rows, _ in parts for job in rows], [row for _, rows in parts for row in rows])


@settings(max_examples=60, deadline=None)
@given(traces())
def test_everything_ends_and_adds_up(trace: Trace) -> None:
    trace_format.check(trace)
    performer = Performer(CENTRE.scheduler(0.0), {}, 0.0)
    Users(performer, trace).run(GRACE_SECONDS)
    performer.scheduler.check()
    record = performer.record
    assert not performer.scheduler.jobs
    assert not performer.scheduler.workloads
    refused = {subject for subject, _ in record.rejected}
    settled = {job.job_id for job in record.jobs}
    assert len(settled) == len(record.jobs)
    assert settled <= {row.job_id for row in trace.jobs}
    assert not settled & refused - {row.job_id for row in trace.jobs if row.outcome == "cancelled"}
    billed = sum(line.seconds for line in record.lines)
    sessions = {row.workload_id for row in record.workloads if row.mode is Mode.SESSION and row.windows}
    jobs = sum(job.billed_seconds for job in record.jobs if job.workload_id not in sessions)
    windows = sum(row.usage_seconds for row in record.workloads if row.workload_id in sessions)
    assert abs(billed - jobs - windows) < 1e-6
    rows = {row.job_id: row for row in trace.jobs}
    for job in record.jobs:
        assert job.qpu_seconds <= rows[job.job_id].qpu_seconds + 1e-9
        assert job.qpu_seconds <= job.limit_seconds + 1e-9
        if job.status is JobStatus.COMPLETED:
            assert rows[job.job_id].outcome in {"completed", "cancelled"}
    _one_at_a_time(performer)


def _one_at_a_time(performer: Performer) -> None:
    """No QPU holds two jobs, or a job and a calibration, at once."""
    for qpu in QPUS:
        spans = [
            (job.locked_at, job.released_at)
            for job in performer.record.jobs
            if job.qpu_id == qpu and job.locked_at is not None and job.released_at is not None
        ]
        spans += [(start, end) for name, start, end in performer.record.calibrations if name == qpu]
        ordered = sorted(spans)
        for (_, end), (start, _) in itertools.pairwise(ordered):
            assert start >= end - 1e-9
