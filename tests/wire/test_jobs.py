"""The life of a job as the client follows it (acceptance checks 12 to 16 and 18)."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister
from qiskit_ibm_runtime import SamplerV2
from qiskit_ibm_runtime.exceptions import (
    RuntimeInvalidStateError,
    RuntimeJobFailureError,
    RuntimeJobMaxTimeoutError,
    RuntimeJobNotFound,
    RuntimeJobTimeoutError,
)
from wire_lab import submit, until

from ketline.client import connect


def _run(service, circuit, backend="ket_manila", shots=20, **environment):
    sampler = SamplerV2(service.backend(backend))
    sampler.options.update(environment=environment)
    return sampler.run([circuit], shots=shots)


@pytest.mark.check(12)
@pytest.mark.feature("Jobs", "`cancel()` of a queued, a running and a finished job")
def test_cancel(service, bell):
    jobs = [_run(service, bell, "ket_paced", shots=20_000) for _ in range(7)]
    until(lambda: jobs[0].status() == "RUNNING")
    assert jobs[-1].status() == "QUEUED"
    for job in reversed(jobs):
        job.cancel()
    for job in jobs:
        fresh = service.job(job.job_id())
        until(fresh.in_final_state)
        assert fresh.status() == "CANCELLED"
        with pytest.raises(RuntimeInvalidStateError):
            fresh.result()
    with pytest.raises(RuntimeInvalidStateError):
        service.job(jobs[0].job_id()).cancel()


@pytest.mark.check(13)
@pytest.mark.feature("Jobs", "A failing job: `RuntimeJobFailureError` with its code")
def test_failure(service):
    circuit = QuantumCircuit(QuantumRegister(5, "q"), ClassicalRegister(1, "c"))
    circuit.h(0)
    circuit.measure(0, 0)
    sampler = SamplerV2(service.backend("ket_manila"))
    with pytest.MonkeyPatch.context() as patch:
        # The client checks the instructions itself; the server must not rely on that.
        patch.setattr("qiskit_ibm_runtime.base_primitive.validate_isa_circuits", lambda *_: None)
        job = sampler.run([circuit])
    with pytest.raises(RuntimeJobFailureError, match="1517"):
        job.result()
    assert job.status() == "ERROR"
    assert "h" in job.error_message()


@pytest.mark.check(14)
@pytest.mark.feature("Jobs", "`max_execution_time`: `RuntimeJobMaxTimeoutError`, 1305")
def test_max_execution_time(service, bell):
    sampler = SamplerV2(service.backend("ket_paced"))
    sampler.options.max_execution_time = 1
    job = sampler.run([bell], shots=20_000)
    with pytest.raises(RuntimeJobMaxTimeoutError, match="1305"):
        job.result()
    assert job.usage() == pytest.approx(1, abs=0.7)


@pytest.mark.check(15)
@pytest.mark.feature("Jobs", "`jobs()` by limit, skip, state, tags, time, session, program and order")
def test_listing(service, bell):
    tag = f"listing-{time.monotonic_ns()}"
    before = datetime.now(UTC) - timedelta(seconds=1)
    jobs = [_run(service, bell, job_tags=[tag, f"{tag}-{n % 2}"]) for n in range(5)]
    ids = [job.job_id() for job in jobs]
    for job in jobs:
        job.result()

    def listed(**wanted):
        return [job.job_id() for job in service.jobs(**{"job_tags": [tag], **wanted})]

    assert listed(limit=10) == ids[::-1]
    assert listed(limit=2) == ids[:2:-1]
    assert listed(limit=10, descending=False) == ids
    assert listed(limit=2, skip=3) == ids[1::-1]
    assert listed(limit=None, skip=100) == []
    assert listed(pending=False) == ids[::-1]
    assert listed(pending=True) == []
    assert listed(job_tags=[tag, f"{tag}-0"]) == [ids[4], ids[2], ids[0]]
    assert listed(created_after=before) == ids[::-1]
    assert listed(created_before=before) == []
    assert listed(backend_name="ket_manila", program_id="sampler") == ids[::-1]
    assert listed(program_id="estimator") == []
    assert listed(session_id="none-such") == []
    found = service.jobs(job_tags=[tag], limit=1)[0]
    assert found.status() == "DONE"
    assert found.tags == [tag, f"{tag}-0"]
    assert found.backend().name == "ket_manila"


def test_no_list_holds_params_even_for_clients_that_always_ask_for_them(http, bell):
    """As 0.41 does in every list."""
    job_id = submit(http, bell)
    for wanted in ("False", "true"):
        listed = http.get("/jobs", params={"exclude_params": wanted, "limit": 5}).json()["jobs"]
        assert job_id in {job["id"] for job in listed}
        assert not any("params" in job for job in listed)
    assert http.get("/jobs", params={"exclude_params": "perhaps"}).status_code == 400


@pytest.mark.check(16)
@pytest.mark.feature("Jobs", "`inputs`, `update_tags()`, `logs()`, `metrics()`, `usage()`, `properties()`")
def test_what_a_job_tells(service, bell):
    job = _run(service, bell, shots=30, job_tags=["a"])
    job.result()
    pub = job.inputs["pubs"][0]
    assert pub[0] == bell
    assert pub[2] == 30
    assert set(job.update_tags(["b", "c"])) == {"b", "c"}
    assert isinstance(job.logs(), str)
    metrics = job.metrics()
    assert (
        metrics["timestamps"]["created"]
        <= metrics["timestamps"]["running"]
        <= metrics["timestamps"]["finished"]
    )
    assert metrics["usage"]["status"] == "complete"
    assert job.usage() == metrics["usage"]["qpu_charge_time_seconds"] >= 0
    assert job.usage_estimation["quantum_seconds"] is None or job.usage_estimation["quantum_seconds"] >= 0
    assert job.properties().backend_name == "ket_manila"
    assert job.creation_date is not None
    assert job.primitive_id == "sampler"
    assert service.job(job.job_id()).image == ""
    assert job.session_id is None


@pytest.mark.feature("Jobs", "`service.job()`, `delete_job()`; unknown ids: `RuntimeJobNotFound`")
def test_lookup_and_delete(service, bell):
    job = _run(service, bell)
    job.result()
    assert service.job(job.job_id()).result()[0].data.c.num_shots == 20
    service.delete_job(job.job_id())
    with pytest.raises(RuntimeJobNotFound):
        service.job(job.job_id())
    with pytest.raises(RuntimeJobNotFound):
        service.delete_job(job.job_id())


@pytest.mark.check(18)
@pytest.mark.feature("Jobs", "Private jobs: no inputs, and a result that is read once")
def test_private(service, bell):
    job = _run(service, bell, private=True)
    assert job.private is True
    assert job.inputs == {}
    assert job.result()[0].data.c.num_shots == 20
    assert job.result() is None


@pytest.mark.feature("Jobs", "A result within milliseconds of the job's end")
def test_the_result_does_not_wait_for_the_next_poll(service, bell):
    sampler = SamplerV2(service.backend("ket_manila"))
    sampler.run([bell], shots=10).result()
    times = []
    for _ in range(5):
        begun = time.perf_counter()
        sampler.run([bell], shots=10).result()
        times.append(time.perf_counter() - begun)
    assert sorted(times)[2] < 0.3


@pytest.mark.feature("Jobs", "The end of a longer job seen at once, not at the next poll")
def test_the_end_of_a_longer_job_is_seen_at_once(service, bell):
    sampler = SamplerV2(service.backend("ket_paced"))
    late = []
    for shots in (4_000, 6_500, 9_000, 11_500, 14_000):
        job = sampler.run([bell], shots=shots)
        job.result()
        seen = time.time()
        finished = datetime.fromisoformat(job.metrics()["timestamps"]["finished"])
        late.append(seen - finished.timestamp())
    assert sorted(late)[2] < 0.15


@pytest.mark.feature("Jobs", "A job of another instance is found when no instance was chosen")
@pytest.mark.filterwarnings("ignore:Instance was not set:UserWarning")
def test_a_job_is_found_across_instances(service, server, bell):
    job = _run(service, bell)
    job.result()
    anywhere = connect(server.url, server.key)
    assert anywhere.job(job.job_id()).result()[0].data.c.num_shots == 20
    with pytest.raises(RuntimeJobNotFound):
        connect(server.url, server.key, instance="default").job(job.job_id())


@pytest.mark.feature("Jobs", "`result(timeout=…)`: `RuntimeJobTimeoutError`")
def test_a_result_that_takes_too_long(service, bell):
    job = _run(service, bell, "ket_paced", shots=30_000)
    with pytest.raises(RuntimeJobTimeoutError):
        job.result(timeout=0.3)
    assert job.usage() == 0
    assert job.usage(partial=True) >= 0
    job.cancel()
