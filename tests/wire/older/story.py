"""What a user of any client does in an afternoon, told step by step; run by an interpreter with that client.

Clients before 0.49 know only the address of IBM's token service; the three lines of
``docs/how-to/point-the-client-at-ketline.md`` give them another, when ``TOKEN_SERVICE`` is set.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable
from typing import Any

import qiskit_ibm_runtime
import qiskit_ibm_runtime.api.auth as auth
from ibm_cloud_sdk_core import IAMTokenManager
from qiskit import QuantumCircuit
from qiskit.quantum_info import SparsePauliOp
from qiskit.transpiler import generate_preset_pass_manager
from qiskit_ibm_runtime import Batch, EstimatorV2, QiskitRuntimeService, SamplerV2, Session

warnings.simplefilter("ignore")
if os.environ.get("TOKEN_SERVICE"):
    auth.IAMTokenManager = lambda key, url, **more: IAMTokenManager(
        key, url=os.environ["TOKEN_SERVICE"], **more
    )
told: dict[str, str] = {}


def step(name: str) -> Callable[[Callable[[], bool]], None]:
    """Run a step at once, and tell whether it did what it should."""

    def run(act: Callable[[], bool]) -> None:
        try:
            told[name] = "yes" if act() else "wrong"
        except Exception as error:
            told[name] = f"no: {type(error).__name__}: {error}"

    return run


service = QiskitRuntimeService(channel="ibm_quantum_platform")
backend = service.backend("ket_manila")
passes = generate_preset_pass_manager(1, backend=backend)
bell = QuantumCircuit(2)
bell.h(0)
bell.cx(0, 1)
ansatz = passes.run(bell)
bell.measure_all()
bell = passes.run(bell)
observable = SparsePauliOp(["ZZ", "XX"]).apply_layout(ansatz.layout)


def estimated(mode: Any, level: int) -> float:
    job = EstimatorV2(mode=mode, options={"resilience_level": level}).run([(ansatz, observable)])
    return float(job.result()[0].data.evs)


@step("backends, properties, `least_busy()`")
def _() -> bool:
    names = {found.name for found in service.backends()}
    return service.least_busy().name in names and bool(backend.properties())


@step("`SamplerV2`: counts, usage, status")
def _() -> bool:
    job = SamplerV2(mode=backend).run([bell], shots=200)
    counts = job.result()[0].data.meas.get_counts()
    return sum(counts.values()) == 200 and job.usage() >= 0 and str(job.status()).endswith("DONE")


@step("twirling and decoupling")
def _() -> bool:
    sampler = SamplerV2(mode=backend)
    sampler.options.twirling.enable_gates = True
    sampler.options.dynamical_decoupling.enable = True
    return sampler.run([bell], shots=128).result()[0].data.meas.num_shots == 128


@step("`EstimatorV2` at resilience levels 1 and 2")
def _() -> bool:
    return all(abs(estimated(backend, level) - 2) < 0.4 for level in (1, 2))


@step("`Batch`")
def _() -> bool:
    with Batch(backend=backend) as batch:
        jobs = [SamplerV2(mode=batch).run([bell], shots=10) for _ in range(3)]
    return all(job.result() for job in jobs) and batch.status() == "Closed" and batch.usage() > 0


@step("`Session`")
def _() -> bool:
    with Session(backend=backend) as session:
        values = [estimated(session, 1) for _ in range(2)]
    return len(values) == 2 and session.details()["state"] == "closed" and session.usage() > 0


@step("`cancel()`")
def _() -> bool:
    job = SamplerV2(mode=backend).run([bell] * 50, shots=20_000)
    job.cancel()
    return "CANCEL" in str(job.status())


@step("`jobs()`, `job()`, `inputs`, `metrics()`, `logs()`, `update_tags()`")
def _() -> bool:
    job = service.job(service.jobs(limit=5)[-1].job_id())
    job.update_tags(["seen"])
    return "pubs" in job.inputs and "usage" in job.metrics() and isinstance(job.logs(), str)


@step("`usage()`, `instances()`")
def _() -> bool:
    return bool(service.usage()) and bool(service.instances())


print(json.dumps({"client": qiskit_ibm_runtime.__version__, "steps": told}))
