"""The lives of jobs and of workloads: one transition table each, and the stories that they make.

Nothing changes the status of a job or the state of a workload but `job_step` and `workload_step`.
"""

from __future__ import annotations

from enum import StrEnum

from ketline.core.model import Job, JobStatus, Stage, Workload, WorkloadState

STORY_LENGTH = 24

Story = list[tuple[float, str]]


class JobStep(StrEnum):
    """What can happen to a job."""

    START = "start"
    PREPARED = "prepared"
    RUN = "run"
    RELEASED = "released"
    FINALIZED = "finalized"
    INTERRUPTED = "interrupted"
    FAIL = "fail"
    EXPIRE = "expire"
    CANCEL = "cancel"


class WorkloadStep(StrEnum):
    """What can happen to a session or a batch."""

    OPEN = "open"
    ACTIVATE = "activate"
    IDLE_TIMEOUT = "idle timeout"
    SUSPEND = "suspend"
    END_BUSY = "end while a job runs"
    END = "end"


_Q, _R = JobStatus.QUEUED, JobStatus.RUNNING
_NONE, _PREP, _WAIT, _QPU, _FIN = (
    Stage.NONE, Stage.PREPARING, Stage.WAITING_QPU, Stage.ON_QPU, Stage.FINALIZING,
)  # fmt: skip
_COMPLETED = (JobStatus.COMPLETED, Stage.NONE)
_FAILED = (JobStatus.FAILED, Stage.NONE)
_CANCELLED = (JobStatus.CANCELLED, Stage.NONE)

# (status, stage) and what happens → (status, stage); modes.md 1.1. A final state has no way out.
JOB_TABLE: dict[tuple[JobStatus, Stage, JobStep], tuple[JobStatus, Stage]] = {
    (_Q, _NONE, JobStep.START): (_R, _PREP),
    (_Q, _NONE, JobStep.CANCEL): _CANCELLED,
    (_Q, _NONE, JobStep.EXPIRE): _FAILED,
    (_Q, _NONE, JobStep.FAIL): _FAILED,
    (_R, _PREP, JobStep.PREPARED): (_R, _WAIT),
    (_R, _PREP, JobStep.INTERRUPTED): (_R, _PREP),
    (_R, _PREP, JobStep.CANCEL): _CANCELLED,
    (_R, _PREP, JobStep.FAIL): _FAILED,
    (_R, _WAIT, JobStep.RUN): (_R, _QPU),
    (_R, _WAIT, JobStep.INTERRUPTED): (_R, _PREP),
    (_R, _WAIT, JobStep.CANCEL): _CANCELLED,
    (_R, _WAIT, JobStep.FAIL): _FAILED,
    (_R, _QPU, JobStep.RELEASED): (_R, _FIN),
    (_R, _QPU, JobStep.INTERRUPTED): (_R, _PREP),
    (_R, _QPU, JobStep.CANCEL): _CANCELLED,
    (_R, _QPU, JobStep.FAIL): _FAILED,
    (_R, _FIN, JobStep.PREPARED): (_R, _WAIT),
    (_R, _FIN, JobStep.INTERRUPTED): (_R, _PREP),
    (_R, _FIN, JobStep.FINALIZED): _COMPLETED,
    (_R, _FIN, JobStep.CANCEL): _CANCELLED,
    (_R, _FIN, JobStep.FAIL): _FAILED,
}

_OPEN, _ACTIVE, _INACTIVE, _PENDING, _CLOSED = (
    WorkloadState.OPEN, WorkloadState.ACTIVE, WorkloadState.INACTIVE, WorkloadState.PENDING_CLOSED,
    WorkloadState.CLOSED,
)  # fmt: skip

# State and what happens → state; the numbers are the transitions of modes.md 3.3. T3, T5-T7, T9 and T11
# (submitting, idling, closing with jobs left) change no state; T18 (closed) has no way out.
WORKLOAD_TABLE: dict[tuple[WorkloadState, WorkloadStep], WorkloadState] = {
    (_OPEN, WorkloadStep.OPEN): _OPEN,  # T1
    (_OPEN, WorkloadStep.ACTIVATE): _ACTIVE,  # T4
    (_OPEN, WorkloadStep.END): _CLOSED,  # T2, T12-T14
    (_OPEN, WorkloadStep.END_BUSY): _PENDING,  # T14, first job prepared while others drain
    (_ACTIVE, WorkloadStep.IDLE_TIMEOUT): _INACTIVE,  # T8
    (_ACTIVE, WorkloadStep.SUSPEND): _INACTIVE,  # the QPU was paused: paused time isn't billed
    (_ACTIVE, WorkloadStep.END_BUSY): _PENDING,  # T14-T16
    (_ACTIVE, WorkloadStep.END): _CLOSED,  # T12-T16
    (_INACTIVE, WorkloadStep.ACTIVATE): _ACTIVE,  # T10
    (_INACTIVE, WorkloadStep.END_BUSY): _PENDING,  # T14, T15, as from open
    (_INACTIVE, WorkloadStep.END): _CLOSED,  # T13-T15
    (_PENDING, WorkloadStep.END): _CLOSED,  # T14, T15: the last running job ended
}


class IllegalTransition(Exception):
    """Something happened that can't happen in this state; the message tells the noun's story."""

    def __init__(self, what: str, step: str, state: str, story: Story) -> None:
        lines = [f"{what}: {str(step)!r} can't happen in state {state!r}. Its story:"]
        lines += [f"  {time:.6f} {text}" for time, text in story] or ["  (nothing yet)"]
        super().__init__("\n".join(lines))


def _tell(stories: dict[str, Story], key: str, now: float, text: str) -> None:
    story = stories.setdefault(key, [])
    story.append((now, text))
    if len(story) > STORY_LENGTH:
        del story[1]  # keep how it began


_IN_WORDS: dict[JobStep, str] = {JobStep.START: "preparation began", JobStep.RUN: "given to the QPU"}


def job_step(job: Job, step: JobStep, now: float, stories: dict[str, Story]) -> None:
    """Take a job one step on. Raises `IllegalTransition` where the table has no way."""
    target = JOB_TABLE.get((job.status, job.stage, step))
    if target is None:
        state = job.status if job.stage is Stage.NONE else f"{job.status}/{job.stage}"
        raise IllegalTransition(f"job {job.job_id}", step, state, stories.get(job.job_id, []))
    job.status, job.stage = target
    _tell(stories, job.job_id, now, _IN_WORDS.get(step, step))


def workload_step(workload: Workload, step: WorkloadStep, now: float, stories: dict[str, Story]) -> None:
    """Take a session or batch one step on. Raises `IllegalTransition` where the table has no way."""
    target = WORKLOAD_TABLE.get((workload.state, step))
    if target is None:
        raise IllegalTransition(
            f"workload {workload.workload_id}", step, workload.state, stories.get(workload.workload_id, [])
        )
    workload.state = target
    workload.history.append((target, now))
    _tell(stories, workload.workload_id, now, f"{step}: {target}")
