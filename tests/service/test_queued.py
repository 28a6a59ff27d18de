"""Jobs are looked at while they wait: estimates are there, and what can't run doesn't wait."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

from centre_lab import MANILA, SIMULATOR, Centre, bell, play

from ketline.config import InstanceSettings
from ketline.core.model import JobStatus, Mode, QpuMode
from ketline.service.views import JobView

LAB = InstanceSettings(name="lab")


async def known(running: Centre, job: JobView) -> JobView:
    """The job as soon as it has an estimate or has ended."""
    view, until = job, time.monotonic() + 20.0
    while view.estimate_seconds is None and not view.status.final:
        assert time.monotonic() < until, "nobody looked at it"
        view = await running.runtime.job_change(running.me, job.job_id, view.revision, 5.0)
    return view


async def pause(running: Centre, mode: QpuMode = QpuMode.PAUSED) -> None:
    await running.runtime.set_qpu_mode(await running.enter(), "ket_manila", mode, "")


def too_much() -> bytes:
    """A job beyond the limit on executions (``modes.md`` 1.4, A12)."""
    return bell(10_000_001)


def test_a_job_that_waits_has_the_estimate_that_it_keeps(tmp_path: Path) -> None:
    async def scenario(running: Centre) -> None:
        await pause(running)
        first = await running.submit(params=bell(4_000))
        session = await running.runtime.open_workload(running.me, Mode.SESSION, "ket_manila", None)
        private = await running.submit(params=bell(40), private=True)
        inside = await running.submit(workload_id=session.workload_id)
        views = [await known(running, job) for job in (first, private, inside)]
        assert [view.status for view in views] == [JobStatus.QUEUED] * 3
        assert all(view.estimate_seconds is not None for view in views)
        assert [view.running_at for view in views] == [None] * 3
        story = await running.runtime.explain_job(running.me, first.job_id)
        assert story.view.estimate_seconds == views[0].estimate_seconds
        await pause(running, QpuMode.ONLINE)
        for view in views:
            ended = await running.end(view)
            assert ended.status is JobStatus.COMPLETED
            assert ended.estimate_seconds == view.estimate_seconds

    play(tmp_path, scenario)


def test_what_is_beyond_a_limit_does_not_wait(tmp_path: Path) -> None:
    async def scenario(running: Centre) -> None:
        await pause(running)
        wrong = await running.submit(params=too_much())
        broken = await running.submit(params=json.dumps({"pubs": "none", "version": 2}).encode())
        for job in (wrong, broken):
            ended = await known(running, job)
            assert ended.status is JobStatus.FAILED
            assert ended.running_at is None
            assert ended.usage_seconds == 0
        ended = await running.runtime.job(running.me, wrong.job_id)
        assert ended.reason is not None
        assert ended.reason.code == 9401
        assert "10,000,001" in ended.reason.message
        assert ended.reason.solution

    play(tmp_path, scenario)


def test_jobs_that_waited_when_the_server_stopped_are_looked_at(tmp_path: Path) -> None:
    found: list[JobView] = []

    async def stop(running: Centre) -> None:
        await pause(running)
        found.append(await running.submit())  # and the server stops before anybody could look
        assert found[0].estimate_seconds is None

    async def go_on(running: Centre) -> None:
        view = await known(running, found[0])
        assert view.status is JobStatus.QUEUED
        assert view.estimate_seconds is not None

    play(tmp_path, stop)
    play(tmp_path, go_on)


def test_nobody_waits_behind_a_thousand_jobs_of_another_instance(tmp_path: Path) -> None:
    async def scenario(running: Centre) -> None:
        await pause(running)
        other = await running.enter("lab")
        mine = [await running.submit() for _ in range(60)]
        running.me, me = other, running.me
        late = await running.submit()
        view = await known(running, late)
        running.me = me
        assert view.estimate_seconds is not None
        behind = [(await running.runtime.job(me, job.job_id)).estimate_seconds for job in mine]
        assert None in behind
        # one that is cancelled, or runs, in the meantime is nothing to look at
        await running.runtime.cancel_job(me, mine[-1].job_id)
        await pause(running, QpuMode.ONLINE)
        ended = await asyncio.gather(*(running.end(job) for job in mine))
        assert [job.status for job in ended] == [JobStatus.COMPLETED] * 59 + [JobStatus.CANCELLED]

    play(tmp_path, scenario, MANILA, SIMULATOR, instances=(LAB,))
