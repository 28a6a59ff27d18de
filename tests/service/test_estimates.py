"""Estimates of whole payloads: what the job would carry, refused as it would be, and nothing left of it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from centre_lab import MANILA, PACED, SIMULATOR, Centre, bell, play
from qiskit import QuantumCircuit
from qiskit_ibm_runtime import RuntimeEncoder

from ketline.config import InstanceSettings
from ketline.core.estimate import usage
from ketline.core.model import JobStatus, Mode
from ketline.errors import (
    BACKEND_NOT_FOUND,
    INVALID_REQUEST,
    LIMIT_EXCEEDED,
    NOT_IN_TARGET,
    OPTION_REFUSED,
    PENDING_JOB_LIMIT,
    PROGRAM_NOT_FOUND,
    SESSION_CLOSED,
    TOO_MANY_ESTIMATES,
    KetlineError,
)
from ketline.service.prospects import Asked, Estimated
from ketline.service.views import JobRequest


def learning_job(**options: Any) -> bytes:
    """An Estimator job that learns noise first and cancels it."""
    circuit = QuantumCircuit(5)
    circuit.sx(0)
    circuit.cx(0, 1)
    resilience = {
        "pec_mitigation": True,
        "layer_noise_learning": {
            "shots_per_randomization": 32, "num_randomizations": 4, "layer_pair_depths": [0, 2],
        },
    }  # fmt: skip
    params = {
        "pubs": [[circuit, {"IIIZZ": 1.0}, [], 0.1]],
        "options": {"resilience": resilience, **options}, "version": 2, "resilience_level": 0,
    }  # fmt: skip
    return json.dumps(params, cls=RuntimeEncoder).encode()


def not_native() -> bytes:
    circuit = QuantumCircuit(2, 1)
    circuit.h(0)
    circuit.measure(0, 0)
    params = {"pubs": [[circuit, np.zeros(0), 10]], "options": {}, "version": 2}
    return json.dumps(params, cls=RuntimeEncoder).encode()


async def estimate(c: Centre, params: bytes, backend: str = "ket_manila", **more: Any) -> Estimated:
    program = more.pop("program", "sampler")
    return await c.runtime.estimate_job(c.me, JobRequest(program, backend, params, **more))


async def refusal(c: Centre, params: bytes, backend: str = "ket_manila", **more: Any) -> KetlineError:
    with pytest.raises(KetlineError) as caught:
        await estimate(c, params, backend, **more)
    return caught.value


async def fate(c: Centre, request: JobRequest) -> tuple[int, str]:
    """Code and message that a submission is refused with, or its job ends with."""
    try:
        reason = (await c.end(await c.runtime.submit_job(c.me, request))).reason
    except KetlineError as error:
        return error.kind.code, error.message
    assert reason is not None
    return reason.code, reason.message


def test_an_estimate_is_what_the_job_then_carries_and_the_formula_is_the_documented_one(
    tmp_path: Path,
) -> None:
    quick = PACED.model_copy(update={"pace": 0.05})

    async def scenario(c: Centre) -> None:
        for backend in ("ket_paced", "ket_manila", "mock_manila", "ket_simulator"):
            params = bell(shots=100)
            told = await estimate(c, params, backend)
            done = await c.end(await c.submit(backend, params=params))
            assert done.status is JobStatus.COMPLETED
            assert told.seconds == done.estimate_seconds
            # A dry run takes no device any time.
            assert told.usage.executions == (0 if backend == "mock_manila" else 100)
        told = await estimate(c, bell(shots=100), "ket_paced")
        delay = c.runtime._house.backends["ket_paced"].device.default_rep_delay_seconds
        circuit = told.usage.circuit_seconds / 100
        assert 0 < circuit < 1e-4
        assert told.usage == usage(100, rep_delay_seconds=delay, circuit_seconds=circuit)
        assert told.seconds == pytest.approx(0.05 * told.usage.seconds)
        shape = await c.runtime.estimate(c.me, Asked("ket_paced", 100, circuit_seconds=circuit))
        assert (shape.seconds, shape.usage) == (pytest.approx(told.seconds), told.usage)

    play(tmp_path, scenario, MANILA, quick, SIMULATOR)


def test_nothing_is_left_of_an_estimate(tmp_path: Path) -> None:
    async def scenario(c: Centre) -> None:
        for params in (bell(), not_native()):
            try:
                await estimate(c, params)
            except KetlineError:
                assert params != bell()
        await c.runtime._house.engine.durable()
        for table in ("jobs", "usage", "job_counts"):
            assert c.rows(f"SELECT * FROM {table}") == []
        assert c.rows("SELECT * FROM events WHERE kind LIKE 'Job%'") == []
        assert not any(path.is_file() for path in (tmp_path / "files" / "payloads").rglob("*"))
        assert not any((tmp_path / "scratch").glob("*/*"))

    play(tmp_path, scenario)


def test_rounds_that_learn_noise_are_counted_and_carried_by_the_job(tmp_path: Path) -> None:
    async def scenario(c: Centre) -> None:
        params = learning_job()
        told = await estimate(c, params, program="estimator")
        learning, estimation = told.rounds
        assert (learning.usage.overhead_seconds, estimation.usage.overhead_seconds) == (2.0, 2.0)
        assert told.usage.executions == learning.usage.executions + estimation.usage.executions
        assert told.seconds == learning.seconds + estimation.seconds
        job = await c.runtime.submit_job(c.me, JobRequest("estimator", "ket_manila", params))
        done = await c.end(job)
        assert done.status is JobStatus.COMPLETED
        first, second = (
            json.loads(facts)["estimate_seconds"]
            for (facts,) in c.rows(
                "SELECT facts FROM events WHERE subject = ? AND kind = 'JobPrepared' ORDER BY number",
                job.job_id,
            )
        )
        assert first == told.seconds
        # What came before is known by then, and the noisy device takes more than a perfect one would.
        assert second >= estimation.seconds
        assert done.estimate_seconds == second
        # In a session, what an earlier job learned needn't be learned again.
        session = await c.runtime.open_workload(c.me, Mode.SESSION, "ket_manila", None)
        more = {"program": "estimator", "workload_id": session.workload_id}
        assert len((await estimate(c, params, **more)).rounds) == 2
        learner = JobRequest("estimator", "ket_manila", params, workload_id=session.workload_id)
        assert (await c.end(await c.runtime.submit_job(c.me, learner))).status is JobStatus.COMPLETED
        told = await estimate(c, params, **more)
        assert len(told.rounds) == 1
        assert told.seconds == (await c.end(await c.runtime.submit_job(c.me, learner))).estimate_seconds
        assert len((await estimate(c, params, program="estimator")).rounds) == 2, (
            "outside of it nothing is known"
        )

    play(tmp_path, scenario)


def test_what_would_be_refused_or_fail_is_refused_with_the_same_code(tmp_path: Path) -> None:
    async def scenario(c: Centre) -> None:
        session = await c.runtime.open_workload(c.me, Mode.BATCH, "ket_manila", None)
        cases: list[tuple[int, bytes, dict[str, Any]]] = [
            (NOT_IN_TARGET.code, not_native(), {}),
            (LIMIT_EXCEEDED.code, bell(shots=10_000_001), {}),
            (OPTION_REFUSED.code, bell(options={"execution": {"rep_delay": 5.0}}), {}),
            (1603, b'{"pubs": [["nonsense"]]}', {}),
            (PROGRAM_NOT_FOUND.code, bell(), {"program": "sampling"}),
            (BACKEND_NOT_FOUND.code, bell(), {"backend": "ket_none"}),
            (SESSION_CLOSED.code, bell(), {"workload_id": "another"}),
            (INVALID_REQUEST.code, bell(), {"workload_id": session.workload_id, "backend": "ket_simulator"}),
        ]
        for code, params, more in cases:
            program, backend = more.pop("program", "sampler"), more.pop("backend", "ket_manila")
            told = await refusal(c, params, backend, program=program, **more)
            assert told.kind.code == code, (told.message, code)
            assert await fate(c, JobRequest(program, backend, params, **more)) == (code, told.message)

    play(tmp_path, scenario, MANILA, SIMULATOR)


def test_limits_of_the_moment_are_told_beside_the_estimate(tmp_path: Path) -> None:
    async def scenario(c: Centre) -> None:
        job = await c.submit("ket_paced")
        told = await estimate(c, bell(), "ket_paced", cost_seconds=1.0)
        hits = {hit.limit: hit for hit in told.limits}
        assert hits["max_pending_jobs"].code == PENDING_JOB_LIMIT.code
        assert hits["max_pending_jobs"].blocks
        assert set(hits) == {"max_pending_jobs", "max_execution_seconds", "limit_seconds"}
        await c.runtime.cancel_job(c.me, job.job_id)

    narrow = InstanceSettings(name="default", max_pending_jobs=1, limit_seconds=1.5)
    play(tmp_path, scenario, PACED, instances=(narrow,))


def test_a_user_has_so_many_estimates_at_a_time_and_jobs_go_first(tmp_path: Path) -> None:
    slow = learning_job()

    async def scenario(c: Centre) -> None:
        await estimate(c, bell())
        flood = [asyncio.create_task(estimate(c, slow, program="estimator")) for _ in range(12)]
        await asyncio.sleep(0)
        assert (await c.end(await c.submit())).status is JobStatus.COMPLETED
        assert not all(task.done() for task in flood), "the job went before estimates that were there first"
        told = await asyncio.gather(*flood, return_exceptions=True)
        refused = [one for one in told if isinstance(one, KetlineError)]
        assert {error.kind for error in refused} == {TOO_MANY_ESTIMATES}
        assert all(error.retry_after_seconds for error in refused)
        assert len(told) - len(refused) == 4
        assert isinstance(await estimate(c, bell()), Estimated)

    play(tmp_path, scenario)
