"""Usage keeps adding up: over changed plans, deleted jobs and restarts."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest
from centre_lab import PACED, Centre, bell, play

from ketline.config import InstanceSettings, QpuSettings
from ketline.core.model import Mode
from ketline.service.views import JobView, SessionSplit, UsageQuery

DAY = 86_400.0
QUICK = QpuSettings(name="ket_paced", device="manila", pace=0.2)
LAB = InstanceSettings(name="lab", plan="flex")


async def in_ledger(running: Centre) -> float:
    """What the ledger holds of the instance, whenever it was."""
    totals = await running.runtime.usage_totals(running.me, UsageQuery(instances=("lab",)))
    return sum(total.seconds for total in totals)


async def told(running: Centre) -> tuple[float, float]:
    """What the instance's view says that it used, and what its limit sees."""
    view = await running.runtime.instance(running.me)
    engine = running.runtime._house.engine
    return view.consumed_seconds, engine.scheduler.usage(running.me.instance_id).used_seconds


def test_a_changed_window_holds_exactly_what_the_ledger_holds_of_it(tmp_path: Path) -> None:
    async def first(running: Centre) -> None:
        running.me = await running.enter("lab")
        await running.end(await running.submit())

    play(tmp_path, first, instances=(LAB,))
    with closing(sqlite3.connect(tmp_path / "ketline.db")) as database, database:
        for days, seconds in ((100, 1000.0), (40, 100.0), (29, 10.0), (27.9999, 1.0), (1, 0.5)):
            database.execute(
                "INSERT INTO usage (instance_id, user_id, qpu_id, started_at, ended_at, seconds, rule)"
                " SELECT instance_id, user_id, qpu_id, started_at - :ago, ended_at - :ago, :seconds, rule"
                " FROM usage WHERE number = 1",
                {"ago": days * DAY, "seconds": seconds},
            )

    async def changed(running: Centre) -> None:
        running.me = await running.enter("lab")
        administrator = await running.enter()
        recent = 1.5 + await in_ledger(running) - 1111.5

        async def change(**given: object) -> tuple[float, float]:
            view = await running.runtime.change_instance(administrator, "lab", given)
            consumed, used = await told(running)
            assert view.consumed_seconds == consumed
            return consumed, used

        assert await told(running) == pytest.approx((recent + 1110,) * 2)  # the whole contract
        assert await change(plan="premium") == pytest.approx((recent,) * 2)  # 28 days
        assert await change(window_seconds=60 * DAY) == pytest.approx((recent + 110,) * 2)
        assert await change(window_seconds=2 * DAY) == pytest.approx((recent - 1,) * 2)
        assert await change(window_seconds=28 * DAY) == pytest.approx((recent,) * 2)
        assert await change(plan="flex") == pytest.approx((recent + 1110,) * 2)
        # what was billed since is there, too, and a limit is held against all of it
        await running.end(await running.submit())
        assert await told(running) == pytest.approx((await in_ledger(running),) * 2)
        await change(plan="premium", limit_seconds=900)
        assert not running.runtime._house.engine.scheduler.usage(running.me.instance_id).held
        await change(plan="flex")
        assert running.runtime._house.engine.scheduler.usage(running.me.instance_id).held

    play(tmp_path, changed, instances=(LAB,))


async def on_the_qpu(running: Centre, job: JobView) -> None:
    """Wait until the QPU is locked for a job."""
    seen = job
    while seen.locked_at is None:
        assert not seen.status.final
        seen = await running.runtime.job_change(running.me, job.job_id, seen.revision, 5.0)


def parts(split: SessionSplit) -> float:
    return split.on_qpu_seconds + split.classical_seconds + split.idle_seconds


def test_a_session_is_split_alike_when_its_jobs_are_deleted(tmp_path: Path) -> None:
    async def scenario(running: Centre) -> None:
        me, runtime = running.me, running.runtime
        session = await runtime.open_workload(me, Mode.SESSION, "ket_paced", None)
        done = [
            await running.end(await running.submit("ket_paced", workload_id=session.workload_id))
            for _ in range(2)
        ]
        await asyncio.sleep(0.3)
        await runtime.close_workload(me, session.workload_id)
        before = await runtime.session_split(me, session.workload_id)
        assert parts(before) == pytest.approx(before.billed_seconds, abs=1e-6)
        assert before.active_seconds == pytest.approx(before.billed_seconds, abs=1e-6)
        assert before.on_qpu_seconds == pytest.approx(sum(job.qpu_seconds for job in done), abs=1e-6)
        assert before.as_batch_seconds == pytest.approx(before.on_qpu_seconds, abs=1e-6)
        assert before.idle_seconds >= 0.3
        for job in done:
            await runtime.delete_job(me, job.job_id)
        assert await runtime.session_split(me, session.workload_id) == before

    play(tmp_path, scenario, QUICK)


def test_a_session_is_split_into_what_is_billed_over_a_restart(tmp_path: Path) -> None:
    found: dict[str, str] = {}

    async def start(running: Centre) -> None:
        for mode, qpu in ((Mode.SESSION, "ket_manila"), (Mode.BATCH, "ket_paced")):
            opened = await running.runtime.open_workload(running.me, mode, qpu, None)
            found[mode] = opened.workload_id
        await running.end(await running.submit(workload_id=found[Mode.SESSION]))
        slow = await running.submit("ket_paced", params=bell(20_000), workload_id=found[Mode.BATCH])
        await on_the_qpu(running, slow)
        split = await running.runtime.session_split(running.me, found[Mode.SESSION])
        assert split.billed_seconds == 0 < split.idle_seconds <= split.active_seconds

    async def go_on(running: Centre) -> None:
        for workload_id in found.values():
            await running.runtime.close_workload(running.me, workload_id)
        session = await running.runtime.session_split(running.me, found[Mode.SESSION])
        assert session.active_seconds == pytest.approx(session.billed_seconds, abs=1e-6)
        assert parts(session) == pytest.approx(session.billed_seconds, abs=1e-6)
        batch = await running.runtime.session_split(running.me, found[Mode.BATCH])
        assert parts(batch) == pytest.approx(batch.active_seconds, abs=1e-6)
        assert batch.active_seconds < 60, "the time in between was nobody's"

    qpus = (QpuSettings(name="ket_manila", device="manila"), PACED)
    play(tmp_path, start, *qpus)
    # the server is away for an hour
    with closing(sqlite3.connect(tmp_path / "ketline.db")) as database, database:
        _an_hour_ago(database)
    play(tmp_path, go_on, *qpus)


def _an_hour_ago(database: sqlite3.Connection) -> None:
    """Move all that was written down an hour into the past."""
    database.execute("UPDATE events SET at = at - 3600")
    database.execute("UPDATE jobs SET created_at = created_at - 3600, running_at = running_at - 3600")
    database.execute("UPDATE usage SET started_at = started_at - 3600, ended_at = ended_at - 3600")
    for workload_id, text in database.execute("SELECT workload_id, facts FROM workloads").fetchall():
        facts = json.loads(text)
        for name in ("created_at", "started_at", "activated_at", "expires_at", "idle_at", "unused_at"):
            facts[name] = None if facts[name] is None else facts[name] - 3600
        facts["window_started_at"] = (
            None if facts["window_started_at"] is None else facts["window_started_at"] - 3600
        )
        facts["history"] = [[state, at - 3600] for state, at in facts["history"]]
        facts["windows"] = [[start - 3600, end - 3600] for start, end in facts["windows"]]
        database.execute(
            "UPDATE workloads SET facts = ?, created_at = created_at - 3600 WHERE workload_id = ?",
            (json.dumps(facts), workload_id),
        )


def test_lines_of_the_ledger_last_as_long_as_they_bill_and_dont_overlap(tmp_path: Path) -> None:
    async def scenario(running: Centre) -> None:
        jobs = [await running.submit("ket_paced") for _ in range(3)]
        jobs += [await running.submit() for _ in range(3)]
        for job in jobs:
            await running.end(job)
        lines = [
            line async for page in await running.runtime.ledger(running.me, UsageQuery()) for line in page
        ]
        assert len(lines) == len(jobs)
        for line in lines:
            assert (line.ended_at - line.started_at).total_seconds() == pytest.approx(line.seconds, abs=2e-6)
        for qpu in ("ket_paced", "ket_manila"):
            spans = sorted((line.started_at, line.ended_at) for line in lines if line.backend == qpu)
            assert all(end <= start for (_, end), (start, _) in pairwise(spans))

    play(tmp_path, scenario, QUICK, QpuSettings(name="ket_manila", device="manila"))


def test_the_overhead_of_a_qpu_is_billed_to_whom_a_cancelled_job_belongs(tmp_path: Path) -> None:
    async def scenario(running: Centre) -> None:
        me, runtime = running.me, running.runtime
        job = await running.submit("ket_dear", params=bell(100_000))
        await on_the_qpu(running, job)
        await runtime.cancel_job(me, job.job_id)
        ended = await running.end(job)
        fine = await running.end(await running.submit("ket_dear", params=bell(20)))
        assert ended.usage_seconds == pytest.approx(ended.qpu_seconds + 1.5)
        assert fine.usage_seconds == pytest.approx(fine.qpu_seconds)
        rules = [line.rule async for page in await runtime.ledger(me, UsageQuery()) for line in page]
        assert rules == ["qpu time and job overhead", "qpu time"]

    dear = QpuSettings(name="ket_dear", device="manila", pace=1.0, job_overhead_seconds=1.5)
    play(tmp_path, scenario, dear)
