"""How a task can end other than with its answer. A job's own fault is `ketline.units.errors.JobError`."""

from __future__ import annotations


class TaskFailure(Exception):
    """The task gave no answer, through no fault that its job is known to have."""


class TaskTimedOut(TaskFailure):
    """The task took longer than it may; its worker was killed."""

    def __init__(self, task: str, seconds: float) -> None:
        super().__init__(f"{task} took longer than {seconds:g} s")
        self.seconds = seconds


class TaskOutOfMemory(TaskFailure):
    """The task wanted more memory than it may have."""

    def __init__(self, task: str, memory_bytes: int) -> None:
        super().__init__(f"{task} wanted more than {memory_bytes:,} bytes of memory")
        self.memory_bytes = memory_bytes


class WorkerDied(TaskFailure):
    """The worker ended while it did the task."""

    def __init__(self, task: str, ending: str, memory_bytes: int) -> None:
        super().__init__(
            f"the worker process of {task} ended unexpectedly ({ending}); tasks may take "
            f"{memory_bytes:,} bytes of memory"
        )
        self.ending = ending


class TaskFaulted(TaskFailure):
    """The task raised something that isn't a job's fault; ``details`` is the traceback."""

    def __init__(self, task: str, details: str) -> None:
        super().__init__(
            f"{task} failed: {details.strip().splitlines()[-1] if details.strip() else 'unknown'}"
        )
        self.details = details
