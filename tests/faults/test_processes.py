"""Workers and QPU processes that die, hang or eat memory: the job gets a reason, the queue goes on."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from centre_lab import MANILA, PACED, Centre, bell, centre, play
from misbehaving_tasks import MISBEHAVING

from ketline.config import ComputeSettings
from ketline.core.model import JobStatus, QpuMode
from ketline.errors import QPU_PROCESS_DIED, TASK_FAILED, TASK_OUT_OF_MEMORY, TASK_TOO_LONG
from ketline.service import qpu_host
from ketline.service.views import JobView

STRICT = ComputeSettings(workers=2, prepare_seconds=1.5, finalize_seconds=1.5, memory_bytes=300_000_000)


def params(when: str = "prepare", **misbehave: Any) -> bytes:
    return json.dumps(json.loads(bell()) | {"misbehave": {when: misbehave}}).encode()


async def on_the_qpu(c: Centre, job: JobView) -> JobView:
    for _ in range(2_000):
        view = await c.runtime.job(c.me, job.job_id)
        if view.locked_at is not None:
            return view
        await asyncio.sleep(0.005)
    raise AssertionError(view)


@pytest.mark.parametrize("when", ["prepare", "finalize"])
def test_classical_work_that_misbehaves_fails_its_job_alone(tmp_path: Path, when: str) -> None:
    async def scenario(c: Centre) -> None:
        bad = {
            "slow": await c.submit(params=params(when, slow=60.0)),
            "exit": await c.submit(params=params(when, exit=7)),
            "hungry": await c.submit(params=params(when, hungry=500_000_000)),
            "broken": await c.submit(params=params(when, broken="as Rust panics do")),
        }
        good = [await c.submit(params=params()) for _ in range(4)]
        ended = {name: await c.end(job) for name, job in bad.items()}
        for name, code, words in (
            ("slow", TASK_TOO_LONG.code, "took longer than 1.5 s"),
            ("exit", TASK_FAILED.code, "exit status 7"),
            ("hungry", TASK_OUT_OF_MEMORY.code, "300000000 bytes"),
            ("broken", TASK_FAILED.code, "as Rust panics do"),
        ):
            job = ended[name]
            assert job.status is JobStatus.FAILED, name
            assert job.reason is not None
            assert job.reason.code == code, job.reason
            assert words in job.reason.message
            assert job.reason.message.startswith("Preparing" if when == "prepare" else "Finalizing")
            assert job.reason.solution
        if when == "prepare":
            assert all(job.usage_seconds == 0 for job in ended.values())
        else:
            # A fault of ours costs nothing, what the job brought about does (modes.md 6.1).
            assert ended["exit"].usage_seconds == ended["broken"].usage_seconds == 0
            assert ended["hungry"].usage_seconds > 0
        for job in good:
            assert (await c.end(job)).status is JobStatus.COMPLETED
        assert (await c.runtime.health())["workers"]["workers"] == 2

    play(tmp_path, scenario, tasks=MISBEHAVING, compute=STRICT)


def test_the_log_tells_what_was_raised_unless_the_job_is_private(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(c: Centre) -> None:
        for private in (False, True):
            words = "a secret" if private else "no secret"
            job = await c.end(await c.submit(params=params(broken=words), private=private))
            assert job.reason is not None
            assert words in job.reason.message, "its owner is told"

    play(tmp_path, scenario, tasks=MISBEHAVING, compute=STRICT)
    told = [record.getMessage() for record in caplog.records if "preparing" in record.getMessage()]
    assert len(told) == 2
    assert "no secret" in told[0]
    assert "a secret" not in told[1]
    assert "misbehaving_tasks.py" in told[1]


def test_a_qpu_process_that_dies_fails_its_job_and_comes_back(tmp_path: Path) -> None:
    async def scenario(c: Centre) -> None:
        doomed = await c.submit(backend="ket_paced", params=bell(shots=20_000))
        await on_the_qpu(c, doomed)
        queued = [await c.submit(backend="ket_paced") for _ in range(3)]
        facts = c.runtime._house.work.machines.facts["ket_paced"]
        assert facts["job"] == doomed.job_id
        os.kill(facts["pid"], signal.SIGKILL)
        failed = await c.end(doomed)
        assert failed.status is JobStatus.FAILED
        assert failed.reason is not None
        assert failed.reason.code == QPU_PROCESS_DIED.code
        assert "killed by SIGKILL" in failed.reason.message
        assert f"{PACED.memory_bytes:,} bytes" in failed.reason.message
        assert failed.usage_seconds == 0, "nobody pays for our faults"
        for job in queued:
            assert (await c.end(job)).status is JobStatus.COMPLETED
        after = c.runtime._house.work.machines.facts["ket_paced"]
        assert (after["starts"], after["ready"]) == (2, True)
        assert after["pid"] != facts["pid"]

    play(tmp_path, scenario, PACED)


def test_an_idle_qpu_process_that_dies_is_replaced(tmp_path: Path) -> None:
    async def scenario(c: Centre) -> None:
        assert (await c.end(await c.submit())).status is JobStatus.COMPLETED
        os.kill(c.runtime._house.work.machines.facts["ket_manila"]["pid"], signal.SIGKILL)
        assert (await c.end(await c.submit())).status is JobStatus.COMPLETED

    play(tmp_path, scenario)


def test_a_qpu_process_that_does_not_stop_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qpu_host, "STOP_SECONDS", 0.3)

    async def scenario(c: Centre) -> None:
        stuck = await c.submit(backend="ket_paced", params=bell(shots=20_000))
        await on_the_qpu(c, stuck)
        pid = c.runtime._house.work.machines.facts["ket_paced"]["pid"]
        os.kill(pid, signal.SIGSTOP)
        await c.runtime.cancel_job(c.me, stuck.job_id)
        ended = await c.end(stuck)
        assert ended.status is JobStatus.CANCELLED
        assert ended.usage_seconds > 0.2
        assert (await c.end(await c.submit(backend="ket_paced"))).status is JobStatus.COMPLETED

    play(tmp_path, scenario, PACED)


def test_a_job_at_its_limit_is_stopped_and_billed(tmp_path: Path) -> None:
    async def scenario(c: Centre) -> None:
        job = await c.submit(backend="ket_paced", params=bell(shots=20_000), cost_seconds=1)
        ended = await c.end(job)
        assert ended.status is JobStatus.CANCELLED
        assert ended.reason is not None
        assert ended.reason.code == 1305
        assert 0.9 < ended.usage_seconds < 2.5

    play(tmp_path, scenario, PACED)


def test_a_worker_killed_from_outside_is_no_fault_of_the_next_job(tmp_path: Path) -> None:
    async def scenario(c: Centre) -> None:
        assert (await c.end(await c.submit())).status is JobStatus.COMPLETED
        for worker in list(c.runtime._house.pool._workers):
            os.kill(worker.child.pid or 0, signal.SIGKILL)
        await asyncio.sleep(0.1)
        assert (await c.end(await c.submit())).status is JobStatus.COMPLETED

    play(tmp_path, scenario)


def test_a_qpu_whose_process_is_unfit_is_offline_until_it_is_well(tmp_path: Path) -> None:
    async def scenario(c: Centre) -> None:
        backend = c.runtime._house.backends["ket_manila"]
        pid = c.runtime._house.work.machines.facts["ket_manila"]["pid"]
        good = backend.device_path.read_bytes()
        backend.device_path.write_bytes(b"not a device")
        os.kill(pid, signal.SIGKILL)
        for _ in range(1_000):
            if backend.mode is QpuMode.OFFLINE:
                break
            await asyncio.sleep(0.01)
        view = await c.runtime.backend(c.me, "ket_manila")
        assert (view.online, view.status) == (False, "offline")
        assert view.message
        job = await c.submit()
        await asyncio.sleep(0.2)
        assert (await c.runtime.job(c.me, job.job_id)).locked_at is None
        # What an administrator says meanwhile holds as soon as there is a process again.
        await c.runtime.set_qpu_mode(c.me, "ket_manila", QpuMode.PAUSED, "cabling")
        assert (await c.runtime.backend(c.me, "ket_manila")).status == "offline"
        backend.device_path.write_bytes(good)
        for _ in range(2_000):
            if backend.mode is not QpuMode.OFFLINE:
                break
            await asyncio.sleep(0.01)
        view = await c.runtime.backend(c.me, "ket_manila")
        assert (view.status, view.message) == ("paused", "cabling")
        await c.runtime.set_qpu_mode(c.me, "ket_manila", QpuMode.ONLINE, "")
        assert (await c.end(job)).status is JobStatus.COMPLETED
        assert (await c.runtime.backend(c.me, "ket_manila")).online

    async def run() -> None:
        async with centre(tmp_path, MANILA) as c:
            assert (await c.end(await c.submit())).status is JobStatus.COMPLETED
            await asyncio.wait_for(scenario(c), 60)

    asyncio.run(run())
