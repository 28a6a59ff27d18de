"""Sessions and batches as the client drives them (acceptance checks 10 and 11)."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from qiskit_ibm_runtime import Batch, SamplerV2, Session
from qiskit_ibm_runtime.exceptions import IBMInputValueError, IBMRuntimeError, RuntimeInvalidStateError
from wire_lab import until

from ketline.client import connect


@pytest.mark.check(10)
@pytest.mark.feature("Sessions", "`Session`: jobs, `details()`, `status()`, `usage()`, `close()`")
def test_session(service, bell):
    backend = service.backend("ket_manila")
    with Session(backend) as session:
        assert session.details()["state"] == "open"
        assert session.details()["backend_name"] == "ket_manila"
        assert session.status() == "Pending"
        sampler = SamplerV2(session)
        first = sampler.run([bell], shots=50)
        assert first.session_id == session.session_id
        first.result()
        details = session.details()
        assert (details["state"], details["mode"], details["accepting_jobs"]) == ("active", "dedicated", True)
        assert details["interactive_timeout"] == 60
        assert details["max_time"] == 28_800
        assert session.status() == "In progress, accepting new jobs"
        sampler.run([bell], shots=50).result()
        before = session.usage()
        assert 0 < before < session.usage(), "idle time of an active session is usage"
    until(lambda: session.status() == "Closed")
    states = [entry["status"] for entry in session.details()["timestamps"]]
    assert states[:2] == ["open", "active"]
    assert states[-1] == "closed"
    assert session.usage() > before
    with pytest.raises(Exception, match="closed"):
        sampler.run([bell])


@pytest.mark.check(11)
@pytest.mark.feature("Sessions", "`Batch`, `Batch.from_id()`")
def test_batch(service, bell):
    with Batch(service.backend("ket_manila")) as batch:
        jobs = [SamplerV2(batch).run([bell], shots=20) for _ in range(3)]
        assert Batch.from_id(batch.session_id, service).details()["mode"] == "batch"
        with pytest.raises(IBMInputValueError):
            Session.from_id(batch.session_id, service)
    assert all(job.result() is not None for job in jobs)
    until(lambda: batch.status() == "Closed")
    assert batch.details()["usage_time"] == pytest.approx(sum(job.usage() for job in jobs), abs=0.01)


@pytest.mark.check(11)
@pytest.mark.feature(
    "Sessions", "`Session.from_id()`, `cancel()`: queued jobs are cancelled, running ones finish"
)
def test_cancelled_session(service, bell):
    session = Session(service.backend("ket_paced"), max_time="20m")
    assert Session.from_id(session.session_id, service).details()["max_time"] == 1_200
    jobs = [SamplerV2(session).run([bell], shots=1_000) for _ in range(9)]
    until(lambda: jobs[0].status() == "RUNNING")
    session.cancel()
    until(lambda: all(job.in_final_state() for job in jobs), 30)
    statuses = [job.status() for job in jobs]
    assert statuses[0] == "DONE"
    assert statuses[-1] == "CANCELLED"
    assert set(statuses) == {"DONE", "CANCELLED"}
    with pytest.raises(RuntimeInvalidStateError):
        jobs[-1].result()
    until(lambda: session.status() == "Closed")


@pytest.mark.feature("Sessions", "An unknown id: `IBMInputValueError`")
def test_unknown_session(service):
    with pytest.raises(IBMInputValueError):
        Session.from_id("no-such-session", service)


@pytest.mark.feature("Sessions", "No session on the Open plan: refused with 1352")
def test_open_plan(server, bell):
    service = connect(server.url, server.key, instance="open")
    with pytest.raises(Exception, match="1352"):
        Session(service.backend("ket_manila"))
    with Batch(service.backend("ket_manila")) as batch:
        assert SamplerV2(batch).run([bell], shots=10).result() is not None


@pytest.mark.feature("Sessions", "A life above the plan's maximum is refused and named")
def test_too_long_a_life(server):
    service = connect(server.url, server.key, instance="limited")
    with pytest.raises(Exception, match="3600"):
        Session(service.backend("ket_manila"), max_time=3_601)


@pytest.mark.feature("Sessions", "Submitting into a closed session: refused with 1217")
def test_submission_into_a_closed_session(service, bell):
    session = Session(service.backend("ket_manila"))
    session.close()
    again = Session.from_id(session.session_id, service)
    again._active = True
    with pytest.raises(IBMRuntimeError, match="1217"):
        SamplerV2(again).run([bell])


@pytest.mark.feature("Sessions", "On a simulator no session is opened; its jobs run without one")
def test_session_on_a_simulator(service, bell):
    with Session(service.backend("ket_simulator")) as session:
        assert session.session_id is None
        assert SamplerV2(session).run([bell], shots=10).result() is not None


@pytest.mark.feature("Sessions", "One session shared by threads, their jobs told apart by tags")
def test_a_session_shared_by_threads(service, bell):
    tags = [f"thread-{n}-{time.monotonic_ns()}" for n in range(3)]

    def optimise(session: Session, tag: str) -> int:
        sampler = SamplerV2(session)
        sampler.options.environment.job_tags = [tag]
        return sum(sampler.run([bell], shots=10).result()[0].data.c.num_shots for _ in range(4))

    with Session(service.backend("ket_manila")) as session, ThreadPoolExecutor(3) as threads:
        assert list(threads.map(lambda tag: optimise(session, tag), tags)) == [40, 40, 40]
    for tag in tags:
        jobs = service.jobs(job_tags=[tag], session_id=session.session_id)
        assert [job.status() for job in jobs] == ["DONE"] * 4


@pytest.mark.feature("Sessions", "`Batch` closed by its `with` block: what was submitted still runs")
def test_a_closed_batch_runs_to_its_end(service, bell):
    with Batch(service.backend("ket_paced")) as batch:
        jobs = [SamplerV2(batch).run([bell], shots=100) for _ in range(6)]
    assert batch.details()["accepting_jobs"] is False
    assert [job.result()[0].data.c.num_shots for job in jobs] == [100] * 6
    until(lambda: batch.status() == "Closed")
