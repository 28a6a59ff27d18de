"""What the outside may see: the views of what is durable, and those who wait for a change."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable

from ketline.service.views import JobView, WorkloadView


class Board:
    """Views by id: of all unfinished jobs and open workloads, and of those that were looked at lately.

    Only what is committed is ever pinned here. A waiter costs a future and a timer.
    """

    def __init__(self, recent: int = 20_000) -> None:
        self._live: dict[str, JobView] = {}
        self._recent: OrderedDict[str, JobView] = OrderedDict()
        self._workloads: OrderedDict[str, WorkloadView] = OrderedDict()
        self._most = recent
        self._waiters: dict[str, list[asyncio.Future[None]]] = {}

    def job(self, job_id: str) -> JobView | None:
        """A job's view, if it is at hand."""
        view = self._live.get(job_id)
        if view is None:
            view = self._recent.get(job_id)
            if view is not None:
                self._recent.move_to_end(job_id)
        return view

    def pin_job(self, view: JobView) -> None:
        """Show a job as it is from now on, and wake who waits for it."""
        job_id = view.job_id
        if view.status.final:
            self._live.pop(job_id, None)
            self._recent[job_id] = view
            self._recent.move_to_end(job_id)
            if len(self._recent) > self._most:
                self._recent.popitem(last=False)
        else:
            self._live[job_id] = view
        for waiter in self._waiters.pop(job_id, ()):
            if not waiter.done():
                waiter.set_result(None)

    def drop_job(self, job_id: str) -> None:
        """Show a job no more."""
        self._live.pop(job_id, None)
        self._recent.pop(job_id, None)

    async def wait_for_job(
        self, view: JobView, timeout_seconds: float, enough: Callable[[JobView], bool]
    ) -> JobView:
        """The job as soon as ``enough`` says so of it, or as it is after the time-out."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_seconds
        while not enough(view) and not view.status.final and (left := deadline - loop.time()) > 0:
            waiter: asyncio.Future[None] = loop.create_future()
            waiters = self._waiters.setdefault(view.job_id, [])
            waiters.append(waiter)
            alarm = loop.call_later(left, _wake, waiter)
            try:
                await waiter
            finally:
                alarm.cancel()
                if waiter in waiters:
                    waiters.remove(waiter)
                    if not waiters and self._waiters.get(view.job_id) is waiters:
                        del self._waiters[view.job_id]
            view = self.job(view.job_id) or view
        return view

    def workload(self, workload_id: str) -> WorkloadView | None:
        """A session's or batch's view, if it is at hand."""
        return self._workloads.get(workload_id)

    def pin_workload(self, view: WorkloadView) -> None:
        """Show a session or batch as it is from now on."""
        self._workloads[view.workload_id] = view
        if view.closed_at is not None and len(self._workloads) > self._most:
            self._forget_closed()

    def _forget_closed(self) -> None:
        closed = [key for key, view in self._workloads.items() if view.closed_at is not None]
        for key in closed[: len(closed) // 2]:
            del self._workloads[key]


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
