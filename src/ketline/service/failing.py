"""Why classical work came to nothing, in the words of the registry and with whose fault it is."""

from __future__ import annotations

import logging

from ketline import errors
from ketline.compute.failures import TaskFailure, TaskFaulted, TaskOutOfMemory, TaskTimedOut
from ketline.core.model import Failure, FailureKind, Reason
from ketline.units.errors import JobError

_log = logging.getLogger(__name__)


def failure_of(error: Exception, subject: str, doing: str, *, private: bool = False) -> Failure:
    """What an exception means for a job.

    Args:
        error: what a task of `ketline.compute.pool.Pool` raised, or anything else on the way to it.
        subject: how the log names the job.
        doing: what was being done with it (``preparing``).
        private: the log must not tell what the job holds.
    """
    if isinstance(error, JobError):
        return Failure(Reason(error.code, error.message, error.solution), FailureKind.USER)
    if isinstance(error, TaskTimedOut):
        return _failure(errors.TASK_TOO_LONG, FailureKind.USER, doing, limit_seconds=error.seconds)
    if isinstance(error, TaskOutOfMemory):
        return _failure(errors.TASK_OUT_OF_MEMORY, FailureKind.USER, doing, limit_bytes=error.memory_bytes)
    if isinstance(error, TaskFailure | OSError):
        details = error.details if isinstance(error, TaskFaulted) else str(error)
        if private:
            details = _places(details)
        _log.error("%s: %s: %s", subject, doing, details)
        return _failure(errors.TASK_FAILED, FailureKind.SYSTEM, doing, why=str(error))
    _log.error("%s: %s: the service failed", subject, doing, exc_info=error)
    return _failure(errors.TASK_FAILED, FailureKind.SYSTEM, doing, why=f"{type(error).__name__}: {error}")


def _places(traceback: str) -> str:
    """Where something was raised, without what: a message may hold what was posted."""
    places = [line for line in traceback.splitlines() if line.startswith("  File ")]
    return "\n".join(["(what was raised isn't told: the job is private)", *places])


def _failure(kind: errors.ErrorKind, whose: FailureKind, doing: str, **fields: object) -> Failure:
    fields["doing"] = doing.capitalize()
    return Failure(Reason(kind.code, kind.message.format(**fields), kind.solution.format(**fields)), whose)
