"""The page of the states of jobs, sessions and batches, from the transition tables of `ketline.core`."""

from __future__ import annotations

from ketline.cli.reference.markdown import MADE_FROM, table
from ketline.core.lifecycle import JOB_TABLE, WORKLOAD_TABLE, JobStep, WorkloadStep
from ketline.core.model import JobStatus, Stage, WorkloadState

INTRODUCTION = """# States

These tables are the ones that the scheduler steps through; nothing else changes a state. An empty cell means
that it can't happen: if it ever did, the scheduler would stop with the story of that job rather than guess.
[Execution modes](../explanation/modes.md) tells what the states are for.
"""


def page() -> str:
    """The whole page."""
    return "".join(
        (
            MADE_FROM.format(source="src/ketline/core/lifecycle.py"),
            INTRODUCTION,
            "\n## Jobs\n\nA running job's stage stands after the slash; the wire shows the status alone.\n\n",
            _jobs(),
            "\n## Sessions and batches\n\n",
            _workloads(),
        )
    )


def _job_state(status: JobStatus, stage: Stage) -> str:
    return f"{status}" if stage is Stage.NONE else f"{status} / {stage.replace('_', ' ')}"


def _jobs() -> str:
    froms = list(dict.fromkeys((status, stage) for status, stage, _ in JOB_TABLE))
    rows = []
    for state in froms:
        ways = [JOB_TABLE.get((*state, step)) for step in JobStep]
        rows.append([f"**{_job_state(*state)}**", *("" if way is None else _job_state(*way) for way in ways)])
    final = sorted({_job_state(*state) for state in JOB_TABLE.values()} - {_job_state(*s) for s in froms})
    return table(("in state", *JobStep), rows) + f"\nFinal, never left again: {', '.join(final)}.\n"


def _workloads() -> str:
    rows = []
    for state in WorkloadState:
        ways = [WORKLOAD_TABLE.get((state, step)) for step in WorkloadStep]
        rows.append(
            [f"**{_words(state)}**", *("" if way is None else _words(way) for way in ways)],
        )
    return table(("in state", *WorkloadStep), rows)


def _words(state: WorkloadState) -> str:
    return state.replace("_", " ")
