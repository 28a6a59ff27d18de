"""Somebody sets the machine's clock while a session is active, and between two starts of the server."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from centre_lab import MANILA, Centre, play

from ketline.api.tokens import Tokens
from ketline.config import QpuSettings
from ketline.core.model import JobStatus, Mode, WorkloadState
from ketline.service.views import UsageQuery

HOUR = 3_600.0
PACED = QpuSettings(name="ket_paced", device="manila", pace=0.2)


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
def test_a_jump_of_an_hour_expires_and_bills_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jump: float
) -> None:
    machine = time.time

    async def scenario(running: Centre) -> None:
        me, runtime = running.me, running.runtime
        tokens = Tokens(await runtime.signing_secret(), 60, lambda: runtime.now().timestamp())
        token, _ = tokens.issue(me)
        began = time.monotonic()
        session = await runtime.open_workload(me, Mode.SESSION, "ket_paced", 600.0)
        first = await running.submit("ket_paced", workload_id=session.workload_id)
        other = await running.submit("ket_paced")
        await running.end(first)
        second = await running.submit("ket_paced", workload_id=session.workload_id)
        monkeypatch.setattr(time, "time", lambda: machine() + jump)
        await asyncio.sleep(0.1)
        assert tokens.read(token)[0].user_id == me.user_id
        assert (await running.end(second)).status is JobStatus.COMPLETED
        third = await running.submit("ket_paced", workload_id=session.workload_id)
        assert (await running.end(third)).status is JobStatus.COMPLETED
        view = await runtime.workload(me, session.workload_id)
        assert view.state is WorkloadState.ACTIVE
        assert (await runtime.job(me, other.job_id)).status is JobStatus.QUEUED
        monkeypatch.setattr(time, "time", machine)  # and back again
        await runtime.close_workload(me, session.workload_id)
        await running.end(other)
        lines = [line async for page in await runtime.ledger(me, UsageQuery()) for line in page]
        assert all(line.seconds >= 0 and line.started_at <= line.ended_at for line in lines)
        assert 0 < sum(line.seconds for line in lines) < time.monotonic() - began
        times = [at for _, at in (await runtime.workload(me, session.workload_id)).history]
        assert times == sorted(times)

    play(tmp_path, scenario, PACED)


def test_a_clock_that_was_set_back_between_two_starts_goes_on_from_what_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine, found = time.time, []

    async def first(running: Centre) -> None:
        found.append(await running.end(await running.submit()))

    async def later(running: Centre) -> None:
        job = await running.end(await running.submit())
        before = found[0].finished_at
        assert before is not None
        assert job.created_at >= before
        totals = await running.runtime.usage_totals(running.me, UsageQuery())
        assert [total.count for total in totals] == [2]
        consumed = (await running.runtime.instance(running.me)).consumed_seconds
        assert consumed == pytest.approx(sum(total.seconds for total in totals))

    play(tmp_path, first, MANILA)
    monkeypatch.setattr(time, "time", lambda: machine() - HOUR)
    play(tmp_path, later, MANILA)
