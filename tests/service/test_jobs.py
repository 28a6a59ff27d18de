"""Jobs through the live runtime: from submission to what is left of them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from centre_lab import MANILA, PACED, SIMULATOR, Centre, bell, centre, play

from ketline.config import ComputeSettings
from ketline.core.model import JobStatus, Mode, WorkloadState
from ketline.errors import (
    BACKEND_NOT_FOUND,
    CALIBRATION_NOT_FOUND,
    JOB_NOT_CANCELLABLE,
    JOB_NOT_FINAL,
    JOB_NOT_FOUND,
    PROGRAM_NOT_FOUND,
    SESSION_CLOSED,
    SESSION_NOT_FOUND,
    ErrorKind,
    KetlineError,
)
from ketline.service.views import JobFilter, JobRequest


def refused(kind: ErrorKind) -> pytest.RaisesExc[KetlineError]:
    return pytest.RaisesExc(KetlineError, check=lambda error: error.kind is kind)


def files_called(name: str, folder: Path) -> list[Path]:
    return list(folder.rglob(name))


async def gone(folder: Path, name: str) -> None:
    """Files are removed behind the back of whoever waits for an answer."""
    for _ in range(500):
        if not files_called(name, folder):
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"{name} is still there")


def test_a_flood_of_simulator_jobs_leaves_a_worker_to_the_qpus(tmp_path: Path) -> None:
    async def scenario(c: Centre) -> None:
        await c.end(await c.submit("ket_simulator"))
        flood = [await c.submit("ket_simulator", params=bell(shots=3_000_000)) for _ in range(6)]
        done = await c.end(await c.submit())
        assert done.status is JobStatus.COMPLETED
        still = [job for job in flood if not (await c.runtime.job(c.me, job.job_id)).status.final]
        assert len(still) >= 4, "the QPU's job waited for those that were there before"
        for job in still:
            await c.runtime.cancel_job(c.me, job.job_id)

    play(tmp_path, scenario, MANILA, SIMULATOR, compute=ComputeSettings(workers=2))


def test_a_jobs_way_from_submission_to_result(tmp_path: Path) -> None:
    async def scenario(c: Centre) -> None:
        params = bell()
        job = await c.submit(params=params, tags=("blue", "red"), caller="test")
        assert c.rows("SELECT status FROM jobs WHERE job_id = ?", job.job_id), "durable before the answer"
        assert len(job.job_id) == 20
        early = await c.result(job)
        assert early is None
        done = await c.end(job)
        assert done.status is JobStatus.COMPLETED
        assert done.reason is None
        assert done.running_at is not None
        assert done.locked_at is not None
        assert done.released_at is not None
        assert done.finished_at is not None
        assert done.created_at <= done.running_at <= done.locked_at <= done.released_at <= done.finished_at
        assert done.usage_seconds == pytest.approx(done.qpu_seconds)
        assert done.usage_seconds > 0
        content = await c.result(done)
        assert content is not None
        assert json.loads(content)["__type__"] == "PrimitiveResult"
        posted = b"".join([piece async for piece in await c.runtime.job_params(c.me, job.job_id)])
        assert posted == params
        (line,) = c.rows("SELECT seconds, started_at, ended_at FROM usage WHERE job_id = ?", job.job_id)
        assert line[0] == pytest.approx(done.usage_seconds)
        kinds = [kind for (kind,) in c.rows("SELECT kind FROM events WHERE subject = ?", job.job_id)]
        assert kinds == ["JobSubmitted", "JobPrepared", "JobLocked", "JobReleased", "JobFinalized"]
        instance = await c.runtime.instance(c.me)
        assert instance.consumed_seconds == pytest.approx(done.usage_seconds)
        # Nothing of the work is left lying about.
        for _ in range(100):
            if not any((tmp_path / "scratch").glob("*/*")):
                break
            await asyncio.sleep(0.01)
        assert not any((tmp_path / "scratch").glob("*/*"))

    play(tmp_path, scenario)


def test_who_waits_for_a_change_hears_of_it(tmp_path: Path) -> None:
    async def scenario(c: Centre) -> None:
        job = await c.submit()
        waiters = [asyncio.create_task(c.runtime.job_end(c.me, job.job_id, 30)) for _ in range(500)]
        seen = [job]
        while not seen[-1].status.final:
            seen.append(await c.runtime.job_change(c.me, job.job_id, seen[-1].revision, 30))
        assert len({view.revision for view in seen}) == len(seen)
        assert {view.status for view in await asyncio.gather(*waiters)} == {JobStatus.COMPLETED}
        # Of a final job nothing is waited for.
        await asyncio.wait_for(c.runtime.job_change(c.me, job.job_id, seen[-1].revision, 30), 1)
        assert c.runtime._house.board._waiters == {}

    play(tmp_path, scenario)


def test_waiting_ends_with_the_time_out(tmp_path: Path) -> None:
    async def scenario(c: Centre) -> None:
        job = await c.submit(backend="ket_paced", params=bell(shots=10_000))
        began = asyncio.get_running_loop().time()
        view = await c.runtime.job_end(c.me, job.job_id, 0.2)
        assert 0.19 < asyncio.get_running_loop().time() - began < 1.5
        assert not view.status.final
        await c.runtime.cancel_job(c.me, job.job_id)
        assert (await c.end(job)).status is JobStatus.CANCELLED
        assert c.runtime._house.board._waiters == {}

    play(tmp_path, scenario, PACED)


def test_simulators_run_side_by_side_and_dry_runs_leave_the_qpu_alone(tmp_path: Path) -> None:
    async def scenario(c: Centre) -> None:
        names = {b.name: b for b in await c.runtime.backends(c.me, include_mocks=True)}
        assert set(names) == {"ket_manila", "mock_manila", "ket_simulator"}
        assert names["mock_manila"].mock
        assert {b.name for b in await c.runtime.backends(c.me, include_mocks=False)} == {
            "ket_manila",
            "ket_simulator",
        }
        jobs = [await c.submit(backend="ket_simulator") for _ in range(8)]
        jobs += [await c.submit(backend="mock_manila") for _ in range(2)]
        for job in jobs:
            done = await c.end(job)
            assert done.status is JobStatus.COMPLETED, done.reason
            assert await c.result(done)
        assert c.runtime._house.work.machines.facts["ket_manila"]["job"] is None
        mock = json.loads(await c.runtime.configuration(c.me, "mock_manila", None))
        assert mock["backend_name"] == "mock_manila"
        assert (await c.runtime.backend(c.me, "ket_simulator")).queue_length == 0

    play(tmp_path, scenario, MANILA, SIMULATOR)


def test_cancelling_and_deleting(tmp_path: Path) -> None:
    async def scenario(c: Centre) -> None:
        long = bell(shots=20_000)
        first = await c.submit(backend="ket_paced", params=long)
        while (await c.runtime.job(c.me, first.job_id)).locked_at is None:
            await c.runtime.job_change(c.me, first.job_id, -1, 0.01)
            await asyncio.sleep(0.01)
        second = await c.submit(backend="ket_paced", params=long)
        with refused(JOB_NOT_FINAL):
            await c.runtime.delete_job(c.me, first.job_id)
        assert (await c.runtime.backend(c.me, "ket_paced")).queue_length == 2
        await c.runtime.cancel_job(c.me, second.job_id)
        assert (await c.runtime.job(c.me, second.job_id)).status is JobStatus.CANCELLED
        await c.runtime.cancel_job(c.me, first.job_id)
        ended = await c.end(first)
        assert ended.status is JobStatus.CANCELLED
        assert ended.usage_seconds > 0, "what was used of the QPU is billed"
        assert (await c.runtime.job(c.me, second.job_id)).usage_seconds == 0
        with refused(JOB_NOT_CANCELLABLE):
            await c.runtime.cancel_job(c.me, first.job_id)
        await c.runtime.delete_job(c.me, first.job_id)
        with refused(JOB_NOT_FOUND):
            await c.runtime.job(c.me, first.job_id)
        _, total = await c.runtime.jobs(c.me, JobFilter())
        assert total == 1
        assert c.rows("SELECT count(*) FROM jobs") == [(1,)]
        await gone(tmp_path / "files", first.job_id)

    play(tmp_path, scenario, PACED)


def test_private_jobs_are_read_once(tmp_path: Path) -> None:
    async def scenario(c: Centre) -> None:
        job = await c.submit(private=True)
        assert job.private
        done = await c.end(job)
        assert [piece async for piece in await c.runtime.job_params(c.me, job.job_id)] == []
        first, second = await asyncio.gather(c.result(done), c.result(done))
        assert sorted(map(bool, (first, second))) == [False, True]
        assert await c.result(done) is None
        await gone(tmp_path / "files", job.job_id)

    play(tmp_path, scenario)


def test_tags_and_lists(tmp_path: Path) -> None:
    async def scenario(c: Centre) -> None:
        done = await c.submit(tags=("blue",))
        await c.end(done)
        waiting = await c.submit(backend="ket_paced", params=bell(shots=20_000), tags=("blue", "long"))
        for job in (done, waiting):
            await c.runtime.set_tags(c.me, job.job_id, ["green", "gold", "green"])
            assert (await c.runtime.job(c.me, job.job_id)).tags == ("green", "gold")
        assert await c.runtime.tags(c.me, "g") == ["gold", "green"]
        assert await c.runtime.tags(c.me, "blue") == []
        found, total = await c.runtime.jobs(c.me, JobFilter(tags=("gold", "green"), pending=True))
        assert ([view.job_id for view in found], total) == ([waiting.job_id], 1)
        items, total, _, later = await c.runtime.workload_items(c.me, {"limit": 1})
        assert (items[0]["id"], total) == (waiting.job_id, 2)
        items, _, earlier, later = await c.runtime.workload_items(c.me, {"limit": 1, "next": later})
        assert (items[0]["id"], items[0]["status"], later) == (done.job_id, "completed", None)
        items, _, _, _ = await c.runtime.workload_items(c.me, {"limit": 1, "previous": earlier})
        assert items[0]["id"] == waiting.job_id
        await c.runtime.cancel_job(c.me, waiting.job_id)

    play(tmp_path, scenario, MANILA, PACED)


def test_what_does_not_exist_is_refused_before_anything_is_stored(tmp_path: Path) -> None:
    async def scenario(c: Centre) -> None:
        other = await c.enter("open")
        with refused(BACKEND_NOT_FOUND):
            await c.submit(backend="ket_nowhere")
        with refused(PROGRAM_NOT_FOUND):
            await c.runtime.submit_job(c.me, JobRequest("astrology", "ket_manila", b"{}"))
        with refused(CALIBRATION_NOT_FOUND):
            await c.submit(calibration_id="slow_gates")
        with refused(SESSION_CLOSED):
            await c.submit(workload_id="not-there")
        batch = await c.runtime.open_workload(other, Mode.BATCH, "ket_manila", None)
        with refused(SESSION_CLOSED):
            await c.submit(workload_id=batch.workload_id)
        job = await c.submit()
        with refused(JOB_NOT_FOUND):
            await c.runtime.job(other, job.job_id)
        with refused(JOB_NOT_FOUND):
            await c.runtime.cancel_job(other, job.job_id)
        await c.end(job)
        assert c.rows("SELECT count(*) FROM jobs") == [(1,)]
        assert len(list((tmp_path / "files" / "payloads").rglob("*/*"))) == 1

    play(tmp_path, scenario)


def test_a_payload_that_makes_no_sense_fails_the_job_with_its_reason(tmp_path: Path) -> None:
    async def scenario(c: Centre) -> None:
        job = await c.end(await c.submit(params=b'{"pubs": [["nonsense"]], "version": 2}'))
        assert job.status is JobStatus.FAILED
        assert job.reason is not None
        assert job.reason.code >= 1000
        assert job.reason.message
        assert job.reason.solution
        assert job.usage_seconds == 0
        assert (await c.end(await c.submit())).status is JobStatus.COMPLETED

    play(tmp_path, scenario)


def test_a_session_from_opening_to_closing(tmp_path: Path) -> None:
    async def scenario(c: Centre) -> None:
        session = await c.runtime.open_workload(c.me, Mode.SESSION, "ket_manila", None)
        assert session.state is WorkloadState.OPEN
        assert session.started_at is None
        for _ in range(2):
            job = await c.end(await c.submit(workload_id=session.workload_id))
            assert job.workload_id == session.workload_id
        active = await c.runtime.workload(c.me, session.workload_id)
        assert active.state is WorkloadState.ACTIVE
        await c.runtime.close_workload(c.me, session.workload_id)
        closed = await c.runtime.workload(c.me, session.workload_id)
        assert closed.state is WorkloadState.CLOSED
        assert closed.usage_seconds > 0
        assert closed.closed_at is not None
        with pytest.raises(KetlineError, match="has been closed"):
            await c.submit(workload_id=session.workload_id)
        await c.runtime.close_workload(c.me, session.workload_id)
        other = await c.enter("open")
        with refused(SESSION_NOT_FOUND):
            await c.runtime.workload(other, session.workload_id)
        items, total, _, _ = await c.runtime.workload_items(
            c.me, {"mode": "session", "status": ["completed"]}
        )
        assert (total, items[0]["id"]) == (1, session.workload_id)

    play(tmp_path, scenario)


def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    async def run() -> None:
        async with centre(tmp_path, MANILA, PACED) as c:
            done = await c.end(await c.submit())
            content = await c.result(done)
            waiting = [
                await c.submit(backend="ket_paced", params=bell(shots=2_000), tags=(f"n{n}",))
                for n in range(3)
            ]
            batch = await c.runtime.open_workload(c.me, Mode.BATCH, "ket_manila", 600)
            secret = await c.runtime.signing_secret()
            consumed = (await c.runtime.instance(c.me)).consumed_seconds
        async with centre(tmp_path, MANILA, PACED) as c:
            assert await c.runtime.job(c.me, done.job_id) == done
            assert await c.result(done) == content
            assert await c.runtime.signing_secret() == secret
            assert (await c.runtime.instance(c.me)).consumed_seconds == pytest.approx(consumed)
            assert (await c.runtime.workload(c.me, batch.workload_id)).max_ttl_seconds == 600
            for number, job in enumerate(waiting):
                ended = await c.end(job)
                assert ended.status is JobStatus.COMPLETED
                assert ended.tags == (f"n{number}",)
                assert ended.created_at == job.created_at
                assert len(c.rows("SELECT 1 FROM usage WHERE job_id = ?", job.job_id)) == 1
            inside = await c.end(await c.submit(workload_id=batch.workload_id))
            assert inside.status is JobStatus.COMPLETED

    asyncio.run(run())
