"""Programs from ``run()`` to ``result()`` through the unmodified client, against what users would run.

Sweeps and twirled circuits are compared with direct calls of Aer on the reduced circuits that were really
run, the noise model built beforehand; the Estimator with the client's local mode, given the same options.
Local mode obeys precision and shots only: what levels 1 and 2 ask for (readout correction, twirling,
extrapolation over three noise factors) it ignores, so that it runs a third of the circuits or fewer, at both
levels the same ones; it is run once, since it takes long.
"""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from qiskit import QuantumCircuit, generate_preset_pass_manager
from qiskit.circuit import ParameterVector
from qiskit.circuit.library import efficient_su2
from qiskit.quantum_info import SparsePauliOp
from qiskit_aer import AerSimulator
from qiskit_ibm_runtime import EstimatorV2, RuntimeEncoder, SamplerV2
from qiskit_ibm_runtime.fake_provider import FakeFez

from benchmarks.harness import Row, median, serve, show
from ketline.programs.base import ProgramContext, open_params, program
from ketline.qpus.items import Workbench
from ketline.qpus.snapshots import snapshot

CONFIG = '[[qpus]]\nname = "ket_fez"\ndevice = "fez"\n'
SHOTS = 1024
WIDTH, LAYERS = 5, 3
QUBITS = 10
TWIRLED = {"twirling": {"enable_gates": True, "enable_measure": True, "num_randomizations": 32}}


def timed(action: Callable[[], object], times: int = 3) -> float:
    """Median seconds of several runs, after one that warms up."""
    taken = []
    for _ in range(times + 1):
        began = time.perf_counter()
        action()
        taken.append(time.perf_counter() - began)
    return median(taken[1:])


def swept(width: int) -> QuantumCircuit:
    """Turns by parameters and layers of cz, on the first qubits of a device."""
    angles = ParameterVector("t", WIDTH * LAYERS)
    circuit = QuantumCircuit(width, WIDTH)
    for layer in range(LAYERS):
        for qubit in range(WIDTH):
            circuit.sx(qubit)
            circuit.rz(angles[layer * WIDTH + qubit], qubit)
            circuit.sx(qubit)
        for qubit in range(layer % 2, WIDTH - 1, 2):
            circuit.cz(qubit, qubit + 1)
    circuit.measure(range(WIDTH), range(WIDTH))
    return circuit


def direct(pub: tuple[Any, ...], options: dict[str, Any]) -> float:
    """Seconds of Aer for what a sampler job comes to."""
    device = snapshot("fez", "ket_fez")
    context = ProgramContext(device=device)
    tree = {"pubs": [[pub[0], pub[1], SHOTS]], "options": options, "version": 2}
    raw = json.dumps(tree, cls=RuntimeEncoder).encode()
    unit: Any = program("sampler").prepare(open_params(raw, context.limits), context)
    (ready,) = Workbench(device).ready(unit.unit, 8_000_000_000, np.random.default_rng(1))

    def run() -> None:
        for part in ready.parts:
            binds = {parameter: column.tolist() for parameter, column in part.values.items()}
            AerSimulator(noise_model=part.source.model(False)).run(
                part.reduced.circuit, parameter_binds=[binds] if binds else None, shots=part.row_shots
            ).result()

    return timed(run)


def sweeps(backend: Any) -> list[Row]:
    """1,000 points, and 32 randomisations of one."""
    circuit = swept(backend.num_qubits)
    rows = []
    for label, points, options in (
        ("1,000 points, 5 noisy qubits", 1000, {}),
        ("32 randomisations, 5 noisy qubits", 1, TWIRLED),
    ):
        pub = (circuit, np.random.default_rng(1).uniform(0, 6, (points, WIDTH * LAYERS)))
        sampler = SamplerV2(backend, options=options)
        ours = timed(lambda sampler=sampler, pub=pub: sampler.run([pub], shots=SHOTS).result())
        theirs = direct(pub, options)
        rows.append(
            Row(
                f"{label}, run to result (Aer alone {theirs * 1e3:.0f} ms)",
                f"{ours * 1e3:.0f} ms, {ours / theirs:.2f} times", "≤ 1.3 times", ours <= 1.3 * theirs,
            )
        )  # fmt: skip
    return rows


def estimators(backend: Any) -> list[Row]:
    """Both levels on ten entangled noisy qubits, against local mode."""
    ansatz = efficient_su2(QUBITS, reps=1, entanglement="linear")
    circuit = generate_preset_pass_manager(1, backend=backend, seed_transpiler=7).run(ansatz)
    terms = [("ZZ", [i, i + 1], 1.0) for i in range(QUBITS - 1)]
    observable = SparsePauliOp.from_sparse_list(terms, QUBITS).apply_layout(circuit.layout)
    pub = (circuit, observable, np.random.default_rng(3).uniform(0, 3, circuit.num_parameters))
    rows = []
    began = time.perf_counter()
    EstimatorV2(FakeFez(), options={"resilience_level": 1}).run([pub]).result()
    theirs = time.perf_counter() - began
    for level in (1, 2):
        served = EstimatorV2(backend, options={"resilience_level": level})
        ours = timed(lambda served=served: served.run([pub]).result(), 2)
        rows.append(
            Row(
                f"estimator at level {level}, {QUBITS} noisy qubits; local mode, which ignores the level,"
                f" {theirs:.2f} s",
                f"{ours:.2f} s, {theirs / ours:.1f} times faster", "faster", ours <= theirs,
            )
        )  # fmt: skip
    return rows


def main() -> list[Row]:
    """Measure programs through the client."""
    warnings.simplefilter("ignore")
    with serve(CONFIG) as server:
        backend = server.service().backend("ket_fez")
        return [*sweeps(backend), *estimators(backend)]


if __name__ == "__main__":
    show("Programs through the client", main())
