"""The three modes, as a user of the unmodified client would write them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from ketline.cli.demo import circuits

if TYPE_CHECKING:
    from qiskit.circuit import QuantumCircuit
    from qiskit.quantum_info import SparsePauliOp
    from qiskit_ibm_runtime import IBMBackend, QiskitRuntimeService, RuntimeJobV2, Session

SHOTS = 1_024
RESULT_SECONDS = 100
BATCH_JOBS = 5
CIRCUITS_A_JOB = 40
EVALUATIONS = 24
SITES = 3
OTHER_JOBS = 2
OTHER_CIRCUITS = 30
METHODS: tuple[Literal["COBYLA", "Nelder-Mead"], ...] = ("COBYLA", "Nelder-Mead")

Tell = Callable[[str, int, int], None]
"""Told (mode, jobs done, jobs in all) whenever a job has ended."""


@dataclass(slots=True)
class Ran:
    """The jobs of one mode: id to the name under which the picture shows them, and what came out."""

    title: str
    jobs: dict[str, str] = field(default_factory=dict)
    workload_id: str | None = None
    others: frozenset[str] = frozenset()
    findings: list[str] = field(default_factory=list)
    ended: int = 0


def job_mode(backend: IBMBackend, tell: Tell) -> Ran:
    """A Sampler on a Bell circuit and an Estimator on two observables, each a job by itself."""
    from qiskit.quantum_info import SparsePauliOp
    from qiskit.transpiler import generate_preset_pass_manager
    from qiskit_ibm_runtime import EstimatorV2, SamplerV2

    ran = Ran("Job mode")
    passes = generate_preset_pass_manager(1, backend=backend, seed_transpiler=1)
    tell(ran.title, 0, 2)
    sampled = SamplerV2(mode=backend).run([passes.run(circuits.bell(measured=True))], shots=SHOTS)
    plain = passes.run(circuits.bell(measured=False))
    observables = [SparsePauliOp(pauli).apply_layout(plain.layout) for pauli in ("ZZ", "XX")]
    estimated = EstimatorV2(mode=backend).run([(plain, observables)])
    ran.jobs = {sampled.job_id(): "Sampler: Bell circuit", estimated.job_id(): "Estimator: ZZ and XX"}
    counts = sampled.result(RESULT_SECONDS)[0].data.meas.get_counts()
    tell(ran.title, 1, 2)
    values = estimated.result(RESULT_SECONDS)[0].data.evs
    tell(ran.title, 2, 2)
    equal = (counts.get("00", 0) + counts.get("11", 0)) / SHOTS
    ran.findings.append(f"Bell circuit: {equal:.1%} of {SHOTS} shots gave 00 or 11")
    ran.findings.append(f"Bell state: <ZZ> = {values[0]:.3f}, <XX> = {values[1]:.3f} (exact: 1, 1)")
    return ran


def batch_mode(backend: IBMBackend, tell: Tell) -> Ran:
    """A large set of parameterised circuits, partitioned into five jobs that are all known at once."""
    from qiskit.transpiler import generate_preset_pass_manager
    from qiskit_ibm_runtime import Batch, SamplerV2

    ran = Ran("Batch")
    tell(ran.title, 0, BATCH_JOBS)
    passes = generate_preset_pass_manager(1, backend=backend, seed_transpiler=1)
    pairs = circuits.sweep(BATCH_JOBS * CIRCUITS_A_JOB, np.random.default_rng(7))
    translated = passes.run([circuit for circuit, _ in pairs])
    pubs = [(circuit, values) for circuit, (_, values) in zip(translated, pairs, strict=True)]
    with Batch(backend=backend) as batch:
        sampler = SamplerV2(mode=batch)
        jobs = [sampler.run(pubs[n::BATCH_JOBS], shots=SHOTS) for n in range(BATCH_JOBS)]
    ran.workload_id = batch.session_id
    ran.jobs = {job.job_id(): f"batch of {BATCH_JOBS} jobs" for job in jobs}
    results = 0
    for n, job in enumerate(jobs):
        results += len(job.result(RESULT_SECONDS))
        tell(ran.title, n + 1, BATCH_JOBS)
    sets = sum(len(values) for _, values in pubs)
    ran.findings.append(
        f"{len(pubs)} circuits with {sets} sets of parameters in {BATCH_JOBS} jobs: {results} results"
    )
    return ran


def session_mode(backend: IBMBackend, stranger: QiskitRuntimeService, tell: Tell) -> Ran:
    """Two variational optimisations in one session, in threads, while another user's jobs wait outside."""
    from qiskit.circuit.library import efficient_su2
    from qiskit.transpiler import generate_preset_pass_manager
    from qiskit_ibm_runtime import SamplerV2, Session

    ran = Ran("Session", others=frozenset({"another user"}))
    passes = generate_preset_pass_manager(1, backend=backend, seed_transpiler=1)
    observable = circuits.ising(SITES)
    ansatz = passes.run(efficient_su2(SITES, su2_gates=["ry"], reps=1))
    mapped = observable.apply_layout(ansatz.layout)
    theirs = circuits.sweep(OTHER_CIRCUITS, np.random.default_rng(11))
    their_pubs = [(passes.run(circuit), values) for circuit, values in theirs]
    # Made outside of the block: inside, the client takes it for a mistake to name another backend.
    others_sampler = SamplerV2(mode=stranger.backend(backend.name))
    expected = 2 * EVALUATIONS + OTHER_JOBS
    lock = threading.Lock()
    first_done = threading.Event()

    def note(job: RuntimeJobV2, name: str) -> None:
        with lock:
            ran.jobs[job.job_id()] = name
        job.result(RESULT_SECONDS)
        first_done.set()
        with lock:
            ran.ended += 1
            tell(ran.title, ran.ended, expected)

    tell(ran.title, 0, expected)
    with Session(backend=backend) as session, ThreadPoolExecutor(2) as threads:
        optimisers = [threads.submit(_minimise, method, session, ansatz, mapped, note) for method in METHODS]
        first_done.wait(60)
        others = [others_sampler.run(their_pubs, shots=SHOTS) for _ in range(OTHER_JOBS)]
        energies = [optimiser.result() for optimiser in optimisers]
    ran.workload_id = session.session_id
    for other in others:
        note(other, "another user")
    exact = circuits.ground_energy(observable)
    for method, energy in zip(METHODS, energies, strict=True):
        ran.findings.append(
            f"{method}: energy {energy:.2f} in {EVALUATIONS} evaluations (exact: {exact:.2f})"
        )
    return ran


def _minimise(
    method: Literal["COBYLA", "Nelder-Mead"],
    session: Session,
    ansatz: QuantumCircuit,
    observable: SparsePauliOp,
    note: Callable[[RuntimeJobV2, str], None],
) -> float:
    """The lowest energy that the method finds; its jobs are told apart by their tag."""
    from qiskit_ibm_runtime import EstimatorV2
    from scipy.optimize import minimize

    estimator = EstimatorV2(mode=session)
    estimator.options.environment.job_tags = [method]

    def energy(angles: NDArray[np.float64]) -> float:
        job = estimator.run([(ansatz, observable, angles)])
        note(job, method)
        return float(job.result(RESULT_SECONDS)[0].data.evs)

    start = np.random.default_rng(5).uniform(-0.5, 0.5, ansatz.num_parameters)
    # COBYLA counts an evaluation as an iteration, and steps by one; Nelder-Mead's own first steps are tiny.
    options: dict[str, Any] = {"maxiter": EVALUATIONS}
    if method == "Nelder-Mead":
        options = {"maxfev": EVALUATIONS, "initial_simplex": np.vstack([start, start + np.eye(start.size)])}
    return float(minimize(energy, start, method=method, options=cast("Any", options)).fun)
