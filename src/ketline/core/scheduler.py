"""The scheduler of a whole centre: ``handle(event, now) -> actions``, with no I/O and no clock."""

from __future__ import annotations

from collections.abc import Mapping

from ketline.core.actions import Action
from ketline.core.events import Event
from ketline.core.model import InstanceSpec, Job, QpuSpec, Reason, Workload


class Rejection(Exception):
    """A user's event can't be accepted; nothing has changed."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.message)
        self.reason = reason


class Scheduler:
    """Decides for any number of QPUs, instances, sessions, batches and jobs.

    ``jobs`` holds the unfinished jobs and ``workloads`` the sessions and batches that aren't closed.
    """

    jobs: Mapping[str, Job]
    workloads: Mapping[str, Workload]
    instances: Mapping[str, InstanceSpec]
    qpus: Mapping[str, QpuSpec]

    def handle(self, event: Event, now: float) -> list[Action]:
        """Take in what happened and answer with what to do about it."""
        raise NotImplementedError

    def restore(
        self, jobs: list[Job], workloads: list[Workload], usage: list[tuple[str, float, float]], now: float
    ) -> list[Action]:
        """Take up the unfinished jobs and open workloads that a predecessor left behind.

        QPUs and instances are registered before. ``usage`` holds (instance, time, seconds) of what was
        billed inside the windows. Jobs that were preparing, running or finalizing are done again from
        preparation on, in place. The answer is what there is to do now.
        """
        raise NotImplementedError

    def copy(self) -> Scheduler:
        """An independent scheduler in the same state, for running ahead on a virtual clock."""
        raise NotImplementedError

    def check(self) -> None:
        """Raise ``InvariantError`` unless every invariant holds."""
        raise NotImplementedError
